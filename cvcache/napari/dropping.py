"""Rows that are dragged from the tree and dropped on the window."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from qtpy.QtCore import QEvent, QMimeData, QObject, Qt
from qtpy.QtWidgets import QMainWindow, QWidget

from cvcache.browse.rows import Row

MIME = "application/x-cvcache-rows"

_DRAGS = (QEvent.Type.DragEnter, QEvent.Type.DragMove, QEvent.Type.Drop)


def dragged(rows: Iterable[Row]) -> QMimeData:
    """Return rows as they are dragged: where they stand in their tree, and their URLs as text, not as files."""
    chosen = list(rows)
    data = QMimeData()
    data.setData(MIME, "\n".join(row.path for row in chosen).encode("utf-8", "replace"))
    data.setText("\n".join(row.url for row in chosen))
    return data


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
