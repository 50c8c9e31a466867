"""Copies of trees: another place in which scripts find what was computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import cvcache
from cvcache import CacheDir
from cvcache.node import item_io, release_node, snapshot_of

if TYPE_CHECKING:
    from pathlib import Path

    from servers.store_cases import LocalCase, StoreCase

runs: list[str] = []


@cvcache.step(version=1)
def make(out: CacheDir, value: int) -> None:
    runs.append(out.name)
    out.write("value.json", value)
    out.write("big.npy", np.zeros(1000))
    out.write("image.ome.zarr", np.full((20, 20), value, "u1"))
    with cvcache.cdir_init(out / "part") as part:
        part.write("part.json", value)


def test_a_copied_tree_is_found_by_the_script(store_case: StoreCase, tmp_path: Path) -> None:
    runs.clear()
    root = cvcache.cdir(store_case.url, **store_case.options)
    make(root / "make", 3)
    target = cvcache.cdir(tmp_path / "copy")
    copied = cvcache.cdir_copy(root, target)
    assert [node.url for node in copied] == [(target / "make").url, (target / "make/part").url]
    node = make(target / "make", 3)
    assert (runs, node.read("value.json"), "big.npy" in node) == (["make"], 3, True)
    assert (target / "make" / "part").read("part.json") == 3
    np.testing.assert_array_equal(np.asarray(node.read("image.ome.zarr")), np.full((20, 20), 3))
    assert cvcache.cdir_verify(target) == []
    assert cvcache.cdir_copy(root, target) == []


@pytest.mark.parametrize("name", ["curve.svg", "curve.pdf"])
def test_a_copied_figure_has_its_picture(store_case: StoreCase, tmp_path: Path, name: str) -> None:
    plot = pytest.importorskip("matplotlib.figure").Figure()
    root = cvcache.cdir(store_case.url, **store_case.options)
    with cvcache.cdir_init((root / "plot"), {"n": 1}) as node:
        node.write(name, plot)
    cvcache.cdir_copy(root, tmp_path / "copy")
    copy = cvcache.cdir_query(tmp_path / "copy" / "plot")
    assert copy[name].thumbnail() == node[name].thumbnail() is not None


def test_a_changed_node_is_copied_again(store_case: StoreCase, tmp_path: Path) -> None:
    root, target = cvcache.cdir(store_case.url, **store_case.options), cvcache.cdir(tmp_path / "copy")
    make(root / "make", 3)
    cvcache.cdir_copy(root, target)
    make(root / "make", 4)
    assert (target / "make").url in [node.url for node in cvcache.cdir_copy(root, target)]
    assert (target / "make").read("value.json") == 4


def test_only_some_items(local_case: LocalCase) -> None:
    root, target = cvcache.cdir(local_case.child("a")), cvcache.cdir(local_case.child("b"))
    make(root / "make", 3)
    copied = cvcache.cdir_copy(root, target, only=["*.npy"])
    assert [[item.name for item in node.items()] for node in copied] == [["big.npy"]]


def test_what_is_not_complete_is_left(local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.child("a"))
    open_one = cvcache.cdir_init(root / "open")
    open_one.write("half.json", 1)
    assert cvcache.cdir_copy(root, local_case.child("b")) == []
    release_node(snapshot_of(open_one))


def test_a_tree_is_not_copied_into_itself(local_case: LocalCase) -> None:
    with pytest.raises(cvcache.UsageError, match="outside"):
        cvcache.cdir_copy(local_case.child("a"), local_case.child("a", "b"))


@cvcache.step(version=1)
def with_scratch(out: CacheDir) -> None:
    runs.append(out.name)
    out.write("value.json", 1)
    out.write("scratch.npy", np.zeros(1000), track=False)


def test_what_is_not_tracked_stays_and_a_script_computes_it_again(store_case: StoreCase, tmp_path: Path) -> None:
    runs.clear()
    root, target = cvcache.cdir(store_case.url, **store_case.options), cvcache.cdir(tmp_path / "b")
    with_scratch(root / "n")
    cvcache.cdir_copy(root, target)
    copy = cvcache.cdir_query(target / "n")
    assert (copy.committed, [item.name for item in copy.items()]) == (True, ["run.log", "value.json"])
    assert copy.read("value.json") == 1
    assert cvcache.cdir_copy(root, target) == []
    assert with_scratch(target / "n").read("scratch.npy").size == 1000
    assert runs == ["n", "n"]


def test_a_part_is_completed_by_a_later_copy(tmp_path: Path) -> None:
    root, target = cvcache.cdir(tmp_path / "a"), cvcache.cdir(tmp_path / "b")
    make(root / "make", 3)
    for only in ("*.json", iter(["*.npy"])):
        cvcache.cdir_copy(root, target, only=only)
    assert sorted(item_io.read_rows(snapshot_of(cvcache.cdir_query(target / "make")))) == ["big.npy", "value.json"]
    cvcache.cdir_copy(root, target)
    runs.clear()
    assert make(target / "make", 3).read("value.json") == 3
    assert runs == []


def test_a_damaged_file_is_not_copied(tmp_path: Path) -> None:
    root = cvcache.cdir(tmp_path / "a")
    make(root / "make", 3)
    (tmp_path / "a/make/value.json").write_text("7")
    with pytest.raises(cvcache.ItemDamaged):
        cvcache.cdir_copy(root, "memory://mirror/damaged")
