"""``cvcache view``: a tree or an image in a napari window, with the storage options of this call."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from typing import Any

from cvcache.errors import ItemNotFound

_QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
_DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def check_window(url: str) -> None:
    """Raise if there can be no window: Qt itself would end the process.

    Raises
    ------
    ImportError
        napari or a Qt binding is not installed.
    OSError
        There is no display.
    """
    if missing := _missing_package():
        msg = f"{missing} is not installed; this brings what the window needs: pip install 'cvcache[napari]' PyQt6"
        raise ImportError(msg)
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _DISPLAY_VARIABLES):
        msg = f"there is no display for a window; use ssh -X, or look at the tree with: cvcache tree {url}"
        raise OSError(msg)


def _missing_package() -> str:
    if any(importlib.util.find_spec(name) is None for name in ("napari", "qtpy")):
        return "napari"
    return "" if any(importlib.util.find_spec(name) for name in _QT_BINDINGS) else "a Qt binding for napari"


def view(url: str, options: Mapping[str, Any]) -> None:
    """Show the tree or the image at `url` in a new napari window, and return when it is closed.

    Parameters
    ----------
    url : str
    options : mapping
        What the store takes; stored nowhere.

    Raises
    ------
    ImportError, OSError
        There can be no window, see `check_window`; or the store cannot be reached.
    ItemNotFound
        There is nothing at `url`.
    """
    from cvcache.napari import is_image_url, show_tree

    check_window(url)
    layers = _read_layers(url, options) if is_image_url(url) else None
    if layers is None:
        _check_exists(url, options)
    import napari
    from napari.layers import Layer

    viewer = napari.Viewer()
    for data, attributes, kind in layers or ():
        viewer.add_layer(Layer.create(data, attributes, kind))
    if layers is None:
        show_tree(url, options)
    napari.run()


def _read_layers(url: str, options: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    from cvcache.napari import layers_of_url

    try:
        return layers_of_url(url, options)
    except FileNotFoundError as error:
        raise ItemNotFound(f"there is nothing at {url}") from error


def _check_exists(url: str, options: Mapping[str, Any]) -> None:
    """Raise if no node, no item and no other data is at `url`; costs what `cvcache.browse.locate.open_url` does."""
    from cvcache.browse import not_found_text, open_url

    target = open_url(url, **options)
    try:
        if target.absent and not target.tree.expand("").rows:
            raise ItemNotFound(not_found_text(target.tree.url, target.nearest))
    finally:
        target.tree.close()
