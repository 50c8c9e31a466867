"""What a step logs, prints and raises, and what the workers of its cluster say, kept as an item of its node."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from cvcache import logroute
from cvcache.logcluster import heard
from cvcache.logspool import LogSpool, show, stop_showing
from cvcache.protocol.attempt import open_attempt

if TYPE_CHECKING:
    from cvcache.node.cachedir import CacheDir

logger = logging.getLogger("cvcache")


@contextlib.contextmanager
def capture(node: CacheDir, name: str) -> Iterator[None]:
    """Write what happens inside this context as the item `name` of `node`, the traceback of a failure included.

    The first line says why the node is computed. Nothing is kept of a node that is not open for writing. Within
    itself a log is the same log.

    Notes
    -----
    One item, written at the end. Before that a PUT for each part: once text is 5 s old or there are 64 KiB of it; then
    one more LIST or STAT and PUT in all, and one request that deletes the parts.
    """
    log = _opened(node, name)
    try:
        with _written_to(log):
            yield
    finally:
        _keep(node, log)


@contextlib.asynccontextmanager
async def capture_async(node: CacheDir, name: str) -> AsyncIterator[None]:
    """Do what `capture` does, with the requests to the store in another thread."""
    import asyncio

    log = _opened(node, name)
    try:
        with _written_to(log):
            yield
    finally:
        await asyncio.to_thread(_keep, node, log)


def _opened(node: CacheDir, name: str) -> LogSpool | None:
    """Return a new log with its first line; None where there is nothing to keep, or the code is inside it already."""
    attempt = open_attempt(node.url)
    around = logroute.destination()
    if attempt is None or (isinstance(around, LogSpool) and (around.attempt, around.name) == (attempt, name)):
        return None
    log = LogSpool(attempt, name)
    log.write(logroute.formatted("cvcache", logging.INFO, f"{node.url}: computing ({'; '.join(node.reason)})"))
    return log


@contextlib.contextmanager
def _written_to(log: LogSpool | None) -> Iterator[None]:
    if log is None:
        yield
        return
    show(log)
    try:
        with heard(log, f"{log.attempt.id}-{log.name}"), logroute.routed(log):
            yield
    except BaseException as error:
        log.write("".join(traceback.format_exception(error)))
        raise
    finally:
        stop_showing(log)


def _keep(node: CacheDir, log: LogSpool | None) -> None:
    """Write the log; one that cannot be kept costs neither the result nor the error under way."""
    if log is None:
        return
    try:
        text = log.whole()
        if node.has_written(log.name):
            logger.warning("%s: the step wrote %s itself, so what it logged is not kept", node.url, log.name)
        else:
            node.write(log.name, text)
        log.delete_parts()
    except Exception as error:  # noqa: BLE001 - whatever it is, the step's own work comes first
        logger.warning("the log %s/%s could not be written (%s)", node.url, log.name, error)
