"""Layers of an item, a row, or the URL of an image."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cvcache.browse.layer_data.images import LayerData, image_layers
from cvcache.browse.layer_data.settings import MAX_FLOAT
from cvcache.browse.layer_data.tables import MAX_BYTES, array_layers, points_layers, table_layers
from cvcache.browse.locate import Subject, locate, locate_target
from cvcache.errors import CvcacheError
from cvcache.formats import item_damaged

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np


__all__ = ["LayerData", "cost", "layers", "with_contrast"]

CLIPPED_PERCENT = 0.1
"""Per cent of the pixels below the contrast range, and above it."""


def layers(item: object, *, name: str | None = None, **storage_options: Any) -> list[LayerData]:
    """Return the layers that show an item, as napari takes them: (data, attributes, type).

    Parameters
    ----------
    item : Item, Row, str, os.PathLike or UPath
        An item, its row, or the URL or path of any image; the URL of an image in a node is opened as its item.
    name : str, optional
        Name of the layers; by default node and item.
    **storage_options
        Of a URL.

    Returns
    -------
    list of (data, dict, str)
        Empty for items without layers, such as a log. Arrays are dask arrays, one task for each stored object; several
        levels are a list. ``metadata["cvcache"]`` has the origin of a layer: ``url``, ``node``, ``item``, ``path``,
        ``state``, ``commit`` (the attempt) and ``channel``.

    Raises
    ------
    FileNotFoundError
        There is nothing at the URL.
    ItemDamaged
        There is no image, or its metadata is invalid. When computed: a chunk is missing or corrupt.
    NodeReplaced
        The commit of the item is no longer the newest; also when computed, so that no layer mixes two results.
    UsageError
        It is a node, has no pixels, or is too large to be read as a whole.

    Notes
    -----
    No store call for an image or labels with recorded metadata, except that of the inventory if the item is new; one
    GET of the plan for an image that is being written; those of `open_image` for a foreign image; one LIST and one GET
    more for a URL. Contrast is never computed, see `with_contrast`. Points, tables and small arrays are read: one GET,
    for a table one LIST and one GET for each node in its node's key, for a foreign file one STAT and one GET more.
    """
    subject = locate(item, title=name, **storage_options)
    try:
        return _layers(subject)
    except (CvcacheError, OSError, ImportError):
        raise
    except Exception as error:
        # false metadata can raise any error in numpy, pandas and the decoders
        raise item_damaged(subject.item, f"{type(error).__name__} {error}") from error


def cost(layer: LayerData) -> int:
    """Return the number of bytes that are decoded for one plane of the coarsest level of a layer; nothing is read."""
    data, attributes, _ = layer
    plane_bytes = attributes.get("metadata", {}).get("cvcache", {}).get("plane_bytes")
    return int(plane_bytes if plane_bytes is not None else getattr(data, "nbytes", 0))


def with_contrast(layer: LayerData) -> LayerData:
    """Return a layer with contrast limits: if none are recorded, the range of most pixels of its coarsest level.

    Notes
    -----
    Reads the middle plane of the coarsest level, if that costs at most 256 MiB; call it in a worker. Of an uncommitted
    image, whose coarser levels are written last, also that of finer levels until one has pixels, within the same limit.
    A viewer without contrast limits reads as much, in the GUI thread.
    """
    data, attributes, kind = layer
    if kind != "image" or attributes.get("rgb") or "contrast_limits" in attributes:
        return layer
    levels = list(reversed(data)) if attributes.get("multiscale") else [data]
    state = attributes.get("metadata", {}).get("cvcache", {}).get("state")
    limits = _measure_contrast(levels if state in {"running", "failed"} else levels[:1])
    return data, {**attributes, "contrast_limits": limits or _type_limits(levels[0].dtype)}, kind


def _measure_contrast(levels: Sequence[da.Array]) -> tuple[float, float] | None:
    """Return the range of the middle plane of the first level that is not empty; None if that reads too much."""
    import numpy as np

    budget = MAX_BYTES
    for level in levels:
        leading = level.ndim - 2
        decoded = [*(level.chunks[axis][0] for axis in range(leading)), *level.shape[leading:], level.dtype.itemsize]
        budget -= math.prod(decoded)
        if budget < 0:
            return None
        if limits := _percentile_range(np.asarray(level[tuple(extent // 2 for extent in level.shape[:leading])])):
            return limits
    return None


def _percentile_range(plane: np.ndarray) -> tuple[float, float] | None:
    """Return the range of all but a few pixels, zeros excluded; None if all are zero."""
    import numpy as np

    values = plane[np.isfinite(plane) & (plane != 0)]
    if not values.size:
        return None
    low, high = (float(v) for v in np.percentile(values.astype("float64"), (CLIPPED_PERCENT, 100 - CLIPPED_PERCENT)))
    low = min(low, 0.0) if (plane == 0).any() else low
    low, high = max(low, -MAX_FLOAT), min(high, MAX_FLOAT)
    return (low, high) if low < high else (min(low, 0.0), max(low, 0.0))


def _type_limits(dtype: np.dtype) -> tuple[float, float]:
    import numpy as np

    return (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if dtype.kind in "iu" else (0.0, 1.0)


def _link_layers(link: Subject) -> list[LayerData]:
    """Return the layers of the target of a link."""
    from cvcache.image import resolve_link

    if link.item.meta.get("kind") not in {"image", None}:
        return []
    kind, target = resolve_link(link.item)
    return _layers(replace(locate_target(target), title=link.title, origin=link.origin)) if kind == "image" else []


_LAYERS_OF_KIND: dict[str, Callable[[Subject], list[LayerData]]] = {
    "array": array_layers,
    "image": image_layers,
    "link": _link_layers,
    "picture": array_layers,
    "points": points_layers,
    "table": table_layers,
}


def _layers(subject: Subject) -> list[LayerData]:
    make = _LAYERS_OF_KIND.get(subject.kind)
    return make(subject) if make else []
