"""Every rule of the commit protocol, in two pure functions: `decide` and `decide_removal`.

Rule 1: every decision about who may write, wait, read or delete is in this file.
Rule 2: this file does no I/O and has no clock; its input is an observation, its output a decision.

The invariants it upholds (docs/reference/spec.md numbers them):

* a transition is the creation of exactly one new record, named by number and predecessor;
* what was committed stands until the next commit, a removal or a discarding claim, and its root is not written;
* an attempt writes where another did only if that one is known to have stopped, and was not committed;
* a live owner never loses its lease, and after a silent one the next attempt writes elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from cvcache.errors import CvcacheError, NodeBusy, NodeStale, NotACacheDir, RecursiveNode
from cvcache.protocol.policy import OnStale
from cvcache.protocol.record import Record
from cvcache.store import IN_PLACE


class Liveness(Enum):
    """What is known about the owner of the newest record."""

    MINE = "held by this thread, or by one of this process that has ended"
    RUNNING = "held by a body this thread is inside of"
    ALIVE = "not known to be gone"
    DEAD = "proved dead on this machine"
    EXPIRED = "silent for longer than its lease"


class Observation(NamedTuple):
    """The observed state of a node.

    `shared`: other processes may write for the newest attempt. `foreign`: there is no log, but data
    that cvcache did not write.
    """

    record: Record | None = None
    liveness: Liveness = Liveness.ALIVE
    shared: bool = False
    foreign: bool = False


class Request(NamedTuple):
    """The request of a caller; with a digest of None, any committed result will do."""

    digest: str | None = None
    force: bool = False
    wait: bool = True
    on_stale: OnStale = OnStale.RECOMPUTE
    keep_old: bool = True


@dataclass(frozen=True, slots=True)
class Use:
    """Use the commit that stands."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim the node by the next record.

    `root`: where the new attempt writes, the data root of a new node or that of its predecessor; None for a new one of
    its own. `settle`: before that, wait until requests of a killed process have reached the store. `fence`: first stop
    the older attempt of this process. `discard`: what was before ends with the claim: what
    stands, or what a removal may have missed.
    """

    root: str | None = None
    settle: bool = False
    fence: bool = False
    discard: bool = False


@dataclass(frozen=True, slots=True)
class Sibling:
    """Keep the committed result and use a sibling node named after the difference."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A live owner has the lease: observe again later."""


@dataclass(frozen=True, slots=True)
class FinishRemoval:
    """A removal was begun by an owner that is gone: complete it, then observe again."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Raise this error."""

    error: type[CvcacheError]


Decision = Use | Claim | Sibling | Wait | FinishRemoval | Refuse


def decide(observation: Observation, request: Request) -> Decision:
    """Return what a caller with `request` has to do with the observed node."""
    record = observation.record
    if record is None:
        return Refuse(NotACacheDir) if observation.foreign else Claim(IN_PLACE)
    if is_hit(record, request):
        return Use()
    is_stale = record.result is not None and request.digest not in {None, record.result.digest}
    if is_stale and request.on_stale is OnStale.NEW:
        return Sibling()
    if record.state in {"claimed", "removing"} and observation.liveness in {Liveness.RUNNING, Liveness.ALIVE}:
        return _decide_held(observation, request)
    if is_stale and request.on_stale is OnStale.ERROR and not request.force:
        return Refuse(NodeStale)
    if record.state == "removing":
        return FinishRemoval()
    discard = record.state == "removed" or (record.result is not None and not request.keep_old)
    return replace(_new_claim(observation, record), discard=discard)


def is_hit(record: Record, request: Request) -> bool:
    """Whether the commit that stands is what `request` asks for."""
    result = record.result
    return result is not None and not request.force and request.digest in {None, result.digest}


def _decide_held(observation: Observation, request: Request) -> Decision:
    """Decide about a node whose newest record has an owner that may be alive."""
    if observation.liveness is Liveness.RUNNING:
        return Refuse(RecursiveNode)
    return Wait() if request.wait else Refuse(NodeBusy)


def _new_claim(observation: Observation, record: Record) -> Claim:
    """Return a claim that inherits the data root of `record` if nobody else writes there any more, by induction."""
    match record.state:
        case "failed" | "released":
            return Claim(None if record.shared else record.root)
        case "claimed":
            is_mine, is_dead = observation.liveness is Liveness.MINE, observation.liveness is Liveness.DEAD
            inherits = (is_mine or is_dead) and not observation.shared
            return Claim(record.root if inherits else None, settle=is_dead and inherits, fence=is_mine)
    return Claim()


def decide_removal(observation: Observation, *, force: bool) -> Decision:
    """Return what a caller that removes the node has to do; `Use` means that there is nothing to remove."""
    record = observation.record
    if record is None:
        return Refuse(NotACacheDir) if observation.foreign else Use()
    if record.state == "removed":
        return Use()
    if record.state in {"claimed", "removing"}:
        if observation.liveness is Liveness.RUNNING:
            return Refuse(RecursiveNode)
        if observation.liveness is Liveness.ALIVE and not force:
            return Refuse(NodeBusy)
    return FinishRemoval()
