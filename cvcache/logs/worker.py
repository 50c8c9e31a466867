"""The worker's side of a step's log: collect the output of tasks and send it in few messages of limited size."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

from cvcache.logs import route

ANNOTATION = "cvcache_log"
"""Name of a task's annotation; its value is ``topic/log``, where the topic is that of the process of the step."""

SEND_SECONDS = 0.5
"""Longest time that a worker keeps text before it sends it."""

MAX_MESSAGE_LENGTH = 16 << 10
"""Characters after which text is sent at once."""

MAX_CHARACTERS_PER_SECOND = 1 << 20
"""Most characters that one worker sends in a second; more are dropped and counted."""

clients: weakref.WeakSet[Any] = weakref.WeakSet()
"""The clients of this process that have subscribed to the output of their workers."""


class _TaskLog:
    """The output of one task: text that is not sent yet, and the number of characters that were dropped."""

    def __init__(self, sender: WorkerLogSender, task: Any, topic: str, log: str) -> None:
        self.sender, self.task, self.topic, self.log = sender, task, topic, log
        self.text = ""
        self.dropped = 0

    def write(self, text: str) -> None:
        """Add text; it is sent soon."""
        self.sender.add(self, text.encode("utf-8", "backslashreplace").decode())


class WorkerLogSender:
    """Sends the output of the tasks of one worker to the logs of their steps."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._name = worker.name if isinstance(worker.name, str) and worker.name else worker.address
        self._logs: dict[Any, _TaskLog] = {}
        self._lock = threading.RLock()
        self._timer_is_set = False
        self._second, self._allowance = 0, MAX_CHARACTERS_PER_SECOND
        # in the process of a client the steps install the tees themselves
        self._installed = not clients
        if self._installed:
            route.install()

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - signature of a plugin
        """Remove the tees of the worker."""
        if self._installed:
            self._installed = False
            route.uninstall()

    def log_of(self, task: Any) -> route.Log | None:
        """Return the log of a task that runs here; None if the task has no annotation."""
        with self._lock:
            if task in self._logs:
                return self._logs[task]
        state = self._worker.state.tasks.get(task)
        annotations = (state.annotations if state is not None else None) or {}
        topic, slash, name = str(annotations.get(ANNOTATION, "")).rpartition("/")
        return _TaskLog(self, task, topic, name) if slash else None

    def add(self, log: _TaskLog, text: str) -> None:
        """Add text of a task."""
        with self._lock:
            log = self._logs.setdefault(log.task, log)
            log.text += text
            if len(log.text) >= MAX_MESSAGE_LENGTH:
                self._send(log, whole=len(log.text) >= 2 * MAX_MESSAGE_LENGTH)
            if not self._timer_is_set:
                self._timer_is_set = True
                self._worker.loop.add_callback(self._worker.loop.call_later, SEND_SECONDS, self._tick)

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:  # noqa: ARG002 - signature of a plugin
        """Send the rest of a task that ends, before the message that it has ended."""
        with self._lock:
            if start in {"executing", "long-running"} and (log := self._logs.pop(key, None)):
                self._send(log, whole=True)

    def _tick(self) -> None:
        with self._lock:
            self._timer_is_set = False
            for log in self._logs.values():
                self._send(log, whole=False)
            # a thread may still write after its task has ended
            self._logs = {task: log for task, log in self._logs.items() if log.text}

    def _send(self, log: _TaskLog, *, whole: bool) -> None:
        """Send the complete lines of a task, or all of its text; what exceeds the allowance is dropped and counted."""
        length = len(log.text) if whole else log.text.rfind("\n") + 1
        text, log.text = log.text[:length], log.text[length:]
        if self._second != (now := int(time.monotonic())):
            self._second, self._allowance = now, MAX_CHARACTERS_PER_SECOND
        log.dropped += max(0, len(text) - self._allowance)
        text = text[: self._allowance]
        self._allowance -= len(text)
        if log.dropped and (text or whole):
            text += f"\n[{log.dropped} characters are left out: too many a second]\n"
            log.dropped = 0
        for message in split_into_messages(text):
            self._worker.log_event(log.topic, {"log": log.log, "worker": self._name, "text": message})


def split_into_messages(text: str) -> Iterator[str]:
    """Split text into messages of whole lines; a longer line is broken, and the last line gets an end."""
    while text:
        end = (
            len(text)
            if len(text) <= MAX_MESSAGE_LENGTH
            else text.rfind("\n", 0, MAX_MESSAGE_LENGTH) + 1 or MAX_MESSAGE_LENGTH
        )
        message, text = text[:end], text[end:]
        yield message if message.endswith("\n") else message + "\n"
