"""A half written image is gone on with: nothing but what was in flight is computed twice, and the result is the same.

What was in flight
------------------
A task of the write gets `group` blocks of the source and puts all objects made of them. A block counts as computed as
soon as its function is called; it is kept if its task has put all of its objects.

* dask's threads: at most `workers` tasks are under way. A task that becomes ready is the next to be run, and the end
  of one task makes one other ready at most, so none is ready and waits. What was begun and is not kept belongs to a
  write with a task under way (at most `workers` of them), or to the one write whose blocks are not all begun yet
  (at most `group` - 1 more). That makes ``workers * group + group - 1``: with one block a task, one per thread.
* dask's processes: a worker is handed 6 tasks at once (``chunksize`` of `dask.multiprocessing.get`), and goes on with
  them when the process that waits for them is gone. What it then computes may come too late to be found by the next
  attempt. That makes ``workers * 6``, with one block a task.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import resume_worker
from processes.figures import Figures
from resume_worker import BLOCKS, COUNTER, FAULT, ITEM, NAP
from servers.missing import unavailable

import cvcache
from cvcache import cdir, cdir_init, cdir_query
from cvcache.errors import ForeignItem
from cvcache.node import address_of, snapshot_of
from cvcache.protocol import Record, load_record
from cvcache.store import IN_PLACE, attempt_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from servers.store_cases import StoreCase

TRIALS, KILLS = 1, 2
LONG_TRIALS, LONG_KILLS = 5, 4
MOST = 45
"""Blocks a run may compute before it is killed: after `LONG_KILLS` of them some are always left."""
WORKERS = 2
BATCH = 6
"""Tasks that dask hands to a process at once."""
PATIENCE = 60.0
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
SHARDS = {"shards": [2, 128, 128]}


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to write the image.

    Attributes
    ----------
    arguments
        Of `resume_worker.work`.
    lost
        How many blocks one kill may cost.
    plain
        Whether the next attempt takes the plain path.
    store
        Where the node lies.
    prefix
        What the program is started with.
    """

    arguments: dict[str, Any]
    lost: int
    plain: bool = True
    store: str = "local"
    prefix: tuple[str, ...] = ()


WAYS = {
    "plain": Way({}, WORKERS),
    "four objects a block": Way({"chunk": [2, 128, 128]}, WORKERS),
    "shards": Way({"write": SHARDS}, WORKERS * 4 + 3),
    # as delivered: a task gathers blocks until it holds 8 MiB, here 32 of them
    "large tasks": Way({"chunk": [2, 256, 256], "block_bytes": None}, WORKERS * 32 + 31),
    "processes": Way({"scheduler": "processes"}, WORKERS * BATCH, plain=False),
    "s3": Way({}, WORKERS, store="s3"),
    "another machine": Way({"policy": {"ttl": 1.5, "request_timeout": 0.5}}, WORKERS, plain=False, prefix=UNSHARE),
}
SERVER = {"s3": [pytest.mark.server]}


def _cases() -> Iterator[Any]:
    for name, way in WAYS.items():
        marks = SERVER.get(way.store, [])
        yield pytest.param(way, TRIALS, KILLS, marks=marks, id=name)
        yield pytest.param(
            way,
            LONG_TRIALS,
            LONG_KILLS,
            marks=[*marks, pytest.mark.long, pytest.mark.timeout(1800)],
            id=f"{name}, {LONG_TRIALS} trials",
        )


