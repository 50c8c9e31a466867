"""What a verb costs, counted: store calls on memory and disk, HTTP requests on S3."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from servers.fault_proxy import FaultProxy, scripted

import cvcache
from cvcache import CacheDir, cdir, cdir_commit, cdir_init, cdir_query, cdir_remove, cdir_walk, step
from cvcache.protocol import observe
from cvcache.store import S3Store, open_store, resolve_node
from cvcache.testing import CountingStore, instrument, lay_tree
from cvcache.tree import read_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.object_stores import S3Server
    from servers.store_cases import LocalCase, StoreCase

    from cvcache.store import Store


class Counted:
    """A root whose store calls are counted, over all handles."""

    def __init__(self, case: StoreCase) -> None:
        self.case = case
        self.stores: list[CountingStore] = []

    def wrap(self, store: Store) -> Store:
        self.stores.append(CountingStore(store))
        return self.stores[-1]

    def at(self, *names: str) -> CacheDir:
        """Give a fresh handle, which has seen nothing yet."""
        return cdir(self.case.child(*names), **self.case.options)

    def calls(self, act: Callable[[], object]) -> list[str]:
        """Give the verbs that `act` called, in order."""
        return [verb for verb, _ in self.log(act)]

    def log(self, act: Callable[[], object]) -> list[tuple[str, str]]:
        """Give (verb, path) of each call, in order within each handle."""
        for store in self.stores:
            store.reset()
        act()
        return [entry for store in self.stores for entry in store.log]


@pytest.fixture(params=["local", "memory"])
def counted(request: pytest.FixtureRequest) -> Iterator[Counted]:
    counted = Counted(request.getfixturevalue(f"{request.param}_case"))
    with instrument(counted.wrap):
        yield counted


def commit_one(node: CacheDir, key: object = None) -> CacheDir:
    with cdir_init(node, key) as opened:
        opened.write("a.json", {"a": 1})
    return opened


# -- store calls --------------------------------------------------------------------------------------


def test_a_query_is_two_calls(counted: Counted) -> None:
    assert counted.calls(lambda: cdir_query(counted.at("node"))) == ["list"]
    commit_one(counted.at("node"))
    assert counted.calls(lambda: cdir_query(counted.at("node"))) == ["list", "get"]
    node = cdir_query(counted.at("node"))
    assert counted.calls(lambda: (node.commit, node.committed, node.items(), node["a.json"].meta, node.version)) == []


def test_an_init_of_a_committed_node_is_two_calls(counted: Counted) -> None:
    """From the second time on without a list: whether one record follows is asked by its name."""
    commit_one(counted.at("node"), {"k": 1})
    assert counted.calls(lambda: cdir_init(counted.at("node"))) == ["list", "get"]
    assert counted.calls(lambda: cdir_init(counted.at("node"), {"k": 1})) == ["get", "stat"]


def test_a_hit_under_a_newer_record_is_three_calls(counted: Counted) -> None:
    commit_one(counted.at("node"), {"k": 1})
    with contextlib.suppress(ZeroDivisionError), cdir_init(counted.at("node"), {"k": 2}):
        raise ZeroDivisionError
    observe._newest_entries.clear()
    assert counted.calls(lambda: cdir_init(counted.at("node"), {"k": 1})) == ["list", "get", "get"]
    assert counted.calls(lambda: cdir_query(counted.at("node"))) == ["list", "get", "get"]


def test_a_node_seen_before_is_seen_as_it_is_now(counted: Counted) -> None:
    commit_one(counted.at("node"), {"k": 1})
    assert cdir_init(counted.at("node"), {"k": 1}).committed
    other = cdir_init(counted.at("node"), {"k": 2})
    assert not other.committed
    with other:
        other.write("a.json", {"a": 2})
    assert cdir_init(counted.at("node"), {"k": 2}).read("a.json") == {"a": 2}
    cdir_remove(counted.at("node"))
    assert not cdir_init(counted.at("node"), {"k": 2}).committed


def test_a_handle_does_nothing_until_asked(counted: Counted) -> None:
    assert counted.calls(lambda: (counted.at("a") / "b" / "c")["x.json"].name) == []


def test_a_fresh_init_is_five_calls(counted: Counted) -> None:
    """One more LIST where the parent's other nodes are not known yet."""
    first = counted.calls(lambda: cdir_init(counted.at("tree", "first")))
    second = counted.calls(lambda: cdir_init(counted.at("tree", "second")))
    assert len(first) <= 5
    assert len(second) <= 4
    assert first.count("put_new") == second.count("put_new") == 1


def test_a_commit_is_two_calls(counted: Counted) -> None:
    node = cdir_init(counted.at("node"))
    node.write("a.json", 1)
    node.write("x.ome.zarr", np.zeros((64, 64), "u1"))
    assert counted.calls(lambda: cdir_commit(node)) == ["put", "put_new"]


def test_a_commit_with_a_users_file_lists_once_more(counted: Counted) -> None:
    node = cdir_init(counted.at("node"))
    with node.open("mine.own", "wb") as file:
        file.write(b"12")
    calls = counted.calls(lambda: cdir_commit(node))
    assert sorted(calls) == ["list", "put", "put_new"]


