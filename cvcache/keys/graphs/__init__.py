"""Dask collections by what they would compute."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.keys.graphs.lineage import KEPT, canonical_collection, lineage, sources

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "lineage": ["KEPT", "canonical_collection", "lineage", "sources"],
    },
)
