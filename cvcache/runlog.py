"""What a step logs, prints and raises, kept as an item of its node.

Which output belongs to which step is told by a context variable, so that two steps in two threads do
not mix; output outside any step goes where it always went.
"""

from __future__ import annotations

import contextlib
import contextvars
import io
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from cvcache.node import CacheDir

_current: contextvars.ContextVar[io.StringIO | None] = contextvars.ContextVar("cvcache_log", default=None)
_lock = threading.RLock()
_users = 0
_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


@contextlib.contextmanager
def capture(node: CacheDir, name: str) -> Iterator[None]:
    """Write what happens inside this context as the item `name` of `node`, the traceback of a failure included.

    The first line says why the node is computed.
    """
    buffer = io.StringIO(_first_line(node))
    buffer.seek(0, io.SEEK_END)
    token = _current.set(buffer)
    _install()
    try:
        yield
    except BaseException as error:
        buffer.write("".join(traceback.format_exception(error)))
        raise
    finally:
        _uninstall()
        _current.reset(token)
        _keep(node, name, buffer.getvalue())


def _first_line(node: CacheDir) -> str:
    values = (node.url, "; ".join(node.reason))
    return _FORMAT.format(logging.LogRecord("cvcache", logging.INFO, "", 0, "%s: computing (%s)", values, None)) + "\n"


def _keep(node: CacheDir, name: str, text: str) -> None:
    """Write the log; one that cannot be kept costs neither the result nor the error under way."""
    logger = logging.getLogger("cvcache")
    if node.has_written(name):
        logger.warning("%s: the step wrote %s itself, so what it logged is not kept", node.url, name)
        return
    try:
        node.write(name, text.encode("utf-8", "backslashreplace").decode())
    except Exception as error:  # noqa: BLE001 - whatever it is, the step's own work comes first
        logger.warning("the log %s/%s could not be written (%s)", node.url, name, error)


class _Handler(logging.Handler):
    """Hands each log record to the log of the step it happened in."""

    def emit(self, record: logging.LogRecord) -> None:
        if buffer := _current.get():
            buffer.write(self.format(record) + "\n")
        if logging.lastResort and record.levelno >= logging.lastResort.level and _alone(record.name):
            token = _current.set(None)
            logging.lastResort.handle(record)
            _current.reset(token)


def _alone(name: str) -> bool:
    """Whether no other handler shows the records of this logger, so that Python would have shown warnings by itself."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(handler is not _handler for handler in logger.handlers):
            return False
        logger = logger.parent if logger.propagate else None
    return True


class _Tee:
    """A text stream that also writes to the log of the step that prints; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        if buffer := _current.get():
            buffer.write(text)
        return self.stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


_handler = _Handler()
_handler.setFormatter(_FORMAT)


def _install() -> None:
    global _users  # noqa: PLW0603 - one pair of streams and one root logger per process
    with _lock:
        _users += 1
        if _users == 1:
            logging.getLogger().addHandler(_handler)
        for name in ("stdout", "stderr"):
            if not isinstance(getattr(sys, name), _Tee):
                setattr(sys, name, _Tee(getattr(sys, name)))


def _uninstall() -> None:
    global _users  # noqa: PLW0603 - one pair of streams and one root logger per process
    with _lock:
        _users -= 1
        if _users:
            return
        logging.getLogger().removeHandler(_handler)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, _Tee):
                setattr(sys, name, stream.stream)
