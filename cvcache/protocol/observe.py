"""Observing a node: its newest record, the liveness of its owner, and whether it is foreign."""

from __future__ import annotations

from cvcache.errors import BadRecord, NodeBusy, NotACacheDir
from cvcache.protocol.attempt import find_open_attempt, running_attempts
from cvcache.protocol.chain import find_newest, read_newest_record, read_record
from cvcache.protocol.heartbeat import is_pending_claim
from cvcache.protocol.messages import refusal_message
from cvcache.protocol.opener import opener_is_gone
from cvcache.protocol.owner import owner_is_dead, this_owner
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import Record
from cvcache.protocol.rules import Liveness, Observation, Request, is_hit
from cvcache.store import Store, is_control, is_item_dir, layout, record_name

_MIN_POLL_INTERVAL = 0.05
_MAX_POLL_INTERVAL = 10.0
_MAX_NEWEST_ENTRIES = 16_384
_newest_entries: dict[str, tuple[int, str]] = {}
"""URL of a log -> (seq, after) of its newest record, for committed nodes: a hint that is checked before it is used."""


class LeaseWatch:
    """Watches the lease of an owner: how long its heartbeat has been unchanged, by the clock of this process."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._last_beat: tuple[str, bytes] | None = None
        self._unchanged_since = policy.clock()
        self._delay = _MIN_POLL_INTERVAL

    def expired(self, store: Store, path: str, record: Record) -> bool:
        """Read the heartbeat once; True if it has not changed for the length of the lease and one request.

        The clock is read before a GET that finds no change and after a GET that finds one. Otherwise a pause
        of this process would count as a pause of the owner.
        """
        read_at = self._policy.clock()
        try:
            beat = store.get(layout.heartbeat_path(path, record.attempt))
        except FileNotFoundError:
            beat = b""
        if (record.attempt, beat) != self._last_beat:
            self._last_beat, self._unchanged_since = (record.attempt, beat), self._policy.clock()
            return False
        return read_at - self._unchanged_since > record.ttl + self._policy.request_timeout

    def sleep(self) -> None:
        """Sleep until the next poll, a little longer each time."""
        self._policy.sleep(self._delay)
        if opener_is_gone():
            raise NodeBusy("nobody waits for this node any more: the task that did was cancelled")
        self._delay = min(self._delay * 1.5, _MAX_POLL_INTERVAL, self._policy.ttl / 4)


def observe_node(store: Store, path: str, watch: LeaseWatch, request: Request | None = None) -> Observation:
    """Return the state of the node at `path`, as the calling thread sees it.

    One LIST and one GET for a committed node, or one where what stands is a hit for `request`; one GET and one STAT if
    it was observed before and has not changed.
    """
    record = _newest_cached(store, layout.log_dir(path))
    if record is not None and (record.state == "committed" or (request is not None and is_hit(record, request))):
        return Observation(record)
    return Observation(foreign=True) if store.is_blocked(path) else _observe_uncommitted(store, path, watch, record)


def _newest_cached(store: Store, log: str) -> Record | None:
    """Return the newest record of a log, and cache its position if it is committed.

    A listing does not follow links. A cached position is read without one: a node that is replaced by a link while
    the program runs is still read, but never written.
    """
    url = store.url(log)
    if (entry := _newest_entries.get(url)) and (record := _if_still_newest(store, log, *entry)):
        return record
    record = find_newest(store, log, store.names(log))
    if record is not None and record.state == "committed":
        if len(_newest_entries) >= _MAX_NEWEST_ENTRIES:
            _newest_entries.clear()
        _newest_entries[url] = record.seq, record.after
    return record


def _if_still_newest(store: Store, log: str, seq: int, after: str) -> Record | None:
    """Return the record if it exists and has no successor; None if in doubt.

    A record never changes, and the name of its only possible successor follows from it.
    """
    try:
        record = read_record(store, log, seq, after)
    except (FileNotFoundError, BadRecord):
        return None
    return None if store.stat(f"{log}/{record_name(seq + 1, record.attempt)}") else record


def _observe_uncommitted(store: Store, path: str, watch: LeaseWatch, record: Record | None) -> Observation:
    if record is None:
        foreign = is_foreign(store, path)
        # the objects may be the first items of an attempt that has claimed the node in the meantime
        record = read_newest_record(store, path) if foreign else None
        if record is None:
            return Observation(foreign=foreign)
    if record.state not in {"claimed", "removing"}:
        return Observation(record)
    own = find_open_attempt(record.attempt)
    if own is not None:
        if own.id in running_attempts.get():
            return Observation(record, Liveness.RUNNING)
        liveness = Liveness.MINE if own.belongs_to_caller() else Liveness.ALIVE
        return Observation(record, liveness, shared=own.outlives_its_end)
    if _is_own_attempt(record):
        is_bucket = store.scheme not in {"file", "memory"}  # a request of it had no answer, or its end were on record
        return Observation(record, Liveness.MINE, is_bucket or _is_shared(store, path, record))
    if owner_is_dead(record.owner):
        return Observation(record, Liveness.DEAD, _is_shared(store, path, record))
    expired = not is_pending_claim(record.attempt) and watch.expired(store, path, record)
    return Observation(record, Liveness.EXPIRED if expired else Liveness.ALIVE)


def raise_if_blocked(store: Store, path: str, observation: Observation) -> None:
    """Raise if a committed node must not be written because of a link; `observe_node` checks only other nodes.

    Raises
    ------
    NotACacheDir
        If there is a link in the node or above it.
    """
    if observation.record is not None and observation.record.state == "committed" and store.is_blocked(path):
        raise NotACacheDir(refusal_message(store.url(path), Observation(foreign=True), NotACacheDir))


def _is_own_attempt(record: Record) -> bool:
    """Whether the attempt belongs to this process but is not open any more, as after a failed request."""
    this, owner = this_owner(), record.owner
    same = (owner.boot, owner.pidns, owner.pid, owner.start) == (this.boot, this.pidns, this.pid, this.start)
    return same and bool(this.start) and not is_pending_claim(record.attempt)


def _is_shared(store: Store, path: str, record: Record) -> bool:
    return store.stat(layout.shared_marker_path(path, record.attempt)) is not None


def is_foreign(store: Store, path: str) -> bool:
    """Whether a path without a log contains, or is, something that cvcache did not write."""
    return store.stat(path) is not None or _contains_foreign(store, path)


def _contains_foreign(store: Store, path: str) -> bool:
    listing = store.list(path)
    if listing.files or any(is_item_dir(name) for name in listing.dirs):
        return True
    if any(map(is_control, listing.dirs)):
        ours = store.find(layout.control_dir(path))
        if any(map(layout.is_node_evidence, ours)) and read_newest_record(store, path) is None:
            return True
    return any(not is_control(name) and not _leads_to_node(store, f"{path}/{name}") for name in listing.dirs)


def _leads_to_node(store: Store, path: str) -> bool:
    """Whether a directory contains nothing but nodes, at any depth."""
    listing = store.list(path)
    if any(map(is_control, listing.dirs)):
        return True
    return (
        bool(listing.dirs)
        and not listing.files
        and all(_leads_to_node(store, f"{path}/{name}") for name in listing.dirs)
    )
