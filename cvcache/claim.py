"""The shell around the protocol: look at a node, let `protocol.decide` say what to do, do it, look again."""

from __future__ import annotations

import datetime
import logging
import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, assert_never, cast

from cvcache.errors import BadRecord, CvcacheError, InvalidName, LeaseLost, NodeBusy, NotExclusive
from cvcache.lease import Attempt, claiming, is_claiming, open_attempt, remember, running
from cvcache.names import RESERVED, check_item_name, is_item_dir
from cvcache.owner import is_dead, this_owner
from cvcache.policy import Policy
from cvcache.protocol import (
    Claim,
    FinishRemoval,
    Liveness,
    Refuse,
    Request,
    Sibling,
    Use,
    View,
    Wait,
    decide,
    decide_removal,
)
from cvcache.reason import refusal, why_claimed
from cvcache.record import PLAIN, Record, attempt_root, dump_inventory, dumps, loads, log_name, parse_log_name
from cvcache.store.base import Store

logger = logging.getLogger("cvcache")

_KINDS = ("attempts", "beat", "inventory", "thumb", "writing")
"""What cvcache keeps in a node for each attempt."""

_FIRST_POLL = 0.05
_SLOWEST_POLL = 10.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller wants of a node: the request the protocol sees, and what goes into the record."""

    request: Request
    key: Any = None
    inputs: tuple[Mapping[str, str], ...] = ()


def new_id() -> str:
    """Return 16 hexadecimal digits that nobody else has."""
    return os.urandom(8).hex()


def now() -> str:
    """Return the wall clock as ISO 8601 in UTC: for people, never for a decision."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def read_newest(store: Store, path: str) -> Record | None:
    """Return the newest record of the node at `path`, or None if its log is empty.

    Costs one LIST and one GET; a GET more for each number that two records contend for.
    """
    log = f"{path}/{RESERVED}/log"
    successors: dict[int, list[str]] = {}
    for name in store.list(log).files:
        if parsed := parse_log_name(name):
            successors.setdefault(parsed[0], []).append(parsed[1])
    if "root" not in successors.get(1, ()):
        return None
    seq, after = 1, "root"
    while following := successors.get(seq + 1):
        if len(following) > 1:
            attempt = _read(store, log, seq, after).attempt
            following = [name for name in following if name == attempt]
            if not following:
                break
        seq, after = seq + 1, following[0]
    return _read(store, log, seq, after)


def _read(store: Store, log: str, seq: int, after: str) -> Record:
    path = f"{log}/{log_name(seq, after)}"
    where = store.url(path)
    record = loads(store.get(path, 0, 64 * 1024 + 1), where)
    if (record.seq, record.after) != (seq, after):
        msg = f"{where} says it is record {record.seq} after {record.after}; it was renamed. Move it away to go on"
        raise BadRecord(msg)
    return record


class Watch:
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
            beat = store.get(f"{path}/{RESERVED}/beat/{record.attempt}")
        except FileNotFoundError:
            beat = b""
        if (record.attempt, beat) != self._seen:
            self._seen, self._since = (record.attempt, beat), self._policy.clock()
            return False
        return asked - self._since > record.ttl + self._policy.request_timeout

    def sleep(self) -> None:
        """Wait before the next look, a little longer each time."""
        self._policy.sleep(self._delay)
        self._delay = min(self._delay * 1.5, _SLOWEST_POLL, self._policy.ttl / 4)


def look(store: Store, path: str, watch: Watch) -> View:
    """Return what can be seen of the node at `path` by the calling thread."""
    if store.is_blocked(path):
        return View(foreign=True)
    record = read_newest(store, path)
    if record is None:
        foreign = is_foreign(store, path)
        # what looks foreign may be the first items of somebody who has claimed the node since
        record = read_newest(store, path) if foreign else None
        if record is None:
            return View(foreign=foreign)
    if record.state not in {"claimed", "removing"}:
        return View(record)
    held = open_attempt(store.url(path))
    if held is not None and held.id == record.attempt:
        if held.id in running.get():
            return View(record, Liveness.RUNNING)
        return View(record, Liveness.MINE if held.held_by_caller() else Liveness.ALIVE, shared=held.shared)
    if _was_ours(record):
        return View(record, Liveness.MINE, _is_shared(store, path, record))
    if is_dead(record.owner):
        return View(record, Liveness.DEAD, _is_shared(store, path, record))
    expired = not is_claiming(record.attempt) and watch.expired(store, path, record)
    return View(record, Liveness.EXPIRED if expired else Liveness.ALIVE)


