"""The hazard table of docs/explanation/hazards.md, a section a row, on disk, in memory, on S3 and on GCS.

Around each test lie canaries: files of somebody else, inside the tree and beside it, some with names that a
careless prefix or wildcard would hit. They are read by a channel that is not cvcache, before and after.
An unreadable record, the last row but one, is in protocol/test_record.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import unicodedata
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store.refusing import WRITES, RefusingStore
from store.strangers import ATTEMPT, claim_record, put_record

import cvcache
from cvcache import (
    CacheDir,
    ForeignItem,
    InvalidName,
    ItemDamaged,
    LeaseLost,
    NodeBusy,
    NodeRemoved,
    NotACacheDir,
    NotOpen,
    Policy,
    UsageError,
    cdir,
    cdir_commit,
    cdir_init,
    cdir_query,
    cdir_remove,
    cdir_verify,
    cdir_walk,
)
from cvcache.node import snapshot_of
from cvcache.protocol import this_owner
from cvcache.store import check_item_name, check_node_name, instrument, open_store, resolve_node
from cvcache.testing import WrapperStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.store_cases import BucketCase, LocalCase, StoreCase

pytestmark = pytest.mark.filterwarnings(
    # hypothesis takes what a client's thread, still alive from another test, draws meanwhile for the strategy's
    "ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"
)


class Guard:
    """A root with canaries around it.

    Parameters
    ----------
    case
        Where it lies.
    """

    def __init__(self, case: StoreCase) -> None:
        self.case = case
        self._beside = f"../{case.root}-beside"
        self.canaries = [
            "neighbour/data.csv",
            "neighbour.zarr/0/c/0",
            "node2/a.json",
            "node.txt",
            f"{self._beside}/thesis.txt",
            f"{self._beside}.txt",
        ]
        for name in self.canaries:
            case.put(name, name.encode())
        self._before = case.snapshot()

    def at(self, *names: str) -> CacheDir:
        """Give a handle below the root, whose waits cost no time."""
        return cdir(self.case.child(*names), policy=Policy(sleep=lambda _: None), **self.case.options)

    def put(self, name: str, data: bytes = b"somebody's") -> None:
        """Put one more canary."""
        self.case.put(name, data)
        self._before = self.case.snapshot() if name not in self.canaries else self._before
        self.canaries.append(name)

    def mark(self) -> None:
        """Take what is there now for what must stay."""
        self._before = self.case.snapshot()

    def assert_untouched(self) -> None:
        """Nothing was added, changed or deleted."""
        assert self.case.snapshot() == self._before

    def assert_canaries(self) -> None:
        """All canaries are there, byte for byte."""
        now = self.case.snapshot()
        assert {name: now.get(name) for name in self.canaries} == {name: self._before[name] for name in self.canaries}

    def remove(self) -> None:
        """Take the canaries away again, from a store that outlives the test."""
        for name in self.canaries:
            with contextlib.suppress(KeyError):
                self.case.delete(name)


@pytest.fixture
def guard(store_case: StoreCase) -> Iterator[Guard]:
    guard = Guard(store_case)
    yield guard
    guard.assert_canaries()
    if store_case.kind == "memory":
        guard.remove()


@pytest.fixture
def disk(local_case: LocalCase) -> Iterator[Guard]:
    guard = Guard(local_case)
    yield guard
    guard.assert_canaries()


def compute(node: CacheDir, value: object = 1, name: str = "a.json", **options: Any) -> CacheDir:
    """Open the node, write one item, commit."""
    with cdir_init(node, **options) as opened:
        assert not opened.committed
        opened.write(name, value)
    return opened


EVERY_INIT: dict[str, Callable[[CacheDir], object]] = {
    "init": cdir_init,
    "key": lambda node: cdir_init(node, {"a": 1}),
    "force": lambda node: cdir_init(node, force=True),
    "error": lambda node: cdir_init(node, {"a": 1}, on_stale="error"),
    "new": lambda node: cdir_init(node, {"a": 1}, on_stale="new"),
}
EVERY_REMOVE: dict[str, Callable[[CacheDir], object]] = {
    "remove": cdir_remove,
    "remove all": lambda node: cdir_remove(node, force=True, recursive=True),
}
EVERY_WAY = {**EVERY_INIT, **EVERY_REMOVE}


def assert_refused(node: CacheDir, error: type[Exception], match: str = "nothing was changed") -> None:
    """No way in is open."""
    for way, act in EVERY_WAY.items():
        with pytest.raises(error, match=match) as caught:
            act(node)
        assert node.url in str(caught.value), way


# -- a directory with your data and no log of ours -------------------------------------------------

FOREIGN = [
    "thesis.txt",
    "a/b/c.txt",
    ".bashrc",
    "image.zarr/0/c/0",
    "g[1].txt",
    "_cvcache/readme.txt",
    "_cvcache/log/notes.txt",
    f"_cvcache/log/000002-{ATTEMPT}.json",
]


def test_a_directory_with_your_data_is_refused(guard: Guard) -> None:
    for number, name in enumerate(FOREIGN):
        guard.put(f"node{number}/{name}")
    for number in range(len(FOREIGN)):
        node = guard.at(f"node{number}")
        assert_refused(node, NotACacheDir, "cvcache did not write")
        assert cdir_query(node).state == "absent"
        with pytest.raises(NotOpen):
            node.write("a.json", 1)
    guard.assert_untouched()


def test_a_directory_with_your_data_above_nodes_keeps_both(guard: Guard) -> None:
    """The nodes below are not removed either when the top is refused."""
    compute(guard.at("node", "below"))
    guard.put("node/thesis.txt")
    guard.mark()
    for act in (*EVERY_INIT.values(), EVERY_REMOVE["remove all"]):
        with pytest.raises(NotACacheDir):
            act(guard.at("node"))
    with pytest.raises(UsageError, match="recursive=True"):
        cdir_remove(guard.at("node"))
    guard.assert_untouched()


def test_what_only_leads_to_nodes_may_become_one(guard: Guard) -> None:
    compute(guard.at("node", "deep", "below"))
    assert cdir_query(guard.at("node")).state == cdir_query(guard.at("node", "deep")).state == "absent"
    compute(guard.at("node"))
    assert cdir_query(guard.at("node", "deep", "below")).committed


@pytest.mark.parametrize("left", ["_cvcache/tmp/4711-abc", "_cvcache/probe/abc"])
def test_what_a_crash_before_the_claim_left_is_ours(guard: Guard, left: str) -> None:
    guard.case.put(f"node/{left}", b"half")
    assert compute(guard.at("node")).committed


def test_your_file_that_came_later_is_kept(guard: Guard) -> None:
    """Files put beside the items of a node survive its recompute and its removal."""
    compute(guard.at("node"), {"a": 1}, key={"k": 1})
    guard.put("node/mine.txt")
    guard.put("node/mine.zarr/0/c/0")
    compute(guard.at("node"), 2, key={"k": 2})
    guard.assert_canaries()
    assert cdir_remove(guard.at("node")) == [guard.at("node").url]
    assert "node/a.json" not in guard.case.snapshot()


def test_stray_files_do_no_harm(store_case: StoreCase) -> None:
    root = cdir(store_case.url, **store_case.options)
    compute(root / "n", name="n.json")
    for name in (".gitignore", ".DS_Store", "n/.DS_Store", "n/Thumbs.db"):
        store_case.put(name, b"stray")
    assert cdir_query(root / "n").read("n.json") == 1
    assert compute(root / "n", 2, "n.json", force=True).read("n.json") == 2
    assert compute(root / "m").committed
    assert cdir_verify(root) == []
    assert store_case.read("n/.DS_Store") == b"stray"


def test_your_file_where_an_item_goes_is_kept(guard: Guard) -> None:
    with cdir_init(guard.at("node")) as node:
        guard.put("node/a.json")
        guard.put("node/b.ome.zarr/0/c/0")
        guard.put("node/d.ome.zarr/zarr.json")
        pixels = np.zeros((4, 4), "u1")
        for name, value in (("a.json", 1), ("b.ome.zarr", pixels), ("d.ome.zarr", pixels)):
            with pytest.raises(ForeignItem, match="give the item another name"):
                node.write(name, value)
        for name in ("a.json", "b.ome.zarr", "d.ome.zarr"):
            with pytest.raises(ForeignItem):
                node.path(name)
            with pytest.raises(ForeignItem), node.open(name, "wb"):
                pass
        node.write("c.json", 3)
    assert [item.name for item in cdir_query(guard.at("node")).items()] == ["c.json"]
    compute(guard.at("node"), 4, "c.json", force=True)
    guard.assert_canaries()
    assert [item.name for item in cdir_query(guard.at("node")).items()] == ["c.json"]


# -- an empty directory ----------------------------------------------------------------------------


def test_an_empty_directory_is_used(disk: Guard) -> None:
    Path(disk.case.child("node")).mkdir()
    assert compute(disk.at("node")).committed


@pytest.mark.parametrize("marker", ["node/", "node/.gcs_placeholder"])
@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.server
def test_an_empty_prefix_with_a_marker_is_used(kind: str, marker: str, request: pytest.FixtureRequest) -> None:
    guard = Guard(request.getfixturevalue(f"{kind}_case"))
    guard.put(marker, b"")
    assert compute(guard.at("node")).committed
    cdir_remove(guard.at("node"))
    guard.assert_canaries()


@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.server
def test_a_marker_with_content_is_no_marker(kind: str, request: pytest.FixtureRequest) -> None:
    guard = Guard(request.getfixturevalue(f"{kind}_case"))
    guard.put("node/.gcs_placeholder", b"content")
    assert_refused(guard.at("node"), NotACacheDir)
    guard.assert_untouched()


# -- an empty name, ., ~, /, a drive, a mount point, the current or home directory or one above -----------


@pytest.fixture
def home(disk: Guard, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make one directory the current and another the home."""
    top = Path(disk.case.url)
    for name in ("home/me", "work/here"):
        (top / name).mkdir(parents=True)
    monkeypatch.chdir(top / "work/here")
    monkeypatch.setenv("HOME", str(top / "home/me"))
    disk.mark()
    return top


