"""The filter of loaded rows, and the search through the whole tree."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QToolButton, QWidget

from cvcache.browse import MAX_MATCHES, Level, Row, Tree, search
from cvcache.napari.icons import action_icon
from cvcache.napari.jobs import Job, Jobs
from cvcache.napari.tree.cells import error_sentence
from cvcache.napari.tree.loader import Loader
from cvcache.napari.tree.model import TreeModel
from cvcache.napari.tree.view import TreeView

TYPING_MS = 120
"""Milliseconds after the last key until the filter is applied."""
_REPORT_SECONDS = 0.2
_MAX_REPORT_ROWS = 200


@dataclass(frozen=True, slots=True)
class SearchResults:
    """A part of the results of a search.

    Attributes
    ----------
    levels : tuple of Level
        Levels that lead to the rows, from the top down.
    rows : tuple of Row
        Rows that match.
    read : int
        Number of directories that were read so far.
    """

    levels: tuple[Level, ...]
    rows: tuple[Row, ...]
    read: int


class SearchBar(QWidget):
    """The line edit of the filter, and the progress of a search.

    Signals
    -------
    filtered : the query, once typing has stopped.
    results : a `SearchResults`.
    ended : one sentence with the outcome of a search.
    outdated : that sentence, once the query changes.
    """

    filtered = Signal(str)
    results = Signal(object)
    ended = Signal(str)
    outdated = Signal(str)

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tree: Tree | None = None
        self._jobs = jobs
        self._job: Job | None = None
        self._count = 0
        self._message = ""
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
        self._typing.setInterval(TYPING_MS)
        self._typing.timeout.connect(self._apply)
        self.edit.textChanged.connect(lambda _: self._typed())
        self.edit.returnPressed.connect(self.search)
        self.edit.escaped.connect(self.edit.clear)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.edit, 1)
        layout.addWidget(self.progress)
        layout.addWidget(self.stop_button)
        self._show_progress("")

    def query(self) -> str:
        """Return the query."""
        return str(self.edit.text()).strip()

    def search(self) -> None:
        """Search the whole tree for the query, in the background."""
        self._apply()
        self.stop()
        if self.tree is None or not self.query():
            return
        self._count = 0
        self._show_progress("searching\N{HORIZONTAL ELLIPSIS} 0 found")
        self._job = self._jobs.start(
            run_search,
            self.tree,
            self.query(),
            progress=self._on_results,
            done=self._done,
            failed=self._failed,
            topic="search",
        )

    def stop(self) -> None:
        """Cancel a running search; its results stay."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
            self._emit_ended(f"search stopped, {self._count:,} found")
        self._show_progress("")

    def _emit_ended(self, text: str) -> None:
        self._message = text
        self.ended.emit(text)

    def _typed(self) -> None:
        if self._message:
            self.outdated.emit(self._message)
            self._message = ""
        self.stop()
        self._typing.start()

    def _apply(self) -> None:
        self._typing.stop()
        self.filtered.emit(self.query())

    def _on_results(self, results: SearchResults) -> None:
        self._count += len(results.rows)
        self._show_progress(
            f"searching\N{HORIZONTAL ELLIPSIS} {self._count:,} found, {results.read:,} directories read"
        )
        self.results.emit(results)

    def _done(self, _: int) -> None:
        self._job = None
        self._show_progress("")
        more = ", and there may be more" if self._count >= MAX_MATCHES else ""
        self._emit_ended(f"{self._count:,} found{more}")

    def _failed(self, error: Exception) -> None:
        self._job = None
        self._show_progress("")
        self._emit_ended(f"the search ended early, {self._count:,} found: {error_sentence(error)}")

    def _show_progress(self, text: str) -> None:
        self.progress.setText(text)
        self.progress.setVisible(bool(text))
        self.stop_button.setVisible(bool(text))


class TreeFilter(QObject):
    """Applies the filter and the search results to the tree view."""

    def __init__(self, search: SearchBar, model: TreeModel, view: TreeView, loader: Loader) -> None:
        super().__init__(search)
        self._search, self._model, self._view, self._loader = search, model, view, loader
        self._selected_before: list[str] = []
        search.filtered.connect(self._filter)
        search.results.connect(self._show_results)

    def clear(self) -> None:
        """Clear the filter."""
        self._search.edit.clear()
        self._filter("")

    def _filter(self, query: str) -> None:
        if query == self._model.query:
            return
        selected = [row.path for row in self._view.selected_rows()] or self._selected_before
        self._model.set_query(query)
        for path in list(self._loader.expanded):
            self._view.expand_path(path)  # rows that come back are collapsed
        self._select_again(selected)
        self._selected_before = selected if query else []

    def _select_again(self, paths: list[str]) -> None:
        """Select rows again that were selected, as far as they are shown."""
        shown = [path for path in paths if self._model.index_of(path).isValid()]
        if {row.path for row in self._view.selected_rows()} != set(shown):
            for number, path in enumerate(shown):
                self._view.select(path, alone=number == 0)

    def _show_results(self, results: SearchResults) -> None:
        for level in results.levels:
            self._loader.show_level(level)
        self._loader.show_rows(results.rows)
        for level in results.levels:
            self._view.expand_path(level.path)


class _Edit(QLineEdit):
    """A line edit with a signal for the Esc key."""

    escaped = Signal()

    def keyPressEvent(self, event: Any) -> None:
        """Emit `escaped` for the Esc key."""
        if event.key() == Qt.Key.Key_Escape and self.text():
            self.escaped.emit()
            event.accept()
            return
        super().keyPressEvent(event)


def run_search(
    tree: Tree, query: str, *, stopped: Callable[[], bool] = lambda: False, report: Callable[[SearchResults], None]
) -> int:
    """Search a tree, report results in parts, and return the number of rows that match; in a worker.

    Notes
    -----
    The cost of `cvcache.browse.find.search`.
    """
    levels: dict[str, Level] = {}
    reported: set[str] = set()
    rows: list[Row] = []
    new_levels: list[Level] = []
    count, last = 0, time.monotonic()
    for one in search(tree, query, stopped=stopped):
        if isinstance(one, Level):
            levels[one.path] = one
        else:
            count += 1
            rows.append(one)
            for path in _parent_paths(one.path):
                if path not in reported and path in levels:
                    reported.add(path)
                    new_levels.append(levels[path])
        if time.monotonic() - last > _REPORT_SECONDS or len(rows) >= _MAX_REPORT_ROWS:
            report(SearchResults(tuple(new_levels), tuple(rows), len(levels)))
            rows, new_levels, last = [], [], time.monotonic()
    if rows:
        report(SearchResults(tuple(new_levels), tuple(rows), len(levels)))
    return count


def _parent_paths(path: str) -> list[str]:
    """Return the paths of the parents of a row, from the top down."""
    parts = path.split("/")[:-1]
    return ["", *("/".join(parts[: n + 1]) for n in range(len(parts)))]
