"""A tree that is read level by level, as somebody opens it; what was seen of one node tells which others are stale."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cvcache.browse.rows import (
    NO_NODE,
    Level,
    Row,
    below,
    described,
    item_rows,
    node_row,
    place_row,
    stranger_row,
    unseen_row,
)
from cvcache.browse.staleness import Lineages, version_of
from cvcache.errors import CvcacheError, NodeReplaced
from cvcache.node import CacheDir, item_io
from cvcache.store import CONCURRENCY, Listing, child_names, is_control, is_item_dir
from cvcache.tree import cdir

T = TypeVar("T")
R = TypeVar("R")

MOST_CHILDREN = 10_000
"""Child rows of one level, at most."""

_SETTLED = ("", "committed", "foreign", "unreadable")
"""States in which nobody looks for news unasked."""


class Tree:
    """A tree of nodes whose rows are read as they are asked for, and remembered.

    All methods but `close` wait for the store, so call them from a thread that may wait; several may be under way.

    Parameters
    ----------
    where : str, os.PathLike, UPath or CacheDir
        The top; any directory, it need not be a node.
    **storage_options
        What the store takes. They are kept nowhere but in the store.
    """

    def __init__(self, where: object, **storage_options: Any) -> None:
        self.top: CacheDir = cdir(where, **storage_options)
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._levels: dict[str, tuple[str, ...]] = {}
        self._lineages = Lineages()
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="cvcache-browse")

    @property
    def url(self) -> str:
        """Where the top lies."""
        return self.top.url

    def close(self) -> None:
        """Begin nothing more; what is under way ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def row(self, path: str) -> Row | None:
        """Return a row that was read before; no store call."""
        return self._rows.get(path)

    def level(self, path: str) -> list[Row] | None:
        """Return the rows below `path` as they were read before; None if nobody has. No store call."""
        paths = self._levels.get(path)
        return None if paths is None else [row for one in paths if (row := self._rows.get(one)) is not None]

    def open(self) -> Row:
        """Return the row of the top.

        Raises
        ------
        OSError
            The store cannot be reached, or refuses.
        BadRecord
            The newest record of the top cannot be read.

        Notes
        -----
        One LIST and one GET; of a directory that is no node two LIST.
        """
        return self._keep([self._read_node("", self.top)])[0]

    def expand(self, path: str, limit: int = MOST_CHILDREN) -> Level:
        """Return the rows below `path`: items, then children, of which nobody has looked at those new here.

        Parameters
        ----------
        path : str
            Of a row that was read before.
        limit : int
            Children to show, at most. A bucket gives 1,000 names a request.

        Raises
        ------
        KeyError
            There is no such row.
        OSError
            The store cannot be reached, or refuses.

        Notes
        -----
        One LIST, and at the same time one STAT that asks whether the commit still stands; where the items of a commit
        are too many for its record one GET in place of that. Two calls more if it does not stand.
        """
        limit = min(limit, MOST_CHILDREN)
        while True:
            row = self._rows[path]
            listing = self._pool.submit(row.node.store.list, row.node.location, limit)
            if not row.state or self._has_moved(row):
                row = self._look([row])[0]
            names = listing.result()
            if row.state in NO_NODE and row.record is None:
                row = self._keep([place_row(path, row.node, names)])[0]
            try:
                rows = self._rows_of(row, names, limit)
            except NodeReplaced:
                self._look([row])
                continue
            if self._take_level(row, rows):
                more = names.more or len(child_names(names.dirs)) > limit
                return Level(path, tuple(self._rows.get(one.path, one) for one in rows), more)

    def look(self, paths: Iterable[str]) -> list[Row]:
        """Look again at these rows, at once, and return them; behind them all others that changed by it.

        Notes
        -----
        For each node one LIST and one GET, for a directory that is no node two LIST, for an image that is not
        committed what it takes to read its metadata. Nothing for an item of a committed node.
        """
        return self._look([row for path in paths if (row := self._rows.get(path)) is not None])

    def check(self, path: str) -> list[Row]:
        """Look at the nodes that the node at `path` was made from, and return the rows that changed by it.

        Notes
        -----
        One LIST and one GET for each of them that was not seen before.
        """
        sources = {source.location: source for source, _ in self._rows[path].node.sources()}
        unseen = [source for place, source in sources.items() if not self._lineages.knows(place)]
        found = self._at_once(lambda source: (source.location, version_of(source.refresh())), unseen)
        with self._lock:
            return self._settle(set().union(*(self._lineages.see(*one) for one in found)))

    def poll(self, expanded: Sequence[str], visible: Sequence[str]) -> tuple[list[Level], list[Row]]:
        """Look for news where there may be some: in levels of directories not committed, at nodes not committed.

        Parameters
        ----------
        expanded, visible : sequence of str
            Paths of the rows that are open, and of those that can be seen.

        Returns
        -------
        levels : list of Level
            Those that have other rows than before.
        rows : list of Row
            Those that changed.

        Notes
        -----
        What `expand` costs for each open row that is not committed, and one STAT for each other node that is not and
        can be seen.
        """
        before = {path: self._levels.get(path) for path in expanded}
        rows_before = dict(self._rows)
        open_rows = [row for path in expanded if (row := rows_before.get(path)) and row.state not in _SETTLED]
        seen = [row for path in visible if (row := rows_before.get(path)) and not row.is_item]
        waiting = [row for row in seen if row.kind == "node" and row.state not in _SETTLED]
        moved = self._at_once(lambda row: row.record is None or self._has_moved(row), waiting)
        self.look([row.path for row, news in zip(waiting, moved, strict=True) if news])
        levels = [self.expand(row.path) for row in open_rows if row.path in self._rows]
        rows_now = dict(self._rows)
        changed = [row for path, row in rows_now.items() if path in rows_before and rows_before[path] != row]
        return [level for level in levels if before[level.path] != self._levels.get(level.path)], changed

    def made_from(self, places: Collection[str]) -> list[Row]:
        """Return the rows, as far as they were read, of all nodes that are made from those at these locations.

        Of what is made from one of these, too; no store call.
        """
        with self._lock:
            found: dict[str, Row] = {}
            waiting = list(places)
            while waiting:
                rows = [self._rows[path] for path in self._lineages.made_from([waiting.pop()]) if path in self._rows]
                new = {row.path: row for row in rows if row.path not in found}
                found |= new
                waiting += [row.node.location for row in new.values()]
            return list(found.values())

    def _at_once(self, function: Callable[[T], R], jobs: Iterable[T]) -> list[R]:
        return list(self._pool.map(function, jobs))

    def _look(self, rows: Iterable[Row]) -> list[Row]:
        return self._keep(self._at_once(self._read, rows))

    def _read(self, row: Row) -> Row:
        """Read one row anew; what cannot be read says why."""
        try:
            return self._read_item(row) if row.is_item else self._read_node(row.path, row.node)
        except (OSError, CvcacheError) as error:
            if row.is_item:
                return dataclasses.replace(row, note=str(error), meta={"kind": row.kind})
            return dataclasses.replace(row, state="unreadable", note=str(error))

    def _read_node(self, path: str, node: CacheDir) -> Row:
        fresh = node.snapshot()
        if fresh.record() is not None:
            return node_row(path, fresh, fresh.own_state)
        return place_row(path, fresh, fresh.store.list(fresh.location, 1))

    def _read_item(self, row: Row) -> Row:
        """Read what is known of an image that no commit vouches for."""
        if row.state not in {"running", "failed", "foreign"} or not row.name.endswith(".zarr"):
            return row
        record = row.record
        if record is not None:
            meta = item_io.announced_metadata(row.node.store, row.node.location, record, row.name)
        else:
            from cvcache.formats import ItemPath
            from cvcache.image import read_image_metadata

            meta, _ = read_image_metadata(ItemPath(row.node.store, f"{row.node.location}/{row.name}"))
        return dataclasses.replace(described(row, meta or {"kind": row.kind}), path=row.path)

    def _has_moved(self, row: Row) -> bool:
        """Whether a node is not any more what its row says; one STAT, none where its items have to be fetched."""
        record = row.record
        if record is None or (record.state == "committed" and record.items is None):
            return False
        return (row.state == "running" and row.node.own_state != "running") or not row.node.is_newest()

    def _rows_of(self, row: Row, names: Listing, limit: int) -> list[Row]:
        """Return what is listed in the directory of a row."""
        children = child_names(names.dirs)[:limit]
        odd = {name for name in names.dirs if name and not is_control(name)} - {*child_names(names.dirs)}
        items = [
            *item_rows(row.path, row.node, row.state, names),
            *(stranger_row(row.path, row.node, name) for name in sorted(odd) if not is_item_dir(name)),
        ]
        # a bucket may hold an object and a directory of one name, and a path is one row's
        both = set(children)
        items = [dataclasses.replace(one, path=f"{one.path}\0") if one.name in both else one for one in items]
        return [*items, *(unseen_row(below(row.path, name), row.node / name) for name in children)]

    def _take_level(self, row: Row, rows: list[Row]) -> bool:
        """Remember a level, unless its row is another one by now."""
        with self._lock:
            current = self._rows.get(row.path)
            if current is None or current.attempt != row.attempt:
                return current is None
            for one in rows:
                before = self._rows.get(one.path)
                if before is None or not _still(before, one):
                    self._rows[one.path] = one
            paths = tuple(one.path for one in rows)
            gone = self._forget(set(self._levels.get(row.path, ())) - set(paths))
            self._levels[row.path] = paths
            self._rows[row.path] = dataclasses.replace(current, branch=bool(rows))
            self._settle(self._lineages.forget(gone))
        return True

    def _forget(self, paths: Iterable[str]) -> list[Row]:
        """Forget these rows and all below them, and return them."""
        gone, waiting = [], list(paths)
        while waiting:
            path = waiting.pop()
            if (row := self._rows.pop(path, None)) is not None:
                gone.append(row)
            waiting += self._levels.pop(path, ())
        return gone

    def _keep(self, rows: Iterable[Row]) -> list[Row]:
        """Remember rows that were read, and return them and those whose state they change."""
        kept = list(rows)
        with self._lock:
            moved: set[str] = set()
            for row in kept:
                self._rows[row.path] = row
                moved |= self._lineages.take(row)
            changed = {row.path: row for row in self._settle(moved)}
        return [*(changed.pop(row.path, row) for row in kept), *changed.values()]

    def _settle(self, paths: Iterable[str]) -> list[Row]:
        """Say of these rows, as far as they are committed, whether they are stale, and return what changed."""
        changed = []
        for path in paths:
            row = self._rows.get(path)
            if row is not None and row.state in {"committed", "stale"}:
                state = "stale" if self._lineages.is_stale(path) else "committed"
                if state != row.state:
                    self._rows[path] = dataclasses.replace(row, state=state)
                    changed.append(self._rows[path])
        return changed


def _still(before: Row, now: Row) -> bool:
    """Whether what was read of a row before stands, when its directory is listed again."""
    if before.is_item != now.is_item:
        return False
    return not now.is_item or (now.unread and before.state == now.state and before.attempt == now.attempt)