@pytest.mark.parametrize(
    "spelling",
    ["", ".", "./", "..", "~", "~/", "/", "//", "C:\\", "C:/x", "file://", "file:///", "file:/run", "s3:/bucket/run",
     "/proc", "{top}", "{top}/work",
     "{top}/work/here", "{top}/home", "{top}/home/me", "{top}/home/me/", "{top}/work/here/../.."],
)  # fmt: skip
def test_a_place_that_is_more_than_a_directory_is_refused(disk: Guard, home: Path, spelling: str) -> None:
    url = spelling.format(top=home)
    for act in (cdir, cdir_init, cdir_query, cdir_remove):
        with pytest.raises(InvalidName):
            act(url)
    disk.assert_untouched()


@pytest.mark.usefixtures("home")
def test_a_url_of_an_unknown_kind_never_becomes_a_directory(disk: Guard) -> None:
    for act in (cdir_init, cdir_query, cdir_remove):
        with pytest.raises(InvalidName, match="unknown kind of URL"):
            act("s4://bucket/run")
    disk.assert_untouched()


def test_below_the_home_is_allowed(disk: Guard, home: Path) -> None:
    assert cdir("~/cache").url == f"{home}/home/me/cache"
    assert cdir("cache").url == f"{home}/work/here/cache"
    assert cdir(Path("cache")) == cdir("./cache")
    disk.assert_untouched()


