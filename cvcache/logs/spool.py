"""The text of one log: collected in a temporary file, written in parts while the step runs, whole at the end."""

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
"""Age at which waiting text is written as a part, whatever its size."""

PART_BYTES = 64 << 10
"""Size at which waiting text is written as a part, whatever its age."""

EDGE_BYTES = 32 << 20
"""Bytes kept of the beginning, and of the end, of a log that is longer than twice this."""

_MAX_MEMORY_BYTES = 1 << 20
_MAX_PART_BYTES = 8 << 20  # a part is in memory while it is sent; the rest follows in the next part
_MAX_SMALL_PARTS = 64  # after these each part is larger than the one before, so that their number stays small


class LogSpool:
    """The output of a step so far. Thread-safe; ignores text from a forked child process."""

    def __init__(self, attempt: Attempt, name: str) -> None:
        self.attempt = attempt
        self.name = name
        self.task = current_task()
        self._file = tempfile.SpooledTemporaryFile(max_size=_MAX_MEMORY_BYTES)  # noqa: SIM115 - closed by `close`
        self._size = 0
        self._position_moved = False  # a seek costs a system call
        self._partial_lines: dict[int, bytes] = {}  # thread -> its line that has no end yet
        self._sent_bytes = 0
        self._parts = 0
        self._next_end = 0
        self._waiting_since = 0.0
        self._lost_bytes = 0
        self._closed = False
        self._flush_disabled = False
        self._warned = False
        self._text_lock = threading.RLock()
        self._flush_lock = threading.Lock()
        self._pid = os.getpid()

    def write(self, text: str) -> None:
        """Add text, with the lines of each thread unbroken; never raises, even if the temporary directory is full."""
        data = text.encode("utf-8", "backslashreplace")
        if not data or os.getpid() != self._pid:
            return
        with self._text_lock:
            if self._closed:
                return
            before = self._waiting_bytes()
            if not before:
                self._waiting_since = time.monotonic()
            thread = threading.get_ident()
            data = self._partial_lines.pop(thread, b"") + data
            end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1 if len(data) < PART_BYTES else len(data)
            self._append(data[:end])
            if data[end:]:
                self._partial_lines[thread] = data[end:]
            urgent = before < self._part_threshold() <= self._waiting_bytes()
        if urgent:
            _flusher.wake()

    def _append(self, data: bytes) -> None:
        try:
            if self._position_moved:
                self._file.seek(self._size)
            self._file.write(data)
        except OSError:
            self._lost_bytes += len(data)
            self._position_moved = True
        else:
            self._size += len(data)
            self._position_moved = False

    def _append_partial_lines(self) -> None:
        """Append the lines that have no end yet."""
        self._append(b"".join(self._partial_lines.values()))
        self._partial_lines.clear()

    def _waiting_bytes(self) -> int:
        return self._size - self._sent_bytes + sum(map(len, self._partial_lines.values()))

    def _part_threshold(self) -> int:
        return max(PART_BYTES, self._sent_bytes // _MAX_SMALL_PARTS)

    def is_due(self) -> bool:
        """Whether a part should be written now."""
        with self._text_lock:
            waiting = self._waiting_bytes()
            old = time.monotonic() - self._waiting_since >= PART_SECONDS
            return (
                not self._closed
                and not self._flush_disabled
                and waiting > 0
                and (old or waiting >= self._part_threshold())
            )

    def flush(self) -> None:
        """Write the text since the last part to the store; after an error the same bytes are written again later."""
        with self._flush_lock:
            if self._closed:
                return
            try:
                data = self._next_part()
                path = f"{self._folder}/{layout.part_name(self._parts + 1)}"
                with self.attempt.writing_item(self.name):
                    self.attempt.store.put(path, data)
            except Exception as error:  # noqa: BLE001 - what cannot be written now is written later, or at the end
                self._warn_once(error)
            else:
                self._parts += 1
                with self._text_lock:
                    self._sent_bytes, self._next_end = self._next_end, 0
            with self._text_lock:
                self._waiting_since = time.monotonic()

    def _next_part(self) -> bytes:
        with self._text_lock:
            self._append_partial_lines()
            self._next_end = self._next_end or min(self._size, self._sent_bytes + _MAX_PART_BYTES)
            data = self._read(self._sent_bytes, self._next_end)
            if self._next_end < self._size and (end := data.rfind(b"\n") + 1):
                self._next_end, data = self._sent_bytes + end, data[:end]
            return data

    def _warn_once(self, error: Exception) -> None:
        """Warn once that parts cannot be written; give up on parts if the node was lost or the name is taken."""
        self._flush_disabled = isinstance(error, CvcacheError)
        if not self._flush_disabled and not self._warned:
            self._warned = True
            logger.warning("%s/%s cannot be shown yet (%s)", self.attempt.url, self.name, error)

    def _read(self, start: int, end: int) -> bytes:
        self._position_moved = True
        self._file.seek(start)
        return self._file.read(end - start)

    def close(self) -> str:
        """Stop taking text and return all of it, without the middle of a very long log."""
        with self._flush_lock, self._text_lock:
            self._closed = True
            with self._file:
                self._append_partial_lines()
                if self._size <= 2 * EDGE_BYTES:
                    text = self._read(0, self._size).decode()
                else:
                    head, tail = self._read(0, EDGE_BYTES), self._read(self._size - EDGE_BYTES, self._size)
                    text = cut_middle(head, tail, self._size)
        return (
            text + f"\n[{self._lost_bytes} bytes are lost: no room for temporary files]\n" if self._lost_bytes else text
        )

    def delete_parts(self) -> None:
        """Delete the parts; no store call if there are none."""
        if self._parts:
            names = [layout.part_name(number + 1) for number in range(self._parts)]
            within = layout.log_parts_dir(self.attempt.path, self.attempt.id)
            with self.attempt.writing():
                self.attempt.store.delete([f"{self._folder}/{name}" for name in names], within=within)

    @property
    def _folder(self) -> str:
        return layout.log_parts_dir(self.attempt.path, self.attempt.id, self.name)


def cut_middle(head: bytes, tail: bytes, size: int) -> str:
    """Return whole lines of both ends of a text of `size` bytes, with a line that counts the missing bytes."""
    head = head[: head.rfind(b"\n") + 1]
    tail = tail[tail.find(b"\n") + 1 :]
    missing = size - len(head) - len(tail)
    return f"{head.decode(errors='replace')}{_CUT_MARK.format(missing)}{tail.decode(errors='replace')}"


_CUT_MARK = "[{} bytes in between are left out]\n"


class _Flusher:
    """One daemon thread that writes the parts of all open logs of this process."""

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


def start_flushing(log: LogSpool) -> None:
    """Write the text of `log` in parts from now on."""
    _flusher.add(log)


def stop_flushing(log: LogSpool) -> None:
    """Write no more parts of `log`."""
    _flusher.discard(log)


def _after_fork_in_child() -> None:
    """Replace the flusher: its locks and thread do not survive a fork."""
    global _flusher  # noqa: PLW0603 - one thread per process
    _flusher = _Flusher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
