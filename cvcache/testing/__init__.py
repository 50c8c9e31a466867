"""Tools for testing stores, formats and scripts that use cvcache; `StoreTests` and `FormatTests` need pytest."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cvcache.store.base import instrument
from cvcache.testing.stores import FAULTS, CountingStore, FaultyStore, SimulatedCrash, WrapperStore
from cvcache.testing.trees import lay_tree

if TYPE_CHECKING:
    from cvcache.testing.format_tests import FormatTests
    from cvcache.testing.store_tests import StoreTests

__all__ = [
    "FAULTS",
    "CountingStore",
    "FaultyStore",
    "FormatTests",
    "SimulatedCrash",
    "StoreTests",
    "WrapperStore",
    "instrument",
    "lay_tree",
]

_NEED_PYTEST = {"FormatTests": "cvcache.testing.format_tests", "StoreTests": "cvcache.testing.store_tests"}


def __getattr__(name: str) -> Any:
    if name in _NEED_PYTEST:
        return getattr(importlib.import_module(_NEED_PYTEST[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