# -- a bucket's root -------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["s3://", "s3://b", "s3://b/", "gs://", "gs://b", "memory://", "memory:///"])
def test_the_root_of_a_store_is_refused(url: str) -> None:
    for act in (cdir, cdir_init, cdir_query, cdir_remove):
        with pytest.raises(InvalidName, match="root of a store"):
            act(url)


def test_a_bucket_is_neither_emptied_nor_created(s3_case: BucketCase) -> None:
    s3_case.put("../thesis.txt", b"years of work")
    before = s3_case.snapshot()
    with pytest.raises(InvalidName, match="root of a store"):
        cdir(f"s3://{s3_case.bucket}", **s3_case.options)
    mistyped = cdir(f"s3://{s3_case.bucket}-mistyped/run", **s3_case.options)
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            cdir_init(mistyped)
    assert s3_case.snapshot() == before


# -- a trailing slash, a//b, a backslash -----------------------------------------------------------


def test_a_trailing_slash_is_the_same_node(guard: Guard) -> None:
    url = guard.case.child("node")
    compute(cdir(url + "/", **guard.case.options))
    assert cdir(url + "//", **guard.case.options) == guard.at("node")
    assert cvcache.cdir_query(guard.at("node")).committed


def test_a_spelling_that_stores_read_differently_is_refused(guard: Guard) -> None:
    top = cdir_init(guard.at("node"))
    guard.mark()
    for name in ("a//b", "a\\b", "a\\", "\\", "a/./b", "a/../b", "..", "../beside", "a/../../b", "a#b/..", "/etc"):
        for act in (cdir, cdir_init, cdir_query, cdir_remove):
            with pytest.raises(InvalidName):
                act(f"{guard.case.url}/{name}/x")
        with pytest.raises(InvalidName):
            guard.at() / name
        with pytest.raises(InvalidName):
            top.write(f"{name}/x.json", 1)
    guard.assert_untouched()


def test_two_slashes_in_front_are_one(disk: Guard) -> None:
    assert cdir(f"/{disk.case.url}") == disk.at()


# -- .., absolute and drive-like names, control characters, spaces at an end, device names -----------------


BAD = [
    "",
    ".",
    "..",
    "/abs",
    "/",
    "C:",
    "C:x",
    "a\0b",
    "a\nb",
    "a\x1b[2J",
    " a",
    "a ",
    "a.",
    "con",
    "NUL.txt",
    "COM1",
    "a\udc80",
]


def test_a_name_that_no_store_surely_keeps_is_refused(guard: Guard) -> None:
    top = cdir_init(guard.at("node"))
    guard.mark()
    for name in BAD:
        for act in (
            lambda name: top / name,
            lambda name: top[name],
            lambda name: top.write(name, 1),
            lambda name: top.open(name, "wb"),
            top.path,
            top.read,
        ):
            with pytest.raises(InvalidName):
                act(name)
    guard.assert_untouched()


# -- a symbolic link -------------------------------------------------------------------------------


