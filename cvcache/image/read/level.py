"""One level of a stored image as a `StoredArray`, and as a lazy dask array."""

from __future__ import annotations

import hashlib
import itertools
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError
from cvcache.image.pyramid import grid_shape
from cvcache.image.read.describe import read_image_metadata, recorded_spec, unpack_chunks
from cvcache.image.read.slices import parse_slices, resolve_slices
from cvcache.image.read.stored_array import (
    METADATA_NAMES,
    StoredArray,
    Window,
    full_window,
    index_window,
    slice_length,
    visible_parts,
)

if TYPE_CHECKING:
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    from cvcache.formats import ItemPath
    from cvcache.image.read.describe import StoredLevel

MAX_TASKS = 1_000_000
"""A lazy array with more chunks than this reads several in one task."""

MAX_CACHED_GRAPHS = 128
_graphs: dict[tuple[Any, ...], tuple[HighLevelGraph, StoredArray]] = {}
"""Name, chunks, store and memory cache -> graph, and the array, which keeps the two ids in the key valid."""


def open_level(item: ItemPath, level: int, *parts: Sequence[Any] | str | None) -> tuple[StoredArray, Mapping[str, Any]]:
    """Return one level of the image `item`, or a part of it, and the image's metadata.

    Parameters
    ----------
    item : ItemPath
    level : int
        0 is the image itself; -1 the coarsest.
    *parts : slices, str or None
        Applied one after the other.

    Raises
    ------
    UsageError
        There is no such level, or the slices do not fit it.
    ItemDamaged
        There is no image.

    Notes
    -----
    No store call if the metadata is recorded; else those of `read_image_metadata`.
    """
    meta, levels = image_metadata(item)
    return level_array(item, meta, levels, level, *parts), meta


def image_metadata(item: ItemPath) -> tuple[Mapping[str, Any], Sequence[StoredLevel]]:
    """Return the metadata of the image `item` as recorded, or read it and the levels too; see `open_level`."""
    return (item.meta, ()) if item.meta.get("stored") else read_image_metadata(item)


def level_array(
    item: ItemPath,
    meta: Mapping[str, Any],
    levels: Sequence[StoredLevel],
    level: int,
    *parts: Sequence[Any] | str | None,
    fresh: bool = False,
) -> StoredArray:
    """Return one level of an image, or a part, given the result of `image_metadata`; store calls only for its name.

    With ``fresh=True`` the name of an array without a commit is new in each call, so that a cache of blocks by name
    cannot return outdated pixels; there is no store call then.
    """
    import numpy as np

    if not -meta["levels"] <= level < meta["levels"]:
        msg = f"{item.url} has no level {level}, only 0 to {meta['levels'] - 1}"
        raise UsageError(msg)
    level %= meta["levels"]
    window = full_window(meta["shapes"][level], meta["added"])
    for part in parts:
        if part is not None:
            shape = [slice_length(axis) for axis in window if isinstance(axis, slice)]
            window, _ = index_window(window, resolve_slices(parse_slices(part), shape))
    spec = levels[level].spec if levels else recorded_spec(meta, level)
    geometry = window_geometry(meta, level, window)
    version, dtype = _version(item, levels, fresh=fresh), np.dtype(meta["dtype"])
    if levels and "stored" not in meta:
        dtype = levels[level].dtype.newbyteorder("=")
    if spec is not None:
        return StoredArray(item, spec, window, dtype, bool(meta["complete"]), version, geometry)
    from cvcache.image.read.foreign import ForeignStoredArray

    return ForeignStoredArray.from_level(item, levels[level], window, dtype, geometry, version)


def _version(item: ItemPath, levels: Sequence[StoredLevel], *, fresh: bool) -> str:
    """Return a token for the current content of an item without a commit; in a bucket a random one."""
    if item.pin:
        return ""
    if fresh or (item.remote and item.store.scheme != "zip"):
        return uuid.uuid4().hex
    metadata = repr([level_.document for level_ in levels]) + repr(sorted(item.meta.items()))
    return hashlib.sha256(f"{metadata}{item.fingerprint(METADATA_NAMES)}".encode()).hexdigest()[:16]


def window_geometry(meta: Mapping[str, Any], level: int, window: Window) -> dict[str, Any]:
    """Return shape, axes, scale, translation and unit of a window of a level, and if they are known (``placed``)."""
    visible = visible_parts(window)
    stored_axes = [i for i in range(len(window)) if i not in meta["added"]]
    scales, translations = meta["scales"][level], meta["translations"][level]
    axes = [meta["axes"][stored_axes.index(i)] for i, _ in visible]
    channels = _window_channels(meta.get("channels") or (), axes, visible)
    return {
        "shape": [slice_length(part) for _, part in visible],
        "axes": axes,
        "scale": [scales[i] * part.step for i, part in visible],
        "translation": [translations[i] + part.start * scales[i] for i, part in visible],
        "unit": {name: unit for name, unit in meta["unit"].items() if name in axes},
        "placed": meta["kind"] != "array",
        **({"channels": channels} if channels else {}),
    }


