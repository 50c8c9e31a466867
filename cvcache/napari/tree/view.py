"""The tree as one sees and drives it: keys, columns that fit, what is in sight, what is dragged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from qtpy.QtCore import QEvent, QModelIndex, QObject, QPersistentModelIndex, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QKeySequence, QPainter
from qtpy.QtWidgets import QAbstractItemView, QApplication, QHeaderView, QMenu, QTreeView, QWidget

from cvcache.browse import Row, plain_line
from cvcache.napari.tree.cells import COLUMNS, NAME, SHAPE, SIZE, STATE, TYPE, WHEN
from cvcache.napari.tree.model import TreeModel

SETTLING = 30
"""Milliseconds without a change after which the rows in sight are looked at."""

NAME_WIDTH = 132
WIDTHS = {STATE: 76, SHAPE: 84, TYPE: 64, SIZE: 76, WHEN: 76}
"""Pixels of a column, in the order in which they are given room."""
WIDEST = {STATE: 110, SHAPE: 176}
"""Pixels at most of a column that is as wide as what it says."""
PALE = 0.65
NO_MATCH = "nothing among the lines read so far; Enter searches the whole tree"


class TreeView(QTreeView):
    """A view of a `TreeModel`.

    Signals
    -------
    opened : rows that somebody wants to have in the viewer, by the Enter key or two clicks.
    toggled : rows to show or to hide, by the space bar.
    settled : the rows in sight are others than before, and stay.
    chosen : the rows that are selected now.
    """

    opened = Signal(object)
    toggled = Signal(object)
    settled = Signal()
    chosen = Signal(object)

    def __init__(self, model: TreeModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = model
        self._columns_by_hand = False
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(SETTLING)
        self._settling.timeout.connect(self.settled)
        self._dress()
        self.setModel(model)
        self._lay_out_columns()
        self.selectionModel().selectionChanged.connect(lambda *_: self.chosen.emit(self.rows_selected()))
        self.settled.connect(self._fit_columns)
        for signal in (self.expanded, self.collapsed, model.rowsInserted, model.rowsRemoved, model.modelReset):
            signal.connect(lambda *_: self.unsettle())
        self.verticalScrollBar().valueChanged.connect(lambda *_: self.unsettle())
        self.doubleClicked.connect(self._open)

    def rows_selected(self) -> list[Row]:
        """Return the selected rows, from the top to the bottom."""
        spans = [span for span in self.selectionModel().selection() if span.left() == NAME]
        return self._model.rows_of((span.parent(), span.top(), span.bottom()) for span in spans)

    def rows_seen(self) -> list[Row]:
        """Return the rows in sight."""
        rows = (self._model.row_of(index) for index in self._indexes_seen())
        return [row for row in rows if row is not None]

    def paths_seen(self) -> list[str]:
        """Return where the rows in sight stand."""
        return [row.path for row in self.rows_seen()]

    def select(self, path: str, *, alone: bool = True) -> bool:
        """Select the row at `path` and bring it into sight; say whether it is there."""
        index = self._model.index_of(path)
        if not index.isValid():
            return False
        how = self.selectionModel().SelectionFlag
        flags = (how.ClearAndSelect if alone else how.Select) | how.Rows
        self.selectionModel().setCurrentIndex(index, flags)
        self.scrollTo(index)
        return True

    def expand_path(self, path: str) -> None:
        """Open the branch at `path`, if it is shown."""
        index = self._model.index_of(path)
        if index.isValid() and not self.isExpanded(index):
            self.expand(index)

    @contextmanager
    def anchored(self) -> Iterator[None]:
        """Keep the topmost row in sight where it is while rows come and go."""
        top = self.indexAt(self.viewport().rect().topLeft())
        if not top.isValid() or self.verticalScrollBar().value() == 0:
            yield
            return
        held, offset = QPersistentModelIndex(top), self.visualRect(top).top()
        yield
        if held.isValid():
            self.executeDelayedItemsLayout()
            now = self.visualRect(QModelIndex(held)).top()
            bar = self.verticalScrollBar()
            bar.setValue(bar.value() + now - offset)

    def unsettle(self) -> None:
        """Tell of the rows in sight once they stay."""
        self._settling.start()

    def copy_urls(self) -> int:
        """Put the URLs of the selected rows on the clipboard, and return how many there are."""
        rows = self.rows_selected()
        if rows:
            QApplication.clipboard().setText("\n".join(row.url for row in rows))
        return len(rows)

    def word_in_place(self) -> str:
        """Return what is said in place of a tree that a filter leaves nothing of."""
        return NO_MATCH if self._model.query and not self._model.rowCount() and self._model.row_at("") else ""

    # as Qt asks

    def paintEvent(self, event: QEvent) -> None:
        """Draw the tree, or say why there is none."""
        super().paintEvent(event)
        if text := self.word_in_place():
            painter = QPainter(self.viewport())
            painter.setOpacity(PALE)
            where = self.viewport().rect().adjusted(12, 12, -12, -12)
            painter.drawText(where, int(Qt.AlignmentFlag.AlignTop.value | Qt.TextFlag.TextWordWrap.value), text)
            painter.end()

    def keyPressEvent(self, event: QEvent) -> None:
        """Do what a key stands for; the arrows are Qt's."""
        rows = self.rows_selected()
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy_urls()
        elif event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self._open(self.currentIndex())
        elif event.key() == Qt.Key.Key_Space:
            if rows:
                self.toggled.emit(rows)
        else:
            super().keyPressEvent(event)
            return
        event.accept()

    def resizeEvent(self, event: QEvent) -> None:
        """Show as many columns as there is room for."""
        super().resizeEvent(event)
        self._fit_columns()
        self.unsettle()

    def showEvent(self, event: QEvent) -> None:
        """Look at what is in sight."""
        super().showEvent(event)
        self.unsettle()

    def _dress(self) -> None:
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
        header.setResizeContentsPrecision(0)  # what is in sight, however much there is
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        for column, width in WIDTHS.items():
            self.setColumnWidth(column, width)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(lambda where: self.column_menu().popup(header.mapToGlobal(where)))

    def column_menu(self) -> QMenu:
        """Return a menu that says which columns are shown."""
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
            if column in WIDEST:
                width = min(max(width, self.sizeHintForColumn(column)), WIDEST[column])  # noqa: PLW2901 - its own
                if self.columnWidth(column) != width:
                    self.setColumnWidth(column, width)
            room -= width
            if self.isColumnHidden(column) != (room < 0):
                self.setColumnHidden(column, room < 0)

    def _open(self, index: QModelIndex) -> None:
        """Open what Enter or two clicks mean: an item goes to the viewer, a branch unfolds."""
        row = self._model.row_of(index)
        if row is None:
            return
        rows = self.rows_selected()
        if row.is_item:
            items = [one for one in rows if one.is_item]
            self.opened.emit(items if row in items else [row])
        else:
            index = index.siblingAtColumn(NAME)
            self.setExpanded(index, not self.isExpanded(index))

    def _indexes_seen(self) -> Iterator[QModelIndex]:
        area = self.viewport().rect()
        if not self.isVisible() or area.isEmpty():
            return
        index = self.indexAt(area.topLeft())
        while index.isValid() and self.visualRect(index).top() <= area.bottom():
            yield index
            index = self.indexBelow(index)


class Revealer(QObject):
    """Opens what a row lies below, and selects it.

    Signals
    -------
    hidden : the row is there, but the filter leaves it out; it is selected once nothing is left out any more.
    missing : one sentence, that there is no such row.
    """

    hidden = Signal()
    missing = Signal(str)

    def __init__(self, model: TreeModel, view: TreeView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model, self._view = model, view
        self._path: str | None = None

    def reveal(self, url: str, top: str) -> bool:
        """Begin to look for the row of `url` in the tree at `top`; say whether it can be in it."""
        if url != top and not url.startswith(f"{top}/"):
            return False
        self._path = url.removeprefix(top).lstrip("/")
        self.go_on()
        return True

    def give_up(self) -> None:
        """Look for nothing any more."""
        self._path = None

    def go_on(self) -> None:
        """Open one more level towards the row that is looked for, or select it."""
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
        """Open the first level on the way that is not there; say whether there is one to wait for."""
        for above in ["", *("/".join(parts[:n]) for n in range(1, len(parts)))]:
            if self._model.row_at(above) is None:
                return False
            self._view.expand_path(above)
            if not self._model.is_loaded(above):
                return True
        return False