def link(disk: Guard, name: str, target: str) -> Path:
    path = Path(disk.case.child(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(disk.case.child(target) if not target.startswith("..") else Path(disk.case.url).parent / target[3:])
    disk.canaries.append(name)
    disk.mark()
    return path


@pytest.mark.parametrize("target", ["neighbour", "node2/a.json", "nowhere", "empty"])
def test_a_link_in_place_of_a_node_is_refused(disk: Guard, target: str) -> None:
    Path(disk.case.child("empty")).mkdir()
    link(disk, "node", target)
    assert_refused(disk.at("node"), NotACacheDir, "a link")
    disk.assert_untouched()


def test_a_link_to_a_node_is_refused(disk: Guard) -> None:
    """Two names of one node would be two nodes to everybody who compares names."""
    compute(disk.at("real"))
    link(disk, "node", "real")
    assert_refused(disk.at("node"), NotACacheDir)
    disk.assert_untouched()


def test_a_link_put_in_place_of_a_node_that_was_read_is_read_at_most(disk: Guard) -> None:
    """Somebody moved a result to another disk while the program ran, and left a link."""
    compute(disk.at("node"), key={"k": 1})
    assert cdir_init(disk.at("node"), {"k": 1}).committed
    node = Path(disk.case.child("node"))
    node.rename(disk.case.child("moved"))
    node.symlink_to(disk.case.child("moved"))
    disk.mark()
    with contextlib.suppress(NotACacheDir):
        assert cdir_init(disk.at("node"), {"k": 1}).committed
    for write in (lambda: cdir_init(disk.at("node"), {"k": 2}), lambda: cdir_remove(disk.at("node"))):
        with pytest.raises(NotACacheDir):
            write()
    disk.assert_untouched()


def test_a_link_above_a_node_is_resolved_when_a_path_is_given(disk: Guard) -> None:
    Path(disk.case.child("real")).mkdir()
    link(disk, "alias", "real")
    compute(disk.at("alias", "node"))
    assert disk.at("alias", "node") == disk.at("real", "node")


def test_a_link_above_a_node_is_refused_when_a_handle_leads_through_it(disk: Guard) -> None:
    top = disk.at("tree")
    compute(top)
    link(disk, "tree/alias", "neighbour")
    assert_refused(top / "alias" / "node", NotACacheDir)
    disk.assert_untouched()


@pytest.mark.parametrize("again", [lambda node: compute(node, 2, key={"k": 2}), cdir_remove], ids=["next", "remove"])
def test_a_link_inside_an_item_is_never_followed(disk: Guard, again: Callable[[CacheDir], object]) -> None:
    with cdir_init(disk.at("node"), {"k": 1}) as node:
        node.write("x.ome.zarr", np.ones((4, 4), "u1"))
    links = [Path(node["x.ome.zarr"], name) for name in ("linked", "linked.csv")]
    for path, target in zip(links, ("neighbour", "neighbour/data.csv"), strict=True):
        path.symlink_to(Path(disk.case.child(target)))
    again(disk.at("node"))
    disk.assert_canaries()
    assert all(map(os.path.lexists, links))


@pytest.mark.parametrize("again", [lambda node: compute(node, 2, key={"k": 2}), cdir_remove], ids=["next", "remove"])
def test_what_a_file_browser_leaves_in_an_image_goes_with_it(disk: Guard, again: Callable[[CacheDir], object]) -> None:
    with cdir_init(disk.at("node"), {"k": 1}) as node:
        node.write("x.ome.zarr", np.ones((4, 4), "u1"))
    Path(node["x.ome.zarr"], "0", ".DS_Store").write_bytes(b"x" * 6148)
    again(disk.at("node"))
    assert not os.path.lexists(node["x.ome.zarr"])


def test_a_link_in_place_of_an_item_is_never_followed(disk: Guard) -> None:
    """Somebody moved a large image to another disk and left a link: the image is his."""
    with cdir_init(disk.at("node"), {"k": 1}) as node:
        node.write("x.ome.zarr", np.ones((4, 4), "u1"))
        node.write("a.json", 1)
    item, moved = Path(node["x.ome.zarr"]), Path(disk.case.child("moved"))
    item.rename(moved)
    item.symlink_to(moved)
    disk.canaries += [name for name in disk.case.snapshot() if name.startswith("moved/")]
    disk.mark()
    assert np.asarray(disk.at("node").read("x.ome.zarr")).sum() == 16
    compute(disk.at("node"), 2, key={"k": 2})
    disk.assert_canaries()
    cdir_remove(disk.at("node"))


def test_a_linked_item_is_not_read(local_case: LocalCase) -> None:
    with cdir_init(local_case.url) as node:
        node.write("a.txt", "mine")
    item = local_case.path / "a.txt"
    item.unlink()
    item.symlink_to("/etc/hostname")
    with pytest.raises(ItemDamaged):
        cdir(local_case.url).read("a.txt")


def test_a_link_is_no_child(disk: Guard) -> None:
    compute(disk.at("node"))
    link(disk, "node/child", "neighbour")
    assert disk.at("node").children() == []
    assert [node.name for node in cdir_walk(disk.at("node"))] == ["node"]


def test_a_linked_log_does_not_lead_to_another_node(local_case: LocalCase) -> None:
    victim, evil = local_case.path / "victim", local_case.path / "evil"
    with cdir_init(victim) as node:
        node.write("a.json", 1)
    evil.mkdir()
    (evil / "_cvcache").symlink_to(victim / "_cvcache")
    with pytest.raises(NotACacheDir):
        cdir_remove(evil)
    with pytest.raises(NotACacheDir):
        cdir_init(evil, {"k": 2})
    assert cdir_query(victim).read("a.json") == 1


# -- a file in place of a node ---------------------------------------------------------------------


def test_a_file_in_place_of_a_node_is_refused(guard: Guard) -> None:
    assert_refused(guard.at("node.txt"), NotACacheDir, "a file")
    guard.assert_untouched()


def test_a_file_beside_objects_below_it_is_refused(guard: Guard) -> None:
    """In a bucket both can be."""
    if guard.case.kind == "local":
        pytest.skip("a disk keeps no directory beside a file of the same name")
    guard.put("node/_cvcache/tmp/x")
    guard.put("node")
    assert_refused(guard.at("node"), NotACacheDir)
    guard.assert_untouched()


def test_a_path_through_a_file_is_refused(disk: Guard) -> None:
    for options in ({}, {"force": True}, {"key": {"a": 1}}):
        with pytest.raises(NotACacheDir, match=r"node\.txt"):
            cdir_init(disk.at("node.txt", "below"), **options)
    disk.assert_untouched()


def test_a_directory_in_place_of_an_item_is_kept(disk: Guard) -> None:
    compute(disk.at("node"), key={"k": 1})
    Path(disk.case.child("node", "a.json")).unlink()
    disk.put("node/a.json/mine.txt")
    with cdir_init(disk.at("node"), {"k": 2}) as node:
        node.write("a.json", 2)


def test_a_file_in_place_of_a_directory_item_is_kept(disk: Guard) -> None:
    with cdir_init(disk.at("node"), {"k": 1}) as node:
        node.write("x.ome.zarr", np.ones((4, 4), "u1"))
    item = Path(node["x.ome.zarr"])
    item.rename(disk.case.child("aside"))
    disk.put("node/x.ome.zarr")
    with cdir_init(disk.at("node"), {"k": 2}) as node:
        node.write("x.ome.zarr", np.ones((4, 4), "u1"))


@pytest.mark.parametrize("key", ["c/1/1", "labels/mine/zarr.json"])
def test_what_somebody_put_into_an_image_is_kept_with_it(
    disk: Guard, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    with cdir_init(disk.at("node"), {"k": 1}) as node:
        node.write("x.ome.zarr", np.ones((4, 4), "u1"))
    disk.put(f"node/x.ome.zarr/{key}")
    with cdir_init(disk.at("node"), {"k": 2}) as node:
        node.write("x.ome.zarr", np.ones((4, 4), "u1"))
    assert "x.ome.zarr is not as it was committed: it was not deleted; move it away" in caplog.text


def test_a_correction_by_hand_is_kept(disk: Guard, caplog: pytest.LogCaptureFixture) -> None:
    compute(disk.at("node"), key={"k": 1})
    disk.put("node/a.json")
    with cdir_init(disk.at("node"), {"k": 2}) as node:
        node.write("a.json", 2)
    assert "a.json is not as it was committed: it was not deleted; move it away" in caplog.text


# -- other scripts, spaces, %, #, +, & -------------------------------------------------------------

ODD = [
    "two words",
    "\u7d30\u80de",
    "100%",
    "%20",
    "a#1",
    "a+b",
    "a&b=c",
    "\u00fc",
    "a@b",
    "it's",
    "a;b",
    "$HOME",
    "~",
    "-rf",
    "a#b",
    "100% & more",
    "\u00e4+\u00f6",
]


def test_odd_names_come_back_byte_for_byte(guard: Guard) -> None:
    for name in ODD:
        compute(guard.at(name), {"of": name}, f"{name}.json")
        assert guard.case.read(f"{name}/{name}.json")
        assert guard.at(name).read(f"{name}.json") == {"of": name}
    assert set(ODD) <= {node.name for node in guard.at().children()}
    for name in ODD:
        cdir_remove(guard.at(name))
    assert not {f"{name}/{name}.json" for name in ODD} & guard.case.snapshot().keys()


accepted = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)


def _is_accepted(name: str) -> bool:
    try:
        return check_node_name(name) == name == check_item_name(name)
    except InvalidName:
        return False


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    names=st.sets(accepted.map(lambda n: unicodedata.normalize("NFC", n)).filter(_is_accepted), min_size=5, max_size=12)
)
def test_every_accepted_name_comes_back_byte_for_byte(store_case: StoreCase, names: set[str]) -> None:
    scheme, path, _ = resolve_node(store_case.url)
    store = open_store(scheme, path, store_case.options)
    for name in names:
        store.put(f"{path}/{name}", name.encode())
    assert set(store.list(path).files) == names
    assert {name: store_case.read(name) for name in names} == {name: name.encode() for name in names}
    store.delete([f"{path}/{name}" for name in names])
    assert not store.list(path).files


@pytest.mark.parametrize("act", ["write", "open", "path"])
def test_an_item_has_one_spelling_in_unicode(guard: Guard, act: str) -> None:
    """Two ways to type one name are one item, under the composed name."""
    typed, settled = "u\u0308.json", "\u00fc.json"
    with cdir_init(guard.at("node")) as node:
        if act == "write":
            assert node.write(typed, 1).name == settled
        elif act == "open":
            with node.open(typed, "wb") as file:
                file.write(b"1")
        else:
            assert node.path(typed).endswith(settled)
            guard.case.put(f"node/{settled}", b"1")
    node = cdir_query(guard.at("node"))
    assert [item.name for item in node.items()] == [settled]
    assert typed in node
    assert node.read(typed) == node.read(settled) == node[typed].read() == 1
    with node.open(typed) as file:
        assert file.read().strip() == b"1"


# -- a sibling that differs only by case or composition --------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"), [("Blur", "blur"), ("stra\u00dfe", "STRASSE"), ("\u00dcber", "\u00fcber")]
)
def test_a_sibling_that_differs_only_by_case_is_refused(guard: Guard, first: str, second: str) -> None:
    compute(guard.at("tree", first))
    guard.mark()
    with pytest.raises(InvalidName, match="differs from its sibling"):
        cdir_init(guard.at("tree", second))
    guard.assert_untouched()
    assert cvcache.cdir_query(guard.at("tree", first)).committed


