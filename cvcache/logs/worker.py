"""A worker's side of a step's log: collects what its tasks say, and sends it in messages neither large nor many."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

from cvcache.logs import route

ANNOTATION = "cvcache_log"
"""Name of what a task carries: the topic of the process its step runs in, a slash, the name of the log."""

SECONDS = 0.5
"""How long a worker keeps text to itself at most."""

MESSAGE = 16 << 10
"""Characters after which it is sent at once."""

ALLOWANCE = 1 << 20
"""Characters that one worker sends in a second; what is more is counted only."""

clients: weakref.WeakSet[Any] = weakref.WeakSet()
"""The clients of this process whose clusters send what their workers say."""


class _TaskLog:
    """What one task says: what is not sent yet, and how much is never going to be."""

    def __init__(self, speaker: Speaker, task: Any, topic: str, log: str) -> None:
        self.speaker, self.task, self.topic, self.log = speaker, task, topic, log
        self.text = ""
        self.lost = 0

    def write(self, text: str) -> None:
        """Send it soon."""
        self.speaker.add(self, text.encode("utf-8", "backslashreplace").decode())


class Speaker:
    """What the tasks of one worker say, on its way to the steps they work for."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._name = worker.name if isinstance(worker.name, str) and worker.name else worker.address
        self._tasks: dict[Any, _TaskLog] = {}
        self._lock = threading.RLock()
        self._timer = False
        self._second, self._left = 0, ALLOWANCE
        # in a process where steps run, tees are in place as long as one does
        self._installed = not clients
        if self._installed:
            route.install()

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - as it is called
        """Put the streams of the worker back."""
        if self._installed:
            self._installed = False
            route.uninstall()

    def log_of(self, task: Any) -> route.Log | None:
        """Return where the output of a task that runs here goes; None where nobody asked for it."""
        with self._lock:
            if task in self._tasks:
                return self._tasks[task]
        state = self._worker.state.tasks.get(task)
        annotations = (state.annotations if state is not None else None) or {}
        topic, slash, name = str(annotations.get(ANNOTATION, "")).rpartition("/")
        return _TaskLog(self, task, topic, name) if slash else None

    def add(self, log: _TaskLog, text: str) -> None:
        """Take text of a task."""
        with self._lock:
            log = self._tasks.setdefault(log.task, log)
            log.text += text
            if len(log.text) >= MESSAGE:
                self._send(log, whole=len(log.text) >= 2 * MESSAGE)
            if not self._timer:
                self._timer = True
                self._worker.loop.add_callback(self._worker.loop.call_later, SECONDS, self._tick)

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:  # noqa: ARG002 - as it is called
        """Send what is left of a task that ends, before the news of it."""
        with self._lock:
            if start in {"executing", "long-running"} and (log := self._tasks.pop(key, None)):
                self._send(log, whole=True)

    def _tick(self) -> None:
        with self._lock:
            self._timer = False
            for log in self._tasks.values():
                self._send(log, whole=False)
            # a thread may go on after the task that started it
            self._tasks = {task: log for task, log in self._tasks.items() if log.text}

    def _send(self, log: _TaskLog, *, whole: bool) -> None:
        """Send the complete lines of a task, or all it said; what is over the allowance is counted."""
        length = len(log.text) if whole else log.text.rfind("\n") + 1
        said, log.text = log.text[:length], log.text[length:]
        if self._second != (now := int(time.monotonic())):
            self._second, self._left = now, ALLOWANCE
        log.lost += max(0, len(said) - self._left)
        said = said[: self._left]
        self._left -= len(said)
        if log.lost and (said or whole):
            said += f"\n[{log.lost} characters are left out: too many a second]\n"
            log.lost = 0
        for piece in pieces(said):
            self._worker.log_event(log.topic, {"log": log.log, "worker": self._name, "text": piece})


def pieces(text: str) -> Iterator[str]:
    """Yield whole lines, together no longer than a message; a longer line is broken, an incomplete one ended."""
    while text:
        end = len(text) if len(text) <= MESSAGE else text.rfind("\n", 0, MESSAGE) + 1 or MESSAGE
        piece, text = text[:end], text[end:]
        yield piece if piece.endswith("\n") else piece + "\n"
