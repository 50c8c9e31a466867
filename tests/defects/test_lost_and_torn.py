"""Races and failures that elsewhere delete results, or pass half of one off as a whole."""

from __future__ import annotations

import contextlib
import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from projects import Project

import cvcache
from cvcache import CacheDir

if TYPE_CHECKING:
    from servers.store_cases import BucketCase, LocalCase, MemoryCase, StoreCase


@pytest.fixture
def root(memory_case: MemoryCase) -> CacheDir:
    return cvcache.cdir(memory_case.url)


@pytest.fixture
def any_root(store_case: StoreCase) -> CacheDir:
    return cvcache.cdir(store_case.url, **store_case.options)


def write_one(node: CacheDir, value: object = 1, **options: Any) -> CacheDir:
    with cvcache.cdir_init(node, **options) as d:
        if not d.committed:
            d.write("n.json", value)
    return d


# -- what is not ours ----------------------------------------------------------------------------------------------


def test_a_place_with_somebodys_files_is_refused_and_kept(store_case: StoreCase) -> None:
    store_case.put("data/thesis.txt", b"years of work")
    store_case.put("file.txt", b"a file")
    before = store_case.snapshot()
    for name in ("data", "file.txt/n" if store_case.kind == "local" else "data"):
        for options in ({}, {"force": True}, {"key": {"a": 1}}):
            with pytest.raises(cvcache.NotACacheDir):
                cvcache.cdir(store_case.child(name), **store_case.options).init(**options)
    assert store_case.snapshot() == before


def test_a_bucket_is_neither_emptied_nor_created(s3_case: BucketCase) -> None:
    s3_case.put("../thesis.txt", b"years of work")
    before = s3_case.snapshot()
    with pytest.raises(cvcache.InvalidName, match="root of a store"):
        cvcache.cdir(f"s3://{s3_case.bucket}", **s3_case.options)
    mistyped = cvcache.cdir(f"s3://{s3_case.bucket}-mistyped/run", **s3_case.options)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            cvcache.cdir_init(mistyped)
    assert s3_case.snapshot() == before


@pytest.mark.parametrize("name", ["x.json", "x.ome.zarr"])
def test_an_item_is_not_written_over_somebodys_file(store_case: StoreCase, name: str) -> None:
    with cvcache.cdir_init(cvcache.cdir(store_case.child("n"), **store_case.options)) as d:
        theirs = f"n/{name}" if name == "x.json" else f"n/{name}/0/c/0/0"
        store_case.put(theirs, b"theirs")
        with pytest.raises(cvcache.ForeignItem):
            d.write(name, 1 if name == "x.json" else np.zeros((4, 4), "u1"))
    assert store_case.read(theirs) == b"theirs"


def test_stray_files_do_no_harm(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    write_one(root / "n")
    for name in (".gitignore", ".DS_Store", "n/.DS_Store", "n/Thumbs.db"):
        store_case.put(name, b"stray")
    assert cvcache.cdir_query(root / "n").read("n.json") == 1
    assert write_one(root / "n", 2, force=True).read("n.json") == 2
    assert write_one(root / "m").committed
    assert cvcache.cdir_verify(root) == []
    assert store_case.read("n/.DS_Store") == b"stray"


@pytest.mark.parametrize("name", ["..", "../beside", "a/../../b", "a?b", "a#b/..", "/etc"])
def test_no_name_leads_out_of_the_tree(any_root: CacheDir, name: str) -> None:
    with pytest.raises(cvcache.InvalidName):
        any_root / name
    with pytest.raises(cvcache.InvalidName), cvcache.cdir_init(any_root / "n") as d:
        d.write(f"{name}/x.json", 1)


def test_an_odd_name_is_a_name(any_root: CacheDir) -> None:
    for name in ("a#b", "100% & more", "ä+ö"):
        assert write_one(any_root / name, name).read("n.json") == name
    assert len(any_root.children()) == 3


def test_parents_of_a_node_need_not_exist(any_root: CacheDir) -> None:
    assert write_one(any_root / "a" / "b" / "c").read("n.json") == 1
    assert cvcache.cdir_query(any_root / "a").state == "absent"


# -- parents and children ------------------------------------------------------------------------------------------

CASES = """
    import cvcache, os, signal, sys

    @cvcache.step(version=1)
    def work(out, n):
        if n == int(os.environ.get("DIE", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        out.write("n.json", n)

    with cvcache.cdir_init("run") as top:
        if not top.committed:
            nodes = [work(top / f"case{n}", n) for n in range(5)]
            print([node.name for node in nodes if node.computed])
            top.write("sum.json", sum(node.read("n.json") for node in nodes))
    print(top.read("sum.json"))
    """


def test_a_kill_loses_no_child_that_was_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path / "project", script=CASES)
    monkeypatch.setenv("DIE", "3")
    assert project.die("script") == -signal.SIGKILL
    monkeypatch.delenv("DIE")
    assert project.run("script") == ["['case3', 'case4']", "10"]


