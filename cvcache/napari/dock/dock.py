"""The dock "Cache tree": address, filter, tree, and the panel of what is selected."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtCore import QEvent, QPoint, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QApplication, QSplitter, QWidget

from cvcache.browse import OpenedUrl, Row, Tree, as_python, plain_line
from cvcache.napari.dock.actions import Commands
from cvcache.napari.dock.address_bar import AddressBar, Opening
from cvcache.napari.dock.confirm import Asker
from cvcache.napari.dock.status import StatusLine
from cvcache.napari.dock.window import Closing, DropTarget, main_window_of
from cvcache.napari.jobs import Jobs, window_of
from cvcache.napari.layers import Adder
from cvcache.napari.panel import GAP, Panel, column, page_of
from cvcache.napari.settings import BackgroundBox, Settings, settings
from cvcache.napari.tree import Loader, Narrowing, Revealer, SearchBar, Thumbnails, TreeModel, TreeView

HEIGHTS = (550, 450)
"""Of the tree and of the panel: how they share what there is."""


class CacheTree(QWidget):
    """A tree of cached results: look at it, and add layers of what it holds.

    Parameters
    ----------
    napari_viewer : napari.Viewer, optional
        Where layers go; without one all but that works.

    Attributes
    ----------
    tree : Tree or None
        What is open.
    jobs : Jobs
        Where everything runs that may wait for a store.

    Signals
    -------
    opened : URL of the tree that is open now.
    failed : one sentence, why one could not be opened.
    selection_changed : list of the rows that are selected.
    rows_changed : list of rows that are not what they were.
    """

    opened = Signal(str)
    failed = Signal(str)
    selection_changed = Signal(object)
    rows_changed = Signal(object)

    def __init__(self, napari_viewer: Any = None) -> None:
        super().__init__()
        self.settings = settings() if napari_viewer is not None else Settings()
        self.jobs = Jobs(self)
        self.model = TreeModel(self)
        self.view = TreeView(self.model)
        self.loader = Loader(self.model, self.jobs, self.view.paths_seen, self.view.anchored, self)
        self.thumbnails = Thumbnails(self.jobs, self)
        self.thumbnails.on = self.settings.thumbnails
        self.model.thumbnail = self.thumbnails.icon
        self.address = AddressBar()
        self.search = SearchBar(self.jobs)
        self.narrowing = Narrowing(self.search, self.model, self.view, self.loader)
        self.panel = Panel(self.jobs)
        self.adder = Adder(napari_viewer, self.jobs, self)
        self.asker = Asker(self.jobs, self)
        self.status = StatusLine()
        self.revealer = Revealer(self.model, self.view, self)
        self.commands = Commands(self, self._acts())
        self.opening = Opening(self.address, self.status, self.jobs, self.settings.memory)
        self.background = BackgroundBox(self.adder.viewer)
        self._viewer = napari_viewer
        self._target: DropTarget | None = None
        self._closing = Closing(self, window_of(self.adder.viewer))
        self._closed = False
        self._lay_out()
        self._connect()
        self.destroyed.connect(functools.partial(_end, self.jobs, self.loader))
        self._selected([])

    @property
    def tree(self) -> Tree | None:
        """What is open."""
        return self.loader.tree

    def open(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Open the tree at `url` in the background; the one before stays until then."""
        self.opening.begin(url, storage_options)

    def rows_selected(self) -> list[Row]:
        """Return the rows that are selected, from the top to the bottom."""
        return self.view.rows_selected()

    def refresh(self) -> None:
        """Read again what is selected, or else the whole tree as far as it is open."""
        rows = self.rows_selected()
        if self.tree is None:
            if self.address.text():
                self.open(self.address.text())
            return
        self.status.say("looking again\N{HORIZONTAL ELLIPSIS}")
        self.thumbnails.clear()
        row = rows[0] if len(rows) == 1 else None
        path = "" if row is None else row.path.rpartition("/")[0] if row.is_item else row.path
        self.loader.refresh(path, lambda: self.status.say(""))

    def reveal(self, url: str) -> None:
        """Select the row of a node or an item, opening what it lies below."""
        if self.tree is None or not self.revealer.reveal(url, self.tree.url):
            self.status.say(
                f"{plain_line(url)} is not in this tree" if url else "the active layer is not of a cache tree"
            )

    def add(self, rows: list[Row], *, side_by_side: bool = False) -> None:
        """Add the layers of rows to the viewer."""
        if rows:
            self.adder.add(rows, side_by_side=side_by_side)

    def show_or_add(self, rows: list[Row]) -> None:
        """Add the layers of rows; of what can be none, show the page that reads it."""
        pages = {row.kind: page for row in rows if (page := page_of(row)) is not None}
        self.add([row for row in rows if row.kind not in pages])
        if pages and all(row.kind in pages for row in rows):
            self._show_page(pages[rows[0].kind] if len(rows) == 1 else "Preview")

    def _without_layer(self, row: Row) -> None:
        """Show the page of what turned out to be no layer, such as a table without coordinates."""
        if [one.path for one in self.rows_selected()] == [row.path]:
            title = "Table" if row.kind == "table" or row.name.endswith((".csv", ".parquet")) else "Preview"
            self.status.say(f"there is no layer of {plain_line(row.name)}; its page {title} is shown")
            self._show_page(title)

    def _show_page(self, title: str) -> None:
        self.show_panel()
        self.panel.open_page(title)

    def show_panel(self) -> None:
        """Give the panel room, if it has little."""
        height = self._splitter.height()
        if self._splitter.sizes()[1] < height // 4:
            self._splitter.setSizes([height // 2, height // 2])

    def show_tree(self, tree: Tree, top: Row) -> None:
        """Go over to another tree, of which the top was read."""
        self.search.stop()
        self.narrowing.clear()
        self.panel.clear()
        self.thumbnails.clear()
        self.revealer.give_up()
        self.loader.show(tree, top)
        self.search.tree = tree
        self.loader.expand("")
        self.view.select("")

    def _opened(self, found: OpenedUrl) -> None:
        if found.item:
            self.reveal(found.item)
        self.opened.emit(found.tree.url)

    def _selected(self, rows: list[Row]) -> None:
        self.commands.suit(rows, has_tree=self.tree is not None, has_viewer=self._viewer is not None)
        if self.tree is None or self._closed:
            return
        self.panel.show_rows(self.tree, rows)
        if len(rows) == 1 and rows[0].state == "committed" and not rows[0].is_item:
            self.loader.check(rows[0].path)
        self.selection_changed.emit(rows)

    def _changed(self, rows: list[Row]) -> None:
        if any(not row.path and row.state != "absent" for row in rows):
            self.opening.came()
        self.panel.update_rows(rows)
        self.commands.suit(self.rows_selected(), has_tree=True, has_viewer=self._viewer is not None)
        self.rows_changed.emit(rows)

    def _settled(self) -> None:
        if not self._closed:
            self.loader.look()
            self.thumbnails.look(self.view.rows_seen())

    def _loaded(self, path: str) -> None:
        if path in self.loader.expanded:
            self.view.expand_path(path)
        self.revealer.go_on()

    def _dropped(self, paths: list[str]) -> None:
        self.add([row for path in paths if (row := self.model.row_at(path)) is not None])

    def _lay_out(self) -> None:
        above = QWidget()
        column(above, parts=(self.commands.bar, self.search, self.view), grows=self.view)
        self._splitter = QSplitter(Qt.Orientation.Vertical)
        self._splitter.setChildrenCollapsible(False)
        self._splitter.addWidget(above)
        self._splitter.addWidget(self.panel)
        self._splitter.setSizes([HEIGHTS[0], HEIGHTS[1]])
        parts = (self.address, self._splitter, self.status, self.background)
        column(self, GAP, parts=parts, grows=self._splitter)

    def _acts(self) -> dict[str, Callable[[], object]]:
        """Return what the actions do."""
        rows = self.rows_selected
        return {
            "add": lambda: self.add(rows()),
            "beside": lambda: self.add(rows(), side_by_side=True),
            "toggle": lambda: self.adder.toggle(rows()),
            "reveal": lambda: self.reveal(self.adder.url_of_active_layer()),
            "compare": lambda: self._show_page("Preview"),
            "copy_url": lambda: self.status.say(f"copied {self.view.copy_urls():,} URLs"),
            "copy_python": self._copy_python,
            "refresh": self.refresh,
            "withdraw": lambda: self._ask(self.asker.withdraw),
            "remove": lambda: self._ask(self.asker.remove),
        }

    def _copy_python(self) -> None:
        if text := as_python(self.rows_selected()):
            QApplication.clipboard().setText(text)
            self.status.say("copied as Python")

    def _ask(self, question: Callable[[Tree, Row], None]) -> None:
        rows = self.rows_selected()
        if self.tree is not None and len(rows) == 1:
            question(self.tree, rows[0])

    def _connect(self) -> None:
        self.address.entered.connect(self.open)
        self.opening.landed.connect(lambda found: self.show_tree(found.tree, found.top))
        self.opening.opened.connect(self._opened)
        self.opening.failed.connect(self.failed)
        self._closing.ended.connect(self.close_down)
        self.search.ended.connect(self.status.say)
        self.search.outdated.connect(self.status.take_back)
        self.view.opened.connect(self.show_or_add)
        self.view.toggled.connect(self.adder.toggle)
        self.view.chosen.connect(self._selected)
        self.view.settled.connect(self._settled)
        self.view.expanded.connect(lambda index: self._unfolded(index, self.loader.expand))
        self.view.collapsed.connect(lambda index: self._unfolded(index, self.loader.collapse))
        self.view.customContextMenuRequested.connect(self._show_menu)
        self.loader.loaded.connect(self._loaded)
        self.loader.rows_changed.connect(self._changed)
        self.loader.said.connect(self.status.complain)
        self.revealer.hidden.connect(self.narrowing.clear)
        self.revealer.missing.connect(self.status.say)
        self.thumbnails.came.connect(self.model.redraw)
        self.asker.said.connect(self.status.say)
        self.asker.removed.connect(lambda _urls, path: self.loader.refresh(path.rpartition("/")[0]))
        self.adder.failed.connect(self.status.complain)
        self.adder.without.connect(self._without_layer)
        self.adder.said.connect(self.status.say)
        self.adder.moved.connect(self.loader.refresh)
        self.jobs.error.connect(self.status.complain)

    def _unfolded(self, index: Any, act: Callable[[str], None]) -> None:
        row = self.model.row_of(index)
        if row is not None:
            act(row.path)

    def _show_menu(self, where: QPoint) -> None:
        self.commands.menu(self).popup(self.view.viewport().mapToGlobal(where))

    def event(self, event: QEvent) -> bool:
        """Keep the keys that mean something here from those of the main window."""
        if event.type() == QEvent.Type.ShortcutOverride and _is_ours(event):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QEvent) -> None:
        """Go to the filter, or look again."""
        if event.matches(QKeySequence.StandardKey.Find):
            self.search.edit.setFocus(Qt.FocusReason.ShortcutFocusReason)
            self.search.edit.selectAll()
        elif event.key() == Qt.Key.Key_F5:
            self.refresh()
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QEvent) -> None:
        """Look for news while it can be seen, and take what is dropped on the window."""
        super().showEvent(event)
        self.loader.poll_every(0 if self._closed else self.settings.autorefresh)
        window = main_window_of(self)
        if self._target is None and window is not None:
            self._target = DropTarget(window, self._dropped, self)

    def hideEvent(self, event: QEvent) -> None:
        """Look for no news while nobody sees it."""
        super().hideEvent(event)
        self.loader.poll_every(0)

    def closeEvent(self, event: QEvent) -> None:
        """End all that goes on, without waiting for it."""
        self.close_down()
        super().closeEvent(event)

    def close_down(self) -> None:
        """End all that goes on, without waiting for it."""
        if not self._closed:
            self._closed = True
            self.loader.poll_every(0)
            self.panel.close_down()
            self.adder.close_down()
            self.loader.show(None, None)
            self.jobs.close()


def _end(jobs: Jobs, loader: Loader, *_: object) -> None:
    """End what goes on for a dock that was deleted without being closed."""
    jobs.close()
    if loader.tree is not None:
        loader.tree.close()


def _is_ours(event: QEvent) -> bool:
    return bool(event.matches(QKeySequence.StandardKey.Find) or event.key() == Qt.Key.Key_F5)
