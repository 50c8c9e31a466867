"""Images that are made: all levels in one pass."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.image.write import levels
    from cvcache.image.write.downsample import downsample, local_mean, mode, nearest
    from cvcache.image.write.histogram import BINS, HUGE, KEPT_BINS, Histogram, count
    from cvcache.image.write.inputs import as_array, inherited
    from cvcache.image.write.options import (
        axis_names,
        check_array,
        check_channels,
        check_choice,
        check_chunks,
        check_contrast,
        check_layer,
        check_method,
        check_numbers,
        check_unit,
        dtype_limits,
        numbers,
        spread,
        whole,
        wholes,
    )
    from cvcache.image.write.plan import announcement, compute, log_plan, make_plan, put_json, share
    from cvcache.image.write.progress import check_progress
    from cvcache.image.write.statistics import contrast_windows, measurements
    from cvcache.image.write.task import Plan
    from cvcache.image.write.thumbnail import png, render

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["levels"],
    submod_attrs={
        "downsample": ["downsample", "local_mean", "mode", "nearest"],
        "histogram": ["BINS", "HUGE", "Histogram", "KEPT_BINS", "count"],
        "inputs": ["as_array", "inherited"],
        "options": [
            "axis_names",
            "check_array",
            "check_channels",
            "check_choice",
            "check_chunks",
            "check_contrast",
            "check_layer",
            "check_method",
            "check_numbers",
            "check_unit",
            "dtype_limits",
            "numbers",
            "spread",
            "whole",
            "wholes",
        ],
        "plan": ["announcement", "compute", "log_plan", "make_plan", "put_json", "share"],
        "progress": ["check_progress"],
        "statistics": ["contrast_windows", "measurements"],
        "task": ["Plan"],
        "thumbnail": ["png", "render"],
    },
)