def test_a_sibling_that_differs_only_by_composition_is_refused(guard: Guard) -> None:
    guard.put("tree/u\u0308/mine.txt")
    with pytest.raises(InvalidName, match="differs from its sibling"):
        cdir_init(guard.at("tree", "\u00fc"))
    guard.assert_untouched()


# -- wildcards -------------------------------------------------------------------------------------


def test_a_wildcard_in_a_node_name_is_refused(guard: Guard) -> None:
    for name in ("a*", "?", "a?b", "g[1]", "{a,b}", "**"):
        for act in (
            lambda name: guard.at() / name,
            lambda name: cdir_init(guard.case.child(name)),
            lambda name: cdir_remove(guard.case.child(name)),
        ):
            with pytest.raises(InvalidName, match="wildcard"):
                act(name)
    guard.assert_untouched()


def test_items_with_wildcards_are_deleted_by_exact_name(guard: Guard) -> None:
    names = ["g[1].json", "g?.json", "*.json", "[!a].json"]
    for again in (lambda: compute(guard.at("node"), 2, "z.json", key={"k": 2}), lambda: cdir_remove(guard.at("node"))):
        with cdir_init(guard.at("node"), {"k": 1}) as node:
            for name in names:
                node.write(name, name)
        for mine in ("g1.json", "gx.json", "b.json"):
            guard.put(f"node/{mine}")
        again()
        assert not {f"node/{name}" for name in names} & guard.case.snapshot().keys()
        guard.assert_canaries()


