"""A tree that is read level by level, as somebody opens it; what was seen of one node tells which others are stale."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cvcache import contents
from cvcache.api import cdir
from cvcache.browse.rows import NO_NODE, Level, Row, below, item_row, item_rows, node_row, place_row, unseen_row
from cvcache.errors import CvcacheError, NodeReplaced
from cvcache.names import RESERVED, child_names, is_item_dir
from cvcache.node import CacheDir
from cvcache.record import Record
from cvcache.store.base import AT_ONCE, Listing

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
        self._versions: dict[str, tuple[bool, str]] = {}  # of a node's location: is it committed, and which version
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="cvcache-browse")

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

        Notes
        -----
        One LIST, and at the same time one STAT that asks whether the commit still stands; where the items of a commit
        are too many for its record one GET in place of that. Two calls more if it does not stand.
        """
        row = self._rows[path]
        limit = min(limit, MOST_CHILDREN)
        listing = self._pool.submit(row.node.store.list, row.node.location, limit)
        if not row.state or self._is_replaced(row):
            row = self.look([path])[0]
        names = listing.result()
        if row.state in NO_NODE and _record(row) is None:
            row = self._keep([place_row(path, row.node, names)])[0]
        items = self._items(row, names)
        children = child_names(names.dirs)
        more = names.more or len(children) > limit
        rows = [*items, *(self._child(row, name) for name in children[:limit]), *_strangers(row, names)]
        rows = [self._kept_reading(one) for one in rows]
        with self._lock:
            self._forget_below(path, {one.path for one in rows})
            self._rows.update({one.path: one for one in rows})
            self._levels[path] = tuple(one.path for one in rows)
            self._rows[path] = dataclasses.replace(row, branch=bool(rows))
        return Level(path, tuple(self._rows[one.path] for one in rows), more)

    def look(self, paths: Iterable[str]) -> list[Row]:
        """Look again at these rows, at once, and return them; behind them all others that changed by it.

        Notes
        -----
        For each node one LIST and one GET, for a directory that is no node two LIST, for an image that is not
        committed what it takes to read its metadata. Nothing for an item of a committed node.
        """
        known = [self._rows[path] for path in paths if path in self._rows]
        return self._keep(self._at_once(self._read, known))

    def check(self, path: str) -> list[Row]:
        """Look at the nodes that the node at `path` was made from, and return the rows that changed by it.

        Notes
        -----
        One LIST and one GET for each of them that was not seen before.
        """
        unseen = {
            source.location: source
            for source, _ in self._rows[path].node.sources()
            if source.location not in self._versions
        }
        found = self._at_once(lambda source: (source.location, _version(source.refresh())), unseen.values())
        with self._lock:
            self._versions.update(found)
        return self._settle()

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
        moved = self._at_once(lambda row: _record(row) is None or self._is_replaced(row), waiting)
        self.look([row.path for row, news in zip(waiting, moved, strict=True) if news])
        levels = [self.expand(row.path) for row in open_rows if row.path in self._rows]
        rows_now = dict(self._rows)
        changed = [row for path, row in rows_now.items() if path in rows_before and rows_before[path] != row]
        return [level for level in levels if before[level.path] != self._levels.get(level.path)], changed

    def made_from(self, places: Collection[str]) -> list[Row]:
        """Return the rows, as far as they were read, of nodes made from those at these locations; no store call."""
        rows = [row for row in list(self._rows.values()) if row.kind == "node" and row.state and not row.is_item]
        return [row for row in rows if any(source.location in places for source, _ in row.node.sources())]

    def _at_once(self, function: Callable[[T], R], jobs: Iterable[T]) -> list[R]:
        return list(self._pool.map(function, jobs))

    def _read(self, row: Row) -> Row:
        """Read one row anew; what cannot be read says why."""
        try:
            if row.is_item:
                return self._read_item(row)
            return self._read_node(row.path, row.node)
        except (OSError, CvcacheError) as error:
            return dataclasses.replace(row, state="unreadable", note=str(error))

    def _read_node(self, path: str, node: CacheDir) -> Row:
        fresh = node.snapshot()
        if fresh.record() is not None:
            return node_row(path, fresh, fresh.own_state)
        return place_row(path, fresh, fresh.store.list(fresh.location, 1))

    def _read_item(self, row: Row) -> Row:
        """Read what is known of an image that no commit vouches for."""
        if not row.unread:
            return row
        if row.state != "foreign" and (record := row.node.record()) is not None:
            meta = contents.planned(row.node.store, row.node.location, record, row.name)
        else:
            from cvcache.formats.place import Place
            from cvcache.image.describe import look

            meta, _ = look(Place(row.node.store, f"{row.node.location}/{row.name}"))
        return item_row(row.path.rpartition("/")[0], row.node, row.state, row.name, meta or {"kind": row.kind})

    def _is_replaced(self, row: Row) -> bool:
        """Whether another record follows the one of this row; one STAT, none where its items have to be fetched."""
        record = _record(row)
        if record is None or (record.state == "committed" and record.items is None):
            return False
        return row.node.store.stat(contents.successor(row.node.location, record)) is not None

    def _items(self, row: Row, names: Listing) -> list[Row]:
        try:
            return item_rows(row.path, row.node, row.state, names)
        except NodeReplaced:
            row = self.look([row.path])[0]
            return item_rows(row.path, row.node, row.state, names)

    def _child(self, row: Row, name: str) -> Row:
        path = below(row.path, name)
        return self._rows.get(path) or unseen_row(path, row.node / name)

    def _kept_reading(self, row: Row) -> Row:
        """Return what a look has told of this image before, if it is still the same one."""
        before = self._rows.get(row.path) if row.is_item and row.unread else None
        same = before is not None and before.state == row.state and _attempt(before) == _attempt(row)
        return before if before is not None and same else row

    def _forget_below(self, path: str, kept: set[str]) -> None:
        for gone in set(self._levels.get(path, ())) - kept:
            inside = f"{gone}/"
            for known in [known for known in self._rows if known == gone or known.startswith(inside)]:
                self._rows.pop(known, None)
                self._levels.pop(known, None)

    def _keep(self, rows: Iterable[Row]) -> list[Row]:
        """Remember rows that were read, and return them and those whose state they change."""
        kept = list(rows)
        with self._lock:
            for row in kept:
                self._rows[row.path] = row
                if not row.is_item and row.kind == "node" and row.state not in {"", "unreadable"}:
                    self._versions[row.node.location] = _version(row.node)
        moved = {row.path: row for row in self._settle()}
        kept = [moved.pop(row.path, row) for row in kept]
        return [*kept, *moved.values()]

    def _settle(self) -> list[Row]:
        """Say of each committed row whether it is stale, as far as its sources were seen; return what changed."""
        changed = []
        with self._lock:
            for path, row in self._rows.items():
                if row.kind != "node" or row.is_item or row.state not in {"committed", "stale"}:
                    continue
                state = "stale" if self._is_stale(row.node) else "committed"
                if state != row.state:
                    self._rows[path] = dataclasses.replace(row, state=state)
                    changed.append(self._rows[path])
        return changed

    def _is_stale(self, node: CacheDir) -> bool:
        return any(
            self._versions.get(source.location, (True, version)) != (True, version)
            for source, version in node.sources()
        )


def _record(row: Row) -> Record | None:
    """Return the record that a row was made from; None for a directory without, or whose record cannot be read."""
    return row.node.record() if row.kind == "node" and row.state not in {"", "unreadable"} else None


def _attempt(row: Row) -> str:
    record = row.node.record() if row.state != "foreign" else None
    return record.attempt if record is not None else ""


def _version(node: CacheDir) -> tuple[bool, str]:
    return node.committed, node.version if node.record() is not None else ""


def _strangers(row: Row, names: Listing) -> list[Row]:
    """Return the directories that no node may be called like."""
    known = {*child_names(names.dirs), RESERVED}
    odd = [name for name in names.dirs if name not in known and not is_item_dir(name)]
    return [Row(below(row.path, name), name, "foreign", "foreign", row.node) for name in odd]
