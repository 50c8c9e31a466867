"""A tree that is read level by level; each node that is read shows which others are stale."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cvcache.browse.item_bytes import item_path
from cvcache.browse.rows import (
    NON_NODE_STATES,
    Level,
    Row,
    child_path,
    directory_row,
    foreign_directory_row,
    item_rows,
    node_row,
    unread_row,
    with_meta,
)
from cvcache.browse.staleness import StalenessTracker
from cvcache.errors import CvcacheError, NodeReplaced
from cvcache.image import is_zarr
from cvcache.node import Address, Snapshot, item_io, read_snapshot
from cvcache.store import CONCURRENCY, Listing, child_names, is_control, is_item_dir
from cvcache.tree import resolve_address

T = TypeVar("T")
R = TypeVar("R")

MAX_CHILDREN = 10_000
"""Child rows of one level, at most."""

_FINAL_STATES = ("", "committed", "foreign", "unreadable")
"""States that `Tree.poll` does not look at each time."""


class Tree:
    """A tree of nodes whose rows are read on demand, and kept in memory.

    All methods but `close` wait for the store, so call them from a worker thread; several may run at a time.

    Parameters
    ----------
    where : str, os.PathLike, UPath or CacheDir
        The top: any directory, also one that is not a node.
    **storage_options
        Options of the store. Only the store keeps them.
    """

    def __init__(self, where: object, **storage_options: Any) -> None:
        self.top = resolve_address(where, **storage_options)
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._levels: dict[str, tuple[str, ...]] = {}
        self._staleness = StalenessTracker()
        self._turns = 0
        self._looked_at: dict[str, int] = {}
        self._pool = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="cvcache-browse")

    @property
    def url(self) -> str:
        """URL of the top."""
        return self.top.url

    def close(self) -> None:
        """Start no more calls; does not wait for those that run."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def row(self, path: str) -> Row | None:
        """Return a row that was read before, or None; no store call."""
        return self._rows.get(path)

    def level(self, path: str) -> list[Row] | None:
        """Return the rows below `path` as read before; None if they were not. No store call."""
        paths = self._levels.get(path)
        return None if paths is None else [row for path in paths if (row := self._rows.get(path)) is not None]

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
        One LIST and one GET; for a directory that is not a node two LIST.
        """
        return self._remember_rows([self._read_node("", self.top)])[0]

    def expand(self, path: str, limit: int = MAX_CHILDREN) -> Level:
        """Return the rows below `path`: items, then child directories; new child directories are not read yet.

        Parameters
        ----------
        path : str
            Path of a row that was read before.
        limit : int
            Maximum number of child directories. A bucket gives 1,000 names a request.

        Raises
        ------
        KeyError
            There is no such row.
        OSError
            The store cannot be reached, or refuses.

        Notes
        -----
        One LIST, and at the same time one STAT that checks that the record is still the newest; if the inventory is not
        in the record one GET. Two or three calls more if the record is not the newest.
        """
        limit = min(limit, MAX_CHILDREN)
        while True:
            row = self._rows[path]
            listing = self._pool.submit(row.node.store.list, row.node.path, limit)
            if not row.state or self._has_changed(row):
                row = self._look([row])[0]
            names = listing.result()
            if row.state in NON_NODE_STATES and row.record is None:
                row = self._remember_rows([directory_row(path, row.node, names)])[0]
            try:
                rows = self._level_rows(row, names, limit)
            except NodeReplaced:
                self._look([row])
                continue
            if self._remember_level(row, rows):
                more = names.more or len(child_names(names.dirs)) > limit
                return Level(path, tuple(self._rows.get(one.path, one) for one in rows), more)

    def look(self, paths: Iterable[str]) -> list[Row]:
        """Read these rows again, in parallel, and return them; after them all other rows that changed by it.

        Notes
        -----
        For each node one LIST and one GET, for a directory that is not a node two LIST, for an uncommitted image the
        reads of its metadata. None for an item of a committed node.
        """
        return self._look([row for path in paths if (row := self._rows.get(path)) is not None])

    def check(self, path: str) -> list[Row]:
        """Read the nodes that the node at `path` was made from, and return the rows that changed by it.

        Notes
        -----
        One LIST and one GET for each of them that was not read before.
        """
        unread = {source for source, _ in self._rows[path].node.inputs() if not self._staleness.has_version(source)}
        versions = self._map(lambda source: (source, read_snapshot(source).committed_version), unread)
        with self._lock:
            return self._update_staleness(set().union(*(self._staleness.set_version(*version) for version in versions)))

    def poll(self, expanded: Sequence[str], visible: Sequence[str]) -> tuple[list[Level], list[Row]]:
        """Read again what may have changed: what is not committed, and in turn what is.

        Parameters
        ----------
        expanded, visible : sequence of str
            Paths of the expanded rows, and of the visible rows.

        Returns
        -------
        levels : list of Level
            Levels that have other rows than before.
        rows : list of Row
            Rows that changed.

        Notes
        -----
        The cost of `expand` for each expanded row that is not committed, and one STAT for each visible node that is not
        committed. Of the committed nodes of one level that are visible, or whose items are, one STAT for the one that
        was not looked at for longest: one request a level. The cost of `look` and of `expand` for those that changed.
        """
        before = {path: self._levels.get(path) for path in expanded}
        rows_before = dict(self._rows)
        seen = [row for path in visible if (row := rows_before.get(path))]
        pending = [row for row in seen if row.kind == "node" and not row.is_item and row.state not in _FINAL_STATES]
        pending += self._next_committed(seen)
        has_changed = self._map(lambda row: row.record is None or self._has_changed(row), pending)
        changed = {row.path for row, is_new in zip(pending, has_changed, strict=True) if is_new}
        self.look(changed)
        open_rows = [row for path in expanded if (row := rows_before.get(path))]
        again = [row.path for row in open_rows if row.state not in _FINAL_STATES or row.path in changed]
        levels = [self.expand(path) for path in again if path in self._rows]
        rows_now = dict(self._rows)
        changed_rows = [row for path, row in rows_now.items() if path in rows_before and rows_before[path] != row]
        return [level for level in levels if before[level.path] != self._levels.get(level.path)], changed_rows

    def _next_committed(self, seen: Iterable[Row]) -> list[Row]:
        """Return of each level one committed node that is seen, or whose items are: the one whose turn it is."""
        paths = dict.fromkeys(row.path.rpartition("/")[0] if row.is_item else row.path for row in seen)
        levels: dict[str | None, list[Row]] = {}
        for row in (self._rows.get(path) for path in paths):
            if row is not None and row.kind == "node" and row.state == "committed":
                levels.setdefault(row.path.rpartition("/")[0] if row.path else None, []).append(row)
        with self._lock:
            due = [min(rows, key=lambda row: self._looked_at.get(row.path, 0)) for rows in levels.values()]
            self._turns += 1
            self._looked_at.update((row.path, self._turns) for row in due)
        return due

    def made_from(self, nodes: Collection[Address]) -> list[Row]:
        """Return the rows that were read of all nodes made from these nodes, directly or indirectly.

        No store call.
        """
        with self._lock:
            found: dict[str, Row] = {}
            waiting = list(nodes)
            while waiting:
                rows = [self._rows[path] for path in self._staleness.dependents([waiting.pop()]) if path in self._rows]
                new = {row.path: row for row in rows if row.path not in found}
                found |= new
                waiting += [row.node.address for row in new.values()]
            return list(found.values())

    def _map(self, function: Callable[[T], R], jobs: Iterable[T]) -> list[R]:
        return list(self._pool.map(function, jobs))

    def _look(self, rows: Iterable[Row]) -> list[Row]:
        return self._remember_rows(self._map(self._read, rows))

    def _read(self, row: Row) -> Row:
        """Read one row again; the error of a failed read becomes its note."""
        try:
            return self._read_item(row) if row.is_item else self._read_node(row.path, row.node.address)
        except (OSError, CvcacheError) as error:
            if row.is_item:
                return dataclasses.replace(row, note=str(error), meta={"kind": row.kind})
            return dataclasses.replace(row, state="unreadable", note=str(error))

    def _read_node(self, path: str, address: Address) -> Row:
        node = read_snapshot(address)
        if node.record is not None:
            return node_row(path, node, node.state)
        return directory_row(path, node, node.store.list(node.path, 1))

    def _read_item(self, row: Row) -> Row:
        """Read the metadata of an uncommitted image."""
        if row.state not in {"running", "failed", "foreign"} or not is_zarr(row.name):
            return row
        record = row.record
        if record is not None:
            meta = item_io.announced_metadata(row.node, row.name)
        else:
            from cvcache.image import read_image_metadata

            meta, _ = read_image_metadata(item_path(row))
        return dataclasses.replace(with_meta(row, meta or {"kind": row.kind}), path=row.path)

    def _has_changed(self, row: Row) -> bool:
        """Whether a record is no longer the newest; one STAT."""
        if row.record is None:
            return False
        return (row.state == "running" and row.node.state != "running") or not item_io.is_newest(row.node)

    def _level_rows(self, row: Row, names: Listing, limit: int) -> list[Row]:
        """Return the rows of the listing of a directory."""
        children = child_names(names.dirs)[:limit]
        odd = {name for name in names.dirs if name and not is_control(name)} - {*child_names(names.dirs)}
        items = [
            *item_rows(row.path, row.node, row.state, names),
            *(foreign_directory_row(row.path, row.node, name) for name in sorted(odd) if not is_item_dir(name)),
        ]
        # a bucket may hold an object and a directory of one name, but a path must be unique
        both = set(children)
        items = [dataclasses.replace(one, path=f"{one.path}\0") if one.name in both else one for one in items]
        return [
            *items,
            *(unread_row(child_path(row.path, name), Snapshot(row.node.address.child(name))) for name in children),
        ]

    def _remember_level(self, row: Row, rows: list[Row]) -> bool:
        """Keep a level, unless its row has another attempt by now."""
        with self._lock:
            current = self._rows.get(row.path)
            if current is None or current.attempt != row.attempt:
                return current is None
            for one in rows:
                before = self._rows.get(one.path)
                if before is None or not _still_valid(before, one):
                    self._rows[one.path] = one
            paths = tuple(one.path for one in rows)
            gone = self._forget_rows(set(self._levels.get(row.path, ())) - set(paths))
            self._levels[row.path] = paths
            self._rows[row.path] = dataclasses.replace(current, branch=bool(rows))
            self._update_staleness(self._staleness.remove(gone))
        return True

    def _forget_rows(self, paths: Iterable[str]) -> list[Row]:
        """Drop these rows and all below them, and return them."""
        gone, waiting = [], list(paths)
        while waiting:
            path = waiting.pop()
            self._looked_at.pop(path, None)
            if (row := self._rows.pop(path, None)) is not None:
                gone.append(row)
            waiting += self._levels.pop(path, ())
        return gone

    def _remember_rows(self, rows: Iterable[Row]) -> list[Row]:
        """Keep rows that were read, and return them and those whose state they change."""
        new_rows = list(rows)
        with self._lock:
            affected: set[str] = set()
            for row in new_rows:
                self._rows[row.path] = row
                affected |= self._staleness.update(row)
            changed = {row.path: row for row in self._update_staleness(affected)}
        return [*(changed.pop(row.path, row) for row in new_rows), *changed.values()]

    def _update_staleness(self, paths: Iterable[str]) -> list[Row]:
        """Set the state of these committed rows to stale or committed, and return the rows that changed."""
        changed = []
        for path in paths:
            row = self._rows.get(path)
            if row is not None and row.state in {"committed", "stale"}:
                state = "stale" if self._staleness.is_stale(path) else "committed"
                if state != row.state:
                    self._rows[path] = dataclasses.replace(row, state=state)
                    changed.append(self._rows[path])
        return changed


def _still_valid(before: Row, now: Row) -> bool:
    """Whether a row that was read before is still valid after its directory was listed again."""
    if before.is_item != now.is_item:
        return False
    return not now.is_item or (now.unread and before.state == now.state and before.attempt == now.attempt)
