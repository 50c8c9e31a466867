"""The view of the tree: keys, widths of columns, visible rows, dragging."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qtpy.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QKeySequence, QPainter
from qtpy.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QMenu, QTreeView, QWidget

from cvcache.browse import Row, plain_line
from cvcache.napari.tree.cells import COLUMNS, NAME, SHAPE, SIZE, STATE, TYPE, WHEN
from cvcache.napari.tree.model import TreeModel

SETTLE_MS = 30
"""Milliseconds after the last change until the visible rows are read."""

NAME_WIDTH = 132
WIDTHS = {STATE: 76, SHAPE: 84, TYPE: 64, SIZE: 76, WHEN: 76}
"""Widths of columns in pixels, the most important first."""
MAX_WIDTHS = {STATE: 216, SHAPE: 176}
"""Largest width in pixels of columns that fit their texts."""
PALE_OPACITY = 0.65
NO_MATCH = "nothing among the lines read so far; Enter searches the whole tree"


class TreeView(QTreeView):
    """A view of a `TreeModel`.

    Signals
    -------
    open_requested : rows to add to the viewer, after Enter or a double click.
    toggle_requested : rows to show or hide, after the space bar.
    visible_changed : other rows are visible, and scrolling has stopped.
    selection_changed : the selected rows.
    """

    open_requested = Signal(object)
    toggle_requested = Signal(object)
    visible_changed = Signal()
    selection_changed = Signal(object)

    def __init__(self, model: TreeModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._columns_by_hand = False
        self._settle_timer = QTimer(self)
        self._settle_timer.setSingleShot(True)
        self._settle_timer.setInterval(SETTLE_MS)
        self._settle_timer.timeout.connect(self.visible_changed)
        self._set_up()
        self.setModel(model)
        self._lay_out_columns()
        self.selectionModel().selectionChanged.connect(lambda *_: self.selection_changed.emit(self.selected_rows()))
        self.visible_changed.connect(self._fit_columns)
        for signal in (self.expanded, self.collapsed, model.rowsInserted, model.rowsRemoved, model.modelReset):
            signal.connect(lambda *_: self.restart_settling())
        self.verticalScrollBar().valueChanged.connect(lambda *_: self.restart_settling())
        self.doubleClicked.connect(self._open)

    def selected_rows(self) -> list[Row]:
        """Return the selected rows, from the top to the bottom."""
        spans = [span for span in self.selectionModel().selection() if span.left() == NAME]
        return self._model.rows_of((span.parent(), span.top(), span.bottom()) for span in spans)

    def visible_rows(self) -> list[Row]:
        """Return the visible rows."""
        rows = (self._model.row_of(index) for index in self._visible_indexes())
        return [row for row in rows if row is not None]

    def visible_paths(self) -> list[str]:
        """Return the paths of the visible rows."""
        return [row.path for row in self.visible_rows()]

    def select(self, path: str, *, alone: bool = True) -> bool:
        """Select the row at `path` and scroll to it; return whether it is there."""
        index = self._model.index_of(path)
        if not index.isValid():
            return False
        how = self.selectionModel().SelectionFlag
        flags = (how.ClearAndSelect if alone else how.Select) | how.Rows
        self.selectionModel().setCurrentIndex(index, flags)
        self.scrollTo(index)
        return True

    def expand_path(self, path: str) -> None:
        """Expand the branch at `path`, if it is shown."""
        index = self._model.index_of(path)
        if index.isValid() and not self.isExpanded(index):
            self.expand(index)

    @contextmanager
    def keep_position(self) -> Iterator[None]:
        """Keep the topmost visible row in place while rows are inserted or removed."""
        top = self.indexAt(self.viewport().rect().topLeft())
        if not top.isValid() or self.verticalScrollBar().value() == 0:
            yield
            return
        top_index, offset = QPersistentModelIndex(top), self.visualRect(top).top()
        yield
        if top_index.isValid():
            self.executeDelayedItemsLayout()
            now = self.visualRect(QModelIndex(top_index)).top()
            bar = self.verticalScrollBar()
            bar.setValue(bar.value() + now - offset)

    def restart_settling(self) -> None:
        """Start the timer of `visible_changed` again."""
        self._settle_timer.start()

    def copy_urls(self) -> int:
        """Copy the URLs of the selected rows to the clipboard, and return their number."""
        rows = self.selected_rows()
        if rows:
            QApplication.clipboard().setText("\n".join(row.url for row in rows))
        return len(rows)

    def placeholder_text(self) -> str:
        """Return the text that is shown if no row matches the filter."""
        return NO_MATCH if self._model.query and not self._model.rowCount() and self._model.row_at("") else ""

    # as Qt asks

    def paintEvent(self, event: QEvent) -> None:
        """Draw the tree, or the placeholder text."""
        super().paintEvent(event)
        if text := self.placeholder_text():
            painter = QPainter(self.viewport())
            painter.setOpacity(PALE_OPACITY)
            where = self.viewport().rect().adjusted(12, 12, -12, -12)
            painter.drawText(where, int(Qt.AlignmentFlag.AlignTop.value | Qt.TextFlag.TextWordWrap.value), text)
            painter.end()

    def keyPressEvent(self, event: QEvent) -> None:
        """Handle Copy, Enter and Space; the other keys are Qt's."""
        rows = self.selected_rows()
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy_urls()
        elif event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self._open(self.currentIndex())
        elif event.key() == Qt.Key.Key_Space:
            if rows:
                self.toggle_requested.emit(rows)
        else:
            super().keyPressEvent(event)
            return
        event.accept()

    def resizeEvent(self, event: QEvent) -> None:
        """Show as many columns as fit."""
        super().resizeEvent(event)
        self._fit_columns()
        self.restart_settling()

    def showEvent(self, event: QEvent) -> None:
        """Read the visible rows."""
        super().showEvent(event)
        self.restart_settling()

    def _set_up(self) -> None:
        self.setUniformRowHeights(True)
        self.setAlternatingRowColors(False)
        self.setExpandsOnDoubleClick(False)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setDragEnabled(True)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DragOnly)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setIconSize(QSize(18, 18))
        self.setIndentation(14)

    def _lay_out_columns(self) -> None:
        header = self.header()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(40)
        header.setResizeContentsPrecision(0)  # visible rows only, however many there are
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column, width in WIDTHS.items():
            self.setColumnWidth(column, width)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(lambda where: self.column_menu().popup(header.mapToGlobal(where)))

    def column_menu(self) -> QMenu:
        """Return a menu to choose the shown columns."""
        menu = QMenu(self)
        for column in WIDTHS:
            action = menu.addAction(COLUMNS[column])
            action.setCheckable(True)
            action.setChecked(not self.isColumnHidden(column))
            action.toggled.connect(lambda shown, column=column: self._choose_column(column, shown=shown))
        return menu

    def _choose_column(self, column: int, *, shown: bool) -> None:
        self._columns_by_hand = True
        self.setColumnHidden(column, not shown)

    def _fit_columns(self) -> None:
        if self._columns_by_hand:
            return
        room = self.viewport().width() - NAME_WIDTH
        for column, width in WIDTHS.items():
            if column in MAX_WIDTHS:
                width = min(max(width, self.sizeHintForColumn(column)), MAX_WIDTHS[column])  # noqa: PLW2901 - its own
                if self.columnWidth(column) != width:
                    self.setColumnWidth(column, width)
            room -= width
            if self.isColumnHidden(column) != (room < 0):
                self.setColumnHidden(column, room < 0)

    def _open(self, index: QModelIndex) -> None:
        """Handle Enter and double click: add items to the viewer, expand or collapse a branch."""
        row = self._model.row_of(index)
        if row is None:
            return
        rows = self.selected_rows()
        if row.is_item:
            items = [one for one in rows if one.is_item]
            self.open_requested.emit(items if row in items else [row])
        else:
            index = index.siblingAtColumn(NAME)
            self.setExpanded(index, not self.isExpanded(index))

    def _visible_indexes(self) -> Iterator[QModelIndex]:
        area = self.viewport().rect()
        if not self.isVisible() or area.isEmpty():
            return
        index = self.indexAt(area.topLeft())
        while index.isValid() and self.visualRect(index).top() <= area.bottom():
            yield index
            index = self.indexBelow(index)


