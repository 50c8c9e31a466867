"""What can be seen of a node: its newest record, whether its owner lives, whether it is anybody's at all."""

from __future__ import annotations

from collections.abc import Iterable

from cvcache.errors import BadRecord, NodeBusy, NodeRemoved, NodeReplaced, NotACacheDir
from cvcache.protocol.attempt import find_open_attempt, running_attempts
from cvcache.protocol.heartbeat import is_pending_claim
from cvcache.protocol.messages import refusal_message
from cvcache.protocol.opener import opener_is_gone
from cvcache.protocol.owner import owner_is_dead, this_owner
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import MAX_RECORD_BYTES, Record, load_record
from cvcache.protocol.rules import Liveness, Observation
from cvcache.store import Store, is_control, is_item_dir, layout, parse_record_name, record_name

_FIRST_POLL = 0.05
_SLOWEST_POLL = 10.0
_MAX_NEWEST_ENTRIES = 16_384
_newest_entries: dict[str, tuple[int, str]] = {}
"""Log of a committed node -> where its newest record was last found: where to look first, not what to believe."""


def read_newest_record(store: Store, path: str) -> Record | None:
    """Return the newest record of the node at `path`, or None if its log is empty.

    Costs one LIST and one GET; a GET more for each number that two records contend for.
    """
    log = layout.log_dir(path)
    return _newest(store, log, store.list(log).files)


def _newest(store: Store, log: str, names: Iterable[str]) -> Record | None:
    successors: dict[int, list[str]] = {}
    for name in names:
        if parsed := parse_record_name(name):
            successors.setdefault(parsed[0], []).append(parsed[1])
    if "root" not in successors.get(1, ()):
        return None
    seq, after = 1, "root"
    while following := successors.get(seq + 1):
        if len(following) > 1:
            attempt = read_record(store, log, seq, after).attempt
            following = [name for name in following if name == attempt]
            if not following:
                break
        seq, after = seq + 1, following[0]
    return read_record(store, log, seq, after)


def read_record(store: Store, log: str, seq: int, after: str) -> Record:
    """Return one record of the log at `log`; one GET."""
    path = f"{log}/{record_name(seq, after)}"
    where = store.url(path)
    record = load_record(store.get(path, 0, MAX_RECORD_BYTES + 1), where)
    if (record.seq, record.after) != (seq, after):
        msg = f"{where} says it is record {record.seq} after {record.after}; it was renamed. Move it away to go on"
        raise BadRecord(msg)
    return record


def raise_if_replaced(store: Store, path: str, record: Record) -> None:
    """Raise if another record follows `record`: what lies in the node may be another attempt's by now."""
    if store.stat(layout.successor_path(path, record)) is None:
        return
    newest = read_newest_record(store, path)
    url = store.url(path)
    if newest is not None and newest.state in {"removing", "removed"}:
        msg = f"{url} was removed after this handle was opened; run the step again to compute it"
        raise NodeRemoved(msg)
    msg = f"{url} was replaced after this handle was opened; open it again to read the newer result"
    raise NodeReplaced(msg)


