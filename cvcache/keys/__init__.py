"""Keys: what a result was made from, as canonical JSON and the digest of it."""

from typing import TYPE_CHECKING

import lazy_loader

from cvcache.keys.canonical import Canonical, register_key
from cvcache.keys.digest import digest, dumps
from cvcache.keys.key import canonical_key, canonical_key_with_inputs

if TYPE_CHECKING:
    from cvcache.keys.explain import key_differences
    from cvcache.keys.functions import canonical_code, is_installed
    from cvcache.keys.graphs import lineage, lineage_sources

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "explain": ["key_differences"],
        "functions": ["canonical_code", "is_installed"],
        "graphs": ["lineage", "lineage_sources"],
    },
)
__all__ += ["Canonical", "canonical_key", "canonical_key_with_inputs", "digest", "dumps", "register_key"]
