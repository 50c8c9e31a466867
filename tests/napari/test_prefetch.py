"""What is read ahead is what napari then asks for, and an array with pixels at hand is the array it was."""

from __future__ import annotations

import pickle
from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers.utils.layer_utils import compute_multiscale_level_and_corners, expand_corners_to_chunk_boundaries

from cvcache.napari.layers import PrefetchedArray, Viewport, VisiblePixels, prefetch_planes

SHAPE = (5, 40, 60)
PIXELS = np.arange(np.prod(SHAPE), dtype="u2").reshape(SHAPE)


class Source:
    """An array that notes what of it is read."""

    shape, ndim, dtype = SHAPE, 3, PIXELS.dtype

    def __init__(self) -> None:
        self.read: list[Any] = []

    def __getitem__(self, index: Any) -> np.ndarray:
        self.read.append(index)
        return PIXELS[index]


def lazy() -> tuple[da.Array, list[Any]]:
    source = Source()
    array = da.from_array(source, chunks=(1, 16, 16), meta=PIXELS[:0, :0, :0])
    source.read.clear()
    return array, source.read


def indexes() -> st.SearchStrategy[Any]:
    def one(extent: int) -> st.SearchStrategy[Any]:
        ends = st.integers(-extent - 3, extent + 3) | st.none()
        return st.integers(-extent, extent - 1) | st.builds(slice, ends, ends, st.sampled_from([None, 1, 2, -1]))

    whole = st.tuples(*map(one, SHAPE))
    return whole | whole.map(lambda i: i[:2]) | one(SHAPE[0]) | st.just((..., 3)) | st.just((2, ...))


@given(first=indexes(), then=st.sampled_from([..., 0, slice(1, 5), (slice(None), 2), slice(None, None, -1)]))
@settings(max_examples=300, deadline=None)
def test_any_part_of_it_is_the_same_part_of_the_pixels(first: Any, then: Any) -> None:
    array, _ = lazy()
    held = [(((2, 3), (0, 40), (0, 60)), PIXELS[2:3]), (((2, 4), (8, 24), (10, 50)), PIXELS[2:4, 8:24, 10:50])]
    ahead = PrefetchedArray.of(array, held, None)
    expected = array[first].compute()  # as dask has it, which is not numpy's way for odd negative slices
    assert np.array_equal(np.asarray(ahead[first]), expected)
    if np.ndim(expected) > 1 and np.shape(expected)[0] and np.shape(expected)[1] > 2:
        assert np.array_equal(np.asarray(ahead[first][then]), expected[then])


def test_what_is_at_hand_is_not_read_again() -> None:
    array, read = lazy()
    data, _, _ = prefetch_planes((array, {}, "image"), Viewport(), None)
    seen = len(read)
    assert seen == 3 * 4, "the chunks of one plane"
    assert np.array_equal(np.asarray(data[2]), PIXELS[2])
    assert np.array_equal(np.asarray(data[2, 3:9, 8:]), PIXELS[2, 3:9, 8:])
    assert np.array_equal(np.asarray(data[:, 3:9][2]), PIXELS[2, 3:9])
    assert len(read) == seen
    assert np.array_equal(np.asarray(data[3]), PIXELS[3])
    assert len(read) > seen


def test_what_somebody_does_with_it_does_not_change_what_is_at_hand() -> None:
    array, _ = lazy()
    data, _, _ = prefetch_planes((array, {}, "image"), Viewport(), None)
    copied = np.array(data[2])
    copied[:] = 0
    assert np.array_equal(np.asarray(data[2]), PIXELS[2])


def test_it_leaves_this_process_as_a_plain_array() -> None:
    array = da.from_array(PIXELS, chunks=(1, 16, 16))
    ahead = PrefetchedArray.of(array, [(((2, 3), (0, 40), (0, 60)), PIXELS[2:3])], print)
    again = pickle.loads(pickle.dumps(ahead))  # noqa: S301 - what was pickled a moment ago
    assert type(again) is da.Array
    assert np.array_equal(again.compute(), PIXELS)
    assert type(ahead + 1) is da.Array


@pytest.mark.parametrize("ndisplay", [2, 3])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_napari_finds_at_hand_what_it_shows_first(ndisplay: int, order: tuple[int, ...]) -> None:
    viewer = ViewerModel(ndisplay=ndisplay)
    viewer.add_layer(Image(np.zeros(SHAPE), name="there"))
    viewer.dims.order = order
    viewer.dims.set_current_step(order[0], 3)
    array, read = lazy()
    data, attributes, _ = prefetch_planes((array, {"contrast_limits": (0, 9)}, "image"), Viewport.of(viewer), None)
    seen = len(read)
    layer = viewer.add_layer(Image(data, visible=False, **attributes))
    layer.visible = True
    assert len(read) == seen
    expected = PIXELS.transpose(order)[3] if ndisplay == 2 else PIXELS.transpose(order)
    assert np.array_equal(layer._data_view, expected)


@given(
    height=st.integers(50, 5000),
    width=st.integers(50, 5000),
    zoom=st.floats(0.01, 20),
    center=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    canvas=st.tuples(st.integers(100, 1500), st.integers(100, 2500)),
)
@settings(max_examples=200, deadline=None)
def test_level_and_part_are_those_that_napari_chooses(
    height: int, width: int, zoom: float, center: tuple[float, float], canvas: tuple[int, int]
) -> None:
    levels = [da.zeros((max(1, height >> i), max(1, width >> i)), chunks=64) for i in range(5)]
    middle = center[0] * height, center[1] * width
    view = Viewport(empty=False, point=(0, 0), canvas=canvas, center=middle, zoom=zoom)
    frame = VisiblePixels.of(view, levels, 2, {})
    corners = np.array([[c - n / zoom / 2 for c, n in zip(middle, canvas, strict=True)]] * 2)
    corners[1] += np.array(canvas) / zoom
    box = np.stack([np.floor(corners[0]), np.ceil(corners[1])])
    factors = np.array([np.divide(levels[0].shape, level.shape) for level in levels])
    level, part = compute_multiscale_level_and_corners(box, canvas, factors)
    if frame.level() != level:  # one pixel of rounding at the border between two levels
        sizes = [(high - low) / factors[max(level, frame.level())] for low, high in frame.corners]
        assert np.min(np.abs(np.array(sizes) - np.array(canvas))) < 3
        return
    part = np.clip(part, 0, np.array(levels[level].shape) - 1)
    (top, left), (bottom, right) = expand_corners_to_chunk_boundaries(part, levels[level], (0, 1))
    (low_y, high_y), (low_x, high_x) = frame.visible(level)
    assert abs(low_y - top) <= 64
    assert abs(high_y - 1 - bottom) <= 64
    assert abs(low_x - left) <= 64
    assert abs(high_x - 1 - right) <= 64
