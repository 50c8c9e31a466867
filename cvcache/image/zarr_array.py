"""One array of any rank as plain zarr 3 (``.zarr``), without levels or named axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from cvcache.errors import UsageError
from cvcache.formats import not_reproducible
from cvcache.image.arrays import ArraySpec, parse_compressor
from cvcache.image.ome_zarr import describe, read
from cvcache.image.pyramid import CHUNK_BYTES, Level, block_shapes, default_shards
from cvcache.image.read import StoredLevel, build_metadata, cvcache_attributes
from cvcache.image.write import (
    Plan,
    as_array,
    begin_write,
    check_numeric_array,
    check_progress,
    compute_and_write,
    parse_ints,
    put_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from cvcache.formats import ItemWrite

__all__ = ["describe", "read", "write"]

MAX_AXES = 32


def write(
    item: ItemWrite,
    obj: object,
    /,
    *,
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | Literal[False] | None = None,
    compressor: object = "blosc",
    progress: Callable[[int, int], object] | bool | None = None,
) -> dict[str, Any]:
    """Write one array; a dask array is computed in the same pass, each block once.

    Parameters
    ----------
    item : ItemWrite
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
    One PUT for the plan, one per object, and one for the array's metadata, which is last.
    """
    chunks = parse_ints("chunks", chunks)
    source, _ = as_array(obj)
    array = check_numeric_array(item, source)
    if not 0 < array.ndim <= MAX_AXES:
        raise not_reproducible(
            item, f"it has {array.ndim} dimensions, not 1 to {MAX_AXES}", "write a single value as .json"
        )
    progress_callback = check_progress(progress)
    level = _level(array, chunks, shards)
    dtype = array.dtype.newbyteorder("<")
    spec = ArraySpec("", level.shape, level.chunks, level.shards, dtype.str, parse_compressor(compressor))
    ones = (1,) * array.ndim
    extents = block_shapes([level], getattr(array, "chunks", None), dtype.itemsize)
    plan = Plan(item, str(array.dtype), (spec,), (ones,), extents, "nearest", statistics=dtype.kind != "c")
    attributes = {"cvcache": cvcache_attributes(array, ())}
    present = begin_write(plan, array, attributes)
    counts = compute_and_write(plan, array, present, progress_callback)
    document = {**spec.document(), "attributes": attributes}
    size = put_json(item, "zarr.json", document)
    meta = build_metadata(attributes, [StoredLevel("", document, spec)])
    return {**meta, "objects": counts.objects + 1, "bytes": counts.bytes + size}


def _level(array: Any, chunks: Sequence[int] | None, shards: Any) -> Level:
    shape, itemsize = tuple(array.shape), array.dtype.itemsize
    requested = tuple(chunks) if chunks is not None else _default_chunks(shape, itemsize)
    if len(requested) != len(shape) or any(n < 1 for n in requested):
        msg = f"chunks={list(requested)} must be {len(shape)} positive extents, one for each dimension"
        raise UsageError(msg)
    level_chunks = tuple(max(1, min(c, n)) for c, n in zip(requested, shape, strict=True))
    ones = (1,) * len(shape)
    if shards is None:
        shard_shape = default_shards(shape, [""] * len(shape), level_chunks, itemsize)
    elif shards is False:
        shard_shape = None
    else:
        if (
            not isinstance(shards, Sequence)
            or len(shards) != len(requested)
            or any(s < 1 or s % c for s, c in zip(shards, requested, strict=True))
        ):
            msg = f"shards={shards} must be multiples of the chunks {list(requested)}, one for each of them"
            raise UsageError(msg)
        shard_shape = tuple(
            c * min(s // a, max(1, -(-n // c)))
            for c, s, a, n in zip(level_chunks, shards, requested, shape, strict=True)
        )
    return Level(
        shape,
        level_chunks,
        ones,
        (1.0,) * len(shape),
        (0.0,) * len(shape),
        None if shard_shape == level_chunks else shard_shape,
    )


def _default_chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return chunks of about 2 MiB, the longest axis halved until they are small enough."""
    chunks = [max(1, n) for n in shape]
    while math.prod(chunks) * itemsize > CHUNK_BYTES and max(chunks) > 1:
        axis = chunks.index(max(chunks))
        chunks[axis] = -(-chunks[axis] // 2)
    return tuple(chunks)
