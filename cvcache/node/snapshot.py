"""A node as it was when it was read: its newest record, and what that says. No store call once it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from cvcache import protocol
from cvcache.errors import NotOpen

if TYPE_CHECKING:
    from cvcache.node.address import Address
    from cvcache.node.uncached import Uncached
    from cvcache.store import Store

VersionNow = Callable[["Address", "str | None"], "str | None"]
"""Returns the version that a node has now, None if it has no result; of a node not looked at its second argument."""


class Readable(Protocol):
    """A handle that shows a node, as a `CacheDir` does."""

    def __cvcache_snapshot__(self) -> Snapshot: ...


def snapshot_of(node: Readable) -> Snapshot:
    """Return what a handle shows of its node; one LIST and one GET if it has not read it yet."""
    return node.__cvcache_snapshot__()


class Snapshot(NamedTuple):
    """The records of a node, and where they were found.

    Attributes
    ----------
    address : Address
        Of the node that was asked for.
    record : Record or None
        That whose items are shown: the commit that stands, else the newest record; None for a node never computed. Its
        state is "planned" for a node that a plan would compute.
    attempt : Attempt or None
        Of a node that this process has open for writing.
    computed : bool
        Whether the result was computed through the handle that has this snapshot.
    uncached : Uncached or None
        What a node without a cache holds.
    other : Address or None
        The same node in another tree, if the record was found there.
    later : Record or None
        The newest record, where an attempt followed the commit that stands.
    """

    address: Address
    record: protocol.Record | None = None
    attempt: protocol.Attempt | None = None
    computed: bool = False
    uncached: Uncached | None = None
    other: Address | None = None
    later: protocol.Record | None = None

    @classmethod
    def of(cls, address: Address, records: protocol.NodeRecords) -> Snapshot:
        """Return what a handle that only looks shows of a node with these records."""
        newest, standing = records
        if standing is None or standing is newest:
            return cls(address, newest)
        return cls(address, standing, later=newest)

    @property
    def newest(self) -> protocol.Record | None:
        """The newest record: what the newest attempt does, or what came of it."""
        return self.later or self.record

    @property
    def newest_attempt(self) -> Snapshot:
        """The same node with the items of its newest attempt that was not given up, whatever stands meanwhile."""
        if self.later is None or self.later.state == "released":
            return self._replace(later=None)
        return self._replace(record=self.later, later=None)

    @property
    def url(self) -> str:
        """The address of the node."""
        return self.address.url

    @property
    def result_url(self) -> str:
        """The address of its result: `url`, or one in another tree."""
        return (self.other or self.address).url

    @property
    def store(self) -> Store:
        """The store with the bytes."""
        return self.uncached.store if self.uncached is not None else (self.other or self.address).store

    @property
    def path(self) -> str:
        """Full key of the node in `store`."""
        return self.uncached.path if self.uncached is not None else (self.other or self.address).path

    @property
    def now(self) -> Snapshot:
        """The same, or of a node that is open here what it is by now, for instance committed."""
        if self.attempt is None:
            return self
        outcome = self.attempt.outcome
        if outcome is not None:
            return self._replace(record=outcome, attempt=None, computed=outcome.state == "committed")
        return self._replace(record=self.attempt.record)

    @property
    def is_planned(self) -> bool:
        """Whether a plan would compute it."""
        return self.record is not None and self.record.state == "planned"

    @property
    def committed(self) -> bool:
        """Whether the node is complete, or a plan would make it so."""
        return self.record is not None and self.record.state in {"committed", "planned"}

    @property
    def state(self) -> str:
        """One of absent, running, committed, failed.

        That of the newest attempt, if it was not given up; failed also if its owner died on this machine.
        """
        record = self.newest_attempt.record
        if record is None or record.state in {"released", "removing", "removed", "planned"}:
            return "absent"
        if record.state == "claimed":
            return "failed" if protocol.owner_is_dead(record.owner) else "running"
        return record.state

    @property
    def items_state(self) -> str:
        """State of the items: that of the node, but committed while a commit stands, whatever a newer attempt does."""
        return "committed" if self.committed else self.state

    def state_text(self, state: str = "") -> str:
        """Return the state for people: of an attempt that runs or failed also which result stands meanwhile.

        `state`: the one to be said in place of that of the snapshot.
        """
        state = state or self.state
        standing = protocol.standing_text(self.newest) if state in {"running", "failed"} else ""
        return f"{state} \N{MIDDLE DOT} {standing}" if standing else state

    def state_among(self, version_now: VersionNow) -> str:
        """Return `state`, or "stale" for a committed node if one of its inputs has another version by now."""
        state = self.state
        return "stale" if state == "committed" and self.is_outdated(version_now) else state

    def is_outdated(self, version_now: VersionNow) -> bool:
        """Whether one of the inputs has another version than in the key of this node."""
        return any(version_now(node, row.get("version")) != row.get("version") for node, row in self.inputs())

    def inputs(self) -> list[tuple[Address, Mapping[str, str]]]:
        """Return the nodes of this store that are in the key, or an item of theirs; each as the key has it."""
        rows = self.record.inputs if self.record is not None else ()
        nodes = [(self.address.resolve(row["url"]) if row.get("url") else None, row) for row in rows]
        return [(node, row) for node, row in nodes if node is not None]

    @property
    def version(self) -> str:
        """The version that an item of this node has in a key; of a node not committed, its attempt."""
        record = self.record
        if record is None:
            msg = f"{self.url} was never computed, so it cannot be part of a key; compute it first"
            raise NotOpen(msg)
        return (record.version or record.attempt) if self.committed else record.attempt

    @property
    def committed_version(self) -> str | None:
        """The version of a complete node, else None."""
        return self.version if self.committed else None

    @property
    def reason(self) -> tuple[str, ...]:
        """Why the newest attempt was started, one difference a line; empty for a node never computed."""
        return self.newest.reason if self.newest is not None else ()

    @property
    def error(self) -> Mapping[str, str] | None:
        """Type, message and traceback of the failure the newest attempt ended with; None if it did not."""
        record = self.newest
        if record is not None and record.state == "claimed" and protocol.owner_is_dead(record.owner):
            message = f"the process died before its commit ({protocol.describe_owner(record)})"
            return {"type": "died", "message": message}
        return record.error if record is not None else None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Snapshot):
            return False
        mine, others = ((one.address, one.record, one.computed, one.other, one.later) for one in (self, other))
        return mine == others

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"Snapshot({self.url!r}, {self.state_text()})"

    def __cvcache_address__(self) -> Address:
        return self.address

    def __cvcache_snapshot__(self) -> Snapshot:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all but the lease, which belongs to this process."""
        now = self.now
        return Snapshot, (now.address, now.record, None, now.computed, now.uncached, now.other, now.later)
