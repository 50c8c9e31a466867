"""Wrappers of a store for tests: one that counts calls, one that injects faults.

Wrap every store that a block of code opens by `instrument`::

    counts = []
    with instrument(lambda store: counts.append(CountingStore(store)) or counts[-1]):
        cdir_query(url)
"""

from __future__ import annotations

import collections
import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import IO, TypeVar

from cvcache.store import Guard, Listing, ObjectInfo, ObjectWriter, Store

T = TypeVar("T")

VERBS = ("get", "put", "copy", "put_new", "list", "find", "stat", "delete", "open")
WRITES = frozenset({"put", "copy", "put_new", "delete"})
FAULTS = ("crash", "crash_after", "torn", "lost", "error")
"""The faults that `FaultyStore` injects."""


class WrapperStore(Store):
    """A store that delegates every method to another store, through `call`."""

    scheme: str = "wrapper"
    shared: bool = True

    def __init__(self, store: Store) -> None:
        self.store = store
        self.scheme = store.scheme
        self.shared = store.shared
        self.account = store.account

    def reopen_arguments(self, path: str) -> tuple[type[Store], str, str, str]:
        """Return those of the wrapped store: another process has its own wrappers."""
        return self.store.reopen_arguments(path)

    def call(self, verb: str, path: str, act: Callable[[], T], data: bytes | None = None) -> T:  # noqa: ARG002 - for subclasses
        """Run `act`, one method call on one path; subclasses count, delay or fail it here."""
        return act()

    def url(self, path: str) -> str:
        return self.store.url(path)

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        return self.call("get", path, lambda: self.store.get(path, start, end))

    def put(self, path: str, data: bytes) -> None:
        self.call("put", path, lambda: self.store.put(path, data), data)

    def copy(self, source: str, target: str) -> None:
        self.call("copy", target, lambda: self.store.copy(source, target))

    def put_new(self, path: str, data: bytes) -> bool:
        return self.call("put_new", path, lambda: self.store.put_new(path, data), data)

    def list(self, path: str, limit: int | None = None) -> Listing:
        return self.call("list", path, lambda: self.store.list(path, limit))

    def names(self, path: str) -> Sequence[str]:
        return self.call("list", path, lambda: self.store.names(path))

    def find(self, path: str) -> dict[str, ObjectInfo]:
        return self.call("find", path, lambda: self.store.find(path))

    def stat(self, path: str) -> ObjectInfo | None:
        return self.call("stat", path, lambda: self.store.stat(path))

    def delete(self, paths: Iterable[str], within: str | None = None) -> None:
        for path in list(paths):
            self.call("delete", path, functools.partial(self.store.delete, [path], within))

    def open(self, path: str, mode: str, guard: Guard = nullcontext) -> IO[bytes]:
        if mode == "rb":
            return self.call("open", path, lambda: self.store.open(path, mode))
        return ObjectWriter(lambda data: self.put(path, data), guard)

    def makedirs(self, path: str) -> None:
        self.store.makedirs(path)

    def sync(self, path: str) -> None:
        self.store.sync(path)

    def is_blocked(self, path: str) -> bool:
        return self.store.is_blocked(path)

    def exclusive(self, path: str) -> bool:
        return self.store.exclusive(path)


class CountingStore(WrapperStore):
    """Counts method calls; a batch of deletions counts once, as a store sends it.

    Attributes
    ----------
    counts : collections.Counter
        Name of the method -> number of calls.
    log : list of (verb, path)
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.counts: collections.Counter[str] = collections.Counter()
        self.log: list[tuple[str, str]] = []

    def call(self, verb: str, path: str, act: Callable[[], T], data: bytes | None = None) -> T:  # noqa: ARG002 - counts, whatever the bytes
        self.counts[verb] += 1
        self.log.append((verb, path))
        return act()

    def delete(self, paths: Iterable[str], within: str | None = None) -> None:
        paths = list(paths)
        self.call("delete", paths[0] if paths else "", lambda: self.store.delete(paths, within))

    @property
    def total(self) -> int:
        """Number of calls."""
        return self.counts.total()

    def reset(self) -> None:
        """Reset the counts and the log."""
        self.counts.clear()
        self.log.clear()


class SimulatedCrash(BaseException):
    """The process has crashed: every further call of the store raises this."""


class FaultyStore(WrapperStore):
    """Injects faults at numbered calls, counted from 1 over all methods.

    Parameters
    ----------
    store : Store
    plan : mapping
        Number of a call -> one of ``"crash"`` (a crash before the call), ``"crash_after"``, ``"torn"`` (a crash
        after half of the bytes of a ``put``; in an atomic store that is a crash before the call, unless `tear`
        is given), ``"lost"`` (the call is done, but its reply is an error), ``"error"`` (an error, no call).
    tear : callable, optional
        ``tear(path, half)`` writes a partial object without the store, if the store is not atomic.
    """

    def __init__(
        self, store: Store, plan: Mapping[int, str] | None = None, tear: Callable[[str, bytes], None] | None = None
    ) -> None:
        super().__init__(store)
        self.plan = dict(plan or {})
        self.tear = tear
        self.steps = 0
        self.dead = False
        self.trace: list[tuple[int, str, str, str | None]] = []
        self._lock = threading.RLock()

    def call(self, verb: str, path: str, act: Callable[[], T], data: bytes | None = None) -> T:
        with self._lock:
            if self.dead:
                raise SimulatedCrash(verb)
            self.steps += 1
            fault = self.plan.get(self.steps)
            self.trace.append((self.steps, verb, path, fault))
        if fault in {"crash", "torn"}:
            if fault == "torn" and self.tear and data is not None and verb == "put":
                self.tear(path, data[: len(data) // 2])
            self._die(verb)
        if fault == "error":
            raise OSError(5, f"injected before {verb}", path)
        result = act()
        if fault == "crash_after":
            self._die(verb)
        if fault == "lost":
            raise ConnectionResetError(104, f"injected after {verb}", path)
        return result

    def _die(self, verb: str) -> None:
        self.dead = True
        msg = f"at step {self.steps}, {verb}"
        raise SimulatedCrash(msg)