# -- too long --------------------------------------------------------------------------------------


def test_a_long_name_is_refused_before_anything_is_written(guard: Guard) -> None:
    node = guard.at()
    for name in ("x" * 201, "\u00fc" * 101):
        with pytest.raises(InvalidName, match="200 bytes"):
            node / name
    for _ in range(3):
        node /= "x" * 200
    with pytest.raises(InvalidName, match="over 900"):
        node / "/".join(["y" * 150] * 4)
    guard.assert_untouched()


def test_the_longest_name_works(guard: Guard) -> None:
    name = "x" * 200
    assert compute(guard.at(name), 1, "y" * 195 + ".json").committed
    assert guard.at(name).read("y" * 195 + ".json") == 1


# -- _cvcache, or a place inside an item -----------------------------------------------------------


def test_a_place_that_is_not_a_nodes_is_refused(guard: Guard) -> None:
    compute(guard.at("node"))
    guard.mark()
    for name in ("_cvcache", "_CVCACHE", "x.zarr", "x.ome.zarr", "x.dir"):
        for act in (
            lambda name: guard.at("node") / name,
            lambda name: guard.at("node", name),
            lambda name: guard.at("node", name, "below"),
            lambda name: guard.at("node") / f"{name}/below",
        ):
            with pytest.raises(InvalidName):
                act(name)
    guard.assert_untouched()


# -- children of a parent that fails, dies, or is computed again -----------------------------------


def with_children(guard: Guard, parent: CacheDir) -> None:
    for name in ("child", "deep/er"):
        compute(parent / name, name, key={"own": name})
    guard.canaries += [name for name in guard.case.snapshot() if name.startswith(("node/child/", "node/deep/"))]
    guard.mark()


def test_children_survive_the_failure_of_their_parent(guard: Guard) -> None:
    def step() -> None:
        with cdir_init(guard.at("node")) as parent:
            parent.write("a.json", 1)
            with_children(guard, parent)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        step()
    assert guard.at("node").state == "failed"
    for options in ({}, {"key": {"a": 2}}, {"force": True}):
        compute(guard.at("node"), 2, **options)
        guard.assert_canaries()
        assert cdir_query(guard.at("node", "child")).read("a.json") == "child"


