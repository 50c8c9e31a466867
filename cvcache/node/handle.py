"""A handle to a node: its address, the record it is pinned to, and what that record says."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from cvcache import keys, protocol
from cvcache.errors import NotOpen
from cvcache.node import init
from cvcache.node.context import TreeContext, path_of_url
from cvcache.store import MemoryCache, Store, check_key, child_names, node_path, parse_child, parse_url

if TYPE_CHECKING:
    from cvcache.node.commit import Commit

logger = logging.getLogger("cvcache")


class NodeHandle:
    """The part of a `CacheDir` that has an address and a record.

    Parameters
    ----------
    context : TreeContext
        Of the tree the node is in.
    path : str
        Full key of the node in its store, without a scheme.
    also : tuple of NodeHandle
        The same node in other trees; they are read where this one has no result.
    """

    def __init__(self, context: TreeContext, path: str, also: tuple[Self, ...] = ()) -> None:
        self._context = context
        self._path = path
        self._also = also
        self._result_from: Self | None = None  # the one of `also` whose result this handle shows
        self._attempt: protocol.Attempt | None = None
        self._record: protocol.Record | None = None
        self._looked = False
        self._peeked = False  # only to answer a question; the handle may still mean a mere address
        self._computed = False
        self._inherited_key: tuple[Any, str | None] | None = None

    @property
    def inherited_key(self) -> tuple[Any, str | None] | None:
        """Key and digest of a node above that another process has open; a node opened here without a key gets them."""
        return self._inherited_key

    @property
    def store(self) -> Store:
        """The store that holds the node."""
        return self._context.store(self._path)

    @property
    def location(self) -> str:
        """Full key of the node in its store, without a scheme."""
        return self._path

    @property
    def policy(self) -> protocol.Policy:
        """How long to wait for other owners, and how often to ask the store."""
        return self._context.policy

    @property
    def url(self) -> str:
        """The address of the node: a path on disk, or a URL; never with a secret."""
        return self._context.url(self._path)

    @property
    def is_persistent(self) -> bool:
        """Whether results outlive the handle; not so without a cache."""
        return self._context.scheme != "none"

    @property
    def result_url(self) -> str:
        """The address of its result: `url`, or one in a tree given as ``also=``; one LIST and one GET at first."""
        self.record()
        return self._result_node.url

    @property
    def name(self) -> str:
        """The last component of `url`."""
        return self._path.rpartition("/")[2]

    @property
    def parent(self) -> Self:
        """The node above; no I/O.

        Raises
        ------
        InvalidName
            If this is the topmost place of its store that can be a node.
        """
        above = self._path.rpartition("/")[0]
        return self._at(node_path(parse_url(self._context.url(above or "/"))), "..")

    def __truediv__(self, name: str | int | os.PathLike[str]) -> Self:
        """Return the child node `name`, or deeper, ``"a/b"``; no I/O."""
        names = parse_child(name)
        return self._at(check_key("/".join([self._path.rstrip("/"), *names]), str(name)), "/".join(names))

    def sibling(self, name: str) -> Self:
        """Return the sibling `name`; no I/O."""
        return self._at(f"{self._path.rpartition('/')[0]}/{name}", f"../{name}")

    def _at(self, path: str, relative: str) -> Self:
        """Return the node at `path`, which is `relative` to this one."""
        if not self._also:
            return self._with_inherited_key(type(self)(self._context, path))
        paths = ((other, init.resolve_relative(other.location, relative)) for other in self._also)
        others = tuple(other._at(node_path, relative) for other, node_path in paths if node_path)  # noqa: SLF001 - the same class
        return self._with_inherited_key(type(self)(self._context, path, others))

    def _with_inherited_key(self, node: Self) -> Self:
        node._inherited_key = self._inherited_key
        return node

    @property
    def is_address(self) -> bool:
        """Whether this handle means an address and no result: never read, or not committed; no store call."""
        record = self.record() if self._looked or self._attempt is not None else None
        return self._peeked or record is None or record.state != "committed"

    def with_policy(self, policy: protocol.Policy) -> Self:
        """Return a handle to the same node with another policy; no I/O."""
        return self.with_context(policy=policy)

    def with_context(
        self,
        *,
        policy: protocol.Policy | None = None,
        ram: MemoryCache | None = None,
        also: Iterable[Self] = (),
        copy_on_read: bool = False,
    ) -> Self:
        """Return a handle to the same node with another context, see `cdir`; what is not given stays."""
        old = self._context
        context = replace(
            old,
            policy=policy or old.policy,
            ram=ram or old.ram,
            copy_on_read=copy_on_read or old.copy_on_read,
        )
        others = (other.with_context(ram=context.ram) for other in also)
        return type(self)(context, self._path, (*self._also, *others))

    def snapshot(self) -> Self:
        """Return a handle to the node as it is now; one LIST and one GET."""
        return type(self)(self._context, self._path, self._also).refresh()

    def refresh(self) -> Self:
        """Read the newest record and return this handle; one LIST and one GET, for each tree that has no result."""
        self._record, self._looked, self._result_from = protocol.read_newest_record(self.store, self._path), True, None
        self._peeked = False
        if self._also and self.own_state == "absent" and (other := self.find_in_other_trees(None)) is not None:
            self._result_from, self._record = other, other.record()
        return self

    def find_in_other_trees(self, digest: str | None) -> Self | None:
        """Return the same node in one of the `also` trees, if it is complete there with this key digest (None: any).

        One LIST and one GET each.
        """
        for other in self._also:
            try:
                node = other.snapshot()
            except OSError as error:  # a tree that cannot be read counts as empty
                logger.warning("%s cannot be looked at (%s); going on without it", other.url, error)
                continue
            if node.own_state == "committed" and digest in {None, node.digest}:
                return node
        return None

    def pinned_to(self, record: protocol.Record) -> Self:
        """Return a handle to this node that is pinned to `record`; no I/O."""
        node = type(self)(self._context, self._path, self._also)
        node._record, node._looked = record, True  # noqa: SLF001 - the same class
        return node

    def with_result_of(self, other: Self) -> Self:
        """Return a handle to this node that shows the result of `other` as its own; no I/O."""
        node = type(self)(self._context, self._path, self._also)
        node._result_from, node._record, node._looked = other, other.record(), True  # noqa: SLF001 - the same class
        return node

    def record(self) -> protocol.Record | None:
        """Return the record this handle shows; the store is read only the first time."""
        if self._attempt is not None and self._attempt.outcome is not None:
            self._record, self._looked, self._attempt = self._attempt.outcome, True, None
            self._computed = True
        if self._attempt is not None:
            return self._attempt.record
        if not self._looked:
            self.refresh()
            self._peeked = True
        return self._record

    @property
    def _result_node(self) -> Self:
        """The node whose result this handle shows: this one, or one of the `also` trees."""
        return self._result_from._result_node if self._result_from is not None else self  # noqa: SLF001 - the same class

    @property
    def commit(self) -> Commit | None:
        """The commit, or None while the node is not complete."""
        from cvcache.node.commit import Commit  # few who read a node ask for it

        record = self.record()
        return Commit.of(record) if record is not None and record.state == "committed" else None

    @property
    def committed(self) -> bool:
        """Whether the node is complete."""
        record = self.record()
        return record is not None and record.state == "committed"

    @property
    def computed(self) -> bool:
        """Whether the result was computed through this handle, and not read."""
        return self.committed and self._computed

    @property
    def reason(self) -> tuple[str, ...]:
        """Why the newest attempt was started, one difference a line; empty for a node never computed."""
        record = self.record()
        return record.reason if record else ()

    @property
    def error(self) -> Mapping[str, str] | None:
        """Type, message and traceback of the failure the newest attempt ended with; None if it did not."""
        record = self.record()
        if record is None:
            return None
        if record.state == "claimed" and protocol.owner_is_dead(record.owner):
            return {
                "type": "died",
                "message": f"the process died before its commit ({protocol.describe_owner(record)})",
            }
        return record.error

    @property
    def version(self) -> str:
        """The version that an item of this node has in a key; of a node not committed, its attempt."""
        record = self.record()
        if record is None:
            msg = f"{self.url} was never computed, so it cannot be part of a key; compute it first"
            raise NotOpen(msg)
        return (record.version or record.attempt) if record.state == "committed" else record.attempt

    @property
    def digest(self) -> str | None:
        """The digest of the key it was computed with; None if it had none."""
        record = self.record()
        return record.digest if record else None

    @property
    def state(self) -> str:
        """One of absent, running, committed, stale, failed.

        A node whose owner died on this machine is failed. Whether a committed node is stale costs one
        LIST and one GET for each node its key holds an item of.
        """
        state = self.own_state
        outdated = state == "committed" and any(
            not source.committed or source.version != version for source, version in self.sources()
        )
        return "stale" if outdated else state

    @property
    def inputs(self) -> tuple[Mapping[str, str], ...]:
        """The items in the node's key: the URLs of their nodes relative to this one, and their versions."""
        record = self.record()
        return record.inputs if record else ()

    @property
    def own_state(self) -> str:
        """`state` without reading other nodes: a stale node is committed."""
        record = self.record()
        if record is None or record.state in {"released", "removing", "removed"}:
            return "absent"
        if record.state == "claimed":
            return "failed" if protocol.owner_is_dead(record.owner) else "running"
        return record.state

    def sources(self) -> list[tuple[Self, str | None]]:
        """Return the nodes of this store whose items are in the node's key, each with the version of it; no I/O."""
        nodes = []
        for source in self.inputs:
            url = source.get("url", "")
            path = init.resolve_relative(self._path, url) if url else None
            if path is not None:
                nodes.append((self._at(path, url), source.get("version")))
        return nodes

    def children(self) -> list[Self]:
        """Return the child nodes, sorted by name; one LIST."""
        return [self / name for name in child_names(self.store.list(self._path).dirs)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeHandle) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"CacheDir({self.url!r})"

    def __str__(self) -> str:
        """Return the URL, so that ``f"{node}/sub"`` is that of a child."""
        return self.url

    def __fspath__(self) -> str:
        return path_of_url(self.url)

    def __getstate__(self) -> dict[str, Any]:
        record = self.record() if self._looked or self._attempt else None
        key = (record.key, record.digest) if self._attempt is not None and record is not None else self._inherited_key
        return {
            "_context": self._context,
            "_path": self._path,
            "_also": self._also,
            "_result_from": self._result_from,
            "_record": record,
            "_inherited_key": key,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        NodeHandle.__init__(self, state["_context"], state["_path"], state["_also"])
        self._result_from, self._record = state["_result_from"], state["_record"]
        self._inherited_key = state["_inherited_key"]
        self._looked = self._record is not None

    def __cvcache_key__(self) -> keys.Canonical:
        return keys.Canonical({"$node": self.version})

    def __cvcache_input__(self) -> tuple[str, dict[str, str]]:
        return self.result_url, {"version": self.version}
