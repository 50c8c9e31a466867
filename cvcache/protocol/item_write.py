"""One write of one item by several threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

from cvcache.errors import LeaseLost


class Turn:
    """One write of one item; after its end no thread can write to the item any more.

    dask's threads go on with other chunks when one chunk has failed.
    """

    def __init__(self, what: str) -> None:
        self._description = what
        self._active_writes = 0
        self._ended = False
        self._condition = threading.Condition()

    @contextlib.contextmanager
    def writing(self, right: AbstractContextManager[None]) -> Iterator[None]:
        """Hold the lease `right` while this context lasts.

        Raises
        ------
        LeaseLost
            If this write has ended.
        """
        with self._condition:
            if self._ended:
                msg = (
                    f"the write of {self._description} that this belongs to has failed; what is left of it is discarded"
                )
                raise LeaseLost(msg)
            self._active_writes += 1
        try:
            with right:
                yield
        finally:
            with self._condition:
                self._active_writes -= 1
                self._condition.notify_all()

    def end(self) -> None:
        """Refuse further writes, and wait for those in progress."""
        with self._condition:
            self._ended = True
            self._condition.wait_for(lambda: self._active_writes == 0)
