"""All levels of a pyramid in one dask graph: a reduction tree of tasks that each write whole chunks.

A task gets one *unit* of its level (the chunks that one chunk of the next level covers), writes it,
and passes on its mean and what has been written so far. Each block of the source is computed once,
no two tasks write the same chunk, nothing is read back, and the caller receives only counts.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cvcache.errors import NotReproducible, UsageError
from cvcache.pyramid import Level, grid

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from cvcache.formats.place import Place

Limits = Mapping[int, tuple[float, float]]


class Tally(NamedTuple):
    """What was written: objects, their bytes, and per channel the least and greatest finite value of the last level."""

    objects: int
    bytes: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class Plan:
    """What each task of one pyramid has to know.

    Attributes
    ----------
    place : Place
        In another process without what ties it to this one.
    dtype, stored_dtype : str
        Of the source's blocks, and of what is written.
    levels : tuple of Level
    documents : tuple of mapping
        The ``zarr.json`` of each level.
    paths : tuple of str
        Where in the item each level lies.
    labels : bool
        Shrink by picking instead of averaging.
    channel_axis : int or None
    """

    place: Place
    dtype: str
    stored_dtype: str
    levels: tuple[Level, ...]
    documents: tuple[Mapping[str, Any], ...]
    paths: tuple[str, ...]
    labels: bool
    channel_axis: int | None

    def step(self, n: int) -> tuple[int, ...]:
        """Return by what level `n` is divided to give the next; ones for the last."""
        here = self.levels[n].factors
        following = self.levels[min(n + 1, len(self.levels) - 1)].factors
        return tuple(b // a for a, b in zip(here, following, strict=True))

    def unit(self, n: int) -> tuple[int, ...]:
        """Return the extent of what one task writes of level `n`, in pixels."""
        return tuple(chunk * f for chunk, f in zip(self.levels[n].chunks, self.step(n), strict=True))

    @property
    def chunk_count(self) -> int:
        """How many chunks all levels have."""
        total = 0
        for level in self.levels:
            count = 1
            for n in grid(level.shape, level.chunks):
                count *= n
            total += count
        return total


def write_pyramid(plan: Plan, source: da.Array, scheduler: str | None = None) -> Tally:
    """Write all chunks of all levels and return what was written.

    Parameters
    ----------
    plan : Plan
    source : dask.array.Array
        Of the shape of level 0.
    scheduler : str, optional
        dask's; what is configured if not given.

    Raises
    ------
    NotReproducible
        A block of `source` has another dtype or shape than `source` says.

    Notes
    -----
    One PUT per chunk, no GET, no LIST.
    """
    parts: Any = source.rechunk(plan.unit(0), method="tasks")
    for n, level in enumerate(plan.levels):
        blocks = grid(level.shape, plan.unit(n))
        if n:
            parts = parts.rechunk(plan.step(n), method="tasks")
        parts = _map(functools.partial(_write_unit, plan, n), parts, blocks)
    tops = parts.compute(scheduler=scheduler)
    tally: Tally = functools.reduce(_add, (tally for _, tally in tops.flat))
    return tally


def needs_share(place: Place, source: da.Array) -> bool:
    """Whether computing `source` hands tasks to other processes.

    Raises
    ------
    UsageError
        It does, and they cannot see the store.
    """
    import dask
    import dask.local
    import dask.threaded

    get = dask.base.get_scheduler(collections=[source])
    if get is None or get in (dask.threaded.get, dask.local.get_sync):
        return False
    client = getattr(get, "__self__", None)
    address = str(getattr(getattr(client, "scheduler", None), "address", ""))
    if not place.store.shared and not address.startswith("inproc://"):
        msg = f"{place.url} is visible to this process only, and dask computes in others; use a directory or bucket"
        raise UsageError(msg)
    return True


def _map(function: Callable[..., np.ndarray], parts: Any, blocks: tuple[int, ...]) -> Any:
    """Return the dask array of one object per unit that `function` gives."""
    import numpy as np

    if parts.numblocks != blocks:
        msg = f"the levels do not nest: {parts.numblocks} blocks where {blocks} are written"
        raise AssertionError(msg)
    return parts.map_blocks(
        function,
        chunks=tuple((1,) * n for n in blocks),
        meta=np.empty((0,) * parts.ndim, dtype=object),
        name=f"cvcache-write-{uuid.uuid4().hex}",
    )


def _write_unit(plan: Plan, n: int, part: np.ndarray, block_id: tuple[int, ...] | None = None) -> np.ndarray:
    """Write one unit of level `n`; return, as one object, its share of the next level and the tally so far."""
    import numpy as np

    from cvcache.formats.downsample import local_mean, nearest
    from cvcache.formats.zarr_store import write_region

    level = plan.levels[n]
    place = zip(block_id or (), plan.unit(n), level.shape, strict=True)
    region = tuple(slice(i * unit, min((i + 1) * unit, extent)) for i, unit, extent in place)
    block, done = _checked(plan, region, part) if n == 0 else _assembled(part)
    objects, size = write_region(plan.place, plan.paths[n], plan.documents[n], region, block)
    last = n == len(plan.levels) - 1
    small = None if last else (nearest if plan.labels else local_mean)(block, plan.step(n))
    tally = _add(done, Tally(objects, size, _limits(plan, region, block) if last else {}))
    result = np.empty((1,) * block.ndim, dtype=object)
    result[(0,) * block.ndim] = (small, tally)
    return result


def _checked(plan: Plan, region: tuple[slice, ...], block: np.ndarray) -> tuple[np.ndarray, Tally]:
    """Return a block of the source as it is written; dask itself trusts what a graph says of its blocks."""
    shape = tuple(part.stop - part.start for part in region)
    if str(block.dtype) != plan.dtype or block.shape != shape:
        msg = (
            f"{plan.place.url} was not written: the dask array says {plan.dtype} {shape}, but a block of it came out "
            f"as {block.dtype} {block.shape}; name the right dtype= and chunks= in the map_blocks that makes it"
        )
        raise NotReproducible(msg)
    return block.astype(plan.stored_dtype, copy=False), Tally(0, 0, {})


def _assembled(parts: np.ndarray) -> tuple[np.ndarray, Tally]:
    """Return the block whose tiles are in `parts`, an object array of (tile, tally)."""
    import numpy as np

    tiles = np.empty(parts.shape, dtype=object)
    for index in np.ndindex(parts.shape):
        tiles[index] = parts[index][0]
    return np.block(tiles.tolist()), functools.reduce(_add, (tally for _, tally in parts.flat))


def _limits(plan: Plan, region: tuple[slice, ...], block: np.ndarray) -> Limits:
    import numpy as np

    if plan.labels or block.dtype.kind == "c":
        return {}
    axis = plan.channel_axis
    planes = {0: block} if axis is None else dict(enumerate(np.moveaxis(block, axis, 0), region[axis].start))
    finite = {i: plane[np.isfinite(plane)] for i, plane in planes.items()}
    return {i: (plane.min().item(), plane.max().item()) for i, plane in finite.items() if plane.size}


def _add(a: Tally, b: Tally) -> Tally:
    limits = dict(a.limits)
    for channel, (low, high) in b.limits.items():
        known = limits.get(channel, (low, high))
        limits[channel] = (min(low, known[0]), max(high, known[1]))
    return Tally(a.objects + b.objects, a.bytes + b.bytes, limits)
