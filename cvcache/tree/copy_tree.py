"""Copies of whole trees, or of parts of them."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from cvcache.errors import UsageError
from cvcache.node import Address, CacheDir, Snapshot, copy_items_into, item_io, read_snapshot
from cvcache.protocol import Attempt, NodeRequest, Request, Sources, obtain_node
from cvcache.tree.api import resolve_address
from cvcache.tree.walk import walk_snapshots


def cdir_copy(
    where: object, target: object, *, only: Iterable[str] | None = None, **storage_options: Any
) -> list[CacheDir]:
    """Copy the committed nodes at and below `where` to `target`, where scripts find them as if computed there.

    A node copied in part can be read, but has no key, so that a script computes it again.

    Parameters
    ----------
    where, target : str, os.PathLike, UPath or CacheDir
        Give a `CacheDir` for one that has storage options of its own.
    only : iterable of str, optional
        Patterns of item names, such as ``"*.csv"``; by default all items but those written with ``track=False``. A
        node without such an item is left out.
    **storage_options
        What the store of `where` takes.

    Returns
    -------
    list of CacheDir
        The nodes that were copied; one that `target` has in the same version is not.

    Raises
    ------
    NodeBusy, NotACacheDir
        If another owner has a node of `target` open, or other data is at its path.
    UsageError
        If `target` lies in `where`.
    ItemDamaged
        If an item is not what its commit vouched for.

    Notes
    -----
    Per object one GET and one PUT, or one copy request within a store.
    """
    top, target_top, copied = resolve_address(where, **storage_options), resolve_address(target), []
    if f"{target_top.url}/".startswith(f"{top.url}/") and top.context.options == target_top.context.options:
        msg = f"{target_top.url} lies in {top.url}, so that a copy would be copied again; give a place outside"
        raise UsageError(msg)
    if target_top.context.uncached is not None:
        return []
    patterns = [only] if isinstance(only, str) else None if only is None else list(only)
    for node in walk_snapshots(top):
        names = _names_to_copy(node, patterns)
        if not node.committed or (only is not None and not names):
            continue
        rows = item_io.read_rows(node)
        relative = node.address.path.removeprefix(top.path).strip("/")
        address = target_top.child(relative) if relative else target_top
        present = read_snapshot(address)
        if present.other is None and present.committed and present.version == node.version:
            present_rows = item_io.read_rows(present)
            if names <= present_rows.keys():
                continue
            names |= present_rows.keys() & rows.keys()
        if (attempt := _open_copy(node, address, whole=names >= rows.keys())) is not None:
            copy_items_into(attempt, node, names)
            copied.append(CacheDir(address))
    return copied


def _names_to_copy(node: Snapshot, patterns: list[str] | None) -> set[str]:
    rows = item_io.committed_rows(node)
    if patterns is None:
        return {name for name, row in rows.items() if row.get("track", True)}
    return {name for name in rows if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _open_copy(node: Snapshot, target: Address, *, whole: bool) -> Attempt | None:
    """Return an attempt on `target` for a copy of `node`, without its key for a part of it; None if `node` is gone."""
    record = node.record
    if record is None:
        return None
    node_request = NodeRequest(
        Request(record.digest if whole else None, force=True),
        record.key if whole else None,
        lambda: Sources(record.inputs),
    )
    result = obtain_node(target.store, target.path, node_request, target.context.policy)
    return result if isinstance(result, Attempt) else None
