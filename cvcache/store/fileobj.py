"""File objects whose bytes become one object when they are closed without an error."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

Guard = Callable[[], AbstractContextManager[Any]]
"""Gives the context in which bytes may be published; it raises where they no longer may."""

IN_MEMORY = 16 << 20


class WholeObject(tempfile.SpooledTemporaryFile[bytes]):
    """Collect what is written, on disk beyond 16 MiB, and hand it to `put` on close; after an exception, to nobody."""

    def __init__(self, put: Callable[[bytes], None], guard: Guard = nullcontext) -> None:
        super().__init__(max_size=IN_MEMORY, mode="w+b")
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
