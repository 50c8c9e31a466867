"""An open attempt of this process: its lease, its heartbeat and its announcements.

The heartbeat is a counter in the store. No clocks are compared: a waiter watches whether the counter changes.
A late heartbeat alone does not end the lease; the lease is lost when another record follows the claim.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import threading
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from cvcache.errors import CvcacheError, ForeignItem, LeaseLost, UsageError
from cvcache.protocol import heartbeat
from cvcache.protocol.opener import current_task, current_task_ref, current_thread
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import Record
from cvcache.protocol.sweep import Keys, delete_item
from cvcache.store import IN_PLACE, Store, is_item_dir, layout, parse_record_name

running_attempts: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("cvcache_running", default=())
"""Ids of the attempts whose ``with`` blocks the current code is in, outermost first."""


@dataclass(slots=True)
class AttemptItem:
    """What an attempt knows of one of its items.

    Attributes
    ----------
    plan : mapping or None
        As announced before the first byte; empty for an item without one, None before its announcement.
    row : dict or None
        Its row for the commit; None before it is written.
    writes : int
        How often it was begun to be written.
    being_written, failed : bool
        Whether a write is in progress; whether one has failed that other processes may still write for.
    own_file : bool
        Whether the user writes it, with ``open`` or ``path`` of the node.
    has_thumbnail : bool
    first : list
        Key, size and SHA-256 of each object of which one is written before any other, as far as they were announced.
    """

    plan: Mapping[str, Any] | None = None
    row: dict[str, Any] | None = None
    writes: int = 0
    being_written: bool = False
    failed: bool = False
    own_file: bool = False
    has_thumbnail: bool = False
    first: list[tuple[str, int, str]] = field(default_factory=list)


class Attempt:
    """One attempt to compute a node, from its claim to its last record.

    Safe to use from several threads of the process that opened it.
    """

    def __init__(self, store: Store, path: str, record: Record, policy: Policy) -> None:
        self.store = store
        self.path = path
        self.record = record
        self.policy = policy
        self.items: dict[str, AttemptItem] = {}
        self.outcome: Record | None = None
        self.started = policy.clock()
        self.shared = False
        self.unanswered = False
        self.resumable: dict[str, Keys] = {}
        self.images: tuple[Mapping[str, Any], ...] = ()
        self.meta: dict[str, Any] = {}
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
    def account(self) -> str:
        """Of its store."""
        return self.store.account

    @property
    def root(self) -> str:
        """Full key of the directory that the items of the attempt are written to."""
        return layout.data_root(self.path, self.record)

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Item name -> row of each item that is written."""
        return {name: item.row for name, item in list(self.items.items()) if item.row is not None}

    @property
    def announced(self) -> set[str]:
        """Names of the items that are announced."""
        return {name for name, item in list(self.items.items()) if item.plan is not None}

    @property
    def own_files(self) -> list[str]:
        """Sorted names of the items that the user writes, and not cvcache."""
        return sorted(name for name, item in list(self.items.items()) if item.own_file and item.row is None)

    def item(self, name: str) -> AttemptItem:
        """Return what is known of the item `name`, from now on noted."""
        return self.items.get(name) or self.items.setdefault(name, AttemptItem())

    def belongs_to_caller(self) -> bool:
        """Whether the calling thread (and asyncio task) opened this attempt, or the opener has ended."""
        thread, task = self._thread(), self._task() if self._task else None
        if thread is None or not thread.is_alive():
            return True
        if thread is not current_thread():
            return False
        current = current_task()
        return task is None or task.done() or task is current

    def blocks_caller(self) -> bool:
        """Whether the opener is another asyncio task of the calling thread: it cannot go on while the caller waits."""
        return self._thread() is threading.current_thread() and not self.belongs_to_caller()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lease while this context lasts.

        Raises
        ------
        LeaseLost
            If the lease is lost. The store is asked only if the last confirmation is half a lease old.
        """
        if self.policy.clock() - self._confirmed_at > self.record.ttl / 2:
            self.confirm()
        with self._condition:
            self._condition.wait_for(lambda: not self._closed)
            self._raise_if_lost()
            self._active_writes += 1
        try:
            yield
        except CvcacheError:
            raise
        except BaseException:
            self.note_unanswered()
            raise
        finally:
            with self._condition:
                self._active_writes -= 1
                self._condition.notify_all()
                self._unregister_if_over()

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Wait for writes in progress, and block new writes while this context lasts.

        Raises
        ------
        LeaseLost
            If the lease is known to be lost.
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

    def first_keys(self, name: str) -> Keys:
        """Return the keys of the objects of an item that tell whose it is: they are deleted last."""
        return (*self.resumable.get(name, ()), *(key for key, _, _ in self.item(name).first))

    def announce(
        self, name: str, plan: Mapping[str, Any] | None = None, first: tuple[str, int, str] | None = None
    ) -> None:
        """Write the announcement of the item `name`, with its `plan`, before the first byte of the item.

        `first`: key, size and SHA-256 of the first object. With a plan these are in ``plan["first"]``.
        """
        item = self.item(name)
        is_new = first is not None and first not in item.first
        if plan is not None or item.plan is None or is_new:
            item.first += [first] if first is not None and is_new else (plan or {}).get("first", [])
            row: dict[str, Any] = {
                "item": name,
                "attempt": self.id,
                "root": self.record.root,
                "boot": self.record.owner.boot,
            }
            row |= {"first": item.first} if item.first and not plan else {}
            with self.writing():
                data = json.dumps({**row, **({"plan": plan} if plan else {})}).encode()
                self.store.put(layout.announcement_path(self.path, self.id, name), data)
            item.plan = plan or {}

    def forget_first(self, name: str) -> None:
        """Announce an item again without its first objects: a request that had no answer may write any object later."""
        item = self.item(name)
        plan, item.plan, item.first = item.plan, None, []
        self.announce(name, plan)

    @contextlib.contextmanager
    def writing_item(self, name: str, first: tuple[str, int, str] | None = None) -> Iterator[None]:
        """Announce the item `name`, then hold the lease while this context lasts.

        Raises
        ------
        ForeignItem
            If an object that this attempt did not write is at the path of `name`.
        """
        self.free_path(name)
        self.announce(name, first=first)
        with self.writing():
            yield

    def free_path(self, name: str) -> None:
        """Make the path of `name` free: delete an unfinished image of an earlier attempt.

        Raises
        ------
        ForeignItem
            If a foreign object is there.
        """
        if self.item(name).plan is not None:
            return
        with self.writing():
            if name in self.resumable:
                delete_item(self.store, f"{self.root}/{name}", self.first_keys(name))
            self._refuse_foreign(name)

    def begin_write(self, name: str) -> AttemptItem:
        """Note that a write of the item `name` begins, and return what is known of it.

        Raises
        ------
        UsageError
            Another thread is writing it, or an earlier write has failed that other processes may still write for.
        """
        item = self.item(name)
        with self._condition:
            if item.being_written:
                msg = f"{self.url}/{name} is being written by another thread; give each thread an item of its own"
                raise UsageError(msg)
            if item.failed:
                msg = (
                    f"{self.url}/{name} cannot be written again in this attempt: its last write failed, and others "
                    "may still write parts of it; open the node again with cdir_init, or give the item another name"
                )
                raise UsageError(msg)
            item.being_written = True
            item.writes += 1
        return item

    def _refuse_foreign(self, name: str) -> None:
        path = f"{self.root}/{name}"
        if self.record.root == IN_PLACE and self._is_taken(path, name):
            msg = f"{self.store.url(path)} is not cvcache's and is not overwritten; give the item another name"
            raise ForeignItem(msg)

    def _is_taken(self, path: str, name: str) -> bool:
        """Whether an object is at the path of the item `name`; in a bucket, a file and a directory can coexist."""
        if self.store.scheme in {"file", "memory"}:
            return self.store.stat(path) is not None or bool(self.store.find(path))
        return bool(self.store.list(path)) if is_item_dir(name) else self.store.stat(path) is not None

    def share(self) -> None:
        """Record that other processes may write for this attempt; then no later attempt writes in its place."""
        if not self.shared:
            with self.writing():
                self.store.put(layout.shared_marker_path(self.path, self.id), b"{}")
            self.shared = True

    def note_unanswered(self) -> None:
        """Note that a request may have ended without an answer; in a bucket it may be carried out later."""
        self.unanswered = self.unanswered or self.store.scheme not in {"file", "memory"}

    @property
    def outlives_its_end(self) -> bool:
        """Whether something may be written or deleted for this attempt after its end."""
        return self.shared or self.unanswered

    def beat(self) -> None:
        """Advance the counter in the store, and check the lease."""
        self._beat_count += 1
        self.store.put(layout.heartbeat_path(self.path, self.id), str(self._beat_count).encode())
        self.confirm()

    def confirm(self) -> None:
        """Check the lease: it is lost for ever if another record follows the claim."""
        listed_at = self.policy.clock()
        names = [parse_record_name(name) for name in self.store.list(layout.log_dir(self.path)).files]
        own_entry = (self.record.seq, self.record.after)
        if own_entry not in names:
            self.lose(f"the log of {self.url} was deleted")
        elif (self.record.seq + 1, self.id) in names:
            self.lose(f"{self.url} was taken over by another owner, or removed")
        else:
            self._confirmed_at = listed_at

    def lose(self, reason: str) -> None:
        """Mark the lease as lost, without waiting for writes in progress."""
        with self._condition:
            self._loss_reason = self._loss_reason or reason
            self._unregister_if_over()

    def lose_after_fork(self) -> None:
        """Mark the lease as lost in a forked child: two processes would use it."""
        self._condition = threading.Condition()  # another thread may have held the old one
        self._loss_reason = f"{self.url} was opened before this process was forked"

    def fence(self, reason: str) -> bool:
        """Mark the lease as lost and wait for writes in progress; False if they do not end in time."""
        self.lose(reason)
        with self._condition:
            return self._condition.wait_for(
                lambda: self._active_writes == 0, self.policy.request_timeout + self.policy.ttl
            )

    def _unregister_if_over(self) -> None:
        """Unregister a lost attempt, once none of its writes is in progress."""
        if self._loss_reason is not None and self._active_writes == 0:
            heartbeat.unregister(self)

    @property
    def lost(self) -> bool:
        """Whether the lease is lost."""
        return self._loss_reason is not None

    def _raise_if_lost(self) -> None:
        if self._loss_reason is not None:
            msg = f"{self._loss_reason}; what this attempt ({self.id}) wrote is discarded. Run the step again"
            raise LeaseLost(msg)

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = f"the attempt on {self.url} belongs to the process that opened it; send the CacheDir instead"
        raise TypeError(msg)


def find_open_attempt(attempt_id: str) -> Attempt | None:
    """Return the open attempt of this process with this id, or None."""
    return cast("Attempt | None", heartbeat.registered_attempt(attempt_id))


def find_open_attempt_at(url: str, account: str | None = None) -> Attempt | None:
    """Return the newest open attempt of this process on the node at `url` in a store of `account` (None: any)."""
    return cast("Attempt | None", heartbeat.registered_attempt_at(url, account))
