"""Reads of a tree what somebody looks at: levels that are opened, rows that come into sight, news by the clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal, Slot

from cvcache.browse import MAX_CHILDREN, Level, OpenedUrl, Row, Tree, open_url
from cvcache.napari.jobs import Job, Jobs
from cvcache.napari.tree.cells import sentence
from cvcache.napari.tree.model import TreeModel

FIRST_PAGE = 1000
"""Names in the first answer of a bucket: shown at once, before the rest is asked for."""
LOOKS_AT_ONCE = 3
"""Requests for rows in sight under way, so that those seen now need not wait for those seen before."""


@dataclass(frozen=True, slots=True)
class News:
    """What a second look at a part of a tree has brought: levels, rows, and why some levels could not be read."""

    levels: tuple[Level, ...] = ()
    rows: tuple[Row, ...] = ()
    troubles: tuple[tuple[str, str], ...] = ()


class Loader(QObject):
    """Fills a `TreeModel` from a `Tree`, in workers.

    Parameters
    ----------
    model : TreeModel
    jobs : Jobs
    seen : callable
        Gives the paths of the rows in sight.
    steady : callable
        Gives a context in which what is in sight stays where it is while rows come and go.
    parent : QObject, optional

    Signals
    -------
    loaded : path of a level that is there now, whole or its first page.
    rows_changed : list of rows that are not what they were.
    said : one sentence on what failed.
    """

    loaded = Signal(str)
    rows_changed = Signal(object)
    said = Signal(str)

    def __init__(
        self,
        model: TreeModel,
        jobs: Jobs,
        seen: Callable[[], list[str]],
        steady: Callable[[], AbstractContextManager[None]] = nullcontext,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.tree: Tree | None = None
        self.expanded: dict[str, None] = {}
        self._model, self._jobs, self._seen, self._steady = model, jobs, seen, steady
        self._levels: dict[str, Job] = {}
        self._partly: set[str] = set()
        self._looking: dict[Job, set[str]] = {}
        self._pause = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.poll)
        model.wanted.connect(self._wanted, Qt.ConnectionType.QueuedConnection)

    def show(self, tree: Tree | None, top: Row | None) -> None:
        """Go over to another tree; nothing of the one before arrives any more."""
        for job in [*self._levels.values(), *self._looking]:
            job.cancel()
        self._levels.clear()
        self._looking.clear()
        self._partly.clear()
        self.expanded.clear()
        if self.tree is not None:
            self.tree.close()
        self.tree = tree
        self._model.reset_to(top)

    def load(self, path: str, *, whole: bool = False) -> None:
        """Read the level below `path`: its first page, then, where there is more, all that is shown of it."""
        if self.tree is None:
            return
        self._stop(path)
        self._levels[path] = self._jobs.start(
            self.tree.expand,
            path,
            MAX_CHILDREN if whole else FIRST_PAGE,
            done=lambda level: self._arrived(level, whole=whole),
            failed=lambda error: self._failed(path, error),
        )

    def expand(self, path: str) -> None:
        """Note that a branch was opened, and read it if nobody has."""
        self.expanded[path] = None
        self._wanted(path)

    @Slot(str)
    def _wanted(self, path: str) -> None:
        """Read a level that is to be seen, unless it was closed since."""
        if path not in self.expanded:
            return
        partly = path in self._partly
        if path not in self._levels and (partly or not self._model.is_loaded(path)):
            self._model.say_below(path)
            self.load(path, whole=partly)

    def collapse(self, path: str) -> None:
        """Note that a branch was closed; a level that has not come yet is not waited for."""
        self.expanded.pop(path, None)
        self._stop(path)
        self._model.forget_level(path)

    def look(self) -> None:
        """Look at the rows in sight that nobody has looked at."""
        if self.tree is None or len(self._looking) >= LOOKS_AT_ONCE:
            return
        under_way = set().union(*self._looking.values())
        rows = (self._model.row_at(path) for path in self._seen())
        paths = [row.path for row in rows if row is not None and row.unread and row.path not in under_way]
        if not paths:
            return
        job = self._jobs.start(
            self.tree.look,
            paths,
            done=lambda rows: self._looked(job, rows),
            failed=lambda error: self._looked(job, [], error),
        )
        self._looking[job] = set(paths)

    def check(self, path: str) -> None:
        """Find out whether the node at `path` is stale."""
        if self.tree is not None:
            self._jobs.start(
                self.tree.check,
                path,
                done=self.take,
                failed=lambda error: self.said.emit(sentence(error)),
                topic="check",
            )

    def refresh(self, path: str = "", done: Callable[[], object] = lambda: None) -> None:
        """Read again what is open at and below `path`, and look again at the rows in sight there."""
        if self.tree is None:
            return
        inside = f"{path}/" if path else ""
        levels = [one for one in self.expanded if one == path or one.startswith(inside)]
        seen = [one for one in self._seen() if one == path or one.startswith(inside)]
        for one in levels:
            self._stop(one)
            self._model.say_below(one)
        self._jobs.start(
            read_again,
            self.tree,
            levels,
            list(dict.fromkeys([path, *seen])),
            done=lambda news: self._take_news(news, done),
            failed=lambda error: self.said.emit(sentence(error)),
            topic="refresh",
        )

    def poll_every(self, seconds: float) -> None:
        """Look for news that long after the last answer; 0 for never."""
        self._pause = seconds
        self._timer.stop()
        self._again()

    def poll(self) -> None:
        """Look for news where there may be some, now."""
        self._timer.stop()
        if self.tree is None:
            self._again()
            return
        levels = [path for path in self.expanded if path not in self._levels and self._model.is_loaded(path)]
        self._jobs.start(
            self.tree.poll,
            levels,
            self._seen(),
            done=lambda found: self._take_news(News(tuple(found[0]), tuple(found[1])), self._again),
            failed=self._poll_failed,
            topic="poll",
        )

    def take(self, rows: Iterable[Row]) -> None:
        """Show what is new of some rows."""
        if changed := self._model.update_rows(rows):
            self.rows_changed.emit(changed)

    def take_level(self, level: Level) -> None:
        """Show the rows of one level, and what is new of the row that they are below."""
        top = self.tree.row(level.path) if self.tree is not None else None
        self.take([*level.rows, *([top] if top is not None else [])])
        with self._steady():
            self._model.set_level(level)
        self.loaded.emit(level.path)

    def _poll_failed(self, error: Exception) -> None:
        self.said.emit(sentence(error))
        self._again()

    def _take_news(self, news: News, then: Callable[[], object]) -> None:
        self.take(news.rows)  # before the levels, which were read after them
        for level in news.levels:
            self.take_level(level)
        for path, trouble in news.troubles:
            self._model.set_trouble(path, trouble)
            self.said.emit(trouble)
        then()

    def _again(self) -> None:
        if self._pause > 0:
            self._timer.start(int(self._pause * 1000))

    def _stop(self, path: str) -> None:
        if job := self._levels.pop(path, None):
            job.cancel()

    def _arrived(self, level: Level, *, whole: bool) -> None:
        self._levels.pop(level.path, None)
        if level.more and not whole:
            self._partly.add(level.path)
            self.load(level.path, whole=True)
            self.take_level(Level(level.path, level.rows))  # what is left out now is on its way
        else:
            self._partly.discard(level.path)
            self.take_level(level)

    def _failed(self, path: str, error: Exception) -> None:
        self._levels.pop(path, None)
        self._model.set_trouble(path, sentence(error))
        self.said.emit(sentence(error))

    def _looked(self, job: Job, rows: Sequence[Row], error: Exception | None = None) -> None:
        self._looking.pop(job, None)
        if error is not None:
            self.said.emit(sentence(error))
            return
        self.take(rows)
        self.look()


def open_tree(url: str, options: Mapping[str, Any], memory: int) -> OpenedUrl:
    """Return the tree at `url`, or that of the item at `url`; in a worker.

    Notes
    -----
    What `cvcache.browse.locate.open_url` costs.
    """
    return open_url(url, **{"ram": memory * 10**6, **options})


def read_again(tree: Tree, levels: Sequence[str], rows: Sequence[str]) -> News:
    """Read levels and rows again; in a worker.

    Notes
    -----
    What `Tree.expand` costs for each level, one after the other, and what `Tree.look` costs for all rows at once.
    """
    found: list[Level] = []
    troubles: list[tuple[str, str]] = []
    changed = tree.look([path for path in rows if tree.row(path) is not None])
    for path in levels:
        if tree.row(path) is None:
            continue  # gone with its parent
        try:
            found.append(tree.expand(path))
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the other levels are read
            troubles.append((path, sentence(error)))
    return News(tuple(found), tuple(changed), tuple(troubles))
