"""Tools for testing stores, formats and scripts that use cvcache; needs pytest for the conformance classes."""

from cvcache.store import instrument
from cvcache.testing.stores import FAULTS, CountingStore, FaultyStore, SimulatedCrash, WrapperStore
from cvcache.testing.trees import lay_tree

__all__ = ["FAULTS", "CountingStore", "FaultyStore", "SimulatedCrash", "WrapperStore", "instrument", "lay_tree"]
