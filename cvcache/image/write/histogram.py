"""Histograms that merge exactly and in any order: bins are 2**k wide and begin at multiples of that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MAX_BINS = 1024
"""Maximal number of bins of a histogram; two more if its ends are not aligned."""
MAX_RECORDED_BINS = 64
"""Maximal number of bins in the record of an image."""
MIN_EXPONENT, MAX_EXPONENT = -1074, 1023  # exponents a float64 has
MAX_ABS_VALUE = 2.0**1000
"""Greater values are counted as this."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Number of pixels in each bin; bin i begins at (first + i) * 2**exponent."""

    exponent: int
    first: int
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Number of pixels counted."""
        return sum(self.counts)

    def __add__(self, other: Histogram) -> Histogram:
        exponent = max(self.exponent, other.exponent)
        while True:
            a, b = self.coarser(exponent), other.coarser(exponent)
            first, end = min(a.first, b.first), max(a.first + len(a.counts), b.first + len(b.counts))
            if end - first <= MAX_BINS + 2:
                break
            exponent += 1
        counts = [0] * (end - first)
        for part in (a, b):
            for i, count in enumerate(part.counts, part.first - first):
                counts[i] += count
        return Histogram(exponent, first, tuple(counts))

    def coarser(self, exponent: int) -> Histogram:
        """Return the histogram with bins 2**exponent wide, which must not be narrower."""
        if exponent == self.exponent:
            return self
        shift = exponent - self.exponent
        first = self.first >> shift
        counts = [0] * (((self.first + len(self.counts) - 1) >> shift) - first + 1)
        for i, count in enumerate(self.counts, self.first):
            counts[(i >> shift) - first] += count
        return Histogram(exponent, first, tuple(counts))

    def summary(self) -> dict[str, object]:
        """Return the record of the histogram, with few bins: ``start``, ``width`` and ``counts``."""
        coarse = self
        while len(coarse.counts) > MAX_RECORDED_BINS:
            coarse = coarse.coarser(coarse.exponent + 1)
        width = math.ldexp(1.0, coarse.exponent)
        return {"start": coarse.first * width, "width": width, "counts": list(coarse.counts)}

    def percentile(self, percent: float) -> float:
        """Return the value that `percent` % of the pixels are below, to within one bin."""
        target, cumulated = self.total * percent / 100, 0
        width = math.ldexp(1.0, self.exponent)
        for i, count in enumerate(self.counts):
            if cumulated + count >= target and count:
                return (self.first + i + (target - cumulated) / count) * width
            cumulated += count
        return (self.first + len(self.counts)) * width


def compute_histogram(pixels: np.ndarray) -> Histogram | None:
    """Return the histogram of the finite real pixels; None if there are none.

    The bins are the narrowest that fit: integers of up to 1,024 different values are counted one by one.
    """
    import numpy as np

    values = pixels.ravel()
    if values.dtype.kind == "f":
        # clipped, so that the borders of the bins are finite too
        values = np.clip(values[np.isfinite(values)].astype("float64"), -MAX_ABS_VALUE, MAX_ABS_VALUE)
    if not values.size:
        return None
    low, high = values.min().item(), values.max().item()
    exponent = _exponent(low, high, is_integer=values.dtype.kind != "f")
    bins = _bins(values, exponent)
    first = int(bins.min())
    return Histogram(exponent, first, tuple(np.bincount((bins - first).astype("int64")).tolist()))


def _exponent(low: float, high: float, *, is_integer: bool) -> int:
    """Return the least exponent with which ``low`` to ``high`` need at most MAX_BINS + 1 bins."""
    if is_integer:
        return max(0, (int(high) - int(low)).bit_length() - (MAX_BINS.bit_length() - 1))
    span = high - low if math.isfinite(high - low) else max(abs(low), abs(high))
    if span == 0:
        # a single value: one narrow bin
        return max(MIN_EXPONENT, math.frexp(low)[1] - MAX_BINS.bit_length()) if low else 0
    largest = max(abs(low), abs(high))
    return min(
        MAX_EXPONENT, max(MIN_EXPONENT, math.frexp(span)[1] - (MAX_BINS.bit_length() - 1), math.frexp(largest)[1] - 52)
    )


def _bins(values: np.ndarray, exponent: int) -> np.ndarray:
    import numpy as np

    if values.dtype.kind in "iu":
        return values.astype("uint64" if values.dtype == np.uint64 else "int64") >> exponent
    if values.dtype.kind == "b":
        return values.astype("int64")
    bins: np.ndarray = np.floor(np.ldexp(values, -exponent))
    return bins
