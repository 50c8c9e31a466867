"""The memory cache: bytes of the most recently used committed items, up to a limit.

The key of an entry contains its commit, whose bytes never change, so an entry cannot be stale. Bytes are immutable, so
no caller can change an entry. Decoded objects are not cached: to decode again costs less than to copy.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from cvcache.errors import UsageError

ENTRY_OVERHEAD = 200  # bytes of memory for a key and its entry


class MemoryCache:
    """A cache of bytes that evicts the least recently used entries. Safe to use from several threads.

    Parameters
    ----------
    limit : int or str
        Maximum size in bytes, such as ``"4GB"`` (10⁹ each) or ``"512MiB"`` (2²⁰ each).

    Raises
    ------
    UsageError
        If `limit` is no positive number of bytes.
    """

    def __init__(self, limit: int | str) -> None:
        self.limit = _bytes_of(limit)
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, bytes] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Size in bytes, with the overhead of the entries."""
        return self._size

    def get(self, key: Hashable) -> bytes | None:
        """Return the bytes of `key`, or None."""
        with self._lock:
            data = self._entries.get(key)
            if data is not None:
                self._entries.move_to_end(key)
            return data

    def put(self, key: Hashable, data: bytes) -> None:
        """Store `data` under `key`, unless it alone is over the limit."""
        size = len(data) + ENTRY_OVERHEAD
        if size > self.limit:
            return
        with self._lock:
            if key in self._entries:
                return
            self._entries[key] = data
            self._size += size
            while self._size > self.limit:
                _, evicted = self._entries.popitem(last=False)
                self._size -= len(evicted) + ENTRY_OVERHEAD

    def __repr__(self) -> str:
        return f"Ram({self.limit})"


def _bytes_of(limit: object) -> int:
    """Return the number of bytes for a limit such as ``"4GB"``."""
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
