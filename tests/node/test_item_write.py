"""One write of one item: what it may, until when, and what is left of it."""

from __future__ import annotations

import itertools
import pickle
import signal
import sys
import threading
import time
import traceback
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cvcache import cdir_init, cdir_query, register_format
from cvcache.errors import LeaseLost, UsageError
from cvcache.formats import ItemWrite
from cvcache.node import item_io, snapshot_of
from cvcache.store import MemoryStore

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure


class Parts:
    """A format that puts the parts it is given, and fails if one of them is None; it keeps the write."""

    def __init__(self) -> None:
        self.writes: list[ItemWrite] = []

    def write(self, item: ItemWrite, obj: Any, /) -> dict[str, Any]:
        self.writes.append(item)
        for key, data in obj.items():
            if data is None:
                msg = "no data"
                raise ValueError(msg)
            item.put(data, key)
        return {"kind": "file", "bytes": 0}

    def read(self, item: Any, /) -> dict[str, bytes]:
        return {key: item.get(key) for key in item.find()}

    def describe(self, item: Any, /) -> dict[str, Any]:
        return {"kind": "file", "bytes": sum(info.size for info in item.find().values())}


@pytest.fixture(autouse=True)
def parts() -> Parts:
    module = Parts()
    register_format("parts.dir", module)
    return module