def test_a_small_item_is_two_puts(counted: Counted) -> None:
    node = cdir_init(counted.at("node"))
    calls = counted.calls(lambda: node.write("a.json", 1))
    assert calls.count("put") == 2
    assert len(calls) <= 4
    assert counted.calls(lambda: cdir_commit(node))
    reader = cdir_query(counted.at("node"))
    assert counted.calls(lambda: reader.read("a.json")) == ["get"]


def test_a_recompute_deletes_by_name_and_lists_little(counted: Counted) -> None:
    commit_one(counted.at("node"), {"k": 1})
    log = counted.log(lambda: cdir_init(counted.at("node"), {"k": 2}))
    assert [verb for verb, _ in log].count("put_new") == 1
    assert len(log) <= 9


def test_a_removal_is_two_records_and_few_calls(counted: Counted) -> None:
    for name in ("node", "other"):
        commit_one(counted.at(name))
    log = counted.log(lambda: cdir_remove(counted.at("node")))
    verbs = [verb for verb, _ in log]
    assert verbs.count("put_new") == 2
    assert verbs.count("put") == 0
    assert len(verbs) <= 16
    assert all("/other" not in path for _, path in log)


def test_a_removal_of_many_files_costs_no_more(counted: Counted) -> None:
    """Deletes go in batches: 200 chunks are one of them."""
    for name, side in (("few", 64), ("many", 896)):
        with cdir_init(counted.at(name)) as node:
            node.write("x.ome.zarr", np.ones((side, side), "u1"), chunks=(64, 64))
    few = counted.calls(lambda: cdir_remove(counted.at("few")))
    many = counted.calls(lambda: cdir_remove(counted.at("many")))
    assert many == few


def test_a_tree_is_three_calls_a_node_and_no_chunk(counted: Counted) -> None:
    for names in (("a",), ("a", "b"), ("a", "c"), ("a", "c", "d")):
        with cdir_init(counted.at(*names)) as node:
            node.write("x.ome.zarr", np.zeros((32, 32), "u1"))
            node.write("a.json", 1)
    log = counted.log(lambda: list(read_tree(counted.at("a")).walk()))
    assert len(log) <= 3 * 4
    assert all(".zarr" not in path for _, path in log)
    assert {verb for verb, _ in log} <= {"list", "get"}
    assert counted.calls(lambda: list(cdir_walk(counted.at("a")))).count("list") <= 2 * 4


def test_the_size_of_an_image_is_no_call_at_commit(counted: Counted) -> None:
    node = cdir_init(counted.at("node"))
    log = counted.log(lambda: node.write("x.ome.zarr", np.zeros((256, 256), "u1")))
    assert not [path for verb, path in log if verb in {"list", "find"} and "x.ome.zarr/" in path]


# -- a large tree --------------------------------------------------------------------------------------


def test_ten_thousand_nodes_on_disk_are_laid_and_read(local_case: LocalCase) -> None:
    urls = lay_tree(local_case.url, 10_000)
    assert len(urls) == len(set(urls)) == 10_000
    entries = list(read_tree(local_case.url).walk())
    assert {entry.node.url for entry in entries} == set(urls)
    assert {entry.state for entry in entries} == {"committed"}
    assert cdir_query(urls[-1]).read("stats.json") == {"laid": True}
    assert cdir_init(urls[-1]).committed


@pytest.mark.parametrize("kind", ["memory", pytest.param("s3", marks=pytest.mark.server)])
def test_a_laid_tree_is_like_any_other(kind: str, request: pytest.FixtureRequest) -> None:
    case: StoreCase = request.getfixturevalue(f"{kind}_case")
    lay_tree(case.url, 7, fan_out=2, **case.options)
    top = cdir(case.url, **case.options)
    assert len(list(cdir_walk(top))) == 7
    assert len(cdir_remove(top, recursive=True)) == 7
    below = [name for name in case.snapshot() if not name.startswith("../")]
    assert not [name for name in below if name.rpartition("/")[2] == "stats.json"]


# -- many steps -------------------------------------------------------------------------------------------


@step(version=1, log=None)
def number(out: CacheDir, i: int, *before: CacheDir) -> None:
    out.write("n.json", [i, *(node.read("n.json")[0] for node in before)])


@step(log=None)
def total(out: CacheDir, *parts: CacheDir) -> None:
    out.write("sum.json", sum(node.read("n.json")[0] for node in parts))


