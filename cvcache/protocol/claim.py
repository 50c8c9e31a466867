"""The loop of the protocol: observe a node, decide by `rules.decide`, act, observe again."""

from __future__ import annotations

import logging
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar, assert_never

from cvcache.errors import InvalidName, NodeStale, NotExclusive, RecursiveNode
from cvcache.protocol.attempt import Attempt, find_open_attempt
from cvcache.protocol.chain import NodeRecords, standing_record
from cvcache.protocol.finish import fence_own_attempt, release_attempt
from cvcache.protocol.heartbeat import pending_claim, register
from cvcache.protocol.messages import (
    claim_reasons,
    computing_message,
    differences_from,
    discarding_message,
    refusal_message,
)
from cvcache.protocol.observe import LeaseWatch, observe_node, raise_if_blocked
from cvcache.protocol.owner import new_id, this_owner, utc_timestamp
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import Record, dump_record
from cvcache.protocol.remove import finish_removal
from cvcache.protocol.request import NodeRequest, version_of
from cvcache.protocol.rules import Claim, FinishRemoval, Observation, Refuse, Sibling, Use, Wait, decide
from cvcache.protocol.sweep import Keys, keep_logs, sweep, sweep_inherited_root
from cvcache.store import Store, attempt_root, layout

logger = logging.getLogger("cvcache")
T = TypeVar("T")


def obtain_node(
    store: Store,
    path: str,
    node_request: NodeRequest,
    policy: Policy,
    substitute: Callable[[], T | None] = lambda: None,
) -> NodeRecords | Attempt | Sibling | T:
    """Return the records of a node whose commit serves `node_request`, or an attempt open for writing.

    Each turn observes, decides and acts, until a decision ends the loop. The result of `substitute`, if any, is
    returned in place of a new attempt or a sibling.
    """
    watch = LeaseWatch(policy)
    waiting = False
    while True:
        observation = observe_node(store, path, watch, node_request.request)
        decision = decide(observation, node_request.request)
        if isinstance(decision, Wait) and _blocks_caller(observation):
            decision = decide(observation, node_request.request._replace(wait=False))
        match decision:
            case Use():
                return NodeRecords(observation.record, standing_record(store, path, observation.record))
            case Sibling():
                return substitute() or decision
            case Claim():
                if result := substitute() or _try_claim(store, path, observation, decision, node_request, policy):
                    return result
            case FinishRemoval():
                finish_removal(store, path, observation, policy)
            case Wait():
                _refuse_to_wait_for_parent(store.url(path))
                waiting = waiting or _log_waiting(store.url(path), observation)
                watch.sleep()
            case Refuse():
                standing = standing_record(store, path, observation.record) if decision.error is NodeStale else None
                differences = differences_from(standing, node_request)
                raise decision.error(refusal_message(store.url(path), observation, decision.error, differences))
            case _:
                assert_never(decision)


def _blocks_caller(observation: Observation) -> bool:
    own = find_open_attempt(observation.record.attempt) if observation.record is not None else None
    return own is not None and own.blocks_caller()


def _refuse_to_wait_for_parent(url: str) -> None:
    """Raise `RecursiveNode` in a child process that runs the script again, for want of a ``__main__`` guard."""
    process_module = sys.modules.get("multiprocessing.process")
    if process_module is not None and getattr(process_module.current_process(), "_inheriting", False):
        msg = (
            f"{url} is being computed by the process that started this one, which runs the script from its top again; "
            'put what the script does under if __name__ == "__main__":'
        )
        raise RecursiveNode(msg)


def _log_waiting(url: str, observation: Observation) -> bool:
    logger.warning("%s; waiting for it (wait=False raises instead)", refusal_message(url, observation))
    return True


def _try_claim(
    store: Store, path: str, observation: Observation, claim: Claim, node_request: NodeRequest, policy: Policy
) -> Attempt | None:
    """Try to create the claim, then sweep what it discards or inherits; None if another process was faster."""
    url = store.url(path)
    raise_if_blocked(store, path, observation)
    sources = node_request.sources()
    if observation.record is None:
        _check_sibling_names(store, path)
    exclusive = _check_exclusive(store, path, policy)
    if claim.fence and not fence_own_attempt(observation, f"{url} was opened again by the same thread"):
        return None
    previous = observation.record
    standing = standing_record(store, path, previous)
    reasons = claim_reasons(observation, node_request, standing)
    record = _claim_record(observation, claim, node_request, policy, reasons)
    record = replace(record, exclusive=exclusive, inputs=sources.inputs)
    if claim.settle and store.scheme not in {"file", "memory"}:
        policy.sleep(policy.request_timeout)
    with pending_claim(record.attempt):
        if not store.put_new(layout.record_path(path, record), dump_record(record)):
            return None
        attempt = Attempt(store, path, record, policy)
        attempt.images = sources.images
        register(attempt)
    logger.info("%s", computing_message(url, record))
    if claim.discard and standing is not None:
        logger.warning("%s: %s", url, discarding_message(standing))
    try:
        attempt.resumable = _sweep_before_writing(store, path, record, previous)
    except BaseException:
        attempt.note_unanswered()
        release_attempt(attempt)
        raise
    return attempt


def _sweep_before_writing(store: Store, path: str, record: Record, previous: Record | None) -> dict[str, Keys]:
    """Delete what is discarded, and what the data root of `record` holds; return the images it may go on with."""
    if previous is not None and previous.state in {"claimed", "failed", "released"}:
        keep_logs(store, path, previous)
    if record.discards is not None:
        sweep(store, path, record)
    return sweep_inherited_root(store, path, record)


def _claim_record(
    observation: Observation, claim: Claim, node_request: NodeRequest, policy: Policy, reasons: list[str]
) -> Record:
    attempt, previous = new_id(), observation.record
    seq = previous.seq + 1 if previous else 1
    inherits = previous is not None and claim.root is not None
    return Record(
        seq=seq,
        after=previous.attempt if previous else "root",
        state="claimed",
        attempt=attempt,
        nonce=new_id(),
        root=claim.root or attempt_root(attempt),
        root_seq=previous.root_seq if previous is not None and inherits else seq,
        time=utc_timestamp(),
        owner=this_owner(record_host=policy.record_host),
        ttl=policy.ttl,
        key=node_request.key,
        digest=node_request.request.digest,
        version=version_of(node_request, attempt, previous),
        forced=node_request.request.force and not node_request.keep_version,
        reason=tuple(reasons),
        standing=previous.standing_next() if previous and not claim.discard else None,
        first=previous.first if previous else None,
        discards=seq if claim.discard else previous.discards if previous else None,
    )


_sibling_names: dict[str, dict[str, str]] = {}


def _check_sibling_names(store: Store, path: str) -> None:
    """Refuse a name that equals the name of a sibling on a case-insensitive disk.

    Siblings are listed once per parent and process, and again before a name is refused.
    """
    parent, _, name = path.rpartition("/")
    siblings = _sibling_names.get(store.url(parent))
    for attempt in range(2):
        if siblings is None or attempt:
            siblings = _sibling_names[store.url(parent)] = {_fold_name(d): d for d in store.list(parent).dirs}
        other = siblings.setdefault(_fold_name(name), name)
        if other == name:
            return
    msg = f"{store.url(path)} differs from its sibling {other!r} only by case or composition; choose another name"
    raise InvalidName(msg)


def _fold_name(name: str) -> str:
    """Return the case-folded name: equal for two names that some disk treats as one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _check_exclusive(store: Store, path: str, policy: Policy) -> bool:
    """Return whether the store elects one winner; raise if not, unless the policy accepts that."""
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
