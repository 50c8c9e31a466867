"""Processes and machines that live in one Python process, on a clock that moves only when somebody sleeps.

A simulated process has its own open attempts and its own identity; it runs inside ``with process:``,
and several may be inside of each other, which is how one is stopped in the middle of a store call.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from servers.store_cases import LocalCase, MemoryCase

from cvcache import CvcacheError, Policy, cdir_commit, cdir_init, cdir_query, protocol, register_format
from cvcache.protocol import Owner, attempt, claim, heartbeat, observe, sweep
from cvcache.store import LocalStore, open_store, resolve_node
from cvcache.testing import SimulatedCrash, WrapperStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.store_cases import StoreCase

    from cvcache import CacheDir
    from cvcache.store import Store

TTL = 60.0
REQUEST_TIMEOUT = 10.0
COARSE = 25.0
"""No sleep is shorter: a waiter sees what it would in many short ones."""

PATIENCE = 100
"""Sleeps after which a simulated process is taken to wait for ever."""


_MEMORY = (
    (heartbeat, "_open_attempts"),
    (heartbeat, "_attempts_at_url"),
    (heartbeat, "_pending_claims"),
    (claim, "_sibling_names"),
    (observe, "_newest_entries"),
)
"""What each process has of its own."""


class WaitsForEverError(Exception):
    """A simulated process slept far longer than anything it could be waiting for."""


class Process:
    """One process of a `World`; what it holds is gone from sight while another one runs."""

    def __init__(self, world: World, pid: int, machine: str) -> None:
        self.world = world
        self.pid = pid
        self.machine = machine
        self.alive = True
        self.paused = False
        self.sleeps = 0
        self._memory = {place: type(getattr(*place))() for place in _MEMORY}
        self._left: list[tuple[Any, ...]] = []

    @property
    def owner(self) -> Owner:
        """Who this process says it is."""
        return Owner(self.machine, f"boot of {self.machine}", "pid:[1]", self.pid, str(self.pid), "MainThread")

    @property
    def attempts(self) -> list[attempt.Attempt]:
        """The attempts it holds."""
        return list(self._memory[heartbeat, "_open_attempts"].values())

    def kill(self) -> None:
        """End it, as ``kill -9`` does."""
        self.alive = False

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Keep it from beating, as ``SIGSTOP`` does."""
        self.paused = True
        try:
            yield
        finally:
            self.paused = False

    def resume(self) -> None:
        """Let it go on in place of the one that runs, as threads do that take turns."""
        for place, memory in self._memory.items():
            setattr(*place, memory)
        self.world.current = self

    def __enter__(self) -> Process:  # noqa: PYI034 - there is no subclass
        memory = {place: getattr(*place) for place in _MEMORY}
        self._left.append((memory, self.world.current, attempt.running_attempts.set(())))
        self.resume()
        return self

    def __exit__(self, *_: object) -> None:
        memory, self.world.current, token = self._left.pop()
        for place, value in memory.items():
            setattr(*place, value)
        attempt.running_attempts.reset(token)

    @contextlib.contextmanager
    def through(self, wrap: Callable[[Store], Store]) -> Iterator[None]:
        """Put `wrap` around the store this process uses, and around nobody else's."""
        with instrument(lambda store: wrap(store) if self.world.current is self else store), self:
            yield


