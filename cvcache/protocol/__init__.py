"""Who may write: a log of records, the rules of what may follow, and the attempts that hold the right."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from cvcache.protocol import attempt, claim, finish, heartbeat, observe, remove, rules
    from cvcache.protocol.attempt import Attempt, open_attempt, running
    from cvcache.protocol.claim import obtain
    from cvcache.protocol.finish import commit_attempt, finish_attempt, release_attempt
    from cvcache.protocol.item_write import Turn
    from cvcache.protocol.messages import describe_owner, refusal, why_claimed
    from cvcache.protocol.observe import LeaseWatch, is_foreign, observe_node, raise_if_replaced, read_newest
    from cvcache.protocol.opener import acting_for_opener
    from cvcache.protocol.owner import is_dead, new_id, now, this_owner
    from cvcache.protocol.policy import Policy
    from cvcache.protocol.record import (
        MAX_ITEM_BYTES,
        MAX_RECORD_BYTES,
        SCHEMA,
        STATES,
        Owner,
        Record,
        dump_inventory,
        dump_record,
        load_inventory,
        load_made,
        load_record,
    )
    from cvcache.protocol.remove import check_removal, remove_node
    from cvcache.protocol.request import NodeRequest, Sources, version_of
    from cvcache.protocol.resume import resume
    from cvcache.protocol.rules import (
        Claim,
        Decision,
        FinishRemoval,
        Liveness,
        Observation,
        OnStale,
        Refuse,
        Request,
        Sibling,
        Use,
        Wait,
        decide,
        decide_removal,
    )
    from cvcache.protocol.strict_json import MAX_DEPTH
    from cvcache.protocol.sweep import delete_item

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["attempt", "claim", "finish", "heartbeat", "observe", "remove", "rules"],
    submod_attrs={
        "attempt": ["Attempt", "open_attempt", "running"],
        "claim": ["obtain"],
        "finish": ["commit_attempt", "finish_attempt", "release_attempt"],
        "item_write": ["Turn"],
        "messages": ["describe_owner", "refusal", "why_claimed"],
        "observe": ["LeaseWatch", "is_foreign", "observe_node", "raise_if_replaced", "read_newest"],
        "opener": ["acting_for_opener"],
        "owner": ["is_dead", "new_id", "now", "this_owner"],
        "policy": ["Policy"],
        "record": [
            "MAX_ITEM_BYTES",
            "MAX_RECORD_BYTES",
            "Owner",
            "Record",
            "SCHEMA",
            "STATES",
            "dump_inventory",
            "dump_record",
            "load_inventory",
            "load_made",
            "load_record",
        ],
        "remove": ["check_removal", "remove_node"],
        "request": ["NodeRequest", "Sources", "version_of"],
        "resume": ["resume"],
        "rules": [
            "Claim",
            "Decision",
            "FinishRemoval",
            "Liveness",
            "Observation",
            "OnStale",
            "Refuse",
            "Request",
            "Sibling",
            "Use",
            "Wait",
            "decide",
            "decide_removal",
        ],
        "strict_json": ["MAX_DEPTH"],
        "sweep": ["delete_item"],
    },
)