def _window_channels(names: Sequence[str], axes: Sequence[str], visible: Sequence[tuple[int, slice]]) -> list[str]:
    """Return the names of the channels in a window; empty if it has no axis of them, or not all have a name."""
    if "c" not in axes:
        return []
    _, part = visible[axes.index("c")]
    return list(names[part]) if part.stop <= len(names) else []


def image_geometry(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `window_geometry` of all of level 0, from recorded metadata."""
    return window_geometry(meta, 0, full_window(meta["shapes"][0], meta["added"]))


def as_dask_array(
    stored: StoredArray, source_chunks: Sequence[Sequence[Sequence[int]]] | None = None, added: Sequence[int] = ()
) -> da.Array:
    """Return a stored array as a dask array, in the chunks that were written if they are known.

    If their borders are borders of stored objects, each chunk is one task, which reads only what a slice of it needs.
    Else each stored object is a task, so that none is read twice, and the array is rechunked.

    Parameters
    ----------
    stored : StoredArray
    source_chunks : list, optional
        dask's chunks of the whole level, as `pack_chunks` returns them.
    added : sequence of int
        The stored axes that `source_chunks` does not have.
    """
    visible = visible_parts(stored.window)
    axes, parts = [i for i, _ in visible], [part for _, part in visible]
    object_extents = [stored.spec.object_shape[i] for i in axes]
    level_chunks = None
    if source_chunks is not None:
        unpacked = iter(unpack_chunks(source_chunks))
        all_chunks = [(1,) if i in added else next(unpacked) for i in range(len(stored.window))]
        level_chunks = [all_chunks[i] for i in axes]
    is_aligned = level_chunks is not None and all(map(_is_aligned, level_chunks, object_extents))
    chunks = (
        level_chunks
        if level_chunks is not None and is_aligned
        else _regular_chunks([stored.spec.shape[i] for i in axes], object_extents)
    )
    array = _graph(stored, tuple(map(_visible_chunks, chunks, parts)))
    if level_chunks is not None and not is_aligned:
        array = array.rechunk(tuple(map(_visible_chunks, level_chunks, parts)), method="tasks")
    return array


def _graph(stored: StoredArray, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """Return the dask array of a stored array, as ``dask.array.from_array`` does, but much faster."""
    import numpy as np
    from dask.array.core import Array

    name, item = stored.name, stored.item
    cache_key = (name, chunks, id(item.store), id(item.ram), item.strict)
    if cache_key not in _graphs:
        if len(_graphs) >= MAX_CACHED_GRAPHS:
            _graphs.clear()
        _graphs[cache_key] = _layers(stored, name, chunks), stored
    return Array(_graphs[cache_key][0], name, chunks, meta=np.empty((0,) * len(chunks), dtype=stored.dtype))


def _layers(stored: StoredArray, name: str, chunks: tuple[tuple[int, ...], ...]) -> HighLevelGraph:
    from dask._task_spec import TaskRef
    from dask.array.core import getter
    from dask.blockwise import blockwise
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
    from dask.layers import ArraySliceDep

    source, axes = f"original-{name}", tuple(range(len(chunks)))
    task = (TaskRef(source), None, ArraySliceDep(chunks), axes)
    slices = blockwise(getter, name, axes, *task, numblocks={}, _data_producer=True, asarray=False, lock=False)
    layers = {source: MaterializedLayer({source: stored}), name: slices}
    return HighLevelGraph(layers, {source: set(), name: {source}})


def _is_aligned(axis: Sequence[int], object_extent: int) -> bool:
    """Whether all borders between chunks along an axis are borders of stored objects."""
    return all(border % object_extent == 0 for border in itertools.accumulate(axis[:-1]))


def _split_extent(extent: int, object_extent: int) -> tuple[int, ...]:
    count, rest = divmod(extent, object_extent)
    return tuple([object_extent] * count + [rest] * bool(rest)) or (0,)


def _regular_chunks(shape: Sequence[int], object_extents: Sequence[int]) -> list[tuple[int, ...]]:
    """Return regular chunks of whole objects, few enough for a graph."""
    extents = list(object_extents)
    while math.prod(counts := grid_shape(shape, extents)) > MAX_TASKS:
        extents[counts.index(max(counts))] *= 2
    return [_split_extent(extent, object_extent) for extent, object_extent in zip(shape, extents, strict=True)]


def _visible_chunks(axis: Sequence[int], part: slice) -> tuple[int, ...]:
    """Return the number of pixels of each chunk along one axis that are in the window."""
    if (part.start, part.stop, part.step) == (0, sum(axis), 1):
        return tuple(axis)
    ends = list(itertools.accumulate(axis))
    counts = [
        len(range(part.start, min(end, part.stop), part.step))
        - len(range(part.start, min(end - n, part.stop), part.step))
        for n, end in zip(axis, ends, strict=True)
    ]
    return tuple(count for count in counts if count) or (0,)
