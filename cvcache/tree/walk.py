"""Trees of nodes: read and walk them, remove them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cvcache.errors import BadRecord, UsageError
from cvcache.node import Address, CacheDir, Snapshot, item_io, read_snapshot
from cvcache.protocol import check_removal, is_foreign, remove_node
from cvcache.store import Listing, child_names, is_control, is_item_dir, layout
from cvcache.tree.api import resolve_address

WALK_CONCURRENCY = 16
"""Directories of a tree that are read at the same time."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One directory of a tree, as it was when the tree was read.

    Attributes
    ----------
    node : Snapshot
    depth : int
        0 for the top.
    state : str
        As `CacheDir.state`, but "stale" only if a node of the same tree shows it; "folder" for a directory that only
        leads to nodes, "foreign" for one with other data, "unreadable" for a node whose newest record cannot be read.
    items : mapping
        Item name -> its row.
    children : tuple of TreeEntry
    """

    node: Snapshot
    depth: int
    state: str
    items: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    children: tuple[TreeEntry, ...] = ()

    def walk(self) -> Iterator[TreeEntry]:
        """Yield this entry and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class _Directory:
    """One directory of a tree: what is in it, and the node that it is, if it is one.

    Attributes
    ----------
    node : Snapshot
        Without a record if it is no node, or if its newest record cannot be read.
    state : str
        Of the node, as far as its own record says; else absent, folder, foreign or unreadable.
    listing : Listing
    """

    node: Snapshot
    state: str
    listing: Listing

    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        """Return item name -> row; one GET if they are in an inventory of their own."""
        record = self.node.record
        unfinished = record is not None and record.state == "claimed"
        in_place = layout.data_root(self.node.path, record) == self.node.path
        return item_io.rows_in_listing(self.listing) if unfinished and in_place else item_io.read_rows(self.node)


def _read_directory(address: Address) -> _Directory:
    """Read one directory.

    Notes
    -----
    One LIST, and for a node one more and a GET.
    """
    listing = address.store.list(address.path)
    if not any(map(is_control, listing.dirs)):
        return _Directory(Snapshot(address), state_of_listing(listing), listing)
    try:
        node = read_snapshot(address)
    except BadRecord:
        return _Directory(Snapshot(address), "unreadable", listing)
    return _Directory(node, node.state, listing)


def state_of_listing(listing: Listing) -> str:
    """Return what a directory without records is: absent, a folder (it has only directories) or foreign."""
    if listing.files or any(map(is_item_dir, listing.dirs)):
        return "foreign"
    return "folder" if listing.dirs else "absent"


def read_tree(where: object, *, depth: int | None = None, **storage_options: Any) -> TreeEntry:
    """Return the tree at `where`, at most `depth` levels below it.

    Notes
    -----
    One LIST a directory, and for a node one more and a GET; the directories of a level are read
    concurrently. No chunk of an image is listed.
    """
    top = resolve_address(where, **storage_options)
    with ThreadPoolExecutor(WALK_CONCURRENCY) as pool:
        level = [_read_directory(top)]
        directories: dict[Address, _Directory] = {}
        for _ in range(depth + 1 if depth is not None else 1 << 30):
            directories.update({directory.node.address: directory for directory in level})
            children = [one.node.address.child(name) for one in level for name in child_names(one.listing.dirs)]
            if not children:
                break
            level = list(pool.map(_read_directory, children))
        rows = dict(zip(directories, pool.map(_Directory.rows, directories.values()), strict=True))
    versions = {address: directory.node.committed_version for address, directory in directories.items()}

    def entry(address: Address, depth: int) -> TreeEntry:
        one = directories[address]
        below = [address.child(name) for name in child_names(one.listing.dirs)]
        children = tuple(entry(child, depth + 1) for child in below if child in directories)
        state = one.state if one.node.record is None else one.node.state_among(versions.get)
        return TreeEntry(one.node, depth, state, rows[address], children)

    return entry(top, 0)


def directory_state(where: object) -> str:
    """Return what a directory without a node is: absent, folder (it leads to nodes) or foreign; a few LISTs."""
    top = read_tree(where, depth=2)
    if any(entry.state not in {"absent", "folder", "foreign"} for entry in top.walk()):
        return "folder"
    if is_foreign(top.node.store, top.node.path):
        return "foreign"
    return "folder" if top.children else "absent"


def cdir_walk(where: object, **storage_options: Any) -> Iterator[CacheDir]:
    """Yield the nodes of the tree at `where`, parents first; what only leads to nodes is left out."""
    for entry in _node_entries(where, storage_options):
        yield CacheDir(entry.node.address, None if entry.state == "unreadable" else entry.node)


def walk_snapshots(where: object, **storage_options: Any) -> Iterator[Snapshot]:
    """Yield what `cdir_walk` reads of each node; `BadRecord` for one that cannot be read."""
    for entry in _node_entries(where, storage_options):
        yield read_snapshot(entry.node.address) if entry.state == "unreadable" else entry.node


def _node_entries(where: object, storage_options: Mapping[str, Any]) -> Iterator[TreeEntry]:
    top = resolve_address(where, **storage_options)
    if top.context.uncached is not None:
        below = [path for path in sorted(top.context.uncached) if f"{path}/".startswith(f"{top.path}/")]
        nodes = [read_snapshot(top.at(path)) for path in below]
        yield from (TreeEntry(node, 0, node.state) for node in nodes if node.committed)
        return
    for entry in read_tree(top).walk():
        if entry.node.record is not None or entry.state == "unreadable":
            yield entry


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
    top = resolve_address(where, **storage_options).with_context(also=())  # what lies in other trees stays
    if top.context.uncached is not None:
        return []
    nodes = [node for node in walk_snapshots(top) if node.address != top]
    present = [node for node in nodes if node.state != "absent"]
    if present and not recursive:
        names = ", ".join(node.url for node in present[:5])
        msg = f"{top.url} has {len(present)} nodes below it ({names}); remove them first, or give recursive=True"
        raise UsageError(msg)
    below = sorted((node.address for node in nodes), key=lambda address: address.url.count("/"), reverse=True)
    deepest_first = [*below, top]
    if nodes:
        for one in deepest_first:
            check_removal(one.store, one.path, one.context.policy, force=force)
    return [one.url for one in deepest_first if remove_node(one.store, one.path, one.context.policy, force=force)]
