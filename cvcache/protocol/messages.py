"""Messages: why a node is computed, and why a request is refused."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from cvcache.errors import CvcacheError, NodeBusy, NodeStale, NotACacheDir, RecursiveNode
from cvcache.protocol.record import Record
from cvcache.protocol.request import NodeRequest
from cvcache.protocol.rules import Liveness, Observation


def claim_reasons(observation: Observation, node_request: NodeRequest, standing: Record | None) -> list[str]:
    """Return the reasons for a new attempt, one line each; never empty. `standing`: the commit that stands."""
    record = observation.record
    if record is None:
        return ["first run"]
    reasons = differences_from(standing, node_request)
    if node_request.request.force:
        reasons.append("forced")
    match record.state:
        case "failed":
            error = record.error or {}
            reasons.append(
                f"the last attempt failed: {error.get('type', 'error')}: {error.get('message', '')}".rstrip(": ")
            )
        case "released":
            reasons.append("the last attempt was given up")
        case "removed" | "removing":
            reasons.append("the node was removed")
        case "claimed":
            reasons.append(_takeover_reason(observation, record))
    return reasons or ["the key changed"]


def differences_from(standing: Record | None, node_request: NodeRequest) -> list[str]:
    """Return what differs between the key of the commit that stands and the one that is asked for, one line each."""
    if standing is None or node_request.request.digest in {None, standing.digest}:
        return []
    return node_request.explain(standing.key, node_request.key)


def computing_message(url: str, record: Record) -> str:
    """Return what is logged as soon as an attempt holds its node, and is the first line of the step's own log."""
    standing = standing_text(record)
    meanwhile = f"; the {standing} until it is committed" if standing else ""
    return f"{url}: computing ({'; '.join(record.reason)}){meanwhile}"


def standing_text(record: Record | None) -> str:
    """Return that a commit stands under `record`, the newest one of a node, and of which day; empty if none does."""
    if record is None or record.standing is None:
        return ""
    return f"result of {_day_text(record.standing.time)} stands"


def _day_text(time: str) -> str:
    try:
        day = datetime.datetime.fromisoformat(time).astimezone()
    except (ValueError, OverflowError, OSError):
        return "an unknown day"
    year = "" if day.year == datetime.datetime.now(day.tzinfo).year else f" {day.year}"
    return f"{day.day} {day:%b}{year}"


def discarding_message(standing: Record) -> str:
    """Return what is logged before the commit that stands is deleted for want of space for two."""
    took = f", which took {standing.duration:.1f} s," if standing.duration is not None else ""
    return f"the result of {standing.time}{took} is deleted first (keep_old=False)"


def _takeover_reason(observation: Observation, record: Record) -> str:
    if observation.liveness is Liveness.MINE:
        return "the last attempt of this process was not committed"
    if observation.liveness is Liveness.DEAD:
        return f"the last attempt died before its commit ({describe_owner(record)})"
    return f"the last attempt fell silent ({describe_owner(record)})"


def describe_owner(record: Record) -> str:
    """Return a description of the owner of the attempt of `record`."""
    owner = record.owner
    where = f" on {owner.host}" if owner.host else ""
    return f"pid {owner.pid}{where}, thread {owner.thread}, since {record.time}"


def refusal_message(
    url: str,
    observation: Observation,
    error: type[CvcacheError] = NodeBusy,
    differences: Iterable[str] = (),
) -> str:
    """Return the message of an error: what, where, why and what to do."""
    record = observation.record
    if record is None or error is NotACacheDir:
        return (
            f"{url} holds data that cvcache did not write, or is a file or a link; nothing was changed. "
            "Give a directory that is empty or new: no option makes cvcache delete what it did not create"
        )
    if error is RecursiveNode:
        return f"{url} is open in a body that this code is called from; give the inner step a child of its own"
    if error is NodeStale:
        was = f"{url} was committed with another key ({'; '.join(differences)})"
        return f"{was}; use on_stale='recompute' or 'new' to go on"
    doing = "removed" if record.state == "removing" else "written"
    return f"{url} is being {doing} by {describe_owner(record)}"
