"""Trees of nodes: read and walk them, ask why, remove them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cvcache.errors import BadRecord, UsageError
from cvcache.node import CacheDir, NoCache, init, item_io
from cvcache.protocol import check_removal, is_foreign, remove_node
from cvcache.store import child_names, is_control
from cvcache.tree.api import cdir

WALK_CONCURRENCY = 16
"""Directories of a tree that are read at the same time."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One directory of a tree, as it was when the tree was read.

    Attributes
    ----------
    node : CacheDir
    depth : int
        0 for the top.
    state : str
        As `CacheDir.state`, but "stale" only if a node of the same tree shows it; "folder" for a directory that only
        leads to nodes, "foreign" for one with other data, "unreadable" for a node whose newest record cannot be read.
    items : mapping
        Item name -> its row.
    children : tuple of TreeEntry
    """

    node: CacheDir
    depth: int
    state: str
    items: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    children: tuple[TreeEntry, ...] = ()

    def walk(self) -> Iterator[TreeEntry]:
        """Yield this entry and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


def read_tree(where: object, *, depth: int | None = None, **storage_options: Any) -> TreeEntry:
    """Return the tree at `where`, at most `depth` levels below it.

    Notes
    -----
    One LIST a directory, and for a node one more and a GET; the directories of a level are read
    concurrently. No chunk of an image is listed.
    """
    top = cdir(where, **storage_options)
    with ThreadPoolExecutor(WALK_CONCURRENCY) as pool:
        level = [(top, _read_directory(top))]
        directories: dict[str, _Directory] = {}
        for _ in range(depth + 1 if depth is not None else 1 << 30):
            directories.update({node.url: directory for node, directory in level})
            children = [node / name for node, directory in level for name in directory.children]
            if not children:
                break
            level = list(zip(children, pool.map(_read_directory, children), strict=True))
    return _make_entry(directories[top.url], 0, directories)


@dataclass(frozen=True, slots=True)
class _Directory:
    node: CacheDir
    state: str
    items: Mapping[str, Mapping[str, Any]]
    children: tuple[str, ...]
    version: str | None
    inputs: tuple[Mapping[str, str], ...]


def _read_directory(node: CacheDir) -> _Directory:
    """Read one directory: one LIST, and for a node one more and a GET."""
    listing = node.store.list(node.location)
    children = child_names(listing.dirs)
    if not any(map(is_control, listing.dirs)):
        return _Directory(node, "foreign" if listing.files else "folder", {}, children, None, ())
    try:
        node.refresh()
    except BadRecord:
        return _Directory(node, "unreadable", {}, children, None, ())
    state = node.own_state
    items = item_io.rows_in_listing(listing) if state == "running" else node.rows()
    return _Directory(node, state, items, children, node.version if state != "absent" else None, node.inputs)


def directory_state(node: CacheDir) -> str:
    """Return what a directory without a node is: absent, folder (it leads to nodes) or foreign; a few LISTs."""
    top = read_tree(node, depth=2)
    if any(entry.state not in {"folder", "foreign"} for entry in top.walk()):
        return "folder"
    if is_foreign(node.store, node.location):
        return "foreign"
    return "folder" if top.children else "absent"


def _make_entry(directory: _Directory, depth: int, directories: Mapping[str, _Directory]) -> TreeEntry:
    urls = [(directory.node / name).url for name in directory.children]
    children = tuple(_make_entry(directories[url], depth + 1, directories) for url in urls if url in directories)
    state = "stale" if directory.state == "committed" and _is_stale(directory, directories) else directory.state
    return TreeEntry(directory.node, depth, state, directory.items, children)


def _is_stale(directory: _Directory, directories: Mapping[str, _Directory]) -> bool:
    for source in directory.inputs:
        path = init.resolve_relative(directory.node.url, source.get("url", ""))
        upstream = directories.get(path) if path else None
        if upstream is not None and (upstream.state != "committed" or upstream.version != source.get("version")):
            return True
    return False


def cdir_walk(where: object, **storage_options: Any) -> Iterator[CacheDir]:
    """Yield the nodes of the tree at `where`, parents first; what only leads to nodes is left out."""
    top = cdir(where, **storage_options)
    if isinstance(top, NoCache):
        yield from top.walk()
        return
    for entry in read_tree(top).walk():
        if entry.state not in {"folder", "foreign"}:
            yield entry.node


def cdir_remove(where: object, *, recursive: bool = False, force: bool = False, **storage_options: Any) -> list[str]:
    """Remove the node at `where`: what cvcache wrote there, and nothing else.

    Parameters
    ----------
    where : str, os.PathLike, UPath or CacheDir
    recursive : bool
        Remove the nodes below it first. Without it a node with nodes below is refused.
    force : bool
        Remove it from under a live owner, whose result is then discarded.
    **storage_options
        What the store takes.

    Returns
    -------
    list of str
        The URLs of the removed nodes.

    Raises
    ------
    UsageError
        If there are nodes below and `recursive` is not given; names them.
    NodeBusy
        If a live owner holds one of the nodes.
    NotACacheDir
        If `where` holds foreign data and no node.

    Notes
    -----
    Of a node: two PUT, two LIST and one delete request per 1,000 objects. The log stays, as the
    mark of the removal.
    """
    top = cdir(where, **storage_options)
    if isinstance(top, NoCache):
        return []
    nodes = [node for node in cdir_walk(top) if node != top]
    present = [node for node in nodes if node.own_state != "absent"]
    if present and not recursive:
        names = ", ".join(node.url for node in present[:5])
        msg = f"{top.url} has {len(present)} nodes below it ({names}); remove them first, or give recursive=True"
        raise UsageError(msg)
    deepest_first = [*sorted(nodes, key=lambda node: node.url.count("/"), reverse=True), top]
    if nodes:
        for n in deepest_first:
            check_removal(n.store, n.location, n.policy, force=force)
    return [n.url for n in deepest_first if remove_node(n.store, n.location, n.policy, force=force)]
