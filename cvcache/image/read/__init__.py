"""Reading of stored images, ours and those of other programs."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.image.read import identify, slices
    from cvcache.image.read.describe import (
        StoredLevel,
        build_metadata,
        cvcache_attributes,
        planned_metadata,
        read_image_metadata,
    )
    from cvcache.image.read.identify import identity
    from cvcache.image.read.level import as_dask_array, image_geometry, image_metadata, level_array, open_level
    from cvcache.image.read.open import open_image, open_image_at, open_location
    from cvcache.image.read.slices import Slices, format_slices, parse_slices, resolve_slices, split_slices
    from cvcache.image.read.stored_array import StoredArray, full_window
    from cvcache.image.read.url import Location, is_zarr, is_zip, parse_image_url, standing_location
    from cvcache.image.read.verify import damaged_chunks

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["identify", "slices"],
    submod_attrs={
        "describe": ["StoredLevel", "build_metadata", "cvcache_attributes", "planned_metadata", "read_image_metadata"],
        "identify": ["identity"],
        "level": ["as_dask_array", "image_geometry", "image_metadata", "level_array", "open_level"],
        "open": ["open_image", "open_image_at", "open_location"],
        "slices": ["Slices", "format_slices", "parse_slices", "resolve_slices", "split_slices"],
        "stored_array": ["StoredArray", "full_window"],
        "url": ["Location", "is_zarr", "is_zip", "parse_image_url", "standing_location"],
        "verify": ["damaged_chunks"],
    },
)
