"""Copies of whole trees, or of parts of them."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from cvcache.errors import UsageError
from cvcache.node import CacheDir, copy_items_into
from cvcache.protocol import Attempt, NodeRequest, Request, Sources, obtain_node
from cvcache.tree.api import cdir
from cvcache.tree.walk import cdir_walk


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
    top, target_top, copied = cdir(where, **storage_options), cdir(target), []
    if f"{target_top.url}/".startswith(f"{top.url}/"):
        msg = f"{target_top.url} lies in {top.url}, so that a copy would be copied again; give a place outside"
        raise UsageError(msg)
    patterns = [only] if isinstance(only, str) else None if only is None else list(only)
    for node in cdir_walk(top):
        names = _names_to_copy(node, patterns)
        if node.own_state != "committed" or (only is not None and not names):
            continue
        relative = node.location.removeprefix(top.location).strip("/")
        target_node = target_top / relative if relative else target_top
        present = target_node.snapshot()
        if (
            present.result_url == target_node.url
            and present.own_state == "committed"
            and present.version == node.version
        ):
            if names <= present.rows().keys():
                continue
            names |= present.rows().keys() & node.rows().keys()
        if (attempt := _open_copy(node, target_node, whole=names >= node.rows().keys())) is not None:
            copy_items_into(attempt, node, names)
            copied.append(target_node)
    return copied


def _names_to_copy(node: CacheDir, patterns: list[str] | None) -> set[str]:
    rows = node.committed_rows()
    if patterns is None:
        return {name for name, row in rows.items() if row.get("track", True)}
    return {name for name in rows if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _open_copy(node: CacheDir, target: CacheDir, *, whole: bool) -> Attempt | None:
    """Return an attempt on `target` for a copy of `node`, without its key for a part of it; None if `node` is gone."""
    record = node.record()
    if record is None:
        return None
    node_request = NodeRequest(
        Request(record.digest if whole else None, force=True),
        record.key if whole else None,
        lambda: Sources(record.inputs),
    )
    result = obtain_node(target.store, target.location, node_request, target.policy)
    return result if isinstance(result, Attempt) else None
