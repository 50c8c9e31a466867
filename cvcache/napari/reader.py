"""The reader plugin: a tree opens in the dock, an image becomes layers."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.formats import kind_of
from cvcache.napari.sample import demo
from cvcache.store import ZARR_METADATA, control_dir, is_item_dir, parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

DEMO_URL = "cvcache://demo"
"""URL of the sample data in the manifest."""
REMOTE_SCHEMES = ("s3", "gs", "memory")
_MAX_DIRECTORIES = 100
"""Child directories that are checked for a node."""

LayerData = list[Any]

logger = logging.getLogger("cvcache")


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], LayerData] | None:
    """Return a reader for `path`, or for all of several; None for other data.

    A URL is judged by its text alone; a directory by its content, with a few file-system calls.
    """
    paths = _path_list(path)
    return read_paths if paths and all(map(_is_ours, paths)) else None


def read_paths(path: str | Sequence[str]) -> LayerData:
    """Return the layers of images, and open trees and nodes in the dock.

    Raises
    ------
    OSError, CvcacheError
        An image cannot be read.
    """
    layers: LayerData = []
    for one in _path_list(path):
        if one == DEMO_URL:
            demo(show_tree)
        elif is_image_url(one):
            layers += layers_of_url(one)
        else:
            show_tree(one)
    return layers or [(None,)]


def layers_of_url(url: str, options: Mapping[str, Any] | None = None) -> list[Any]:
    """Return the layers of an image at a URL, with the first planes prefetched."""
    from cvcache.browse import layers, with_contrast
    from cvcache.napari.layers import Viewport, prefetch_planes

    viewer = current_viewer()
    view = Viewport.of(viewer) if viewer is not None else Viewport()
    return [with_contrast(prefetch_planes(layer, view, None)) for layer in layers(url, **(options or {}))]


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
    """Return the viewer that was created or used last, or None."""
    import napari

    return napari.current_viewer()


def is_image_url(path: str) -> bool:
    """Whether a path or URL has the suffix of an image."""
    return kind_of(strip_slices(path)) == "image"


def strip_slices(path: str) -> str:
    """Return a path or URL without slices and trailing slash."""
    return path.partition("?slices=")[0].rstrip("/")


def _is_ours(path: str) -> bool:
    if path == DEMO_URL:
        return True
    if "://" in path:
        return parse_url(path).scheme in REMOTE_SCHEMES
    try:
        return _is_image_here(strip_slices(path)) if is_image_url(path) else os.path.isdir(path) and _is_tree(path)
    except (OSError, ValueError):  # not allowed to look, or no path at all
        return False


def _is_image_here(path: str) -> bool:
    if not is_item_dir(path):
        return os.path.isfile(path)
    return any(os.path.isfile(os.path.join(path, name)) for name in ZARR_METADATA)


def _is_tree(path: str) -> bool:
    """Whether a directory is a node, or has a child that is one."""
    if os.path.isdir(control_dir(path)):
        return True
    with os.scandir(path) as entries:
        below = [entry.path for entry in itertools.islice(entries, _MAX_DIRECTORIES) if entry.is_dir()]
    return any(os.path.isdir(control_dir(one)) for one in below)


def _path_list(path: str | Sequence[str]) -> list[str]:
    return [path] if isinstance(path, str) else [os.fspath(one) for one in path]
