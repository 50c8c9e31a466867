"""What napari asks for a path or URL: a tree opens in the dock, an image becomes layers."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.napari.sample import demo
from cvcache.store import control_dir, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

DEMO = "cvcache://demo"
"""What the sample data of the manifest is called."""
SCHEMES = ("s3", "gs", "memory")
IMAGE_SUFFIXES = (".zarr", ".zarr.zip")
_METADATA = ("zarr.json", ".zattrs", ".zarray")
_MOST_LOOKED_AT = 100
"""Directories of one that is no node which are asked whether they are."""

LayerData = list[Any]

logger = logging.getLogger("cvcache")


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], LayerData] | None:
    """Return what reads `path`, or all of several; None for what is not ours.

    A URL is judged by its spelling alone; a directory by what lies in it, a few look-ups on disk.
    """
    paths = _paths(path)
    return read if paths and all(map(_is_ours, paths)) else None


def read(path: str | Sequence[str]) -> LayerData:
    """Return the layers of images, and open trees and nodes in the dock.

    Raises
    ------
    OSError, CvcacheError
        An image cannot be read.
    """
    found: LayerData = []
    for one in _paths(path):
        if one == DEMO:
            demo(show_tree)
        elif is_image(one):
            found += image_layers(one)
        else:
            show_tree(one)
    return found or [(None,)]


def image_layers(url: str, options: Mapping[str, Any] | None = None) -> list[Any]:
    """Return the layers of an image by its URL, with what will be seen first at hand."""
    from cvcache.browse import layers, with_contrast
    from cvcache.napari.layers import View, read_ahead

    viewer = current_viewer()
    view = View.of(viewer) if viewer is not None else View()
    return [with_contrast(read_ahead(layer, view, None)) for layer in layers(url, **(options or {}))]


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


def is_image(path: str) -> bool:
    """Whether a path or URL is spelled as that of an image."""
    return bare(path).endswith(IMAGE_SUFFIXES)


def bare(path: str) -> str:
    """Return a path or URL without slices and without a slash at its end."""
    return path.partition("?slices=")[0].rstrip("/")


def _is_ours(path: str) -> bool:
    if path == DEMO:
        return True
    if "://" in path:
        return parse_url(path).scheme in SCHEMES
    try:
        return _is_image_here(bare(path)) if is_image(path) else os.path.isdir(path) and _is_tree(path)
    except (OSError, ValueError):  # not allowed to look, or no path at all
        return False


def _is_image_here(path: str) -> bool:
    if path.endswith(".zip"):
        return os.path.isfile(path)
    return any(os.path.isfile(os.path.join(path, name)) for name in _METADATA)


def _is_tree(path: str) -> bool:
    """Whether a directory is a node, or one of the first below it is."""
    if os.path.isdir(control_dir(path)):
        return True
    with os.scandir(path) as entries:
        below = [entry.path for entry in itertools.islice(entries, _MOST_LOOKED_AT) if entry.is_dir()]
    return any(os.path.isdir(control_dir(one)) for one in below)


def _paths(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else [os.fspath(one) for one in path]
