"""Reading the log of a node while its step runs, after it died, and whole."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator

from cvcache.errors import ItemNotFound
from cvcache.logs.parts import read_parts
from cvcache.protocol import Record, describe_owner, is_dead, read_newest
from cvcache.store import Store, attempt_root, check_item_name, data_root, successor_path

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 2.0
"""Seconds between two looks at a log: right after something new, and after a long silence."""

_CUT = re.compile(rb"^\[(\d+) bytes in between are left out\]\n", re.MULTILINE)


def read_log(store: Store, path: str, record: Record | None, name: str, read: Callable[[str], object]) -> object:
    """Return the log of the attempt of `record`: whole, by `read`, or what there is of one that runs or died.

    Raises
    ------
    ItemNotFound
        There is nothing of it.

    Notes
    -----
    What `read` costs; for a log that is not whole one LIST more, and one GET for each part.
    """
    try:
        return read(name)
    except ItemNotFound:
        parts = read_parts(store, path, record.attempt, check_item_name(name)) if record else []
        if not parts:
            raise
        return b"".join(parts).decode(errors="replace")


class Tail:
    """What is new in the log `name` of the node at `path`, look by look.

    Attributes
    ----------
    state : str
        Of the node, as last seen: ``"absent"``, ``"running"``, ``"committed"`` or ``"failed"``.
    over : bool
        Whether nothing more can come: the attempt that was followed is committed, failed or removed.
    """

    def __init__(self, store: Store, path: str, name: str = "run.log") -> None:
        self.state = "absent"
        self.over = False
        self._store, self._path, self._name = store, path, check_item_name(name)
        self._record: Record | None = None
        self._parts = 0
        self._bytes = 0

    def look(self) -> str:
        """Return the text that has come since the last look.

        Notes
        -----
        One LIST and one GET, and one GET for each new part; at the beginning and the end one LIST and two GET more.
        """
        text = b""
        if self._record is None:
            text += self._begin(read_newest(self._store, self._path))
        if self._record is not None and not self.over:
            text += self._new_parts()
            if self._has_ended(self._record):
                text += self._end(self._record)
        return text.decode(errors="replace")

    def _begin(self, record: Record | None) -> bytes:
        """Follow `record` from now on."""
        self._record, self._parts, self._bytes = None, 0, 0
        self.state = "absent"
        if record is None or record.state in {"released", "removing", "removed"}:
            return b""
        self._record = record
        self.state = "running" if record.state == "claimed" else record.state
        if record.state == "claimed":
            return b""
        self.over = True
        return self._rest(record)

    def _new_parts(self) -> bytes:
        attempt = self._record.attempt if self._record else ""
        parts = read_parts(self._store, self._path, attempt, self._name, after=self._parts)
        self._parts += len(parts)
        text = b"".join(parts)
        self._bytes += len(text)
        return text

    def _has_ended(self, record: Record) -> bool:
        try:
            self._store.get(successor_path(self._path, record), 0, 1)
        except FileNotFoundError:
            return is_dead(record.owner)
        return True

    def _end(self, claim: Record) -> bytes:
        """Return what is left to say of an attempt that runs no longer, and of what follows it."""
        record = read_newest(self._store, self._path)
        if record is not None and record.state == "claimed" and record.attempt == claim.attempt:
            self.state, self.over = "failed", True
            return self._new_parts() + f"--- the process died before its commit ({describe_owner(record)})\n".encode()
        if record is not None and record.attempt == claim.attempt and record.state != "released":
            self.state, self.over = record.state, True
            return self._rest(record)
        text = self._rest(claim)
        if record is None or record.state in {"removing", "removed"}:
            self.state, self.over = "absent", True
            return text + b"--- the node was removed\n"
        if record.state == "released":
            return text + b"--- the attempt was given up\n" + self._begin(record)
        why = "; ".join(record.reason)
        says = f"--- begun anew by {describe_owner(record)}: {why}\n"
        return text + says.encode() + self._begin(record)

    def _rest(self, record: Record) -> bytes:
        """Return what of the whole log was not in the parts."""
        kept = f"{self._path}/{attempt_root(record.attempt)}"
        for where in dict.fromkeys([kept if record.state == "claimed" else data_root(self._path, record), kept]):
            try:
                return bytes_after(self._store.get(f"{where}/{self._name}"), self._bytes)
            except FileNotFoundError:
                continue
        return self._new_parts()


def bytes_after(whole: bytes, seen: int) -> bytes:
    """Return what follows the first `seen` bytes of a log, whose middle may be left out."""
    cut = _CUT.search(whole)
    if cut is None or seen <= cut.start():
        return whole[seen:]
    tail = whole[cut.end() :]
    unseen = cut.start() + int(cut[1]) + len(tail) - seen
    return tail[max(0, len(tail) - unseen) :] if unseen > 0 else b""


def follow(
    store: Store,
    path: str,
    name: str = "run.log",
    *,
    sleep: Callable[[float], object] = time.sleep,
    waiting: Callable[[], object] | None = None,
) -> Generator[str, None, str]:
    """Yield the log of the node at `path` as it comes, until its attempt has ended; return the state of the node then.

    Goes on into the attempt that takes over. Waits for a node that does not exist yet.

    Parameters
    ----------
    store : Store
        That keeps the node, ``node.store``.
    path : str
        Where it lies in there, ``node.location``.
    name : str
        The log.
    sleep : callable
        Waits between two looks, 0.5 s to 2 s.
    waiting : callable, optional
        Called once if there is no attempt to follow yet.

    Notes
    -----
    Each look is one LIST and one GET, and one GET for each new part of the log.
    """
    tail = Tail(store, path, name)
    pause = FIRST_PAUSE
    while True:
        text = tail.look()
        if text:
            yield text
            pause = FIRST_PAUSE
        if tail.over:
            return tail.state
        if tail.state == "absent" and waiting is not None:
            waiting()
            waiting = None
        sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE)
