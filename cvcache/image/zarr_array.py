"""One array of any rank as plain zarr 3 (``.zarr``), without levels or named axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from cvcache.errors import UsageError
from cvcache.formats import not_reproducible
from cvcache.image.arrays import ArraySpec, parse_compressor
from cvcache.image.ome_zarr import describe, read
from cvcache.image.pyramid import CHUNK_BYTES, block_shapes, level_steps, plan_levels
from cvcache.image.read import StoredLevel, build_metadata, cvcache_attributes
from cvcache.image.write import (
    Plan,
    announce_plan,
    as_array,
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
    shards = shards if shards is False else parse_ints("shards", shards)
    source, _ = as_array(obj)
    array = check_numeric_array(item, source)
    if not 0 < array.ndim <= MAX_AXES:
        raise not_reproducible(
            item, f"it has {array.ndim} dimensions, not 1 to {MAX_AXES}", "write a single value as .json"
        )
    progress_callback = check_progress(progress)
    requested = chunks if chunks is not None else _default_chunks(array.shape, array.dtype.itemsize)
    if len(requested) != array.ndim or min(requested) < 1:
        msg = f"chunks={list(requested)} must be {array.ndim} positive extents, one for each dimension"
        raise UsageError(msg)
    (level,) = plan_levels(
        array.shape, [""] * array.ndim, array.dtype.itemsize, levels=1, chunks=requested, shards=shards
    )
    dtype = array.dtype.newbyteorder("<")
    spec = ArraySpec("", level.shape, level.chunks, level.shards, dtype.str, parse_compressor(compressor))
    blocks = block_shapes([level], getattr(array, "chunks", None), dtype.itemsize)
    plan = Plan(item, str(array.dtype), (spec,), level_steps([level]), blocks, "nearest", statistics=dtype.kind != "c")
    attributes = {"cvcache": cvcache_attributes(array, ())}
    present = announce_plan(plan, array, attributes)
    counts = compute_and_write(plan, array, present, progress_callback)
    document = {**spec.document(), "attributes": attributes}
    size = put_json(item, "zarr.json", document)
    meta = build_metadata(attributes, [StoredLevel("", document, spec)])
    return {**meta, "objects": counts.objects + 1, "bytes": counts.bytes + size}


def _default_chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return chunks of about 2 MiB, the longest axis halved until they are small enough."""
    chunks = [max(1, n) for n in shape]
    while math.prod(chunks) * itemsize > CHUNK_BYTES and max(chunks) > 1:
        axis = chunks.index(max(chunks))
        chunks[axis] = -(-chunks[axis] // 2)
    return tuple(chunks)