def test_children_survive_the_death_of_their_parent(guard: Guard) -> None:
    """Its leftovers go, announced ones only, and never below a child."""
    dead = dataclasses.replace(this_owner(), pid=2**22 + 1)
    put_record(guard.case, claim_record(owner=dead), "node")
    for item in ("a.json", "child.json", "x.ome.zarr"):
        guard.case.put(f"node/_cvcache/writing/{ATTEMPT}/{item}.json", b"{}")
    guard.case.put("node/a.json", b"half")
    guard.case.put("node/x.ome.zarr/0/c/0", b"half")
    guard.put("node/child.txt")
    with_children(guard, guard.at("node"))
    compute(guard.at("node"), 2, "b.json")
    assert cdir_init(guard.at("node", "child"), {"own": "child"}).committed
    left = guard.case.snapshot()
    assert "node/a.json" not in left
    assert "node/x.ome.zarr/0/c/0" not in left


def test_a_forged_announcement_reaches_nothing(guard: Guard) -> None:
    """Who can write beside the log cannot make a recompute delete beyond the node's own items."""
    dead = dataclasses.replace(this_owner(), pid=2**22 + 1)
    put_record(guard.case, claim_record(owner=dead), "node")
    with_children(guard, guard.at("node"))
    forged = ["child/a.json", "child/_cvcache/log/000001-root.json", "child", "_cvcache", ""]
    if guard.case.kind != "local":
        forged += ["../node2/a.json", "..", "../node"]
    for name in forged:
        guard.case.put(f"node/_cvcache/writing/{ATTEMPT}/{name}.json", b"{}")
    compute(guard.at("node"), 2, "b.json")
    guard.assert_canaries()


def test_children_survive_the_recompute_of_their_parent(guard: Guard) -> None:
    compute(guard.at("node"), 1, key={"k": 1})
    with_children(guard, guard.at("node"))
    compute(guard.at("node"), 2, key={"k": 2})
    compute(guard.at("node"), 3, key={"k": 2}, force=True)
    guard.assert_canaries()
    assert guard.at("node").read("a.json") == 3


# -- a child opened after its parent was committed -------------------------------------------------


def test_a_child_after_the_commit_is_no_part_of_it(guard: Guard) -> None:
    parent = compute(guard.at("node"))
    record = {name: mark for name, mark in guard.case.snapshot().items() if name.startswith("node/")}
    compute(guard.at("node", "child"))
    assert {name: mark for name, mark in guard.case.snapshot().items() if name in record} == record
    assert cdir_query(guard.at("node")).commit == parent.commit
    assert [item.name for item in guard.at("node").items()] == ["a.json"]


def test_a_complete_parent_is_no_proof_that_its_children_are(guard: Guard) -> None:
    with cdir_init(guard.at("node")) as top:
        child = cdir_init(top / "child")
    assert cdir_query(top).committed
    assert (cdir_query(child).committed, cdir_query(child).state) == (False, "running")
    cdir_commit(child)
    assert cdir_query(child).committed


# -- nested roots ----------------------------------------------------------------------------------


def test_a_node_with_nodes_below_is_not_removed_by_accident(guard: Guard) -> None:
    for names in (("node",), ("node", "inner"), ("node", "folder", "root")):
        compute(guard.at(*names))
    guard.mark()
    with pytest.raises(UsageError, match="recursive=True") as caught:
        cdir_remove(guard.at("node"))
    assert guard.at("node", "inner").url in str(caught.value)
    assert guard.at("node", "folder", "root").url in str(caught.value)
    guard.assert_untouched()
    removed = cdir_remove(guard.at("node"), recursive=True)
    assert removed[-1] == guard.at("node").url
    assert set(removed) == {
        guard.at(*names).url for names in (("node",), ("node", "inner"), ("node", "folder", "root"))
    }
    assert not any(name.endswith("/a.json") for name in guard.case.snapshot() if name.startswith("node/"))


# -- a node in use ---------------------------------------------------------------------------------


def test_a_node_in_use_is_not_removed(guard: Guard) -> None:
    """Nor are the nodes beside it, of one call."""
    for names in (("node",), ("node", "idle"), ("node", "idle", "deeper")):
        compute(guard.at(*names))
    put_record(guard.case, claim_record(), "node/busy")
    guard.mark()
    for options in ({"recursive": True}, {"recursive": False}):
        with pytest.raises((NodeBusy, UsageError)):
            cdir_remove(guard.at("node"), **options)
    with pytest.raises(NodeBusy, match="4711 on elsewhere"):
        cdir_remove(guard.at("node", "busy"))
    guard.assert_untouched()
    assert len(cdir_remove(guard.at("node"), recursive=True, force=True)) == 4


