"""Trees: walk, why, remove, and what is stale."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import cvcache
from cvcache.node import snapshot_of
from cvcache.testing import CountingStore, WrapperStore, instrument, lay_tree
from cvcache.tree import WALK_CONCURRENCY, directory_state, read_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from servers.store_cases import LocalCase, MemoryCase, StoreCase

    from cvcache import CacheDir
    from cvcache.store import Store


def fill(where: CacheDir, key: object = None, value: object = 1) -> CacheDir:
    with cvcache.cdir_init(where, key) as node:
        if not node.committed:
            node.write("value.json", value)
    return node


@pytest.fixture
def top(store_case: StoreCase) -> CacheDir:
    """Give a tree: top, top/a, top/folder/b."""
    top = cvcache.cdir(store_case.url, **store_case.options)
    fill(top)
    fill(top / "a")
    fill(top / "folder" / "b")
    return top


def test_walk_gives_nodes_parents_first_and_no_folders(top: CacheDir) -> None:
    assert [node.url for node in cvcache.cdir_walk(top)] == [top.url, f"{top.url}/a", f"{top.url}/folder/b"]
    assert list(cvcache.cdir_walk(top / "nothing")) == []


def test_walk_shows_what_is_not_committed_too(memory_case: MemoryCase) -> None:
    top = cvcache.cdir(memory_case.url)
    cvcache.cdir_init(top / "running")
    with pytest.raises(ZeroDivisionError), cvcache.cdir_init(top / "failed"):
        raise ZeroDivisionError
    assert {node.name: node.state for node in cvcache.cdir_walk(top)} == {"failed": "failed", "running": "running"}


def test_a_result_that_stands_is_walked_verified_and_copied(store_case: StoreCase, tmp_path: Path) -> None:
    top = cvcache.cdir(store_case.child("tree"), **store_case.options)
    for name in ("running", "failed"):
        fill(top / name, 1)
    store_case.put("tree/running/mine.txt", b"mine")
    cvcache.cdir_init(top / "running", 2)
    with pytest.raises(ZeroDivisionError), cvcache.cdir_init(top / "failed", 2) as node:
        node.write("half.json", 1 / 0)
    entries = {entry.node.address.name: entry for entry in read_tree(top).walk() if entry.depth}
    for state, entry in entries.items():
        assert (entry.state, entry.node.committed, list(entry.items)) == (state, True, ["value.json"])
    assert cvcache.cdir_verify(top) == []
    copies = {copy.name: cvcache.cdir_query(copy) for copy in cvcache.cdir_copy(top, tmp_path / "copy")}
    assert {name: (copy.state, copy.read("value.json")) for name, copy in copies.items()} == {
        "running": ("committed", 1),
        "failed": ("committed", 1),
    }
    assert len(cvcache.cdir_remove(top, recursive=True)) == 2
    assert store_case.read("tree/running/mine.txt") == b"mine"


class _Replacing(WrapperStore):
    """A store in which a node is computed again just before its item is looked at."""

    def __init__(self, store: Store, node: CacheDir) -> None:
        super().__init__(store)
        self.nodes = [node]

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:
        if verb == "stat" and path.endswith("value.json") and self.nodes:
            fill(self.nodes.pop(), 2)
        return super().call(verb, path, act, data)


def test_a_verification_of_a_node_that_is_replaced_meanwhile_says_so(memory_case: MemoryCase) -> None:
    node = cvcache.cdir(memory_case.child("n"))
    fill(node, 1)
    with instrument(lambda store: _Replacing(store, node)), pytest.raises(cvcache.NodeReplaced):
        cvcache.cdir_verify(memory_case.url)


def test_why(top: CacheDir) -> None:
    fill(top / "a", {"sigma": 2.0, "names": ["x"]})
    fill(top / "a", {"sigma": 3.0, "names": ["x", "y"]})
    assert list(cvcache.cdir_query(top / "a").reason) == ["names[1]: added", "sigma: 2.0 -> 3.0"]
    assert list(cvcache.cdir_query(top / "nothing").reason) == []
    assert list(cvcache.cdir_query(top).reason) == ["first run"]


def test_remove_is_refused_where_nodes_lie_below(top: CacheDir) -> None:
    with pytest.raises(cvcache.UsageError, match=r"2 nodes below it .*/a, .*/folder/b.* recursive=True"):
        cvcache.cdir_remove(top)
    with pytest.raises(cvcache.UsageError, match="1 nodes below"):
        cvcache.cdir_remove(top / "folder")
    assert len(list(cvcache.cdir_walk(top))) == 3


def test_remove_one_and_all(top: CacheDir, store_case: StoreCase) -> None:
    store_case.put("../beside.txt", b"mine")
    store_case.put("folder/mine.txt", b"mine")
    assert cvcache.cdir_remove(top / "a") == [f"{top.url}/a"]
    assert cvcache.cdir_remove(top / "a") == []
    assert (top / "a").state == "absent"
    removed = cvcache.cdir_remove(top, recursive=True)
    assert removed == [f"{top.url}/folder/b", top.url]
    assert (store_case.read("../beside.txt"), store_case.read("folder/mine.txt")) == (b"mine", b"mine")
    assert not [name for name in store_case.snapshot() if name.endswith("value.json")]
    assert [node.state for node in cvcache.cdir_walk(top)] == ["absent"] * 3
    assert list(fill(top / "a").reason) == ["the node was removed"]


def test_remove_keeps_a_stranger_beside_the_items(top: CacheDir, store_case: StoreCase) -> None:
    store_case.put("a/notes.txt", b"mine")
    store_case.put("a/photos/1.jpg", b"mine")
    cvcache.cdir_remove(top / "a")
    assert (store_case.read("a/notes.txt"), store_case.read("a/photos/1.jpg")) == (b"mine", b"mine")


def test_remove_refuses_what_is_no_node(store_case: StoreCase) -> None:
    store_case.put("mine/notes.txt", b"mine")
    before = store_case.snapshot()
    with pytest.raises(cvcache.NotACacheDir):
        cvcache.cdir_remove(cvcache.cdir(store_case.child("mine"), **store_case.options))
    assert cvcache.cdir_remove(cvcache.cdir(store_case.child("nothing"), **store_case.options)) == []
    assert store_case.snapshot() == before


def test_remove_takes_no_node_from_a_live_owner_unless_forced(memory_case: MemoryCase) -> None:
    node = cvcache.cdir(memory_case.url)
    opened = threading.Event()
    done = threading.Event()

    def hold() -> None:
        cvcache.cdir_init(node)
        opened.set()
        done.wait(10)

    owner = threading.Thread(target=hold)
    owner.start()
    assert opened.wait(10)
    with pytest.raises(cvcache.NodeBusy):
        cvcache.cdir_remove(node)
    assert cvcache.cdir_remove(node, force=True) == [node.url]
    done.set()
    owner.join()


def test_what_a_changed_node_leaves_stale(top: CacheDir) -> None:
    raw = fill(top / "raw", {"n": 1})
    made = fill(top / "made", {"from": raw["value.json"]})
    assert made.state == "committed"
    fill(top / "raw", {"n": 2}, value=2)
    assert (made.refresh().state, snapshot_of(made).state) == ("stale", "committed")
    assert {entry.node.address.name: entry.state for entry in read_tree(top).walk()}["made"] == "stale"
    fill(top / "raw", {"n": 1})
    assert made.refresh().state == "committed"
    cvcache.cdir_remove(top / "raw")
    assert made.refresh().state == "stale"


def test_a_report_made_from_the_nodes_below_it_goes_stale(local_case: LocalCase) -> None:
    report, part = cvcache.cdir(local_case.url), cvcache.cdir(local_case.url) / "part"
    for value in (1, 2):
        with cvcache.cdir_init(part, {"v": value}) as out:
            out.write("x.json", value)
        if value == 1:
            with cvcache.cdir_init(report, {"of": out["x.json"]}) as made:
                made.write("sum.json", value)
    assert cvcache.cdir(local_case.url).state == "stale"


def test_a_part_made_from_the_node_above_it_goes_stale(local_case: LocalCase) -> None:
    whole, part = cvcache.cdir(local_case.url), cvcache.cdir(local_case.url) / "part"
    for value in (1, 2):
        with cvcache.cdir_init(whole, {"v": value}) as out:
            out.write("x.json", value)
        if value == 1:
            with cvcache.cdir_init(part, {"of": out["x.json"]}) as made:
                made.write("half.json", value)
    assert (cvcache.cdir(local_case.url) / "part").state == "stale"


def test_depth(top: CacheDir) -> None:
    names = [[entry.node.address.name for entry in read_tree(top, depth=depth).walk()][1:] for depth in range(3)]
    assert names == [[], ["a", "folder"], ["a", "folder", "b"]]


def test_what_a_place_without_a_node_is(local_case: LocalCase) -> None:
    top = cvcache.cdir(local_case.url)
    fill(top / "folder" / "b")
    local_case.put("mine/notes.txt", b"mine")
    local_case.put("file", b"mine")
    states = {name: directory_state(top / name) for name in ("folder", "mine", "file", "nothing")}
    assert states == {"folder": "folder", "mine": "foreign", "file": "foreign", "nothing": "absent"}


def counted(act: Callable[[], object]) -> dict[str, int]:
    stores: list[CountingStore] = []

    def count(store: Store) -> CountingStore:
        stores.append(CountingStore(store))
        return stores[-1]

    with instrument(count):
        act()
    verbs = {verb for store in stores for verb in store.counts}
    return {verb: sum(store.counts[verb] for store in stores) for verb in verbs}


def test_a_tree_costs_three_calls_a_node_and_lists_no_chunk(memory_case: MemoryCase) -> None:
    import numpy as np

    urls = lay_tree(memory_case.url, 30, fan_out=5)
    image = cvcache.cdir(urls[3]) / "image"
    with cvcache.cdir_init(image) as node:
        node.write("image.ome.zarr", np.zeros((200, 200), "u1"), axes="yx", chunks=(50, 50))
    counts = counted(lambda: read_tree(memory_case.url))
    assert counts == {"list": 2 * 31, "get": 31}


def test_nodes_of_a_level_are_read_at_once(memory_case: MemoryCase) -> None:
    lay_tree(memory_case.url, WALK_CONCURRENCY + 1, fan_out=WALK_CONCURRENCY)
    together = threading.Barrier(WALK_CONCURRENCY)

    class Meeting(WrapperStore):
        def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:
            if verb == "get" and "/node0" in path:
                together.wait(10)
            return super().call(verb, path, act, data)

    with instrument(Meeting):
        assert len(list(read_tree(memory_case.url).walk())) == WALK_CONCURRENCY + 1


def test_without_a_cache_a_walk_shows_what_somebody_holds() -> None:
    root = cvcache.cdir(None)
    nodes = [fill(root / name) for name in ("b", "a")]
    assert [node.name for node in cvcache.cdir_walk(root)] == ["a", "b"]
    assert list(cvcache.cdir_query(nodes[0]).reason) == []
    assert cvcache.cdir_remove(root, recursive=True) == []
