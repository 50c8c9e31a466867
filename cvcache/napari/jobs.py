"""Jobs in worker threads, whose results come back to the GUI thread."""

from __future__ import annotations

import atexit
import functools
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt, Signal, Slot

from cvcache.browse import error_line

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

T = TypeVar("T")

CONCURRENCY = 8
"""Running calls whose results are still wanted."""
MAX_THREADS = 32
"""Running calls in all, with cancelled ones, which cannot be stopped."""

_log = logging.getLogger(__name__)


class Job:
    """One call in a worker."""

    def __init__(self, done: Callable[[Any], object], failed: Callable[[Exception], object]) -> None:
        self._done, self._failed = done, failed
        self._finished = False
        self.on_finish: Callable[[Job], object] = lambda _: None

    def stopped(self) -> bool:
        """Whether the result is no longer wanted; a function can call this while it runs."""
        return self._finished

    def cancel(self) -> None:
        """Drop the result; a function that has not started is not called, a running one ends by itself."""
        if not self._finished:
            self._finished = True
            self.on_finish(self)

    def run(self, call: Callable[[], object], thread_ended: Callable[[], object]) -> None:
        """Call the function; in a worker."""
        try:
            then = functools.partial(_call, self._done, None if self._finished else call())
        except Exception as error:  # noqa: BLE001 - any error goes to the callback
            then = functools.partial(_call, self._failed, error)
        _main_thread().call_later(thread_ended)
        _main_thread().call_later(functools.partial(self._end, then))

    def report(self, progress: Callable[[Any], object], value: object) -> None:
        """Pass a part of the result to `progress`; in a worker."""
        _main_thread().call_later(lambda: None if self._finished else _call(progress, value))

    def _end(self, then: Callable[[], object]) -> None:
        """Pass the result to the callback, in the GUI thread."""
        if not self._finished:
            self._finished = True
            try:
                then()
            finally:
                self.on_finish(self)


class Jobs(QObject):
    """Runs functions in workers, and calls back in the GUI thread.

    Signals
    -------
    error : one sentence: a function without a `failed` callback failed.
    finished : no job is running or waiting.

    Notes
    -----
    Not `superqt.create_worker`: it uses Qt's pool, whose few threads napari shares, and the end of the process waits
    for that pool, however long a store hangs.
    """

    error = Signal(str)
    finished = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        _main_thread()  # created here, in the GUI thread
        self._waiting: dict[Job, Callable[[], object]] = {}
        self._running: set[Job] = set()
        self._topics: dict[str, Job] = {}
        self._threads = 0
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether no job is running or waiting."""
        return not self._running and not self._waiting

    def start(
        self,
        function: Callable[..., T],
        *args: Any,
        done: Callable[[T], object],
        failed: Callable[[Exception], object] | None = None,
        topic: str = "",
        progress: Callable[[Any], object] | None = None,
    ) -> Job:
        """Call `function` with `args` in a worker.

        Parameters
        ----------
        function : callable
        *args
        done : callable
            Called with the result, in the GUI thread.
        failed : callable, optional
            Called with the exception; by default the signal `error` is emitted.
        topic : str
            An older job of the same topic is cancelled.
        progress : callable, optional
            Called with each part of the result. The function then takes two more arguments: ``stopped()``, whether it
            was cancelled, and ``report(part)``.
        """
        job = Job(done, failed or self._emit_error)
        call = functools.partial(function, *args)
        if progress is not None:
            call = functools.partial(call, stopped=job.stopped, report=functools.partial(job.report, progress))
        if self._closed:
            job.cancel()
            return job
        if topic in self._topics:
            self._topics[topic].cancel()
        if topic:
            self._topics[topic] = job
        job.on_finish = functools.partial(self._remove, topic)
        self._waiting[job] = call
        self._start_waiting()
        return job

    def close(self) -> None:
        """Cancel all jobs, without waiting for those that run."""
        self._closed = True
        for job in [*self._waiting, *self._running]:
            job.cancel()

    def _start_waiting(self) -> None:
        """Start waiting jobs, in daemon threads: a store that hangs must not keep the process alive."""
        while self._waiting and len(self._running) < CONCURRENCY and self._threads < MAX_THREADS:
            job = next(iter(self._waiting))
            call = self._waiting.pop(job)
            self._running.add(job)
            self._threads += 1
            threading.Thread(target=job.run, args=(call, self._thread_ended), name="cvcache-job", daemon=True).start()

    def _thread_ended(self) -> None:
        self._threads -= 1
        self._start_waiting()

    def _remove(self, topic: str, job: Job) -> None:
        self._running.discard(job)
        self._waiting.pop(job, None)
        if self._topics.get(topic) is job:
            del self._topics[topic]
        self._start_waiting()
        if self.idle and not self._closed and isalive(self):
            self.finished.emit()

    def _emit_error(self, error: Exception) -> None:
        self.error.emit(error_line(error))


def window_of_viewer(viewer: Any) -> QWidget | None:
    """Return the window of a viewer; None if there is none, or if it was deleted."""
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    return window if window is not None and isalive(window) else None


def _call(function: Callable[[Any], object], value: object) -> None:
    """Call a callback, unless its Qt object was deleted."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, QObject) and not isalive(owner):
        return
    try:
        function(value)
    except RuntimeError as error:
        if "deleted" not in str(error):
            raise
        _log.debug("a part of the window went before its job ended: %s", error)


class _MainThread(QObject):
    """Runs calls from workers in the GUI thread; outlives every window."""

    called = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._stopped = False
        self.called.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        atexit.register(self.stop)

    def call_later(self, call: Callable[[], object]) -> None:
        """Run a call in the GUI thread; nothing while the process ends, since Qt deletes its objects then."""
        with self._lock:
            if not self._stopped and isalive(self):
                self.called.emit(call)

    def stop(self) -> None:
        """Run no more calls; waits for a worker that is passing one."""
        with self._lock:
            self._stopped = True

    @Slot(object)
    def _deliver(self, call: Callable[[], None]) -> None:
        call()


@functools.cache
def _main_thread() -> _MainThread:
    return _MainThread()
