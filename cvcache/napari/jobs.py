"""What may wait runs in threads; what it gave comes back to the thread of the window."""

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

AT_ONCE = 8
"""Calls under way whose result somebody waits for."""
MOST_THREADS = 32
"""With those that nobody waits for any more, and which cannot be stopped."""

_log = logging.getLogger(__name__)


class Job:
    """One call in a worker."""

    def __init__(self, done: Callable[[Any], object], failed: Callable[[Exception], object]) -> None:
        self._done, self._failed = done, failed
        self._over = False
        self.ended: Callable[[Job], object] = lambda _: None

    def stopped(self) -> bool:
        """Whether nobody waits for the result any more; for a function to ask while it works."""
        return self._over

    def cancel(self) -> None:
        """Drop the result; a function that was not begun is not called, one under way ends by itself."""
        if not self._over:
            self._over = True
            self.ended(self)

    def run(self, call: Callable[[], object], left: Callable[[], object]) -> None:
        """Call the function; in a worker."""
        try:
            then = functools.partial(_call, self._done, None if self._over else call())
        except Exception as error:  # noqa: BLE001 - whatever it is, the window is told and lives
            then = functools.partial(_call, self._failed, error)
        _courier().carry(left)
        _courier().carry(functools.partial(self._end, then))

    def report(self, news: Callable[[Any], object], value: object) -> None:
        """Hand over a part of the result; in a worker."""
        _courier().carry(lambda: None if self._over else _call(news, value))

    def _end(self, then: Callable[[], object]) -> None:
        """Hand over the result, in the thread of the window."""
        if not self._over:
            self._over = True
            try:
                then()
            finally:
                self.ended(self)


class Jobs(QObject):
    """Runs functions in workers, and calls back in the thread of the window.

    Signals
    -------
    error : a function failed for which nobody asked to be told; one plain sentence.
    finished : nothing is under way any more.

    Notes
    -----
    Not `superqt.create_worker`: it runs in Qt's pool, which has as many threads as there are processors, for all of
    napari, and which the end of the process waits for, however long a store hangs.
    """

    error = Signal(str)
    finished = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        _courier()  # made here, in the thread of the window
        self._waiting: dict[Job, Callable[[], object]] = {}
        self._begun: set[Job] = set()
        self._topics: dict[str, Job] = {}
        self._threads = 0
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether nothing is under way whose result somebody waits for."""
        return not self._begun and not self._waiting

    def start(
        self,
        function: Callable[..., T],
        *args: Any,
        done: Callable[[T], object],
        failed: Callable[[Exception], object] | None = None,
        topic: str = "",
        news: Callable[[Any], object] | None = None,
    ) -> Job:
        """Call `function` with `args` in a worker.

        Parameters
        ----------
        function : callable
        *args
        done : callable
            Given what it returned, in the thread of the window.
        failed : callable, optional
            Given the exception it raised; by default the signal `error` tells it.
        topic : str
            The result of an older job of the same topic is dropped.
        news : callable, optional
            Given each part of the result. The function then takes two arguments more: ``stopped()``, which says
            whether it may end, and ``report(part)``.
        """
        job = Job(done, failed or self._tell)
        call = functools.partial(function, *args)
        if news is not None:
            call = functools.partial(call, stopped=job.stopped, report=functools.partial(job.report, news))
        if self._closed:
            job.cancel()
            return job
        if topic in self._topics:
            self._topics[topic].cancel()
        if topic:
            self._topics[topic] = job
        job.ended = functools.partial(self._forget, topic)
        self._waiting[job] = call
        self._begin()
        return job

    def close(self) -> None:
        """Deliver nothing more, and do not wait for what is under way."""
        self._closed = True
        for job in [*self._waiting, *self._begun]:
            job.cancel()

    def _begin(self) -> None:
        """Begin what may be begun, in daemons: a store that hangs must not keep the process alive."""
        while self._waiting and len(self._begun) < AT_ONCE and self._threads < MOST_THREADS:
            job = next(iter(self._waiting))
            call = self._waiting.pop(job)
            self._begun.add(job)
            self._threads += 1
            threading.Thread(target=job.run, args=(call, self._left), name="cvcache-job", daemon=True).start()

    def _left(self) -> None:
        self._threads -= 1
        self._begin()

    def _forget(self, topic: str, job: Job) -> None:
        self._begun.discard(job)
        self._waiting.pop(job, None)
        if self._topics.get(topic) is job:
            del self._topics[topic]
        self._begin()
        if self.idle and not self._closed and isalive(self):
            self.finished.emit()

    def _tell(self, error: Exception) -> None:
        self.error.emit(error_line(error))


def window_of(viewer: Any) -> QWidget | None:
    """Return the window of a viewer; None where there is none, or none any more."""
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    return window if window is not None and isalive(window) else None


def _call(function: Callable[[Any], object], value: object) -> None:
    """Call back into the window, unless what is called has been deleted with it."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, QObject) and not isalive(owner):
        return
    try:
        function(value)
    except RuntimeError as error:
        if "deleted" not in str(error):
            raise
        _log.debug("a part of the window went before its job ended: %s", error)


class _Courier(QObject):
    """Carries calls from workers into the thread of the window; outlives every window."""

    called = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._gate = threading.Lock()
        self._stopped = False
        self.called.connect(self._deliver, Qt.ConnectionType.QueuedConnection)
        atexit.register(self.stop)

    def carry(self, call: Callable[[], object]) -> None:
        """Let the thread of the window call this; nothing once the process ends, as Qt deletes its objects then."""
        with self._gate:
            if not self._stopped and isalive(self):
                self.called.emit(call)

    def stop(self) -> None:
        """Carry nothing more; waits for a worker that is just handing something over."""
        with self._gate:
            self._stopped = True

    @Slot(object)
    def _deliver(self, call: Callable[[], None]) -> None:
        call()


@functools.cache
def _courier() -> _Courier:
    return _Courier()
