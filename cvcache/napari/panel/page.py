"""One page of the panel: read in a worker once it can be seen, and never shown below the title of another row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QStackedLayout, QWidget

from cvcache.browse import Row, error_line, item_row, plain_line
from cvcache.napari.panel.widgets import Sentence

if TYPE_CHECKING:
    from cvcache.browse import Tree
    from cvcache.napari.jobs import Jobs

WITHOUT_RECORD = frozenset({"", "absent", "folder", "foreign", "unreadable"})
"""States of a row that tell nothing of a computation; whose node perhaps was not even looked at."""


_PAGES = {"log": "Log", "plot": "Plots", "json": "Preview", "text": "Preview"}
"""Kinds of which nobody expects a layer, and the page that shows each."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is selected: rows of one tree."""

    tree: Tree
    rows: tuple[Row, ...]

    @property
    def one(self) -> Row | None:
        """The row, if it is a single one."""
        return self.rows[0] if len(self.rows) == 1 else None

    @property
    def node(self) -> Row | None:
        """The directory of the single row: the row itself, or of an item what it lies in; no store call."""
        row = self.one
        if row is None or not row.is_item:
            return row
        parent = self.tree.row(row.path.rpartition("/")[0])
        if parent is not None and (row.state == "foreign" or parent.node is row.node):
            return parent
        return directory_of(row)

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the rows stand in the tree."""
        return tuple(row.path for row in self.rows)


def directory_of(item: Row) -> Row:
    """Return the row of the directory that an item lies in, from the handle that the item has; no store call.

    The tree may know a newer one by now, of which this item is no part.
    """
    path = item.path.rpartition("/")[0]
    return Row(path, item.node.name, "foreign" if item.state == "foreign" else "node", item.state, item.node)


def page_of(row: Row) -> str | None:
    """Return the title of the page that an item is for; None of what may become a layer. No store call."""
    return _PAGES.get(row.kind) if row.is_item else None


def has_record(row: Row | None) -> bool:
    """Whether a row tells of a computation, run or running."""
    return row is not None and row.kind == "node" and row.state not in WITHOUT_RECORD


def known_items(row: Row) -> Mapping[str, Mapping[str, Any]] | None:
    """Return the items of a directory as far as its row tells; None where the store has to be asked. No store call."""
    if not has_record(row):
        return {}
    record = row.node.record()
    return record.items if record is not None and record.state in {"committed", "failed"} else None


def may_have(shown: Shown, fits: Callable[[str, object], bool]) -> bool:
    """Whether the directory of what is selected has an item that `fits` its name and kind, or may have one.

    No store call: what the record and the rows of the tree tell.
    """
    row, node = shown.one, shown.node
    if row is None or node is None:
        return False
    if row.is_item and fits(row.name, row.kind):
        return True
    known = known_items(node)
    if known is not None:
        return any(fits(name, recorded.get("kind")) for name, recorded in known.items())
    below: Iterable[Row] | None = shown.tree.level(node.path)
    return below is None or any(one.is_item and fits(one.name, one.kind) for one in below)


def items_of(row: Row) -> list[Row]:
    """Return the recorded items of a node as rows, sorted by name; costs what `CacheDir.rows` does."""
    if not has_record(row):
        return []
    return [
        item_row(row.path, row.node, row.state, name, recorded) for name, recorded in sorted(row.node.rows().items())
    ]


def title_of(shown: Shown) -> str:
    """Return the line above the pages."""
    row = shown.one
    if row is None:
        return f"{len(shown.rows):,} rows selected" if shown.rows else ""
    where = row.path.replace("/", " / ") if row.path else row.url
    said = ", ".join(part for part in (row.state, "uncommitted" if row.note == "uncommitted" else "") if part)
    return plain_line(f"{where} \N{EM DASH} {said}" if said else where, 2000)


class Page(QWidget):
    """One page: says for what it has something, reads it in a worker, shows it.

    Signals
    -------
    filled : what the page shows is that of the rows asked for last, be it a sentence on why there is nothing.
    """

    filled = Signal()
    title = ""

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.jobs = jobs
        self.holds: tuple[str, ...] | None = None
        self.asked: Shown | None = None
        self._due = False
        self.content = QWidget(self)
        self._sentence = Sentence()
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self.content)
        self._pages.addWidget(self._sentence)

    def offers(self, shown: Shown) -> bool:
        """Whether there may be something to show; no store call."""
        raise NotImplementedError  # each page says it; Qt leaves no room for ABC

    def collect(self, shown: Shown) -> Any:
        """Read what is to be shown; runs in a worker."""
        raise NotImplementedError  # each page says it; Qt leaves no room for ABC

    def present(self, shown: Shown, found: Any) -> str:
        """Show what was read; return a sentence to show in place of it, or nothing."""
        raise NotImplementedError  # each page says it; Qt leaves no room for ABC

    def leave(self) -> None:
        """Stop what goes on by itself."""

    @property
    def sentence(self) -> str:
        """What is said in place of the content; empty while that is shown."""
        return self._sentence.text() if self._pages.currentWidget() is self._sentence else ""

    def ask(self, shown: Shown) -> None:
        """Show these rows: at once if the page can be seen, else as soon as it can."""
        self.asked, self._due = shown, True
        if self.isVisible():
            self.load()

    def forget(self) -> None:
        """Show nothing any more."""
        self.leave()
        self.asked, self._due, self.holds = None, False, None
        self.say("")

    def say(self, sentence: str) -> None:
        """Show a sentence in place of the content."""
        self._sentence.set_text(plain_line(sentence, 1000))
        self._pages.setCurrentWidget(self._sentence)

    def wait(self) -> None:
        """Say that the content is being read, unless it is there."""
        if self.asked is not None and self.holds != self.asked.paths:
            self.leave()
            self.say("reading \N{HORIZONTAL ELLIPSIS}")

    def load(self) -> None:
        """Read what was asked for in a worker."""
        shown, self._due = self.asked, False
        if shown is None:
            return
        if not self.offers(shown):
            self._end(shown, self.nothing(shown))
            return
        self.jobs.start(
            self.collect,
            shown,
            done=self._current(shown, lambda found: self._end(shown, self._present(shown, found))),
            failed=self._current(shown, lambda error: self._end(shown, error_line(error))),
            topic=f"panel {self.title} {id(self)}",
        )

    def nothing(self, shown: Shown) -> str:  # noqa: ARG002 - for subclasses
        """Return what is said where the page has nothing."""
        return "Nothing of this kind is recorded here."

    def showEvent(self, event: object) -> None:
        """Read what was asked for while the page could not be seen."""
        super().showEvent(event)
        if self.asked is not None and self.holds != self.asked.paths:
            self.say("")
        if self._due:
            self.load()

    def hideEvent(self, event: object) -> None:
        """Stop what goes on by itself."""
        super().hideEvent(event)
        self.leave()

    def _current(self, shown: Shown, then: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return `then`, to be run only while these rows are still the ones asked for."""
        return lambda value: then(value) if self.asked is shown else None

    def _present(self, shown: Shown, found: Any) -> str:
        sentence = self.present(shown, found)
        if not sentence:
            self._pages.setCurrentWidget(self.content)
        return sentence

    def _end(self, shown: Shown, sentence: str) -> None:
        if sentence:
            self.leave()
            self.say(sentence)
        self.holds = shown.paths
        self.filled.emit()
