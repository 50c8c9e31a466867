"""The lines of the tree as they are kept: where each stands, which of them are shown, and what changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cvcache.browse import Row


@dataclass(frozen=True, slots=True)
class Said:
    """What a line says that is no row: that something is under way, left out or failed."""

    text: str
    error: bool = False


LOADING = Said("loading\N{HORIZONTAL ELLIPSIS}")
EMPTY = Said("empty")


class Line:
    """One line: a row, or something said.

    Attributes
    ----------
    serial : int
        Tells it from a line that stood at its place before.
    row, said
        One of the two.
    level : list of Line or None
        All lines below; None while nobody has opened it.
    children : list of Line
        Those of them that are shown.
    loaded : bool
        Whether the level holds rows, not the word that they are under way.
    hit, shown : bool
        Whether it, or a line above it, matches the filter; whether it is shown, for that or for what lies below it.
    """

    __slots__ = ("_at", "_counted", "children", "hit", "level", "loaded", "parent", "row", "said", "serial", "shown")

    def __init__(self, serial: int, row: Row | None, parent: Line | None, said: Said | None = None) -> None:
        self.serial, self.row, self.parent, self.said = serial, row, parent, said
        self.level: list[Line] | None = None
        self.children: list[Line] = []
        self.loaded = False
        self.hit = self.shown = True
        self._at = 0
        self._counted = True

    @property
    def at(self) -> int:
        """Return its place among the lines that are shown."""
        if self.parent is not None and not self.parent._counted:  # noqa: SLF001 - of the same class
            for place, line in enumerate(self.parent.children):
                line._at = place  # noqa: SLF001 - the same
            self.parent._counted = True  # noqa: SLF001 - the same
        return self._at

    def place(self) -> tuple[int, ...]:
        """Return where it stands in the whole tree; what stands higher comes first."""
        return (*self.parent.place(), self.at) if self.parent is not None else ()

    @property
    def is_unopened(self) -> bool:
        """Whether there may be something below that nobody has asked for."""
        return self.level is None and self.row is not None and self.row.branch

    def put(self, at: int, lines: Sequence[Line]) -> None:
        """Show lines before the one at `at`."""
        self.children[at:at] = lines
        self._counted = False

    def take(self, start: int, stop: int) -> None:
        """Show some lines no more."""
        del self.children[start:stop]
        self._counted = False

    def all_below(self) -> Iterator[Line]:
        """Yield this line and all below it."""
        waiting = [self]
        while waiting:
            line = waiting.pop()
            yield line
            waiting.extend(line.level or ())

    def judge(self, matches: Callable[[Row], bool]) -> bool:
        """Find out anew which lines are shown, here and below, and return whether this one is."""
        above = self.parent is not None and self.parent.hit
        self.hit = above or (self.row is not None and matches(self.row))
        below = [line.judge(matches) for line in self.level or ()]
        self.shown = self.hit or any(below)
        return self.shown


def changes(old: Sequence[Line], new: Sequence[Line]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return which spans of `old` go, by their place in it, and which of `new` come then, by their place in that.

    What is in both in the same order stays.
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
    """Return the spans of ``range(length)`` that none of `without` is in."""
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


def runs(lines: Iterable[Line]) -> Iterator[tuple[Line, Line]]:
    """Yield first and last of the shown lines that follow each other below the same one."""
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
