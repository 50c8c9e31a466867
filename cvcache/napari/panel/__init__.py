"""The pages of the dock, one for each kind of thing."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.napari.panel.facts_view import FactsView
    from cvcache.napari.panel.histogram_view import Curves
    from cvcache.napari.panel.log_page import Attempt, Follower
    from cvcache.napari.panel.page import Page, page_of
    from cvcache.napari.panel.panel import HOW, Panel
    from cvcache.napari.panel.picture_view import PictureView, PictureWindow
    from cvcache.napari.panel.text_view import LONGEST_LINE, MOST_CHARACTERS, MOST_LINES, TextView, readable
    from cvcache.napari.panel.widgets import GAP, column

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "facts_view": ["FactsView"],
        "histogram_view": ["Curves"],
        "log_page": ["Attempt", "Follower"],
        "page": ["Page", "page_of"],
        "panel": ["HOW", "Panel"],
        "picture_view": ["PictureView", "PictureWindow"],
        "text_view": ["LONGEST_LINE", "MOST_CHARACTERS", "MOST_LINES", "TextView", "readable"],
        "widgets": ["GAP", "column"],
    },
)