def _was_ours(record: Record) -> bool:
    """Whether this process held the attempt and let go of it without a fate, as after a failed request."""
    mine, owner = this_owner(), record.owner
    same = (owner.boot, owner.pidns, owner.pid, owner.start) == (mine.boot, mine.pidns, mine.pid, mine.start)
    return same and bool(mine.start) and not is_claiming(record.attempt)


def _is_shared(store: Store, path: str, record: Record) -> bool:
    return store.stat(f"{path}/{RESERVED}/beat/{record.attempt}.shared") is not None


def is_foreign(store: Store, path: str) -> bool:
    """Whether a node without a log holds, or stands in the place of, something cvcache did not write."""
    return store.stat(path) is not None or _holds_foreign(store, path)


def _holds_foreign(store: Store, path: str) -> bool:
    listing = store.list(path)
    if listing.files or any(is_item_dir(name) for name in listing.dirs):
        return True
    if RESERVED in listing.dirs:
        ours = store.find(f"{path}/{RESERVED}")
        if any(name.split("/")[0] not in {"tmp", "probe"} for name in ours) and read_newest(store, path) is None:
            return True
    return any(name != RESERVED and not _leads_to_node(store, f"{path}/{name}") for name in listing.dirs)


def _leads_to_node(store: Store, path: str) -> bool:
    """Whether everything in a directory above a node belongs to nodes."""
    listing = store.list(path)
    if RESERVED in listing.dirs:
        return True
    return (
        bool(listing.dirs)
        and not listing.files
        and all(_leads_to_node(store, f"{path}/{name}") for name in listing.dirs)
    )


def obtain(store: Store, path: str, wish: Wish, policy: Policy) -> Record | Attempt | Sibling:
    """Return the committed record that serves `wish`, or an attempt open for writing.

    The one loop of the protocol: each turn looks, decides and acts, until the decision ends it.
    """
    watch = Watch(policy)
    waiting = False
    while True:
        view = look(store, path, watch)
        held = open_attempt(store.url(path))
        patient = wish.request.wait and not (held is not None and held.blocks_caller())
        decision = decide(view, replace(wish.request, wait=patient))
        match decision:
            case Use():
                return cast("Record", view.record)
            case Sibling():
                return decision
            case Claim():
                if attempt := _claim(store, path, view, decision, wish, policy):
                    return attempt
            case FinishRemoval():
                _remove(store, path, view, decision, policy)
            case Wait():
                if not waiting:
                    waiting = True
                    logger.warning("%s; waiting for it (wait=False raises instead)", refusal(store.url(path), view))
                watch.sleep()
            case Refuse():
                raise decision.error(refusal(store.url(path), view, decision.error, wish))
            case _:
                assert_never(decision)


def _claim(store: Store, path: str, view: View, claim: Claim, wish: Wish, policy: Policy) -> Attempt | None:
    """Try to create the claim; None if another was faster. Leftovers are deleted once it is won."""
    url = store.url(path)
    if view.record is None:
        _check_siblings(store, path)
    exclusive = _check_exclusive(store, path, policy)
    if claim.fence and not _stop_older(store, path, view, f"{url} was opened again by the same thread"):
        return None
    record = _claim_record(view, claim, wish, policy, exclusive=exclusive)
    with claiming(record.attempt):
        if not store.put_new(f"{path}/{RESERVED}/log/{record.filename}", dumps(record)):
            return None
        attempt = Attempt(store, path, record, policy)
        remember(attempt)
    logger.info("%s: computing (%s)", url, "; ".join(record.reason))
    if claim.wipe:
        try:
            committed = view.record is not None and view.record.state == "committed"
            _wipe(store, path, record, policy if claim.settle else None, keep_logs=not committed)
        except BaseException:
            _release(attempt)
            raise
    return attempt


def _stop_older(store: Store, path: str, view: View, why: str) -> bool:
    """Stop this process's own attempt that `view` showed; False if it has changed since, so that one has to look again.

    Any other attempt of this process is either younger, and then the log elects it, or has lost the node already.

    Raises
    ------
    NodeBusy
        If one of its writes is under way and does not end.
    """
    older = open_attempt(store.url(path))
    if older is None or view.record is None or older.id != view.record.attempt:
        return True
    if not older.fence(why):
        msg = f"{older.url}: a write of this program's older attempt does not end; wait for it, or restart the program"
        raise NodeBusy(msg)
    return older.shared == view.shared


