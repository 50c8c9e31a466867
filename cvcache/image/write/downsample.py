"""Downsampling by integer factors. The mean of bools is True if at least half of a cell is."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np


Region = tuple[slice, ...]
SLAB_BYTES = 1 << 20
METHODS = ("mean", "mode", "nearest", "max", "min", "median")
INTEGER_METHODS = ("mode",)


def downsample(block: np.ndarray, factors: Sequence[int], method: str) -> np.ndarray:
    """Return `block` downsampled by `factors` with one of `METHODS`; its dtype is kept."""
    if max(factors, default=1) == 1:
        return block.copy()
    return {"mean": downsample_mean, "mode": downsample_mode, "nearest": downsample_nearest}.get(
        method, _downsample_by(method)
    )(block, factors)


def downsample_nearest(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Return the first pixel of each cell of `factors` pixels; valid for labels too."""
    pixels: np.ndarray = block[tuple(slice(None, None, factor) for factor in factors)]
    return pixels.copy()


def downsample_mean(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Return the mean of each cell of `factors` pixels.

    Parameters
    ----------
    block : numpy.ndarray
        Of a number or bool dtype. An axis that `factors` does not divide is padded with its last pixel.
    factors : sequence of int
        One per axis.

    Returns
    -------
    numpy.ndarray
        Of the same dtype. Integers are rounded to the nearest, halves up, without overflow; a bool is
        True if at least half of its cell is.
    """
    import numpy as np

    count = math.prod(factors)
    if block.dtype in (np.dtype("int64"), np.dtype("uint64")):
        return _wide_mean(_cell_pixels(block, factors), count)
    block = _pad(block, factors)
    out = np.empty([n // f for n, f in zip(block.shape, factors, strict=True)], dtype=block.dtype)
    sum_dtypes = _sum_dtypes(block, factors)
    for source, target in _slabs(block, factors):
        total = _sum_cells(block[source], factors, sum_dtypes)
        out[target] = _divide(total, count) if block.dtype.kind in "biu" else total / count
    return out


def downsample_mode(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Return the most frequent pixel of each cell, so that no new label appears.

    Of two that are equally frequent the greater one is taken, so that a thin object is kept.
    """
    import numpy as np

    cells = _cell_pixels(block, factors)
    result = cells[0].copy()
    mixed = np.nonzero(functools.reduce(np.logical_or, (cell != result for cell in cells[1:])))
    candidates = [cell[mixed] for cell in cells]
    chosen, count = candidates[0].copy(), np.zeros(candidates[0].shape, dtype="uint16")
    for candidate in candidates:
        occurrences = np.zeros(candidate.shape, dtype="uint16")
        for other in candidates:
            occurrences += candidate == other
        better = (occurrences > count) | ((occurrences == count) & (candidate > chosen))
        chosen[better], count[better] = candidate[better], occurrences[better]
    result[mixed] = chosen
    return result


def _downsample_by(method: str) -> Callable[[np.ndarray, Sequence[int]], np.ndarray]:
    def reduce_cells(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
        import numpy as np

        cells = _cell_pixels(block, factors)
        if method == "median":
            # the upper middle one of an even number of pixels: an existing value
            median: np.ndarray = np.partition(np.stack(cells), len(cells) // 2, axis=0)[len(cells) // 2]
            return median
        extreme: np.ndarray = functools.reduce(np.maximum if method == "max" else np.minimum, cells)
        return extreme

    return reduce_cells


def _cell_pixels(block: np.ndarray, factors: Sequence[int]) -> list[np.ndarray]:
    """Return, for each position in a cell, the pixels at that position in all cells; the array is padded first."""
    block = _pad(block, factors)
    return [
        block[tuple(slice(start, None, factor) for start, factor in zip(corner, factors, strict=True))]
        for corner in itertools.product(*map(range, factors))
    ]


def _pad(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    import numpy as np

    short = [-extent % factor for extent, factor in zip(block.shape, factors, strict=True)]
    return np.pad(block, [(0, n) for n in short], mode="edge") if any(short) else block


def _slabs(block: np.ndarray, factors: Sequence[int]) -> Iterator[tuple[Region, Region]]:
    """Yield regions of a block that fit into the cache of the processor, and those of their means."""
    axis = next((i for i, n in enumerate(block.shape) if n > 1), 0)
    factor, extent = factors[axis], block.shape[axis]
    count = max(1, SLAB_BYTES * extent // max(1, block.nbytes) // factor)
    leading = (slice(None),) * axis
    for start in range(0, extent // factor, count):
        end = min(start + count, extent // factor)
        yield (*leading, slice(start * factor, end * factor)), (*leading, slice(start, end))


def _sum_dtypes(block: np.ndarray, factors: Sequence[int]) -> list[np.dtype]:
    """Return, per axis, the narrowest dtype for the sum along it and the previous ones, with room for rounding."""
    import numpy as np

    if block.dtype.kind not in "biu":
        return [np.result_type(block.dtype, np.float64)] * len(factors)
    low, high = (0, 1) if block.dtype.kind == "b" else (np.iinfo(block.dtype).min, np.iinfo(block.dtype).max)
    if block.dtype == np.uint16 and block.size:
        # images of cameras seldom use all 16 bits, and half the memory is twice as fast
        high = int(block.max())
    names = ("uint16", "uint32", "uint64") if block.dtype.kind in "bu" else ("int16", "int32", "int64")
    count, dtypes = 1, []
    for axis, factor in enumerate(factors):
        count *= factor
        half = count // 2 if axis == len(factors) - 1 else 0
        fits = (n for n in names if np.iinfo(n).min <= low * count and high * count + half <= np.iinfo(n).max)
        dtypes.append(np.dtype(next(fits)))
    return dtypes


def _sum_cells(slab: np.ndarray, factors: Sequence[int], dtypes: Sequence[np.dtype]) -> np.ndarray:
    """Return the sum of each cell, axis by axis; the contiguous axis is last because strided access is slow."""
    import numpy as np

    total = slab
    for axis, (factor, dtype) in enumerate(zip(factors, dtypes, strict=True)):
        parts = [total[(slice(None),) * axis + (slice(i, None, factor),)] for i in range(factor)]
        if factor > 1:
            total = np.add(parts[0], parts[1], dtype=dtype)
            for part in parts[2:]:
                total += part
    return total.astype(dtypes[-1], copy=total is slab)


def _divide(total: np.ndarray, count: int) -> np.ndarray:
    """Return sums of integers divided by `count`, rounded, halves up."""
    total += total.dtype.type(count // 2)
    if count & (count - 1):
        total //= total.dtype.type(count)
    else:
        total >>= total.dtype.type(count.bit_length() - 1)
    return total


def _sum(cells: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    total = cells[0].astype(dtype)
    for cell in cells[1:]:
        total += cell
    return total


def _wide_mean(cells: list[np.ndarray], count: int) -> np.ndarray:
    """Return the mean of 64-bit integers, whose sum may not fit 64 bits."""
    parts = [divmod(cell, count) for cell in cells]
    rest = _sum([part[1] for part in parts], cells[0].dtype)
    mean: np.ndarray = _sum([part[0] for part in parts], cells[0].dtype) + (rest + count // 2) // count
    return mean
