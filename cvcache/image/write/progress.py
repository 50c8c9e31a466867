"""How far a long write is: told to a callback, or shown on a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from cvcache.errors import UsageError

Report = Callable[[int, int], object]
"""Takes how many blocks are done and how many there are."""

SHOWN_AFTER = 1.0
"""Seconds before a bar appears: what is quick needs none."""


def check_progress(progress: object) -> Report | None:
    """Return the callback for ``progress=``: what is given; a bar where there is a terminal; None for False."""
    if progress is False:
        return None
    if progress is None or progress is True:
        return _bar() if sys.stderr is not None and sys.stderr.isatty() else None
    if not callable(progress):
        msg = f"progress={progress!r} must be a function of (blocks done, blocks in all), or False for none"
        raise UsageError(msg)
    return progress


def _bar() -> Report:
    """Return a callback that draws a bar on the terminal once the write has taken a while."""
    import time

    begun = time.monotonic()
    shown: list[Any] = []

    def report(done: int, total: int) -> None:
        if not shown and done < total and time.monotonic() - begun > SHOWN_AFTER:
            from rich.console import Console
            from rich.progress import Progress

            bar = Progress(console=Console(stderr=True), transient=True)
            bar.start()
            shown.extend((bar, bar.add_task("writing", total=total)))
        if shown:
            shown[0].update(shown[1], completed=done)
            if done >= total:
                shown[0].stop()

    return report


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
            from distributed import default_client

            client = default_client()
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
    if "distributed" in sys.modules:
        from distributed import get_worker

        with contextlib.suppress(ValueError):
            get_worker().log_event(name, 1)
