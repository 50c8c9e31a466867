"""A file object whose bytes become one object when it is closed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from types import TracebackType


class WholeObject(tempfile.SpooledTemporaryFile[bytes]):
    """Collect what is written (on disk beyond 16 MiB) and hand it to `put` on close; after an exception, to nobody."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__(max_size=16 << 20, mode="w+b")
        self._put = put

    def close(self) -> None:
        if not self.closed:
            try:
                self.seek(0)
                self._put(self.read())
            finally:
                super().close()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if kind is not None:
            super().close()
        self.close()
