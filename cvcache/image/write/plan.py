"""The plan of a write: announced, logged, executed."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from typing import TYPE_CHECKING, Any, cast

from cvcache.formats import sha256
from cvcache.image.pyramid import grid_shape
from cvcache.image.write.inputs import lineage_digest
from cvcache.image.write.levels import needs_sharing, write_pyramid
from cvcache.image.write.options import is_dask_array
from cvcache.image.write.task import Plan, WriteCounts
from cvcache.store import gather

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import dask.array as da
    import numpy as np

    from cvcache.formats import ItemWrite

    Array = np.ndarray | da.Array

logger = logging.getLogger("cvcache")

WARN_ABOVE_FILES = 100_000
"""A level with more objects than this causes a warning."""


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
    if all(spec.path for spec in plan.specs):  # the document of a single array comes last
        record["first"] = [_first_object(spec.document_key, spec.document()) for spec in plan.specs]
    return record


def _first_object(key: str, document: Mapping[str, Any]) -> tuple[str, int, str]:
    data = _encode(document)
    return key, len(data), sha256(data)


def announce_plan(plan: Plan, image: Array, attributes: Mapping[str, Any]) -> Mapping[str, int]:
    """Announce the plan, log it, and share the write if other processes will take part in it.

    Returns
    -------
    mapping
        Key -> size of the objects that an earlier attempt wrote of an equal image.
    """
    present = plan.item.begin(plan_document(plan, image, attributes))
    _log_plan(plan, present)
    if is_dask_array(image) and needs_sharing(plan.item, image):
        plan.item.share()
    return present


def _log_plan(plan: Plan, present: Mapping[str, int]) -> None:
    """Log what will be written, and warn of too many files."""
    from dask.utils import format_bytes

    first = plan.specs[0]
    size = sum(math.prod(spec.shape) for spec in plan.specs) * first.itemsize
    logger.info(
        "%s: writing %s%s %s, %d levels, chunks %s, %s, %s uncompressed in %d files%s",
        plan.item.url,
        plan.dtype,
        f" {''.join(first.names)}" if first.names else "",
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
        long_axes = [n > 1 for n in largest.grid]
        ratio = math.ceil((largest.object_count / WARN_ABOVE_FILES) ** (1 / max(1, sum(long_axes)))) * 2
        shards = tuple(c * (ratio if is_long else 1) for c, is_long in zip(largest.chunks, long_axes, strict=True))
        logger.warning(
            "%s: one level makes %d files, which many file systems handle badly; shards=%s would make %d",
            plan.item.url,
            largest.object_count,
            shards,
            math.prod(grid_shape(largest.shape, shards)),
        )


def _format_extents(extents: Sequence[int] | None) -> str:
    return "x".join(map(str, extents or ()))


def compute_and_write(
    plan: Plan, image: Array, present: Mapping[str, int], progress_callback: Callable[[int, int], object] | None
) -> WriteCounts:
    """Write all objects of all levels; a numpy array is encoded by threads of this process."""
    if is_dask_array(image):
        return write_pyramid(plan, image, present, progress_callback=progress_callback)
    import dask.array as da

    source = da.from_array(cast("Any", image), chunks=plan.blocks[0], name=False)
    return write_pyramid(plan, source, present, scheduler="threads", progress_callback=progress_callback)


def put_array_documents(plan: Plan) -> list[int]:
    """Write the metadata document of each level and return their sizes."""
    item = plan.item
    return gather(lambda spec: put_json(item, spec.document_key, spec.document()), plan.specs, remote=item.remote)


def put_json(item: ItemWrite, key: str, document: Mapping[str, Any]) -> int:
    """Write one metadata document and return its size."""
    data = _encode(document)
    item.put(data, key)
    return len(data)


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2).encode()
