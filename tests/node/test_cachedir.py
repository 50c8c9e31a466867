"""A node through its public verbs: names, items of every format, commit, damage, handles."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime as dt
import json
import logging
import os
import pickle
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cvcache
from cvcache import CacheDir, Item
from cvcache.node import address_of, item_io, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import BucketCase, LocalCase, MemoryCase, StoreCase


@pytest.fixture
def root(memory_case: MemoryCase) -> CacheDir:
    return cvcache.cdir(memory_case.url)


def figure() -> Any:
    from matplotlib.figure import Figure

    plot = Figure(figsize=(2, 1), dpi=50)
    plot.subplots().plot([1, 2, 4])
    return plot


def table() -> Any:
    import pandas as pd

    return pd.DataFrame({"label": [1, 2], "area": [2.5, 0.1], "kind": ["cell", "debris"]})


def lazy() -> Any:
    import dask.array as da

    return da.from_array(image(300, 400), chunks=(128, 400)) * 2


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, shape).astype("u2")


KEPT: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "stats.json": (lambda: {"n": 3, "x": [1.5, None, "é"], "y": float("inf")}, {}),
    "notes.txt": (lambda: "two\nlines\r\n", {}),
    "notes.md": (lambda: "# title", {}),
    "steps.log": (lambda: "10:00 began\n", {}),
    "psf.npy": (lambda: image(3, 4).astype(">f8"), {}),
    "curves.npz": (lambda: {"x": image(3), "y": image(3, 2) > 500}, {}),
    "cells.csv": (table, {}),
    "slice.png": (lambda: image(7, 9).astype("u1"), {}),
    "raw.ome.zarr": (lambda: image(3, 300, 400), {"axes": "zyx", "scale": (2, 0.5, 0.5), "unit": "um"}),
    "lazy.ome.zarr": (lazy, {"axes": "yx"}),
    "mask.ome.zarr": (lambda: image(300, 300) > 500, {"axes": "yx", "kind": "labels"}),
}


def assert_equal(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if hasattr(a, "equals"):
        assert a.equals(b)
        assert list(a.dtypes) == list(b.dtypes)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    elif hasattr(a, "dtype"):
        assert a.dtype == b.dtype
        assert getattr(a, "chunks", None) == getattr(b, "chunks", None)
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    else:
        assert a == b


def test_every_format_comes_back_as_it_went_in_now_and_later(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    with cvcache.cdir_init(root / "all") as node:
        for name, (make, options) in KEPT.items():
            item = node.write(name, make(), **options)
            assert item == node[name]
            assert_equal(item.read(), make())
    later = cvcache.cdir_query(root / "all")
    assert [item.name for item in later.items()] == sorted(KEPT)
    for name, (make, _) in KEPT.items():
        assert_equal(later.read(name), make())
    meta = later["raw.ome.zarr"].meta
    assert (meta["shape"], meta["axes"], meta["scale"]) == ([3, 300, 400], ["z", "y", "x"], [2.0, 0.5, 0.5])
    assert later.read("raw.ome.zarr", level=1).shape == (3, 150, 200)
    assert later["mask.ome.zarr"].meta["kind"] == "labels"


def test_figures_become_pictures(root: CacheDir) -> None:
    with cvcache.cdir_init(root) as node:
        node.write("plot.png", figure())
        node.write("plot.svg", figure())
    assert node.read("plot.png").shape == (50, 100, 4)
    assert node.read("plot.svg").startswith("<?xml")
    assert "<svg" in node.read("plot.svg")
    assert node["plot.png"].meta["kind"] == node["plot.svg"].meta["kind"] == "plot"


def test_names_that_differ_only_by_suffix_are_different_items(root: CacheDir) -> None:
    with cvcache.cdir_init(root) as node:
        node.write("cells.json", 1)
        node.write("cells.txt", "one")
        node.write("cells.ome.zarr", image(4, 4))
    assert [item.name for item in node.items()] == ["cells.json", "cells.ome.zarr", "cells.txt"]
    assert (node.read("cells.json"), node.read("cells.txt")) == (1, "one")
    with cvcache.cdir_init(node / "cells") as child:
        child.write("cells.json", 2)
    assert (node.read("cells.json"), child.read("cells.json")) == (1, 2)


def test_names_that_join_to_the_same_text_are_different_nodes(root: CacheDir) -> None:
    for name, value in (("a_b/c", 1), ("a/b_c", 2)):
        with cvcache.cdir_init(root / name) as d:
            d.write("n.json", value)
    assert [child.name for child in root.children()] == ["a", "a_b"]
    assert [(root / name).read("n.json") for name in ("a_b/c", "a/b_c")] == [1, 2]
    with cvcache.cdir_init(root / "n") as d:
        d.write("x.json", 1, meta={"unit": "um"})
        d.write("x_metadata.json", 2)
        d.write("x.json.json", 3)
    assert [d.read(name) for name in ("x.json", "x_metadata.json", "x.json.json")] == [1, 2, 3]


def test_several_items_are_all_or_nothing(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    node = cvcache.cdir_init(root / "a", {"v": 1})
    node.write("first.json", 1)
    with pytest.raises(ZeroDivisionError), node:
        node.write("second.json", 1 // 0)
    found = cvcache.cdir_query(root / "a")
    assert (found.committed, found.commit, found.state) == (False, None, "failed")
    assert found.error is not None
    assert "1 // 0" in found.error["traceback"]
    with cvcache.cdir_init(root / "a", {"v": 1}) as node:
        node.write("second.json", 2)
    assert list(item_io.read_rows(snapshot_of(cvcache.cdir_query(root / "a")))) == ["second.json"]
    assert not [name for name in store_case.snapshot() if name.endswith("first.json")]


def test_one_failure_costs_only_its_own_case(root: CacheDir) -> None:
    def fill(case: str, *, fail: bool) -> bool:
        with cvcache.cdir_init(root / case) as d:
            if computed := not d.committed:
                d.write("n.json", 1 / (case != "b" or not fail))
        return computed

    for case in "abc":
        try:
            fill(case, fail=True)
        except ZeroDivisionError:
            assert case == "b"
    assert [case for case in "abc" if fill(case, fail=False)] == ["b"]


def test_a_recompute_leaves_nothing_of_the_old_result(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    for sigma in (1.0, 2.0):
        with cvcache.cdir_init(root / "a", {"sigma": sigma}) as node:
            node.write(f"sigma{sigma:.0f}.ome.zarr", image(40, 40))
            node.write("sigma.json", sigma)
    assert sorted(item_io.read_rows(snapshot_of(node))) == ["sigma.json", "sigma2.ome.zarr"]
    assert node.read("sigma.json") == 2.0
    assert not [name for name in store_case.snapshot() if "sigma1" in name]


def test_an_item_may_be_written_again_before_the_commit(root: CacheDir) -> None:
    with cvcache.cdir_init(root) as node:
        node.write("a.json", 1)
        node.write("a.json", 2)
        node.write("a.ome.zarr", image(600, 600))
        node.write("a.ome.zarr", image(40, 40))
    assert node.read("a.json") == 2
    assert node.read("a.ome.zarr").shape == (40, 40)
    assert node["a.ome.zarr"].meta["levels"] == 1


def test_a_refused_second_write_keeps_the_first(local_case: LocalCase) -> None:
    node = cvcache.cdir_init(local_case.url)
    node.write("a.json", 2)
    with pytest.raises(cvcache.NotReproducible):
        node.write("a.json", (1, 2))
    cvcache.cdir_commit(node)
    assert node.read("a.json") == 2


def test_what_was_written_last_counts(local_case: LocalCase) -> None:
    node = cvcache.cdir_init(local_case.url)
    node.write("a.json", 2)
    with node.open("a.json", "wb") as file:
        file.write(b"[3]")
    with node.open("b.json", "wb") as file:
        file.write(b"[4]")
    node.write("b.json", 5)
    cvcache.cdir_commit(node)
    assert (node.read("a.json"), node.read("b.json")) == ([3], 5)


def test_two_threads_and_one_item(local_case: LocalCase) -> None:
    node = cvcache.cdir_init(local_case.url)
    refused: list[cvcache.UsageError] = []
    barrier = threading.Barrier(8)

    def write(number: int) -> None:
        barrier.wait()
        try:
            node.write("a.npy", np.full(100_000, number))
        except cvcache.UsageError as error:
            refused.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cvcache.cdir_commit(node)
    assert len(set(cvcache.cdir(local_case.url).read("a.npy").tolist())) == 1
    assert all("another thread" in str(error) for error in refused)


def test_a_committed_node_takes_no_writes(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    with cvcache.cdir_init(root) as node:
        node.write("a.json", 1)
    for handle in (node, cvcache.cdir_query(root), cvcache.cdir_init(root)):
        with pytest.raises(
            cvcache.NodeCommitted, match=r"is committed and does not change; .*if not d\.committed"
        ) as caught:
            handle.write("b.json", 2)
        assert "force=True" in str(caught.value)
        with pytest.raises(cvcache.NodeCommitted):
            handle.path("b.json")
        with pytest.raises(cvcache.NodeCommitted):
            handle.open("b.json", "wb")
    with pytest.raises(PermissionError):  # the builtin a handler may know
        node.write("b.json", 2)
    assert list(item_io.read_rows(snapshot_of(cvcache.cdir_query(root)))) == ["a.json"]


def test_a_node_nobody_opened_takes_no_writes(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    with pytest.raises(cvcache.NotOpen, match="is not open for writing in this process; call cdir_init on it"):
        root.write("a.json", 1)
    for where in (root, root.url) if store_case.kind in {"local", "memory"} else (root,):
        with pytest.raises(cvcache.NotOpen, match="is not open for writing in this process; call cdir_init on it"):
            cvcache.cdir_commit(where)
    assert cvcache.cdir_query(root).state == "absent"


def test_what_is_not_there_is_told_with_what_is(root: CacheDir) -> None:
    with cvcache.cdir_init(root) as node:
        node.write("nuclei.csv", table())
    with pytest.raises(cvcache.ItemNotFound, match=r"has no item 'nucle.csv'; did you mean 'nuclei.csv'"):
        node.read("nucle.csv")
    with pytest.raises(KeyError, match=r"it holds: nuclei\.csv"):
        _ = node["nucle.csv"].meta
    with pytest.raises(cvcache.ItemNotFound, match="it holds: nothing"):
        (node / "child").read("a.json")
    with pytest.raises(cvcache.ItemNotFound):
        node.open("nucle.csv")
    assert "nuclei.csv" in node
    assert "nucle.csv" not in node


def test_a_node_is_spelled_as_its_url(root: CacheDir) -> None:
    assert str(root) == root.url
    assert cvcache.cdir(f"{root}/sub", **address_of(root).context.options) == root / "sub"
    assert str(root["a.json"]) == root["a.json"].url == f"{root}/a.json"


def test_a_child_is_named_by_text_an_int_or_a_path(root: CacheDir) -> None:
    by_text = root / "a" / "3" / "x"
    assert root / "a" / 3 / "x" == root / "a" / np.int64(3) / Path("x") == root / Path("a/3/x") == by_text
    assert by_text.parent.parent == root / "a"


@pytest.mark.parametrize("url", ["s3://bucket/run", "gs://bucket/run", "memory://run"])
def test_the_topmost_node_of_a_store_has_no_parent(url: str) -> None:
    with pytest.raises(cvcache.InvalidName, match="root of a store"):
        _ = cvcache.cdir(url).parent


def test_a_parent_looks_for_results_where_its_child_does(tmp_path: Path) -> None:
    with cvcache.cdir_init(tmp_path / "other" / "n") as node:
        node.write("a.json", 1)
    below = cvcache.cdir(tmp_path / "here" / "n", also=[tmp_path / "other" / "n"]) / "deep" / "er"
    assert (below.parent.parent).read("a.json") == 1


def test_a_local_node_and_item_are_paths_for_others(tmp_path: Path) -> None:
    with cvcache.cdir_init(tmp_path / "n") as node:
        node.write("a.json", 1)
    assert Path(node) == tmp_path / "n"
    assert Path(node["a.json"]).read_text() == "1\n"
    assert cvcache.cdir(Path(node)) == node


def test_what_lies_elsewhere_is_no_path(root: CacheDir) -> None:
    for thing in (root, root["a.json"], cvcache.cdir("s3://bucket/run"), cvcache.cdir(None)):
        with pytest.raises(TypeError, match="no path on this machine"):
            os.fspath(thing)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda node: node.write("a.jsn", 1), cvcache.UnknownFormat, "did you mean 'json'"),
        (lambda node: node.write("a", 1), cvcache.UnknownFormat, "no suffix"),
        (lambda node: node.write("a.json", 1, indnt=1), cvcache.UnknownOption, "did you mean 'indent'"),
        (lambda node: node.write("a.ome.zarr", image(4, 4), scle=1), cvcache.UnknownOption, "did you mean 'scale'"),
        (lambda node: node.write("../a.json", 1), cvcache.InvalidName, "path separator"),
        (lambda node: node / "a.zarr", cvcache.InvalidName, "drop the '.zarr'"),
        (lambda node: node / "", cvcache.InvalidName, "no name"),
        (lambda node: node / "a" / "..", cvcache.InvalidName, "no name"),
        (lambda node: node / "a*", cvcache.InvalidName, "wildcard"),
        (lambda node: node / Path("/a"), cvcache.InvalidName, "no name"),
        (lambda node: node / 0.5, cvcache.InvalidName, r"text, an int or a relative path, not by 0\.5 \(float\)"),
        (lambda node: node / True, cvcache.InvalidName, "not by True"),
        (lambda node: node / node, cvcache.InvalidName, r"not by CacheDir\("),
        (lambda node: node["_cvcache"], cvcache.InvalidName, "reserved"),
        (lambda node: cvcache.cdir_init(node, on_stale="recompte"), cvcache.UsageError, "did you mean 'recompute'"),
        (lambda node: cvcache.cdir(node.url, polcy=1), cvcache.UnknownOption, "did you mean 'policy'"),
        (lambda node: cvcache.cdir(node, profile="x"), cvcache.UnknownOption, "cannot be given again"),
        (lambda _: cvcache.cdir(3), cvcache.InvalidName, "text or a path"),
        (lambda node: cvcache.cdir(node["a.json"]), cvcache.InvalidName, "is no URL; read()"),
        (cvcache.open_image, cvcache.InvalidName, "without its commit"),
    ],
)
def test_a_wrong_call_says_what_was_meant(root: CacheDir, act: Any, error: type[Exception], message: str) -> None:
    node = cvcache.cdir_init(root)
    with pytest.raises(error, match=message):
        act(node)
    assert not item_io.read_rows(snapshot_of(node))


def test_children_and_deeper(root: CacheDir) -> None:
    assert (root / "a" / "b") == (root / "a/b")
    assert (root / "a/b").name == "b"
    assert (root / "a/b").url == f"{root.url}/a/b"
    for name in ("b", "a", "c/d"):
        with cvcache.cdir_init(root / name):
            pass
    assert root.children() == [root / "a", root / "b", root / "c"]
    assert (root / "c").state == "absent"


def test_handles_are_equal_by_url_and_hashable(root: CacheDir) -> None:
    same = cvcache.cdir(root.url)
    assert (root, hash(root)) == (same, hash(same))
    assert root != root / "a"
    assert root != root.url
    assert len({root, same, root / "a"}) == 2
    assert {root["a.json"]: 1}[same["a.json"]] == 1
    assert root["a.json"] != root["b.json"]
    assert repr(root) == f"CacheDir({root.url!r})"
    assert repr(root["a.json"]) == f"Item('{root.url}/a.json')"


def test_handles_pickle_pinned_and_without_options(store_case: StoreCase) -> None:
    node = cvcache.cdir(store_case.url, **store_case.options)
    with cvcache.cdir_init(node, {"v": 1}) as first:
        first.write("a.json", 1)
    copy, item = pickle.loads(pickle.dumps((first, first["a.json"])))  # noqa: S301 - our own bytes
    assert isinstance(copy, CacheDir)
    assert isinstance(item, Item)
    assert (copy, item) == (first, first["a.json"])
    assert copy.commit == first.commit
    assert item.read() == 1
    assert [handle.read("a.json") for handle in (copy, first, copy)] == [1, 1, 1]
    assert b"testtest" not in pickle.dumps(first)
    with cvcache.cdir_init(node, {"v": 2}) as second:
        second.write("a.json", 2)
    with pytest.raises(cvcache.NodeReplaced):
        item.read()


def test_a_commit_says_when_why_and_what(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    node = cvcache.cdir_init(root, {"sigma": 2.0, "names": ("a", "b")})
    assert (node.commit, node.committed, node.state) == (None, False, "running")
    assert not cvcache.cdir_query(root).committed
    commit = cvcache.cdir_commit(root, meta={"operator": "me"})
    assert commit
    assert before < commit.time < before + dt.timedelta(seconds=60)
    assert commit.time.utcoffset() == dt.timedelta(0)
    assert commit.key == {"sigma": 2.0, "names": {"$tuple": ["a", "b"]}}
    assert (commit.meta, commit.reason, commit.duration >= 0) == ({"operator": "me"}, ("first run",), True)
    assert (node.commit, node.committed, node.state) == (commit, True, "committed")
    assert cvcache.cdir_query(root).commit == commit
    assert cvcache.cdir_commit(root) == commit


def test_a_commit_by_url_is_that_of_the_handle(root: CacheDir) -> None:
    node = cvcache.cdir_init(root)
    assert cvcache.cdir_commit(root.url, meta={"operator": "me"}) == node.commit


def test_keys(root: CacheDir) -> None:
    def reason(key: object, **options: Any) -> list[str] | None:
        with cvcache.cdir_init(root / "a", key, **options) as node:
            return list(node.reason) if node.computed or not node.committed else None

    assert reason(None) == ["first run"]
    assert reason(None) is None
    assert reason({"s": 1}) == ["no key before"]
    assert reason({"s": 1}) is None
    assert reason(None) is None
    assert reason({"s": 2}) == ["s: 1 -> 2"]
    assert reason({"s": 2}, force=True) == ["forced"]
    with pytest.raises(cvcache.NodeStale, match="s: 2 -> 3"):
        reason({"s": 3}, on_stale="error")


def test_a_body_runs_once_a_key(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    runs: collections.Counter[int] = collections.Counter()
    for level in (1, 1, 2):
        with cvcache.cdir_init(root / "n", {"level": level}) as d:
            if not d.committed:
                runs[level] += 1
                d.write("n.json", level)
        assert (d.committed, d.read("n.json")) == (True, level)
    assert runs == {1: 1, 2: 1}


def test_a_child_without_a_key_has_its_open_parents(root: CacheDir) -> None:
    for sigma, runs in ((1.0, 1), (1.0, 1), (2.0, 2)):
        with cvcache.cdir_init(root, {"sigma": sigma}), cvcache.cdir_init(f"{root.url}/part") as part:
            if not part.committed:
                part.write("runs.json", runs)
        assert cvcache.cdir_query(root / "part").read("runs.json") == runs


def test_cached(root: CacheDir) -> None:
    def expensive() -> list[int]:
        return [1, 2]

    assert root.cached("values.json", expensive) == [1, 2]
    first = cvcache.cdir_query(root / "values")
    assert (first.state, [item.name for item in first.items()]) == ("committed", ["run.log", "values.json"])
    assert root.cached("values.json", expensive) == [1, 2]
    assert cvcache.cdir_query(root / "values").commit == first.commit
    assert root.cached("values.json", lambda: [3]) == [3]
    assert root.cached("zeros.npy", lambda: np.zeros(3)).tolist() == [0, 0, 0]
    assert root.cached("zeros.npy", lambda: np.ones(3)).tolist() == [1, 1, 1]
    with pytest.raises(cvcache.NotReproducible):
        root.cached("tuple.json", lambda: (1, 2))
    stored = root.cached("picture.ome.zarr", image_of_ones, axes="yx")
    np.testing.assert_array_equal(stored, np.ones((5, 5), "u1"))


def test_what_is_cached_has_a_log_and_a_reason(root: CacheDir) -> None:
    def count(above: int) -> int:
        logging.getLogger("count").warning("counting")
        return sum(value > above for value in range(10))

    assert root.cached("count.json", lambda: count(3)) == 6
    assert root.cached("count.json", lambda: count(4)) == 5
    node = cvcache.cdir_query(root / "count")
    assert "counting" in node.read("run.log")
    (line,) = node.reason
    assert line.startswith("args.fn")
    root.cached("count.json", lambda: count(4), indent=2)
    (line,) = cvcache.cdir_query(root / "count").reason
    assert line.startswith("args.options")
    with cvcache.plan() as planned:
        root.cached("other.json", lambda: count(4))
    assert [(row.action, row.reason) for row in planned.rows] == [("compute", ("first run",))]


def test_how_an_image_is_written_is_no_part_of_the_key_of_what_is_cached(root: CacheDir) -> None:
    root.cached("ones.ome.zarr", image_of_ones, axes="yx", progress=False)
    before = cvcache.cdir_query(root / "ones").commit
    root.cached("ones.ome.zarr", image_of_ones, axes="yx")
    assert cvcache.cdir_query(root / "ones").commit == before


def test_a_handle_that_was_pickled_knows_that_it_computed(root: CacheDir) -> None:
    with cvcache.cdir_init(root / "a") as node:
        node.write("a.json", 1)
    read = cvcache.cdir_init(root / "a")
    copies = [pickle.loads(pickle.dumps(handle)) for handle in (node, read, cvcache.cdir(root / "a"))]  # noqa: S301 - our own bytes
    assert [copy.computed for copy in copies] == [True, False, False]
    assert [copy.read("a.json") for copy in copies] == [1, 1, 1]


def image_of_ones() -> np.ndarray:
    return np.ones((5, 5), "u1")


def test_files_of_ones_own(store_case: StoreCase) -> None:
    with cvcache.cdir_init(cvcache.cdir(store_case.url, **store_case.options)) as node:
        with node.open("report.txt", "wb") as file:
            file.write(b"by hand")
            assert "report.txt" not in node
        if store_case.kind == "local":
            Path(node.path("model.bin")).write_bytes(b"by a tool")
            Path(node.path("model.pt")).write_bytes(b"345")
            folder = Path(node.path("tool.dir"))
            folder.mkdir()
            (folder / "weights.bin").write_bytes(b"12")
    assert node["report.txt"].meta["size"] == 7
    with node.open("report.txt") as file:
        assert file.read() == b"by hand"
    assert node.read("report.txt") == "by hand"
    if store_case.kind == "local":
        assert node["model.bin"].meta["kind"] == "file"
        assert Path(node["model.bin"]).read_bytes() == b"by a tool"
        assert dict(node.read("tool.dir")) == {"weights.bin": b"12"}
        with node.open("model.pt") as file:
            assert file.read() == b"345"
        found = cvcache.cdir_query(store_case.url)
        assert [item.name for item in found.items()] == ["model.bin", "model.pt", "report.txt", "tool.dir"]


def test_a_path_that_nobody_filled_is_left_out_loudly(local_case: LocalCase, caplog: pytest.LogCaptureFixture) -> None:
    with cvcache.cdir_init(local_case.url) as node:
        node.path("model.bin")
    assert not item_io.read_rows(snapshot_of(node))
    assert "asked for but never written" in caplog.text


@pytest.mark.parametrize("name", ["a.json", "a.npy", "a.csv", "a.txt"])
def test_a_truncated_file_is_damaged(store_case: StoreCase, name: str) -> None:
    values = {"a.json": [1, 2, 3], "a.npy": image(5), "a.csv": table(), "a.txt": "some text"}
    with cvcache.cdir_init(cvcache.cdir(store_case.url, **store_case.options)) as node:
        node.write(name, values[name])
    store_case.put(name, store_case.read(name)[:-1])
    with pytest.raises(cvcache.ItemDamaged, match=name):
        node.read(name)
    store_case.delete(name)
    with pytest.raises(cvcache.ItemDamaged, match="is gone although its commit vouched for it"):
        node.read(name)


@pytest.mark.parametrize(
    "make",
    [lambda: image(300, 300), lambda: lazy()[:300, :300], lambda: np.zeros((300, 300), "u1"), lambda: np.eye(300)],
    ids=["numpy", "dask", "zeros", "eye"],
)
def test_an_image_whose_chunk_is_gone_is_damaged_never_zeros(store_case: StoreCase, make: Any) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    with cvcache.cdir_init(root) as node:
        node.write("a.ome.zarr", make(), axes="yx", chunks=(100, 100))
    np.testing.assert_array_equal(cvcache.cdir_query(root).read("a.ome.zarr"), make())
    store_case.delete("a.ome.zarr/0/c/1/1")
    for reader in (node, cvcache.cdir_query(root)):
        with pytest.raises(cvcache.ItemDamaged, match=r"a\.ome\.zarr"):
            np.asarray(reader.read("a.ome.zarr"))
    assert [found.part for found in cvcache.cdir_verify(root)] == ["0/c/1/1"]


def test_half_of_an_artefact_of_several_files_is_no_result(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    with cvcache.cdir_init(root / "n") as d:
        d.write("model.dir", {"weights.bin": b"1", "config.json": b"{}"})
    store_case.delete("n/model.dir/config.json")
    with pytest.raises(cvcache.ItemDamaged):
        dict(cvcache.cdir_query(root / "n").read("model.dir"))


def test_the_files_are_what_a_stranger_expects(local_case: LocalCase) -> None:
    with cvcache.cdir_init(local_case.url, {"sigma": 2.0}) as node:
        node.write("stats.json", {"n": 3})
    assert json.loads((local_case.path / "stats.json").read_text()) == {"n": 3}
    log = sorted(path.name for path in (local_case.path / "_cvcache" / "log").iterdir())
    assert log[0] == "000001-root.json"
    assert json.loads((local_case.path / "_cvcache" / "log" / log[1]).read_text())["key"] == {"sigma": 2.0}


def test_where_may_be_a_path_a_url_or_a_handle(local_case: LocalCase) -> None:
    above, _, name = local_case.url.rpartition("/")
    spelled = (
        *(local_case.path, local_case.url, f"{local_case.url}/", f"file://{local_case.url}"),
        *(cvcache.cdir(local_case.url), cvcache.cdir(above) / name),
    )
    for where in spelled:
        with cvcache.cdir_init(where) as node:
            if not node.committed:
                node.write("n.json", 1)
        assert (node.url, cvcache.cdir_query(where).read("n.json")) == (local_case.url, 1)
    assert cvcache.cdir_query(LikeUPath(local_case.url)).committed


def test_credentials_reach_the_store(s3_case: BucketCase) -> None:
    wrong = {**s3_case.options, "endpoint_url": "http://127.0.0.1:9"}
    assert cvcache.cdir_query(s3_case.child("n"), **s3_case.options).state == "absent"
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9"):
        cvcache.cdir_query(cvcache.cdir(s3_case.child("n"), policy=cvcache.Policy(retries=0), **wrong))


class LikeUPath:
    """What cvcache asks of a UPath."""

    protocol = "file"

    def __init__(self, path: str) -> None:
        self.path = path
        self.storage_options: dict[str, Any] = {}

    def __str__(self) -> str:
        return self.path


def test_the_path_of_an_item_that_is_there(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    with cvcache.cdir_init(root) as node:
        node.write("a.json", 1)
    assert node.path("a.json") == root.path("a.json") == node["a.json"].url
    with pytest.raises(cvcache.NodeCommitted):
        node.path("b.json")


def test_a_commit_is_plain_values(root: CacheDir) -> None:
    with cvcache.cdir_init(root, {"a": 1}) as node:
        pass
    assert node.commit is not None
    assert dataclasses.asdict(node.commit).keys() == {
        "time", "version", "key", "digest", "duration", "host", "reason", "meta"
    }  # fmt: skip
    assert pickle.loads(pickle.dumps(node.commit)) == node.commit  # noqa: S301 - our own bytes


def test_a_copy_of_an_open_handle_does_not_hold_the_node(root: CacheDir) -> None:
    node = cvcache.cdir_init(root)
    for other in (copy.copy(node), pickle.loads(pickle.dumps(node))):  # noqa: S301 - our own bytes
        with pytest.raises(cvcache.NotOpen):
            other.write("a.json", 1)
    node.write("a.json", 1)


def test_another_policy_has_its_own_retries(root: CacheDir) -> None:
    assert not root.committed
    other = cvcache.cdir(root, policy=cvcache.Policy(retries=1))
    assert address_of(other).context._store is None


def test_a_directory_is_no_file(root: CacheDir) -> None:
    with cvcache.cdir_init(root) as node:
        node.write("x.ome.zarr", image(4, 4))
    with pytest.raises(cvcache.UsageError, match="a directory of objects"):
        node.open("x.ome.zarr")


def test_a_handle_that_lost_its_node_can_look_again(root: CacheDir) -> None:
    older = cvcache.cdir_init(root, {"k": 1})
    newer = cvcache.cdir_init(root, {"k": 1}, wait=False)
    with newer:
        newer.write("a.json", 1)
    assert older.refresh().read("a.json") == 1
