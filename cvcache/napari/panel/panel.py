"""What is selected in the tree, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QTabWidget, QWidget

from cvcache.browse import Row, Tree
from cvcache.napari.jobs import Jobs
from cvcache.napari.panel.key_page import KeyPage, MadePage
from cvcache.napari.panel.log_page import LogPage
from cvcache.napari.panel.page import Page, Shown, title_of
from cvcache.napari.panel.plots_page import PlotsPage
from cvcache.napari.panel.preview_page import PreviewPage
from cvcache.napari.panel.table_page import TablePage
from cvcache.napari.panel.widgets import SMALL, ElidedLabel, column

SETTLING = 40
"""Milliseconds that a selection stands before anything is read for it: held arrow keys are quicker."""
HOW = "Double-click an image to add it; arrows, Enter and Space work too."
PATIENCE = 300
"""Milliseconds that what was shown before stays, with its title, while the new is read."""


class Panel(QWidget):
    """Shows what is selected: preview, log, plots, table, key, and what it was made with.

    Only the page that can be seen is read, always in a worker. What is shown stands below its own title at all times:
    that of the selection before stays until the new is there, but not for long.

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
            MadePage(jobs),
        )
        for page in self.pages:
            self.tabs.addTab(page, page.title)
            page.filled.connect(self._entitle)
        self._shown: Shown | None = None
        self._wished = 0
        self._choosing = False
        self._settling = _timer(self, SETTLING, self._ask)
        self._patience = _timer(self, PATIENCE, self._wait)
        layout = column(self)
        self.title.setContentsMargins(SMALL, 0, SMALL, 0)
        layout.addWidget(self.title)
        layout.addWidget(self.tabs, 1)
        self.tabs.currentChanged.connect(self._turned)
        self.clear()

    @property
    def page(self) -> Page:
        """The page that is open."""
        index: int = self.tabs.currentIndex()
        return self.pages[index]

    def show_rows(self, tree: Tree, rows: Sequence[Row]) -> None:
        """Show these rows; nothing is read for a selection that changes again at once.

        Notes
        -----
        No store call here; what each page costs is read by `jobs` while it can be seen.
        """
        if not rows:
            self.clear()
            return
        self._shown = Shown(tree, tuple(rows))
        self._settling.start()
        self._patience.start()

    def update_rows(self, rows: Iterable[Row]) -> None:
        """Take over news of rows, some of which may be shown; the others are ignored."""
        if self._shown is None:
            return
        news = {row.path: row for row in rows}
        above = {row.path.rpartition("/")[0] for row in self._shown.rows if row.is_item}
        if news.keys() & {*self._shown.paths, *above}:
            fresh = tuple(news.get(row.path, row) for row in self._shown.rows)
            self._shown = Shown(self._shown.tree, fresh)
            self._settling.start()

    def open_page(self, title: str) -> None:
        """Open the page of that title, as soon as what is selected has something on it."""
        self._wished = next(i for i, page in enumerate(self.pages) if page.title == title)
        if self._shown is not None:
            self._settling.start()

    def clear(self) -> None:
        """Show nothing."""
        self._settling.stop()
        self._patience.stop()
        self._shown = None
        self.title.set_text("")
        for page in self.pages:
            page.forget()
        self._enable(None)
        self.pages[0].say(f"Select a line of the tree to see what it holds. {HOW}")

    def close_down(self) -> None:
        """Read nothing more, follow no log, and close the windows of plots."""
        self.clear()
        self.plots.close_windows()

    def _ask(self) -> None:
        """Have the open page read what is selected by now, the others once they are opened."""
        if self._shown is None:
            return
        before = self.page
        self._enable(self._shown)
        if self.page is not before and self.page.holds != before.holds:
            self.page.say("")
        for page in self.pages:
            page.ask(self._shown)

    def _enable(self, shown: Shown | None) -> None:
        """Let those pages be opened that have something, and open the one that was opened last among them."""
        self._choosing = True
        offered = [shown is not None and page.offers(shown) for page in self.pages]
        self.tabs.setCurrentIndex(self._wished if offered[self._wished] else 0)
        for i, on in enumerate(offered):
            self.tabs.setTabEnabled(i, on or i == 0)
        self._choosing = False

    def _turned(self, index: int) -> None:
        if self._choosing:
            return
        self._wished = index
        if self._shown is not None and self.page.holds != self._shown.paths:
            self._patience.start()

    def _entitle(self) -> None:
        if self._shown is not None and self.page.holds == self._shown.paths:
            self.title.set_text(title_of(self._shown))
            self._patience.stop()

    def _wait(self) -> None:
        """Take away what was shown before: the new takes longer."""
        if self._shown is not None:
            self.page.wait()
            self.title.set_text(title_of(self._shown))


def _timer(parent: QWidget, milliseconds: int, then: object) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(then)
    return timer
