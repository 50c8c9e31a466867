"""The dock "Cache tree": address bar, filter, tree, and the panel of the selected rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtCore import QEvent, QPoint, Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QApplication, QSplitter, QWidget

from cvcache.browse import OpenedUrl, Row, Tree, as_python, has_table, plain_line
from cvcache.napari.dock.actions import Commands
from cvcache.napari.dock.address_bar import AddressBar, UrlOpener
from cvcache.napari.dock.confirm import Remover
from cvcache.napari.dock.status import StatusLine
from cvcache.napari.dock.window import DropTarget, Shutdown, main_window_of
from cvcache.napari.jobs import Jobs, window_of_viewer
from cvcache.napari.layers import Adder
from cvcache.napari.panel import SPACING, Panel, column_layout, page_title_for
from cvcache.napari.settings import BackgroundBox, Settings, plugin_settings
from cvcache.napari.tree import Loader, RowRevealer, SearchBar, Thumbnails, TreeFilter, TreeModel, TreeView

HEIGHTS = (550, 450)
"""Relative heights of the tree and of the panel."""


class CacheTree(QWidget):
    """The dock widget: a tree of cached results, whose items become layers.

    Parameters
    ----------
    napari_viewer : napari.Viewer, optional
        Viewer for the layers; without one everything else works.

    Attributes
    ----------
    tree : Tree or None
        The open tree.
    jobs : Jobs
        Workers for all calls that wait for a store.

    Signals
    -------
    opened : URL of the tree that was opened.
    failed : one sentence on why a tree could not be opened.
    selection_changed : list of the selected rows.
    rows_changed : list of rows that changed.
    """

    opened = Signal(str)
    failed = Signal(str)
    selection_changed = Signal(object)
    rows_changed = Signal(object)

    def __init__(self, napari_viewer: Any = None) -> None:
        super().__init__()
        self.settings = plugin_settings() if napari_viewer is not None else Settings()
        self.jobs = Jobs(self)
        self.model = TreeModel(self)
        self.view = TreeView(self.model)
        self.loader = Loader(self.model, self.jobs, self.view.visible_paths, self.view.keep_position, self)
        self.thumbnails = Thumbnails(self.jobs, self)
        self.thumbnails.on = self.settings.thumbnails
        self.model.thumbnail = self.thumbnails.icon
        self.address = AddressBar()
        self.search = SearchBar(self.jobs)
        self.tree_filter = TreeFilter(self.search, self.model, self.view, self.loader)
        self.panel = Panel(self.jobs)
        self.adder = Adder(napari_viewer, self.jobs, self)
        self.remover = Remover(self.jobs, self)
        self.status = StatusLine()
        self.revealer = RowRevealer(self.model, self.view, self)
        self.commands = Commands(self, self._handlers())
        self.opener = UrlOpener(self.address, self.status, self.jobs, self.settings.memory)
        self.background = BackgroundBox(self.adder.viewer)
        self._viewer = napari_viewer
        self._target: DropTarget | None = None
        self._shutdown = Shutdown(self, window_of_viewer(self.adder.viewer))
        self._closed = False
        self._lay_out()
        self._connect()
        self.destroyed.connect(functools.partial(_end, self.jobs, self.loader))
        self._selected([])

    @property
    def tree(self) -> Tree | None:
        """The open tree."""
        return self.loader.tree

    def open(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        """Open the tree at `url` in the background; the one before stays until then."""
        self.opener.begin(url, storage_options)

    def selected_rows(self) -> list[Row]:
        """Return the selected rows, from the top to the bottom."""
        return self.view.selected_rows()

    def refresh(self) -> None:
        """Read the selected row again, or else all expanded levels."""
        rows = self.selected_rows()
        if self.tree is None:
            if self.address.text():
                self.open(self.address.text())
            return
        self.status.show_message("looking again\N{HORIZONTAL ELLIPSIS}")
        self.thumbnails.clear()
        row = rows[0] if len(rows) == 1 else None
        path = "" if row is None else row.path.rpartition("/")[0] if row.is_item else row.path
        self.loader.refresh(path, lambda: self.status.show_message(""))

    def reveal(self, url: str) -> None:
        """Select the row of a node or an item, and expand its parents."""
        if self.tree is None or not self.revealer.reveal(url, self.tree.url):
            self.status.show_message(
                f"{plain_line(url)} is not in this tree" if url else "the active layer is not of a cache tree"
            )

    def add(self, rows: list[Row], *, side_by_side: bool = False) -> None:
        """Add the layers of rows to the viewer."""
        if rows:
            self.adder.add(rows, side_by_side=side_by_side)

    def show_or_add(self, rows: list[Row]) -> None:
        """Add the layers of rows; for rows without layers show their page of the panel."""
        pages = {row.kind: page for row in rows if (page := page_title_for(row)) is not None}
        self.add([row for row in rows if row.kind not in pages])
        if pages and all(row.kind in pages for row in rows):
            self._show_page(pages[rows[0].kind] if len(rows) == 1 else "Preview")

    def _without_layer(self, row: Row) -> None:
        """Show the page of a row that has no layer, such as a table without coordinates."""
        if [one.path for one in self.selected_rows()] == [row.path]:
            title = "Table" if row.kind == "table" or has_table(row.name) else "Preview"
            self.status.show_message(f"there is no layer of {plain_line(row.name)}; its page {title} is shown")
            self._show_page(title)

    def _show_page(self, title: str) -> None:
        self.show_panel()
        self.panel.open_page(title)

    def show_panel(self) -> None:
        """Give the panel half of the height, if it has little."""
        height = self._splitter.height()
        if self._splitter.sizes()[1] < height // 4:
            self._splitter.setSizes([height // 2, height // 2])

    def show_tree(self, tree: Tree, top: Row) -> None:
        """Show another tree, of which the top was read."""
        self.search.stop()
        self.tree_filter.clear()
        self.panel.clear()
        self.thumbnails.clear()
        self.revealer.cancel()
        self.loader.show(tree, top)
        self.search.tree = tree
        self.loader.expand("")
        self.view.select("")

    def _opened(self, opened: OpenedUrl) -> None:
        if opened.item:
            self.reveal(opened.item)
        self.opened.emit(opened.tree.url)

    def _selected(self, rows: list[Row]) -> None:
        self.commands.enable_for(rows, has_tree=self.tree is not None, has_viewer=self._viewer is not None)
        if self.tree is None or self._closed:
            return
        self.panel.show_rows(self.tree, rows)
        if len(rows) == 1 and rows[0].state == "committed" and not rows[0].is_item:
            self.loader.check(rows[0].path)
        self.selection_changed.emit(rows)

    def _changed(self, rows: list[Row]) -> None:
        if any(not row.path and row.state != "absent" for row in rows):
            self.opener.mark_found()
        self.panel.update_rows(rows)
        self.commands.enable_for(self.selected_rows(), has_tree=True, has_viewer=self._viewer is not None)
        self.rows_changed.emit(rows)

    def _settled(self) -> None:
        if not self._closed:
            self.loader.read_visible_rows()
            self.thumbnails.load(self.view.visible_rows())

    def _loaded(self, path: str) -> None:
        if path in self.loader.expanded:
            self.view.expand_path(path)
        self.revealer.continue_reveal()

    def _dropped(self, paths: list[str]) -> None:
        self.add([row for path in paths if (row := self.model.row_at(path)) is not None])

    def _lay_out(self) -> None:
        above = QWidget()
        column_layout(above, widgets=(self.commands.bar, self.search, self.view), stretched=self.view)
        self._splitter = QSplitter(Qt.Orientation.Vertical)
        self._splitter.setChildrenCollapsible(False)
        self._splitter.addWidget(above)
        self._splitter.addWidget(self.panel)
        self._splitter.setSizes([HEIGHTS[0], HEIGHTS[1]])
        widgets = (self.address, self._splitter, self.status, self.background)
        column_layout(self, SPACING, widgets=widgets, stretched=self._splitter)

    def _handlers(self) -> dict[str, Callable[[], object]]:
        """Return the handlers of the actions."""
        rows = self.selected_rows
        return {
            "add": lambda: self.add(rows()),
            "beside": lambda: self.add(rows(), side_by_side=True),
            "toggle": lambda: self.adder.toggle(rows()),
            "reveal": lambda: self.reveal(self.adder.url_of_active_layer()),
            "compare": lambda: self._show_page("Preview"),
            "copy_url": lambda: self.status.show_message(f"copied {self.view.copy_urls():,} URLs"),
            "copy_python": self._copy_python,
            "refresh": self.refresh,
            "withdraw": lambda: self._ask(self.remover.withdraw),
            "remove": lambda: self._ask(self.remover.remove),
        }

    def _copy_python(self) -> None:
        if text := as_python(self.selected_rows()):
            QApplication.clipboard().setText(text)
            self.status.show_message("copied as Python")

    def _ask(self, question: Callable[[Tree, Row], None]) -> None:
        rows = self.selected_rows()
        if self.tree is not None and len(rows) == 1:
            question(self.tree, rows[0])

    def _connect(self) -> None:
        self.address.entered.connect(self.open)
        self.opener.tree_opened.connect(lambda opened: self.show_tree(opened.tree, opened.top))
        self.opener.opened.connect(self._opened)
        self.opener.failed.connect(self.failed)
        self._shutdown.ended.connect(self.close_down)
        self.search.ended.connect(self.status.show_message)
        self.search.outdated.connect(self.status.clear_message)
        self.view.open_requested.connect(self.show_or_add)
        self.view.toggle_requested.connect(self.adder.toggle)
        self.view.selection_changed.connect(self._selected)
        self.view.visible_changed.connect(self._settled)
        self.view.expanded.connect(lambda index: self._unfolded(index, self.loader.expand))
        self.view.collapsed.connect(lambda index: self._unfolded(index, self.loader.collapse))
        self.view.customContextMenuRequested.connect(self._show_menu)
        self.loader.loaded.connect(self._loaded)
        self.loader.rows_changed.connect(self._changed)
        self.loader.message.connect(self.status.show_error)
        self.revealer.hidden.connect(self.tree_filter.clear)
        self.revealer.missing.connect(self.status.show_message)
        self.thumbnails.loaded.connect(self.model.redraw)
        self.remover.message.connect(self.status.show_message)
        self.remover.removed.connect(lambda _urls, path: self.loader.refresh(path.rpartition("/")[0]))
        self.adder.failed.connect(self.status.show_error)
        self.adder.no_layer.connect(self._without_layer)
        self.adder.message.connect(self.status.show_message)
        self.adder.node_changed.connect(self.loader.refresh)
        self.jobs.error.connect(self.status.show_error)

    def _unfolded(self, index: Any, act: Callable[[str], None]) -> None:
        row = self.model.row_of(index)
        if row is not None:
            act(row.path)

    def _show_menu(self, where: QPoint) -> None:
        self.commands.menu(self).popup(self.view.viewport().mapToGlobal(where))

    def event(self, event: QEvent) -> bool:
        """Take the keys of the dock before the shortcuts of the main window."""
        if event.type() == QEvent.Type.ShortcutOverride and _is_ours(event):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: QEvent) -> None:
        """Handle Find and F5."""
        if event.matches(QKeySequence.StandardKey.Find):
            self.search.edit.setFocus(Qt.FocusReason.ShortcutFocusReason)
            self.search.edit.selectAll()
        elif event.key() == Qt.Key.Key_F5:
            self.refresh()
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: QEvent) -> None:
        """Start polling, and accept rows that are dropped on the window."""
        super().showEvent(event)
        self.loader.poll_every(0 if self._closed else self.settings.autorefresh)
        window = main_window_of(self)
        if self._target is None and window is not None:
            self._target = DropTarget(window, self._dropped, self)

    def hideEvent(self, event: QEvent) -> None:
        """Stop polling while the dock is hidden."""
        super().hideEvent(event)
        self.loader.poll_every(0)

    def closeEvent(self, event: QEvent) -> None:
        """Stop all work, without waiting for it."""
        self.close_down()
        super().closeEvent(event)

    def close_down(self) -> None:
        """Stop all work, without waiting for it."""
        if not self._closed:
            self._closed = True
            self.loader.poll_every(0)
            self.panel.close_down()
            self.adder.close_down()
            self.loader.show(None, None)
            self.jobs.close()


def _end(jobs: Jobs, loader: Loader, *_: object) -> None:
    """Stop the work of a dock that was deleted without being closed."""
    jobs.close()
    if loader.tree is not None:
        loader.tree.close()


def _is_ours(event: QEvent) -> bool:
    return bool(event.matches(QKeySequence.StandardKey.Find) or event.key() == Qt.Key.Key_F5)