def _release(attempt: Attempt) -> None:
    """Give up an attempt that nobody has seen yet, whatever state the store is in."""
    try:
        finish(attempt, "released")
    except Exception as error:  # noqa: BLE001 - what went wrong before is what the caller has to know
        logger.warning("%s could not be released (%s)", attempt.url, error)
    finally:
        attempt.lose(f"{attempt.url} was given up")


def _claim_record(view: View, claim: Claim, wish: Wish, policy: Policy, *, exclusive: bool) -> Record:
    attempt = new_id()
    previous = view.record
    digest = wish.request.digest
    version = digest if digest and not wish.request.force else f"{digest or ''}+{attempt}"
    return Record(
        seq=previous.seq + 1 if previous else 1,
        after=previous.attempt if previous else "root",
        state="claimed",
        attempt=attempt,
        nonce=new_id(),
        root=PLAIN if claim.plain else attempt_root(attempt),
        time=now(),
        owner=this_owner(record_host=policy.record_host),
        ttl=policy.ttl,
        key=wish.key,
        digest=digest,
        version=version,
        forced=wish.request.force,
        exclusive=exclusive,
        reason=tuple(why_claimed(view, wish.key, digest, forced=wish.request.force)),
        unproven=claim.unproven,
        inputs=wish.inputs,
    )


_names_seen: dict[str, dict[str, str]] = {}


def _check_siblings(store: Store, path: str) -> None:
    """Refuse a name that a case-insensitive disk would merge with a sibling's.

    The siblings are listed once per parent and process, and again before anything is refused.
    """
    parent, _, name = path.rpartition("/")
    seen = _names_seen.get(store.url(parent))
    for attempt in range(2):
        if seen is None or attempt:
            seen = _names_seen[store.url(parent)] = {_folded(d): d for d in store.list(parent).dirs}
        other = seen.setdefault(_folded(name), name)
        if other == name:
            return
    msg = f"{store.url(path)} differs from its sibling {other!r} only by case or composition; choose another name"
    raise InvalidName(msg)


