"""Reads a tree in workers: expanded levels, visible rows, and changes at regular intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal, Slot

from cvcache.browse import MAX_CHILDREN, Level, OpenedUrl, Row, Tree, open_url
from cvcache.napari.jobs import Job, Jobs
from cvcache.napari.tree.cells import error_sentence
from cvcache.napari.tree.model import TreeModel

FIRST_PAGE_SIZE = 1000
"""Names in the first answer of a bucket; they are shown before the rest is requested."""
MAX_ROW_REQUESTS = 3
"""Parallel requests for visible rows, so that new ones need not wait for those that were visible before."""


@dataclass(frozen=True, slots=True)
class TreeUpdate:
    """The result of reading a part of a tree again: levels, rows, and errors of levels as (path, sentence)."""

    levels: tuple[Level, ...] = ()
    rows: tuple[Row, ...] = ()
    errors: tuple[tuple[str, str], ...] = ()


class Loader(QObject):
    """Fills a `TreeModel` from a `Tree`, in workers.

    Parameters
    ----------
    model : TreeModel
    jobs : Jobs
    visible_paths : callable
        Returns the paths of the visible rows.
    keep_position : callable
        Returns a context manager that keeps the scroll position while rows are inserted or removed.
    parent : QObject, optional

    Signals
    -------
    loaded : path of a level that was loaded, whole or its first page.
    rows_changed : list of rows that changed.
    message : one sentence on a failed read.
    """

    loaded = Signal(str)
    rows_changed = Signal(object)
    message = Signal(str)

    def __init__(
        self,
        model: TreeModel,
        jobs: Jobs,
        visible_paths: Callable[[], list[str]],
        keep_position: Callable[[], AbstractContextManager[None]] = nullcontext,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.tree: Tree | None = None
        self.expanded: dict[str, None] = {}
        self._model, self._jobs, self._visible_paths, self._keep_position = model, jobs, visible_paths, keep_position
        self._levels: dict[str, Job] = {}
        self._partial: set[str] = set()
        self._row_jobs: dict[Job, set[str]] = {}
        self._poll_seconds = 0.0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.poll)
        model.level_requested.connect(self._on_level_requested, Qt.ConnectionType.QueuedConnection)

    def show(self, tree: Tree | None, top: Row | None) -> None:
        """Show another tree, and cancel all reads of the one before."""
        for job in [*self._levels.values(), *self._row_jobs]:
            job.cancel()
        self._levels.clear()
        self._row_jobs.clear()
        self._partial.clear()
        self.expanded.clear()
        if self.tree is not None:
            self.tree.close()
        self.tree = tree
        self._model.reset_to(top)

    def load(self, path: str, *, whole: bool = False) -> None:
        """Read the level below `path`: its first page, then, if there is more, all rows that are shown."""
        if self.tree is None:
            return
        self._cancel(path)
        self._levels[path] = self._jobs.start(
            self.tree.expand,
            path,
            MAX_CHILDREN if whole else FIRST_PAGE_SIZE,
            done=lambda level: self._on_level(level, whole=whole),
            failed=lambda error: self._on_level_error(path, error),
        )

    def expand(self, path: str) -> None:
        """Read the level of a branch that was expanded, unless it is loaded."""
        self.expanded[path] = None
        self._on_level_requested(path)

    @Slot(str)
    def _on_level_requested(self, path: str) -> None:
        """Read a level that the model requests, unless it was collapsed since."""
        if path not in self.expanded:
            return
        partial = path in self._partial
        if path not in self._levels and (partial or not self._model.is_loaded(path)):
            self._model.show_message_below(path)
            self.load(path, whole=partial)

    def collapse(self, path: str) -> None:
        """Cancel the read of a branch that was collapsed."""
        self.expanded.pop(path, None)
        self._cancel(path)
        self._model.forget_level(path)

    def read_visible_rows(self) -> None:
        """Read the visible rows that were not read yet."""
        if self.tree is None or len(self._row_jobs) >= MAX_ROW_REQUESTS:
            return
        under_way = set().union(*self._row_jobs.values())
        rows = (self._model.row_at(path) for path in self._visible_paths())
        paths = [row.path for row in rows if row is not None and row.unread and row.path not in under_way]
        if not paths:
            return
        job = self._jobs.start(
            self.tree.look,
            paths,
            done=lambda rows: self._on_rows(job, rows),
            failed=lambda error: self._on_rows(job, [], error),
        )
        self._row_jobs[job] = set(paths)

    def check(self, path: str) -> None:
        """Read the sources of the node at `path`, to find out whether it is stale."""
        if self.tree is not None:
            self._jobs.start(
                self.tree.check,
                path,
                done=self.show_rows,
                failed=lambda error: self.message.emit(error_sentence(error)),
                topic="check",
            )

    def refresh(self, path: str = "", done: Callable[[], object] = lambda: None) -> None:
        """Read expanded levels and visible rows at and below `path` again."""
        if self.tree is None:
            return
        inside = f"{path}/" if path else ""
        levels = [one for one in self.expanded if one == path or one.startswith(inside)]
        visible_paths = [one for one in self._visible_paths() if one == path or one.startswith(inside)]
        for one in levels:
            self._cancel(one)
            self._model.show_message_below(one)
        self._jobs.start(
            reread,
            self.tree,
            levels,
            list(dict.fromkeys([path, *visible_paths])),
            done=lambda update: self._show_update(update, done),
            failed=lambda error: self.message.emit(error_sentence(error)),
            topic="refresh",
        )

    def poll_every(self, seconds: float) -> None:
        """Poll this many seconds after the last answer; 0 for never."""
        self._poll_seconds = seconds
        self._timer.stop()
        self._schedule_poll()

    def poll(self) -> None:
        """Read what may have changed, now; see `Tree.poll`."""
        self._timer.stop()
        if self.tree is None:
            self._schedule_poll()
            return
        levels = [path for path in self.expanded if path not in self._levels and self._model.is_loaded(path)]
        self._jobs.start(
            self.tree.poll,
            levels,
            self._visible_paths(),
            done=lambda found: self._show_update(TreeUpdate(tuple(found[0]), tuple(found[1])), self._schedule_poll),
            failed=self._poll_failed,
            topic="poll",
        )

    def show_rows(self, rows: Iterable[Row]) -> None:
        """Show newer versions of rows."""
        if changed := self._model.update_rows(rows):
            self.rows_changed.emit(changed)

    def show_level(self, level: Level) -> None:
        """Show the rows of one level, and the newer version of their parent."""
        top = self.tree.row(level.path) if self.tree is not None else None
        self.show_rows([*level.rows, *([top] if top is not None else [])])
        with self._keep_position():
            self._model.set_level(level)
        self.loaded.emit(level.path)

    def _poll_failed(self, error: Exception) -> None:
        self.message.emit(error_sentence(error))
        self._schedule_poll()

    def _show_update(self, update: TreeUpdate, then: Callable[[], object]) -> None:
        self.show_rows(update.rows)  # before the levels, which were read after them
        for level in update.levels:
            self.show_level(level)
        for path, error_text in update.errors:
            self._model.set_error(path, error_text)
            self.message.emit(error_text)
        then()

    def _schedule_poll(self) -> None:
        if self._poll_seconds > 0:
            self._timer.start(int(self._poll_seconds * 1000))

    def _cancel(self, path: str) -> None:
        if job := self._levels.pop(path, None):
            job.cancel()

    def _on_level(self, level: Level, *, whole: bool) -> None:
        self._levels.pop(level.path, None)
        if level.more and not whole:
            self._partial.add(level.path)
            self.load(level.path, whole=True)
            self.show_level(Level(level.path, level.rows))  # the rest is being read
        else:
            self._partial.discard(level.path)
            self.show_level(level)

    def _on_level_error(self, path: str, error: Exception) -> None:
        self._levels.pop(path, None)
        self._model.set_error(path, error_sentence(error))
        self.message.emit(error_sentence(error))

    def _on_rows(self, job: Job, rows: Sequence[Row], error: Exception | None = None) -> None:
        self._row_jobs.pop(job, None)
        if error is not None:
            self.message.emit(error_sentence(error))
            return
        self.show_rows(rows)
        self.read_visible_rows()


def open_tree(url: str, options: Mapping[str, Any], memory: int) -> OpenedUrl:
    """Return the tree at `url`, or that of the item at `url`; in a worker.

    Notes
    -----
    The cost of `cvcache.browse.locate.open_url`.
    """
    return open_url(url, **{"ram": memory * 10**6, **options})


def reread(tree: Tree, levels: Sequence[str], rows: Sequence[str]) -> TreeUpdate:
    """Read levels and rows again; in a worker.

    Notes
    -----
    The cost of `Tree.expand` for each level, one after the other, and of `Tree.look` for all rows at once.
    """
    found: list[Level] = []
    errors: list[tuple[str, str]] = []
    changed = tree.look([path for path in rows if tree.row(path) is not None])
    for path in levels:
        if tree.row(path) is None:
            continue  # gone with its parent
        try:
            found.append(tree.expand(path))
        except Exception as error:  # noqa: BLE001 - after any error of a store the other levels are read
            errors.append((path, error_sentence(error)))
    return TreeUpdate(tuple(found), tuple(changed), tuple(errors))
