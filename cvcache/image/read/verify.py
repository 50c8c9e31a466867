"""Whether every chunk of a written image is there and can be decoded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cvcache.image.arrays import ZARR_3
from cvcache.image.read.describe import look, spec_of
from cvcache.store import gather

if TYPE_CHECKING:
    from cvcache.formats import ItemPath
    from cvcache.image.arrays import ArraySpec

AT_ONCE = 64
"""Objects that are in memory together."""


def damaged(item: ItemPath) -> Iterator[tuple[str, str]]:
    """Yield the key of each object that is missing or corrupt, and what is wrong with it.

    Notes
    -----
    One LIST of the image, and one GET per object. A chunk of OME-Zarr 0.5 has a checksum; one of 0.4 counts as
    damaged only where it cannot be decoded.
    """
    if item.meta.get("complete") is False:
        return
    meta = item.meta
    recorded = [spec_of(meta, level) for level in range(meta["levels"])] if meta.get("stored") else None
    specs = [level.spec for level in look(item)[1]] if recorded is None else recorded
    there = item.find()
    ours = [spec for spec in specs if spec is not None]
    documents = {spec.document_key for spec in ours}
    documents |= (
        {"zarr.json"} if item.meta.get("stored", {}).get("zarr_format", ZARR_3) == ZARR_3 else {".zgroup", ".zattrs"}
    )
    yield from ((key, "missing") for key in sorted(documents - there.keys()))
    for spec in ours:
        yield from _damaged_chunks(item, spec, set(there))


def _damaged_chunks(item: ItemPath, spec: ArraySpec, there: set[str]) -> Iterator[tuple[str, str]]:
    def look_at(key: str) -> str:
        return _fault(item, spec, key) if key in there else "missing"

    units = spec.units()
    while batch := list(itertools.islice(units, AT_ONCE)):
        keys = [spec.key(unit) for unit in batch]
        faults = gather(look_at, keys, remote=item.remote)
        yield from ((key, fault) for key, fault in zip(keys, faults, strict=True) if fault)


def _fault(item: ItemPath, spec: ArraySpec, key: str) -> str:
    """Return what is wrong with one object; empty for nothing."""
    try:
        data = item.get(key)
        if spec.shards is None:
            spec.decode(data)
            return ""
        table = data[-spec.index_bytes :] if spec.index_at_end else data[: spec.index_bytes]
        for part in spec.read_index(table):
            if part is not None:
                spec.decode(data[slice(*part)])
    except FileNotFoundError:
        return "missing"
    except ValueError as error:
        return f"corrupt ({error})"
    return ""
