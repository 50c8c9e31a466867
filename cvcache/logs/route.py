"""Which output belongs to which log: told by a context variable, for `logging`, stdout, stderr and threads.

While a log is open, stdout and stderr are tees, and four methods of the standard library have a detour: two of
`logging.Logger`, so that INFO reaches the log but not the terminal and no level or handler of the script is touched;
``Thread.start`` and ``ThreadPoolExecutor.submit``, since a thread does not inherit the context of who started it.
Without a log they do what they always did.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import contextvars
import functools
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TextIO

PLUGIN = "cvcache-log"
"""Name of the plugin that each worker of a cluster has."""


class Log(Protocol):
    """Where text goes; `task` is the key of the cluster's task it was opened in, None elsewhere."""

    task: Any

    def write(self, text: str) -> None:
        """Add text."""


class _Nowhere:
    task = None

    def write(self, text: str) -> None:
        """Forget it."""


_NOWHERE = _Nowhere()
current_log: contextvars.ContextVar[Log | None] = contextvars.ContextVar("cvcache_log", default=None)
_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
_lock = threading.RLock()
_users = 0


def formatted(logger: str, level: int, message: str) -> str:
    """Return the line that a message of `logger` is in a log."""
    return _FORMAT.format(logging.LogRecord(logger, level, "", 0, message, None, None)) + "\n"


def current_task() -> Any:
    """Return the key of the task of a cluster that this thread runs; None for anything else."""
    module = sys.modules.get("distributed.worker")
    return None if module is None else getattr(module.thread_state, "key", None)


def destination() -> Log | None:
    """Return the log that output of the running code belongs to.

    That is the log of the innermost step around it. A task of a cluster belongs to who submitted it, not to whatever
    context its worker was started in.
    """
    log = current_log.get()
    task = current_task()
    if task is None or (log is not None and log.task == task):
        return None if log is _NOWHERE else log
    if log is _NOWHERE:
        return None
    log_of = getattr(sys.modules["distributed.worker"].get_worker().plugins.get(PLUGIN), "log_of", None)
    found: Log | None = log_of(task) if log_of is not None else None
    return found


@contextlib.contextmanager
def routed(log: Log) -> Iterator[None]:
    """Let the output of the code in this context go to `log` too, that of threads it starts included."""
    token = current_log.set(log)
    install()
    try:
        yield
    finally:
        uninstall()
        current_log.reset(token)


def _carried(log: Log | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function in a pool's thread as the one who submitted it."""
    token = current_log.set(log)
    try:
        return function(*args, **kwargs)
    finally:
        current_log.reset(token)


class _Tee:
    """A text stream that also writes to the log of the step that prints; everything else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        if log := destination():
            log.write(text)
        return self.stream.write(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __reduce__(self) -> tuple[Any, ...]:
        # as cloudpickle sends the stream itself: there it is the one of that process
        return getattr, (sys, "stderr" if self is sys.stderr else "stdout")


_tees: dict[str, _Tee] = {}
"""Kept and used again: `print` borrows the stream, and Python crashes if it is freed while another thread prints."""


class _Handler(logging.Handler):
    """Hands a record to the log it belongs to; one that cannot be formatted is told as logging tells it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record) + "\n"
        except Exception:  # noqa: BLE001 - a wrong argument of a message does not end the step
            self.handleError(record)
        else:
            if log := destination():
                log.write(text)


_handler = _Handler()
_handler.setFormatter(_FORMAT)


def _reaches_root(logger: logging.Logger) -> bool:
    above: logging.Logger | None = logger
    while above is not None and above.parent is not None:
        if not above.propagate:
            return False
        above = above.parent
    return True


def _only_logged(logger: logging.Logger, level: int) -> bool:
    """Whether a message is for the log alone: INFO and more, where nobody has set another level than Python's own."""
    if level < logging.INFO or level >= logging.WARNING or logger.disabled or logger.manager.disable >= level:
        return False
    return logger.root.level == logging.WARNING and _has_no_level(logger)


def _has_no_level(logger: logging.Logger) -> bool:
    above: logging.Logger | None = logger
    while above is not None and above.parent is not None:
        if above.level or not above.propagate:
            return False
        above = above.parent
    return True


def _enabled(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def is_enabled_for(self: logging.Logger, level: int) -> bool:
        return bool(original(self, level)) or (_only_logged(self, level) and destination() is not None)

    return is_enabled_for


def _handled(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        if destination() is None or not _reaches_root(self):
            original(self, record)
            return
        _handler.handle(record)
        if not _only_logged(self, record.levelno):
            _carried(_NOWHERE, original, self, record)

    return call_handlers


def _started(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        log = destination()
        if log is not None and not self.name.startswith("cvcache-"):
            run = self.run

            def run_as_starter() -> None:
                self.run = run  # type: ignore[method-assign]  # a thread that is kept does not keep the log
                # never reset: what the thread raises is printed after its run() has ended
                current_log.set(log)
                run()

            self.run = run_as_starter  # type: ignore[method-assign]  # of this thread alone
        original(self)

    return start


def _submitted(original: Callable[..., Any]) -> Callable[..., Any]:
    interpreters = getattr(concurrent.futures, "InterpreterPoolExecutor", ())

    @functools.wraps(original)
    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, interpreters):
            return original(self, fn, *args, **kwargs)
        # None counts too: the thread may have been started by a step, and be used by somebody else now
        return original(self, functools.partial(_carried, destination(), fn), *args, **kwargs)

    return submit


class _Detour:
    """A method that is replaced for a while; whoever replaced it meanwhile is left in its place."""

    def __init__(self, owner: type, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self.owner, self.name, self.around = owner, name, around
        self.original: Any = None
        self.mine: Any = None

    def put(self) -> None:
        if self.mine is None:
            self.original = vars(self.owner)[self.name]
            self.mine = self.around(self.original)
            setattr(self.owner, self.name, self.mine)

    def take_back(self) -> None:
        if vars(self.owner)[self.name] is self.mine:
            setattr(self.owner, self.name, self.original)
        self.mine = None  # if another took its place: is put around that one the next time


_DETOURS = (
    _Detour(logging.Logger, "isEnabledFor", _enabled),
    _Detour(logging.Logger, "callHandlers", _handled),
    _Detour(threading.Thread, "start", _started),
    _Detour(concurrent.futures.ThreadPoolExecutor, "submit", _submitted),
)


def install() -> None:
    """Put the tees and detours in place; `uninstall` as often as this."""
    global _users  # noqa: PLW0603 - one pair of streams per process
    with _lock:
        _users += 1
        for detour in _DETOURS:
            detour.put()
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Tee):
                if name not in _tees or _tees[name].stream is not stream:
                    _tees[name] = _Tee(stream)
                setattr(sys, name, _tees[name])


def uninstall() -> None:
    """Put everything back once nobody needs it any more."""
    global _users  # noqa: PLW0603 - one pair of streams per process
    with _lock:
        _users -= 1
        if _users:
            return
        for detour in _DETOURS:
            detour.take_back()
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, _Tee):
                setattr(sys, name, stream.stream)