@pytest.fixture(params=["memory", "disk"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://item-write/{uuid.uuid4().hex}" if request.param == "memory" else str(tmp_path / "node")


def test_after_its_end_nobody_writes(url: str, parts: Parts) -> None:
    with cdir_init(url) as node:
        node.write("a.parts.dir", {"x": b"1"})
        with pytest.raises(ValueError, match="no data"):
            node.write("b.parts.dir", {"x": b"1", "y": None})
        for late in parts.writes:
            with pytest.raises(LeaseLost, match="what is left of it is discarded"):
                late.put(b"late", "z")
            with pytest.raises(LeaseLost):
                late.put_parts([b"late"], "z")
    assert cdir_query(url).read("a.parts.dir") == {"x": b"1"}
    assert [item.name for item in cdir_query(url).items()] == ["a.parts.dir"]


def test_a_failed_write_leaves_nothing_and_can_be_repeated(url: str, parts: Parts) -> None:
    with cdir_init(url) as node:
        node.write("a.parts.dir", {"old": b"1"})
        with pytest.raises(ValueError, match="no data"):
            node.write("a.parts.dir", {"new": b"2", "bad": None})
        assert parts.writes[-1].find() == {}
        assert node.items() == []
        node.write("a.parts.dir", {"third": b"3"})
    assert cdir_query(url).read("a.parts.dir") == {"third": b"3"}


def test_ctrl_c_while_a_failed_write_ends_leaves_the_item_free(url: str, parts: Parts) -> None:
    class Slow(Parts):
        def write(self, item: ItemWrite, _: Any, /) -> dict[str, Any]:
            begun = threading.Event()

            def put() -> None:
                with item.writing():
                    begun.set()
                    time.sleep(1)

            threading.Thread(target=put).start()
            begun.wait()
            threading.Timer(0.2, signal.raise_signal, (signal.SIGINT,)).start()
            raise ValueError

    register_format("slow.dir", Slow())
    with cdir_init(url) as node:
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                node.write("a.slow.dir", 1)
        finally:
            signal.signal(signal.SIGINT, handler)
        register_format("slow.dir", parts)
        time.sleep(1)
        node.write("a.slow.dir", {"x": b"1"})
    assert cdir_query(url).read("a.slow.dir") == {"x": b"1"}


def test_what_an_attempt_has_is_told_while_another_thread_writes(url: str) -> None:
    attempt, done = snapshot_of(cdir_init(url)).attempt, threading.Event()
    assert attempt is not None
    names = [f"n{i}.json" for i in range(2000)]

    def write() -> None:
        for i in itertools.takewhile(lambda _: not done.is_set(), itertools.count()):
            attempt.items.pop(f"new{i - 1}", None)
            attempt.item(f"new{i}").own_file = False

    for name in names:
        attempt.item(name).own_file = True
    interval, writer = sys.getswitchinterval(), threading.Thread(target=write)
    sys.setswitchinterval(1e-6)
    try:
        writer.start()
        for _ in range(50):
            assert attempt.own_files == sorted(names)
            assert attempt.rows == {}
            assert attempt.announced == set()
    finally:
        done.set()
        writer.join()
        sys.setswitchinterval(interval)


def test_a_refused_object_leaves_the_earlier_write(url: str) -> None:
    with cdir_init(url) as node:
        node.write("a.parts.dir", {"old": b"1"})
        with pytest.raises(ValueError, match="no data"):
            node.write("a.parts.dir", {"bad": None})
    assert cdir_query(url).read("a.parts.dir") == {"old": b"1"}


def test_a_second_write_leaves_no_part_of_the_first(url: str) -> None:
    with cdir_init(url) as node:
        for data in ({"x": b"1", "y": b"2"}, {"x": b"3"}):
            node.write("a.parts.dir", data)
    assert cdir_query(url).read("a.parts.dir") == {"x": b"3"}


def test_when_others_may_write_too_a_failed_write_is_the_last(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "node") as node:
        Path(node.path("tool.bin")).write_bytes(b"1")
        with pytest.raises(ValueError, match="no data"):
            node.write("a.parts.dir", {"x": b"1", "y": None})
        with pytest.raises(UsageError, match="its last write failed"):
            node.write("a.parts.dir", {"x": b"1"})
        node.write("b.parts.dir", {"x": b"1"})
    assert [item.name for item in cdir_query(tmp_path / "node").items()] == ["b.parts.dir", "tool.bin"]


def test_a_worker_writes_until_the_attempt_has_ended(tmp_path: Path, parts: Parts) -> None:
    url = str(tmp_path / "node")
    node = cdir_init(url)
    node.write("a.parts.dir", {"x": b"1"})
    worker = pickle.loads(pickle.dumps(parts.writes[0]))  # noqa: S301 - the line wrote it
    assert type(worker) is ItemWrite
    worker.put_parts([b"2"], "y")
    cdir_init(url, force=True).write("a.parts.dir", {"x": b"new"})
    for write in (worker, pickle.loads(pickle.dumps(worker))):  # noqa: S301 - the line wrote it
        with pytest.raises(LeaseLost, match="is discarded"):
            write.put_parts([b"3"], "y")


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.npy", "a.parts.dir"])
def test_from_the_line_of_a_user_to_the_store_there_are_named_functions_only(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[list[str]] = []
    put = MemoryStore.put

    def watching(store: MemoryStore, path: str, data: bytes) -> None:
        codes = [frame.f_code for frame, _ in traceback.walk_stack(None) if "cvcache" in frame.f_globals["__name__"]]
        ways.append([code.co_qualname for code in codes])
        put(store, path, data)

    values = {".json": 1, ".csv": pd.DataFrame({"x": [1]}), ".npy": np.ones(3), ".dir": {"x": b"1"}}
    with cdir_init(f"memory://item-write/{uuid.uuid4().hex}") as node:
        monkeypatch.setattr(MemoryStore, "put", watching)
        node.write(name, values[Path(name).suffix])
        monkeypatch.undo()
    announcement, item = ways
    assert announcement[-1] == item[-1] == "CacheDir.write"
    assert not [function for function in announcement + item if "<" in function]


def figure() -> Figure:
    plot = Figure()
    plot.subplots().plot([1, 2])
    return plot


@pytest.mark.parametrize(
    ("name", "drawn", "undrawn"),
    [
        ("a.svg", figure, lambda: "<svg/>"),
        ("a.ome.zarr", lambda: np.ones((4, 4), "uint8"), lambda: np.ones((0, 4), "uint8")),
    ],
)
def test_a_thumbnail_goes_with_its_write(url: str, name: str, drawn: Any, undrawn: Any) -> None:
    with cdir_init(url) as node:
        node.write(name, drawn())
        assert item_io.read_thumbnail(snapshot_of(node), name)
        node.write(name, undrawn())
        assert item_io.read_thumbnail(snapshot_of(node), name) is None
