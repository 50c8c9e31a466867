"""Timeouts, retries and requirements for a store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cvcache.errors import UsageError


@dataclass(frozen=True, slots=True)
class Policy:
    """Timeouts, retries and requirements for a store.

    Attributes
    ----------
    ttl : float
        Length of a lease: seconds without a heartbeat after which an owner on another machine counts as gone.
    wait : bool
        Whether to wait for a live owner; otherwise `NodeBusy` is raised at once.
    exclusive : {"auto", "none"}
        ``"auto"`` refuses a store that cannot elect one winner; ``"none"`` accepts it for one writer
        at a time, with a warning, and marks the records.
    retries : int
        How often a request is sent again after a transient error.
    request_timeout : float
        Seconds after which a request of a killed process no longer reaches the store; added to `ttl`.
    keep_old : bool
        Whether the result that stands stays until its successor is committed. False withdraws and deletes it before the
        first byte of the new one, for disks that are too small for both.
    record_host : bool
        Whether records name this machine.
    clock, sleep : callable
        Monotonic seconds, and a sleep; tests replace them.
    """

    ttl: float = 60.0
    wait: bool = True
    exclusive: str = "auto"
    retries: int = 5
    request_timeout: float = 10.0
    keep_old: bool = True
    record_host: bool = True
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        if self.exclusive not in {"auto", "none"}:
            msg = f"exclusive is 'auto' or 'none', not {self.exclusive!r}"
            raise UsageError(msg)
        if not self.ttl > 0:
            msg = f"ttl is a positive number of seconds, not {self.ttl!r}"
            raise UsageError(msg)
