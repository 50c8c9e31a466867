"""The panel below the tree: one page for each kind of content."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.napari.panel.facts_view import FactsView
    from cvcache.napari.panel.histogram_view import HistogramCurves
    from cvcache.napari.panel.log_page import FollowedLog, LogFollower
    from cvcache.napari.panel.page import Page, page_title_for
    from cvcache.napari.panel.panel import USAGE_HINT, Panel
    from cvcache.napari.panel.picture_view import PictureView, PictureWindow
    from cvcache.napari.panel.text_view import MAX_CHARACTERS, MAX_LINE_LENGTH, MAX_LINES, TextView, readable_text
    from cvcache.napari.panel.widgets import SPACING, column_layout

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "facts_view": ["FactsView"],
        "histogram_view": ["HistogramCurves"],
        "log_page": ["FollowedLog", "LogFollower"],
        "page": ["Page", "page_title_for"],
        "panel": ["USAGE_HINT", "Panel"],
        "picture_view": ["PictureView", "PictureWindow"],
        "text_view": ["MAX_CHARACTERS", "MAX_LINES", "MAX_LINE_LENGTH", "TextView", "readable_text"],
        "widgets": ["SPACING", "column_layout"],
    },
)
