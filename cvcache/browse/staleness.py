"""Which rows were made from which nodes, and which rows are stale, as far as the nodes were read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from cvcache.browse.rows import Row
from cvcache.node import Address


class StalenessTracker:
    """Knows the versions of nodes and the inputs of rows, and which rows a new version affects; not thread-safe."""

    def __init__(self) -> None:
        self._versions: dict[Address, str | None] = {}
        self._rows: dict[str, Row] = {}
        self._dependents: dict[Address, set[str]] = {}

    def has_version(self, node: Address) -> bool:
        """Whether the node was read."""
        return node in self._versions

    def update(self, row: Row) -> set[str]:
        """Take over a row that was read, and return the paths whose state this may change."""
        if row.is_item or row.state in {"", "unreadable"}:
            return set()
        self._rows[row.path] = row
        for source, _ in row.node.inputs():
            self._dependents.setdefault(source, set()).add(row.path)
        return {row.path, *self.set_version(row.node.address, row.node.committed_version)}

    def set_version(self, node: Address, version: str | None) -> set[str]:
        """Set the version of a node, None if it has no result; return the paths whose state this may change."""
        changed = node not in self._versions or self._versions[node] != version
        self._versions[node] = version
        return set(self._dependents.get(node, ())) if changed else set()

    def is_stale(self, path: str) -> bool:
        """Whether an input of the row has another version than in its key; one that was not read counts as equal."""
        row = self._rows.get(path)
        return row is not None and row.node.is_outdated(self._versions.get)

    def dependents(self, nodes: Collection[Address]) -> Iterator[str]:
        """Yield the paths of rows that were made from these nodes."""
        for node in nodes:
            yield from self._dependents.get(node, ())

    def remove(self, rows: Iterable[Row]) -> set[str]:
        """Take over that directories are removed, and return the paths whose state this may change."""
        affected: set[str] = set()
        for row in rows:
            self._rows.pop(row.path, None)
            if not row.is_item:
                affected |= self.set_version(row.node.address, None)
        return affected
