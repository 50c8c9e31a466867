"""The dock in the window that is there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("cvcache")


def show_tree(url: str, options: Mapping[str, Any] | None = None) -> Any:
    """Open a tree in the dock of the current viewer, and return the dock's widget; None where there is no window."""
    window = getattr(current_viewer(), "window", None)
    if window is None:
        logger.warning("there is no window to show the tree at %s in; read it with cvcache.cdir_query", url)
        return None
    dock, widget = window.add_plugin_dock_widget("cvcache", "Cache tree")
    dock.show()
    dock.raise_()
    widget.open(url, options)
    return widget


def current_viewer() -> Any:
    """Return the viewer that was made or used last, or None."""
    import napari

    return napari.current_viewer()
