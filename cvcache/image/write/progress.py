"""How far a long write is: told to a callback, or shown on a terminal.

distributed is used only where the script already does, so it is never imported here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from cvcache.errors import UsageError

Report = Callable[[int, int], object]
"""Takes how many blocks are done and how many there are."""

SHOWN_AFTER = 1.0
"""Seconds before a bar appears: what is quick needs none."""
DRAWN_EVERY = 0.1
"""Seconds between two pictures of the bar, at least."""
WIDTH = 30
"""Characters of a bar."""


def check_progress(progress: object) -> Report | None:
    """Return the callback for ``progress=``: what is given; a bar where there is a terminal; None for False."""
    if progress is False:
        return None
    if progress is None or progress is True:
        return _bar() if _is_terminal(sys.stderr) and _is_terminal(sys.__stderr__) else None
    if not callable(progress):
        msg = f"progress={progress!r} must be a function of (blocks done, blocks in all), or False for none"
        raise UsageError(msg)
    return progress


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a bar can be drawn and taken away again."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _bar() -> Report:
    """Return a callback that draws a bar on the terminal once the write has taken a while, and takes it away again."""
    begun = time.monotonic()
    drawn, due = False, SHOWN_AFTER

    def report(done: int, total: int) -> None:
        nonlocal drawn, due
        seconds = time.monotonic() - begun
        if done < total and seconds > due:
            drawn, due = True, seconds + DRAWN_EVERY
            left = f", {seconds / done * (total - done):.0f} s left" if done else ""
            bar = "#" * (WIDTH * done // total)
            _draw(f"writing {100 * done // total}% [{bar:{WIDTH}}] {total} blocks, {seconds:.0f} s{left} ")
        elif drawn and done >= total:
            _draw("")

    return report


def _draw(text: str) -> None:
    """Put a text in the place of the last line of the terminal: below the tees of logs, which keep no bar."""
    with _drawing:
        print(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.__stderr__, flush=True)


_drawing = threading.Lock()


@contextlib.contextmanager
def watching(report: Report | None, name: str, total: int, *, away: bool) -> Iterator[None]:
    """Call `report` after each finished task whose key begins with `name`.

    Parameters
    ----------
    report : callable or None
    name : str
    total : int
        How many tasks there are.
    away : bool
        A distributed client computes, and tells of finished tasks by an event; else dask's own callback does.
    """
    if report is None:
        yield
        return
    done = 0
    lock = threading.Lock()

    def count(*_: object) -> None:
        nonlocal done
        with lock:
            done += 1
            report(min(done, total), total)

    report(0, total)
    try:
        if away:
            client = sys.modules["distributed"].default_client()
            client.subscribe_topic(name, count)
            try:
                yield
            finally:
                client.unsubscribe_topic(name)
        else:
            from dask.callbacks import Callback

            with Callback(posttask=lambda key, *_: count() if isinstance(key, tuple) and key[0] == name else None):
                yield
    finally:
        with contextlib.suppress(Exception):
            report(total, total)


def tell(name: str) -> None:
    """Say from a worker of a distributed cluster that one task is done."""
    if (distributed := sys.modules.get("distributed")) is not None:
        with contextlib.suppress(ValueError):
            distributed.get_worker().log_event(name, 1)
