"""The Qt model of the tree: adds each level in one step, and updates and filters the lines in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractItemModel, QMimeData, QModelIndex, QObject, Qt, Signal

from cvcache.browse import Level, Row, matches, plain_line, tooltip_html
from cvcache.napari.icons import kind_icon, state_icon
from cvcache.napari.tree.cells import COLUMNS, NAME, SIZE, cell_text, row_tooltip
from cvcache.napari.tree.lines import EMPTY, LOADING, Message, TreeLine, changed_spans, consecutive_runs

if TYPE_CHECKING:
    from qtpy.QtGui import QIcon

MIME = "application/x-cvcache-rows"
"""MIME type of dragged rows: their paths in the tree, one a line."""
_NOWHERE = QModelIndex()
_COLUMN_BITS = 7
"""Bits of an internal id that hold the column; the higher bits hold the line. To ask Qt for the column costs more."""
_MESSAGE_FLAGS = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemNeverHasChildren
_BRANCH_FLAGS = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsDragEnabled
_LEAF_FLAGS = _BRANCH_FLAGS | Qt.ItemFlag.ItemNeverHasChildren
_TEXT_ROLES = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole)
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class TreeModel(QAbstractItemModel):
    """The rows that were read of one tree and match the filter.

    `level_requested` asks for the level of an expanded branch; the answer goes to `set_level` or `set_error`.

    Signals
    -------
    level_requested : path of the row whose level is to be read.

    Notes
    -----
    It filters itself: a `QSortFilterProxyModel` asks Python four times as often, which at 10,000 rows can be felt.
    """

    level_requested = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._root = TreeLine(0, None, None)
        self._lines: dict[int, TreeLine] = {0: self._root}
        self._by_path: dict[str, TreeLine] = {}
        self._serial = 0
        self._query = ""
        self._requested: set[str] = set()
        self.thumbnail: Callable[[Row], QIcon | None] = lambda _: None  # of an item, if it is in memory

    def row_of(self, index: QModelIndex) -> Row | None:
        """Return the row of an index; None for a message line."""
        line = self._line(index)
        return line.row if line is not None else None

    def rows_of(self, spans: Iterable[tuple[QModelIndex, int, int]]) -> list[Row]:
        """Return the rows in spans of lines, each given as (parent, first, last), from the top down."""
        lines: list[TreeLine] = []
        for parent, first, last in spans:
            above = self._lines.get(parent.internalId())
            lines += above.children[first : last + 1] if above is not None else []
        return [line.row for line in sorted(lines, key=TreeLine.tree_position) if line.row is not None]

    def index_of(self, path: str) -> QModelIndex:
        """Return the index of the row at `path`; an invalid index if it is not shown."""
        line = self._by_path.get(path)
        return self._index(line) if line is not None and line.shown else QModelIndex()

    def row_at(self, path: str) -> Row | None:
        """Return the row at `path`, shown or not."""
        line = self._by_path.get(path)
        return line.row if line is not None else None

    def is_loaded(self, path: str) -> bool:
        """Whether the level below `path` was read."""
        line = self._by_path.get(path)
        return line is not None and line.loaded

    @property
    def query(self) -> str:
        """The query of the filter."""
        return self._query

    def reset_to(self, top: Row | None) -> None:
        """Show another tree, of which only the top was read."""
        self.beginResetModel()
        self._root.matched = False
        self._lines = {0: self._root}
        self._by_path.clear()
        self._requested.clear()
        self._root.level = [] if top is None else [self._new_line(top, self._root)]
        self._root.apply_filter(self._matches)
        self._root.children = list(self._root.level)
        self.endResetModel()

    def set_level(self, level: Level) -> None:
        """Show the rows of a level; rows that are there already stay, with all below them."""
        parent = self._by_path.get(level.path)
        if parent is None:
            return
        self.update_rows(row for row in level.rows if row.path in self._by_path)
        shown = [self._by_path.get(row.path) or self._new_line(row, parent) for row in level.rows]
        if level.more:
            shown.append(self._message_line(parent, Message(f"only the first {len(level.rows):,} are shown")))
        self._set(parent, shown or [self._message_line(parent, EMPTY)])
        parent.loaded = True

    def set_error(self, path: str, sentence: str) -> None:
        """Show below `path` why its level could not be read; rows that are there stay."""
        self.show_message_below(path, Message(f"{plain_line(sentence)}; press F5 to try again", error=True))

    def show_message_below(self, path: str, message: Message = LOADING) -> None:
        """Show a message below `path` while its level is not loaded."""
        parent = self._by_path.get(path)
        if parent is not None and not parent.loaded:
            self._set(parent, [self._message_line(parent, message)])

    def forget_level(self, path: str) -> None:
        """Remove the message of a level that is not loaded, so that the level can be requested again."""
        parent = self._by_path.get(path)
        if parent is not None and not parent.loaded:
            self._set(parent, [])
            parent.level = None

    def update_rows(self, rows: Iterable[Row]) -> list[Row]:
        """Replace rows that are there by newer ones, and return those that changed."""
        changed = []
        for row in rows:
            line = self._by_path.get(row.path)
            if line is not None and line.row is not row and line.row != row:
                line.row = row
                changed.append(line)
        for line in changed if self._query else ():
            self._filter_again(line)
        self._emit_changed(changed)
        return [line.row for line in changed if line.row is not None]

    def redraw(self, paths: Iterable[str]) -> None:
        """Let the views draw these rows again."""
        self._emit_changed(self._by_path[path] for path in paths if path in self._by_path)

    def set_query(self, query: str) -> None:
        """Show the rows that match `query`, their parents, and all rows below them."""
        if query != self._query:
            self._query = query
            self._root.apply_filter(self._matches)
            for line in [self._root, *self._by_path.values()]:
                if line.level:
                    self._show_lines(line)

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Return the number of lines below."""
        line = self._lines.get(parent.internalId())
        return len(line.children) if line is not None else 0

    def columnCount(self, _parent: QModelIndex = _NOWHERE) -> int:  # noqa: D102 - as Qt asks
        return len(COLUMNS)

    def hasChildren(self, parent: QModelIndex = _NOWHERE) -> bool:
        """Whether there are, or may be, lines below."""
        line = self._lines.get(parent.internalId())
        return line is not None and (bool(line.children) or line.is_unopened)

    def canFetchMore(self, parent: QModelIndex) -> bool:
        """Whether the level below has to be read."""
        line = self._lines.get(parent.internalId())
        return line is not None and line.is_unopened

    def fetchMore(self, parent: QModelIndex) -> None:
        """Request the level below, once; it is read later, since no rows may be inserted during this call."""
        line = self._lines.get(parent.internalId())
        if line is not None and line.row is not None and line.is_unopened and line.row.path not in self._requested:
            self._requested.add(line.row.path)
            self.level_requested.emit(line.row.path)

    def index(self, row: int, column: int, parent: QModelIndex = _NOWHERE) -> QModelIndex:
        """Return the index of one cell."""
        line = self._lines.get(parent.internalId())
        if line is None or not 0 <= row < len(line.children) or not 0 <= column < len(COLUMNS):
            return QModelIndex()
        return self.createIndex(row, column, line.children[row].serial | column)

    def parent(self, index: QModelIndex | None = None) -> Any:
        """Return the index of the parent of a cell."""
        if index is None:
            return super().parent()
        line = self._line(index)
        return QModelIndex() if line is None or line.parent is None else self._index(line.parent)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Return the flags of a cell."""
        line = self._lines.get(index.internalId() & ~_COLUMN_BITS)
        if line is None or line.row is None:
            return Qt.ItemFlag.NoItemFlags if line is self._root else _MESSAGE_FLAGS
        return _BRANCH_FLAGS if line.row.branch or line.level else _LEAF_FLAGS

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Return the title of a column."""
        shown = orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole
        return COLUMNS[section] if shown else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return text, tooltip, icon or alignment of a cell."""
        line, column = self._line(index), index.column()
        if line is None:
            return None
        if role in _TEXT_ROLES:
            return (
                cell_text(line.row, column) if line.row else line.message.text if line.message and not column else None
            )
        if role == Qt.ItemDataRole.ToolTipRole:
            return row_tooltip(line.row) if line.row else tooltip_html(line.message.text if line.message else "")
        if role == Qt.ItemDataRole.DecorationRole and column == NAME:
            return self._decoration(line)
        return _RIGHT if role == Qt.ItemDataRole.TextAlignmentRole and column == SIZE else None

    def mimeTypes(self) -> list[str]:
        """Return the MIME types of dragged rows."""
        return [MIME, "text/plain"]

    def mimeData(self, indexes: Iterable[QModelIndex]) -> QMimeData:
        """Return dragged rows: their paths in the tree, and their URLs as text, not as files."""
        rows = {row.path: row for index in indexes if (row := self.row_of(index)) is not None}
        data = QMimeData()
        data.setData(MIME, "\n".join(rows).encode("utf-8", "replace"))
        data.setText("\n".join(row.url for row in rows.values()))
        return data

    def _decoration(self, line: TreeLine) -> QIcon | None:
        row = line.row
        if row is None:
            return state_icon("unreadable") if line.message and line.message.error else None
        if not row.is_item:
            return state_icon(row.state)
        return self.thumbnail(row) or kind_icon(row.kind, row.state)

    def _line(self, index: QModelIndex) -> TreeLine | None:
        return self._lines.get(index.internalId() & ~_COLUMN_BITS) if index.isValid() else None

    def _index(self, line: TreeLine, column: int = 0) -> QModelIndex:
        return QModelIndex() if line is self._root else self.createIndex(line.at, column, line.serial | column)

    def _new_line(self, row: Row | None, parent: TreeLine, message: Message | None = None) -> TreeLine:
        self._serial += _COLUMN_BITS + 1
        new = TreeLine(self._serial, row, parent, message)
        self._lines[new.serial] = new
        if row is not None:
            self._by_path[row.path] = new
        return new

    def _message_line(self, parent: TreeLine, message: Message) -> TreeLine:
        """Return the line below `parent` with this message, or a new one."""
        same = (line for line in reversed(parent.level or ()) if line.message == message)
        return next(same, None) or self._new_line(None, parent, message)

    def _set(self, parent: TreeLine, level: list[TreeLine]) -> None:
        """Replace the level below `parent`."""
        self._requested.discard(parent.row.path if parent.row else "")
        stay = set(map(id, level))
        gone = [line for line in parent.level or () if id(line) not in stay]
        parent.level = level
        if self._query:
            self._filter_again(parent)
        self._show_lines(parent)
        for line in (below for one in gone for below in one.walk()):
            self._lines.pop(line.serial, None)
            if line.row is not None and self._by_path.get(line.row.path) is line:
                del self._by_path[line.row.path]

    def _show_lines(self, parent: TreeLine) -> None:
        """Insert and remove lines below `parent`, so that Qt shows the ones that match."""
        shown = [line for line in parent.level or () if line.shown]
        gone, come = changed_spans(parent.children, shown)
        for start, stop in reversed(gone):
            self.beginRemoveRows(self._index(parent), start, stop - 1)
            parent.remove(start, stop)
            self.endRemoveRows()
        for start, stop in come:
            self.beginInsertRows(self._index(parent), start, stop - 1)
            parent.insert(start, shown[start:stop])
            self.endInsertRows()

    def _filter_again(self, line: TreeLine) -> None:
        """Apply the filter again to a line that changed, to the lines below it and to its parents."""
        line.apply_filter(self._matches)
        if line.level:
            self._show_lines(line)
        above = line.parent
        while above is not None:
            above.shown = above.matched or above is self._root or any(one.shown for one in above.level or ())
            self._show_lines(above)
            above = above.parent

    def _matches(self, row: Row) -> bool:
        """Whether a row matches; the top never does, or the filter would show everything below it."""
        return not self._query or (bool(row.path) and matches(row, self._query))

    def _emit_changed(self, changed: Iterable[TreeLine]) -> None:
        for first, last in consecutive_runs(changed):
            self.dataChanged.emit(self._index(first), self._index(last, len(COLUMNS) - 1))
