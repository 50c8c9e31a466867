"""The shell around the protocol: look at a node, let `protocol.decide` say what to do, do it, look again."""

from __future__ import annotations

import datetime
import logging
import os
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar, assert_never, cast

from cvcache import layout
from cvcache.errors import CvcacheError, InvalidName, LeaseLost, NodeBusy, NotExclusive, RecursiveNode
from cvcache.layout import PLAIN, attempt_root
from cvcache.protocol.attempt import Attempt
from cvcache.protocol.heartbeat import claiming, open_attempt, remember
from cvcache.protocol.messages import refusal, why_claimed
from cvcache.protocol.observe import Watch, check_place, look, read_record
from cvcache.protocol.owner import this_owner
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import Record, dump_inventory, dumps
from cvcache.protocol.rules import (
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
from cvcache.protocol.sweep import forget_items, past_attempts, wipe
from cvcache.store.base import Store

logger = logging.getLogger("cvcache")
T = TypeVar("T")


class Sources(NamedTuple):
    """What a key holds of other nodes: where they lie and in which version, and what is recorded of their images."""

    inputs: tuple[Mapping[str, str], ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()


class Wish(NamedTuple):
    """What a caller wants of a node: what the protocol sees, and what goes into the record.

    `sources` looks through the key, and is called only where the node has to be computed. `alone`: a forced result has
    the version of any other for the same key, so that nothing downstream runs again.
    """

    request: Request
    key: Any = None
    sources: Callable[[], Sources] = Sources
    alone: bool = False


def is_forced(wish: Wish, before: Record | None) -> bool:
    """Whether a result counts as a new version: one was asked for, now or by an attempt `before` that did not end."""
    return wish.request.force or (before is not None and before.forced and before.state in {"claimed", "failed"})


def version_of(wish: Wish, attempt: str, before: Record | None) -> str:
    """Return what the result of `attempt` counts as in keys: its key alone, where that says what it holds.

    Forced alone it counts as what is there `before`.
    """
    digest = wish.request.digest
    if digest and wish.alone and before is not None and (before.state, before.digest) == ("committed", digest):
        return before.version or digest
    return digest if digest and (wish.alone or not is_forced(wish, before)) else f"{digest or ''}+{attempt}"


def new_id() -> str:
    """Return 16 hexadecimal digits that nobody else has."""
    return os.urandom(8).hex()


def now() -> str:
    """Return the wall clock as ISO 8601 in UTC: for people, never for a decision."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def obtain(
    store: Store, path: str, wish: Wish, policy: Policy, instead: Callable[[], T | None] = lambda: None
) -> Record | Attempt | Sibling | T:
    """Return the committed record that serves `wish`, or an attempt open for writing.

    The one loop of the protocol: each turn looks, decides and acts, until the decision ends it. What `instead` gives
    is taken where the node, or a sibling, would have to be computed.
    """
    watch = Watch(policy)
    waiting = False
    while True:
        view = look(store, path, watch)
        decision = decide(view, wish.request)
        if isinstance(decision, Wait) and (held := open_attempt(store.url(path))) and held.blocks_caller():
            decision = decide(view, wish.request._replace(wait=False))
        match decision:
            case Use():
                return cast("Record", view.record)
            case Sibling():
                return instead() or decision
            case Claim():
                if found := instead() or _claim(store, path, view, decision, wish, policy):
                    return found
            case FinishRemoval():
                _remove(store, path, view, decision, policy)
            case Wait():
                _refuse_to_wait_for_parent(store.url(path))
                waiting = waiting or _say_waiting(store.url(path), view)
                watch.sleep()
            case Refuse():
                raise decision.error(refusal(store.url(path), view, decision.error, wish))
            case _:
                assert_never(decision)


def _refuse_to_wait_for_parent(url: str) -> None:
    """Raise `RecursiveNode` in a process that runs the script again because it was started without a guard."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and getattr(process.current_process(), "_inheriting", False):
        msg = (
            f"{url} is being computed by the process that started this one, which runs the script from its top again; "
            'put what the script does under if __name__ == "__main__":'
        )
        raise RecursiveNode(msg)


def _say_waiting(url: str, view: View) -> bool:
    logger.warning("%s; waiting for it (wait=False raises instead)", refusal(url, view))
    return True


def _claim(store: Store, path: str, view: View, claim: Claim, wish: Wish, policy: Policy) -> Attempt | None:
    """Try to create the claim; None if another was faster. Leftovers are deleted once it is won."""
    url = store.url(path)
    check_place(store, path, view)
    sources = wish.sources()
    if view.record is None:
        _check_siblings(store, path)
    exclusive = _check_exclusive(store, path, policy)
    if claim.fence and not _stop_older(store, path, view, f"{url} was opened again by the same thread"):
        return None
    record = _claim_record(view, claim, wish, policy, exclusive=exclusive, inputs=sources.inputs)
    with claiming(record.attempt):
        if not store.put_new(layout.record(path, record), dumps(record)):
            return None
        attempt = Attempt(store, path, record, policy)
        attempt.images = sources.images
        remember(attempt)
    logger.info("%s: computing (%s)", url, "; ".join(record.reason))
    if claim.wipe:
        try:
            committed = view.record is not None and view.record.state == "committed"
            settle = policy if claim.settle else None
            attempt.leftovers = wipe(store, path, record, settle, keep_logs=not committed, keep_images=not committed)
        except BaseException:
            release(attempt)
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


def release(attempt: Attempt) -> None:
    """Give up an attempt that nobody has seen yet, whatever state the store is in."""
    try:
        finish(attempt, "released")
    except Exception as error:  # noqa: BLE001 - what went wrong before is what the caller has to know
        logger.warning("%s could not be released (%s)", attempt.url, error)
    finally:
        attempt.lose(f"{attempt.url} was given up")


def _claim_record(
    view: View,
    claim: Claim,
    wish: Wish,
    policy: Policy,
    *,
    exclusive: bool,
    inputs: tuple[Mapping[str, str], ...],
) -> Record:
    attempt = new_id()
    previous = view.record
    digest = wish.request.digest
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
        version=version_of(wish, attempt, view.record),
        forced=is_forced(wish, view.record) and not wish.alone,
        exclusive=exclusive,
        reason=tuple(why_claimed(view, wish.key, digest, forced=wish.request.force)),
        unproven=claim.unproven,
        inputs=inputs,
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
    log = layout.log(attempt.path)
    data = dumps(record)
    with attempt.closing():
        if not attempt.store.put_new(f"{log}/{record.filename}", data):
            record = read_record(attempt.store, log, record.seq, record.after)
        mine = (record.attempt, record.state) == (attempt.id, state)
        attempt.fate = record if mine else None
        ended = f"is {state}" if mine else "was taken over by another owner, or removed"
        attempt.lose(f"{attempt.url} {ended}")
    if not mine:
        msg = f"{attempt.url} {ended}; what this attempt ({attempt.id}) wrote is discarded"
        raise LeaseLost(msg)
    return record


def commit(
    attempt: Attempt,
    rows: Mapping[str, Mapping[str, Any]],
    meta: Mapping[str, Any],
    made: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Record:
    """Vouch for the items in `rows`: inventory first, made durable, then the one record that counts.

    `made` says what with; it is kept in the inventory.
    """
    with attempt.writing():
        unwritten = (attempt.leftovers | attempt.announced.keys()) - rows.keys()
        forget_items(attempt.store, attempt.path, attempt.root, unwritten)
        attempt.store.put(layout.inventory(attempt.path, attempt.id), dump_inventory(attempt.id, rows, made))
        attempt.store.sync(attempt.path)
    return finish(attempt, "committed", items=rows, meta=meta, **fields)


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
    check_place(store, path, view)
    if not _stop_older(store, path, view, f"{store.url(path)} was removed"):
        return False
    attempt = new_id()
    record = cast("Record", view.record).next(
        "removing",
        new_id(),
        now(),
        attempt=attempt,
        owner=this_owner(record_host=policy.record_host),
        ttl=policy.ttl,
        root=PLAIN,
        unproven=decision.unproven,
        items=None,
        shared=False,
    )
    with claiming(attempt):
        if not store.put_new(layout.record(path, record), dumps(record)):
            return False
        wipe(store, path, record, policy if view.liveness is Liveness.DEAD else None)
        own = layout.control(path)
        found = store.find(own)
        past = past_attempts((name.removeprefix("log/") for name in found), record)
        store.delete([f"{own}/{name}" for name in found if layout.belongs_to(name, past)], within=own)
        done = replace(
            record.next("removed", new_id(), now()), key=None, digest=None, version=None, inputs=(), reason=()
        )
        store.put_new(layout.record(path, done), dumps(done))
    return True