def test_a_forced_removal_fences_the_owner(guard: Guard) -> None:
    opened, go_on = threading.Event(), threading.Event()
    caught: list[BaseException] = []

    def owner() -> None:
        try:
            with cdir_init(guard.at("node")) as node:
                node.write("a.json", 1)
                opened.set()
                go_on.wait(30)
                node.write("b.json", 2)
        except LeaseLost as error:
            caught.append(error)

    thread = threading.Thread(target=owner)
    thread.start()
    assert opened.wait(30)
    with pytest.raises(NodeBusy):
        cdir_remove(guard.at("node"))
    assert cdir_remove(guard.at("node"), force=True) == [guard.at("node").url]
    go_on.set()
    thread.join()
    assert [type(error) for error in caught] == [LeaseLost]
    assert not {"node/a.json", "node/b.json"} & guard.case.snapshot().keys()


# -- a removal while somebody reads, or opens ------------------------------------------------------


def test_a_reader_of_a_removed_node_gets_no_zeros(guard: Guard) -> None:
    with cdir_init(guard.at("node")) as node:
        node.write("a.json", 1)
        node.write("x.ome.zarr", np.ones((64, 64), "u2"))
    reader = cdir_query(guard.at("node"))
    lazy = reader.read("x.ome.zarr")
    cdir_remove(guard.at("node"))
    with pytest.raises(NodeRemoved, match="was removed after this handle was opened"):
        reader.read("a.json")
    with pytest.raises(NodeRemoved):
        reader.read("x.ome.zarr")
    if not isinstance(lazy, np.ndarray):
        with pytest.raises(NodeRemoved):
            np.asarray(lazy)
    assert cdir_query(guard.at("node")).state == "absent"


class _Meanwhile(WrapperStore):
    """Lets somebody else act just before the first record is put."""

    def __init__(self, store: Any, act: Callable[[], object]) -> None:
        super().__init__(store)
        self.acts = [act]

    def put_new(self, path: str, data: bytes) -> bool:
        if self.acts:
            self.acts.pop()()
        return super().put_new(path, data)


def _meanwhile(act: Callable[[], object]) -> instrument:
    acts = [act]
    return instrument(lambda store: _Meanwhile(store, acts.pop()) if acts else store)


def test_a_removal_before_an_open_wins_or_loses_whole(guard: Guard) -> None:
    compute(guard.at("node"), 1, key={"k": 1})
    other = cvcache.cdir_query(guard.at("node"))
    with _meanwhile(lambda: cdir_remove(other)):
        node = cdir_init(guard.at("node"), {"k": 2})
    with node:
        node.write("a.json", 2)
    assert node.reason == ("the node was removed",)
    assert guard.at("node").read("a.json") == 2


def test_an_open_before_a_removal_wins_or_loses_whole(guard: Guard) -> None:
    """The remover looked at a committed node; by the time it acts another owner has it."""
    compute(guard.at("node"), 1, key={"k": 1})

    def another_machine() -> None:
        newest = snapshot_of(cdir_query(guard.at("node"))).record
        assert newest is not None
        put_record(guard.case, claim_record(seq=newest.seq + 1, after=newest.attempt, attempt="c" * 16), "node")

    with _meanwhile(another_machine), pytest.raises(NodeBusy):
        cdir_remove(guard.at("node"))
    assert "node/a.json" in guard.case.snapshot()


# -- no right to read or write; a store that fails -------------------------------------------------


def test_a_store_that_can_only_be_read_is_read(guard: Guard) -> None:
    compute(guard.at("node"))
    guard.mark()
    with instrument(lambda store: RefusingStore(store, WRITES, PermissionError)):
        assert cdir_query(guard.at("node")).read("a.json") == 1
        assert cdir_init(guard.at("node")).committed
        assert cdir_query(guard.at("absent")).state == "absent"
        for act in (
            lambda: cdir_init(guard.at("absent")),
            lambda: cdir_init(guard.at("node"), force=True),
            lambda: cdir_remove(guard.at("node")),
        ):
            with pytest.raises(PermissionError):
                act()
    guard.assert_untouched()


LOOKS = [("list", "node"), ("get", "node"), ("list", "absent"), ("stat", "absent"), ("find", "started")]
"""A verb, and a node that cannot be judged without it."""


@pytest.mark.parametrize("error", [PermissionError, ConnectionResetError], ids=lambda error: error.__name__)
def test_a_failure_is_never_taken_for_absent(guard: Guard, error: type[OSError]) -> None:
    """Only the store itself can say that a thing is not there."""
    compute(guard.at("node"))
    guard.case.put("started/_cvcache/tmp/x", b"")
    guard.mark()
    for verb, name in LOOKS:
        acts: list[Callable[[CacheDir], object]] = [cdir_init, cdir_remove]
        if verb in {"list", "get"}:
            acts.append(cdir_query)
        with instrument(partial(RefusingStore, verbs=[verb], fail=error)):
            for act in acts:
                with pytest.raises(error, match=name):
                    act(guard.at(name))
    guard.assert_untouched()
