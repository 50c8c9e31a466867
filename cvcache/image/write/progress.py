"""Progress of a long write: calls of a callback, or a bar on a terminal.

distributed is used only if the script has imported it, so it is never imported here.
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

ProgressCallback = Callable[[int, int], object]
"""Called with (blocks done, blocks in all)."""

SHOW_AFTER_SECONDS = 1.0
"""A bar appears only after this time."""
REDRAW_SECONDS = 0.1
"""Least time between two drawings of the bar."""
BAR_WIDTH = 30
"""Width of the bar in characters."""


def check_progress(progress: object) -> ProgressCallback | None:
    """Return the callback for the option ``progress``: itself, a bar if there is a terminal, or None."""
    if progress is False:
        return None
    if progress is None or progress is True:
        return _progress_bar() if _is_terminal(sys.stderr) and _is_terminal(sys.__stderr__) else None
    if not callable(progress):
        msg = f"progress={progress!r} must be a function of (blocks done, blocks in all), or False for none"
        raise UsageError(msg)
    return progress


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a bar can be drawn and erased."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def _progress_bar() -> ProgressCallback:
    """Return a callback that draws a bar on the terminal if the write takes long, and erases it at the end."""
    started_at = time.monotonic()
    is_drawn, next_draw = False, SHOW_AFTER_SECONDS

    def report(done: int, total: int) -> None:
        nonlocal is_drawn, next_draw
        seconds = time.monotonic() - started_at
        if done < total and seconds > next_draw:
            is_drawn, next_draw = True, seconds + REDRAW_SECONDS
            remaining = f", {seconds / done * (total - done):.0f} s left" if done else ""
            bar = "#" * (BAR_WIDTH * done // total)
            _draw(f"writing {100 * done // total}% [{bar:{BAR_WIDTH}}] {total} blocks, {seconds:.0f} s{remaining} ")
        elif is_drawn and done >= total:
            _draw("")

    return report


def _draw(text: str) -> None:
    """Replace the last line of the terminal; written to ``sys.__stderr__``, so that logs do not record it."""
    with _draw_lock:
        print(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.__stderr__, flush=True)


_draw_lock = threading.Lock()


@contextlib.contextmanager
def report_progress(
    callback: ProgressCallback | None, task_name: str, total: int, *, distributed: bool
) -> Iterator[None]:
    """Call `callback` after each finished task whose key begins with `task_name`.

    Parameters
    ----------
    callback : callable or None
    task_name : str
    total : int
        Number of tasks.
    distributed : bool
        Whether a distributed client computes; then its events count finished tasks, else dask's callback does.
    """
    if callback is None:
        yield
        return
    done = 0
    lock = threading.Lock()

    def count_task(*_: object) -> None:
        nonlocal done
        with lock:
            done += 1
            callback(min(done, total), total)

    callback(0, total)
    try:
        if distributed:
            client = sys.modules["distributed"].default_client()
            client.subscribe_topic(task_name, count_task)
            try:
                yield
            finally:
                client.unsubscribe_topic(task_name)
        else:
            from dask.callbacks import Callback

            with Callback(
                posttask=lambda key, *_: count_task() if isinstance(key, tuple) and key[0] == task_name else None
            ):
                yield
    finally:
        with contextlib.suppress(Exception):
            callback(total, total)


def log_task_done(topic: str) -> None:
    """Log an event of one finished task, on a worker of a distributed cluster."""
    if (distributed := sys.modules.get("distributed")) is not None:
        with contextlib.suppress(ValueError):
            distributed.get_worker().log_event(topic, 1)
