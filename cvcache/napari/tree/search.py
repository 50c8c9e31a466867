"""The filter: at once over what is loaded, and on request through the whole tree."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QToolButton, QWidget

from cvcache.browse import MAX_MATCHES, Level, Row, Tree, search
from cvcache.napari.icons import action_icon
from cvcache.napari.jobs import Job, Jobs
from cvcache.napari.tree.cells import sentence
from cvcache.napari.tree.loader import Loader
from cvcache.napari.tree.model import TreeModel
from cvcache.napari.tree.view import TreeView

TYPING = 120
"""Milliseconds without a key after which the filter goes by what is typed."""
_REPORT_AFTER = 0.2
_MOST_A_REPORT = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A part of what a search has brought.

    Attributes
    ----------
    levels : tuple of Level
        Those that lead to it, from the top down.
    rows : tuple of Row
        Those that match.
    read : int
        Directories that were read so far.
    """

    levels: tuple[Level, ...]
    rows: tuple[Row, ...]
    read: int


class SearchBar(QWidget):
    """A line to filter by, and how far a search is.

    Signals
    -------
    filtered : what is typed, once it stays.
    found : a `Found`.
    ended : one sentence on what a search came to.
    outdated : that sentence, once something else is typed.
    """

    filtered = Signal(str)
    found = Signal(object)
    ended = Signal(str)
    outdated = Signal(str)

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tree: Tree | None = None
        self._jobs = jobs
        self._job: Job | None = None
        self._count = 0
        self._told = ""
        self.edit = _Edit()
        self.edit.setPlaceholderText("filter: name state:failed kind:labels *.csv")
        self.edit.setToolTip("Filters what is loaded. Enter searches the whole tree. Esc clears.")
        self.edit.setAccessibleName("Filter")
        self.edit.setClearButtonEnabled(True)
        self.progress = QLabel()
        self.progress.setTextFormat(Qt.TextFormat.PlainText)
        self.stop_button = QToolButton()
        self.stop_button.setIcon(action_icon("stop"))
        self.stop_button.setToolTip("Stop the search")
        self.stop_button.clicked.connect(lambda *_: self.stop())
        self._typing = QTimer(self)
        self._typing.setSingleShot(True)
        self._typing.setInterval(TYPING)
        self._typing.timeout.connect(self._apply)
        self.edit.textChanged.connect(lambda _: self._typed())
        self.edit.returnPressed.connect(self.search)
        self.edit.left.connect(self.edit.clear)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.edit, 1)
        layout.addWidget(self.progress)
        layout.addWidget(self.stop_button)
        self._show_progress("")

    def query(self) -> str:
        """Return what is typed in."""
        return str(self.edit.text()).strip()

    def search(self) -> None:
        """Look for what is typed in the whole tree, in the background."""
        self._apply()
        self.stop()
        if self.tree is None or not self.query():
            return
        self._count = 0
        self._show_progress("searching\N{HORIZONTAL ELLIPSIS} 0 found")
        self._job = self._jobs.start(
            find, self.tree, self.query(), news=self._heard, done=self._done, failed=self._failed, topic="search"
        )

    def stop(self) -> None:
        """End a search that is under way; what it has found stays."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
            self._tell(f"search stopped, {self._count:,} found")
        self._show_progress("")

    def _tell(self, text: str) -> None:
        self._told = text
        self.ended.emit(text)

    def _typed(self) -> None:
        if self._told:
            self.outdated.emit(self._told)
            self._told = ""
        self.stop()
        self._typing.start()

    def _apply(self) -> None:
        self._typing.stop()
        self.filtered.emit(self.query())

    def _heard(self, part: Found) -> None:
        self._count += len(part.rows)
        self._show_progress(f"searching\N{HORIZONTAL ELLIPSIS} {self._count:,} found, {part.read:,} directories read")
        self.found.emit(part)

    def _done(self, _: int) -> None:
        self._job = None
        self._show_progress("")
        more = ", and there may be more" if self._count >= MAX_MATCHES else ""
        self._tell(f"{self._count:,} found{more}")

    def _failed(self, error: Exception) -> None:
        self._job = None
        self._show_progress("")
        self._tell(f"the search ended early, {self._count:,} found: {sentence(error)}")

    def _show_progress(self, text: str) -> None:
        self.progress.setText(text)
        self.progress.setVisible(bool(text))
        self.stop_button.setVisible(bool(text))


class Narrowing(QObject):
    """Leads a filter and a search into the tree."""

    def __init__(self, search: SearchBar, model: TreeModel, view: TreeView, loader: Loader) -> None:
        super().__init__(search)
        self._search, self._model, self._view, self._loader = search, model, view, loader
        self._kept: list[str] = []
        search.filtered.connect(self._filter)
        search.found.connect(self._take)

    def clear(self) -> None:
        """Leave nothing out any more."""
        self._search.edit.clear()
        self._filter("")

    def _filter(self, query: str) -> None:
        if query == self._model.query:
            return
        kept = [row.path for row in self._view.rows_selected()] or self._kept
        self._model.set_query(query)
        for path in list(self._loader.expanded):
            self._view.expand_path(path)  # what was left out comes back closed
        self._keep(kept)
        self._kept = kept if query else []

    def _keep(self, paths: list[str]) -> None:
        """Select again what was selected, as far as it is shown."""
        shown = [path for path in paths if self._model.index_of(path).isValid()]
        if {row.path for row in self._view.rows_selected()} != set(shown):
            for number, path in enumerate(shown):
                self._view.select(path, alone=number == 0)

    def _take(self, part: Found) -> None:
        for level in part.levels:
            self._loader.take_level(level)
        self._loader.take(part.rows)
        for level in part.levels:
            self._view.expand_path(level.path)


class _Edit(QLineEdit):
    """A line that the Esc key leaves."""

    left = Signal()

    def keyPressEvent(self, event: object) -> None:
        """Tell of the Esc key."""
        if event.key() == Qt.Key.Key_Escape and self.text():  # type: ignore[attr-defined]  # a QKeyEvent
            self.left.emit()
            event.accept()  # type: ignore[attr-defined]  # a QKeyEvent
            return
        super().keyPressEvent(event)


def find(
    tree: Tree, query: str, *, stopped: Callable[[], bool] = lambda: False, report: Callable[[Found], None]
) -> int:
    """Search a tree, report what is found a part at a time, and return how many rows match; in a worker.

    Notes
    -----
    What `cvcache.browse.find.search` costs.
    """
    levels: dict[str, Level] = {}
    told: set[str] = set()
    rows: list[Row] = []
    leading: list[Level] = []
    count, last = 0, time.monotonic()
    for one in search(tree, query, stopped=stopped):
        if isinstance(one, Level):
            levels[one.path] = one
        else:
            count += 1
            rows.append(one)
            for path in _above(one.path):
                if path not in told and path in levels:
                    told.add(path)
                    leading.append(levels[path])
        if time.monotonic() - last > _REPORT_AFTER or len(rows) >= _MOST_A_REPORT:
            report(Found(tuple(leading), tuple(rows), len(levels)))
            rows, leading, last = [], [], time.monotonic()
    if rows:
        report(Found(tuple(leading), tuple(rows), len(levels)))
    return count


def _above(path: str) -> list[str]:
    """Return the paths of all that a row lies below, from the top down."""
    parts = path.split("/")[:-1]
    return ["", *("/".join(parts[: n + 1]) for n in range(len(parts)))]
