"""Who may write to a node: its log of records, the rules of the transitions, and the attempts with their leases."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.protocol import attempt, chain, claim, finish, heartbeat, observe, remove, resume, rules, sweep
    from cvcache.protocol.attempt import Attempt, find_open_attempt_at, running_attempts
    from cvcache.protocol.chain import (
        NodeRecords,
        raise_if_replaced,
        read_newest_record,
        read_node_records,
        standing_path,
        standing_record,
    )
    from cvcache.protocol.claim import obtain_node
    from cvcache.protocol.finish import commit_attempt, finish_attempt, release_attempt
    from cvcache.protocol.messages import (
        claim_reasons,
        computing_message,
        describe_owner,
        differences_from,
        refusal_message,
        standing_text,
    )
    from cvcache.protocol.observe import LeaseWatch, is_foreign, observe_node
    from cvcache.protocol.opener import acting_for_opener
    from cvcache.protocol.owner import new_id, owner_is_dead, this_owner, utc_timestamp
    from cvcache.protocol.policy import OnStale, Policy, check_on_stale, default_policy
    from cvcache.protocol.record import (
        MAX_INLINE_ITEMS_BYTES,
        MAX_RECORD_BYTES,
        RECORD_SCHEMA,
        RECORD_STATES,
        Owner,
        Record,
        Standing,
        dump_inventory,
        dump_record,
        load_environment,
        load_inventory,
        load_record,
    )
    from cvcache.protocol.remove import check_removal, remove_node
    from cvcache.protocol.request import NodeRequest, Sources, version_of
    from cvcache.protocol.resume import resume_item
    from cvcache.protocol.rules import (
        Claim,
        Decision,
        FinishRemoval,
        Liveness,
        Observation,
        Refuse,
        Request,
        Sibling,
        Use,
        Wait,
        decide,
        decide_removal,
    )
    from cvcache.protocol.strict_json import MAX_JSON_DEPTH
    from cvcache.protocol.sweep import delete_item

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["attempt", "chain", "claim", "finish", "heartbeat", "observe", "remove", "resume", "rules", "sweep"],
    submod_attrs={
        "attempt": ["Attempt", "find_open_attempt_at", "running_attempts"],
        "chain": [
            "NodeRecords",
            "raise_if_replaced",
            "read_newest_record",
            "read_node_records",
            "standing_path",
            "standing_record",
        ],
        "claim": ["obtain_node"],
        "finish": ["commit_attempt", "finish_attempt", "release_attempt"],
        "messages": [
            "claim_reasons",
            "computing_message",
            "describe_owner",
            "differences_from",
            "refusal_message",
            "standing_text",
        ],
        "observe": ["LeaseWatch", "is_foreign", "observe_node"],
        "opener": ["acting_for_opener"],
        "owner": ["new_id", "owner_is_dead", "this_owner", "utc_timestamp"],
        "policy": ["OnStale", "Policy", "check_on_stale", "default_policy"],
        "record": [
            "MAX_INLINE_ITEMS_BYTES",
            "MAX_RECORD_BYTES",
            "Owner",
            "RECORD_SCHEMA",
            "RECORD_STATES",
            "Record",
            "Standing",
            "dump_inventory",
            "dump_record",
            "load_environment",
            "load_inventory",
            "load_record",
        ],
        "remove": ["check_removal", "remove_node"],
        "request": ["NodeRequest", "Sources", "version_of"],
        "resume": ["resume_item"],
        "rules": [
            "Claim",
            "Decision",
            "FinishRemoval",
            "Liveness",
            "Observation",
            "Refuse",
            "Request",
            "Sibling",
            "Use",
            "Wait",
            "decide",
            "decide_removal",
        ],
        "strict_json": ["MAX_JSON_DEPTH"],
        "sweep": ["delete_item"],
    },
)
