"""Tools for testing stores, formats and scripts that use cvcache; `StoreTests` and `FormatTests` need pytest."""

from typing import TYPE_CHECKING

import lazy_loader

from cvcache.store import instrument

if TYPE_CHECKING:
    from cvcache.testing.equal import values_equal
    from cvcache.testing.format_tests import FormatTests
    from cvcache.testing.store_tests import StoreTests, overrides
    from cvcache.testing.stores import FAULTS, CountingStore, FaultyStore, SimulatedCrash, WrapperStore
    from cvcache.testing.trees import lay_tree

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "equal": ["values_equal"],
        "format_tests": ["FormatTests"],
        "store_tests": ["StoreTests", "overrides"],
        "stores": ["CountingStore", "FAULTS", "FaultyStore", "SimulatedCrash", "WrapperStore"],
        "trees": ["lay_tree"],
    },
)
__all__ += ["instrument"]