def run_steps(root: CacheDir, count: int) -> list[CacheDir]:
    """Run steps that fan out by ten and come together again; each is given what it is made of."""
    nodes: list[CacheDir] = []
    for i in range(1, count):
        above = nodes[(i - 1) // 10] if i > 1 else root
        nodes.append(number(above / f"s{i}", i, *([above] if i > 1 else [])))
    return [*nodes, total(root / "total", *nodes[-10:])]


def forget(counted: Counted) -> None:
    """Know as little as a new process."""
    observe._newest_entries.clear()
    counted.stores.clear()


def check_second_run(counted: Counted, count: int) -> None:
    first = run_steps(counted.at("tree"), count)
    forget(counted)
    for expected in (["list", "get"], ["get", "stat"]):
        again: list[CacheDir] = []
        log = counted.log(lambda kept=again: kept.extend(run_steps(counted.at("tree"), count)))
        assert len(again) == len(first) == count
        assert [node.version for node in again] == [node.version for node in first]
        assert not any(node.computed for node in again)
        assert [verb for verb, _ in log] == expected * count


def test_a_thousand_steps_again_are_two_calls_each(counted: Counted) -> None:
    check_second_run(counted, 1000 if counted.case.url.startswith("/") else 200)


@pytest.mark.server
def test_steps_again_on_s3_are_two_requests_each(wire: Wire) -> None:
    first = run_steps(wire.at("steps"), 25)
    observe._newest_entries.clear()
    assert wire.requests(lambda: run_steps(wire.at("steps"), 25)) == ["GET", "GET"] * 25
    assert wire.requests(lambda: run_steps(wire.at("steps"), 25)) == ["GET", "HEAD"] * 25
    assert [node.version for node in run_steps(wire.at("steps"), 25)] == [node.version for node in first]


# -- HTTP requests ----------------------------------------------------------------------------------------


class Wire:
    """An S3 seen through a proxy that notes each request."""

    def __init__(self, server: S3Server, proxy: FaultProxy) -> None:
        self.server = server
        self.bucket = server.new_bucket()
        self.options = server.options_for(proxy.endpoint)
        self._proxy = proxy

    def requests(self, act: Callable[[], object]) -> list[str]:
        """Give the methods of the requests that `act` sent."""
        seen = len(self._proxy.log)
        act()
        return [request.method for request, _ in self._proxy.log[seen:]]

    def at(self, name: str) -> CacheDir:
        return cdir(f"s3://{self.bucket}/{name}", **self.options)


@pytest.fixture(scope="module")
def wire(s3_server: S3Server) -> Iterator[Wire]:
    with FaultProxy(s3_server.port, scripted()) as proxy:
        wire = Wire(s3_server, proxy)
        scheme, path, _ = resolve_node(f"s3://{wire.bucket}/warm")
        assert open_store(scheme, path, wire.options).exclusive(path)
        yield wire


def test_each_verb_is_one_request(wire: Wire) -> None:
    store = S3Store(wire.options)
    key = f"{wire.bucket}/verbs/key"
    content = json.dumps(list(range(1000))).encode()
    assert store.exclusive(f"{wire.bucket}/verbs")
    assert wire.requests(lambda: store.put_new(key, content)) == ["PUT"]
    assert wire.requests(lambda: store.put(key, content)) == ["PUT"]
    assert wire.requests(lambda: store.get(key)) == ["GET"]
    assert wire.requests(lambda: store.get(key, 0, 65537)) == ["GET"]
    assert wire.requests(lambda: store.get(key, 5)) == ["GET"]
    assert wire.requests(lambda: store.get(key, -5)) == ["GET"]
    assert wire.requests(lambda: store.list(f"{wire.bucket}/verbs")) == ["GET"]
    assert wire.requests(lambda: store.find(f"{wire.bucket}/verbs")) == ["GET"]
    assert wire.requests(lambda: store.stat(key)) == ["HEAD"]
    assert wire.requests(lambda: store.stat(f"{key}-absent")) == ["HEAD"]
    assert wire.requests(lambda: store.put_new(key, b"other")) == ["PUT", "GET"]
    assert wire.requests(lambda: store.open(key, "rb").read()) == ["HEAD", "GET"]
    keys = [f"{wire.bucket}/verbs/{number}" for number in range(20)]
    assert wire.requests(lambda: store.delete([key, *keys])) == ["POST"]
    assert wire.requests(lambda: store.delete([])) == []


def test_the_life_of_a_node_in_requests(wire: Wire) -> None:
    assert len(wire.requests(lambda: cdir_init(wire.at("life/first")))) <= 5
    assert len(wire.requests(lambda: cdir_query(wire.at("life/node")))) == 1
    node = cvcache.cdir_init(wire.at("life/node"), {"k": 1})
    assert len(wire.requests(lambda: node.write("a.json", 1))) <= 4
    assert wire.requests(lambda: cdir_commit(node)) == ["PUT", "PUT"]
    assert wire.requests(lambda: cdir_query(wire.at("life/node"))) == ["GET", "GET"]
    assert wire.requests(lambda: cdir_init(wire.at("life/node"), {"k": 1})) == ["GET", "GET"]
    assert wire.requests(lambda: cdir_init(wire.at("life/node"), {"k": 1})) == ["GET", "HEAD"]
    assert wire.requests(lambda: cdir_query(wire.at("life/node")).read("a.json")) == ["GET"] * 3
    assert len(wire.requests(lambda: read_tree(wire.at("life/node")))) <= 3
    assert len(wire.requests(lambda: cdir_remove(wire.at("life/node")))) <= 16
