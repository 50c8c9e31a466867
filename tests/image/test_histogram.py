"""Histograms of parts make the histogram of the whole, whatever the numbers."""

from __future__ import annotations

import functools
import json
import math
import operator
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvcache.image.write import MAX_ABS_VALUE, MAX_BINS, MAX_RECORDED_BINS, Histogram, compute_histogram

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)


def arrays(elements: Any, dtype: str) -> Any:
    return st.lists(elements, min_size=1, max_size=60).map(lambda values: np.array(values, dtype))


PIXELS = st.one_of(
    arrays(FLOATS, "float64"),
    arrays(st.floats(width=32), "float32"),
    arrays(st.floats(width=16), "float16"),
    arrays(st.integers(-(2**63), 2**63 - 1), "int64"),
    arrays(st.integers(0, 2**64 - 1), "uint64"),
    arrays(st.integers(-128, 127), "int8"),
    arrays(st.integers(0, 2**16 - 1), "uint16"),
    arrays(st.booleans(), "bool"),
)


def finite(pixels: np.ndarray) -> list[Any]:
    """Return what is counted: finite numbers, those of a float64 up to HUGE."""
    values = [value for value in pixels.ravel().tolist() if math.isfinite(value)]
    return [min(max(value, -MAX_ABS_VALUE), MAX_ABS_VALUE) for value in values] if pixels.dtype.kind == "f" else values


def bin_of(value: float, exponent: int) -> int:
    return math.floor(math.ldexp(value, -exponent)) if isinstance(value, float) else int(value) >> exponent


@given(pixels=PIXELS)
def test_every_finite_pixel_is_counted_in_its_bin(pixels: np.ndarray) -> None:
    with warnings.catch_warnings(action="error"):
        found = compute_histogram(pixels)
    values = finite(pixels)
    if not values:
        assert found is None
        return
    assert found is not None
    assert found.total == len(values)
    assert len(found.counts) <= MAX_BINS + 2
    assert found.counts[0]
    assert found.counts[-1]
    expected: dict[int, int] = {}
    for value in values:
        expected[bin_of(value, found.exponent)] = expected.get(bin_of(value, found.exponent), 0) + 1
    assert {found.first + i: n for i, n in enumerate(found.counts) if n} == expected


@given(pixels=arrays(st.integers(-(2**63), 2**63 - 1), "int64"), borders=st.lists(st.integers(0, 60), max_size=5))
def test_parts_make_the_whole_in_any_order(pixels: np.ndarray, borders: list[int]) -> None:
    parts = [found for part in np.split(pixels, sorted(borders)) if (found := compute_histogram(part))]
    orders = [parts, parts[::-1], parts[1:] + parts[:1]]
    sums = [functools.reduce(operator.add, order) for order in orders]
    assert sums[0] == sums[1] == sums[2]
    assert sums[0].total == pixels.size


@settings(max_examples=200)
@given(lists=st.lists(PIXELS, min_size=2, max_size=4), data=st.data())
def test_merging_is_commutative_and_loses_nothing(lists: list[np.ndarray], data: st.DataObject) -> None:
    parts = [found for pixels in lists if (found := compute_histogram(pixels))]
    if not parts:
        return
    total = functools.reduce(operator.add, parts)
    assert total.total == sum(part.total for part in parts)
    assert len(total.counts) <= MAX_BINS + 2
    shuffled = functools.reduce(operator.add, data.draw(st.permutations(parts)))
    nested = parts[0] + functools.reduce(operator.add, parts[1:]) if len(parts) > 1 else parts[0]
    assert total == shuffled == nested


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("percent", [0, 0.1, 1, 25, 50, 75, 99, 99.9, 100])
def test_percentiles_are_those_of_numpy_within_a_bin(dtype: str, percent: float) -> None:
    pixels = np.random.default_rng(0).normal(100, 20, 5000).astype(dtype)
    found = functools.reduce(operator.add, filter(None, map(compute_histogram, np.split(pixels, 10))))
    width = 2.0**found.exponent
    near = np.clip([percent - 0.02, percent + 0.02], 0, 100)  # which of two neighbours it is, rounding decides
    low, high = np.percentile(pixels.astype("float64"), near, method="inverted_cdf")
    assert low - width <= found.percentile(percent) <= high + width


def test_few_integers_are_counted_one_by_one() -> None:
    found = compute_histogram(np.arange(1024, dtype="uint16"))
    assert found == Histogram(0, 0, (1,) * 1024)
    assert compute_histogram(np.array([-3, 5], "int8")) == Histogram(0, -3, (1, *[0] * 7, 1))


EXTREMES: dict[str, np.ndarray] = {
    "all of float64": np.array([-1.7976931348623157e308, 1.7976931348623157e308]),
    "least of float64": np.array([5e-324, -5e-324, 0.0]),
    "one subnormal": np.array([5e-324]),
    "neighbours": np.array([1.0, np.nextafter(1.0, 2)]),
    "large neighbours": np.array([1e300, np.nextafter(1e300, 2e300)]),
    "float16": np.array([-65504, 65504, 6e-8], "float16"),
    "float32": np.array([-3.4e38, 3.4e38, 1e-45], "float32"),
    "uint64": np.array([0, 2**64 - 1], "uint64"),
    "end of uint64": np.array([2**64 - 1, 2**64 - 2], "uint64"),
    "int64": np.array([-(2**63), 2**63 - 1], "int64"),
    "begin of int64": np.array([-(2**63)], "int64"),
    "negative": np.array([-5.5, -1.25, -0.0]),
    "mixed": np.array([np.nan, np.inf, -np.inf, 3.5]),
    "bool": np.array([True, False, True]),
    "zero": np.zeros(9),
}


@pytest.mark.parametrize("pixels", EXTREMES.values(), ids=EXTREMES)
def test_extremes_are_counted(pixels: np.ndarray) -> None:
    values = finite(pixels)
    found = compute_histogram(pixels)
    assert found is not None
    assert found.total == len(values)
    width = 2.0**found.exponent
    for percent in (0, 50, 100):
        value = found.percentile(percent)
        assert min(values) - width <= value <= max(values) + width
    assert (found + found).total == 2 * len(values)
    short = found.summary()
    assert json.loads(json.dumps(short, allow_nan=False)) == short
    assert len(short["counts"]) <= MAX_RECORDED_BINS  # type: ignore[arg-type]
    assert sum(short["counts"]) == len(values)  # type: ignore[call-overload]


def test_extremes_merge_with_each_other() -> None:
    parts = [found for pixels in EXTREMES.values() if (found := compute_histogram(pixels))]
    assert functools.reduce(operator.add, parts) == functools.reduce(operator.add, parts[::-1])


@pytest.mark.parametrize("pixels", [np.array([]), np.array([np.nan, np.inf, -np.inf]), np.zeros((0, 3), "uint8")])
def test_nothing_finite_has_no_histogram(pixels: np.ndarray) -> None:
    assert compute_histogram(pixels) is None
