"""A tree is read level by level: the right rows, in the right state, for few calls."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from child import child

import cvcache
from cvcache.browse import (
    MAX_CHILDREN,
    Picture,
    Tree,
    difference,
    facts,
    layers,
    log_tail,
    matches,
    search,
    thumbnail,
    why,
)
from cvcache.errors import CvcacheError
from cvcache.node import address_of, current_state, item_io, read_snapshot, release_node, snapshot_of
from cvcache.testing import CountingStore, WrapperStore, instrument, lay_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.store_cases import LocalCase, StoreCase

    from cvcache.browse import Row
    from cvcache.store import Store


@cvcache.step
def raw(out: cvcache.CacheDir, value: int) -> None:
    out.write("image.ome.zarr", np.full((4, 6), value, "u2"), axes="yx")
    out.write("stats.json", {"value": value})


@cvcache.step
def mask(out: cvcache.CacheDir, image: cvcache.Item) -> None:
    with cvcache.cdir_init(out / "sub") as sub:
        sub.write("note.txt", "inner")
    out.write("mask.ome.zarr", image.read() > 1, axes="yx", kind="labels")


def pipeline(root: cvcache.CacheDir, value: int = 1) -> None:
    mask(root / "steps" / "mask", raw(root / "steps" / "raw", value)["image.ome.zarr"])


@pytest.fixture
def root(store_case: StoreCase) -> cvcache.CacheDir:
    return cvcache.cdir(store_case.url, **store_case.options)


@pytest.fixture
def make() -> Iterator[Callable[..., Tree]]:
    """Open trees that are closed after the test."""
    with contextlib.ExitStack() as stack:

        def opened(where: object, **options: Any) -> Tree:
            tree = Tree(where, **options)
            stack.callback(tree.close)
            return tree

        yield opened


def states(rows: list[Row] | tuple[Row, ...]) -> dict[str, str]:
    return {row.path: row.state for row in rows}


def test_a_tree_opens_level_by_level(root: cvcache.CacheDir, make: Callable[..., Tree]) -> None:
    pipeline(root)
    tree = make(root)
    assert (tree.open().kind, tree.open().state) == ("folder", "folder")
    assert states(tree.expand("").rows) == {"steps": ""}
    assert states(tree.look(["steps"])) == {"steps": "folder"}
    assert states(tree.expand("steps").rows) == {"steps/mask": "", "steps/raw": ""}
    looked = tree.look(["steps/mask", "steps/raw"])
    assert states(looked) == {"steps/mask": "committed", "steps/raw": "committed"}
    assert [(row.shape, row.dtype) for row in looked] == [((4, 6), "bool"), ((4, 6), "uint16")]
    assert looked[0].time is not None
    assert looked[0].note == "first run"
    rows = tree.expand("steps/mask").rows
    assert [(row.path, row.is_item, row.kind, row.branch) for row in rows] == [
        ("steps/mask/mask.ome.zarr", True, "labels", False),
        ("steps/mask/run.log", True, "log", False),
        ("steps/mask/sub", False, "node", True),
    ]
    assert rows[0].url.endswith("/steps/mask/mask.ome.zarr")


def test_a_changed_source_makes_what_was_made_from_it_stale(root: cvcache.CacheDir, make: Callable[..., Tree]) -> None:
    pipeline(root)
    tree = make(root)
    tree.open()
    tree.expand("")
    tree.expand("steps")
    tree.look(["steps/mask", "steps/raw"])
    raw(root / "steps" / "raw", 2)
    assert states(tree.look(["steps/raw"])) == {"steps/raw": "committed", "steps/mask": "stale"}
    pipeline(root, 2)
    assert tree.look(["steps/mask"])[0].state == "committed"


def test_a_source_that_is_gone_makes_what_was_made_from_it_stale(
    local_case: LocalCase, make: Callable[..., Tree]
) -> None:
    pipeline(cvcache.cdir(local_case.url))
    tree = make(local_case.url)
    tree.open()
    tree.expand("")
    tree.look(["steps"])
    tree.expand("steps")
    tree.look(["steps/mask", "steps/raw"])
    shutil.rmtree(local_case.path / "steps" / "raw")
    tree.expand("steps")
    mask_row = tree.row("steps/mask")
    assert mask_row is not None
    assert mask_row.state == current_state(read_snapshot(mask_row.node.address)) == "stale"


def test_a_level_of_a_bucket_with_odd_names_has_a_path_for_each_row_and_an_end(
    s3_case: StoreCase, make: Callable[..., Tree]
) -> None:
    for name in ("a/x.txt", "a", "/deep/x.txt", "b/_cvcache/x"):
        s3_case.put(name, b"1")
    tree = make(s3_case.url, **s3_case.options)
    tree.open()
    level = tree.expand("")
    assert [(row.name, row.is_item) for row in level.rows] == [("a", True), ("a", False), ("b", False)]
    assert len({row.path for row in level.rows}) == 3
    assert level.rows[0].url == f"{s3_case.url}/a"
    assert len(list(search(tree, "nothing like it"))) < 10


def test_a_foreign_image_that_was_written_again_is_described_again(
    local_case: LocalCase, make: Callable[..., Tree]
) -> None:
    import zarr

    zarr.save_array(f"{local_case.url}/data/x.zarr", np.zeros((3, 4), "u1"))
    tree = make(local_case.url)
    tree.open()
    tree.expand("")
    tree.look(["data"])
    tree.expand("data")
    assert tree.look(["data/x.zarr"])[0].shape == (3, 4)
    shutil.rmtree(local_case.path / "data" / "x.zarr")
    zarr.save_array(f"{local_case.url}/data/x.zarr", np.zeros((5, 6), "u2"))
    (row,) = tree.look(["data/x.zarr"])
    assert (row.shape, row.dtype) == ((5, 6), "uint16")


def test_the_row_of_a_replaced_node_is_as_new_as_its_items(root: cvcache.CacheDir, make: Callable[..., Tree]) -> None:
    def fill(value: int) -> None:
        with cvcache.cdir_init(root / "n", {"value": value}) as node:
            for number in range(120):
                node.write(f"{number:03}.csv", pd.DataFrame({f"column {i}": [value] for i in range(12)}))

    fill(1)
    tree = make(root)
    tree.open()
    tree.expand("")
    (before,) = tree.look(["n"])
    assert before.record is not None
    assert before.record.items is None
    fill(2)
    tree.expand("n")
    after = tree.row("n")
    assert after is not None
    assert after.attempt != before.attempt


def test_a_record_that_names_a_source_without_a_place_breaks_nothing(
    local_case: LocalCase, make: Callable[..., Tree]
) -> None:
    pipeline(cvcache.cdir(local_case.url))
    for log in (local_case.path / "steps" / "mask" / "_cvcache" / "log").iterdir():
        told = json.loads(log.read_text())
        log.write_text(json.dumps({**told, "inputs": [{"item": "q"}]}))
    tree = make(local_case.url)
    tree.open()
    tree.expand("")
    tree.look(["steps"])
    tree.expand("steps")
    assert states(tree.look(["steps/mask", "steps/raw"])) == {"steps/mask": "committed", "steps/raw": "committed"}


def test_a_tree_that_is_also_read_elsewhere_sees_a_replacement_there(
    memory_case: StoreCase, make: Callable[..., Tree]
) -> None:
    far = cvcache.cdir(f"{memory_case.url}/far")
    raw(far / "raw", 1)
    tree = make(cvcache.cdir(f"{memory_case.url}/near", also=[far]))
    tree.open()
    memory_case.put("near/raw/x.txt", b"")
    tree.expand("")
    (before,) = tree.look(["raw"])
    raw(far / "raw", 2)
    tree.expand("raw")
    after = tree.row("raw")
    assert after is not None
    assert after.attempt != before.attempt


def test_sources_nobody_has_looked_at_are_looked_at_when_asked(
    root: cvcache.CacheDir, make: Callable[..., Tree]
) -> None:
    pipeline(root)
    raw(root / "steps" / "raw", 2)
    tree = make(root / "steps" / "mask")
    assert tree.open().state == "committed"
    assert states(tree.check("")) == {"": "stale"}


def test_what_a_directory_without_a_node_is(store_case: StoreCase, make: Callable[..., Tree]) -> None:
    store_case.put("data/picture.png", b"\x89PNG")
    store_case.put("data/old.zarr/zarr.json", b"{}")
    store_case.put("folder/deeper/x.txt", b"1")
    tree = make(store_case.url, **store_case.options)
    tree.open()
    tree.expand("")
    assert states(tree.look(["data", "folder"])) == {"data": "foreign", "folder": "folder"}
    rows = tree.expand("data").rows
    assert [(row.name, row.kind, row.state, row.is_item) for row in rows] == [
        ("old.zarr", "image", "foreign", True),
        ("picture.png", "file", "foreign", True),
    ]
    assert [row.unread for row in rows] == [True, False]
    (broken,) = tree.look(["data/old.zarr"])
    assert (broken.state, broken.unread) == ("foreign", False)
    assert "old.zarr" in broken.note


def test_nothing_there_is_absent_and_appears(root: cvcache.CacheDir, make: Callable[..., Tree]) -> None:
    tree = make(root)
    assert (tree.open().state, tree.open().branch) == ("absent", False)
    assert tree.expand("").rows == ()
    pipeline(root)
    levels, rows = tree.poll([""], [""])
    assert states(levels[0].rows) == {"steps": ""}
    assert states(rows)[""] == "folder"


def test_an_empty_directory_that_becomes_a_node_is_news(local_case: LocalCase, make: Callable[..., Tree]) -> None:
    (local_case.path / "n").mkdir(parents=True)
    tree = make(local_case.url)
    tree.open()
    tree.expand("")
    assert states(tree.look(["n"])) == {"n": "absent"}
    assert tree.poll([], ["n"]) == ([], [])
    raw(cvcache.cdir(tree.top) / "n", 1)
    assert states(tree.poll([], ["n"])[1])["n"] == "committed"


def test_running_failed_and_removed_are_told(root: cvcache.CacheDir, make: Callable[..., Tree]) -> None:
    running = cvcache.cdir_init(root / "running")
    running.write("stats.json", {"n": 1})
    with contextlib.suppress(ZeroDivisionError), cvcache.cdir_init(root / "failed") as d, d.log():
        d.write("half.json", {"n": 1})
        _ = 1 / 0
    with cvcache.cdir_init(root / "removed"):
        pass
    cvcache.cdir_remove(root / "removed")
    tree = make(root)
    tree.open()
    tree.expand("")
    found = {row.path: row for row in tree.look(["running", "failed", "removed"])}
    assert states(tuple(found.values())) == {"running": "running", "failed": "failed", "removed": "absent"}
    assert found["failed"].note == "ZeroDivisionError: division by zero"
    assert "pid" in found["running"].note
    assert [(row.name, row.state, row.note) for row in tree.expand("running").rows] == [
        ("stats.json", "running", "uncommitted")
    ]
    assert "run.log" in {row.name for row in tree.expand("failed").rows}
    release_node(snapshot_of(running))


def test_an_image_that_is_being_written_is_described_from_its_plan(
    root: cvcache.CacheDir, make: Callable[..., Tree]
) -> None:
    import dask.array as da

    node = cvcache.cdir_init(root / "n")

    def stop_at_the_second(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info and block_info[0]["chunk-location"] != (0, 0):
            raise KeyboardInterrupt
        return block

    source = da.ones((64, 64), chunks=32, dtype="u1").map_blocks(stop_at_the_second, dtype="u1")
    with pytest.raises(KeyboardInterrupt):
        node.write("big.ome.zarr", source, axes="yx")
    tree = make(root)
    tree.open()
    tree.expand("")
    tree.look(["n"])
    rows = tree.expand("n").rows
    looked = tree.look([row.path for row in rows])
    assert [(row.name, row.shape, row.dtype, row.note, row.unread) for row in looked] == [
        ("big.ome.zarr", (64, 64), "uint8", "uncommitted", False)
    ]
    assert [row.shape for row in tree.expand("n").rows] == [(64, 64)]
    release_node(snapshot_of(node))


def test_a_commit_by_another_process_is_news(local_case: StoreCase, make: Callable[..., Tree]) -> None:
    code = (
        "import sys, cvcache\n"
        f"with cvcache.cdir_init({local_case.url + '/n'!r}) as d:\n"
        "    print('open', flush=True); sys.stdin.readline(); d.write('a.json', {'a': 1})\n"
    )
    with child([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        tree = make(local_case.url)
        tree.open()
        tree.expand("")
        assert states(tree.look(["n"])) == {"n": "running"}
        assert tree.expand("n").rows == ()
        assert tree.poll(["", "n"], ["n"]) == ([], [])
        other.stdin.write(b"\n")
        other.stdin.close()
        other.wait()
    levels, rows = tree.poll(["", "n"], ["n"])
    assert states(rows)["n"] == "committed"
    assert "n/a.json" in states([row for level in levels for row in level.rows])


def test_an_owner_that_is_killed_while_one_looks_is_news(local_case: LocalCase, make: Callable[..., Tree]) -> None:
    code = f"import cvcache; d = cvcache.cdir_init({local_case.url + '/n'!r}); print('open', flush=True); input()"
    with child([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        tree = make(local_case.url)
        tree.open()
        tree.expand("")
        assert states(tree.look(["n"])) == {"n": "running"}
        other.kill()
    assert states(tree.poll([], ["n"])[1]) == {"n": "failed"}


def test_a_killed_owner_is_told_as_failed(local_case: StoreCase, make: Callable[..., Tree]) -> None:
    code = f"import cvcache, os; cvcache.cdir_init({local_case.url + '/n'!r}); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False)
    tree = make(local_case.url)
    tree.open()
    tree.expand("")
    (row,) = tree.look(["n"])
    assert row.state == "failed"
    assert "died before its commit" in row.note


def test_a_replaced_node_is_seen_when_it_is_opened(root: cvcache.CacheDir, make: Callable[..., Tree]) -> None:
    raw(root / "raw", 1)
    tree = make(root)
    tree.open()
    tree.expand("")
    (before,) = tree.look(["raw"])
    raw(root / "raw", 2)
    tree.expand("raw")
    after = tree.row("raw")
    assert after is not None
    assert after.node.version != before.node.version
    item = tree.row("raw/stats.json")
    assert item is not None
    assert item_io.read_item(item.node, item.name, {}) == {"value": 2}


def test_a_record_nobody_can_read_is_said_and_the_rest_stays(store_case: StoreCase, make: Callable[..., Tree]) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    raw(root / "good", 1)
    store_case.put("bad/_cvcache/log/000001-root.json", b"not json")
    tree = make(root)
    tree.open()
    tree.expand("")
    found = {row.path: row for row in tree.look(["good", "bad"])}
    assert states(tuple(found.values())) == {"good": "committed", "bad": "unreadable"}
    assert "000001-root.json" in found["bad"].note
    assert tree.expand("bad").rows == ()
    with pytest.raises(CvcacheError):
        make(root / "bad").open()


def test_what_is_gone_is_forgotten(store_case: StoreCase, make: Callable[..., Tree]) -> None:
    store_case.put("a/b/x.txt", b"1")
    store_case.put("c/y.txt", b"1")
    tree = make(store_case.url, **store_case.options)
    tree.open()
    tree.expand("")
    tree.look(["a", "c"])
    tree.expand("a")
    assert tree.row("a/b") is not None
    store_case.delete("a/b/x.txt")
    if store_case.kind == "local":
        for name in ("a/b", "a"):
            (store_case.path / name).rmdir()  # type: ignore[attr-defined]  # a local case has one
    assert [row.path for row in tree.expand("").rows] == ["c"]
    assert tree.row("a") is None
    assert tree.row("a/b") is None


class Missing(WrapperStore):
    """A store that cannot be reached."""

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:  # noqa: ARG002 - as the base class
        raise ConnectionError(f"{self.url(path)}: no network")


def test_a_store_that_fails_is_an_error_at_the_top_and_a_state_below(
    root: cvcache.CacheDir, make: Callable[..., Tree]
) -> None:
    pipeline(root)
    tree = make(root)
    tree.open()
    tree.expand("")
    steps = tree.row("steps")
    assert steps is not None
    address_of(tree.top).context._store = Missing(tree.top.store)
    (row,) = tree.look(["steps"])
    assert row.state == "unreadable"
    assert "no network" in row.note
    with pytest.raises(ConnectionError):
        tree.open()


def test_the_first_of_too_many_children_are_shown_and_said(make: Callable[..., Tree], memory_case: StoreCase) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    fs = MemoryFileSystem()
    memory_case.put("seed/x", b"")
    stored = fs.store[f"/{memory_case.root}/seed/x"]
    for i in range(MAX_CHILDREN + 5):
        fs.store[f"/{memory_case.root}/n{i:06}/x"] = stored
    tree = make(memory_case.url)
    tree.open()
    few, many = tree.expand("", 1000), tree.expand("")
    assert (len(few.rows), few.more) == (1000, True)
    assert (len(many.rows), many.more) == (MAX_CHILDREN, True)
    assert few.rows == many.rows[:1000]


# -- what stands while a node is computed again ------------------------------------------------------------------------


def row_at(tree: Tree, path: str) -> Row:
    row = tree.row(path)
    assert row is not None
    return row


def look_at(tree: Tree, *paths: str) -> dict[str, Row]:
    """Open a tree and its top level, and look at these rows."""
    tree.open()
    tree.expand("")
    return {row.path: row for row in tree.look(paths)}


def test_both_facts_are_in_the_row_of_a_node_whose_result_stands(
    root: cvcache.CacheDir, store_case: StoreCase, make: Callable[..., Tree]
) -> None:
    for name in ("running", "failed"):
        raw(root / name, 1)
    store_case.put("running/mine.txt", b"mine")
    again = cvcache.cdir_init(root / "running", {"value": 2})
    again.write("half.json", 2)
    with pytest.raises(ZeroDivisionError), cvcache.cdir_init(root / "failed", {"value": 2}) as d, d.log():
        _ = 1 / 0
    tree = make(root)
    rows = look_at(tree, "running", "failed")
    for state, row in rows.items():
        commit = cvcache.cdir_query(root / state).commit
        assert commit is not None
        assert (row.state, row.shape, row.time) == (state, (4, 6), commit.time)
        assert re.fullmatch(rf"{state} . result of \d+ \w+ stands", row.state_text)
        assert dict(facts(row))["state"] == row.state_text
        items = {one.name: one for one in tree.expand(state).rows}
        for name in ("image.ome.zarr", "run.log", "stats.json"):
            assert (items[name].state, items[name].note, items[name].state_text) == ("committed", "", "committed")
        assert isinstance(thumbnail(items["image.ome.zarr"]), Picture)
        (layer,) = layers(items["image.ome.zarr"])
        assert np.unique(np.asarray(layer[0])) == [1]
        assert layer[1]["metadata"]["cvcache"]["state"] == "committed"
        assert "uncommitted" not in layer[1]["name"]
        assert "half.json" not in items
    assert row_at(tree, "running/mine.txt").state == "foreign"
    assert "pid" in rows["running"].note
    assert rows["failed"].note == "ZeroDivisionError: division by zero"
    assert "ZeroDivisionError" in log_tail(rows["failed"])
    assert "ZeroDivisionError" not in log_tail(row_at(tree, "failed/run.log"))
    assert why(rows["failed"]) == cvcache.cdir_query(root / "failed").reason != ("first run",)
    assert [line for line in difference(*rows.values()) if line.startswith("state: running")]
    assert [row.path for row in rows.values() if matches(row, "state:failed")] == ["failed"]
    options = address_of(root).context.options
    assert (
        layers(row_at(tree, "failed/image.ome.zarr").url, **options)[0][1]["metadata"]["cvcache"]["state"]
        == "committed"
    )
    release_node(snapshot_of(again))


def test_the_url_of_an_item_is_where_the_result_that_stands_lies(
    root: cvcache.CacheDir, make: Callable[..., Tree]
) -> None:
    for value in (1, 2):
        raw(root / "n", value)
    running = cvcache.cdir_init(root / "n", {"value": 3})
    tree = make(root)
    look_at(tree, "n")
    tree.expand("n")
    item = row_at(tree, "n/stats.json")
    assert "/_cvcache/attempts/" in item.url
    assert item.url == cvcache.cdir_query(root / "n")["stats.json"].url
    assert item.url.startswith(dict(facts(row_at(tree, "n")))["URL"])
    release_node(snapshot_of(running))


def test_a_committed_node_that_runs_again_is_seen_to_run(root: cvcache.CacheDir, make: Callable[..., Tree]) -> None:
    raw(root / "n", 1)
    tree = make(root)
    look_at(tree, "n")
    tree.expand("n")
    assert tree.poll(["", "n"], ["n"]) == ([], [])
    with cvcache.cdir_init(root / "n", {"value": 2}) as again:
        levels, rows = tree.poll(["", "n"], ["n"])
        assert (states(rows)["n"], states(rows)["n/stats.json"]) == ("running", "committed")
        assert levels == [], "the items are those of the result that stands"
        again.write("other.json", 2)
    levels, rows = tree.poll(["", "n"], ["n"])
    assert states(rows)["n"] == "committed"
    assert [row.name for level in levels for row in level.rows] == ["other.json"]


def test_a_node_that_was_replaced_between_two_polls_shows_its_new_items(
    root: cvcache.CacheDir, make: Callable[..., Tree]
) -> None:
    raw(root / "n", 1)
    tree = make(root)
    look_at(tree, "n")
    tree.expand("n")
    with cvcache.cdir_init(root / "n", {"value": 2}) as again:
        again.write("other.json", 2)
    levels, rows = tree.poll(["n"], ["n/stats.json"])
    assert states(rows)["n"] == "committed"
    assert [row.name for level in levels for row in level.rows] == ["other.json"]


def test_committed_nodes_in_sight_take_turns_one_request_a_level(
    store_case: StoreCase, make: Callable[..., Tree]
) -> None:
    for level in ("a", "b"):
        lay_tree(f"{store_case.url}/{level}", 5, **store_case.options)
    counts: list[CountingStore] = []
    with instrument(lambda store: counts.append(CountingStore(store)) or counts[-1]):
        tree = make(store_case.url, **store_case.options)
        look_at(tree, "a", "b")
        inside = [row.path for name in ("a", "b") for row in tree.expand(name).rows if not row.is_item]
        tree.look(inside)
        assert {row_at(tree, path).state for path in inside} == {"committed"}
        asked: list[set[str]] = []
        for _ in range(4):
            counts[0].reset()
            assert tree.poll([], inside) == ([], [])
            assert counts[0].counts == {"stat": 2}
            asked.append({path.partition("/_cvcache/")[0] for _, path in counts[0].log})
        assert len(set().union(*asked)) == len(inside) == 8, "each of them once in four periods"


# -- what it costs --------------------------------------------------------------------------------------------------


class Timed(WrapperStore):
    """A store whose calls take a while and are written down with their beginning and end."""

    def __init__(self, store: Store, calls: list[tuple[str, float, float]], seconds: float) -> None:
        super().__init__(store)
        self.calls, self.seconds = calls, seconds

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:  # noqa: ARG002 - as the base class
        begun = time.monotonic()
        time.sleep(self.seconds)
        try:
            return act()
        finally:
            self.calls.append((verb, begun, time.monotonic()))


def one_after_another(calls: list[tuple[str, float, float]]) -> int:
    """Give how many calls had to wait for one another: the longest chain of which each began after the one before."""
    chain, end = 0, 0.0
    for _, begun, ended in sorted(calls, key=lambda call: call[2]):
        if begun >= end:
            chain, end = chain + 1, ended
    return chain


def test_expanding_costs_two_calls_and_two_for_each_visible_child(store_case: StoreCase) -> None:
    lay_tree(f"{store_case.url}/parent", 21, **store_case.options)
    counts: list[CountingStore] = []
    with instrument(lambda store: counts.append(CountingStore(store)) or counts[-1]):
        tree = Tree(store_case.url, **store_case.options)
        tree.open()
        tree.expand("")
        tree.look(["parent"])
        counts[0].reset()
        level = tree.expand("parent")
        assert counts[0].total <= 2
        visible = [row.path for row in level.rows if not row.is_item][:15]
        tree.look(visible)
        assert counts[0].total <= 2 + 2 * len(visible)
        tree.close()


def test_a_level_and_its_visible_children_take_three_round_trips(memory_case: StoreCase) -> None:
    lay_tree(f"{memory_case.url}/parent", 41)
    calls: list[tuple[str, float, float]] = []
    with instrument(lambda store: Timed(store, calls, 1.0)):
        tree = Tree(memory_case.url)
        tree.open()
        tree.expand("")
        tree.look(["parent"])
        calls.clear()
        level = tree.expand("parent")
        tree.look([row.path for row in level.rows if not row.is_item])
        assert one_after_another(calls) <= 3
        tree.close()


def test_opening_shows_the_first_rows_after_a_few_round_trips(memory_case: StoreCase) -> None:
    lay_tree(memory_case.url, 60)
    calls: list[tuple[str, float, float]] = []
    with instrument(lambda store: Timed(store, calls, 0.05)):
        tree = Tree(memory_case.url)
        tree.open()
        rows = tree.expand("", 1000).rows
        tree.look([row.path for row in rows][:40])
        assert one_after_another(calls) < 10
        tree.close()


def test_several_threads_may_read_one_tree(root: cvcache.CacheDir, make: Callable[..., Tree]) -> None:
    lay_tree(root.url, 31, **address_of(root).context.options)
    tree = make(root)
    tree.open()
    rows = [row.path for row in tree.expand("").rows]
    errors: list[BaseException] = []

    def work(turn: int) -> None:
        try:
            for _ in range(3):
                tree.expand("")
                tree.look(rows[turn::4])
                tree.poll([""], rows)
        except BaseException as error:  # noqa: BLE001 - told below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert {tree.row(path).state for path in rows} == {"committed"}  # type: ignore[union-attr]  # all were read