@pytest.mark.parametrize(("way", "trials", "kills"), list(_cases()))
def test_what_is_killed_is_gone_on_with(
    way: Way,
    trials: int,
    kills: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    if way.prefix:
        _check_unshare()
    case: StoreCase = request.getfixturevalue(f"{way.store}_case")
    figures = Figures(f"kill -9 of an image of {BLOCKS} blocks, {request.node.callspec.id}", record_property)
    chance = random.Random(trials)
    reference = _undisturbed(case, way, tmp_path)
    for number in range(trials):
        name, counter = f"node-{number}", Counter(tmp_path / f"count-{number}")
        with contextlib.ExitStack() as runs:
            for _ in range(kills):
                run = runs.enter_context(_run(case, name, way, counter))
                _kill(run, counter, chance)
            last = runs.enter_context(_run(case, name, way, counter))
            assert last.wait(PATIENCE) == 0, last.stderr_text()
        figures.add("trials").add("kills", kills).add("computed twice", counter.count() - BLOCKS)
        assert set(counter.blocks()) == set(reference.blocks)
        assert counter.count() <= BLOCKS + kills * way.lost
        _check_result(case, name, way, reference, kills)
    figures.add("allowed to be computed twice", trials * kills * way.lost).tell()


@dataclasses.dataclass(frozen=True)
class Reference:
    """What an undisturbed write leaves."""

    objects: dict[str, str]
    pixels: np.ndarray
    blocks: tuple[str, ...]


def _undisturbed(case: StoreCase, way: Way, folder: Path) -> Reference:
    counter = Counter(folder / "count-reference")
    with _run(case, "reference", way, counter) as run:
        assert run.wait(PATIENCE) == 0, run.stderr_text()
    assert counter.count() == len(set(counter.blocks())) == BLOCKS
    pixels = cdir_query(case.child("reference"), **case.options).read(ITEM).compute()
    return Reference(_objects(case, f"reference/{ITEM}"), pixels, tuple(counter.blocks()))


def _kill(run: Run, counter: Counter, chance: random.Random) -> None:
    """Kill a run at random: between its first sign of life and its `MOST`th block."""
    before, blocks = counter.count(), chance.randint(0, MOST)
    run.wait_until(lambda: run.begun() and counter.count() - before >= blocks)
    time.sleep(chance.uniform(0, 0.02))
    run.kill()


def _check_result(case: StoreCase, name: str, way: Way, reference: Reference, kills: int) -> None:
    url = case.child(name)
    records = _records(case, name)
    assert [record.state for record in records] == ["claimed"] * (kills + 1) + ["committed"]
    assert [record.root == IN_PLACE for record in records[:-1]] == [way.plain or not n for n in range(kills + 1)]
    assert _objects(case, f"{name}/{ITEM}") == reference.objects
    assert _bytes(case, name) <= 1.2 * _bytes(case, "reference") + 4096 * len(records)
    before = case.snapshot()
    node = cvcache.cdir_init(cdir(url, **case.options), {"k": 1})
    assert node.committed
    assert (node.read(ITEM).compute() == reference.pixels).all()
    assert cdir_query(url, **case.options)[ITEM].meta["objects"] == len(reference.objects)
    assert case.snapshot() == before


def _objects(case: StoreCase, path: str) -> dict[str, str]:
    """Give the objects of one item, at its plain name or in a data root of its own: name -> digest of the bytes."""
    node, _, item = path.rpartition("/")
    inside = re.compile(rf"{node}/(?:{attempt_root('[0-9a-f]{16}')}/)?{item}/")
    found = {name: mark for name, mark in case.snapshot().items() if inside.match(name)}
    roots = {inside.match(name)[0] for name in found}  # type: ignore[index]  # each of them matches
    assert len(roots) <= 1, "the bytes of one result"
    return {inside.sub("", name): mark for name, mark in found.items()}


def _bytes(case: StoreCase, name: str) -> int:
    address = address_of(cdir(case.child(name), **case.options))
    return sum(info.size for info in address.store.find(address.path).values())


def _records(case: StoreCase, name: str) -> list[Record]:
    log = sorted(key for key in case.snapshot() if key.startswith(f"{name}/_cvcache/log/"))
    return [load_record(case.read(key), key) for key in log]


def _check_unshare() -> None:
    if shutil.which("unshare") is None:
        unavailable("the program unshare", "install util-linux")
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us unshare a process-id namespace; run the tests as root")


class Counter:
    """The file in which each block that is computed leaves a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def blocks(self) -> list[str]:
        return self.path.read_text().split() if self.path.exists() else []

    def count(self) -> int:
        return len(self.blocks())

    def since(self, before: int) -> int:
        return self.count() - before


class Run:
    """One process that writes the image, in a session of its own."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], folder: Path) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=out, stderr=err, start_new_session=True
            )

    def begun(self) -> bool:
        return b"begun" in self._out.read_bytes()

    def stderr_text(self) -> str:
        return self._err.read_text()[-3000:]

    def wait_until(self, so: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not so():
            assert self._process.poll() is None, f"it ended on its own: {self.stderr_text()}"
            assert time.monotonic() < until, self.stderr_text()
            time.sleep(0.002)

    def wait(self, timeout: float) -> int:
        return self._process.wait(timeout)

    def kill(self) -> None:
        """Kill the process, and leave alone what it has started; it must not have ended before."""
        assert self._process.poll() is None, self.stderr_text()
        self._process.kill()
        assert self._process.wait() == -signal.SIGKILL

    def end(self) -> None:
        """End the whole session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def _run(case: StoreCase, name: str, way: Way, counter: Counter) -> Iterator[Run]:
    """Start one process; whatever is left of it ends with the context."""
    number = len(list(counter.path.parent.glob(f"{counter.path.name}-run-*")))
    folder = counter.path.parent / f"{counter.path.name}-run-{number}"
    folder.mkdir()
    arguments = {"url": case.child(name), "storage": case.options, **way.arguments}
    command = [*way.prefix, sys.executable, str(Path(resume_worker.__file__)), json.dumps(arguments)]
    run = Run(command, {COUNTER: str(counter.path), NAP: "0.004"}, folder)
    try:
        yield run
    finally:
        run.end()


class TestInOneProcess:
    """What goes wrong without a kill, and what is not the same image."""

    @pytest.fixture
    def counter(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
        counter = Counter(tmp_path / "count")
        monkeypatch.setenv(COUNTER, str(counter.path))
        return counter

    @pytest.fixture
    def fault(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counter: Counter) -> Callable[[], None]:
        """Give what makes the next computation of block 200 fail."""
        del counter
        monkeypatch.setenv(FAULT, str(tmp_path / "fault"))
        return (tmp_path / "fault").touch

    def half(self, case: StoreCase, fault: Callable[[], None], **arguments: Any) -> None:
        """Write an image whose block 200 fails."""
        fault()
        with pytest.raises(ArithmeticError):
            self.write(case, **arguments)

    def write(self, case: StoreCase, name: str = "node", **arguments: Any) -> None:
        assert not resume_worker.work(url=case.child(name), storage=case.options, workers=WORKERS, **arguments)["hit"]

    def check_same(self, case: StoreCase, **arguments: Any) -> None:
        """See that the node holds what an undisturbed write of the same leaves, and nothing else."""
        self.write(case, "undisturbed", **arguments)
        assert _objects(case, f"node/{ITEM}") == _objects(case, f"undisturbed/{ITEM}")
        assert {key.split("/")[1] for key in case.snapshot() if key.startswith("node/")} <= {"_cvcache", ITEM}
        node, other = (cdir_query(case.child(name), **case.options) for name in ("node", "undisturbed"))
        assert node.committed
        assert (node.read(ITEM).compute() == other.read(ITEM).compute()).all()

    @pytest.mark.parametrize("arguments", [{}, {"write": SHARDS}], ids=["plain", "shards"])
    def test_a_failed_attempt_is_gone_on_with(
        self, store_case: StoreCase, counter: Counter, fault: Callable[[], None], arguments: dict[str, Any]
    ) -> None:
        self.half(store_case, fault, **arguments)
        first = counter.count()
        assert 0 < first <= BLOCKS
        assert cdir_query(store_case.child("node"), **store_case.options).state == "failed"
        self.write(store_case, **arguments)
        # block 200, what the other threads were at, and in shards what their tasks had gathered before
        assert BLOCKS < counter.count() <= BLOCKS + (WORKERS * 4 + 3 if arguments else WORKERS)
        assert len(set(counter.blocks())) == BLOCKS
        assert resume_worker.work(url=store_case.child("node"), storage=store_case.options)["hit"]
        self.check_same(store_case, **arguments)

    def test_a_write_that_failed_is_gone_on_with_by_the_same_attempt(
        self, store_case: StoreCase, counter: Counter, fault: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cvcache.image.pyramid.BLOCK_BYTES", 0)
        options = {"chunks": (2, 64, 64), "levels": 3}
        fault()
        with cvcache.cdir_init(cdir(store_case.child("node"), **store_case.options), {"k": 1}) as node:
            with pytest.raises(ArithmeticError):
                node.write(ITEM, resume_worker.image(), **options)
            node.write(ITEM, resume_worker.image(), **options)
        assert BLOCKS < counter.count() <= BLOCKS + _cores()
        self.check_same(store_case)

    @pytest.mark.parametrize(
        "other",
        [
            {"write": {"chunks": (2, 128, 64)}},
            {"write": SHARDS},
            {"write": {"compressor": "zstd"}},
            {"write": {"levels": 2}},
            {"write": {"scale": (2, 1, 1)}},
            {"constant": 1},
            {"key": {"k": 2}},
            {"chunk": (2, 128, 128)},
        ],
        ids=["chunks", "shards", "compressor", "levels", "scale", "lineage", "key", "source"],
    )
    def test_another_image_starts_over(
        self, local_case: StoreCase, counter: Counter, fault: Callable[[], None], other: dict[str, Any]
    ) -> None:
        self.half(local_case, fault)
        before = counter.count()
        assert _objects(local_case, f"node/{ITEM}")
        self.write(local_case, **other)
        assert counter.since(before) == BLOCKS
        self.check_same(local_case, **other)

    def test_another_image_starts_over_in_the_same_attempt(
        self, local_case: StoreCase, counter: Counter, fault: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cvcache.image.pyramid.BLOCK_BYTES", 0)
        options = {"chunks": (2, 64, 64), "levels": 3}
        fault()
        with cdir_init(local_case.child("node"), {"k": 1}) as node:
            with pytest.raises(ArithmeticError):
                node.write(ITEM, resume_worker.image(), **{**options, "levels": 4})
            before = counter.count()
            node.write(ITEM, resume_worker.image(), **options)
        assert BLOCKS <= counter.since(before) <= BLOCKS + _cores()
        self.check_same(local_case)

    @pytest.mark.parametrize("first", [{"constant": 1}, {"chunks": (2, 64, 32)}], ids=["lineage", "chunks"])
    @pytest.mark.parametrize("root", ["plain", "new"])
    def test_the_own_attempt_has_taken_the_place_of_an_earlier_one(
        self,
        local_case: StoreCase,
        counter: Counter,
        fault: Callable[[], None],
        monkeypatch: pytest.MonkeyPatch,
        first: dict[str, Any],
        root: str,
    ) -> None:
        """A dead attempt left half of A; the next one fails with B, and then writes A."""
        monkeypatch.setattr("cvcache.image.pyramid.BLOCK_BYTES", 0)
        url, options = local_case.child("node"), {"chunks": (2, 64, 64), "levels": 3}
        fault()
        with contextlib.suppress(ArithmeticError), cdir_init(url, {"k": 1}) as node:
            if root == "new":
                # as if other processes had written for it: nobody takes the place of one of them
                snapshot_of(node).attempt.share()
            node.write(ITEM, resume_worker.image(), **options)
        assert cdir_query(url).state == "failed"
        kept = counter.count() - _cores() if root == "new" else 0
        fault()
        with cdir_init(url, {"k": 1}) as node:
            other: dict[str, Any] = {**options, **first}
            with pytest.raises(ArithmeticError):
                node.write(ITEM, resume_worker.image(other.pop("constant", 0)), **other)
            before = counter.count()
            node.write(ITEM, resume_worker.image(), **options)
        # what the threads of the failed write were at may be counted late
        assert counter.since(before) <= BLOCKS - kept + _cores()
        assert root == "new" or counter.since(before) >= BLOCKS
        self.write(local_case, "undisturbed")
        record = _records(local_case, "node")[-1]
        assert (record.root == IN_PLACE) == (root == "plain")
        path = ITEM if root == "plain" else f"{record.root}/{ITEM}"
        assert _objects(local_case, f"node/{path}") == _objects(local_case, f"undisturbed/{ITEM}")

    def test_the_newest_attempt_at_the_image_counts(
        self, local_case: StoreCase, counter: Counter, fault: Callable[[], None]
    ) -> None:
        """Of A, B, A the last starts over: B took the place of what the first had left."""
        self.half(local_case, fault)
        self.half(local_case, fault, constant=1)
        before = counter.count()
        self.write(local_case)
        assert counter.since(before) == BLOCKS
        self.check_same(local_case)

    def test_force_computes_all_again(self, local_case: StoreCase, counter: Counter) -> None:
        self.write(local_case)
        self.write(local_case, force=True)
        assert counter.count() == 2 * BLOCKS
        self.check_same(local_case)

    def test_force_keeps_no_half_image(
        self, local_case: StoreCase, counter: Counter, fault: Callable[[], None]
    ) -> None:
        self.half(local_case, fault)
        before = counter.count()
        self.write(local_case, force=True)
        assert counter.since(before) == BLOCKS
        self.check_same(local_case)

    def test_what_is_committed_is_no_leftover(
        self, local_case: StoreCase, counter: Counter, fault: Callable[[], None]
    ) -> None:
        """After a key and back again, all is computed, though the first commit's image was the very same."""
        self.write(local_case)
        self.write(local_case, key={"k": 2})
        assert counter.count() == 2 * BLOCKS
        self.half(local_case, fault)
        self.write(local_case)
        assert 3 * BLOCKS < counter.count() <= 3 * BLOCKS + WORKERS
        self.check_same(local_case)

    def test_a_leftover_that_nobody_writes_goes_with_the_commit(
        self, store_case: StoreCase, fault: Callable[[], None]
    ) -> None:
        self.half(store_case, fault)
        store_case.put(f"node/beside.ome.zarr/{ITEM}/zarr.json", b"{}")
        with cvcache.cdir_init(cdir(store_case.child("node"), **store_case.options), {"k": 1}) as node:
            assert _objects(store_case, f"node/{ITEM}")
            node.write("y.json", [1])
        kept = {key for key in store_case.snapshot() if key.startswith("node/") and "/_cvcache/" not in key}
        assert kept == {f"node/beside.ome.zarr/{ITEM}/zarr.json", "node/y.json"}
        node = cvcache.cdir_query(cdir(store_case.child("node"), **store_case.options))
        assert [item.name for item in node.items()] == ["y.json"]

    @pytest.mark.parametrize("first", ["nothing", "a failed attempt"])
    def test_a_foreign_directory_is_refused_and_untouched(
        self, store_case: StoreCase, counter: Counter, first: str
    ) -> None:
        url = store_case.child("node")
        if first != "nothing":
            with (
                contextlib.suppress(ZeroDivisionError),
                cvcache.cdir_init(cdir(url, **store_case.options), {"k": 1}) as node,
            ):
                raise ZeroDivisionError
        foreign = {f"node/{ITEM}/zarr.json": b"{}", f"node/{ITEM}/0/c/0/0/0": b"theirs"}
        with (
            contextlib.suppress(ForeignItem),
            cvcache.cdir_init(cdir(url, **store_case.options), {"k": 1}) as node,
        ):
            for key, data in foreign.items():
                store_case.put(key, data)
            with pytest.raises(ForeignItem, match=r"x\.ome\.zarr is not cvcache's"):
                node.write(ITEM, resume_worker.image(), chunks=(2, 64, 64))
            node.write("y.json", [1])
        assert counter.count() == 0
        assert {key: store_case.read(key) for key in foreign} == foreign
        assert set(_objects(store_case, f"node/{ITEM}")) == {key.removeprefix(f"node/{ITEM}/") for key in foreign}
        with cvcache.cdir_init(cdir(url, **store_case.options), {"k": 2}) as node:
            node.write(ITEM, resume_worker.image(), chunks=(2, 64, 64))
        assert counter.count() == BLOCKS
        assert {key: store_case.read(key) for key in foreign} == foreign

    @pytest.mark.parametrize("kept", [True, False], ids=["chunks of ours", "nothing of ours"])
    def test_what_took_the_place_of_an_unfinished_image_is_refused_and_untouched(
        self, store_case: StoreCase, fault: Callable[[], None], *, kept: bool
    ) -> None:
        self.half(store_case, fault)
        for key in _objects(store_case, f"node/{ITEM}"):
            if not key.endswith("/") and (not kept or key.endswith("zarr.json")):
                store_case.delete(f"node/{ITEM}/{key}")
        store_case.put(f"node/{ITEM}/zarr.json", b"{}")
        foreign = _objects(store_case, f"node/{ITEM}")
        with pytest.raises(ForeignItem, match=r"x\.ome\.zarr is not cvcache's"):
            self.write(store_case)
        assert _objects(store_case, f"node/{ITEM}") == foreign
        for key in foreign:
            if not key.endswith("/"):
                store_case.delete(f"node/{ITEM}/{key}")
        self.write(store_case)
        self.check_same(store_case)


def _cores() -> int:
    """How many threads dask computes with unless told."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)