class LeaseWatch:
    """What a waiter has seen of an owner's heartbeat, on its own clock."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._seen: tuple[str, bytes] | None = None
        self._since = policy.clock()
        self._delay = _FIRST_POLL

    def expired(self, store: Store, path: str, record: Record) -> bool:
        """Look at the counter once; True when it has not changed for the owner's lease and one request.

        The time is taken before a look that finds it unchanged and after one that finds it changed: were
        this process stopped in between, it would take its own pause for the owner's.
        """
        asked = self._policy.clock()
        try:
            beat = store.get(layout.heartbeat_path(path, record.attempt))
        except FileNotFoundError:
            beat = b""
        if (record.attempt, beat) != self._seen:
            self._seen, self._since = (record.attempt, beat), self._policy.clock()
            return False
        return asked - self._since > record.ttl + self._policy.request_timeout

    def sleep(self) -> None:
        """Wait before the next look, a little longer each time."""
        self._policy.sleep(self._delay)
        if opener_is_gone():
            raise NodeBusy("nobody waits for this node any more: the task that did was cancelled")
        self._delay = min(self._delay * 1.5, _SLOWEST_POLL, self._policy.ttl / 4)


def observe_node(store: Store, path: str, watch: LeaseWatch) -> Observation:
    """Return what can be seen of the node at `path` by the calling thread.

    Costs one LIST and one GET for a committed node; one GET and one STAT where it was seen before and is as it was.
    """
    record = _last(store, layout.log_dir(path))
    if record is not None and record.state == "committed":
        return Observation(record)
    return Observation(foreign=True) if store.is_blocked(path) else _look_closer(store, path, watch, record)


def _last(store: Store, log: str) -> Record | None:
    """Return the newest record of a log; of a committed node remember where it is.

    A log that was listed is one that no link leads to. One that was seen before is read where it was: a node that is
    moved away and linked back while the program runs is still read, never written.
    """
    url = store.url(log)
    if (seen := _newest_entries.get(url)) and (record := _if_still_newest(store, log, *seen)):
        return record
    record = _newest(store, log, store.names(log))
    if record is not None and record.state == "committed":
        if len(_newest_entries) >= _MAX_NEWEST_ENTRIES:
            _newest_entries.clear()
        _newest_entries[url] = record.seq, record.after
    return record


def _if_still_newest(store: Store, log: str, seq: int, after: str) -> Record | None:
    """Return the record if it is there and nothing follows it; None if in doubt.

    A record never changes, nor does what it follows, and it names the only one that can follow it.
    """
    try:
        record = read_record(store, log, seq, after)
    except (FileNotFoundError, BadRecord):
        return None
    return None if store.stat(f"{log}/{record_name(seq + 1, record.attempt)}") else record


def _look_closer(store: Store, path: str, watch: LeaseWatch, record: Record | None) -> Observation:
    if record is None:
        foreign = is_foreign(store, path)
        # what looks foreign may be the first items of somebody who has claimed the node since
        record = read_newest_record(store, path) if foreign else None
        if record is None:
            return Observation(foreign=foreign)
    if record.state not in {"claimed", "removing"}:
        return Observation(record)
    held = find_open_attempt(store.url(path))
    if held is not None and held.id == record.attempt:
        if held.id in running_attempts.get():
            return Observation(record, Liveness.RUNNING)
        return Observation(record, Liveness.MINE if held.belongs_to_caller() else Liveness.ALIVE, shared=held.shared)
    if _was_ours(record):
        return Observation(record, Liveness.MINE, _is_shared(store, path, record))
    if owner_is_dead(record.owner):
        return Observation(record, Liveness.DEAD, _is_shared(store, path, record))
    expired = not is_pending_claim(record.attempt) and watch.expired(store, path, record)
    return Observation(record, Liveness.EXPIRED if expired else Liveness.ALIVE)


def raise_if_blocked(store: Store, path: str, view: Observation) -> None:
    """Refuse to write where a link leads elsewhere; `observe_node` asks that only of what nobody may just read.

    Raises
    ------
    NotACacheDir
        If there is such a link, in the node or above.
    """
    if view.record is not None and view.record.state == "committed" and store.is_blocked(path):
        raise NotACacheDir(refusal_message(store.url(path), Observation(foreign=True), NotACacheDir))


def _was_ours(record: Record) -> bool:
    """Whether this process held the attempt and let go of it without a fate, as after a failed request."""
    mine, owner = this_owner(), record.owner
    same = (owner.boot, owner.pidns, owner.pid, owner.start) == (mine.boot, mine.pidns, mine.pid, mine.start)
    return same and bool(mine.start) and not is_pending_claim(record.attempt)


def _is_shared(store: Store, path: str, record: Record) -> bool:
    return store.stat(layout.shared_marker_path(path, record.attempt)) is not None


def is_foreign(store: Store, path: str) -> bool:
    """Whether a node without a log holds, or stands in the place of, something cvcache did not write."""
    return store.stat(path) is not None or _holds_foreign(store, path)


def _holds_foreign(store: Store, path: str) -> bool:
    listing = store.list(path)
    if listing.files or any(is_item_dir(name) for name in listing.dirs):
        return True
    if any(map(is_control, listing.dirs)):
        ours = store.find(layout.control_dir(path))
        if any(map(layout.is_node_evidence, ours)) and read_newest_record(store, path) is None:
            return True
    return any(not is_control(name) and not _leads_to_node(store, f"{path}/{name}") for name in listing.dirs)


def _leads_to_node(store: Store, path: str) -> bool:
    """Whether everything in a directory above a node belongs to nodes."""
    listing = store.list(path)
    if any(map(is_control, listing.dirs)):
        return True
    return (
        bool(listing.dirs)
        and not listing.files
        and all(_leads_to_node(store, f"{path}/{name}") for name in listing.dirs)
    )
