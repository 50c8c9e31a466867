"""The shell around the protocol: look at a node, let `protocol.decide` say what to do, do it, look again."""

from __future__ import annotations

import logging
import sys
import unicodedata
from collections.abc import Callable, Mapping
from typing import TypeVar, assert_never, cast

from cvcache.errors import InvalidName, NotExclusive, RecursiveNode
from cvcache.protocol.attempt import Attempt, find_open_attempt
from cvcache.protocol.finish import fence_own_attempt, release_attempt
from cvcache.protocol.heartbeat import pending_claim, register
from cvcache.protocol.messages import claim_reasons, refusal_message
from cvcache.protocol.observe import LeaseWatch, observe_node, raise_if_blocked
from cvcache.protocol.owner import new_id, this_owner, utc_timestamp
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import Record, dump_record
from cvcache.protocol.remove import finish_removal
from cvcache.protocol.request import NodeRequest, is_forced, version_of
from cvcache.protocol.rules import Claim, FinishRemoval, Observation, Refuse, Sibling, Use, Wait, decide
from cvcache.protocol.sweep import sweep_leftovers
from cvcache.store import IN_PLACE, Store, attempt_root, layout

logger = logging.getLogger("cvcache")
T = TypeVar("T")


def obtain_node(
    store: Store, path: str, wish: NodeRequest, policy: Policy, instead: Callable[[], T | None] = lambda: None
) -> Record | Attempt | Sibling | T:
    """Return the committed record that serves `wish`, or an attempt open for writing.

    The one loop of the protocol: each turn looks, decides and acts, until the decision ends it. What `instead` gives
    is taken where the node, or a sibling, would have to be computed.
    """
    watch = LeaseWatch(policy)
    waiting = False
    while True:
        view = observe_node(store, path, watch)
        decision = decide(view, wish.request)
        if isinstance(decision, Wait) and (held := find_open_attempt(store.url(path))) and held.blocks_caller():
            decision = decide(view, wish.request._replace(wait=False))
        match decision:
            case Use():
                return cast("Record", view.record)
            case Sibling():
                return instead() or decision
            case Claim():
                if found := instead() or _try_claim(store, path, view, decision, wish, policy):
                    return found
            case FinishRemoval():
                finish_removal(store, path, view, decision, policy)
            case Wait():
                _refuse_to_wait_for_parent(store.url(path))
                waiting = waiting or _say_waiting(store.url(path), view)
                watch.sleep()
            case Refuse():
                raise decision.error(refusal_message(store.url(path), view, decision.error, wish))
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


def _say_waiting(url: str, view: Observation) -> bool:
    logger.warning("%s; waiting for it (wait=False raises instead)", refusal_message(url, view))
    return True


def _try_claim(
    store: Store, path: str, view: Observation, claim: Claim, wish: NodeRequest, policy: Policy
) -> Attempt | None:
    """Try to create the claim; None if another was faster. Leftovers are deleted once it is won."""
    url = store.url(path)
    raise_if_blocked(store, path, view)
    sources = wish.sources()
    if view.record is None:
        _check_siblings(store, path)
    exclusive = _check_exclusive(store, path, policy)
    if claim.fence and not fence_own_attempt(store, path, view, f"{url} was opened again by the same thread"):
        return None
    record = _claim_record(view, claim, wish, policy, exclusive=exclusive, inputs=sources.inputs)
    with pending_claim(record.attempt):
        if not store.put_new(layout.record_path(path, record), dump_record(record)):
            return None
        attempt = Attempt(store, path, record, policy)
        attempt.images = sources.images
        register(attempt)
    logger.info("%s: computing (%s)", url, "; ".join(record.reason))
    if claim.sweep:
        try:
            committed = view.record is not None and view.record.state == "committed"
            settle = policy if claim.settle else None
            attempt.resumable = sweep_leftovers(
                store, path, record, settle, keep_logs=not committed, keep_images=not committed
            )
        except BaseException:
            release_attempt(attempt)
            raise
    return attempt


def _claim_record(
    view: Observation,
    claim: Claim,
    wish: NodeRequest,
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
        root=IN_PLACE if claim.in_place else attempt_root(attempt),
        time=utc_timestamp(),
        owner=this_owner(record_host=policy.record_host),
        ttl=policy.ttl,
        key=wish.key,
        digest=digest,
        version=version_of(wish, attempt, view.record),
        forced=is_forced(wish, view.record) and not wish.keep_version,
        exclusive=exclusive,
        reason=tuple(claim_reasons(view, wish)),
        unproven=claim.unproven,
        inputs=inputs,
    )


_sibling_names: dict[str, dict[str, str]] = {}


def _check_siblings(store: Store, path: str) -> None:
    """Refuse a name that a case-insensitive disk would merge with a sibling's.

    The siblings are listed once per parent and process, and again before anything is refused.
    """
    parent, _, name = path.rpartition("/")
    seen = _sibling_names.get(store.url(parent))
    for attempt in range(2):
        if seen is None or attempt:
            seen = _sibling_names[store.url(parent)] = {_folded(d): d for d in store.list(parent).dirs}
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
