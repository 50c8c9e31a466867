"""The text of one log: collected in a temporary file, shown in parts while its step runs, whole at the end."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time

from cvcache.errors import CvcacheError
from cvcache.logs.route import current_task
from cvcache.protocol import Attempt
from cvcache.store import layout

logger = logging.getLogger("cvcache")

PART_SECONDS = 5.0
"""Age at which text is shown to others, however little it is."""

PART_BYTES = 64 << 10
"""Amount at which text is shown to others, however young it is."""

KEPT_BYTES = 32 << 20
"""Of a log longer than twice this, so much of its beginning and of its end is kept."""

_IN_MEMORY = 1 << 20
_LARGEST_PART = 8 << 20  # a part is in memory while it is sent; of who prints faster than that the rest comes later
_MOST_PARTS = 64  # from then on each is larger than the one before, so that their number stays small


class LogSpool:
    """What a step has said so far. Safe to use from several threads; a forked child's words are not taken."""

    def __init__(self, attempt: Attempt, name: str) -> None:
        self.attempt = attempt
        self.name = name
        self.task = current_task()
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by `whole`
        self._size = 0
        self._moved = False  # a seek costs a system call
        self._begun: dict[int, bytes] = {}  # by thread: its line that has no end yet
        self._sent = 0
        self._parts = 0
        self._next = 0
        self._since = 0.0
        self._lost = 0
        self._stopped = False
        self._hidden = False
        self._failed = False
        self._text = threading.RLock()
        self._sending = threading.Lock()
        self._process = os.getpid()

    def write(self, text: str) -> None:
        """Add text, each thread's lines whole; never an error, whatever state the temporary directory is in."""
        data = text.encode("utf-8", "backslashreplace")
        if not data or os.getpid() != self._process:
            return
        with self._text:
            if self._stopped:
                return
            before = self._waiting()
            if not before:
                self._since = time.monotonic()
            thread = threading.get_ident()
            data = self._begun.pop(thread, b"") + data
            end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 if len(data) < PART_BYTES else len(data)
            self._append(data[:end])
            if data[end:]:
                self._begun[thread] = data[end:]
            urgent = before < self._enough() <= self._waiting()
        if urgent:
            _flusher.wake()

    def _append(self, data: bytes) -> None:
        try:
            if self._moved:
                self._file.seek(self._size)
            self._file.write(data)
        except OSError:
            self._lost += len(data)
            self._moved = True
        else:
            self._size += len(data)
            self._moved = False

    def _end_lines(self) -> None:
        """Take what has no end of line yet as it is."""
        self._append(b"".join(self._begun.values()))
        self._begun.clear()

    def _waiting(self) -> int:
        return self._size - self._sent + sum(map(len, self._begun.values()))

    def _enough(self) -> int:
        return max(PART_BYTES, self._sent // _MOST_PARTS)

    def is_due(self) -> bool:
        """Whether there is text that others should see by now."""
        with self._text:
            waiting = self._waiting()
            old = time.monotonic() - self._since >= PART_SECONDS
            return not self._stopped and not self._hidden and waiting > 0 and (old or waiting >= self._enough())

    def flush(self) -> None:
        """Put the text since the last part into the store; after an error the very same bytes are put again later."""
        with self._sending:
            if self._stopped:
                return
            try:
                data = self._next_part()
                path = f"{self._where}/{layout.part_name(self._parts + 1)}"
                with self.attempt.writing_item(self.name):
                    self.attempt.store.put(path, data)
            except Exception as error:  # noqa: BLE001 - what cannot be shown now is shown later, or at the end
                self._say_hidden(error)
            else:
                self._parts += 1
                with self._text:
                    self._sent, self._next = self._next, 0
            with self._text:
                self._since = time.monotonic()

    def _next_part(self) -> bytes:
        with self._text:
            self._end_lines()
            self._next = self._next or min(self._size, self._sent + _LARGEST_PART)
            data = self._read(self._sent, self._next)
            if self._next < self._size and (end := data.rfind(b"\n") + 1):
                self._next, data = self._sent + end, data[:end]
            return data

    def _say_hidden(self, error: Exception) -> None:
        """Say once that nobody sees the log for now; for good where the node was lost or the name is taken."""
        self._hidden = isinstance(error, CvcacheError)
        if not self._hidden and not self._failed:
            self._failed = True
            logger.warning("%s/%s cannot be shown yet (%s)", self.attempt.url, self.name, error)

    def _read(self, start: int, end: int) -> bytes:
        self._moved = True
        self._file.seek(start)
        return self._file.read(end - start)

    def whole(self) -> str:
        """Return all of the text, without the middle of a very long one; nothing is taken or shown from now on."""
        with self._sending, self._text:
            self._stopped = True
            with self._file:
                self._end_lines()
                if self._size <= 2 * KEPT_BYTES:
                    text = self._read(0, self._size).decode()
                else:
                    head, tail = self._read(0, KEPT_BYTES), self._read(self._size - KEPT_BYTES, self._size)
                    text = cut(head, tail, self._size)
        return text + f"\n[{self._lost} bytes are lost: no room for temporary files]\n" if self._lost else text

    def delete_parts(self) -> None:
        """Delete what was shown meanwhile; no store call if that was nothing."""
        if self._parts:
            names = [layout.part_name(number + 1) for number in range(self._parts)]
            within = layout.log_parts_dir(self.attempt.path, self.attempt.id)
            with self.attempt.writing():
                self.attempt.store.delete([f"{self._where}/{name}" for name in names], within=within)

    @property
    def _where(self) -> str:
        return layout.log_parts_dir(self.attempt.path, self.attempt.id, self.name)


def cut(head: bytes, tail: bytes, size: int) -> str:
    """Return whole lines of the beginning and of the end of a text of `size` bytes, and what is missing in between."""
    head = head[: head.rfind(b"\n") + 1]
    tail = tail[tail.find(b"\n") + 1 :]
    missing = size - len(head) - len(tail)
    return f"{head.decode(errors='replace')}{_CUT.format(missing)}{tail.decode(errors='replace')}"


_CUT = "[{} bytes in between are left out]\n"


class _Flusher:
    """One daemon thread that shows what the open logs of this process hold."""

    def __init__(self) -> None:
        self._logs: set[LogSpool] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._idle = True
        self._thread: threading.Thread | None = None

    def add(self, log: LogSpool) -> None:
        with self._lock:
            self._logs.add(log)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cvcache-log", daemon=True)
                self._thread.start()
            elif self._idle:
                self._wake.set()

    def discard(self, log: LogSpool) -> None:
        with self._lock:
            self._logs.discard(log)

    def wake(self) -> None:
        self._wake.set()

    def _run(self) -> None:
        while True:
            with self._lock:
                logs = list(self._logs)
                self._idle = not logs
            for log in logs:
                if log.is_due():
                    log.flush()
            logs.clear()
            self._wake.wait(None if self._idle else PART_SECONDS / 10)
            self._wake.clear()


_flusher = _Flusher()


def show(log: LogSpool) -> None:
    """Show the text of `log` to others from time to time, until it is whole."""
    _flusher.add(log)


def stop_showing(log: LogSpool) -> None:
    """Show nothing more of `log`."""
    _flusher.discard(log)


def _after_fork_in_child() -> None:
    """Begin anew: locks and threads do not survive a fork."""
    global _flusher  # noqa: PLW0603 - the same
    _flusher = _Flusher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
