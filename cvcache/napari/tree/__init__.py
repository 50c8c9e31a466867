"""The tree of the dock."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.napari.tree.cells import (
        COLUMNS,
        NAME,
        SHAPE,
        STATE,
        TYPE,
        WHEN,
        age_text,
        cell_text,
        row_tip,
        sentence,
    )
    from cvcache.napari.tree.lines import Line, Said, changes
    from cvcache.napari.tree.loader import Loader, open_tree
    from cvcache.napari.tree.model import MIME, TreeModel
    from cvcache.napari.tree.search import Narrowing, SearchBar, find
    from cvcache.napari.tree.thumbnails import Thumbnails
    from cvcache.napari.tree.view import Revealer, TreeView

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cells": [
            "COLUMNS",
            "NAME",
            "SHAPE",
            "STATE",
            "TYPE",
            "WHEN",
            "age_text",
            "cell_text",
            "row_tip",
            "sentence",
        ],
        "lines": ["Line", "Said", "changes"],
        "loader": ["Loader", "open_tree"],
        "model": ["MIME", "TreeModel"],
        "search": ["Narrowing", "SearchBar", "find"],
        "thumbnails": ["Thumbnails"],
        "view": ["Revealer", "TreeView"],
    },
)
