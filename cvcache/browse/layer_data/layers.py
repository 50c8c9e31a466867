"""Layers of an item, a row, or the URL of an image."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.browse.layer_data.images import LayerData, LayerSource, image_layers, strict_item_path
from cvcache.browse.layer_data.settings import MAX_FLOAT
from cvcache.browse.layer_data.tables import MAX_BYTES, array_layers, attempt_of, points_layers, table_layers
from cvcache.browse.rows import Row, item_row
from cvcache.errors import CvcacheError, UsageError
from cvcache.formats import ItemPath, find_format, item_damaged
from cvcache.image import ZIP_SUFFIX, Location, parse_image_url
from cvcache.node import Item, item_io, read_snapshot, snapshot_of
from cvcache.store import is_control, layout, node_of
from cvcache.tree import resolve_address

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np


__all__ = ["LayerData", "cost", "layers", "with_contrast"]

ZARR = (".zarr", ZIP_SUFFIX)
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
    source = _source_of(item, name, storage_options)
    try:
        return _layers(source)
    except (CvcacheError, OSError, ImportError):
        raise
    except Exception as error:
        # false metadata can raise any error in numpy, pandas and the decoders
        raise item_damaged(source.item, f"{type(error).__name__} {error}") from error


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


def _layers(source: LayerSource) -> list[LayerData]:
    """Return the layers of a source, by its kind and suffix."""
    name, kind = source.name, source.item.meta.get("kind")
    if name.endswith(".ref"):
        return _link_layers(source)
    if name.endswith(ZARR) or (source.row is None and not _has_format(name)):
        return image_layers(source)
    if kind == "points" or name.endswith((".points.csv", ".points.parquet")):
        return points_layers(source)
    if name.endswith((".csv", ".parquet")):
        return table_layers(source)
    if name.endswith((".npy", ".npz", ".png")):
        return array_layers(source)
    return []


def _link_layers(source: LayerSource) -> list[LayerData]:
    """Return the layers of the target of a link."""
    from cvcache.image import resolve_link

    if source.item.meta.get("kind") not in {"image", None}:
        return []
    kind, target = resolve_link(source.item)
    if kind != "image":
        return []
    found = _source_of_location(target, source.title, {})
    return _layers(LayerSource(found.item, found.name, source.title, source.origin, found.row, found.slices))


def _has_format(name: str) -> bool:
    try:
        find_format(name)
    except CvcacheError:
        return False
    return True


def _source_of(item: object, name: str | None, options: Mapping[str, Any]) -> LayerSource:
    """Return the source of layers for any argument of `layers`."""
    is_url = isinstance(item, (str, os.PathLike)) and not hasattr(item, "__cvcache_input__")  # a node or item of a tree
    if is_url or hasattr(item, "storage_options"):
        return _source_of_location(
            parse_image_url(item, options), name, {**getattr(item, "storage_options", {}), **options}
        )
    if options:
        msg = f"storage options ({', '.join(options)}) belong to a URL; {item!r} has those of its tree"
        raise UsageError(msg)
    if isinstance(item, Item):
        node = snapshot_of(item.node)
        return _source_of_row(item_row("", node, node.state, item.name, item.meta), name, in_tree=False)
    if not getattr(item, "is_item", False):
        msg = f"{item!r} is no item; give node[name], the row of an item, or the URL of an image"
        raise UsageError(msg)
    return _source_of_row(item, name)


def _source_of_row(row: Any, name: str | None, *, in_tree: bool = True) -> LayerSource:
    """Return an item as a source; `in_tree` says that its path is one of the open tree."""
    item = strict_item_path(row)
    origin = {
        "url": item.url,
        "node": row.node.url,
        "item": row.name,
        "path": row.path if in_tree else "",
        "state": row.state,
        "commit": attempt_of(row),
    }
    return LayerSource(item, row.name, name or f"{row.node.address.name}/{_stem(row.name)}", origin, row)


def _source_of_location(target: Location, name: str | None, options: Mapping[str, Any]) -> LayerSource:
    """Return the item at a location, or the foreign image."""
    row = _row_at(target, options)
    if row is not None:
        found = _source_of_row(row, name, in_tree=False)
        return LayerSource(found.item, found.name, found.title, found.origin, row, target.slices)
    url, path = target.store.url(target.path), target.path
    *above, last = path.split("/")
    origin = {"url": url, "node": "", "item": last, "path": "", "state": "foreign", "commit": ""}
    title = name or "/".join([*above[-1:], _stem(last)]).lstrip("/")
    return LayerSource(ItemPath(target.store, path), last, title, origin, None, target.slices)


def _row_at(target: Location, options: Mapping[str, Any]) -> Row | None:
    """Return the item at a location, None for a foreign image; one LIST and one GET, one LIST more if uncommitted."""
    path = node_of(target.path)
    inside = target.path.removeprefix(f"{path}/").split("/")
    if len(inside) > 1 and not is_control(inside[0]):
        return None
    try:
        node = read_snapshot(resolve_address(target.store.url(path), **options))
        record, rows = node.record, item_io.read_rows(node)
    except (CvcacheError, OSError):
        return None
    if record is None or f"{layout.data_root(path, record)}/{inside[-1]}" != target.path or inside[-1] not in rows:
        return None
    return item_row("", node, node.state, inside[-1], rows[inside[-1]])


def _stem(name: str) -> str:
    """Return the name of an item without the suffix of its format."""
    try:
        return name.removesuffix(find_format(name).suffix).rstrip(".") or name
    except CvcacheError:
        return name.removesuffix(".zarr")
