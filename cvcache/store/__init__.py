"""Bytes at a URL: exact keys, and one primitive that elects a winner. This package alone imports fsspec."""

from cvcache.store.base import Listing, ObjectInfo, Store, instrument
from cvcache.store.open import location_of, open_store

__all__ = ["Listing", "ObjectInfo", "Store", "instrument", "location_of", "open_store"]
