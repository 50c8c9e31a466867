"""Canonical JSON of functions and classes, by their code."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.keys.functions import closure, memo
    from cvcache.keys.functions.callables import FreeVariables, is_installed, public_name
    from cvcache.keys.functions.closure import canonical_callable, canonical_code

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["closure", "memo"],
    submod_attrs={
        "callables": ["FreeVariables", "is_installed", "public_name"],
        "closure": ["canonical_callable", "canonical_code"],
    },
)
