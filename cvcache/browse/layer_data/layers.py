"""From an item, a row or the URL of an image to the layers a viewer shows it as."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from cvcache.browse.layer_data.images import LayerData, Subject, image_layers, watched_place
from cvcache.browse.layer_data.settings import LARGEST
from cvcache.browse.layer_data.tables import MOST_BYTES, array_layers, attempt_of, points_layers, table_layers
from cvcache.browse.rows import Row, item_row
from cvcache.errors import CvcacheError, UsageError
from cvcache.formats import ItemPath, find_format, item_damaged
from cvcache.image import ZIP_SUFFIX, Location, parse_image_url
from cvcache.node import Item
from cvcache.store import is_control, layout, node_of
from cvcache.tree import cdir

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from cvcache.node import CacheDir

__all__ = ["LayerData", "cost", "layers", "with_contrast"]

ZARR = (".zarr", ZIP_SUFFIX)
SHARE = 0.1
"""Per cent of pixels that are darker, and brighter, than what is shown."""


def layers(item: object, *, name: str | None = None, **storage_options: Any) -> list[LayerData]:
    """Return the layers that show an item, as napari takes them: (data, attributes, type).

    Parameters
    ----------
    item : Item, Row, str, os.PathLike or UPath
        An item, the row of one, or the URL or path of any image; one that lies in a node is opened as its item.
    name : str, optional
        What the layers are called; by default node and item.
    **storage_options
        Of a URL.

    Returns
    -------
    list of (data, dict, str)
        Nothing for what is shown in no layer, such as a log. Arrays are dask's, one task for each stored object; of
        several levels a list. ``metadata["cvcache"]`` says where a layer is from: ``url``, ``node``, ``item``,
        ``path``, ``state``, ``commit`` (the attempt) and ``channel``.

    Raises
    ------
    FileNotFoundError
        There is nothing at the URL.
    ItemDamaged
        There is no image, or its metadata is not to be trusted. When computed: a chunk is missing or corrupt.
    NodeReplaced
        The commit that the item belongs to is no longer the newest; also when computed, so that nothing shows two.
    UsageError
        It is a node, has no pixels, or is too large to be read whole.

    Notes
    -----
    Of an image or labels whose metadata is recorded no store call, but the inventory's where the item is new; of one
    that is being written one GET of its plan; of a foreign one those of `open_image`; of a URL one LIST and one GET
    more. Contrast is never computed, see `with_contrast`. Points, tables and small arrays are read: one GET, and of a
    table one LIST and one GET for each node in its node's key; of a foreign one a STAT and one GET more.
    """
    subject = _subject(item, name, storage_options)
    try:
        return _layers(subject)
    except (CvcacheError, OSError, ImportError):
        raise
    except Exception as error:
        # whatever a row or file that lies makes of numpy, pandas and the decoders
        raise item_damaged(subject.place, f"{type(error).__name__} {error}") from error


def cost(layer: LayerData) -> int:
    """Return how many bytes are decoded to paint the first plane of a layer, of its coarsest level; nothing is read."""
    data, attributes, _ = layer
    told = attributes.get("metadata", {}).get("cvcache", {}).get("plane_bytes")
    return int(told if told is not None else getattr(data, "nbytes", 0))


def with_contrast(layer: LayerData) -> LayerData:
    """Return a layer whose contrast is set: where none is recorded, what most pixels of its coarsest level lie between.

    Notes
    -----
    Reads the middle plane of the coarsest level, if that costs at most 256 MiB; for a worker thread. Of an image that
    is not committed, whose coarser levels come last, also of finer ones while there is nothing in it and all of them
    cost no more than that. A viewer that is given no contrast reads as much, in the thread of its window.
    """
    data, attributes, kind = layer
    if kind != "image" or attributes.get("rgb") or "contrast_limits" in attributes:
        return layer
    levels = list(reversed(data)) if attributes.get("multiscale") else [data]
    state = attributes.get("metadata", {}).get("cvcache", {}).get("state")
    limits = _measured(levels if state in {"running", "failed"} else levels[:1])
    return data, {**attributes, "contrast_limits": limits or _type_limits(levels[0].dtype)}, kind


def _measured(levels: Sequence[da.Array]) -> tuple[float, float] | None:
    """Return the range of the middle plane of the first level that holds something; None where too much is to read."""
    import numpy as np

    left = MOST_BYTES
    for level in levels:
        leading = level.ndim - 2
        decoded = [*(level.chunks[axis][0] for axis in range(leading)), *level.shape[leading:], level.dtype.itemsize]
        left -= math.prod(decoded)
        if left < 0:
            return None
        if found := _range_of(np.asarray(level[tuple(extent // 2 for extent in level.shape[:leading])])):
            return found
    return None


def _range_of(plane: np.ndarray) -> tuple[float, float] | None:
    """Return the range that all but a few pixels lie in; of those that are not 0, as far as there are any."""
    import numpy as np

    values = plane[np.isfinite(plane) & (plane != 0)]
    if not values.size:
        return None
    low, high = (float(v) for v in np.percentile(values.astype("float64"), (SHARE, 100 - SHARE)))
    low = min(low, 0.0) if (plane == 0).any() else low
    low, high = max(low, -LARGEST), min(high, LARGEST)
    return (low, high) if low < high else (min(low, 0.0), max(low, 0.0))


def _type_limits(dtype: np.dtype) -> tuple[float, float]:
    import numpy as np

    return (float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)) if dtype.kind in "iu" else (0.0, 1.0)


def _layers(subject: Subject) -> list[LayerData]:
    """Return the layers of a subject, by its kind and the ending of its name."""
    name, kind = subject.name, subject.place.meta.get("kind")
    if name.endswith(".ref"):
        return _linked(subject)
    if name.endswith(ZARR) or (subject.row is None and not _has_format(name)):
        return image_layers(subject)
    if kind == "points" or name.endswith((".points.csv", ".points.parquet")):
        return points_layers(subject)
    if name.endswith((".csv", ".parquet")):
        return table_layers(subject)
    if name.endswith((".npy", ".npz", ".png")):
        return array_layers(subject)
    return []


def _linked(subject: Subject) -> list[LayerData]:
    """Return the layers of what a link leads to."""
    from cvcache.image import resolve_link

    if subject.place.meta.get("kind") not in {"image", None}:
        return []
    kind, target = resolve_link(subject.place)
    if kind != "image":
        return []
    found = _of_location(target, subject.title, {})
    return _layers(Subject(found.place, found.name, subject.title, subject.about, found.row, found.slices))


def _has_format(name: str) -> bool:
    try:
        find_format(name)
    except CvcacheError:
        return False
    return True


def _subject(item: object, name: str | None, options: Mapping[str, Any]) -> Subject:
    """Return what is to be shown, and what its layers are called."""
    if isinstance(item, (str, os.PathLike)) or hasattr(item, "storage_options"):
        return _of_location(parse_image_url(item, options), name, {**getattr(item, "storage_options", {}), **options})
    if options:
        msg = f"storage options ({', '.join(options)}) belong to a URL; {item!r} has those of its tree"
        raise UsageError(msg)
    if isinstance(item, Item):
        node = cast("CacheDir", item.node)
        return _of_row(item_row("", node, node.own_state, item.name, item.meta), name, known=False)
    if not getattr(item, "is_item", False):
        msg = f"{item!r} is no item; give node[name], the row of an item, or the URL of an image"
        raise UsageError(msg)
    return _of_row(item, name)


def _of_row(row: Any, name: str | None, *, known: bool = True) -> Subject:
    """Return an item as a subject; `known` says that its path is one of the tree that is looked at."""
    place = watched_place(row)
    about = {
        "url": place.url,
        "node": row.node.url,
        "item": row.name,
        "path": row.path if known else "",
        "state": row.state,
        "commit": attempt_of(row),
    }
    return Subject(place, row.name, name or f"{row.node.name}/{_stem(row.name)}", about, row)


def _of_location(target: Location, name: str | None, options: Mapping[str, Any]) -> Subject:
    """Return the item that lies there, or the foreign image."""
    row = _row_at(target, options)
    if row is not None:
        found = _of_row(row, name, known=False)
        return Subject(found.place, found.name, found.title, found.about, row, target.slices)
    url, path = target.store.url(target.path), target.path
    *above, last = path.split("/")
    about = {"url": url, "node": "", "item": last, "path": "", "state": "foreign", "commit": ""}
    title = name or "/".join([*above[-1:], _stem(last)]).lstrip("/")
    return Subject(ItemPath(target.store, path), last, title, about, None, target.slices)


def _row_at(target: Location, options: Mapping[str, Any]) -> Row | None:
    """Return the item of a node that lies there; one LIST and one GET, of a node not committed one LIST more."""
    path = node_of(target.path)
    inside = target.path.removeprefix(f"{path}/").split("/")
    if len(inside) > 1 and not is_control(inside[0]):
        return None
    try:
        node: CacheDir = cdir(target.store.url(path), **options).snapshot()
        record, rows = node.record(), node.rows()
    except (CvcacheError, OSError):
        return None
    if record is None or f"{layout.data_root(path, record)}/{inside[-1]}" != target.path or inside[-1] not in rows:
        return None
    return item_row("", node, node.own_state, inside[-1], rows[inside[-1]])


def _stem(name: str) -> str:
    """Return the name of an item without the ending that says its format."""
    try:
        return name.removesuffix(find_format(name).suffix).rstrip(".") or name
    except CvcacheError:
        return name.removesuffix(".zarr")
