"""Read the log of a node: in parts while its step runs or after it died, and as a whole."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator

from cvcache.errors import ItemNotFound
from cvcache.logs.parts import read_log_parts
from cvcache.protocol import (
    Record,
    describe_owner,
    owner_is_dead,
    read_newest_record,
    standing_record,
    standing_text,
)
from cvcache.store import Store, check_item_name, data_root, failed_log_path, successor_path

MIN_POLL_SECONDS, MAX_POLL_SECONDS = 0.5, 2.0
"""Seconds between two requests for new text: right after new text, and after a long time without."""

_CUT_MARK = re.compile(rb"^\[(\d+) bytes in between are left out\]\n", re.MULTILINE)


def read_log(store: Store, path: str, record: Record | None, name: str, read: Callable[[str], object]) -> object:
    """Return the log of the attempt of `record`: the whole log by `read`, or the parts of an attempt that runs or died.

    Raises
    ------
    ItemNotFound
        There is neither a log nor a part of it.

    Notes
    -----
    The store calls of `read`; without a whole log also one LIST, and one GET for each part.
    """
    try:
        return read(name)
    except ItemNotFound:
        parts = read_log_parts(store, path, record.attempt, check_item_name(name)) if record else []
        if not parts and record is not None and record.state == "claimed":
            found = f"{store.url(path)}: the newest attempt has kept nothing of {name!r} so far"
            msg = f"{found} (text is kept once it is a few seconds old){_meanwhile(record)}"
            raise ItemNotFound(msg) from None
        if not parts:
            raise
        return b"".join(parts).decode(errors="replace")


class Tail:
    """Follows the log `name` of the node at `path`: each `look` returns the new text.

    Attributes
    ----------
    state : str
        State of the node at the last look: ``"absent"``, ``"running"``, ``"committed"`` or ``"failed"``.
    ended : bool
        Whether no more text can come: the attempt is committed, failed or removed.
    """

    def __init__(self, store: Store, path: str, name: str = "run.log") -> None:
        self.state = "absent"
        self.ended = False
        self._store, self._path, self._name = store, path, check_item_name(name)
        self._record: Record | None = None
        self._part_count = 0
        self._byte_count = 0

    def look(self) -> str:
        """Return the text that is new since the last look.

        Notes
        -----
        One LIST and one GET, and one GET for each new part; one LIST and two GET more at the beginning and at the end,
        and one GET where the newest attempt was given up while a result stands.
        """
        text = b""
        if self._record is None:
            text += self._start_attempt(read_newest_record(self._store, self._path))
        if self._record is not None and not self.ended:
            text += self._new_parts()
            if self._has_successor_or_died(self._record):
                text += self._finish_attempt(self._record)
        return text.decode(errors="replace")

    def _start_attempt(self, record: Record | None) -> bytes:
        """Follow the attempt of `record` from now on."""
        self._record, self._part_count, self._byte_count = None, 0, 0
        self.state = "absent"
        if record is not None and record.state == "released":
            record = standing_record(self._store, self._path, record)
        if record is None or record.state in {"removing", "removed"}:
            return b""
        self._record = record
        self.state = "running" if record.state == "claimed" else record.state
        if record.state == "claimed":
            return b""
        self.ended = True
        return self._unread_rest(record)

    def _new_parts(self) -> bytes:
        attempt = self._record.attempt if self._record else ""
        parts = read_log_parts(self._store, self._path, attempt, self._name, after=self._part_count)
        self._part_count += len(parts)
        text = b"".join(parts)
        self._byte_count += len(text)
        return text

    def _has_successor_or_died(self, record: Record) -> bool:
        try:
            self._store.get(successor_path(self._path, record), 0, 1)
        except FileNotFoundError:
            return owner_is_dead(record.owner)
        return True

    def _finish_attempt(self, claim: Record) -> bytes:
        """Return the last text of an attempt that no longer runs, and the first of the attempt that follows it."""
        record = read_newest_record(self._store, self._path)
        if record is not None and record.state == "claimed" and record.attempt == claim.attempt:
            self.state, self.ended = "failed", True
            line = f"--- the process died before its commit ({describe_owner(record)}){_meanwhile(record)}\n"
            return self._new_parts() + line.encode()
        if record is not None and record.attempt == claim.attempt and record.state != "released":
            self.state, self.ended = record.state, True
            return self._unread_rest(record)
        text = self._unread_rest(claim)
        if record is None or record.state in {"removing", "removed"}:
            self.state, self.ended = "absent", True
            return text + b"--- the node was removed\n"
        if record.state == "released":
            text += f"--- the attempt was given up{_meanwhile(record)}\n".encode()
            if record.standing is None:
                return text + self._start_attempt(record)
            self.state, self.ended = "committed", True
            return text
        why = "; ".join(record.reason)
        message = f"--- begun anew by {describe_owner(record)}: {why}\n"
        return text + message.encode() + self._start_attempt(record)

    def _unread_rest(self, record: Record) -> bytes:
        """Return the text of the whole log that was not in the parts."""
        kept = failed_log_path(self._path, record.attempt, self._name)
        own = f"{data_root(self._path, record)}/{self._name}"
        for path in (kept,) if record.state == "claimed" else (own, kept):
            try:
                return log_bytes_after(self._store.get(path), self._byte_count)
            except FileNotFoundError:
                continue
        return self._new_parts()


def _meanwhile(record: Record) -> str:
    standing = standing_text(record)
    return f"; the {standing}" if standing else ""


def log_bytes_after(whole: bytes, read_count: int) -> bytes:
    """Return the bytes after the first `read_count` bytes of a log whose middle may be left out."""
    mark = _CUT_MARK.search(whole)
    if mark is None or read_count <= mark.start():
        return whole[read_count:]
    tail = whole[mark.end() :]
    unread = mark.start() + int(mark[1]) + len(tail) - read_count
    return tail[max(0, len(tail) - unread) :] if unread > 0 else b""


def iter_log(
    store: Store,
    path: str,
    name: str = "run.log",
    *,
    sleep: Callable[[float], object] = time.sleep,
    on_waiting: Callable[[], object] | None = None,
) -> Generator[str, None, str]:
    """Yield the text of a log as it grows, until its attempt has ended; the return value is the state of the node.

    Waits for a node that does not exist yet. If another attempt takes over, its log follows.

    Parameters
    ----------
    store : Store
        The store of the node, ``node.store``.
    path : str
        Path of the node in the store, ``node.path``.
    name : str
        Name of the log.
    sleep : callable
        Called with 0.5 to 2 seconds between two looks.
    on_waiting : callable, optional
        Called once if there is no attempt yet.

    Notes
    -----
    Per look one LIST and one GET, and one GET for each new part.
    """
    tail = Tail(store, path, name)
    poll_seconds = MIN_POLL_SECONDS
    while True:
        text = tail.look()
        if text:
            yield text
            poll_seconds = MIN_POLL_SECONDS
        if tail.ended:
            return tail.state
        if tail.state == "absent" and on_waiting is not None:
            on_waiting()
            on_waiting = None
        sleep(poll_seconds)
        poll_seconds = min(poll_seconds * 1.5, MAX_POLL_SECONDS)
