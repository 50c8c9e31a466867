"""File objects over the objects of a bucket: one that reads ranges, one whose bytes are put when it is closed."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

Guard = Callable[[], AbstractContextManager[Any]]
"""Gives the context in which bytes may be published; it raises where they no longer may."""

SPOOL_BYTES = 16 << 20


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


class ObjectWriter(tempfile.SpooledTemporaryFile[bytes]):
    """Collect what is written, on disk beyond 16 MiB, and hand it to `put` on close; after an exception, to nobody."""

    def __init__(self, put: Callable[[bytes], None], guard: Guard = nullcontext) -> None:
        super().__init__(max_size=SPOOL_BYTES, mode="w+b")
        self._put = put
        self._guard = guard

    def close(self) -> None:
        if self.closed:
            return
        try:
            with self._guard():
                self.seek(0)
                self._put(self.read())
        finally:
            super().close()

    def discard(self) -> None:
        """Close without handing anything on."""
        super().close()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        self.discard()
