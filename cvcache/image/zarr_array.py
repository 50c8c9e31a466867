"""One array of any rank as plain zarr 3 (``.zarr``): no levels, no meaning of its axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from cvcache.errors import UsageError
from cvcache.formats import not_reproducible
from cvcache.image.arrays import ArraySpec, parse_compressor
from cvcache.image.ome_zarr import describe, read
from cvcache.image.pyramid import CHUNK_BYTES, Level, blocks, default_shards
from cvcache.image.read import describe as described
from cvcache.image.write import (
    Plan,
    announcement,
    as_array,
    check_numbers,
    check_progress,
    compute,
    log_plan,
    put_json,
    share,
    wholes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cvcache.formats import ItemPath

__all__ = ["describe", "read", "write"]

MOST_AXES = 32


def write(
    item: ItemPath,
    obj: object,
    /,
    *,
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | Literal[False] | None = None,
    compressor: object = "blosc",
    progress: Callable[[int, int], object] | bool | None = None,
) -> dict[str, Any]:
    """Write one array; a dask array is computed meanwhile, each block once.

    Parameters
    ----------
    item : ItemPath
    obj : numpy.ndarray, dask.array.Array, zarr.Array or xarray.DataArray
        Of rank 1 to 32 and any integer, float, complex or bool dtype.
    chunks : sequence of int, optional
        One per dimension; by default about 2 MiB.
    shards, compressor, progress
        As of ``.ome.zarr``.

    Raises
    ------
    NotReproducible
        `obj` is no such array.
    UsageError
        Options that do not fit the array.

    Notes
    -----
    One PUT for the plan, one per object, and one for the array's metadata, which comes last.
    """
    chunks = wholes("chunks", chunks)
    given, _ = as_array(obj)
    array = check_numbers(item, given)
    if not 0 < array.ndim <= MOST_AXES:
        raise not_reproducible(
            item, f"it has {array.ndim} dimensions, not 1 to {MOST_AXES}", "write a single value as .json"
        )
    report = check_progress(progress)
    level = _level(array, chunks, shards)
    dtype = array.dtype.newbyteorder("<")
    spec = ArraySpec("", level.shape, level.chunks, level.shards, dtype.str, parse_compressor(compressor))
    ones = (1,) * array.ndim
    extents = blocks([level], getattr(array, "chunks", None), dtype.itemsize)
    plan = Plan(item, str(array.dtype), (spec,), (ones,), extents, "nearest", measured=dtype.kind != "c")
    attributes = {"cvcache": described.own_attributes(array, ())}
    kept = item.record_plan(announcement(plan, array, attributes))
    log_plan(item, (), plan, kept)
    share(item, array)
    tally = compute(plan, array, kept, report)
    document = {**spec.document(), "attributes": attributes}
    size = put_json(item, "zarr.json", document)
    meta = described.metadata(attributes, [described.Level("", document, spec)])
    return {**meta, "objects": tally.objects + 1, "bytes": tally.bytes + size}


def _level(array: Any, chunks: Sequence[int] | None, shards: Any) -> Level:
    shape, itemsize = tuple(array.shape), array.dtype.itemsize
    asked = tuple(chunks) if chunks is not None else _default_chunks(shape, itemsize)
    if len(asked) != len(shape) or any(n < 1 for n in asked):
        msg = f"chunks={list(asked)} must be {len(shape)} positive extents, one for each dimension"
        raise UsageError(msg)
    clipped = tuple(max(1, min(c, n)) for c, n in zip(asked, shape, strict=True))
    ones = (1,) * len(shape)
    if shards is None:
        held = default_shards(shape, [""] * len(shape), clipped, itemsize)
    elif shards is False:
        held = None
    else:
        if (
            not isinstance(shards, Sequence)
            or len(shards) != len(asked)
            or any(s < 1 or s % c for s, c in zip(shards, asked, strict=True))
        ):
            msg = f"shards={shards} must be multiples of the chunks {list(asked)}, one for each of them"
            raise UsageError(msg)
        held = tuple(
            c * min(s // a, max(1, -(-n // c))) for c, s, a, n in zip(clipped, shards, asked, shape, strict=True)
        )
    return Level(shape, clipped, ones, (1.0,) * len(shape), (0.0,) * len(shape), None if held == clipped else held)


def _default_chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return chunks of about 2 MiB, the longest axis halved until they are small enough."""
    chunks = [max(1, n) for n in shape]
    while math.prod(chunks) * itemsize > CHUNK_BYTES and max(chunks) > 1:
        axis = chunks.index(max(chunks))
        chunks[axis] = -(-chunks[axis] // 2)
    return tuple(chunks)
