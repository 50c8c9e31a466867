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
        error_sentence,
        row_tooltip,
    )
    from cvcache.napari.tree.lines import Message, TreeLine, changed_spans
    from cvcache.napari.tree.loader import Loader, open_tree
    from cvcache.napari.tree.model import MIME, TreeModel
    from cvcache.napari.tree.search import SearchBar, TreeFilter, run_search
    from cvcache.napari.tree.thumbnails import Thumbnails
    from cvcache.napari.tree.view import RowRevealer, TreeView

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
            "error_sentence",
            "row_tooltip",
        ],
        "lines": ["Message", "TreeLine", "changed_spans"],
        "loader": ["Loader", "open_tree"],
        "model": ["MIME", "TreeModel"],
        "search": ["SearchBar", "TreeFilter", "run_search"],
        "thumbnails": ["Thumbnails"],
        "view": ["RowRevealer", "TreeView"],
    },
)
