"""The window around the dock: rows are dropped on it, and the dock ends with it and with the process."""

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
    """Lets a main window take rows of a tree; files and URLs are left to it."""

    def __init__(self, window: QMainWindow, dropped: Callable[[list[str]], object], parent: QObject) -> None:
        super().__init__(parent)
        self._dropped = dropped
        window.setAcceptDrops(True)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Take what is ours of what is dragged over the window."""
        if event.type() not in _DRAGS or not event.mimeData().hasFormat(MIME):
            return bool(super().eventFilter(watched, event))
        event.setDropAction(Qt.DropAction.CopyAction)
        event.accept()
        if event.type() == QEvent.Type.Drop:
            paths = bytes(event.mimeData().data(MIME)).decode("utf-8", "replace").split("\n")
            self._dropped(paths)
        return True


def main_window_of(widget: QWidget) -> QMainWindow | None:
    """Return the main window that a widget is docked to, also while its dock floats."""
    above = widget.parentWidget()
    while above is not None and not isinstance(above, QMainWindow):
        above = above.parentWidget()
    return above


class Closing(QObject):
    """Closes a dock as soon as the window of its viewer is closed, wherever the dock is shown.

    Parameters
    ----------
    dock : QWidget
        Its parent, with which it goes.
    window : QWidget or None
        That of the viewer.

    Signals
    -------
    ended : what goes on is to end, now.
    """

    ended = Signal()

    def __init__(self, dock: QWidget, window: QWidget | None) -> None:
        super().__init__(dock)
        self.dock = dock
        self._closing = False
        _closings().add(self)
        if window is not None:
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Close the dock when the window goes; napari may ask first, and stay."""
        if event.type() == QEvent.Type.Close:
            self._closing = True
            QTimer.singleShot(0, self._stay)
        elif event.type() == QEvent.Type.Hide and self._closing and isalive(self.dock):
            self.ended.emit()
            self.dock.close()
        return bool(super().eventFilter(watched, event))

    def _stay(self) -> None:
        self._closing = False


@functools.cache
def _closings() -> weakref.WeakSet[Closing]:
    """Return those of all docks, which end before Python and Qt take their parts from under each other."""
    closings: weakref.WeakSet[Closing] = weakref.WeakSet()
    atexit.register(_end, closings)
    return closings


def _end(closings: weakref.WeakSet[Closing]) -> None:
    """End all docks; one that is a window of its own is deleted, as nothing else does it in time."""
    for closing in [closing for closing in closings if isalive(closing) and isalive(closing.dock)]:
        dock = closing.dock
        closing.ended.emit()
        if dock.parent() is None:
            dock.close()
            dock.deleteLater()
            QCoreApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)
