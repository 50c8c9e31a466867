"""Remove and recompute after a question: plan the removal, ask the user, do it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QMessageBox, QWidget

from cvcache.browse import Removal, Row, Tree, plain_line, plain_text, removal, remove, withdraw
from cvcache.napari.jobs import Jobs
from cvcache.napari.tree import error_sentence


class Remover(QObject):
    """Removes nodes of a tree after asking the user.

    Attributes
    ----------
    question : callable
        Called with a title and the text of the removal; returns whether to go on.

    Signals
    -------
    removed : URLs of the removed nodes, and the path of the row.
    message : one sentence.
    """

    removed = Signal(object, str)
    message = Signal(str)

    def __init__(self, jobs: Jobs, parent: QWidget) -> None:
        super().__init__(parent)
        self._jobs, self._window = jobs, parent
        self.question: Callable[[str, str], bool] = self._ask

    def remove(self, tree: Tree, row: Row) -> None:
        """Remove a node and all below it, if the user agrees."""
        title = f"Remove {_name(row)} and all below it?"
        self._begin(tree, row, title, below=True)

    def withdraw(self, tree: Tree, row: Row) -> None:
        """Remove the result of one node, if the user agrees, so that the next run computes it."""
        title = f"Recompute {_name(row)} at the next run? Its result is removed now."
        self._begin(tree, row, title, below=False)

    def _begin(self, tree: Tree, row: Row, title: str, *, below: bool) -> None:
        self.message.emit(f"finding out what {_name(row)} holds\N{HORIZONTAL ELLIPSIS}")
        self._jobs.start(
            lambda: removal(tree, row, below=below),
            done=lambda planned: self._confirm(tree, row, title, planned, below=below),
            failed=self._failed,
            topic="removal",
        )

    def _confirm(self, tree: Tree, row: Row, title: str, planned: Removal, *, below: bool) -> None:
        if not planned.urls:
            self.message.emit(f"there is nothing of cvcache's at {plain_line(row.url)}")
            return
        if not self.question(title, planned.text()):
            self.message.emit("nothing was removed")
            return
        self.message.emit(f"removing {plain_line(row.url)}\N{HORIZONTAL ELLIPSIS}")
        self._jobs.start(
            lambda: (remove if below else withdraw)(tree, row, planned),
            done=lambda urls: self._done(row, urls),
            failed=self._failed,
        )

    def _done(self, row: Row, urls: list[str]) -> None:
        count = f"{len(urls):,} node{'' if len(urls) == 1 else 's'}"
        self.message.emit(f"removed {count}" if urls else f"there was nothing left to remove at {plain_line(row.url)}")
        self.removed.emit(urls, row.path)

    def _failed(self, error: Exception) -> None:
        self.message.emit(f"nothing was removed, or not all: {error_sentence(error)}")

    def _ask(self, title: str, text: str) -> bool:
        box = question_box(self._window, title, text)
        answer = box.exec()
        box.deleteLater()
        return bool(answer == QMessageBox.StandardButton.Yes)


def question_box(parent: QWidget | None, title: str, text: str) -> QMessageBox:
    """Return a message box with Yes and No; No is the default."""
    box = QMessageBox(parent)
    box.setTextFormat(Qt.TextFormat.PlainText)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setWindowTitle("cvcache")
    box.setText(plain_line(title))
    box.setInformativeText(plain_text(text))
    box.setStandardButtons(QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No)
    box.setDefaultButton(QMessageBox.StandardButton.No)
    box.setEscapeButton(QMessageBox.StandardButton.No)
    return box


def _name(row: Row) -> str:
    return plain_line(row.name, 80)
