"""What was seen of an image while it was written, as its record and its metadata keep it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvcache.image.write.task import Tally

SHOWN = (0.1, 99.9)
"""Percentiles of the last level that are shown as black and as full colour."""


def contrast_windows(tally: Tally, count: int, limits: tuple[float, float] | None) -> list[tuple[float, float]]:
    """Return (low, high) for each channel from what was seen of it while writing."""
    found = []
    for i in range(count):
        histogram = tally.histograms.get(i)
        low, high = map(histogram.percentile, SHOWN) if histogram else (0, 1)
        width = 2.0**histogram.exponent if histogram else 1
        low = math.floor(low / width) * width
        high = math.ceil(high / width) * width if histogram and len(histogram.counts) > 1 else low + 1
        if limits is not None:
            # a bin of whole numbers ends before the next one begins
            high = min(max(high - 1, low + 1), limits[1])
            low = min(low, high - 1)
        found.append((_plain(low), _plain(high)))
    return found


def _plain(value: float) -> float:
    return int(value) if value == int(value) else value


def measurements(tally: Tally, count: int) -> dict[str, Any]:
    """Return what the record keeps of the pixels: the range of level 0, and a short histogram of the last level."""
    found: dict[str, Any] = {}
    if tally.limits:
        found["range"] = [
            [_number(value) for value in tally.limits[i]] if i in tally.limits else None for i in range(count)
        ]
    if tally.histograms:
        found["histogram"] = [tally.histograms[i].short() if i in tally.histograms else None for i in range(count)]
    return found


def _number(value: float) -> float:
    return int(value) if isinstance(value, (bool, int)) else value
