"""The attempts this process holds, by the URL of their node, and the heartbeat of all of them."""

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
    """An attempt, as far as its heartbeat goes."""

    record: Record

    @property
    def id(self) -> str:
        """The attempt's id."""

    @property
    def url(self) -> str:
        """Address of the node."""

    def beat(self) -> None:
        """Advance the counter in the store, and look whether the attempt still stands."""

    def lose_after_fork(self) -> None:
        """Take the right to write from what a forked child inherits."""


_open_attempts: dict[str, HeartbeatTarget] = {}
_pending_claims: set[str] = set()
_open_lock = threading.RLock()


@contextlib.contextmanager
def pending_claim(attempt_id: str) -> Iterator[None]:
    """Tell the other threads of this process that the attempt is alive while its claim is under way."""
    with _open_lock:
        _pending_claims.add(attempt_id)
    try:
        yield
    finally:
        with _open_lock:
            _pending_claims.discard(attempt_id)


def is_pending_claim(attempt_id: str) -> bool:
    """Whether a thread of this process is about to open the attempt."""
    with _open_lock:
        return attempt_id in _pending_claims


def register(attempt: HeartbeatTarget) -> None:
    """Make `attempt` known in this process and start its heartbeat."""
    with _open_lock:
        _open_attempts[attempt.url] = attempt
    _heartbeat_thread.start()


def unregister(attempt: HeartbeatTarget) -> None:
    """Stop the heartbeat of `attempt`."""
    with _open_lock:
        if _open_attempts.get(attempt.url) is attempt:
            del _open_attempts[attempt.url]


def registered_attempt(url: str) -> HeartbeatTarget | None:
    """Return what this process holds on the node at `url`."""
    with _open_lock:
        return _open_attempts.get(url)


class _HeartbeatThread:
    """One daemon thread that beats for every open attempt at a quarter of its lease."""

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
            due = {i: due.get(i, now + a.record.ttl / 4) for i, a in attempts.items()}
            for i in [i for i in due if due[i] <= now]:
                due[i] = now + attempts[i].record.ttl / 4
                try:
                    attempts[i].beat()
                except Exception as error:  # noqa: BLE001 - a beat that fails is tried again; the log decides who is lost
                    logger.warning("heartbeat for %s failed (%s); trying again", attempts[i].url, error)
            self._wake.wait(min([at - now for at in due.values()], default=3600.0))
            self._wake.clear()


_heartbeat_thread = _HeartbeatThread()


def _after_fork_in_child() -> None:
    """Take the right to write from the handles a forked child inherits: two processes would use it."""
    global _heartbeat_thread, _open_lock  # noqa: PLW0603 - locks and threads do not survive a fork
    _open_lock = threading.RLock()
    for attempt in list(_open_attempts.values()):
        attempt.lose_after_fork()
    _open_attempts.clear()
    _pending_claims.clear()
    _heartbeat_thread = _HeartbeatThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
