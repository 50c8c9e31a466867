"""A file object that reads one object by ranges."""

from __future__ import annotations

import io
from collections.abc import Callable


class RangeReader(io.RawIOBase):
    """Read `size` bytes through ``get(start, end)``; one request for each read, so put a buffer around it."""

    def __init__(self, get: Callable[[int, int], bytes], size: int) -> None:
        self._get = get
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io passes a memoryview
        end = min(self._at + len(buffer), self._size)
        if self._at >= end:
            return 0
        data = self._get(self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
