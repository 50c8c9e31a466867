"""The panel: pages on the selected rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QTabWidget, QWidget

from cvcache.browse import Row, Tree
from cvcache.napari.jobs import Jobs
from cvcache.napari.panel.key_page import EnvironmentPage, KeyPage
from cvcache.napari.panel.log_page import LogPage
from cvcache.napari.panel.page import Page, Selection, title_of
from cvcache.napari.panel.plots_page import PlotsPage
from cvcache.napari.panel.preview_page import PreviewPage
from cvcache.napari.panel.table_page import TablePage
from cvcache.napari.panel.widgets import MARGIN, ElidedLabel, column_layout

SETTLE_MS = 40
"""Milliseconds after the last change of the selection until it is read; repeated arrow keys are faster."""
USAGE_HINT = "Double-click an image to add it; arrows, Enter and Space work too."
PATIENCE_MS = 300
"""Milliseconds that the content before stays, with its title, while the new is read."""


class Panel(QWidget):
    """Shows the selected rows: preview, log, plots, table, key and environment.

    Only the visible page is read, always in a worker. Content is always shown below its own title: the content of the
    selection before stays until the new one is read, for a short time.

    Parameters
    ----------
    jobs : Jobs
    parent : QWidget, optional
    """

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = ElidedLabel()
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.setUsesScrollButtons(True)
        self.plots = PlotsPage(jobs)
        self.log = LogPage(jobs)
        self.pages: tuple[Page, ...] = (
            PreviewPage(jobs),
            self.log,
            self.plots,
            TablePage(jobs),
            KeyPage(jobs),
            EnvironmentPage(jobs),
        )
        for page in self.pages:
            self.tabs.addTab(page, page.title)
            page.filled.connect(self._update_title)
        self._selection: Selection | None = None
        self._chosen_index = 0
        self._updating_tabs = False
        self._settle_timer = _timer(self, SETTLE_MS, self._request)
        self._patience_timer = _timer(self, PATIENCE_MS, self._show_waiting)
        layout = column_layout(self)
        self.title.setContentsMargins(MARGIN, 0, MARGIN, 0)
        layout.addWidget(self.title)
        layout.addWidget(self.tabs, 1)
        self.tabs.currentChanged.connect(self._on_tab_changed)
        self.clear()

    @property
    def page(self) -> Page:
        """The open page."""
        index: int = self.tabs.currentIndex()
        return self.pages[index]

    def show_rows(self, tree: Tree, rows: Sequence[Row]) -> None:
        """Show these rows; nothing is read for a selection that changes again soon.

        Notes
        -----
        No store call here; a page reads its content in a job while it is visible.
        """
        if not rows:
            self.clear()
            return
        self._selection = Selection(tree, tuple(rows))
        self._settle_timer.start()
        self._patience_timer.start()

    def update_rows(self, rows: Iterable[Row]) -> None:
        """Show newer versions of rows; rows that are not selected are ignored."""
        if self._selection is None:
            return
        news = {row.path: row for row in rows}
        above = {row.path.rpartition("/")[0] for row in self._selection.rows if row.is_item}
        if news.keys() & {*self._selection.paths, *above}:
            fresh = tuple(news.get(row.path, row) for row in self._selection.rows)
            self._selection = Selection(self._selection.tree, fresh)
            self._settle_timer.start()

    def open_page(self, title: str) -> None:
        """Open the page with this title, as soon as it has content for the selection."""
        self._chosen_index = next(i for i, page in enumerate(self.pages) if page.title == title)
        if self._selection is not None:
            self._settle_timer.start()

    def clear(self) -> None:
        """Show nothing."""
        self._settle_timer.stop()
        self._patience_timer.stop()
        self._selection = None
        self.title.set_text("")
        for page in self.pages:
            page.clear()
        self._enable_tabs(None)
        self.pages[0].show_message(f"Select a line of the tree to see what it holds. {USAGE_HINT}")

    def close_down(self) -> None:
        """Read nothing more, follow no log, and close the windows of plots."""
        self.clear()
        self.plots.close_windows()

    def _request(self) -> None:
        """Let the open page read the selection, the others once they are opened."""
        if self._selection is None:
            return
        before = self.page
        self._enable_tabs(self._selection)
        if self.page is not before and self.page.shown_paths != before.shown_paths:
            self.page.show_message("")
        for page in self.pages:
            page.request(self._selection)

    def _enable_tabs(self, selection: Selection | None) -> None:
        """Enable the tabs of pages with content, and open the page that the user chose last, if it is one of them."""
        self._updating_tabs = True
        offered = [selection is not None and page.has_content(selection) for page in self.pages]
        self.tabs.setCurrentIndex(self._chosen_index if offered[self._chosen_index] else 0)
        for i, on in enumerate(offered):
            self.tabs.setTabEnabled(i, on or i == 0)
        self._updating_tabs = False

    def _on_tab_changed(self, index: int) -> None:
        if self._updating_tabs:
            return
        self._chosen_index = index
        if self._selection is not None and self.page.shown_paths != self._selection.paths:
            self._patience_timer.start()

    def _update_title(self) -> None:
        if self._selection is not None and self.page.shown_paths == self._selection.paths:
            self.title.set_text(title_of(self._selection))
            self._patience_timer.stop()

    def _show_waiting(self) -> None:
        """Show that the content is being read, in place of the content before."""
        if self._selection is not None:
            self.page.show_waiting()
            self.title.set_text(title_of(self._selection))


def _timer(parent: QWidget, milliseconds: int, then: object) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(then)
    return timer
