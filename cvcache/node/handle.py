"""A handle to a node: where it lies, by which record it goes, and what that says."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

from cvcache.errors import NotOpen
from cvcache.keys import Canonical
from cvcache.node import init
from cvcache.node.commit import Commit
from cvcache.node.context import TreeContext
from cvcache.protocol import Attempt, Policy, Record, describe_owner, is_dead, read_newest
from cvcache.store import MemoryCache, Store, check_key, check_node_name, child_names

logger = logging.getLogger("cvcache")


class NodeHandle:
    """The part of a `CacheDir` that knows where it lies and by which record it goes.

    Parameters
    ----------
    access : Access
        Of the tree the node is in.
    path : str
        Full key of the node in its store, without a scheme.
    also : tuple of NodeHandle
        The same node in other trees, which are looked at where this one has no result.
    """

    def __init__(self, access: TreeContext, path: str, also: tuple[Self, ...] = ()) -> None:
        self._access = access
        self._path = path
        self._also = also
        self._found: Self | None = None  # the one of `also` whose record this handle goes by
        self._attempt: Attempt | None = None
        self._record: Record | None = None
        self._looked = False
        self._peeked = False  # looked at on the way, which says nothing of what it stands for
        self._computed = False
        self._lent: tuple[Any, str | None] | None = None

    @property
    def lent(self) -> tuple[Any, str | None] | None:
        """Key and digest that a node opened here without one has from a node above, open in another process."""
        return self._lent

    @property
    def store(self) -> Store:
        """The store that keeps the node."""
        return self._access.store(self._path)

    @property
    def location(self) -> str:
        """Full key of the node in its store, without a scheme."""
        return self._path

    @property
    def policy(self) -> Policy:
        """How long the node waits for whom."""
        return self._access.policy

    @property
    def url(self) -> str:
        """Where the node lies: a path on disk, or a URL; never with a secret."""
        return self._access.url(self._path)

    @property
    def kept(self) -> bool:
        """Whether results outlive the handle; not so without a cache."""
        return self._access.scheme != "none"

    @property
    def found_at(self) -> str:
        """Where its result lies: `url`, or that of a place given as ``also=``; one LIST and one GET the first time."""
        self._newest()
        return self._there.url

    @property
    def name(self) -> str:
        """The last component of `url`."""
        return self._path.rpartition("/")[2]

    def __truediv__(self, name: str) -> Self:
        """Return the child node `name`, or deeper, ``"a/b"``; no I/O."""
        names = [check_node_name(part) for part in name.split("/")]
        return self._at(check_key("/".join([self._path.rstrip("/"), *names]), name), "/".join(names))

    def beside(self, name: str) -> Self:
        """Return the sibling `name`; no I/O."""
        return self._at(f"{self._path.rpartition('/')[0]}/{name}", f"../{name}")

    def _at(self, path: str, relative: str) -> Self:
        """Return the node at `path`, which is at `relative` from here."""
        if not self._also:
            return self._lending(type(self)(self._access, path))
        also = ((other, init.resolve(other.location, relative)) for other in self._also)
        others = tuple(other._at(found, relative) for other, found in also if found)  # noqa: SLF001 - the same class
        return self._lending(type(self)(self._access, path, others))

    def _lending(self, below: Self) -> Self:
        below._lent = self._lent
        return below

    @property
    def is_place(self) -> bool:
        """Whether this handle says only where a node lies: it was not looked at, or is not committed; no store call."""
        record = self._newest() if self._looked or self._attempt is not None else None
        return self._peeked or record is None or record.state != "committed"

    def with_policy(self, policy: Policy) -> Self:
        """Return a handle to the same node that waits and asks as `policy` says; no I/O."""
        return self.reached(policy=policy)

    def reached(
        self,
        *,
        policy: Policy | None = None,
        ram: MemoryCache | None = None,
        also: Iterable[Self] = (),
        copy_on_read: bool = False,
    ) -> Self:
        """Return a handle to the same node that is reached in another way, see `cdir`; what is not given stays."""
        mine = self._access
        access = replace(
            mine,
            policy=policy or mine.policy,
            ram=ram or mine.ram,
            copy_on_read=copy_on_read or mine.copy_on_read,
        )
        others = (other.reached(ram=access.ram) for other in also)
        return type(self)(access, self._path, (*self._also, *others))

    def snapshot(self) -> Self:
        """Return a handle to the node as it is now; one LIST and one GET."""
        return type(self)(self._access, self._path, self._also).refresh()

    def refresh(self) -> Self:
        """Look at the node again and return this handle; one LIST and one GET, for each place that has no result."""
        self._record, self._looked, self._found = read_newest(self.store, self._path), True, None
        self._peeked = False
        if self._also and self.own_state == "absent" and (there := self.elsewhere(None)) is not None:
            self._found, self._record = there, there.record()
        return self

    def elsewhere(self, digest: str | None) -> Self | None:
        """Return the same node in one of the other places, if it is complete there with this key digest (None: any).

        One LIST and one GET each.
        """
        for other in self._also:
            try:
                node = other.snapshot()
            except OSError as error:  # what cannot be reached has nothing for us
                logger.warning("%s cannot be looked at (%s); going on without it", other.url, error)
                continue
            if node.own_state == "committed" and digest in {None, node.digest}:
                return node
        return None

    def pinned_to(self, record: Record) -> Self:
        """Return a handle to this node that goes by `record`; no I/O."""
        node = type(self)(self._access, self._path, self._also)
        node._record, node._looked = record, True  # noqa: SLF001 - the same class
        return node

    def going_by(self, other: Self) -> Self:
        """Return a handle to this node that takes the result of `other` for its own; no I/O."""
        node = type(self)(self._access, self._path, self._also)
        node._found, node._record, node._looked = other, other.record(), True  # noqa: SLF001 - the same class
        return node

    def _newest(self) -> Record | None:
        """Return the record this handle goes by, looking at the store only the first time."""
        if self._attempt is not None and self._attempt.fate is not None:
            self._record, self._looked, self._attempt = self._attempt.fate, True, None
            self._computed = True
        if self._attempt is not None:
            return self._attempt.record
        if not self._looked:
            self.refresh()
            self._peeked = True
        return self._record

    @property
    def _there(self) -> Self:
        """Where the result lies that this handle goes by."""
        return self._found._there if self._found is not None else self  # noqa: SLF001 - the same class

    @property
    def commit(self) -> Commit | None:
        """The commit, or None while the node is not complete."""
        record = self._newest()
        return Commit.of(record) if record is not None and record.state == "committed" else None

    @property
    def committed(self) -> bool:
        """Whether the node is complete."""
        record = self._newest()
        return record is not None and record.state == "committed"

    @property
    def computed(self) -> bool:
        """Whether the result was computed through this handle, and not found."""
        return self.committed and self._computed

    @property
    def reason(self) -> tuple[str, ...]:
        """Why the newest attempt was begun, one difference a line; empty for a node never computed."""
        record = self._newest()
        return record.reason if record else ()

    @property
    def error(self) -> Mapping[str, str] | None:
        """Type, message and traceback of the failure the newest attempt ended with; None if it did not."""
        record = self._newest()
        if record is None:
            return None
        if record.state == "claimed" and is_dead(record.owner):
            return {"type": "died", "message": f"the process died before its commit ({describe_owner(record)})"}
        return record.error

    @property
    def version(self) -> str:
        """What a key that holds an item of this node stands for; of a node not committed, its attempt."""
        record = self._newest()
        if record is None:
            msg = f"{self.url} was never computed, so it cannot be part of a key; compute it first"
            raise NotOpen(msg)
        return (record.version or record.attempt) if record.state == "committed" else record.attempt

    @property
    def digest(self) -> str | None:
        """The digest of the key it was computed with; None if it had none."""
        record = self._newest()
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
        """The items in the node's key: where their nodes lie relative to this one, and their versions."""
        record = self._newest()
        return record.inputs if record else ()

    @property
    def own_state(self) -> str:
        """`state` without a look at other nodes: a stale node is committed."""
        record = self._newest()
        if record is None or record.state in {"released", "removing", "removed"}:
            return "absent"
        if record.state == "claimed":
            return "failed" if is_dead(record.owner) else "running"
        return record.state

    def sources(self) -> list[tuple[Self, str | None]]:
        """Return the nodes of this store that the node's key holds items of, and the version of each in it; no I/O."""
        found = []
        for source in self.inputs:
            url = source.get("url", "")
            path = init.resolve(self._path, url) if url else None
            if path is not None:
                found.append((self._at(path, url), source.get("version")))
        return found

    def children(self) -> list[Self]:
        """Return the child nodes, sorted by name; one LIST."""
        return [self / name for name in child_names(self.store.list(self._path).dirs)]

    def record(self) -> Record | None:
        """Return the record this handle goes by."""
        return self._newest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeHandle) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"CacheDir({self.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        record = self._newest() if self._looked or self._attempt else None
        kept = {"_access": self._access, "_path": self._path, "_also": self._also, "_found": self._found}
        lent = (record.key, record.digest) if self._attempt is not None and record is not None else self._lent
        return {**kept, "_record": record, "_lent": lent}

    def __setstate__(self, state: dict[str, Any]) -> None:
        NodeHandle.__init__(self, state["_access"], state["_path"], state["_also"])
        self._found, self._record, self._lent = state["_found"], state["_record"], state["_lent"]
        self._looked = self._record is not None

    def __cvcache_key__(self) -> Canonical:
        return Canonical({"$node": self.version})

    def __cvcache_input__(self) -> tuple[str, dict[str, str]]:
        return self.found_at, {"version": self.version}
