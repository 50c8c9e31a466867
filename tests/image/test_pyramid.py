"""Pyramid arithmetic: axes, factors, chunks, scales."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvcache.errors import UsageError
from cvcache.image import (
    check_axes,
    default_axes,
    default_chunks,
    grid_shape,
    next_factors,
    per_axis,
    plan_levels,
    storage_axes,
)


def test_importing_it_loads_no_numpy() -> None:
    code = "import sys, cvcache.image.pyramid; print('numpy' in sys.modules, 'dask' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_axes_by_rank() -> None:
    assert ["".join(default_axes(n)) for n in range(1, 6)] == ["x", "yx", "zyx", "czyx", "tczyx"]
    for ndim in (0, 6):
        with pytest.raises(UsageError, match="1 to 5"):
            default_axes(ndim)


@pytest.mark.parametrize(
    ("axes", "ndim", "says"),
    [("yxc", 3, "order"), ("ctyx", 4, None), ("zz", 2, "distinct"), ("q", 1, "tczyx"), ("yx", 3, "name 2")],
)
def test_axes_are_checked(axes: str, ndim: int, says: str | None) -> None:
    with pytest.raises(UsageError, match=says or "order"):
        check_axes(axes, ndim)


def test_space_may_be_in_any_order() -> None:
    assert check_axes("cxyz", 4) == ("c", "x", "y", "z")


@pytest.mark.parametrize(
    ("axes", "stored", "added"),
    [
        ("x", "yx", (0,)),
        ("y", "yx", (1,)),
        ("z", "zx", (1,)),
        ("tc", "tcyx", (2, 3)),
        ("cx", "cyx", (1,)),
        ("xy", "xy", ()),
    ],
)
def test_stored_are_at_least_two_axes_of_space(axes: str, stored: str, added: tuple[int, ...]) -> None:
    assert storage_axes(tuple(axes)) == (tuple(stored), added)


def test_values_per_axis() -> None:
    axes = ("c", "z", "y", "x")
    assert per_axis(None, axes, 1.0, "scale") == (1, 1, 1, 1)
    assert per_axis((2, 0.5, 0.5), axes, 1.0, "scale") == (1, 2, 0.5, 0.5)
    assert per_axis((9, 2, 0.5, 0.5), axes, 1.0, "scale") == (9, 2, 0.5, 0.5)
    assert per_axis({"z": 3}, axes, 0.0, "translation") == (0, 3, 0, 0)
    for bad in ((1, 2), {"q": 1}, (1, 2, math.nan)):
        with pytest.raises(UsageError, match="scale"):
            per_axis(bad, axes, 1.0, "scale")


def test_a_coarse_axis_waits_until_the_others_caught_up() -> None:
    levels = plan_levels((60, 2048, 2048), "zyx", 2, scale=(2.0, 0.5, 0.5))
    assert [level.factors for level in levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]
    assert levels[-1].shape == (30, 256, 256)


def test_a_short_fine_axis_does_not_hold_up_the_long_ones() -> None:
    assert next_factors((8, 5000, 5000), "zyx", (0.1, 1.0, 1.0)) == (2, 2, 2)


def test_time_and_channels_are_never_shrunk() -> None:
    levels = plan_levels((500, 4, 10, 600, 600), "tczyx", 1)
    assert {level.shape[:2] for level in levels} == {(500, 4)}


def test_scale_and_half_pixel_translation() -> None:
    level = plan_levels((1024, 1024), "yx", 2, scale=(0.5, 0.5), translation=(10, 0))[2]
    assert level.scale == (2.0, 2.0)
    assert level.translation == (10.75, 0.75)


def test_levels_as_asked_but_never_below_one_pixel() -> None:
    assert len(plan_levels((300, 300), "yx", 1, levels=4)) == 4
    assert len(plan_levels((5000, 5000), "yx", 1, levels=1)) == 1
    assert [level.shape for level in plan_levels((3, 2), "yx", 1, levels=9)] == [(3, 2), (2, 1), (1, 1)]


@pytest.mark.parametrize("options", [{"levels": 0}, {"chunks": (8,)}, {"chunks": (0, 8)}, {"scale": (0, 1)}])
def test_what_makes_no_pyramid_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        plan_levels((64, 64), "yx", 1, **options)  # type: ignore[arg-type]


@given(st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.integers(1, 5000)] * n)), st.sampled_from([1, 2, 4, 8]))
def test_default_chunks(shape: tuple[int, ...], itemsize: int) -> None:
    axes = default_axes(len(shape))
    chunks = default_chunks(shape, axes, itemsize)
    assert all(1 <= chunk <= extent for chunk, extent in zip(chunks, shape, strict=True))
    assert math.prod(chunks) * itemsize <= 2 * 1024**2
    sizes = dict(zip(axes, chunks, strict=True))
    assert sizes.get("t", 1) == sizes.get("c", 1) == 1
    assert sizes.get("z", 1) <= 16


def test_default_chunks_are_about_2_mib() -> None:
    assert default_chunks((256, 1024, 1024), "zyx", 2) == (16, 256, 256)
    assert default_chunks((9000, 9000), "yx", 2) == (1024, 1024)
    assert default_chunks((9000, 100), "yx", 4) == (4096, 100)


SHAPES = st.integers(2, 5).flatmap(lambda n: st.tuples(*[st.integers(1, 3000)] * n))


@given(SHAPES, st.lists(st.floats(0.01, 100), min_size=5, max_size=5), st.none() | st.integers(1, 6))
def test_every_pyramid_nests(shape: tuple[int, ...], scale: list[float], levels: int | None) -> None:
    axes = default_axes(len(shape))
    plan = plan_levels(shape, axes, 2, scale=scale[: len(shape)], levels=levels)
    assert plan[0].shape == shape
    assert levels is None or len(plan) <= levels
    assert levels or max(plan[-1].shape[-3 if "z" in axes else -2 :]) <= 256
    for finer, coarser in itertools.pairwise(plan):
        step = [b // a for a, b in zip(finer.factors, coarser.factors, strict=True)]
        assert set(step) <= {1, 2}
        assert 2 in step
        assert coarser.shape == tuple(grid_shape(finer.shape, step))
        # The chunks under one chunk of the next level begin at a chunk border.
        unit = [chunk * f for chunk, f in zip(finer.chunks, step, strict=True)]
        assert grid_shape(finer.shape, unit) == grid_shape(coarser.shape, finer.chunks)
