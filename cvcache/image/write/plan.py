"""The plan of a write: made from an image and its levels, recorded, logged, executed."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from typing import TYPE_CHECKING, Any, cast

from cvcache.image.arrays import ArraySpec
from cvcache.image.pyramid import block_shapes, grid_shape
from cvcache.image.write.inputs import lineage_digest
from cvcache.image.write.levels import needs_sharing, write_pyramid
from cvcache.image.write.options import is_dask_array
from cvcache.image.write.task import Plan, WriteCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import dask.array as da
    import numpy as np

    from cvcache.formats import ItemWrite
    from cvcache.image.arrays import Codec
    from cvcache.image.pyramid import Level

    Array = np.ndarray | da.Array

logger = logging.getLogger("cvcache")

WARN_ABOVE_FILES = 100_000
"""A level with more objects than this causes a warning."""


def make_plan(
    item: ItemWrite,
    image: Array,
    axes: Sequence[str],
    pyramid: Sequence[Level],
    *,
    codec: Codec,
    version: str,
    kind: str,
    method: str,
) -> Plan:
    """Return the plan for an image with these levels; `kind` and `method` as in ``ome_zarr.write``."""
    import numpy as np

    # OME-Zarr has only integer labels; the group's attributes record that they were bool
    dtype = np.dtype("uint8") if kind == "labels" and image.dtype == bool else image.dtype.newbyteorder("<")
    specs = tuple(
        ArraySpec(
            path=str(n),
            shape=level.shape,
            chunks=level.chunks,
            shards=level.shards,
            dtype=dtype.str,
            codec=codec,
            checksum=version == "0.5",
            names=tuple(axes),
            zarr_format=3 if version == "0.5" else 2,
            prefix="c/" if version == "0.5" else "",
        )
        for n, level in enumerate(pyramid)
    )
    steps = [
        tuple(b // a for a, b in zip(finer.factors, coarser.factors, strict=True))
        for finer, coarser in zip(pyramid, [*pyramid[1:], pyramid[-1]], strict=True)
    ]
    return Plan(
        item=item,
        dtype=str(image.dtype),
        specs=specs,
        steps=tuple(steps),
        blocks=block_shapes(pyramid, getattr(image, "chunks", None), image.dtype.itemsize),
        method=method,
        statistics=kind == "image" and image.dtype.kind != "c",
        channel_axis=list(axes).index("c") if "c" in axes else None,
    )


def plan_document(plan: Plan, image: Array, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan as JSON, to be announced before the first byte; equal for equal images only.

    Without a lineage it is not known whether present chunks are of the same image; then all are computed.
    """
    record: dict[str, Any] = {
        "attributes": attributes,
        "arrays": {spec.path: spec.document() for spec in plan.specs},
        "lineage": lineage_digest(image),
    }
    record["digest"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:32]
    return record


def log_plan(item: ItemWrite, axes: Sequence[str], plan: Plan, present: Mapping[str, int]) -> None:
    """Log what will be written, and warn of too many files."""
    from dask.utils import format_bytes

    first = plan.specs[0]
    size = sum(math.prod(spec.shape) for spec in plan.specs) * first.itemsize
    logger.info(
        "%s: writing %s%s %s, %d levels, chunks %s, %s, %s uncompressed in %d files%s",
        item.url,
        plan.dtype,
        f" {''.join(axes)}" if axes else "",
        _format_extents(first.shape),
        len(plan.specs),
        _format_extents(first.chunks),
        f"shards {_format_extents(first.shards)}" if first.shards else "no shards",
        format_bytes(size),
        plan.object_count + len(plan.specs) + 1,
        f"; {len(present)} of them are there already" if present else "",
    )
    largest = max(plan.specs, key=lambda spec: spec.object_count)
    if largest.object_count > WARN_ABOVE_FILES:
        ratio = (
            math.ceil((largest.object_count / WARN_ABOVE_FILES) ** (1 / max(1, sum(n > 1 for n in largest.grid)))) * 2
        )
        shards = [c * (ratio if n > 1 else 1) for c, n in zip(largest.chunks, largest.grid, strict=True)]
        logger.warning(
            "%s: one level makes %d files, which many file systems handle badly; shards=%s would make %d",
            item.url,
            largest.object_count,
            tuple(shards),
            math.prod(grid_shape(largest.shape, shards)),
        )


def _format_extents(extents: Sequence[int] | None) -> str:
    return "x".join(map(str, extents or ()))


def mark_shared(item: ItemWrite, image: Array) -> None:
    """Mark the attempt as shared if other processes will write parts of the item."""
    if is_dask_array(image) and needs_sharing(item, image):
        item.share()


def compute_and_write(
    plan: Plan, image: Array, present: Mapping[str, int], progress_callback: Callable[[int, int], object] | None
) -> WriteCounts:
    """Write all objects of all levels; a numpy array is encoded by threads of this process."""
    if is_dask_array(image):
        return write_pyramid(plan, image, present, progress_callback=progress_callback)
    import dask.array as da

    source = da.from_array(cast("Any", image), chunks=plan.blocks[0], name=False)
    return write_pyramid(plan, source, present, scheduler="threads", progress_callback=progress_callback)


def put_json(item: ItemWrite, key: str, document: Mapping[str, Any]) -> int:
    """Write one metadata document and return its size."""
    data = json.dumps(document, indent=2).encode()
    item.put(data, key)
    return len(data)
