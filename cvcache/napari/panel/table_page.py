"""The first rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QGuiApplication, QKeySequence
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QTableView, QWidget

from cvcache.browse import READ_ERRORS, Row, TableHead, error_line, plain_line, table_head, tooltip_html
from cvcache.napari.panel.page import Page, Shown, items_of, may_have
from cvcache.napari.panel.widgets import SMALL, Sentence, column

if TYPE_CHECKING:
    from cvcache.napari.jobs import Jobs

ROWS = 200
MOST_TABLES = 200
_SUFFIXES = (".csv", ".parquet")
_MEASURED = 40
"""Columns whose width is fitted to what they hold."""
_WIDEST = 260


@dataclass(frozen=True, slots=True)
class TableFound:
    """The tables of a node, the one that is shown, and its head."""

    names: tuple[str, ...]
    name: str
    head: TableHead


class TableModel(QAbstractTableModel):
    """The head of a table; cells are plain text."""

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
        """Return the text of a cell; numbers stand to the right."""
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


class Cells(QTableView):
    """Cells to be selected, and copied as they are pasted into a spreadsheet."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setWordWrap(False)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        height = self.fontMetrics().height() + SMALL
        self.verticalHeader().setDefaultSectionSize(height)
        self.verticalHeader().setMinimumSectionSize(height)

    def fit_columns(self) -> None:
        """Make the first columns as wide as what they hold."""
        for number in range(min(self.model().columnCount(), _MEASURED)):
            width = max(self.sizeHintForColumn(number), self.horizontalHeader().sectionSizeHint(number))
            self.setColumnWidth(number, min(width + SMALL, _WIDEST))

    def selected_text(self) -> str:
        """Return the selected cells, with tabs between them."""
        chosen: dict[int, dict[int, str]] = {}
        for index in self.selectedIndexes():
            chosen.setdefault(index.row(), {})[index.column()] = index.data().replace("\t", " ")
        return "\n".join("\t".join(cells[i] for i in sorted(cells)) for _, cells in sorted(chosen.items()))

    def keyPressEvent(self, event: Any) -> None:
        """Copy what is selected."""
        if event.matches(QKeySequence.StandardKey.Copy):
            QGuiApplication.clipboard().setText(self.selected_text())
        else:
            super().keyPressEvent(event)


class TablePage(Page):
    """The table that is selected, or those of the selected node."""

    title = "Table"

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(jobs, parent)
        self.model = TableModel(self)
        self.cells = Cells()
        self.cells.setModel(self.model)
        self.choice = QComboBox()
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.activated.connect(self._chose)
        self.note = Sentence()
        self._wished = ""
        layout = column(self.content, SMALL)
        layout.addWidget(self.choice)
        layout.addWidget(self.cells, 1)
        layout.addWidget(self.note)

    def offers(self, shown: Shown) -> bool:
        """Whether the row is a table or of a node that has one, or may have one."""
        return may_have(shown, lambda name, _: name.endswith(_SUFFIXES))

    def nothing(self, shown: Shown) -> str:
        """Say why there is none."""
        return "There is no table here." if shown.one else "Select one line to see its table."

    def collect(self, shown: Shown) -> TableFound | str:
        """Read the first rows."""
        row, node = shown.one, shown.node
        if row is None or node is None:
            return self.nothing(shown)
        if row.is_item and row.name.endswith(_SUFFIXES):
            return TableFound((row.name,), row.name, table_head(row, ROWS) or TableHead())
        try:
            tables = {item.name: item for item in items_of(node) if item.name.endswith(_SUFFIXES)}
        except READ_ERRORS as error:
            return error_line(error)
        if not tables:
            return self.nothing(shown)
        item: Row = tables.get(self._wished) or next(iter(tables.values()))
        return TableFound(tuple(tables)[:MOST_TABLES], item.name, table_head(item, ROWS) or TableHead())

    def present(self, shown: Shown, found: TableFound | str) -> str:
        """Show them."""
        if isinstance(found, str):
            return found
        if not found.head.columns and found.head.note:
            return found.head.note
        same = self.holds == shown.paths and found.head.columns == self.model.head.columns
        if [self.choice.itemData(i) for i in range(self.choice.count())] != list(found.names):
            self.choice.clear()
            for name in found.names:
                self.choice.addItem(plain_line(name, 80), name)
        self.choice.setCurrentIndex(found.names.index(found.name) if found.name in found.names else -1)
        self.choice.setVisible(len(found.names) > 1)
        if found.head != self.model.head:
            self.model.show_head(found.head)
        if not same:
            self.cells.fit_columns()
            self.cells.scrollToTop()
        self.note.set_text(_size_text(found))
        return ""

    def _chose(self, index: int) -> None:
        self._wished = self.choice.itemData(index)
        self.load()


def _size_text(found: TableFound) -> str:
    """Return how much of the table is shown."""
    head, shown = found.head, len(found.head.rows)
    if head.total is not None and head.total > shown:
        extent = f"first {shown:,} of {head.total:,} rows"
    else:
        extent = f"{shown:,} rows" if head.total is not None else f"first {shown:,} rows"
    rest = [part for part in head.note.split("; ") if part and not part.startswith("the first ")]
    return plain_line("; ".join([f"{found.name}: {extent}", *rest]), 1000)
