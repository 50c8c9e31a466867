"""One level of a stored image as an array: lazy, or all of it."""

from __future__ import annotations

import hashlib
import itertools
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError
from cvcache.image.pyramid import grid
from cvcache.image.read.describe import look, spec_of, unpack_chunks
from cvcache.image.read.slices import parse_slices
from cvcache.image.read.slices import window as window_of
from cvcache.image.read.stored_array import DOCUMENTS, StoredArray, Window, compose, length, whole

if TYPE_CHECKING:
    import dask.array as da
    from dask.highlevelgraph import HighLevelGraph

    from cvcache.formats import ItemPath
    from cvcache.image.read.describe import Level

MOST_TASKS = 1_000_000
"""A lazy array of more chunks than this has several of them in one task."""

MOST_GRAPHS = 128
_graphs: dict[tuple[Any, ...], tuple[HighLevelGraph, StoredArray]] = {}
"""Name, chunks, store and memory tier -> the graph made for them, and what keeps these ids theirs."""


def open_level(item: ItemPath, level: int, *parts: Sequence[Any] | str | None) -> tuple[StoredArray, Mapping[str, Any]]:
    """Return one level of the image at `item`, or a part of it, and the image's metadata.

    Parameters
    ----------
    item : ItemPath
    level : int
        0 is the image itself; -1 the coarsest.
    *parts : slices, str or None
        Each takes its part of what those before it left.

    Raises
    ------
    UsageError
        There is no such level, or the slices do not fit it.
    ItemDamaged
        There is no image.

    Notes
    -----
    No store call where the metadata is recorded; else those of `cvcache.image.read.describe.look`.
    """
    meta, levels = described(item)
    return stored_level(item, meta, levels, level, *parts), meta


def described(item: ItemPath) -> tuple[Mapping[str, Any], Sequence[Level]]:
    """Return the metadata of the image at `item`, and its levels where that takes a look; see `open_level`."""
    return (item.meta, ()) if item.meta.get("stored") else look(item)


def stored_level(
    item: ItemPath,
    meta: Mapping[str, Any],
    levels: Sequence[Level],
    level: int,
    *parts: Sequence[Any] | str | None,
    fresh: bool = False,
) -> StoredArray:
    """Return one level of an image, or a part of it, from what `described` gave; no other store call than for a name.

    With ``fresh=True`` its name is new in each call where no commit vouches for the bytes, so that nobody who keeps
    blocks by their names takes what lay there before for what lies there now; and there is no store call.
    """
    import numpy as np

    if not -meta["levels"] <= level < meta["levels"]:
        msg = f"{item.url} has no level {level}, only 0 to {meta['levels'] - 1}"
        raise UsageError(msg)
    level %= meta["levels"]
    window = whole(meta["shapes"][level], meta["added"])
    for part in parts:
        if part is not None:
            seen = [length(axis) for axis in window if isinstance(axis, slice)]
            window, _ = compose(window, window_of(parse_slices(part), seen))
    spec = levels[level].spec if levels else spec_of(meta, level)
    seen_as = view(meta, level, window)
    version, dtype = _version(item, levels, fresh=fresh), np.dtype(meta["dtype"])
    if levels and "stored" not in meta:
        dtype = levels[level].dtype.newbyteorder("=")
    if spec is not None:
        return StoredArray(item, spec, window, dtype, bool(meta["complete"]), version, seen_as)
    from cvcache.image.read.foreign import ZarrArray

    return ZarrArray.of(item, levels[level], window, dtype, seen_as, version)


def _version(item: ItemPath, levels: Sequence[Level], *, fresh: bool) -> str:
    """Return what tells one content of a place from another where no commit does; in a bucket nothing but chance."""
    if item.pin:
        return ""
    if fresh or (item.remote and item.store.scheme != "zip"):
        return uuid.uuid4().hex
    told = repr([one.document for one in levels]) + repr(sorted(item.meta.items()))
    return hashlib.sha256(f"{told}{item.fingerprint(DOCUMENTS)}".encode()).hexdigest()[:16]


