"""One write of one item, with all threads that take part in it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

from cvcache.errors import LeaseLost


class Turn:
    """One write of one item: once it is over, a thread that it left behind writes nothing more.

    dask's threads go on with other blocks when one has failed.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._busy = 0
        self._over = False
        self._quiet = threading.Condition()

    @contextlib.contextmanager
    def writing(self, right: AbstractContextManager[None]) -> Iterator[None]:
        """Hold `right` for as long as this context lasts.

        Raises
        ------
        LeaseLost
            If the write is over.
        """
        with self._quiet:
            if self._over:
                msg = f"the write of {self._what} that this belongs to has failed; what is left of it is discarded"
                raise LeaseLost(msg)
            self._busy += 1
        try:
            with right:
                yield
        finally:
            with self._quiet:
                self._busy -= 1
                self._quiet.notify_all()

    def end(self) -> None:
        """Let nothing more be written, and wait for what is under way."""
        with self._quiet:
            self._over = True
            self._quiet.wait_for(lambda: self._busy == 0)
