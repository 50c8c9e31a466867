"""A plan: what would run and why, with nothing run and nothing written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import cvcache
from cvcache import CacheDir, Item
from cvcache.node import release_node, snapshot_of
from cvcache.store import Store
from cvcache.testing import CountingStore, instrument
from cvcache.tree import run_script

if TYPE_CHECKING:
    from pathlib import Path

    from servers.store_cases import MemoryCase, StoreCase

runs: list[str] = []


@pytest.fixture(autouse=True)
def _forget_runs() -> None:
    runs.clear()


@pytest.fixture
def root(memory_case: MemoryCase) -> CacheDir:
    return cvcache.cdir(memory_case.url)


@cvcache.step(version=1)
def make(out: CacheDir, value: int) -> None:
    runs.append(out.name)
    out.write("value.json", value)


@cvcache.step(version=1)
def double(out: CacheDir, item: Item) -> None:
    runs.append(out.name)
    out.write("double.json", 2 * item.read())


def chain(root: CacheDir, value: int) -> CacheDir:
    made = make(root / "make", value)
    return double(root / "double", double(root / "twice", made["value.json"])["double.json"])


def planned(root: CacheDir, value: int) -> list[tuple[str, str, tuple[str, ...]]]:
    with cvcache.plan() as p:
        chain(root, value)
    return [(row.action, row.url.rpartition("/")[2], row.reason) for row in p.rows]


def test_the_first_run_would_compute_all(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    assert planned(root, 1) == [
        ("compute", "make", ("first run",)),
        ("compute", "twice", ("first run",)),
        ("compute", "double", ("first run",)),
    ]
    assert runs == []
    assert list(cvcache.cdir_walk(root)) == []


def test_a_finished_run_would_be_read(root: CacheDir) -> None:
    chain(root, 1)
    assert [action for action, _, _ in planned(root, 1)] == ["read"] * 3


def test_a_change_is_followed_downstream_with_the_reasons_the_run_then_gives(root: CacheDir) -> None:
    chain(root, 1)
    expected = planned(root, 2)
    assert [action for action, _, _ in expected] == ["compute"] * 3
    assert expected[0][2] == ("args.value: 1 -> 2",)
    last = chain(root, 2)
    assert [why for _, _, why in expected] == [
        cvcache.cdir_query(root / name).reason for name in ("make", "twice", "double")
    ]
    assert last.read("double.json") == 8


def test_a_change_undone_upstream_reruns_nothing_downstream(root: CacheDir) -> None:
    chain(root, 1)
    make(root / "make", 5)
    assert [(action, name) for action, name, _ in planned(root, 1)] == [
        ("compute", "make"), ("read", "twice"), ("read", "double")
    ]  # fmt: skip


def test_nothing_is_written_and_each_node_costs_two_calls(memory_case: MemoryCase) -> None:
    stores: list[CountingStore] = []

    def wrap(store: Store) -> CountingStore:
        stores.append(CountingStore(store))
        return stores[-1]

    chain(cvcache.cdir(memory_case.url), 1)
    with instrument(wrap):
        planned(cvcache.cdir(memory_case.url), 1)
    verbs = [verb for store in stores for verb, _ in store.log]
    assert set(verbs) == {"list", "get"}
    assert len(verbs) <= 2 * 3


def test_the_plan_ends_where_a_result_is_needed(root: CacheDir) -> None:
    with cvcache.plan() as p:
        value = make(root / "make", 1).read("value.json")
        make(root / "never", value)
    assert [row.action for row in p.rows] == ["compute"]
    assert "test_plan.py:" in p.ended
    assert "would be computed" in p.ended


def test_a_body_under_its_guard_is_left_out(root: CacheDir) -> None:
    with cvcache.plan() as p:
        with cvcache.cdir_init(root / "a", {"n": 1}) as d:
            if not d.committed:
                runs.append("body")
        cvcache.cdir_init(root / "b", {"n": 1})
        cvcache.cdir_commit(root / "a")
    assert [row.url for row in p.rows] == [(root / "a").url, (root / "b").url]
    assert (runs, p.ended) == ([], "")


def test_a_bare_body_ends_at_its_first_write_and_the_plan_goes_on(root: CacheDir) -> None:
    with cvcache.plan() as p:
        with cvcache.cdir_init(root / "a", {"n": 1}) as d:
            d.write("n.json", 1)
        make(root / "b", 1)
    assert [row.action for row in p.rows] == ["compute", "compute"]
    assert list(cvcache.cdir_walk(root)) == []


def test_another_error_is_not_swallowed(root: CacheDir) -> None:
    with pytest.raises(ZeroDivisionError), cvcache.plan():
        make(root / "make", 1 // 0)


def test_what_a_stale_error_would_raise_is_raised(root: CacheDir) -> None:
    make(root / "make", 1)
    with pytest.raises(cvcache.NodeStale), cvcache.plan():
        cvcache.cdir_init(root / "make", {"other": 1}, on_stale="error")


def test_new_goes_to_its_sibling(root: CacheDir) -> None:
    cvcache.cdir_commit(cvcache.cdir_init(root / "zoom", {"factor": 0.5}))
    with cvcache.plan() as p:
        cvcache.cdir_init(root / "zoom", {"factor": 0.25}, on_stale="new")
    assert [(row.action, row.url) for row in p.rows] == [("compute", (root / "zoom,factor=0.25").url)]


def test_new_goes_to_siblings_of_nodes_that_are_not_there_yet(root: CacheDir) -> None:
    def sweep() -> None:
        for level in (1, 2):
            for sigma in (1, 2):
                smoothed = cvcache.cdir_init(root / "smooth", {"sigma": sigma}, on_stale="new")
                cvcache.cdir_commit(smoothed)
                cvcache.cdir_commit(cvcache.cdir_init(smoothed / "mask", {"level": level}, on_stale="new"))

    with cvcache.plan() as p:
        sweep()
    planned = [row.url for row in p.rows if row.action == "compute"]
    sweep()
    assert sorted(planned) == sorted(node.url for node in cvcache.cdir_walk(root))
    assert len(planned) == 6


def test_a_node_asked_for_twice_would_be_computed_once(root: CacheDir) -> None:
    with cvcache.plan() as p:
        make(root / "make", 1)
        make(root / "make", 1)
        make(root / "make", 2)
    assert [(row.action, row.reason) for row in p.rows] == [
        ("compute", ("first run",)), ("compute", ("args.value: 1 -> 2",))
    ]  # fmt: skip


def test_without_a_cache_everything_would_be_computed() -> None:
    with cvcache.plan() as p:
        chain(cvcache.cdir(None), 1)
    assert [row.action for row in p.rows] == ["compute"] * 3
    assert runs == []


def test_a_node_at_work_elsewhere_is_waited_for(root: CacheDir) -> None:
    from concurrent.futures import ThreadPoolExecutor

    cvcache.cdir_init(root / "make", {"n": 1})
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(_actions, root).result() == ["wait"]
    cvcache.cdir_commit(root / "make")


def _actions(root: CacheDir) -> list[str]:
    with cvcache.plan() as p:
        cvcache.cdir_init(root / "make", {"n": 1})
    return [row.action for row in p.rows]


def test_how_long_it_took_is_told(root: CacheDir) -> None:
    make(root / "make", 1)
    with cvcache.plan() as p:
        make(root / "make", 2)
    assert p.rows[0].seconds is not None
    assert str(p.rows[0]).startswith(f"compute {(root / 'make').url} (args.value: 1 -> 2)")


THREADS = """
import concurrent.futures, sys
import cvcache

@cvcache.step
def make(out, n):
    out.write("n.json", n)

root = cvcache.cdir(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    list(pool.map(lambda n: make(root / f"n{n}", n), range(3)))
"""


def test_the_threads_of_a_script_are_planned_too(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(THREADS)
    done = run_script(str(tmp_path / "script.py"), [str(tmp_path / "cache")])
    assert sorted(row.action for row in done.rows) == ["compute"] * 3
    assert not (tmp_path / "cache").exists()
    assert release_node(snapshot_of(cvcache.cdir_init(tmp_path / "cache" / "real"))) is None
