"""File objects for the objects of a bucket: a reader of ranges, and a writer that puts the object on close."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

Guard = Callable[[], AbstractContextManager[Any]]
"""Returns a context manager: bytes may be published inside it; it raises if the lease is lost."""

SPOOL_BYTES = 16 << 20


class RangeReader(io.RawIOBase):
    """Read an object of `size` bytes by ``get(start, end)``; one request per read, so wrap it in a buffer."""

    def __init__(self, get: Callable[[int, int], bytes], size: int) -> None:
        self._get = get
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        end = min(self._position + len(buffer), self._size)
        if self._position >= end:
            return 0
        data = self._get(self._position, end)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class ObjectWriter(tempfile.SpooledTemporaryFile[bytes]):
    """Buffer the written bytes (on disk beyond 16 MiB) and `put` them on close; discard them after an exception."""

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
        """Close without putting the object."""
        super().close()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        self.discard()
