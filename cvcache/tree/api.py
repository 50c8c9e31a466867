"""The verbs of a tree: `cdir`, `cdir_init`, `cdir_commit`, `cdir_query`."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cvcache.errors import UnknownOption, UsageError, did_you_mean
from cvcache.node import Address, CacheDir, TreeContext, address_of, is_handle, open_node, read_snapshot
from cvcache.protocol import Policy
from cvcache.store import MemoryCache, merge_options, resolve_node

if TYPE_CHECKING:
    from cvcache.node import Commit

_OWN_OPTIONS = ("on_stale", "force", "wait", "policy", "recursive", "ram", "also", "copy_on_read")


def cdir(
    where: object,
    *,
    policy: Policy | None = None,
    ram: int | str | None = None,
    also: Iterable[object] | None = (),
    copy_on_read: bool = False,
    **storage_options: Any,
) -> CacheDir:
    """Return a handle to the node at `where`; no I/O.

    Parameters
    ----------
    where : str, os.PathLike, UPath, CacheDir or None
        A path or any URL fsspec knows. None means no cache: everything runs, nothing is stored.
    policy : Policy, optional
        Timeouts, and what calls do that do not say it themselves; by default what the environment says.
    ram : int or str, optional
        Size of a cache in memory for what is read, such as ``"4GB"``: the next read of the same commit costs no
        request. Shared by all nodes below; never part of a pickle.
    also : iterable of str, os.PathLike, UPath or CacheDir
        Other trees that are searched for a result, in this order, before it is computed: node by node, at the same
        relative path. They are only read. Give a `CacheDir` for one that has storage options.
    copy_on_read : bool
        Copy a result of another tree into this one, so that the next run reads it here.
    **storage_options
        What the store takes: credentials, endpoint; ``storage_options={...}`` gives them as a dict. They are never
        written anywhere, and hold for this handle and what is reached through it: without options it is the environment
        that counts, whatever other handles were given.

    Raises
    ------
    InvalidName
        For a spelling no store keeps, and for places that must never be a node.
    """
    address = resolve_address(where, policy=policy, ram=ram, also=also, copy_on_read=copy_on_read, **storage_options)
    return where if isinstance(where, CacheDir) and where.__cvcache_address__() is address else CacheDir(address)


def resolve_address(
    where: object,
    *,
    policy: Policy | None = None,
    ram: int | str | None = None,
    also: Iterable[object] | None = (),
    copy_on_read: bool = False,
    **storage_options: Any,
) -> Address:
    """Return the address of the node at `where`; no I/O. The parameters are those of `cdir`."""
    options = merge_options(storage_options)
    _check_options(options)
    if isinstance(also, (str, os.PathLike)):
        msg = f"also takes a list of places, such as also=[{str(also)!r}]"
        raise UsageError(msg)
    if policy is not None and not isinstance(policy, Policy):
        msg = f"policy is a Policy, such as Policy(ttl=30), not {policy!r}"  # type: ignore[unreachable]  # as users call it
        raise UsageError(msg)
    address = _resolve(where, options)
    others = [resolve_address(other) for other in also or ()]
    if policy is None and ram is None and not others and not copy_on_read:
        return address
    old = address.context
    memory = old.ram if ram is None else MemoryCache(ram)
    there = tuple((address.path, other.with_context(ram=memory)) for other in others)
    return address.with_context(
        policy=policy or old.policy,
        ram=memory,
        also=(*old.also, *there),
        copy_on_read=copy_on_read or old.copy_on_read,
    )


def _resolve(where: object, storage_options: Mapping[str, Any]) -> Address:
    if is_handle(where):
        address = address_of(where)
        if storage_options:
            given = ", ".join(sorted(storage_options))
            msg = f"{address.url} has its storage options from cdir(); {given} cannot be given again"
            raise UnknownOption(msg)
        return address
    if where is None:
        return Address(TreeContext("none", uncached=weakref.WeakValueDictionary()), "nocache")
    scheme, path, url_options = resolve_node(where)
    return Address(TreeContext(scheme, {**url_options, **storage_options}), path)


def cdir_init(
    where: object,
    key: object = None,
    *,
    on_stale: str | None = None,
    force: bool | str = False,
    wait: bool | None = None,
    policy: Policy | None = None,
    **storage_options: Any,
) -> CacheDir:
    """Open the node at `where` for writing, or return it if it is complete and its key matches.

    Parameters
    ----------
    where : str, os.PathLike, UPath, CacheDir or None
        The node. None means no cache.
    key : object, optional
        The plain values that must match for a committed node to be reused; an Item in it stands for
        the version of its node. None matches any committed node. A child opened without a key while its
        parent is open in this process inherits the parent's.
    on_stale : {"recompute", "error", "new"}, optional
        What a changed key does, by default as the policy says: open the node again, where the result stands until the
        new one is committed, raise `NodeStale`, or go to a sibling named after the difference.
    force : bool or "alone"
        Open a committed node again in any case. What is computed from it runs again too, since the result counts as
        a new version; with ``"alone"`` it counts as the version it had. Never takes a node from a live owner.
    wait : bool, optional
        Whether to wait for a live owner, by default as the policy says; else `NodeBusy`.
    policy : Policy, optional
        Timeouts, and what calls do that do not say it themselves; by default what the environment says.
    **storage_options
        What the store takes.

    Returns
    -------
    CacheDir
        ``.committed`` says whether the result for this key is there. If not, the handle is open for writing and has
        no ``.commit``, whatever stands meanwhile for who only looks.

    Raises
    ------
    NotACacheDir
        If foreign data lies there; nothing is ever deleted that cvcache did not create.
    NodeBusy, NodeStale, RecursiveNode, NotExclusive
        As the names say.

    Notes
    -----
    A committed node costs one LIST and one GET, or one GET and one STAT where this process has read it before; a
    fresh one at most five requests. The store is asked once per process whether it elects one winner.
    """
    if "secret" in storage_options:
        msg = "here key is the node's key; give credentials as storage_options={'key': ..., 'secret': ...}"
        raise UnknownOption(msg)
    address = resolve_address(where, policy=policy, **storage_options)
    node = open_node(address, key, on_stale=on_stale, force=force, wait=wait)
    return CacheDir(node.address, node)


def cdir_commit(where: object, *, meta: Mapping[str, Any] | None = None, **storage_options: Any) -> Commit:
    """Commit the node at `where`, which this process opened: from now on it is complete.

    Parameters
    ----------
    where : str, os.PathLike, UPath or CacheDir
        The node, by its handle or by its URL.
    meta : mapping, optional
        Plain values to keep with the commit.
    **storage_options
        Accepted so that it reads like `cdir_init`; the open node knows its store.

    Raises
    ------
    NotOpen
        If this process holds no attempt on the node.
    LeaseLost
        If another owner took the node over; this result is discarded.

    Notes
    -----
    Two PUT, and one LIST if the step wrote files through ``open()`` or ``path()``.
    """
    node = cdir(where, **({} if isinstance(where, CacheDir) else storage_options))
    return node.__cvcache_commit__(meta)


def cdir_query(where: object, **storage_options: Any) -> CacheDir:
    """Return the node at `where` as it is now; only reads.

    Its ``.commit`` is the one that stands, also while a newer attempt runs or after it failed; ``.state``, ``.reason``
    and ``.error`` are those of the newest attempt.

    Notes
    -----
    One LIST and, if there is a log, one GET; one GET more where an attempt followed the commit that stands.
    """
    address = resolve_address(where, **storage_options)
    return CacheDir(address, read_snapshot(address))


def _check_options(options: Mapping[str, Any]) -> None:
    """Raise `UnknownOption` for a storage option that is an option of cvcache, or one misspelt."""
    for option in options:
        if option in _OWN_OPTIONS:
            msg = f"{option!r} is no storage option; cdir_init takes on_stale, force, wait and policy"
            raise UnknownOption(msg)
        if hint := did_you_mean(option, _OWN_OPTIONS):
            msg = f"{option!r} is no storage option{hint}"
            raise UnknownOption(msg)
