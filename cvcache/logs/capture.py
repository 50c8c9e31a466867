"""What a step logs, prints and raises, and what the workers of its cluster say, kept as an item of its node."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator

from cvcache.logs import route
from cvcache.logs.cluster import heard
from cvcache.logs.spool import LogSpool, show, stop_showing
from cvcache.protocol import Attempt

logger = logging.getLogger("cvcache")

Keep = Callable[[str, str], object]
"""Writes an item of the node: takes its name and its text."""


@contextlib.contextmanager
def capture_log(attempt: Attempt | None, name: str, keep: Keep) -> Iterator[None]:
    """Keep what happens inside this context as the item `name` of a node, the traceback of a failure included.

    The first line says why the node is computed. Within itself a log is the same log.

    Parameters
    ----------
    attempt : Attempt or None
        At the node; without one, for a node that is not open for writing, nothing is kept.
    name : str
        The log.
    keep : callable
        Called at the end with `name` and the text.

    Notes
    -----
    One item, written at the end. Before that a PUT for each part: once text is 5 s old or there are 64 KiB of it; then
    one more LIST or STAT and PUT in all, and one request that deletes the parts.
    """
    log = _opened(attempt, name)
    try:
        with _written_to(log):
            yield
    finally:
        _end(log, keep)


@contextlib.asynccontextmanager
async def capture_log_async(attempt: Attempt | None, name: str, keep: Keep) -> AsyncIterator[None]:
    """Do what `capture_log` does, with the requests to the store in another thread."""
    import asyncio

    log = _opened(attempt, name)
    try:
        with _written_to(log):
            yield
    finally:
        await asyncio.to_thread(_end, log, keep)


def _opened(attempt: Attempt | None, name: str) -> LogSpool | None:
    """Return a new log with its first line; None where there is nothing to keep, or the code is inside it already."""
    around = route.destination()
    if attempt is None or (isinstance(around, LogSpool) and (around.attempt, around.name) == (attempt, name)):
        return None
    log = LogSpool(attempt, name)
    why = "; ".join(attempt.record.reason)
    log.write(route.formatted("cvcache", logging.INFO, f"{attempt.url}: computing ({why})"))
    return log


@contextlib.contextmanager
def _written_to(log: LogSpool | None) -> Iterator[None]:
    if log is None:
        yield
        return
    show(log)
    try:
        with heard(log, f"{log.attempt.id}-{log.name}"), route.routed(log):
            yield
    except BaseException as error:
        log.write("".join(traceback.format_exception(error)))
        raise
    finally:
        stop_showing(log)


def _end(log: LogSpool | None, keep: Keep) -> None:
    """Have the log kept; one that cannot be kept costs neither the result nor the error under way."""
    if log is None:
        return
    try:
        text = log.whole()
        if log.name in log.attempt.rows:
            logger.warning("%s: the step wrote %s itself, so what it logged is not kept", log.attempt.url, log.name)
        else:
            keep(log.name, text)
        log.delete_parts()
    except Exception as error:  # noqa: BLE001 - whatever it is, the step's own work comes first
        logger.warning("the log %s/%s could not be written (%s)", log.attempt.url, log.name, error)
