"""Means and picks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvcache.image.write import downsample_mean, downsample_nearest


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_an_integer_mean_is_exact_at_the_edge_of_its_type(dtype: str) -> None:
    info = np.iinfo(dtype)
    for values in (
        [info.max] * 4,
        [info.min] * 4,
        [info.max, info.max, info.max, info.max - 1],
        [info.min, info.min + 1, 0, 0],
    ):
        block = np.array(values, dtype).reshape(2, 2)
        mean = downsample_mean(block, (2, 2))
        assert mean.dtype == dtype
        assert int(mean[0, 0]) == (sum(values) + 2) // 4


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=8, max_size=8))
def test_a_64_bit_mean_does_not_overflow(values: list[int]) -> None:
    mean = downsample_mean(np.array(values, "int64").reshape(2, 2, 2), (2, 2, 2))
    assert int(mean[0, 0, 0]) == (sum(values) + 4) // 8


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64", "bool"])
def test_the_dtype_is_kept(dtype: str) -> None:
    block = np.ones((4, 6), dtype)
    np.testing.assert_array_equal(downsample_mean(block, (2, 2)), np.ones((2, 3), dtype), strict=True)
    np.testing.assert_array_equal(downsample_nearest(block, (2, 2)), np.ones((2, 3), dtype), strict=True)


def test_an_odd_edge_is_the_mean_of_what_is_there() -> None:
    block = np.array([[0, 2, 10], [4, 6, 20], [8, 10, 30]], "uint8")
    np.testing.assert_array_equal(downsample_mean(block, (2, 2)), [[3, 15], [9, 30]])
    np.testing.assert_array_equal(downsample_nearest(block, (2, 2)), [[0, 10], [8, 30]])


def test_float16_does_not_overflow() -> None:
    assert downsample_mean(np.full((2, 2), 60000, "float16"), (2, 2))[0, 0] == np.float16(60000)
