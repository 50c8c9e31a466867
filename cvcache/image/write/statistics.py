"""Statistics of an image, collected while it was written: contrast limits, and range and histogram for its record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvcache.image.write.task import WriteCounts

CONTRAST_PERCENTILES = (0.1, 99.9)
"""Percentiles of the last level shown as black and as full colour."""


def contrast_windows(
    counts: WriteCounts, channel_count: int, limits: tuple[float, float] | None
) -> list[tuple[float, float]]:
    """Return the contrast limits (low, high) of each channel, from its histogram."""
    windows = []
    for i in range(channel_count):
        histogram = counts.histograms.get(i)
        low, high = map(histogram.percentile, CONTRAST_PERCENTILES) if histogram else (0, 1)
        width = 2.0**histogram.exponent if histogram else 1
        low = math.floor(low / width) * width
        high = math.ceil(high / width) * width if histogram and len(histogram.counts) > 1 else low + 1
        if limits is not None:
            # a bin of integers ends one before the next begins
            high = min(max(high - 1, low + 1), limits[1])
            low = min(low, high - 1)
        windows.append((_int_if_whole(low), _int_if_whole(high)))
    return windows


def _int_if_whole(value: float) -> float:
    return int(value) if value == int(value) else value


def statistics_metadata(counts: WriteCounts, channel_count: int) -> dict[str, Any]:
    """Return statistics for the record: the range of level 0, and a short histogram of the last level."""
    metadata: dict[str, Any] = {}
    if counts.limits:
        metadata["range"] = [
            [_plain_number(value) for value in counts.limits[i]] if i in counts.limits else None
            for i in range(channel_count)
        ]
    if counts.histograms:
        metadata["histogram"] = [
            counts.histograms[i].summary() if i in counts.histograms else None for i in range(channel_count)
        ]
    return metadata


def _plain_number(value: float) -> float:
    return int(value) if isinstance(value, (bool, int)) else value
