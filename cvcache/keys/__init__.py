"""What a result was made from: a value becomes canonical JSON, and that a digest."""

from typing import TYPE_CHECKING

import lazy_loader

from cvcache.keys.canonical import Canonical, register_key
from cvcache.keys.digest import digest, dumps
from cvcache.keys.key import canonical_key, canonical_key_with_items

if TYPE_CHECKING:
    from cvcache.keys.explain import explain
    from cvcache.keys.functions import code_of, is_installed
    from cvcache.keys.graphs import lineage, sources

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"explain": ["explain"], "functions": ["code_of", "is_installed"], "graphs": ["lineage", "sources"]},
)
__all__ += ["Canonical", "canonical_key", "canonical_key_with_items", "digest", "dumps", "register_key"]