class RowRevealer(QObject):
    """Expands the parents of a row, and selects it.

    Signals
    -------
    hidden : the row is there, but the filter hides it; the receiver clears the filter, then the row is selected.
    missing : one sentence that there is no such row.
    """

    hidden = Signal()
    missing = Signal(str)

    def __init__(self, model: TreeModel, view: TreeView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model, self._view = model, view
        self._path: str | None = None

    def reveal(self, url: str, top: str) -> bool:
        """Start to reveal the row of `url` in the tree at `top`; return whether it can be in it."""
        if url != top and not url.startswith(f"{top}/"):
            return False
        self._path = url.removeprefix(top).lstrip("/")
        self.continue_reveal()
        return True

    def cancel(self) -> None:
        """Stop revealing a row."""
        self._path = None

    def continue_reveal(self) -> None:
        """Expand one more level towards the row, or select it."""
        path = self._path
        if path is None:
            return
        if self._model.row_at(path) is None:
            if self._open_next(path.split("/")):
                return
            self.missing.emit(f"{plain_line(path)} is not in this tree any more; F5 looks again")
        elif not self._view.select(path):
            self.hidden.emit()
            self._view.select(path)
        self._path = None

    def _open_next(self, parts: list[str]) -> bool:
        """Expand the first parent that is not loaded; return whether there is one to wait for."""
        for above in ["", *("/".join(parts[:n]) for n in range(1, len(parts)))]:
            if self._model.row_at(above) is None:
                return False
            self._view.expand_path(above)
            if not self._model.is_loaded(above):
                return True
        return False
