"""Capture what a step logs, prints and raises, also on the workers of its cluster, and write it as an item."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator

from cvcache.logs import route
from cvcache.logs.cluster import collect_worker_logs
from cvcache.logs.spool import LogSpool, start_flushing, stop_flushing
from cvcache.protocol import Attempt, computing_message

logger = logging.getLogger("cvcache")

WriteItem = Callable[[str, str], object]
"""Writes an item of the node; arguments: its name and its text."""


@contextlib.contextmanager
def capture_log(attempt: Attempt | None, name: str, write_item: WriteItem) -> Iterator[None]:
    """Write the output of this context, with the traceback of a failure, as the item `name` of a node.

    The first line says why the node is computed. A nested call with the same attempt and name uses the same log.

    Parameters
    ----------
    attempt : Attempt or None
        The attempt at the node. If None, the node is not open for writing and nothing is captured.
    name : str
        Name of the item.
    write_item : callable
        Called at the end with `name` and the text.

    Notes
    -----
    While the step runs, one PUT for each part: whenever text is 5 s old, or 64 KiB are waiting. At the end one LIST or
    STAT and one PUT for the item, and one request that deletes the parts.
    """
    log = _open_spool(attempt, name)
    try:
        with _writing_to(log):
            yield
    finally:
        _finish(log, write_item)


@contextlib.asynccontextmanager
async def capture_log_async(attempt: Attempt | None, name: str, write_item: WriteItem) -> AsyncIterator[None]:
    """Do what `capture_log` does, with the requests to the store in another thread."""
    import asyncio

    log = _open_spool(attempt, name)
    try:
        with _writing_to(log):
            yield
    finally:
        await asyncio.to_thread(_finish, log, write_item)


def _open_spool(attempt: Attempt | None, name: str) -> LogSpool | None:
    """Return a new log with its first line; None without an attempt, or inside the same log."""
    outer = route.destination()
    if attempt is None or (isinstance(outer, LogSpool) and (outer.attempt, outer.name) == (attempt, name)):
        return None
    log = LogSpool(attempt, name)
    log.write(route.format_line("cvcache", logging.INFO, computing_message(attempt.url, attempt.record)))
    return log


@contextlib.contextmanager
def _writing_to(log: LogSpool | None) -> Iterator[None]:
    if log is None:
        yield
        return
    start_flushing(log)
    try:
        with collect_worker_logs(log, f"{log.attempt.id}-{log.name}"), route.route_output(log):
            yield
    except BaseException as error:
        log.write("".join(traceback.format_exception(error)))
        raise
    finally:
        stop_flushing(log)


def _finish(log: LogSpool | None, write_item: WriteItem) -> None:
    """Write the log as an item; a failure to write it neither fails the step nor hides its error."""
    if log is None:
        return
    try:
        text = log.close()
        if log.name in log.attempt.rows:
            logger.warning("%s: the step wrote %s itself, so what it logged is not kept", log.attempt.url, log.name)
        else:
            write_item(log.name, text)
        log.delete_parts()
    except Exception as error:  # noqa: BLE001 - a log that cannot be written must not fail the step
        logger.warning("the log %s/%s could not be written (%s)", log.attempt.url, log.name, error)
