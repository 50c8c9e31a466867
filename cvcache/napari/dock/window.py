"""The window around the dock: rows can be dropped on it, and the dock shuts down with it and with the process."""

from __future__ import annotations

import atexit
import functools
import weakref
from collections.abc import Callable

from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QMainWindow, QWidget

from cvcache.napari.tree import MIME

_DRAGS = (QEvent.Type.DragEnter, QEvent.Type.DragMove, QEvent.Type.Drop)


class DropTarget(QObject):
    """Lets a main window accept rows of a tree; files and URLs are left to napari."""

    def __init__(self, window: QMainWindow, dropped: Callable[[list[str]], object], parent: QObject) -> None:
        super().__init__(parent)
        self._dropped = dropped
        window.setAcceptDrops(True)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Accept dragged rows of a tree."""
        if event.type() not in _DRAGS or not event.mimeData().hasFormat(MIME):
            return bool(super().eventFilter(watched, event))
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        if event.type() == QEvent.Type.Drop:
            paths = bytes(event.mimeData().data(MIME)).decode("utf-8", "replace").split("\n")
            self._dropped(paths)
        return True


def main_window_of(widget: QWidget) -> QMainWindow | None:
    """Return the main window that a widget is docked in, also while its dock floats."""
    above = widget.parentWidget()
    while above is not None and not isinstance(above, QMainWindow):
        above = above.parentWidget()
    return above


class Shutdown(QObject):
    """Closes a dock as soon as the window of its viewer closes, also if the dock floats.

    Parameters
    ----------
    dock : QWidget
        Its parent.
    window : QWidget or None
        Window of the viewer.

    Signals
    -------
    ended : stop all work now.
    """

    ended = Signal()

    def __init__(self, dock: QWidget, window: QWidget | None) -> None:
        super().__init__(dock)
        self.dock = dock
        self._window_closing = False
        _shutdowns().add(self)
        if window is not None:
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Close the dock with the window; napari may ask first, and stay open."""
        if event.type() == QEvent.Type.Close:
            self._window_closing = True
            QTimer.singleShot(0, self._stay)
        elif event.type() == QEvent.Type.Hide and self._window_closing and isalive(self.dock):
            self.ended.emit()
            self.dock.close()
        return bool(super().eventFilter(watched, event))

    def _stay(self) -> None:
        self._window_closing = False


@functools.cache
def _shutdowns() -> weakref.WeakSet[Shutdown]:
    """Return those of all docks; they end before Python and Qt delete their objects in any order."""
    shutdowns: weakref.WeakSet[Shutdown] = weakref.WeakSet()
    atexit.register(_end, shutdowns)
    return shutdowns


def _end(shutdowns: weakref.WeakSet[Shutdown]) -> None:
    """End all docks; a dock without a parent is deleted here, since nothing else does it in time."""
    for shutdown in [shutdown for shutdown in shutdowns if isalive(shutdown) and isalive(shutdown.dock)]:
        dock = shutdown.dock
        shutdown.ended.emit()
        if dock.parent() is None:
            dock.close()
            dock.deleteLater()
            QCoreApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)
