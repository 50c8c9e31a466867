"""A dock ends with the window its layers go to, and with the process."""

from __future__ import annotations

import atexit
import functools
import weakref
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QCoreApplication, QEvent, QObject, QTimer

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

    from cvcache.napari.dock import CacheTree


class Closing(QObject):
    """Closes a dock as soon as the window of its viewer is closed, wherever the dock is shown.

    Parameters
    ----------
    dock : CacheTree
        Its parent, with which it goes.
    viewer : napari.Viewer or None
    """

    def __init__(self, dock: CacheTree, viewer: Any) -> None:
        super().__init__(dock)
        self._dock = dock
        self._closing = False
        _docks().add(dock)
        window = window_of(viewer)
        if window is not None:
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Close the dock when the window goes; napari may ask first, and stay."""
        if event.type() == QEvent.Type.Close:
            self._closing = True
            QTimer.singleShot(0, self._stay)
        elif event.type() == QEvent.Type.Hide and self._closing and isalive(self._dock):
            self._dock.close_down()
            self._dock.close()
        return bool(super().eventFilter(watched, event))

    def _stay(self) -> None:
        self._closing = False


def window_of(viewer: Any) -> QWidget | None:
    """Return the window of a viewer; None where there is none, or none any more."""
    window = getattr(getattr(viewer, "window", None), "_qt_window", None)
    return window if window is not None and isalive(window) else None


@functools.cache
def _docks() -> weakref.WeakSet[CacheTree]:
    """Return the docks that were shown; they end before Python and Qt take their parts from under each other."""
    docks: weakref.WeakSet[CacheTree] = weakref.WeakSet()
    atexit.register(_end, docks)
    return docks


def _end(docks: weakref.WeakSet[CacheTree]) -> None:
    """End all docks; one that is a window of its own is deleted, as nothing else does it in time."""
    for dock in [dock for dock in docks if isalive(dock)]:
        dock.close_down()
        if dock.parent() is None:
            dock.close()
            dock.deleteLater()
            QCoreApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete)
