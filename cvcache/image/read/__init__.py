"""Images that are there: ours, and those of others."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.image.read import describe, slices
    from cvcache.image.read.describe import Level, look, planned_metadata
    from cvcache.image.read.level import described, lazy, open_level, overview, stored_level
    from cvcache.image.read.open import open_image, stored_at
    from cvcache.image.read.slices import Slices, format_slices, parse_slices, split_slices, window
    from cvcache.image.read.stored_array import StoredArray, whole
    from cvcache.image.read.url import ZIPPED, Location, locate
    from cvcache.image.read.verify import damaged

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["describe", "slices"],
    submod_attrs={
        "describe": ["Level", "look", "planned_metadata"],
        "level": ["described", "lazy", "open_level", "overview", "stored_level"],
        "open": ["open_image", "stored_at"],
        "slices": ["Slices", "format_slices", "parse_slices", "split_slices", "window"],
        "stored_array": ["StoredArray", "whole"],
        "url": ["Location", "ZIPPED", "locate"],
        "verify": ["damaged"],
    },
)