def view(meta: Mapping[str, Any], level: int, window: Window) -> dict[str, Any]:
    """Return shape, axes, scale, translation and unit of what a window shows of a level; whether somebody said them."""
    kept = [i for i, part in enumerate(window) if isinstance(part, slice)]
    stored = [i for i in range(len(window)) if i not in meta["added"]]
    scales, translations = meta["scales"][level], meta["translations"][level]
    parts: list[Any] = [window[i] for i in kept]
    axes = [meta["axes"][stored.index(i)] for i in kept]
    channels = meta.get("channels")
    if channels and "c" in axes:
        part = parts[axes.index("c")]
        channels = (
            [channels[i] for i in range(part.start, part.stop, part.step)] if part.stop <= len(channels) else None
        )
    return {
        "shape": [length(part) for part in parts],
        "axes": axes,
        "scale": [scales[i] * part.step for i, part in zip(kept, parts, strict=True)],
        "translation": [translations[i] + part.start * scales[i] for i, part in zip(kept, parts, strict=True)],
        "unit": {name: unit for name, unit in meta["unit"].items() if name in axes},
        "placed": meta["kind"] != "array",
        **({"channels": list(channels)} if channels and "c" in axes else {}),
    }


def overview(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return what level 0 of an image shows, from its recorded metadata."""
    return view(meta, 0, whole(meta["shapes"][0], meta["added"]))


def lazy(
    stored: StoredArray, source: Sequence[Sequence[Sequence[int]]] | None = None, added: Sequence[int] = ()
) -> da.Array:
    """Return a stored array as a dask array, in the chunks it was written with where they are known.

    Where those begin and end at borders of stored objects each is one task, which reads no more than a slice
    of it asks for. Else each stored object is a task, so that none is read twice.

    Parameters
    ----------
    stored : StoredArray
    source : list, optional
        dask's chunks of the whole level, as `cvcache.image.read.describe.pack_chunks` gives them.
    added : sequence of int
        The stored axes that `source` does not have.
    """
    axes = [i for i, part in enumerate(stored.window) if isinstance(part, slice)]
    parts: list[Any] = [stored.window[i] for i in axes]
    grains = [stored.spec.unit[i] for i in axes]
    given = None
    if source is not None:
        unpacked = iter(unpack_chunks(source))
        every = [(1,) if i in added else next(unpacked) for i in range(len(stored.window))]
        given = [every[i] for i in axes]
    direct = given is not None and all(map(_aligned, given, grains))
    chunks = given if given is not None and direct else _regular([stored.spec.shape[i] for i in axes], grains)
    array = _graph(stored, tuple(map(_seen, chunks, parts)))
    if given is not None and not direct:
        array = array.rechunk(tuple(map(_seen, given, parts)), method="tasks")
    return array


def _graph(stored: StoredArray, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """Do what ``dask.array.from_array`` does for such an array, which spends most of its time on finding that out."""
    import numpy as np
    from dask.array.core import Array

    name, item = stored.name, stored.item
    known = (name, chunks, id(item.store), id(item.ram), item.strict)
    if known not in _graphs:
        if len(_graphs) >= MOST_GRAPHS:
            _graphs.clear()
        _graphs[known] = _layers(stored, name, chunks), stored
    return Array(_graphs[known][0], name, chunks, meta=np.empty((0,) * len(chunks), dtype=stored.dtype))


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


def _aligned(axis: Sequence[int], grain: int) -> bool:
    """Whether all borders between chunks along an axis are borders of stored objects too."""
    return all(border % grain == 0 for border in itertools.accumulate(axis[:-1]))


def _cut(extent: int, grain: int) -> tuple[int, ...]:
    count, rest = divmod(extent, grain)
    return tuple([grain] * count + [rest] * bool(rest)) or (0,)


def _regular(shape: Sequence[int], grains: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the chunks, with neighbours put together until they are few enough for a graph."""
    merged = list(grains)
    while math.prod(counts := grid(shape, merged)) > MOST_TASKS:
        merged[counts.index(max(counts))] *= 2
    return [_cut(extent, grain) for extent, grain in zip(shape, merged, strict=True)]


def _seen(axis: Sequence[int], part: slice) -> tuple[int, ...]:
    """Return how many pixels of each chunk along one axis lie in the window."""
    if (part.start, part.stop, part.step) == (0, sum(axis), 1):
        return tuple(axis)
    ends = list(itertools.accumulate(axis))
    counts = [
        len(range(part.start, min(end, part.stop), part.step))
        - len(range(part.start, min(end - n, part.stop), part.step))
        for n, end in zip(axis, ends, strict=True)
    ]
    return tuple(count for count in counts if count) or (0,)
