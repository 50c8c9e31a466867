"""Start worker processes, wait for what they report, kill and stop them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

__all__ = ["Herd", "Worker"]

_PATIENCE = 60.0
"""Seconds after which a test gives up on a worker: far more than anything here takes."""


class Worker:
    """One process of a herd.

    Attributes
    ----------
    number
        Its name in the herd.
    events
        What it has reported so far, "born" first and "gone" last; "stopped" is the kernel's word for it.
    """

    def __init__(self, herd: Herd, number: int) -> None:
        self._herd = herd
        self.number = number
        self.events: list[dict[str, Any]] = []

    def all(self, event: str) -> list[dict[str, Any]]:
        """Give the reports of one kind."""
        return [report for report in list(self.events) if report["event"] == event]

    def said(self, event: str) -> dict[str, Any] | None:
        """Give the newest report of one kind, if there is one."""
        return next(iter(self.all(event)[::-1]), None)

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        return self.said("gone") is not None

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it lives."""
        report = self.said("gone")
        return None if report is None else report["status"]

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._herd.order({"number": self.number, "signal": int(number)})

    def kill(self) -> None:
        """Send SIGKILL."""
        self.signal(signal.SIGKILL)

    def wait_for(self, event: str, timeout: float = _PATIENCE) -> dict[str, Any]:
        """Wait for a report; an end without it fails the test."""
        self._herd.wait(lambda: bool(self.said(event)) or self.gone, timeout, f"{event!r} of worker {self.number}")
        report = self.said(event)
        if report is None:
            raise AssertionError(f"worker {self.number} ended without {event!r}: {self.events} {self._herd.log()}")
        return report

    def join(self, timeout: float = _PATIENCE) -> None:
        """Wait for the end, which has to be a good one."""
        self._herd.wait(lambda: self.gone, timeout, f"the end of worker {self.number}")
        assert self.status == 0, (self.events, self._herd.log())

    def wait_gone(self, timeout: float = _PATIENCE) -> int:
        """Wait for the end, whatever it is, and give the status."""
        return int(self.wait_for("gone", timeout)["status"])


class Herd:
    """Workers under one nursery, open for the length of a ``with`` block; all of them end with it.

    Parameters
    ----------
    prefix
        A command that runs the nursery, such as ``unshare`` with its options.
    modules
        What the nursery imports so that no worker has to.
    """

    def __init__(self, *, prefix: Sequence[str] = (), modules: Sequence[str] = ()) -> None:
        self._command = [*prefix, sys.executable, "-m", "processes.nursery", *modules]
        self._workers: dict[int, Worker] = {}
        self._news = threading.Condition()
        self._pen = threading.Lock()
        self._ended = False

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        self._listener = threading.Thread(target=self._listen, name="herd", daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # a worker that is stopped dies of SIGKILL all the same
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(10)
        self._process.stdout.close()
        self._log.close()

    def spawn(self, task: str, **arguments: Any) -> Worker:
        """Start a worker on a task of `processes.worker`."""
        with self._news:
            worker = Worker(self, len(self._workers))
            self._workers[worker.number] = worker
        self.order({"number": worker.number, "task": task, "arguments": arguments})
        return worker

    def order(self, order: dict[str, Any]) -> None:
        """Send one order to the nursery."""
        with self._pen:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()

    def wait(self, until: Callable[[], bool], timeout: float, what: str = "") -> bool:
        """Wait until something is so; say whether it is, or fail if `what` names it."""
        with self._news:
            so = self._news.wait_for(lambda: until() or self._ended, timeout)
            so = so and until()
        if what and not so:
            raise AssertionError(f"no {what} within {timeout} s; {self.log()}")
        return so

    def log(self) -> str:
        """Give the end of what the workers printed."""
        self._log.seek(0)
        return self._log.read()[-3000:].decode(errors="replace")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            report = json.loads(line)
            with self._news:
                self._workers[report["number"]].events.append({**report, "at": time.monotonic()})
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()
