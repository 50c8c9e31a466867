"""The memory tier: bytes of committed items, the most recently used ones, up to a number of bytes.

An entry is named by its commit, whose bytes never change, so it cannot be stale; and bytes cannot be changed by whoever
gets them, so no caller's object is another one's. What is decoded is decoded again: that costs less than to copy it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from cvcache.errors import UsageError

ENTRY_OVERHEAD = 200  # bytes that a name and its place in the table cost


class MemoryCache:
    """Bytes by name, the least recently used of which make room for others. Safe to use from several threads.

    Parameters
    ----------
    limit : int or str
        Bytes that are kept at most, such as ``"4GB"`` (10⁹ each) or ``"512MiB"`` (2²⁰ each).

    Raises
    ------
    UsageError
        If `limit` is no positive number of bytes.
    """

    def __init__(self, limit: int | str) -> None:
        self.limit = _bytes_of(limit)
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes that are kept now."""
        return self._size

    def get(self, name: Hashable) -> bytes | None:
        """Return what is kept under `name`, or None."""
        with self._lock:
            found = self._kept.get(name)
            if found is not None:
                self._kept.move_to_end(name)
            return found

    def put(self, name: Hashable, data: bytes) -> None:
        """Keep `data` under `name`, unless it alone is over the limit."""
        size = len(data) + ENTRY_OVERHEAD
        if size > self.limit:
            return
        with self._lock:
            if name in self._kept:
                return
            self._kept[name] = data
            self._size += size
            while self._size > self.limit:
                _, oldest = self._kept.popitem(last=False)
                self._size -= len(oldest) + ENTRY_OVERHEAD

    def __repr__(self) -> str:
        return f"Ram({self.limit})"


def _bytes_of(limit: object) -> int:
    """Return a number of bytes from what a person writes."""
    if isinstance(limit, str):
        from dask.utils import parse_bytes

        try:
            limit = parse_bytes(limit)
        except ValueError as error:
            msg = f"ram={limit!r} is no number of bytes ({error}); write one such as '4GB' or '512MiB'"
            raise UsageError(msg) from None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit <= 0:
        msg = f"ram={limit!r} is no positive number of bytes; write one such as '4GB' or '512MiB'"
        raise UsageError(msg)
    return limit
