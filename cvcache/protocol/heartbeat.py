"""The open attempts of this process, and the thread that sends their heartbeats."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from cvcache.protocol.record import Record

logger = logging.getLogger("cvcache")


class HeartbeatTarget(Protocol):
    """What the heartbeat thread needs of an attempt."""

    record: Record

    @property
    def id(self) -> str:
        """The attempt's id."""

    @property
    def url(self) -> str:
        """Address of the node."""

    @property
    def account(self) -> str:
        """Of its store."""

    def beat(self) -> None:
        """Advance the counter in the store, and check that the lease is not lost."""

    def lose_after_fork(self) -> None:
        """Mark the lease as lost in a forked child."""


_open_attempts: dict[str, HeartbeatTarget] = {}
"""By their ids."""
_attempts_at_url: dict[str, list[HeartbeatTarget]] = {}
"""By the URL of their node: the newest last. Stores of several accounts can have a node at one URL."""
_pending_claims: set[str] = set()
_open_lock = threading.RLock()


@contextlib.contextmanager
def pending_claim(attempt_id: str) -> Iterator[None]:
    """Mark the attempt as alive for the other threads of this process, while its claim is being written."""
    with _open_lock:
        _pending_claims.add(attempt_id)
    try:
        yield
    finally:
        with _open_lock:
            _pending_claims.discard(attempt_id)


def is_pending_claim(attempt_id: str) -> bool:
    """Whether a thread of this process is writing the claim of the attempt."""
    with _open_lock:
        return attempt_id in _pending_claims


def register(attempt: HeartbeatTarget) -> None:
    """Register `attempt` as open in this process and start its heartbeat."""
    with _open_lock:
        _open_attempts[attempt.id] = attempt
        _attempts_at_url.setdefault(attempt.url, []).append(attempt)
    _heartbeat_thread.start()


def unregister(attempt: HeartbeatTarget) -> None:
    """Remove `attempt` from the open attempts and stop its heartbeat."""
    with _open_lock:
        if _open_attempts.pop(attempt.id, None) is not None:
            there = _attempts_at_url[attempt.url]
            there.remove(attempt)
            if not there:
                del _attempts_at_url[attempt.url]


def registered_attempt(attempt_id: str) -> HeartbeatTarget | None:
    """Return the open attempt of this process with this id, or None."""
    with _open_lock:
        return _open_attempts.get(attempt_id)


def registered_attempt_at(url: str, account: str | None) -> HeartbeatTarget | None:
    """Return the newest open attempt of this process on the node at `url` in a store of `account` (None: any)."""
    with _open_lock:
        there = _attempts_at_url.get(url, ())
        return next((attempt for attempt in reversed(there) if account in {None, attempt.account}), None)


class _HeartbeatThread:
    """One daemon thread that sends a heartbeat for every open attempt, four times per lease."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def start(self) -> None:
        with _open_lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="cvcache-heartbeat", daemon=True)
                self._thread.start()
        self._wake.set()

    def _run(self) -> None:
        due: dict[str, float] = {}
        while True:
            with _open_lock:
                attempts = {a.id: a for a in _open_attempts.values()}
            now = time.monotonic()
            due = {attempt_id: due.get(attempt_id, now + a.record.ttl / 4) for attempt_id, a in attempts.items()}
            for attempt_id in [attempt_id for attempt_id in due if due[attempt_id] <= now]:
                due[attempt_id] = now + attempts[attempt_id].record.ttl / 4
                try:
                    attempts[attempt_id].beat()
                except Exception as error:  # noqa: BLE001 - a failed heartbeat is sent again; the log decides whether the lease is lost
                    logger.warning("heartbeat for %s failed (%s); trying again", attempts[attempt_id].url, error)
            self._wake.wait(min([at - now for at in due.values()], default=3600.0))
            self._wake.clear()


_heartbeat_thread = _HeartbeatThread()


def _after_fork_in_child() -> None:
    """Mark every inherited lease as lost in a forked child: two processes would use it."""
    global _heartbeat_thread, _open_lock  # noqa: PLW0603 - locks and threads do not survive a fork
    _open_lock = threading.RLock()
    for attempt in list(_open_attempts.values()):
        attempt.lose_after_fork()
    _open_attempts.clear()
    _attempts_at_url.clear()
    _pending_claims.clear()
    _heartbeat_thread = _HeartbeatThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