def test_opening_a_parent_again_keeps_its_complete_children(any_root: CacheDir) -> None:
    with contextlib.suppress(ZeroDivisionError), cvcache.cdir_init(any_root / "top", {"a": 1}) as top:
        write_one(top / "child", key={"c": 1})
        top.write("n.json", 1 // 0)
    assert cvcache.cdir_query(any_root / "top").state == "failed"
    for options in ({"key": {"a": 1}}, {"key": {"a": 2}}, {"force": True}):
        with cvcache.cdir_init(any_root / "top", **options):
            assert cvcache.cdir_query(any_root / "top" / "child").read("n.json") == 1


def test_a_complete_parent_is_no_proof_that_its_children_are(any_root: CacheDir) -> None:
    with cvcache.cdir_init(any_root / "top") as top:
        child = cvcache.cdir_init(top / "child")
    assert cvcache.cdir_query(top).committed
    assert (cvcache.cdir_query(child).committed, cvcache.cdir_query(child).state) == (False, "running")
    cvcache.cdir_commit(child)
    assert cvcache.cdir_query(child).committed


# -- who sees what when --------------------------------------------------------------------------------------------


def test_another_machine_sees_a_node_that_was_opened(store_case: StoreCase) -> None:
    node = cvcache.cdir_init(cvcache.cdir(store_case.child("n"), **store_case.options))
    assert cvcache.cdir_query(store_case.child("n"), **store_case.options).state == "running"
    with ThreadPoolExecutor(1) as others:
        asked = others.submit(cvcache.cdir(node.url, **store_case.options).init, wait=False)
        with pytest.raises(cvcache.NodeBusy):
            asked.result()
    node.write("part1.json", 1)
    node.write("part2.json", 2)
    assert [item.name for item in cvcache.cdir_commit(node) and node.items()] == ["part1.json", "part2.json"]


def test_a_remembered_listing_hides_no_commit(s3_case: BucketCase, tmp_path: Path) -> None:
    import fsspec

    mine = cvcache.cdir(s3_case.url, **s3_case.options)
    fs = fsspec.filesystem("s3", **s3_case.options)
    write_one(mine / "neighbour")
    assert (mine / "n").state == "absent"
    assert len(fs.ls(s3_case.url, detail=False)) == 1
    project = Project(
        tmp_path / "project",
        script="""
        import cvcache, json, sys

        with cvcache.cdir_init(cvcache.cdir(sys.argv[1], **json.loads(sys.argv[2]))) as d:
            d.write("n.json", "theirs")
        """,
    )
    project.run("script", s3_case.child("n"), json.dumps(s3_case.options))
    assert write_one(mine / "n", "mine").read("n.json") == "theirs"
    assert [child.name for child in mine.children()] == ["n", "neighbour"]


# -- half a result -------------------------------------------------------------------------------------------------


def broken_once(block: np.ndarray, fault: Path, block_id: tuple[int, ...] = ()) -> np.ndarray:
    if block_id == (1, 1) and fault.exists():
        msg = "a worker died"
        raise RuntimeError(msg)
    return block + 1


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_a_block_that_fails_ends_the_step_and_half_an_image_is_never_read(
    local_case: LocalCase, tmp_path: Path, scheduler: str
) -> None:
    import dask

    fault = tmp_path / "fault"
    fault.touch()
    image = da.zeros((64, 64), chunks=16, dtype="u1").map_blocks(broken_once, fault, dtype="u1")
    node = cvcache.cdir(local_case.child("n"))

    def run() -> CacheDir:
        with dask.config.set(scheduler=scheduler), cvcache.cdir_init(node, {"v": 1}) as d:
            if not d.committed:
                d.write("x.ome.zarr", image, chunks=(16, 16))
        return d

    with pytest.raises(RuntimeError, match="a worker died"):
        run()
    half = cvcache.cdir_query(node)
    assert (half.committed, half.state) == (False, "failed")
    with pytest.raises(cvcache.CvcacheError):
        np.asarray(half.read("x.ome.zarr"))
    fault.unlink()
    assert np.asarray(run().read("x.ome.zarr")).min() == 1


@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_record_cut_short_is_never_taken_for_a_commit(store_case: StoreCase, left: float) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    write_one(root / "n")
    record = max(name for name in store_case.snapshot() if name.startswith("n/_cvcache/log/"))
    data = store_case.read(record)
    store_case.put(record, data[: int(len(data) * left)])
    with pytest.raises(cvcache.BadRecord, match=Path(record).name):
        cvcache.cdir_query(root / "n")
    store_case.put(record, data)
    assert cvcache.cdir_query(root / "n").read("n.json") == 1


# -- after a failure -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
def test_damage_is_found_and_is_not_for_ever(store_case: StoreCase, damage: str) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    write_one(root / "n", "some text", key={"a": 1})
    data = store_case.read("n/n.json")
    if damage == "gone":
        store_case.delete("n/n.json")
    else:
        store_case.put("n/n.json", data[:-2] if damage == "cut" else data.replace(b"some", b"same"))
    with pytest.raises(cvcache.ItemDamaged):
        cvcache.cdir_query(root / "n").read("n.json")
    assert write_one(root / "n", "some text", key={"a": 1}, force=True).read("n.json") == "some text"
