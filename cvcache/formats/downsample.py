"""Shrink an array by whole factors."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np


def nearest(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Return the first pixel of each cell of `factors` pixels: right for labels, whose mean means nothing."""
    picked: np.ndarray = block[tuple(slice(None, None, factor) for factor in factors)]
    return picked.copy()


def local_mean(block: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Return the mean of each cell of `factors` pixels.

    Parameters
    ----------
    block : numpy.ndarray
        Of a number or bool dtype. An axis that `factors` does not divide is continued by its last pixel.
    factors : sequence of int
        One per axis.

    Returns
    -------
    numpy.ndarray
        Of the same dtype. Integers are rounded to the nearest, halves up, without overflow; a bool is
        what half of its cell or more is.
    """
    import numpy as np

    short = [-extent % factor for extent, factor in zip(block.shape, factors, strict=True)]
    if any(short):
        block = np.pad(block, [(0, n) for n in short], mode="edge")
    count = math.prod(factors)
    cells = [
        block[tuple(slice(start, None, factor) for start, factor in zip(corner, factors, strict=True))]
        for corner in itertools.product(*map(range, factors))
    ]
    if block.dtype in (np.dtype("int64"), np.dtype("uint64")):
        return _wide_mean(cells, count)
    if block.dtype.kind in "biu":
        mean = (_total(cells, np.dtype("int64")) + count // 2) // count
    else:
        mean = _total(cells, np.result_type(block.dtype, np.float64)) / count
    return mean.astype(block.dtype)


def _total(cells: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    total = cells[0].astype(dtype)
    for cell in cells[1:]:
        total += cell
    return total


def _wide_mean(cells: list[np.ndarray], count: int) -> np.ndarray:
    """Return the mean of 64-bit integers, whose sum may not fit 64 bits."""
    parts = [divmod(cell, count) for cell in cells]
    rest = _total([part[1] for part in parts], cells[0].dtype)
    mean: np.ndarray = _total([part[0] for part in parts], cells[0].dtype) + (rest + count // 2) // count
    return mean
