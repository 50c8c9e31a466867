"""Every rule of the commit protocol, in two pure functions: `decide` and `decide_removal`.

Rule 1: every decision about who may write, wait, read or delete is in this file.
Rule 2: this file does no I/O and has no clock; its input is an observation, its output a decision.

The invariants it upholds (docs/reference/spec.md numbers them I1 to I7):

* a transition is the creation of exactly one new record, named by number and predecessor;
* a committed root is neither written nor deleted while its record is the newest;
* an attempt writes in place only if all earlier writers there are known to have stopped;
* a live owner never loses its lease, and after a silent one the next attempt writes elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from cvcache.errors import CvcacheError, NodeBusy, NodeStale, NotACacheDir, RecursiveNode
from cvcache.protocol.record import Record
from cvcache.store import IN_PLACE


class Liveness(Enum):
    """What is known about the owner of the newest record."""

    MINE = "held by this thread, or by one of this process that has ended"
    RUNNING = "held by a body this thread is inside of"
    ALIVE = "not known to be gone"
    DEAD = "proved dead on this machine"
    EXPIRED = "silent for longer than its lease"


class OnStale(Enum):
    """What to do with a committed node if the key has changed."""

    RECOMPUTE = "recompute"
    ERROR = "error"
    NEW = "new"


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


@dataclass(frozen=True, slots=True)
class Use:
    """Use the committed result."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim the node by the next record.

    `in_place`: the new attempt writes at the paths of the node, else in a directory of its own. `sweep`: delete
    announced leftovers once the claim is won. `settle`: before that, wait until requests of a killed process
    have reached the store. `fence`: first stop the older attempt of this process.
    """

    in_place: bool
    sweep: bool = False
    settle: bool = False
    fence: bool = False
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sibling:
    """Keep the committed result and use a sibling node named after the difference."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A live owner has the lease: observe again later."""


@dataclass(frozen=True, slots=True)
class FinishRemoval:
    """A removal was begun by an owner that is gone: complete it, then observe again."""

    unproven: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """Raise this error."""

    error: type[CvcacheError]


Decision = Use | Claim | Sibling | Wait | FinishRemoval | Refuse


def decide(observation: Observation, request: Request) -> Decision:
    """Return what a caller with `request` has to do with the observed node."""
    record = observation.record
    if record is None:
        return Refuse(NotACacheDir) if observation.foreign else Claim(in_place=True)
    if record.state == "committed":
        return _decide_committed(record, request)
    if record.state in {"claimed", "removing"}:
        return _decide_owned(observation, record, request)
    return _new_claim(_unproven(record, stopped=not record.shared))


def _decide_committed(record: Record, request: Request) -> Decision:
    stale = request.digest is not None and record.digest != request.digest
    if stale and request.on_stale is OnStale.NEW:
        return Sibling()
    if stale and request.on_stale is OnStale.ERROR and not request.force:
        return Refuse(NodeStale)
    if not stale and not request.force:
        return Use()
    return _new_claim(record.unproven)


def _decide_owned(observation: Observation, record: Record, request: Request) -> Decision:
    """Decide about a node whose newest record has an owner that may be alive."""
    if observation.liveness is Liveness.RUNNING:
        return Refuse(RecursiveNode)
    if observation.liveness is Liveness.ALIVE:
        return Wait() if request.wait else Refuse(NodeBusy)
    stopped = observation.liveness is not Liveness.EXPIRED and not observation.shared
    unproven = _unproven(record, stopped=stopped)
    if record.state == "removing":
        return FinishRemoval(unproven)
    return _new_claim(
        unproven,
        settle=observation.liveness is Liveness.DEAD,
        fence=observation.liveness is Liveness.MINE,
    )


def decide_removal(observation: Observation, *, force: bool) -> Decision:
    """Return what a caller that removes the node has to do; `Use` means that there is nothing to remove."""
    record = observation.record
    if record is None:
        return Refuse(NotACacheDir) if observation.foreign else Use()
    if record.state == "removed":
        return Use()
    if record.state not in {"claimed", "removing"}:
        stopped = record.state == "committed" or not record.shared
        return FinishRemoval(_unproven(record, stopped=stopped))
    if observation.liveness is Liveness.RUNNING:
        return Refuse(RecursiveNode)
    if observation.liveness is Liveness.ALIVE and not force:
        return Refuse(NodeBusy)
    stopped = observation.liveness in {Liveness.MINE, Liveness.DEAD} and not observation.shared
    return FinishRemoval(_unproven(record, stopped=stopped))


def _unproven(record: Record, *, stopped: bool) -> tuple[str, ...]:
    """Return the attempts that may still write in place, including the newest one unless it `stopped`."""
    if stopped or record.root != IN_PLACE or record.attempt in record.unproven:
        return record.unproven
    return (*record.unproven, record.attempt)


def _new_claim(unproven: tuple[str, ...], *, settle: bool = False, fence: bool = False) -> Claim:
    in_place = not unproven
    return Claim(in_place=in_place, sweep=in_place, settle=settle and in_place, fence=fence, unproven=unproven)
