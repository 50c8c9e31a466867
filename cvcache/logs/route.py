"""Route output to the log of the step that made it: `logging`, stdout and stderr, also in threads.

A context variable holds the current log. While a log is open, stdout and stderr are tees, and four methods of the
standard library are patched: two of `logging.Logger`, so that INFO reaches the log but not the terminal, without a
change to the levels and handlers of the script; ``Thread.start`` and ``ThreadPoolExecutor.submit``, because a thread
does not inherit the context of the code that started it. Outside of a log the patched methods behave as before.
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

PLUGIN_NAME = "cvcache-log"
"""Name of the plugin on each worker of a cluster."""


class Log(Protocol):
    """Takes text; `task` is the key of the cluster task in which the log was opened, None outside of a task."""

    task: Any

    def write(self, text: str) -> None:
        """Add text."""


class _DiscardingLog:
    task = None

    def write(self, text: str) -> None:
        """Discard text."""


_DISCARD = _DiscardingLog()
current_log: contextvars.ContextVar[Log | None] = contextvars.ContextVar("cvcache_log", default=None)
_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
_lock = threading.RLock()
_install_count = 0


def format_line(logger: str, level: int, message: str) -> str:
    """Return a message of `logger` as a line of a log."""
    return _FORMAT.format(logging.LogRecord(logger, level, "", 0, message, None, None)) + "\n"


def current_task() -> Any:
    """Return the key of the cluster task that this thread runs; None outside of a task."""
    module = sys.modules.get("distributed.worker")
    return None if module is None else getattr(module.thread_state, "key", None)


def destination() -> Log | None:
    """Return the log for the output of the running code: that of the innermost step around it.

    A cluster task belongs to the step that submitted it, not to the context in which its worker was started.
    """
    log = current_log.get()
    task = current_task()
    if task is None or (log is not None and log.task == task):
        return None if log is _DISCARD else log
    if log is _DISCARD:
        return None
    log_of = getattr(sys.modules["distributed.worker"].get_worker().plugins.get(PLUGIN_NAME), "log_of", None)
    task_log: Log | None = log_of(task) if log_of is not None else None
    return task_log


@contextlib.contextmanager
def route_output(log: Log) -> Iterator[None]:
    """Write the output of this context, and of threads that it starts, to `log` as well."""
    token = current_log.set(log)
    install()
    try:
        yield
    finally:
        uninstall()
        current_log.reset(token)


def _call_with_log(log: Log | None, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function with `log` as the current log, as a thread of a pool does for the code that submitted it."""
    token = current_log.set(log)
    try:
        return function(*args, **kwargs)
    finally:
        current_log.reset(token)


class _Tee:
    """A text stream that also writes to the log of the step that prints; anything else is up to the stream."""

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
        # as cloudpickle does with the stream itself: in another process it is the stream of that process
        return getattr, (sys, "stderr" if self is sys.stderr else "stdout")


_tees: dict[str, _Tee] = {}
"""Tees are reused and never freed: Python crashes if a stream is freed while another thread prints to it."""


class _Handler(logging.Handler):
    """Writes a record to the log of the running code; an error in its format is handled as `logging` does."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record) + "\n"
        except Exception:  # noqa: BLE001 - a message with wrong arguments must not fail the step
            self.handleError(record)
        else:
            if log := destination():
                log.write(text)


_handler = _Handler()
_handler.setFormatter(_FORMAT)


def _reaches_root(logger: logging.Logger) -> bool:
    ancestor: logging.Logger | None = logger
    while ancestor is not None and ancestor.parent is not None:
        if not ancestor.propagate:
            return False
        ancestor = ancestor.parent
    return True


def _is_for_log_only(logger: logging.Logger, level: int) -> bool:
    """Whether a message goes to the log only: INFO to WARNING, where all levels are the defaults of Python."""
    if level < logging.INFO or level >= logging.WARNING or logger.disabled or logger.manager.disable >= level:
        return False
    return logger.root.level == logging.WARNING and _has_no_level(logger)


def _has_no_level(logger: logging.Logger) -> bool:
    ancestor: logging.Logger | None = logger
    while ancestor is not None and ancestor.parent is not None:
        if ancestor.level or not ancestor.propagate:
            return False
        ancestor = ancestor.parent
    return True


def _wrap_is_enabled_for(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def is_enabled_for(self: logging.Logger, level: int) -> bool:
        return bool(original(self, level)) or (_is_for_log_only(self, level) and destination() is not None)

    return is_enabled_for


def _wrap_call_handlers(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        if destination() is None or not _reaches_root(self):
            original(self, record)
            return
        _handler.handle(record)
        if not _is_for_log_only(self, record.levelno):
            _call_with_log(_DISCARD, original, self, record)

    return call_handlers


def _wrap_thread_start(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        log = destination()
        if log is not None and not self.name.startswith("cvcache-"):
            run = self.run

            def run_with_log() -> None:
                vars(self)["run"] = run  # a kept thread object must not keep the log alive
                # never reset: an exception of the thread is printed after run() has ended
                current_log.set(log)
                run()

            vars(self)["run"] = run_with_log  # of this thread only
        original(self)

    return start


def _wrap_submit(original: Callable[..., Any]) -> Callable[..., Any]:
    interpreters = getattr(concurrent.futures, "InterpreterPoolExecutor", ())

    @functools.wraps(original)
    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, interpreters):
            return original(self, fn, *args, **kwargs)
        # also if None: a step may have started this thread, and other code uses it now
        return original(self, functools.partial(_call_with_log, destination(), fn), *args, **kwargs)

    return submit


class _Patch:
    """A method that is replaced for a while; a replacement by other code in the meantime is left in place."""

    def __init__(self, owner: type, name: str, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self.owner, self.name, self.wrap = owner, name, wrap
        self.original: Any = None
        self.replacement: Any = None

    def apply(self) -> None:
        if self.replacement is None:
            self.original = vars(self.owner)[self.name]
            self.replacement = self.wrap(self.original)
            setattr(self.owner, self.name, self.replacement)

    def undo(self) -> None:
        if vars(self.owner)[self.name] is self.replacement:
            setattr(self.owner, self.name, self.original)
        self.replacement = None  # if other code replaced it, the next `apply` wraps that one


_PATCHES = (
    _Patch(logging.Logger, "isEnabledFor", _wrap_is_enabled_for),
    _Patch(logging.Logger, "callHandlers", _wrap_call_handlers),
    _Patch(threading.Thread, "start", _wrap_thread_start),
    _Patch(concurrent.futures.ThreadPoolExecutor, "submit", _wrap_submit),
)


def install() -> None:
    """Install tees and patches; each call needs its own call of `uninstall`."""
    global _install_count  # noqa: PLW0603 - one pair of streams per process
    with _lock:
        _install_count += 1
        for patch in _PATCHES:
            patch.apply()
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _Tee):
                if name not in _tees or _tees[name].stream is not stream:
                    _tees[name] = _Tee(stream)
                setattr(sys, name, _tees[name])


def uninstall() -> None:
    """Remove tees and patches after the last user."""
    global _install_count  # noqa: PLW0603 - one pair of streams per process
    with _lock:
        _install_count -= 1
        if _install_count:
            return
        for patch in _PATCHES:
            patch.undo()
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, _Tee):
                setattr(sys, name, stream.stream)
