"""Images as OME-Zarr: written with all their levels in one pass, read lazily, by whomever they were written."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.image import ome_zarr, ome_zarr_zip, pyramid
    from cvcache.image.link import follow
    from cvcache.image.ome_metadata import COLORS, long_unit
    from cvcache.image.ome_zarr_zip import inside
    from cvcache.image.pyramid import (
        check_axes,
        default_axes,
        default_chunks,
        grid,
        next_factors,
        per_axis,
        plan_levels,
        storage_axes,
    )
    from cvcache.image.read import (
        ZIPPED,
        Level,
        Location,
        Slices,
        StoredArray,
        damaged,
        described,
        lazy,
        locate,
        look,
        open_image,
        overview,
        planned_metadata,
        stored_level,
    )

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["ome_zarr", "ome_zarr_zip", "pyramid"],
    submod_attrs={
        "link": ["follow"],
        "ome_metadata": ["COLORS", "long_unit"],
        "ome_zarr_zip": ["inside"],
        "pyramid": [
            "check_axes",
            "default_axes",
            "default_chunks",
            "grid",
            "next_factors",
            "per_axis",
            "plan_levels",
            "storage_axes",
        ],
        "read": [
            "Level",
            "Location",
            "Slices",
            "StoredArray",
            "ZIPPED",
            "damaged",
            "described",
            "lazy",
            "locate",
            "look",
            "open_image",
            "overview",
            "planned_metadata",
            "stored_level",
        ],
    },
)
