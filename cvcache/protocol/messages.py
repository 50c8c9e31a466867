"""Why a node is computed, and why a caller cannot have it: the sentences people read."""

from __future__ import annotations

from cvcache.errors import CvcacheError, NodeBusy, NodeStale, NotACacheDir, RecursiveNode
from cvcache.protocol.record import Record
from cvcache.protocol.request import NodeRequest
from cvcache.protocol.rules import Liveness, Observation


def claim_reasons(view: Observation, wish: NodeRequest) -> list[str]:
    """Return the reasons for a new attempt, one a line; never empty."""
    record = view.record
    if record is None:
        return ["first run"]
    match record.state:
        case "failed":
            error = record.error or {}
            return [f"the last attempt failed: {error.get('type', 'error')}: {error.get('message', '')}".rstrip(": ")]
        case "released":
            return ["the last attempt was given up"]
        case "removed" | "removing":
            return ["the node was removed"]
        case "claimed":
            return [_why_taken(view, record)]
    reasons = [] if wish.request.digest in {None, record.digest} else wish.explain(record.key, wish.key)
    return [*reasons, *(["forced"] if wish.request.force else [])] or ["the key changed"]


def _why_taken(view: Observation, record: Record) -> str:
    if view.liveness is Liveness.MINE:
        return "the last attempt of this process was not committed"
    if view.liveness is Liveness.DEAD:
        return f"the last attempt died before its commit ({describe_owner(record)})"
    return f"the last attempt fell silent ({describe_owner(record)})"


def describe_owner(record: Record) -> str:
    """Return who holds, or held, the attempt of `record`."""
    owner = record.owner
    where = f" on {owner.host}" if owner.host else ""
    return f"pid {owner.pid}{where}, thread {owner.thread}, since {record.time}"


def refusal_message(
    url: str, view: Observation, error: type[CvcacheError] = NodeBusy, wish: NodeRequest | None = None
) -> str:
    """Return the sentence of an error: what, where, why and the way out."""
    record = view.record
    if record is None or error is NotACacheDir:
        return (
            f"{url} holds data that cvcache did not write, or is a file or a link; nothing was changed. "
            "Give a directory that is empty or new: no option makes cvcache delete what it did not create"
        )
    if error is RecursiveNode:
        return f"{url} is open in a body that this code is called from; give the inner step a child of its own"
    if error is NodeStale:
        reasons = "; ".join(wish.explain(record.key, wish.key) if wish else ())
        return f"{url} was committed with another key ({reasons}); use on_stale='recompute' or 'new' to go on"
    doing = "removed" if record.state == "removing" else "written"
    return f"{url} is being {doing} by {describe_owner(record)}"
