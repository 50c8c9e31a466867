"""Canonical JSON of dask collections, by what they would compute."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.keys.graphs.lineage import MAX_LAYERS, canonical_collection, lineage, lineage_sources

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "lineage": ["MAX_LAYERS", "canonical_collection", "lineage", "lineage_sources"],
    },
)
