"""Removing a node: everything cvcache wrote there, but no child node and no foreign object.

A removal is a transition like any other: the record "removing" takes the lease, "removed" ends it. Objects are deleted
by name, of attempts that the log lists, so that neither foreign data nor a newer attempt can be hit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from cvcache.errors import CvcacheError
from cvcache.protocol.finish import fence_own_attempt
from cvcache.protocol.heartbeat import pending_claim
from cvcache.protocol.messages import refusal_message
from cvcache.protocol.observe import LeaseWatch, observe_node, raise_if_blocked
from cvcache.protocol.owner import new_id, this_owner, utc_timestamp
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import Record, dump_record
from cvcache.protocol.rules import FinishRemoval, Liveness, Observation, Refuse, Use, decide_removal
from cvcache.protocol.sweep import sweep
from cvcache.store import IN_PLACE, Store, layout


def check_removal(store: Store, path: str, policy: Policy, *, force: bool = False) -> None:
    """Raise what `remove_node` would raise now; nothing is changed."""
    observation = observe_node(store, path, LeaseWatch(policy))
    decision = decide_removal(observation, force=force)
    if isinstance(decision, Refuse):
        raise decision.error(refusal_message(store.url(path), observation, decision.error))


def remove_node(store: Store, path: str, policy: Policy, *, force: bool = False) -> bool:
    """Remove one node, never its children; return whether there was one."""
    watch = LeaseWatch(policy)
    while True:
        observation = observe_node(store, path, watch)
        match decide_removal(observation, force=force):
            case Use():
                return False
            case FinishRemoval():
                if finish_removal(store, path, observation, policy):
                    return True
            case Refuse() as decision:
                raise decision.error(refusal_message(store.url(path), observation, decision.error))
            case _ as decision:  # pragma: no cover - decide_removal returns no other
                raise CvcacheError(str(decision))


def finish_removal(store: Store, path: str, observation: Observation, policy: Policy) -> bool:
    """Write "removing", delete what cvcache wrote, write "removed"; False if another process wrote the first record.

    If another process writes the second record, it has finished this removal; what it wrote afterwards stays.
    """
    raise_if_blocked(store, path, observation)
    if not fence_own_attempt(observation, f"{store.url(path)} was removed"):
        return False
    attempt = new_id()
    record = cast("Record", observation.record).next(
        "removing",
        new_id(),
        utc_timestamp(),
        attempt=attempt,
        owner=this_owner(record_host=policy.record_host),
        ttl=policy.ttl,
        root=IN_PLACE,
        items=None,
        shared=False,
        standing=None,
        discards=None,
    )
    with pending_claim(attempt):
        if not store.put_new(layout.record_path(path, record), dump_record(record)):
            return False
        if observation.liveness is Liveness.DEAD and store.scheme not in {"file", "memory"}:
            policy.sleep(policy.request_timeout)
        sweep(store, path, record)
        removed = replace(
            record.next("removed", new_id(), utc_timestamp()),
            key=None,
            digest=None,
            version=None,
            inputs=(),
            reason=(),
            first=None,
        )
        store.put_new(layout.record_path(path, removed), dump_record(removed))
    return True
