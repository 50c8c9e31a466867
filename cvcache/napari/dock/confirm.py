"""Removing and recomputing: first what it means is found out, then somebody is asked, then it is done."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QMessageBox, QWidget

from cvcache.browse import Removal, Row, Tree, plain_line, plain_text, removal, remove, withdraw
from cvcache.napari.jobs import Jobs
from cvcache.napari.tree import sentence


class Asker(QObject):
    """Removes nodes of a tree after a question.

    Attributes
    ----------
    question : callable
        Given a title and the lines that name what goes; tells whether to go on.

    Signals
    -------
    removed : URLs of what is gone, and the path of the row it was asked for.
    said : one sentence.
    """

    removed = Signal(object, str)
    said = Signal(str)

    def __init__(self, jobs: Jobs, parent: QWidget) -> None:
        super().__init__(parent)
        self._jobs, self._window = jobs, parent
        self.question: Callable[[str, str], bool] = self._ask

    def remove(self, tree: Tree, row: Row) -> None:
        """Ask whether to remove a node and all below it, and do so."""
        title = f"Remove {_name(row)} and all below it?"
        self._begin(tree, row, title, below=True)

    def withdraw(self, tree: Tree, row: Row) -> None:
        """Ask whether to remove the result of one node, so that the next run computes it, and do so."""
        title = f"Recompute {_name(row)} at the next run? Its result is removed now."
        self._begin(tree, row, title, below=False)

    def _begin(self, tree: Tree, row: Row, title: str, *, below: bool) -> None:
        self.said.emit(f"finding out what {_name(row)} holds\N{HORIZONTAL ELLIPSIS}")
        self._jobs.start(
            lambda: removal(tree, row, below=below),
            done=lambda found: self._confirm(tree, row, title, found, below=below),
            failed=self._failed,
            topic="removal",
        )

    def _confirm(self, tree: Tree, row: Row, title: str, found: Removal, *, below: bool) -> None:
        if not found.urls:
            self.said.emit(f"there is nothing of cvcache's at {plain_line(row.url)}")
            return
        if not self.question(title, found.text()):
            self.said.emit("nothing was removed")
            return
        self.said.emit(f"removing {plain_line(row.url)}\N{HORIZONTAL ELLIPSIS}")
        self._jobs.start(
            lambda: (remove if below else withdraw)(tree, row, found),
            done=lambda urls: self._done(row, urls),
            failed=self._failed,
        )

    def _done(self, row: Row, urls: list[str]) -> None:
        count = f"{len(urls):,} node{'' if len(urls) == 1 else 's'}"
        self.said.emit(f"removed {count}" if urls else f"there was nothing left to remove at {plain_line(row.url)}")
        self.removed.emit(urls, row.path)

    def _failed(self, error: Exception) -> None:
        self.said.emit(f"nothing was removed, or not all: {sentence(error)}")

    def _ask(self, title: str, text: str) -> bool:
        box = question_box(self._window, title, text)
        answer = box.exec()
        box.deleteLater()
        return bool(answer == QMessageBox.StandardButton.Yes)


def question_box(parent: QWidget | None, title: str, text: str) -> QMessageBox:
    """Return a box that asks; the answer is no unless somebody says yes."""
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
