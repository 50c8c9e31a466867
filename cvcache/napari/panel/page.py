"""The base class of the pages of the panel: content is read in a worker once the page is visible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QStackedLayout, QWidget

from cvcache.browse import Row, directory_of, error_line, item_row, plain_line
from cvcache.napari.panel.widgets import MessageLabel
from cvcache.node import item_io

if TYPE_CHECKING:
    from cvcache.browse import Tree
    from cvcache.napari.jobs import Jobs

STATES_WITHOUT_RECORD = frozenset({"", "absent", "folder", "foreign", "unreadable"})
"""States of a row without the record of a computation, or that was not read yet."""


_PAGE_OF_KIND = {"log": "Log", "plot": "Plots", "json": "Preview", "text": "Preview"}
"""Kinds of items that have no layers, and the page that shows each."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected rows of one tree."""

    tree: Tree
    rows: tuple[Row, ...]

    @property
    def single(self) -> Row | None:
        """The row, if a single one is selected."""
        return self.rows[0] if len(self.rows) == 1 else None

    @property
    def node(self) -> Row | None:
        """The directory of the single row: the row itself, or the directory of an item; no store call."""
        row = self.single
        if row is None or not row.is_item:
            return row
        parent = self.tree.row(row.path.rpartition("/")[0])
        if parent is not None and (row.state == "foreign" or parent.node is row.node):
            return parent
        return directory_of(row)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the rows in the tree."""
        return tuple(row.path for row in self.rows)


def page_title_for(row: Row) -> str | None:
    """Return the title of the page that shows an item; None for an item that may have layers. No store call."""
    return _PAGE_OF_KIND.get(row.kind) if row.is_item else None


def has_record(row: Row | None) -> bool:
    """Whether a row has the record of a computation."""
    return row is not None and row.kind == "node" and row.state not in STATES_WITHOUT_RECORD


def known_items(row: Row) -> Mapping[str, Mapping[str, Any]] | None:
    """Return the items of a directory that its record has; None if the store has to be asked. No store call."""
    if not has_record(row):
        return {}
    record = row.node.record
    return record.items if record is not None and record.state in {"committed", "failed"} else None


def may_have_item(selection: Selection, fits: Callable[[str, object], bool]) -> bool:
    """Whether the selected directory has an item whose name and kind `fits` accepts, or may have one.

    No store call: only the record and the rows of the tree are used.
    """
    row, node = selection.single, selection.node
    if row is None or node is None:
        return False
    if row.is_item and fits(row.name, row.kind):
        return True
    items = known_items(node)
    if items is not None:
        return any(fits(name, recorded.get("kind")) for name, recorded in items.items())
    below: Iterable[Row] | None = selection.tree.level(node.path)
    return below is None or any(one.is_item and fits(one.name, one.kind) for one in below)


def items_of(row: Row) -> list[Row]:
    """Return the recorded items of a node as rows, sorted by name; the cost of `read_rows`."""
    if not has_record(row):
        return []
    return [
        item_row(row.path, row.node, row.state, name, recorded)
        for name, recorded in sorted(item_io.read_rows(row.node).items())
    ]


def title_of(selection: Selection) -> str:
    """Return the line above the pages."""
    row = selection.single
    if row is None:
        return f"{len(selection.rows):,} rows selected" if selection.rows else ""
    where = row.path.replace("/", " / ") if row.path else row.url
    state = ", ".join(part for part in (row.state_text, "uncommitted" if row.note == "uncommitted" else "") if part)
    return plain_line(f"{where} \N{EM DASH} {state}" if state else where, 2000)


class Page(QWidget):
    """One page: says which selections it has content for, reads the content in a worker, and shows it.

    Signals
    -------
    filled : the page shows the content of the last selection, or a sentence on why there is none.
    """

    filled = Signal()
    title = ""

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.jobs = jobs
        self.shown_paths: tuple[str, ...] | None = None
        self.requested: Selection | None = None
        self._due = False
        self.content = QWidget(self)
        self._message = MessageLabel()
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self.content)
        self._pages.addWidget(self._message)

    def has_content(self, selection: Selection) -> bool:
        """Whether there may be content; no store call."""
        raise NotImplementedError  # each page says it; Qt leaves no room for ABC

    def read_content(self, selection: Selection) -> Any:
        """Read the content; runs in a worker."""
        raise NotImplementedError  # each page says it; Qt leaves no room for ABC

    def show_content(self, selection: Selection, content: Any) -> str:
        """Show the content; return a sentence to show in place of it, or an empty text."""
        raise NotImplementedError  # each page says it; Qt leaves no room for ABC

    def stop(self) -> None:
        """Stop work that goes on by itself, such as following a log."""

    @property
    def message(self) -> str:
        """The sentence that is shown in place of the content; empty while the content is shown."""
        return self._message.text() if self._pages.currentWidget() is self._message else ""

    def request(self, selection: Selection) -> None:
        """Show these rows: at once if the page is visible, else as soon as it is."""
        self.requested, self._due = selection, True
        if self.isVisible():
            self.load()

    def clear(self) -> None:
        """Show nothing."""
        self.stop()
        self.requested, self._due, self.shown_paths = None, False, None
        self.show_message("")

    def show_message(self, message: str) -> None:
        """Show a sentence in place of the content."""
        self._message.set_text(plain_line(message, 1000))
        self._pages.setCurrentWidget(self._message)

    def show_waiting(self) -> None:
        """Show that the content is being read, unless it is there."""
        if self.requested is not None and self.shown_paths != self.requested.paths:
            self.stop()
            self.show_message("reading \N{HORIZONTAL ELLIPSIS}")

    def load(self) -> None:
        """Read the content of the requested selection in a worker."""
        selection, self._due = self.requested, False
        if selection is None:
            return
        if not self.has_content(selection):
            self._end(selection, self.empty_text(selection))
            return
        self.jobs.start(
            self.read_content,
            selection,
            done=self._if_current(selection, lambda content: self._end(selection, self._show(selection, content))),
            failed=self._if_current(selection, lambda error: self._end(selection, error_line(error))),
            topic=f"panel {self.title} {id(self)}",
        )

    def empty_text(self, selection: Selection) -> str:  # noqa: ARG002 - for subclasses
        """Return the sentence for a page without content."""
        return "Nothing of this kind is recorded here."

    def showEvent(self, event: object) -> None:
        """Read the content that was requested while the page was hidden."""
        super().showEvent(event)
        if self.requested is not None and self.shown_paths != self.requested.paths:
            self.show_message("")
        if self._due:
            self.load()

    def hideEvent(self, event: object) -> None:
        """Stop work that goes on by itself, such as following a log."""
        super().hideEvent(event)
        self.stop()

    def _if_current(self, selection: Selection, then: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return `then`, wrapped to run only while this selection is still the requested one."""
        return lambda value: then(value) if self.requested is selection else None

    def _show(self, selection: Selection, content: Any) -> str:
        message = self.show_content(selection, content)
        if not message:
            self._pages.setCurrentWidget(self.content)
        return message

    def _end(self, selection: Selection, message: str) -> None:
        if message:
            self.stop()
            self.show_message(message)
        self.shown_paths = selection.paths
        self.filled.emit()
