"""The memory cache: fewer requests, never another answer."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cvcache
from cvcache import CacheDir
from cvcache.node import address_of
from cvcache.store import ENTRY_OVERHEAD, MemoryCache
from cvcache.testing import CountingStore, instrument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.store_cases import BucketCase, LocalCase, MemoryCase, StoreCase

    from cvcache.store import Store


class Counted:
    """Counts the requests of all handles made since."""

    def __init__(self) -> None:
        self.stores: list[CountingStore] = []

    def wrap(self, store: Store) -> Store:
        self.stores.append(CountingStore(store))
        return self.stores[-1]

    def gets(self) -> list[str]:
        paths = [path for store in self.stores for verb, path in store.log if verb == "get"]
        for store in self.stores:
            store.reset()
        return [path for path in paths if "_cvcache/log" not in path]


@pytest.fixture
def counted() -> Iterator[Counted]:
    counted = Counted()
    with instrument(counted.wrap):
        yield counted


def fill(root: CacheDir) -> CacheDir:
    with cvcache.cdir_init(root / "a", {"n": 1}) as d:
        if not d.committed:
            d.write("values.json", [1, 2, 3])
            d.write("array.npy", np.arange(1000))
            pixels = da.arange(64 * 64, dtype="u2").reshape(64, 64).rechunk(16)
            d.write("image.ome.zarr", pixels, chunks=(16, 16))
    return root / "a"


def test_a_second_read_asks_the_store_for_nothing(store_case: StoreCase, counted: Counted) -> None:
    node = cvcache.cdir_query(fill(cvcache.cdir(store_case.url, ram="10MB", **store_case.options)))
    for name in ("values.json", "array.npy"):
        first = node.read(name)
        assert counted.gets()
        np.testing.assert_array_equal(node.read(name), first)
        assert counted.gets() == []


def test_chunks_of_an_image_stay_in_memory(s3_case: BucketCase, counted: Counted) -> None:
    node = cvcache.cdir_query(fill(cvcache.cdir(s3_case.url, ram="10MB", **s3_case.options)))
    image = node.read("image.ome.zarr")
    first = np.asarray(image[:20, :20])
    assert len(counted.gets()) >= 4
    np.testing.assert_array_equal(np.asarray(node.read("image.ome.zarr")[:20, :20]), first)
    assert counted.gets() == []


def test_without_it_each_read_asks(memory_case: MemoryCase, counted: Counted) -> None:
    node = cvcache.cdir_query(fill(cvcache.cdir(memory_case.url)))
    for _ in range(2):
        node.read("values.json")
        assert counted.gets()


def test_what_a_caller_changes_does_not_change_the_cache(memory_case: MemoryCase) -> None:
    node = cvcache.cdir_query(fill(cvcache.cdir(memory_case.url, ram="10MB")))
    node.read("values.json").append(4)
    array = node.read("array.npy")
    array[:] = 0
    image = np.asarray(node.read("image.ome.zarr"))
    image[:] = 0
    assert node.read("values.json") == [1, 2, 3]
    np.testing.assert_array_equal(node.read("array.npy"), np.arange(1000))
    assert np.asarray(node.read("image.ome.zarr")).max() == 64 * 64 - 1


def test_a_recomputed_node_is_read_anew(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, ram="10MB", **store_case.options)
    for value in (1, 2, 3):
        with cvcache.cdir_init(root / "a", {"value": value}) as d:
            d.write("value.json", value)
            d.write("image.ome.zarr", np.full((8, 8), value))
        assert (root / "a").read("value.json") == value
        assert np.asarray((root / "a").read("image.ome.zarr")).max() == value


def test_a_handle_pinned_to_what_was_replaced_says_so_for_an_image(memory_case: MemoryCase) -> None:
    root = cvcache.cdir(memory_case.url, ram="10MB")
    old = cvcache.cdir_query(fill(root))
    image = old.read("image.ome.zarr")
    image[:8].compute(scheduler="sync")
    with cvcache.cdir_init(root / "a", {"n": 2}) as d:
        d.write("values.json", [])
    with pytest.raises(cvcache.NodeReplaced):
        image.compute(scheduler="sync")


def test_it_is_dropped_on_pickling(memory_case: MemoryCase) -> None:
    node = cvcache.cdir_query(fill(cvcache.cdir(memory_case.url, ram="10MB")))
    node.read("array.npy")
    lazy = node.read("image.ome.zarr")
    lazy.compute(scheduler="sync")
    assert len(pickle.dumps(node)) < 10_000
    assert len(pickle.dumps(lazy)) < 20_000
    assert pickle.loads(pickle.dumps(node)).read("values.json") == [1, 2, 3]  # noqa: S301 - our own bytes


def test_it_belongs_to_a_tree_and_its_nodes_share_it(memory_case: MemoryCase, counted: Counted) -> None:
    root = cvcache.cdir(memory_case.url, ram=1 << 20)
    fill(root)
    cvcache.cdir_query(root / "a").read("values.json")
    counted.gets()
    assert cvcache.cdir_query(root / "a").read("values.json") == [1, 2, 3]
    assert counted.gets() == []
    cvcache.cdir(memory_case.child("a")).read("values.json")
    assert counted.gets()


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 900))), st.integers(1, 3000))
def test_it_is_bounded_and_keeps_what_was_used_last(puts: list[tuple[int, int]], limit: int) -> None:
    ram = MemoryCache(limit)
    for name, size in puts:
        ram.put((name, size), bytes(size))
        assert ram.size <= limit
        if size + ENTRY_OVERHEAD <= limit:
            assert ram.get((name, size)) == bytes(size)


@pytest.mark.parametrize("limit", ["much", "-1GB", 0, -5, True, "4 parsecs", 1.5])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    with pytest.raises(cvcache.UsageError, match="number of bytes"):
        cvcache.cdir("memory://x/y", ram=limit)  # type: ignore[arg-type]  # on purpose


def test_sizes_are_spelled_as_people_do() -> None:
    assert (MemoryCache("4GB").limit, MemoryCache("512MiB").limit, MemoryCache(7).limit) == (
        4_000_000_000,
        512 << 20,
        7,
    )


def test_arrays_that_a_graph_holds_read_the_right_commit(memory_case: MemoryCase) -> None:
    root = cvcache.cdir(memory_case.url, ram="1MB")
    with cvcache.cdir_init(root / "a", {"v": 1}) as d:
        d.write("x.ome.zarr", da.full((16, 16), 1, chunks=8))
    first = (root / "a").read("x.ome.zarr").sum()
    assert int(first.compute()) == 256


def test_what_a_caller_changes_does_not_change_what_is_kept(local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.url, ram="1MB")
    value, pixels = {"a": [1]}, np.zeros(3)
    with cvcache.cdir_init(root / "n") as d:
        d.write("n.json", value)
        d.write("x.npy", pixels)
    value["a"].append(2)
    pixels[:] = 9
    for _ in range(2):
        got, array = d.read("n.json"), d.read("x.npy")
        assert (got, array.tolist()) == ({"a": [1]}, [0, 0, 0])
        got["a"].append(3)
        array[:] = 7


def test_memory_is_bounded_with_nothing_else_configured(local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.url, ram="64KB")
    with cvcache.cdir_init(root / "n") as d:
        for i in range(8):
            d.write(f"x{i}.npy", np.zeros(4000))
    for item in d.items():
        item.read()
    assert address_of(root).context.ram is not None
    assert 0 < address_of(root).context.ram.size <= 64_000
    assert cvcache.cdir(local_case.url, ram="1TB") == root
