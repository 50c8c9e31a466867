"""An attempt this process holds: its right to write, its beat, and what it has announced.

The heartbeat is a counter in the store. Nobody compares clocks: a waiter watches whether it changes.
A late heartbeat alone takes nothing away; the attempt is lost when another record follows its own.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import json
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, cast

from cvcache.errors import ForeignItem, LeaseLost, UsageError
from cvcache.protocol import heartbeat
from cvcache.protocol.opener import current_task, current_task_ref, current_thread
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import Record
from cvcache.protocol.sweep import delete_item
from cvcache.store import IN_PLACE, Store, is_item_dir, layout, parse_record_name

running_attempts: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("cvcache_running", default=())
"""The attempts whose bodies the current code is inside of, outermost first."""


class Attempt:
    """One try at filling a node, from its claim to its fate.

    Safe to use from several threads of the process that opened it.
    """

    def __init__(self, store: Store, path: str, record: Record, policy: Policy) -> None:
        self.store = store
        self.path = path
        self.record = record
        self.policy = policy
        self.rows: dict[str, dict[str, Any]] = {}
        self.own_files: set[str] = set()
        self.thumbnails: set[str] = set()
        self.outcome: Record | None = None
        self.started = policy.clock()
        self.shared = False
        self.announcements: dict[str, Mapping[str, Any]] = {}
        self.resumable: set[str] = set()
        self.failed_writes: set[str] = set()
        self.images: tuple[Mapping[str, Any], ...] = ()
        self.meta: dict[str, Any] = {}
        self.write_counts: collections.Counter[str] = collections.Counter()
        self._locked_items: set[str] = set()
        self._beat_count = 0
        self._confirmed_at = self.started
        self._loss_reason: str | None = None
        self._closed = False
        self._active_writes = 0
        self._condition = threading.Condition()
        self._thread = weakref.ref(current_thread())
        self._task = current_task_ref()

    @property
    def id(self) -> str:
        """The attempt's id."""
        return self.record.attempt

    @property
    def url(self) -> str:
        """Address of the node."""
        return self.store.url(self.path)

    @property
    def root(self) -> str:
        """Full key of the directory the attempt's items go to."""
        return layout.data_root(self.path, self.record)

    def belongs_to_caller(self) -> bool:
        """Whether the calling thread (and asyncio task) opened this attempt, or whoever did has ended."""
        thread, task = self._thread(), self._task() if self._task else None
        if thread is None or not thread.is_alive():
            return True
        if thread is not current_thread():
            return False
        current = current_task()
        return task is None or task.done() or task is current

    def blocks_caller(self) -> bool:
        """Whether another asyncio task of the calling thread holds this, which cannot go on while the caller waits."""
        return self._thread() is threading.current_thread() and not self.belongs_to_caller()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the right to write for as long as this context lasts.

        Raises
        ------
        LeaseLost
            If the node is no longer this attempt's. Asked of the store only after a long silence.
        """
        if self.policy.clock() - self._confirmed_at > self.record.ttl / 2:
            self.confirm()
        with self._condition:
            self._condition.wait_for(lambda: not self._closed)
            self._raise_if_lost()
            self._active_writes += 1
        try:
            yield
        finally:
            with self._condition:
                self._active_writes -= 1
                self._condition.notify_all()
                self._forget_if_over()

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Keep every write out for as long as this context lasts; those under way are awaited first.

        Raises
        ------
        LeaseLost
            If the node is known not to be this attempt's any longer.
        """
        with self._condition:
            self._closed = True
        try:
            with self._condition:
                self._condition.wait_for(lambda: self._active_writes == 0)
                self._raise_if_lost()
            yield
        finally:
            with self._condition:
                self._closed = False
                self._condition.notify_all()

    def announce(self, name: str, plan: Mapping[str, Any] | None = None) -> None:
        """Put on record that the item `name` is this attempt's, before its first byte, and what it is to be."""
        if plan is not None or name not in self.announcements:
            row = {"item": name, "attempt": self.id, "root": self.record.root, "boot": self.record.owner.boot}
            with self.writing():
                data = json.dumps({**row, **({"plan": plan} if plan else {})}).encode()
                self.store.put(layout.announcement_path(self.path, self.id, name), data)
            self.announcements[name] = plan or {}

    @contextlib.contextmanager
    def writing_item(self, name: str) -> Iterator[None]:
        """Hold the right to write the item `name`, announced first.

        Raises
        ------
        ForeignItem
            If the plain path of `name` is taken by something this attempt did not write.
        """
        self.free_path(name)
        self.announce(name)
        with self.writing():
            yield

    def free_path(self, name: str) -> None:
        """Make sure that what lies at the path of `name` is this attempt's, or an earlier one's to be deleted.

        Raises
        ------
        ForeignItem
            If it is neither.
        """
        if name in self.announcements:
            return
        with self.writing():
            if name in self.resumable:
                delete_item(self.store, f"{self.root}/{name}")
            else:
                self._refuse_foreign(name)

    def check_rewritable(self, name: str) -> None:
        """Raise `UsageError` if other processes may still be at work on an earlier write of `name` that failed."""
        if name in self.failed_writes:
            msg = (
                f"{self.url}/{name} cannot be written again in this attempt: its last write failed, and others "
                "may still write parts of it; open the node again with cdir_init, or give the item another name"
            )
            raise UsageError(msg)

    @contextlib.contextmanager
    def item_lock(self, name: str) -> Iterator[None]:
        """Have the item `name` to oneself among the threads of this process.

        Raises
        ------
        UsageError
            If another thread is writing it.
        """
        with self._condition:
            if name in self._locked_items:
                msg = f"{self.url}/{name} is being written by another thread; give each thread an item of its own"
                raise UsageError(msg)
            self._locked_items.add(name)
        try:
            yield
        finally:
            with self._condition:
                self._locked_items.discard(name)

    def _refuse_foreign(self, name: str) -> None:
        path = f"{self.root}/{name}"
        if self.record.root == IN_PLACE and self._is_taken(path, name):
            msg = f"{self.store.url(path)} is not cvcache's and is not overwritten; give the item another name"
            raise ForeignItem(msg)

    def _is_taken(self, path: str, name: str) -> bool:
        """Whether something lies where the item `name` would go; in a bucket a file is in no directory's way."""
        if self.store.scheme in {"file", "memory"}:
            return self.store.stat(path) is not None or bool(self.store.find(path))
        return bool(self.store.list(path)) if is_item_dir(name) else self.store.stat(path) is not None

    def share(self) -> None:
        """Put on record that other processes may write for this attempt, so that it is never taken over in place."""
        if not self.shared:
            with self.writing():
                self.store.put(layout.shared_marker_path(self.path, self.id), b"{}")
            self.shared = True

    def beat(self) -> None:
        """Advance the counter in the store, and look whether the attempt still stands."""
        self._beat_count += 1
        self.store.put(layout.heartbeat_path(self.path, self.id), str(self._beat_count).encode())
        self.confirm()

    def confirm(self) -> None:
        """Look whether a record follows this attempt's claim; if so the attempt is lost for ever."""
        asked = self.policy.clock()
        names = [parse_record_name(name) for name in self.store.list(layout.log_dir(self.path)).files]
        mine = (self.record.seq, self.record.after)
        if mine not in names:
            self.lose(f"the log of {self.url} was deleted")
        elif (self.record.seq + 1, self.id) in names:
            self.lose(f"{self.url} was taken over by another owner, or removed")
        else:
            self._confirmed_at = asked

    def lose(self, why: str) -> None:
        """Forbid every further write, at once; the heartbeat of the others must not wait for those under way."""
        with self._condition:
            self._loss_reason = self._loss_reason or why
            self._forget_if_over()

    def lose_after_fork(self) -> None:
        """Take the right to write from what a forked child inherits: two processes would use it."""
        self._condition = threading.Condition()  # another thread may have held the old one
        self._loss_reason = f"{self.url} was opened before this process was forked"

    def fence(self, why: str) -> bool:
        """Forbid every further write and wait for those under way; False if one still is after a long time."""
        self.lose(why)
        with self._condition:
            return self._condition.wait_for(
                lambda: self._active_writes == 0, self.policy.request_timeout + self.policy.ttl
            )

    def _forget_if_over(self) -> None:
        """Let go of a lost attempt, but not while one of its writes may still land."""
        if self._loss_reason is not None and self._active_writes == 0:
            heartbeat.unregister(self)

    @property
    def lost(self) -> bool:
        """Whether the attempt may no longer write."""
        return self._loss_reason is not None

    def _raise_if_lost(self) -> None:
        if self._loss_reason is not None:
            msg = f"{self._loss_reason}; what this attempt ({self.id}) wrote is discarded. Run the step again"
            raise LeaseLost(msg)

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = f"the attempt on {self.url} belongs to the process that opened it; send the CacheDir instead"
        raise TypeError(msg)


def find_open_attempt(url: str) -> Attempt | None:
    """Return the attempt this process holds on the node at `url`."""
    return cast("Attempt | None", heartbeat.registered_attempt(url))