class World:
    """A clock and the processes that live by it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.time = 0.0
        self.slept: list[float] = []
        self.current: Process | None = None
        self._processes: dict[int, Process] = {}
        self._pids = itertools.count(4_000_001)
        patch.setattr(claim, "this_owner", lambda *, record_host=True: self._owner(record_host))
        patch.setattr("cvcache.protocol.remove.this_owner", lambda *, record_host=True: self._owner(record_host))
        patch.setattr(observe, "this_owner", lambda *, record_host=True: self._owner(record_host))
        patch.setattr("cvcache.protocol.resume.this_owner", lambda *, record_host=True: self._owner(record_host))
        patch.setattr(observe, "owner_is_dead", self.is_dead)
        patch.setattr(sweep, "owner_is_dead", self.is_dead)
        patch.setattr(protocol, "owner_is_dead", self.is_dead)
        patch.setattr(heartbeat, "_heartbeat_thread", _NoHeart())
        # a power cut is not the subject, and a thousand runs would wait for the disk
        patch.setattr("cvcache.store.local.os.fsync", lambda _: None)
        patch.setattr(LocalStore, "sync", lambda *_: None)

    @property
    def policy(self) -> Policy:
        """The policy of every process here."""
        return Policy(ttl=TTL, request_timeout=REQUEST_TIMEOUT, clock=lambda: self.time, sleep=self.sleep)

    def process(self, machine: str = "here") -> Process:
        """Start a process."""
        process = Process(self, next(self._pids), machine)
        self._processes[process.pid] = process
        return process

    def moment(self) -> tuple[float, dict[int, Process]]:
        """Return what `rewind` takes."""
        return self.time, dict(self._processes)

    def rewind(self, moment: tuple[float, dict[int, Process]]) -> None:
        """Forget all that happened since a moment, and who was started since."""
        self.time, processes = moment
        self._processes = dict(processes)
        self._pids = itertools.count(max(processes, default=4_000_000) + 1)
        self.slept.clear()

    def sleep(self, seconds: float) -> None:
        """Let time pass; whoever lives and is not paused beats."""
        self.slept.append(seconds)
        if self.current is not None:
            self.current.sleeps += 1
            if self.current.sleeps > PATIENCE:
                raise WaitsForEverError
        self.time += max(seconds, COARSE)
        for process in self._processes.values():
            if process.alive and not process.paused and process.attempts:
                with process:
                    for attempt in process.attempts:
                        attempt.beat()

    def _owner(self, record_host: bool) -> Owner:  # noqa: FBT001 - stands for a keyword of the real one
        assert self.current is not None, "protocol code runs inside `with process:`"
        assert record_host
        return self.current.owner

    def is_dead(self, owner: Owner) -> bool:
        """Whether the process that runs can prove that another one has ended."""
        here = self.current
        process = self._processes.get(owner.pid)
        same = here is not None and process is not None and process.machine == here.machine
        return same and process is not None and not process.alive


class _NoHeart:
    def start(self) -> None:
        """Beat never; `World.sleep` does."""


class PausedStore(WrapperStore):
    """Stops the process before its store call number `step` and lets `meanwhile` happen."""

    def __init__(self, store: Store, step: int, meanwhile: Callable[[], object]) -> None:
        super().__init__(store)
        self.step = step
        self.steps = 0
        self._meanwhile = meanwhile

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:  # noqa: ARG002 - the same pause for every call
        self.steps += 1
        if self.steps == self.step:
            self._meanwhile()
        return act()


class _Pair:
    """A format of two objects, the least that can be half of one attempt and half of another."""

    @staticmethod
    def write(place: Any, obj: Any, /) -> dict[str, Any]:
        for key, part in zip("ab", obj, strict=True):
            place.put(json.dumps(part).encode(), key)
        return {"kind": "file"}

    @staticmethod
    def read(place: Any, /) -> list[Any]:
        return [json.loads(place.get(key)) for key in "ab"]

    @staticmethod
    def describe(place: Any) -> dict[str, Any]:
        return {"kind": "file", "objects": len(place.find())}


register_format("pair.dir", _Pair, directory=True)

FILE = "stats.json"
PAIR = "both.pair.dir"
OWN = "own.json"
ITEMS = (FILE, PAIR, OWN)

_numbers = itertools.count(1)


def fill(out: CacheDir, items: tuple[str, ...] = ITEMS) -> str:
    """Write one item of each kind, all saying the same, which nobody else says; return what."""
    mark = f"mark {next(_numbers):09d}"
    if FILE in items:
        out.write(FILE, {"by": mark})
    if PAIR in items:
        out.write(PAIR, [mark, mark])
    if OWN in items:
        with out.open(OWN, "wb") as file:
            file.write(json.dumps(mark).encode())
    return mark


def compute(url: str, key: object, policy: Policy, opened: Callable[[], object] = lambda: None, **how: Any) -> CacheDir:
    """Fill the node at `url` as a script does, unless it is complete."""
    items = how.pop("items", ITEMS)
    with cdir_init(url, key, policy=policy, **how) as out:
        opened()
        if not out.committed:
            fill(out, items)
    return out


def compute_by_hand(url: str, key: object, policy: Policy, opened: Callable[[], object] = lambda: None) -> CacheDir:
    """Do the same as in a notebook: nothing writes a fate when it fails."""
    out = cdir_init(url, key, policy=policy)
    opened()
    if not out.committed:
        fill(out)
        cdir_commit(out)
    return out


def compute_little(url: str, key: object, policy: Policy, opened: Callable[[], object] = lambda: None) -> CacheDir:
    """Fill the node with one item of two objects: little else than init and commit."""
    return compute(url, key, policy, opened, items=(PAIR,))


def read_items(handle: CacheDir) -> dict[str, str]:
    """Return what each item of a committed node says; both halves of a pair."""
    names = {item.name for item in handle.items()}
    assert names <= set(ITEMS)
    said: dict[str, str] = {}
    if PAIR in names:
        said[f"{PAIR}/a"], said[f"{PAIR}/b"] = handle.read(PAIR)
    if FILE in names:
        said[FILE] = handle.read(FILE)["by"]
    if OWN in names:
        with handle.open(OWN) as file:
            said[OWN] = json.loads(file.read())
    return said


def read_mark(handle: CacheDir) -> str:
    """Return what the items of a committed node say, which must be one and the same."""
    said = set(read_items(handle).values())
    assert len(said) == 1, f"items of several attempts: {said}"
    return said.pop()


def attempted(act: Callable[[], object]) -> BaseException | None:
    """Run `act`; return the error it ended with, one of ours, an injected one, or the end of the process."""
    try:
        act()
    except (CvcacheError, OSError, SimulatedCrash) as error:
        return error
    return None


def log_of(case: StoreCase) -> dict[str, bytes]:
    """Return the records of a node, read past cvcache, by name and in order."""
    prefix = "_cvcache/log/"
    if isinstance(case, LocalCase):
        folder = case.path / prefix
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}
    if isinstance(case, MemoryCase):
        objects = [key for key in list(fsspec.filesystem("memory").store) if key.startswith(f"/{case.root}/{prefix}")]
    else:
        objects = [name for name in case.snapshot() if name.startswith(prefix)]
    names = sorted(name.rpartition("/")[2] for name in objects)
    return {name: case.read(prefix + name) for name in names}


def check_log(case: StoreCase, before: dict[str, bytes]) -> list[dict[str, Any]]:
    """Check that the log of a node is one chain and that `before` is its beginning, to the byte; return its records."""
    log = log_of(case)
    assert dict(list(log.items())[: len(before)]) == before, "a record was changed, or came before older ones"
    records: list[dict[str, Any]] = [json.loads(data) for data in log.values()]
    for number, (name, record) in enumerate(zip(log, records, strict=True), start=1):
        after = records[number - 2]["attempt"] if number > 1 else "root"
        assert name == f"{number:06d}-{after}.json", "two chains"
        assert (record["seq"], record["after"]) == (number, after)
        assert len(log[name]) <= 64 * 1024
        opening = {"committed": "claimed", "failed": "claimed", "released": "claimed", "removed": "removing"}
        if begun := opening.get(record["state"]):
            same = (records[number - 2]["state"], records[number - 2]["attempt"])
            assert same == (begun, record["attempt"]), f"{record['state']} without {begun} of the same attempt"
        else:
            assert record["attempt"] not in {r["attempt"] for r in records[: number - 1]}
    return records


def check_newest(url: str, policy: Policy) -> CacheDir:
    """Check that a node is readable: a state, and if it is committed every item of it, from one attempt."""
    found = cdir_query(url, policy=policy)
    assert found.state in {"absent", "running", "failed", "committed"}
    if found.committed:
        assert found.items(), "a commit without items"
        read_mark(found)
    return found


def quiet_store(url: str) -> Store:
    """Return the store at `url` as no process of a world sees it."""
    scheme, path, _ = resolve_node(url)
    return open_store(scheme, path, {})


def contents_of(case: StoreCase) -> dict[str, bytes]:
    """Return everything in the container of a root, to be laid out again with `lay`."""
    if isinstance(case, LocalCase):
        return dict(_files(case.container))
    return {key: file.getvalue() for key, file in fsspec.filesystem("memory").store.items()}


def lay(case: StoreCase, contents: dict[str, bytes]) -> None:
    """Make the container of a root what it was when `contents` was taken; what is so already stays untouched."""
    if isinstance(case, LocalCase):
        _lay_files(case.container, contents)
        return
    from fsspec.implementations.memory import MemoryFile

    objects = fsspec.filesystem("memory").store
    objects.clear()
    objects.update({key: MemoryFile(None, key, data) for key, data in contents.items()})


def _files(container: Path) -> Iterator[tuple[str, bytes]]:
    for folder, _, names in os.walk(container):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - a thousand times faster matters here
            with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - the same
                yield path, file.read()


def _lay_files(container: Path, contents: dict[str, bytes]) -> None:
    present = dict(_files(container))
    for path, data in present.items():
        if contents.get(path) != data:
            Path(path).unlink()
    for folder, _, _ in os.walk(container, topdown=False):
        if folder != str(container):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    for path, data in contents.items():
        if present.get(path) != data:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(data)


def new_case(kind: str, folder: Path) -> StoreCase:
    """Return a fresh root on a local disk or in memory; a test that uses memory empties it with `lay`."""
    return MemoryCase() if kind == "memory" else LocalCase(Path(tempfile.mkdtemp(dir=folder)))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Give a world without processes."""
    return World(monkeypatch)
