"""A stored array is sliced as numpy does, with no request too many."""

from __future__ import annotations

import math
import uuid
from typing import Any

import numpy as np
import pytest
from format_cases import CountingStore
from hypothesis import given, settings
from hypothesis import strategies as st

from cvcache.errors import ItemDamaged
from cvcache.formats import ItemPath, ItemWrite
from cvcache.image.arrays import ArraySpec, parse_compressor
from cvcache.image.read import StoredArray, full_window


def stored(
    pixels: np.ndarray,
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None = None,
    *,
    pin: str = "",
    complete: bool = True,
) -> StoredArray:
    """Return an array whose objects lie in a store that counts requests."""
    codec = parse_compressor("zstd")
    spec = ArraySpec("0", pixels.shape, chunks, shards, pixels.dtype.newbyteorder("<").str, codec)
    path = f"test/{uuid.uuid4().hex}/x.ome.zarr"
    place = ItemWrite(CountingStore(), path)
    for index in spec.object_indices():
        region = tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, spec.object_shape, strict=True))
        place.put_parts(spec.encode(pixels[region]), spec.key(index))
    item = ItemPath(place.store, path, successor=f"{path}/{pin}", committed=True) if pin else place
    return StoredArray(item, spec, full_window(pixels.shape), pixels.dtype, complete=complete)


def gets(array: StoredArray, index: Any) -> int:
    """Return how many GET a slice takes."""
    store: Any = array.item.store
    store.calls.clear()
    array[index]
    return len(store.paths("get"))


def parts(extent: int) -> st.SearchStrategy[Any]:
    """Give what indexes one axis: a plane, any slice, a list, or a mask."""
    bound = st.none() | st.integers(-extent - 3, extent + 3)
    step = st.none() | st.integers(1, 5) | st.integers(-5, -1)
    return st.integers(-extent, extent - 1) | st.builds(slice, bound, bound, step)


def shapes() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(1, 12), min_size=1, max_size=4)


@settings(max_examples=250, deadline=None)
@given(shape=shapes(), data=st.data())
def test_it_is_sliced_as_numpy_does(shape: list[int], data: st.DataObject) -> None:
    pixels = np.arange(math.prod(shape), dtype="uint16").reshape(shape)
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    shards = tuple(n * data.draw(st.integers(1, 3)) for n in chunks) if data.draw(st.booleans()) else None
    array = stored(pixels, chunks, shards)
    index = [data.draw(parts(n)) for n in shape][: data.draw(st.integers(0, len(shape)))]
    if data.draw(st.booleans()):
        index.insert(data.draw(st.integers(0, len(index))), ...)
        tail = len(index) - 1 - index.index(...)
        index = index[: index.index(...) + 1] + [data.draw(parts(n)) for n in shape[len(shape) - tail :]]
    np.testing.assert_array_equal(array[tuple(index)], pixels[tuple(index)], strict=True)
    np.testing.assert_array_equal(np.asarray(array), pixels)


@settings(max_examples=100, deadline=None)
@given(shape=shapes(), data=st.data())
def test_a_list_or_a_mask_picks_what_numpy_picks(shape: list[int], data: st.DataObject) -> None:
    pixels = np.arange(math.prod(shape), dtype="uint16").reshape(shape)
    array = stored(pixels, tuple(data.draw(st.integers(1, n)) for n in shape))
    axis = data.draw(st.integers(0, len(shape) - 1))
    extent = shape[axis]
    picked = data.draw(
        st.lists(st.integers(-extent, extent - 1), min_size=1, max_size=6)
        | st.lists(st.booleans(), min_size=extent, max_size=extent)
    )
    index: list[Any] = [data.draw(st.just(slice(None)) | st.builds(slice, st.integers(0, 4), st.none())) for _ in shape]
    index[axis] = data.draw(st.sampled_from([picked, np.array(picked)]))
    np.testing.assert_array_equal(array[tuple(index)], pixels[tuple(index)], strict=True)


@pytest.mark.parametrize("index", [(0, 0, 0), (9,), (-9,), (slice(None), 8)], ids=str)
def test_what_lies_outside_is_no_pixel(index: tuple[Any, ...]) -> None:
    array = stored(np.zeros((8, 8), "uint8"), (4, 4))
    with pytest.raises(IndexError):
        array[index]


def test_one_get_per_chunk_that_is_touched() -> None:
    array = stored(np.zeros((40, 40), "uint8"), (10, 10))
    assert gets(array, ...) == 16
    assert gets(array, (slice(0, 10), slice(0, 10))) == 1
    assert gets(array, (slice(9, 11), slice(0, 10))) == 2
    assert gets(array, (5, slice(None))) == 4
    assert gets(array, (slice(None, None, 30), slice(None, None, 39))) == 4
    assert gets(array, (slice(0, 0), slice(None))) == 0


def test_a_whole_shard_is_one_get() -> None:
    array = stored(np.zeros((40, 40), "uint8"), (10, 10), (20, 40))
    assert gets(array, ...) == 2
    assert gets(array, (slice(0, 20), slice(None))) == 1
    # five of its eight chunks are most of it
    assert gets(array, (slice(0, 20), slice(0, 30))) == 1


def test_a_part_of_a_shard_is_its_index_and_a_get_per_chunk() -> None:
    array = stored(np.zeros((40, 40), "uint8"), (10, 10), (20, 40))
    assert gets(array, (0, 0)) == 2
    assert gets(array, (slice(0, 10), slice(0, 20))) == 3


def test_the_index_of_a_committed_shard_is_read_once() -> None:
    array = stored(np.arange(1600, dtype="uint16").reshape(40, 40), (10, 10), (20, 40), pin="next")
    assert gets(array, (0, 0)) == 2
    assert gets(array, (0, 11)) == 1
    assert array[0, 11] == 11


def test_an_edge_shard_counts_only_the_chunks_it_has() -> None:
    array = stored(np.zeros((25, 25), "uint8"), (10, 10), (20, 20))
    assert gets(array, (slice(20, 25), slice(20, 25))) == 1
    assert gets(array, ...) == 4


@pytest.mark.parametrize("shards", [None, (20, 20)])
def test_a_missing_object_is_damage_of_ours_and_empty_of_others(shards: Any) -> None:
    pixels = np.ones((40, 40), "uint8")
    array = stored(pixels, (10, 10), shards)
    array.item.store.delete([array.item.at(array.spec.key((0, 0)))])
    with pytest.raises(ItemDamaged, match="0/c/0/0"):
        array[0, 0]
    np.testing.assert_array_equal(array[-1, -1], 1)
    theirs = StoredArray(array.item, array.spec, array.window, array.dtype, complete=False)
    assert theirs[0, 0] == 0
    assert theirs[:10, :10].max() == 0
    assert theirs[-1, -1] == 1


@pytest.mark.parametrize("shards", [None, (20, 20)])
def test_a_damaged_object_is_named(shards: Any) -> None:
    array = stored(np.ones((40, 40), "uint8"), (10, 10), shards)
    key = array.spec.key((1, 1))
    data = bytearray(array.item.get(key))
    for spoilt in (data[:-1], data[1:], bytes(len(data)), b"", data + b"\0", bytes([data[0] ^ 1]) + data[1:]):
        array.item.put(bytes(spoilt), key)
        for index in ((slice(None), slice(None)), (12 if shards is None else 20, 12 if shards is None else 20)):
            with pytest.raises(ItemDamaged, match=key):
                array[index]
