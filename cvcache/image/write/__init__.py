"""Writing of images: all levels in one pass."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.image.write import levels
    from cvcache.image.write.downsample import downsample, downsample_mean, downsample_mode, downsample_nearest
    from cvcache.image.write.histogram import MAX_ABS_VALUE, MAX_BINS, MAX_RECORDED_BINS, Histogram, compute_histogram
    from cvcache.image.write.inputs import as_array, find_geometry
    from cvcache.image.write.options import (
        check_channels,
        check_choice,
        check_contrast,
        check_image_array,
        check_layer,
        check_method,
        check_numeric_array,
        check_unit,
        dtype_limits,
        parse_axes,
        parse_int,
        parse_ints,
        parse_numbers,
    )
    from cvcache.image.write.plan import announce_plan, compute_and_write, put_array_documents, put_json
    from cvcache.image.write.progress import check_progress
    from cvcache.image.write.spec import VERSIONS, ImageSpec
    from cvcache.image.write.statistics import contrast_windows, statistics_metadata
    from cvcache.image.write.task import Plan, WriteCounts
    from cvcache.image.write.thumbnail import encode_png, render_thumbnail

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["levels"],
    submod_attrs={
        "downsample": ["downsample", "downsample_mean", "downsample_mode", "downsample_nearest"],
        "histogram": ["Histogram", "MAX_ABS_VALUE", "MAX_BINS", "MAX_RECORDED_BINS", "compute_histogram"],
        "inputs": ["as_array", "find_geometry"],
        "options": [
            "check_channels",
            "check_choice",
            "check_contrast",
            "check_image_array",
            "check_layer",
            "check_method",
            "check_numeric_array",
            "check_unit",
            "dtype_limits",
            "parse_axes",
            "parse_int",
            "parse_ints",
            "parse_numbers",
        ],
        "plan": ["announce_plan", "compute_and_write", "put_array_documents", "put_json"],
        "progress": ["check_progress"],
        "spec": ["ImageSpec", "VERSIONS"],
        "statistics": ["contrast_windows", "statistics_metadata"],
        "task": ["Plan", "WriteCounts"],
        "thumbnail": ["encode_png", "render_thumbnail"],
    },
)
