"""A store that kills or stops its own process at a named point of the protocol."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import threading
from typing import IO, TYPE_CHECKING, Any

from cvcache.store import local
from cvcache.testing import WrapperStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from io import FileIO

    from cvcache.store import Guard, Store

__all__ = ["KILL_POINTS", "NEED_LEFTOVERS", "POINTS", "STOP_POINTS", "Doom"]


@dataclasses.dataclass(frozen=True)
class Point:
    """Before or after the nth store call of one kind.

    Parameters
    ----------
    verb
        Of the store.
    path
        A regular expression searched in the key.
    after
        Whether the call is made before the process is.
    nth
        1 for the first such call.
    data
        Bytes that what is written must hold.
    """

    verb: str
    path: str
    after: bool = False
    nth: int = 1
    data: bytes = b""


POINTS = {
    "before the claim": Point("put_new", "/log/", data=b'"state":"claimed"'),
    "after the claim": Point("put_new", "/log/", after=True, data=b'"state":"claimed"'),
    "before the wipe": Point("find", "/writing$"),
    "mid wipe": Point("delete", "/piece$", after=True, nth=2),
    "before the announcements go": Point("delete", "/writing/"),
    "after an announcement": Point("put", "/writing/", after=True, nth=2),
    "before the first byte": Point("put", "/table.json$"),
    "mid data": Point("put", "/piece$", after=True, nth=2),
    "before a piece": Point("put", "/piece$", nth=4),
    "before the inventory": Point("put", "/inventory/"),
    "after the inventory": Point("put", "/inventory/", after=True),
    "before the fate": Point("put_new", "/log/", data=b'"state":"committed"'),
    "after the fate": Point("put_new", "/log/", after=True, data=b'"state":"committed"'),
    "before the sweep": Point("find", "/_cvcache$"),
    "after the removal began": Point("put_new", "/log/", after=True, data=b'"state":"removing"'),
    # half of the bytes of the nth file, whatever it is, are in its temporary file
    "half a file": Point("", ""),
}
_REMOVAL = "after the removal began"
KILL_POINTS = tuple(name for name in POINTS if name != _REMOVAL)
NEED_LEFTOVERS = frozenset({"before the wipe", "mid wipe", "before the announcements go", "before the sweep"})
"""Points that are only passed where somebody has been before."""
# before its claim nobody owns anything, and after its fate there is nothing left to rob it of
STOP_POINTS = tuple(
    name
    for name in KILL_POINTS
    if name not in {"before the claim", "after the fate", "before the sweep", "half a file"}
)


class Doom:
    """What happens to this process, once, and where.

    Parameters
    ----------
    point
        A name of `POINTS`.
    how
        The signal the process sends itself.
    report
        Told the point just before.
    nth
        Which file, for ``"half a file"``.
    """

    def __init__(self, point: str, how: int, report: Callable[..., None], nth: int = 3) -> None:
        self._name = point
        self._how = signal.Signals(how)
        self._report = report
        self._seen = 0
        self._done = False
        self._turn = threading.Lock()
        if point == "half a file":
            self.point = Point("", "", nth=nth)
            self._write = local._write
            local._write = self._write_half
        else:
            self.point = POINTS[point]

    def wrap(self, store: Store) -> DoomedStore:
        """Put the doom around a store."""
        return DoomedStore(store, self)

    def strike(self) -> None:
        """Send the signal at the nth time."""
        with self._turn:
            self._seen += 1
            if self._done or self._seen != self.point.nth:
                return
            self._done = True
        self._report("struck", point=self._name)
        os.kill(os.getpid(), self._how)

    def _write_half(self, file: FileIO, data: bytes) -> None:
        self._write(file, data[: len(data) // 2])
        self.strike()
        self._write(file, data[len(data) // 2 :])


class DoomedStore(WrapperStore):
    """Every verb passes the doom."""

    def __init__(self, store: Store, doom: Doom) -> None:
        super().__init__(store)
        self._doom = doom

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:
        """Carry out one verb, and strike before or after it."""
        point = self._doom.point
        fits = verb == point.verb and re.search(point.path, path) and point.data in (data or b"")
        if fits and not point.after:
            self._doom.strike()
        result = act()
        if fits and point.after:
            self._doom.strike()
        return result

    def delete(self, paths: Iterable[str], within: str | None = None) -> None:
        """Delete one by one; the directories go at the end, as the store itself does it."""
        paths = list(paths)
        for path in paths:
            self.call("delete", path, lambda p=path: self.store.delete([p]))  # type: ignore[misc]
        self.store.delete(paths, within)

    def open(self, path: str, mode: str, guard: Guard = contextlib.nullcontext) -> IO[bytes]:
        """Open the store's own file object: how it becomes visible is part of what is tested."""
        return self.store.open(path, mode, guard)
