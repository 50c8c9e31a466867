"""Which rows were made from which nodes, and whether these are still what they were, as far as somebody has looked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from cvcache.browse.rows import Row
from cvcache.node import CacheDir

Version = tuple[bool, str]
"""Whether a node is committed, and its version."""
GONE: Version = (False, "")


def version_of(node: CacheDir) -> Version:
    """Return what the record of a node says; no store call for one that was looked at."""
    return (node.committed, node.version) if node.record() is not None else GONE


class Lineages:
    """What is known of the sources of rows; the caller sees to it that one thread at a time uses it."""

    def __init__(self) -> None:
        self._seen: dict[str, Version] = {}
        self._sources: dict[str, tuple[tuple[str, str | None], ...]] = {}
        self._made: dict[str, set[str]] = {}

    def knows(self, place: str) -> bool:
        """Whether somebody has looked at the node at this location."""
        return place in self._seen

    def take(self, row: Row) -> set[str]:
        """Note what was read of a directory, and return the paths whose state may be another one by it."""
        if row.is_item or row.state in {"", "unreadable"}:
            return set()
        node = row.record is not None
        sources = [(source.location, version) for source, version in row.node.sources()] if node else []
        self._sources[row.path] = tuple(sources)
        for place, _ in sources:
            self._made.setdefault(place, set()).add(row.path)
        return {row.path, *self.see(row.node.location, version_of(row.node) if node else GONE)}

    def see(self, place: str, version: Version) -> set[str]:
        """Note which version a node has, and return the paths whose state may be another one by it."""
        before, self._seen[place] = self._seen.get(place), version
        return set(self._made.get(place, ())) if before != version else set()

    def is_stale(self, path: str) -> bool:
        """Whether a source of the row is not what it was when the row was made; no, where nobody has looked at it."""
        return any(
            self._seen.get(place, (True, version)) != (True, version) for place, version in self._sources.get(path, ())
        )

    def made_from(self, places: Collection[str]) -> Iterator[str]:
        """Yield the paths of what was made from the nodes at these locations."""
        for place in places:
            yield from self._made.get(place, ())

    def forget(self, rows: Iterable[Row]) -> set[str]:
        """Note that directories are gone, and return the paths whose state may be another one by it."""
        moved: set[str] = set()
        for row in rows:
            self._sources.pop(row.path, None)
            if not row.is_item:
                moved |= self.see(row.node.location, GONE)
        return moved
