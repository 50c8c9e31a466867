"""Which rows were made from which nodes, and which rows are stale, as far as the nodes were read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from cvcache.browse.rows import Row
from cvcache.node import CacheDir

NodeVersion = tuple[bool, str]
"""Whether a node is committed, and its version: what a record says of it."""
REMOVED: NodeVersion = (False, "")


def version_of(node: CacheDir) -> NodeVersion:
    """Return the version in the record of a node; no store call if the record was read before."""
    return (node.committed, node.version) if node.record() is not None else REMOVED


class StalenessTracker:
    """Knows the versions of nodes and the sources of rows, and which rows a new version affects; not thread-safe."""

    def __init__(self) -> None:
        self._versions: dict[str, NodeVersion] = {}
        self._sources: dict[str, tuple[tuple[str, str | None], ...]] = {}
        self._dependents: dict[str, set[str]] = {}

    def has_version(self, location: str) -> bool:
        """Whether the node at this location was read."""
        return location in self._versions

    def update(self, row: Row) -> set[str]:
        """Take over a row that was read, and return the paths whose state this may change."""
        if row.is_item or row.state in {"", "unreadable"}:
            return set()
        node = row.record is not None
        sources = [(source.location, version) for source, version in row.node.sources()] if node else []
        self._sources[row.path] = tuple(sources)
        for location, _ in sources:
            self._dependents.setdefault(location, set()).add(row.path)
        return {row.path, *self.set_version(row.node.location, version_of(row.node) if node else REMOVED)}

    def set_version(self, location: str, version: NodeVersion) -> set[str]:
        """Set the version of a node, and return the paths whose state this may change."""
        before, self._versions[location] = self._versions.get(location), version
        return set(self._dependents.get(location, ())) if before != version else set()

    def is_stale(self, path: str) -> bool:
        """Whether a source of the row has another version than in its key; unread sources count as equal."""
        return any(
            self._versions.get(location, (True, version)) != (True, version)
            for location, version in self._sources.get(path, ())
        )

    def dependents(self, locations: Collection[str]) -> Iterator[str]:
        """Yield the paths of rows that were made from the nodes at these locations."""
        for location in locations:
            yield from self._dependents.get(location, ())

    def remove(self, rows: Iterable[Row]) -> set[str]:
        """Take over that directories are removed, and return the paths whose state this may change."""
        affected: set[str] = set()
        for row in rows:
            self._sources.pop(row.path, None)
            if not row.is_item:
                affected |= self.set_version(row.node.location, REMOVED)
        return affected
