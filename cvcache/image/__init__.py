"""Images as OME-Zarr: all levels are written in one pass; images of any program are read lazily."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.image import ome_zarr, ome_zarr_zip, pyramid
    from cvcache.image.link import resolve_link
    from cvcache.image.ome_metadata import CHANNEL_COLORS, long_unit
    from cvcache.image.ome_zarr_zip import image_in_zip
    from cvcache.image.pyramid import (
        check_axes,
        default_axes,
        default_chunks,
        grid_shape,
        next_factors,
        per_axis,
        plan_levels,
        storage_axes,
    )
    from cvcache.image.read import (
        Location,
        Slices,
        StoredArray,
        StoredLevel,
        as_dask_array,
        damaged_chunks,
        identity,
        image_geometry,
        image_metadata,
        is_zarr,
        is_zip,
        level_array,
        open_image,
        parse_image_url,
        planned_metadata,
        read_image_metadata,
    )

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["ome_zarr", "ome_zarr_zip", "pyramid"],
    submod_attrs={
        "link": ["resolve_link"],
        "ome_metadata": ["CHANNEL_COLORS", "long_unit"],
        "ome_zarr_zip": ["image_in_zip"],
        "pyramid": [
            "check_axes",
            "default_axes",
            "default_chunks",
            "grid_shape",
            "next_factors",
            "per_axis",
            "plan_levels",
            "storage_axes",
        ],
        "read": [
            "Location",
            "Slices",
            "StoredArray",
            "StoredLevel",
            "as_dask_array",
            "damaged_chunks",
            "identity",
            "image_geometry",
            "image_metadata",
            "is_zarr",
            "is_zip",
            "level_array",
            "open_image",
            "parse_image_url",
            "planned_metadata",
            "read_image_metadata",
        ],
    },
)