def _folded(name: str) -> str:
    """Return what two names share that some disk takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_exclusive(store: Store, path: str, policy: Policy) -> bool:
    """Return whether the store elects one winner; refuse one that does not unless the policy accepts it."""
    if store.exclusive(path):
        return True
    url = store.url(path)
    if policy.exclusive == "auto":
        msg = (
            f"{url}: this store ignores conditional writes, so two processes could both believe that they own a node. "
            "Use another store, or Policy(exclusive='none') if only one process at a time ever writes here"
        )
        raise NotExclusive(msg)
    logger.warning("%s: this store elects no winner; nothing protects this node from a second writer", url)
    return False


def _wipe(store: Store, path: str, record: Record, settle: Policy | None, *, keep_logs: bool = False) -> None:
    """Delete what the attempts before `record` announced at the plain root, the announcements after all items.

    What came after is left alone: whoever wipes may have been stopped for a long time, and be out-voted by now.
    """
    writing = f"{path}/{RESERVED}/writing"
    announced = sorted(store.find(writing))
    if announced:
        past = _at_plain_root(_past(store.list(f"{path}/{RESERVED}/log").files, record), record)
        announced = [name for name in announced if name.partition("/")[0] in past and _is_announcement(name)]
    if not announced:
        return
    if settle is not None and store.scheme not in {"file", "memory"}:
        settle.sleep(settle.request_timeout)
    for name in announced:
        attempt, _, item = name.removesuffix(".json").partition("/")
        if keep_logs and item.endswith(".log"):
            _keep_log(store, path, attempt, item)
        delete_item(store, f"{path}/{item}")
    attempts = {name.partition("/")[0] for name in announced}
    store.delete([f"{path}/{RESERVED}/{name}" for a in attempts for name in (f"inventory/{a}.json", f"beat/{a}")])
    store.delete([f"{writing}/{name}" for name in announced], within=writing)


def _is_announcement(name: str) -> bool:
    """Whether a name below ``writing/`` is one that cvcache gives: a forged one must not lead out of the node."""
    item = name.partition("/")[2].removesuffix(".json")
    try:
        return name.endswith(".json") and check_item_name(item) == item
    except InvalidName:
        return False


def _past(log: Iterable[str], record: Record) -> list[str]:
    """Return the attempts before `record`, oldest first."""
    entries = sorted(entry for name in log if (entry := parse_log_name(name)))
    return [after for seq, after in entries if 1 < seq <= record.seq]


def _at_plain_root(past: list[str], record: Record) -> list[str]:
    """Return those of `past` that had the plain root: since the first that was never proved dead, nobody has."""
    first = next((i for i, attempt in enumerate(past) if attempt in record.unproven), None)
    return past if first is None else past[: first + 1]


def _keep_log(store: Store, path: str, attempt: str, item: str) -> None:
    try:
        store.put(f"{path}/{attempt_root(attempt)}/{item}", store.get(f"{path}/{item}"))
    except FileNotFoundError:
        return


def delete_item(store: Store, path: str) -> None:
    """Delete exactly the objects of one item."""
    if is_item_dir(path):
        store.delete([f"{path}/{name}" for name in store.find(path)], within=path)
    else:
        store.delete([path])


def finish(attempt: Attempt, state: str, **fields: Any) -> Record:
    """Write the fate of `attempt` and let go of it.

    Raises
    ------
    LeaseLost
        If another record already follows the claim.
    """
    record = attempt.record.next(
        state,
        new_id(),
        now(),
        shared=attempt.shared,
        duration=round(attempt.policy.clock() - attempt.started, 3),
        **fields,
    )
    log = f"{attempt.path}/{RESERVED}/log"
    data = dumps(record)
    with attempt.closing():
        if not attempt.store.put_new(f"{log}/{record.filename}", data):
            record = _read(attempt.store, log, record.seq, record.after)
        mine = (record.attempt, record.state) == (attempt.id, state)
        attempt.fate = record if mine else None
        ended = f"is {state}" if mine else "was taken over by another owner, or removed"
        attempt.lose(f"{attempt.url} {ended}")
    if not mine:
        msg = f"{attempt.url} {ended}; what this attempt ({attempt.id}) wrote is discarded"
        raise LeaseLost(msg)
    return record


def commit(attempt: Attempt, rows: Mapping[str, Mapping[str, Any]], meta: Mapping[str, Any]) -> Record:
    """Vouch for the items in `rows`: inventory first, made durable, then the one record that counts."""
    with attempt.writing():
        attempt.store.put(f"{attempt.control('inventory')}.json", dump_inventory(attempt.id, rows))
        attempt.store.sync(attempt.path)
    return finish(attempt, "committed", items=rows, meta=meta)


def check_removal(store: Store, path: str, policy: Policy, *, force: bool = False) -> None:
    """Raise what `remove` would raise now; nothing is touched."""
    view = look(store, path, Watch(policy))
    decision = decide_removal(view, force=force)
    if isinstance(decision, Refuse):
        raise decision.error(refusal(store.url(path), view, decision.error))


def remove(store: Store, path: str, policy: Policy, *, force: bool = False) -> bool:
    """Remove one node, never its children; return whether there was one."""
    watch = Watch(policy)
    while True:
        view = look(store, path, watch)
        match decide_removal(view, force=force):
            case Use():
                return False
            case FinishRemoval() as decision:
                if _remove(store, path, view, decision, policy):
                    return True
            case Refuse() as decision:
                raise decision.error(refusal(store.url(path), view, decision.error))
            case _ as decision:  # pragma: no cover - decide_removal returns no other
                raise CvcacheError(str(decision))


def _remove(store: Store, path: str, view: View, decision: FinishRemoval, policy: Policy) -> bool:
    """Write "removing", delete what cvcache wrote, write "removed"; False if another was faster with the first.

    Whoever is faster with the last has finished this removal; what they have written since stays.
    """
    if not _stop_older(store, path, view, f"{store.url(path)} was removed"):
        return False
    attempt = new_id()
    record = cast("Record", view.record).next(
        "removing",
        new_id(),
        now(),
        attempt=attempt,
        owner=this_owner(record_host=policy.record_host),
        root=PLAIN,
        unproven=decision.unproven,
        items=None,
        shared=False,
    )
    with claiming(attempt):
        if not store.put_new(f"{path}/{RESERVED}/log/{record.filename}", dumps(record)):
            return False
        _wipe(store, path, record, policy if view.liveness is Liveness.DEAD else None)
        own = f"{path}/{RESERVED}"
        found = store.find(own)
        past = _past((name.removeprefix("log/") for name in found), record)
        ours = ("tmp/", *(f"{kind}/{a}" for kind in _KINDS for a in past))
        store.delete([f"{own}/{name}" for name in found if name.startswith(ours)], within=own)
        done = replace(
            record.next("removed", new_id(), now()), key=None, digest=None, version=None, inputs=(), reason=()
        )
        store.put_new(f"{path}/{RESERVED}/log/{done.filename}", dumps(done))
    return True
