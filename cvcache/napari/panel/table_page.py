"""The table page: the first rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QGuiApplication, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QTableView, QWidget

from cvcache.browse import READ_ERRORS, Row, TableHead, error_line, has_table, plain_line, table_head, tooltip_html
from cvcache.napari.panel.page import Page, Selection, items_of, may_have_item
from cvcache.napari.panel.widgets import MARGIN, MessageLabel, column_layout

if TYPE_CHECKING:
    from cvcache.napari.jobs import Jobs

MAX_ROWS = 200
MAX_TABLES = 200
_FITTED_COLUMNS = 40
"""Columns whose width is fitted to their cells."""
_MAX_COLUMN_WIDTH = 260


@dataclass(frozen=True, slots=True)
class TableContent:
    """The names of the tables of a node, the name of the shown one, and its first rows."""

    names: tuple[str, ...]
    name: str
    head: TableHead


class TableModel(QAbstractTableModel):
    """The Qt model of the first rows of a table; cells are plain text."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.head = TableHead()

    def show_head(self, head: TableHead) -> None:
        """Show another table."""
        self.beginResetModel()
        self.head = head
        self.endResetModel()

    def rowCount(self, parent: Any = QModelIndex()) -> int:  # noqa: B008 - as Qt has it
        """Return how many rows are shown."""
        return 0 if parent.isValid() else len(self.head.rows)

    def columnCount(self, parent: Any = QModelIndex()) -> int:  # noqa: B008 - as Qt has it
        """Return how many columns are shown."""
        return 0 if parent.isValid() else len(self.head.columns)

    def data(self, index: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return text, tooltip or alignment of a cell; numbers are aligned right."""
        if not index.isValid():
            return None
        text = self.head.rows[index.row()][index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return text
        if role == Qt.ItemDataRole.ToolTipRole:
            return tooltip_html(text)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignRight if _is_number(text) else Qt.AlignmentFlag.AlignLeft
            return int(side.value | Qt.AlignmentFlag.AlignVCenter.value)
        return None

    def headerData(self, section: int, orientation: Any, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the name of a column, or the number of a row from 0 as Python counts."""
        if orientation == Qt.Orientation.Vertical:
            return str(section) if role == Qt.ItemDataRole.DisplayRole else None
        if not 0 <= section < len(self.head.columns):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.head.columns[section]
        return tooltip_html(self.head.columns[section]) if role == Qt.ItemDataRole.ToolTipRole else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class CellsView(QTableView):
    """A table view whose selected cells can be copied into a spreadsheet."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        height = self.fontMetrics().height() + MARGIN
        self.verticalHeader().setDefaultSectionSize(height)
        self.verticalHeader().setMinimumSectionSize(height)

    def fit_columns(self) -> None:
        """Fit the width of the first columns to their cells."""
        for number in range(min(self.model().columnCount(), _FITTED_COLUMNS)):
            width = max(self.sizeHintForColumn(number), self.horizontalHeader().sectionSizeHint(number))
            self.setColumnWidth(number, min(width + MARGIN, _MAX_COLUMN_WIDTH))

    def selected_text(self) -> str:
        """Return the selected cells, with tabs between them."""
        chosen: dict[int, dict[int, str]] = {}
        for index in self.selectedIndexes():
            chosen.setdefault(index.row(), {})[index.column()] = index.data().replace("\t", " ")
        return "\n".join("\t".join(cells[i] for i in sorted(cells)) for _, cells in sorted(chosen.items()))

    def keyPressEvent(self, event: Any) -> None:
        """Handle Copy."""
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.selected_text())
        else:
            super().keyPressEvent(event)


class TablePage(Page):
    """The selected table, or the tables of the selected node."""

    title = "Table"

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(jobs, parent)
        self.model = TableModel(self)
        self.cells = CellsView()
        self.cells.setModel(self.model)
        self.choice = QComboBox()
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.activated.connect(self._on_chosen)
        self.note = MessageLabel()
        self._chosen_name = ""
        layout = column_layout(self.content, MARGIN)
        layout.addWidget(self.choice)
        layout.addWidget(self.cells, 1)
        layout.addWidget(self.note)

    def has_content(self, selection: Selection) -> bool:
        """Whether the row is a table, or its node has or may have one."""
        return may_have_item(selection, lambda name, _: has_table(name))

    def empty_text(self, selection: Selection) -> str:
        """Return why there is no table."""
        return "There is no table here." if selection.single else "Select one line to see its table."

    def read_content(self, selection: Selection) -> TableContent | str:
        """Read the first rows."""
        row, node = selection.single, selection.node
        if row is None or node is None:
            return self.empty_text(selection)
        if row.is_item and has_table(row.name):
            return TableContent((row.name,), row.name, table_head(row, MAX_ROWS) or TableHead())
        try:
            tables = {item.name: item for item in items_of(node) if has_table(item.name)}
        except READ_ERRORS as error:
            return error_line(error)
        if not tables:
            return self.empty_text(selection)
        item: Row = tables.get(self._chosen_name) or next(iter(tables.values()))
        return TableContent(tuple(tables)[:MAX_TABLES], item.name, table_head(item, MAX_ROWS) or TableHead())

    def show_content(self, selection: Selection, content: TableContent | str) -> str:
        """Show the rows."""
        if isinstance(content, str):
            return content
        if not content.head.columns and content.head.note:
            return content.head.note
        same = self.shown_paths == selection.paths and content.head.columns == self.model.head.columns
        if [self.choice.itemData(i) for i in range(self.choice.count())] != list(content.names):
            self.choice.clear()
            for name in content.names:
                self.choice.addItem(plain_line(name, 80), name)
        self.choice.setCurrentIndex(content.names.index(content.name) if content.name in content.names else -1)
        self.choice.setVisible(len(content.names) > 1)
        if content.head != self.model.head:
            self.model.show_head(content.head)
        if not same:
            self.cells.fit_columns()
            self.cells.scrollToTop()
        self.note.set_text(_size_text(content))
        return ""

    def _on_chosen(self, index: int) -> None:
        self._chosen_name = self.choice.itemData(index)
        self.load()


def _size_text(content: TableContent) -> str:
    """Return how much of the table is shown."""
    head, count = content.head, len(content.head.rows)
    if head.total is not None and head.total > count:
        extent = f"first {count:,} of {head.total:,} rows"
    else:
        extent = f"{count:,} rows" if head.total is not None else f"first {count:,} rows"
    rest = [part for part in head.note.split("; ") if part and not part.startswith("the first ")]
    return plain_line("; ".join([f"{content.name}: {extent}", *rest]), 1000)
