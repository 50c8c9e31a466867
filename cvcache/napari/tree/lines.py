"""The lines of the tree model: their order, which of them the filter shows, and the difference of two lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cvcache.browse import Row


@dataclass(frozen=True, slots=True)
class Message:
    """The text of a line that is no row: rows are loading, left out, or could not be read."""

    text: str
    error: bool = False


LOADING = Message("loading\N{HORIZONTAL ELLIPSIS}")
EMPTY = Message("empty")


class TreeLine:
    """One line of the tree: a row or a message.

    Attributes
    ----------
    serial : int
        Unique number; distinguishes it from an earlier line at the same position.
    row, message
        Exactly one of the two is set.
    level : list of TreeLine or None
        All lines below; None before the first expansion.
    children : list of TreeLine
        The lines below that are shown.
    loaded : bool
        Whether the level holds rows, not the message that they are loading.
    matched, shown : bool
        Whether it or a parent matches the filter; whether it is shown because of that or of a line below it.
    """

    __slots__ = (
        "children",
        "level",
        "loaded",
        "matched",
        "message",
        "numbered",
        "parent",
        "position",
        "row",
        "serial",
        "shown",
    )

    def __init__(self, serial: int, row: Row | None, parent: TreeLine | None, message: Message | None = None) -> None:
        self.serial, self.row, self.parent, self.message = serial, row, parent, message
        self.level: list[TreeLine] | None = None
        self.children: list[TreeLine] = []
        self.loaded = False
        self.matched = self.shown = True
        self.position = 0
        self.numbered = True

    @property
    def at(self) -> int:
        """Position among the shown lines of its parent."""
        if self.parent is not None and not self.parent.numbered:
            for position, line in enumerate(self.parent.children):
                line.position = position
            self.parent.numbered = True
        return self.position

    def tree_position(self) -> tuple[int, ...]:
        """Return its position in the whole tree, as a key to sort lines from the top down."""
        return (*self.parent.tree_position(), self.at) if self.parent is not None else ()

    @property
    def is_unopened(self) -> bool:
        """Whether there may be lines below, but the level was not requested."""
        return self.level is None and self.row is not None and self.row.branch

    def insert(self, at: int, lines: Sequence[TreeLine]) -> None:
        """Insert shown lines before position `at`."""
        self.children[at:at] = lines
        self.numbered = False

    def remove(self, start: int, stop: int) -> None:
        """Remove shown lines."""
        del self.children[start:stop]
        self.numbered = False

    def walk(self) -> Iterator[TreeLine]:
        """Yield this line and all below it."""
        waiting = [self]
        while waiting:
            line = waiting.pop()
            yield line
            waiting.extend(line.level or ())

    def apply_filter(self, matches: Callable[[Row], bool]) -> bool:
        """Update which lines are shown, here and below, and return whether this one is."""
        above = self.parent is not None and self.parent.matched
        self.matched = above or (self.row is not None and matches(self.row))
        below = [line.apply_filter(matches) for line in self.level or ()]
        self.shown = self.matched or any(below)
        return self.shown


def changed_spans(
    old: Sequence[TreeLine], new: Sequence[TreeLine]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the spans to remove from `old`, and then the spans of `new` to insert, as (start, stop).

    Lines that are in both in the same order stay.
    """
    places = {line.serial: at for at, line in enumerate(old)}
    kept_old: set[int] = set()
    kept_new: set[int] = set()
    last = -1
    for at, line in enumerate(new):
        if places.get(line.serial, -1) > last:
            last = places[line.serial]
            kept_old.add(last)
            kept_new.add(at)
    return _spans(len(old), kept_old), _spans(len(new), kept_new)


def _spans(length: int, without: set[int]) -> list[tuple[int, int]]:
    """Return the spans of ``range(length)`` that have no number of `without`."""
    if length == len(without):
        return []
    spans: list[tuple[int, int]] = []
    for at in range(length):
        if at in without:
            continue
        if spans and spans[-1][1] == at:
            spans[-1] = (spans[-1][0], at + 1)
        else:
            spans.append((at, at + 1))
    return spans


def consecutive_runs(lines: Iterable[TreeLine]) -> Iterator[tuple[TreeLine, TreeLine]]:
    """Yield first and last line of each run of shown lines that follow each other below one parent."""
    shown = [line for line in lines if line.shown and line.parent is not None]
    ordered = sorted(shown, key=lambda line: (line.parent.serial if line.parent else -1, line.at))
    first = last = None
    for line in ordered:
        if last is not None and line.parent is last.parent and line.at == last.at + 1:
            last = line
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = line
    if first is not None and last is not None:
        yield first, last
