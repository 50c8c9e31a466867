"""Rows as Qt asks for them: levels come in one step each, news and a filter change what is there in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractItemModel, QMimeData, QModelIndex, QObject, Qt, Signal

from cvcache.browse import Level, Row, matches, plain_line, tooltip_html
from cvcache.napari.icons import kind_icon, state_icon
from cvcache.napari.tree.cells import COLUMNS, NAME, SIZE, cell_text, row_tip
from cvcache.napari.tree.lines import EMPTY, LOADING, Line, Said, changes, runs

if TYPE_CHECKING:
    from qtpy.QtGui import QIcon

MIME = "application/x-cvcache-rows"
"""What rows are dragged as: their paths in their tree, a line for each."""
_NOWHERE = QModelIndex()
_COLUMN = 7
"""The bits of the number of an index that tell its column; those above tell its line. Asking Qt for it costs more."""
_SAID = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemNeverHasChildren
_BRANCH = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsDragEnabled
_LEAF = _BRANCH | Qt.ItemFlag.ItemNeverHasChildren
_TEXT_ROLES = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole)
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class TreeModel(QAbstractItemModel):
    """The rows that were read of one tree, as far as they match a filter.

    For a branch that is fetched `wanted` asks; the answer goes to `set_level`, or the reason to `set_trouble`.

    Signals
    -------
    wanted : path of the row whose level somebody wants to see.

    Notes
    -----
    It filters itself: a `QSortFilterProxyModel` asks Python four times as often, which at 10,000 rows can be felt.
    """

    wanted = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._root = Line(0, None, None)
        self._lines: dict[int, Line] = {0: self._root}
        self._places: dict[str, Line] = {}
        self._serial = 0
        self._query = ""
        self._asked: set[str] = set()
        self.thumbnail: Callable[[Row], QIcon | None] = lambda _: None  # of an item, where it is in memory

    def row_of(self, index: QModelIndex) -> Row | None:
        """Return the row that an index stands for; None for a line that says something."""
        found = self._line(index)
        return found.row if found is not None else None

    def rows_of(self, spans: Iterable[tuple[QModelIndex, int, int]]) -> list[Row]:
        """Return the rows of spans of lines, each given by what it is below and by its ends, from the top down."""
        found = []
        for parent, first, last in spans:
            above = self._lines.get(parent.internalId())
            found += above.children[first : last + 1] if above is not None else []
        return [one.row for one in sorted(found, key=Line.place) if one.row is not None]

    def index_of(self, path: str) -> QModelIndex:
        """Return the index of the row at `path`; an invalid one if it is not shown."""
        found = self._places.get(path)
        return self._index(found) if found is not None and found.shown else QModelIndex()

    def row_at(self, path: str) -> Row | None:
        """Return the row at `path`, shown or not."""
        found = self._places.get(path)
        return found.row if found is not None else None

    def is_loaded(self, path: str) -> bool:
        """Whether the level below `path` is there."""
        found = self._places.get(path)
        return found is not None and found.loaded

    @property
    def query(self) -> str:
        """What rows have to match."""
        return self._query

    def reset_to(self, top: Row | None) -> None:
        """Show another tree, of which only the top is known yet."""
        self.beginResetModel()
        self._root.hit = False
        self._lines = {0: self._root}
        self._places.clear()
        self._asked.clear()
        self._root.level = [] if top is None else [self._new(top, self._root)]
        self._root.judge(self._matches)
        self._root.children = list(self._root.level)
        self.endResetModel()

    def set_level(self, level: Level) -> None:
        """Show these rows below their path; those that are there already stay, with all that is below them."""
        parent = self._places.get(level.path)
        if parent is None:
            return
        self.update_rows(row for row in level.rows if row.path in self._places)
        shown = [self._places.get(row.path) or self._new(row, parent) for row in level.rows]
        if level.more:
            shown.append(self._said(parent, Said(f"only the first {len(level.rows):,} are shown")))
        self._set(parent, shown or [self._said(parent, EMPTY)])
        parent.loaded = True

    def set_trouble(self, path: str, sentence: str) -> None:
        """Say below `path` why its level could not be read; rows that are there stay."""
        self.say_below(path, Said(f"{plain_line(sentence)}; press F5 to try again", error=True))

    def say_below(self, path: str, said: Said = LOADING) -> None:
        """Say below `path` what stands in place of its rows while they are not there."""
        parent = self._places.get(path)
        if parent is not None and not parent.loaded:
            self._set(parent, [self._said(parent, said)])

    def forget_level(self, path: str) -> None:
        """Take back that a level is under way: it can be asked for again."""
        parent = self._places.get(path)
        if parent is not None and not parent.loaded:
            self._set(parent, [])
            parent.level = None

    def update_rows(self, rows: Iterable[Row]) -> list[Row]:
        """Show what is new of rows that are there, and return those that changed."""
        changed = []
        for row in rows:
            found = self._places.get(row.path)
            if found is not None and found.row is not row and found.row != row:
                found.row = row
                changed.append(found)
        for found in changed if self._query else ():
            self._judge_again(found)
        self._tell(changed)
        return [found.row for found in changed if found.row is not None]

    def redraw(self, paths: Iterable[str]) -> None:
        """Tell the views to ask again for these rows."""
        self._tell(self._places[path] for path in paths if path in self._places)

    def set_query(self, query: str) -> None:
        """Show the rows that match `query`, all they lie below, and all that lies below them."""
        if query != self._query:
            self._query = query
            self._root.judge(self._matches)
            for found in [self._root, *self._places.values()]:
                if found.level:
                    self._show(found)

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Return how many lines are below."""
        found = self._lines.get(parent.internalId())
        return len(found.children) if found is not None else 0

    def columnCount(self, _parent: QModelIndex = _NOWHERE) -> int:  # noqa: D102 - as Qt asks
        return len(COLUMNS)

    def hasChildren(self, parent: QModelIndex = _NOWHERE) -> bool:
        """Whether there is something below, or may be."""
        found = self._lines.get(parent.internalId())
        return found is not None and (bool(found.children) or found.is_unopened)

    def canFetchMore(self, parent: QModelIndex) -> bool:
        """Whether somebody has to ask for what is below."""
        found = self._lines.get(parent.internalId())
        return found is not None and found.is_unopened

    def fetchMore(self, parent: QModelIndex) -> None:
        """Ask for what is below, once; whoever hears it begins later, since rows must not come while this is asked."""
        found = self._lines.get(parent.internalId())
        if found is not None and found.row is not None and found.is_unopened and found.row.path not in self._asked:
            self._asked.add(found.row.path)
            self.wanted.emit(found.row.path)

    def index(self, row: int, column: int, parent: QModelIndex = _NOWHERE) -> QModelIndex:
        """Return the index of one cell."""
        found = self._lines.get(parent.internalId())
        if found is None or not 0 <= row < len(found.children) or not 0 <= column < len(COLUMNS):
            return QModelIndex()
        return self.createIndex(row, column, found.children[row].serial | column)

    def parent(self, index: QModelIndex | None = None) -> Any:
        """Return the index of what a cell lies below."""
        if index is None:
            return super().parent()
        found = self._line(index)
        return QModelIndex() if found is None or found.parent is None else self._index(found.parent)

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Return what can be done with a cell."""
        found = self._lines.get(index.internalId() & ~_COLUMN)
        if found is None or found.row is None:
            return Qt.ItemFlag.NoItemFlags if found is self._root else _SAID
        return _BRANCH if found.row.branch or found.level else _LEAF

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Return the title of a column."""
        shown = orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole
        return COLUMNS[section] if shown else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell says or shows."""
        found, column = self._line(index), index.column()
        if found is None:
            return None
        if role in _TEXT_ROLES:
            return cell_text(found.row, column) if found.row else found.said.text if found.said and not column else None
        if role == Qt.ItemDataRole.ToolTipRole:
            return row_tip(found.row) if found.row else tooltip_html(found.said.text if found.said else "")
        if role == Qt.ItemDataRole.DecorationRole and column == NAME:
            return self._decoration(found)
        return _RIGHT if role == Qt.ItemDataRole.TextAlignmentRole and column == SIZE else None

    def mimeTypes(self) -> list[str]:
        """Return as what rows can be dragged."""
        return [MIME, "text/plain"]

    def mimeData(self, indexes: Iterable[QModelIndex]) -> QMimeData:
        """Return the rows that are dragged: where they stand in their tree, and their URLs as text, not as files."""
        rows = {row.path: row for index in indexes if (row := self.row_of(index)) is not None}
        data = QMimeData()
        data.setData(MIME, "\n".join(rows).encode("utf-8", "replace"))
        data.setText("\n".join(row.url for row in rows.values()))
        return data

    def _decoration(self, found: Line) -> QIcon | None:
        row = found.row
        if row is None:
            return state_icon("unreadable") if found.said and found.said.error else None
        if not row.is_item:
            return state_icon(row.state)
        return self.thumbnail(row) or kind_icon(row.kind, row.state)

    def _line(self, index: QModelIndex) -> Line | None:
        return self._lines.get(index.internalId() & ~_COLUMN) if index.isValid() else None

    def _index(self, found: Line, column: int = 0) -> QModelIndex:
        return QModelIndex() if found is self._root else self.createIndex(found.at, column, found.serial | column)

    def _new(self, row: Row | None, parent: Line, said: Said | None = None) -> Line:
        self._serial += _COLUMN + 1
        made = Line(self._serial, row, parent, said)
        self._lines[made.serial] = made
        if row is not None:
            self._places[row.path] = made
        return made

    def _said(self, parent: Line, said: Said) -> Line:
        """Return the line below `parent` that says this already, or a new one."""
        same = (found for found in reversed(parent.level or ()) if found.said == said)
        return next(same, None) or self._new(None, parent, said)

    def _set(self, parent: Line, level: list[Line]) -> None:
        """Put `level` below `parent` in place of what is there."""
        self._asked.discard(parent.row.path if parent.row else "")
        stay = set(map(id, level))
        gone = [found for found in parent.level or () if id(found) not in stay]
        parent.level = level
        if self._query:
            self._judge_again(parent)
        self._show(parent)
        for found in (below for one in gone for below in one.all_below()):
            self._lines.pop(found.serial, None)
            if found.row is not None and self._places.get(found.row.path) is found:
                del self._places[found.row.path]

    def _show(self, parent: Line) -> None:
        """Tell Qt which lines below `parent` are to be seen now."""
        shown = [found for found in parent.level or () if found.shown]
        gone, come = changes(parent.children, shown)
        for start, stop in reversed(gone):
            self.beginRemoveRows(self._index(parent), start, stop - 1)
            parent.take(start, stop)
            self.endRemoveRows()
        for start, stop in come:
            self.beginInsertRows(self._index(parent), start, stop - 1)
            parent.put(start, shown[start:stop])
            self.endInsertRows()

    def _judge_again(self, found: Line) -> None:
        """Find out whether a line, what is below and what is above it are to be seen, after it changed."""
        found.judge(self._matches)
        if found.level:
            self._show(found)
        above = found.parent
        while above is not None:
            above.shown = above.hit or above is self._root or any(one.shown for one in above.level or ())
            self._show(above)
            above = above.parent

    def _matches(self, row: Row) -> bool:
        """Whether a row itself matches; of the top only the lines below count, or nothing would be left out."""
        return not self._query or (bool(row.path) and matches(row, self._query))

    def _tell(self, changed: Iterable[Line]) -> None:
        for first, last in runs(changed):
            self.dataChanged.emit(self._index(first), self._index(last, len(COLUMNS) - 1))
