"""Verifies that every chunk of a written image exists and can be decoded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cvcache.image.arrays import ZARR_3
from cvcache.image.read.describe import read_image_metadata, recorded_spec
from cvcache.store import gather

if TYPE_CHECKING:
    from cvcache.formats import ItemPath
    from cvcache.image.arrays import ArraySpec

CONCURRENCY = 64
"""Number of objects in memory at once."""


def damaged_chunks(item: ItemPath) -> Iterator[tuple[str, str]]:
    """Yield the key of each missing or corrupt object, and what is wrong with it.

    Notes
    -----
    One LIST of the image, and one GET per object. A chunk of OME-Zarr 0.5 has a checksum; one of 0.4 is
    reported only if it cannot be decoded.
    """
    if item.meta.get("complete") is False:
        return
    meta = item.meta
    recorded_specs = [recorded_spec(meta, level) for level in range(meta["levels"])] if meta.get("stored") else None
    specs = [level.spec for level in read_image_metadata(item)[1]] if recorded_specs is None else recorded_specs
    parts = item.find()
    ours = [spec for spec in specs if spec is not None]
    documents = {spec.document_key for spec in ours}
    documents |= (
        {"zarr.json"} if item.meta.get("stored", {}).get("zarr_format", ZARR_3) == ZARR_3 else {".zgroup", ".zattrs"}
    )
    yield from ((key, "missing") for key in sorted(documents - parts.keys()))
    for spec in ours:
        yield from _damaged_objects(item, spec, set(parts))


def _damaged_objects(item: ItemPath, spec: ArraySpec, present: set[str]) -> Iterator[tuple[str, str]]:
    def check(key: str) -> str:
        return _object_problem(item, spec, key) if key in present else "missing"

    indices = spec.object_indices()
    while batch := list(itertools.islice(indices, CONCURRENCY)):
        keys = [spec.key(index) for index in batch]
        problems = gather(check, keys, remote=item.remote)
        yield from ((key, problem) for key, problem in zip(keys, problems, strict=True) if problem)


def _object_problem(item: ItemPath, spec: ArraySpec, key: str) -> str:
    """Return what is wrong with one object; empty if nothing is."""
    try:
        data = item.get(key)
        if spec.shards is None:
            spec.decode(data)
            return ""
        table = data[-spec.shard_index_bytes :] if spec.index_at_end else data[: spec.shard_index_bytes]
        for byte_range in spec.parse_shard_index(table):
            if byte_range is not None:
                spec.decode(data[slice(*byte_range)])
    except FileNotFoundError:
        return "missing"
    except ValueError as error:
        return f"corrupt ({error})"
    return ""
