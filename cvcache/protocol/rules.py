"""Every rule of the commit protocol, in one pure function.

Rule 1: whatever decides who may write, wait, read or delete is in this file.
Rule 2: this file does no I/O and knows no clock; what was observed comes in, what to do goes out.

The invariants it upholds (docs/reference/spec.md numbers them I1 to I7):

* a transition is the creation of exactly one new record, named by number and predecessor;
* a committed root is neither written nor deleted while its record is the newest;
* the plain root is used again only when all who ever wrote there are known to have stopped;
* a live owner is never robbed, and a silent one is out-voted, not overwritten.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from cvcache.errors import CvcacheError, NodeBusy, NodeStale, NotACacheDir, RecursiveNode
from cvcache.protocol.record import Record
from cvcache.store import IN_PLACE


class Liveness(Enum):
    """What is known of the owner of the newest record."""

    MINE = "held by this thread, or by one of this process that has ended"
    RUNNING = "held by a body this thread is inside of"
    ALIVE = "not known to be gone"
    DEAD = "proved dead on this machine"
    EXPIRED = "silent for longer than its lease"


class OnStale(Enum):
    """What a changed key does to a committed node."""

    RECOMPUTE = "recompute"
    ERROR = "error"
    NEW = "new"


class Observation(NamedTuple):
    """What was seen of a node.

    `shared` says that the newest attempt gave work to other processes; `foreign` that a node
    without a log holds, or is in the place of, something cvcache did not write.
    """

    record: Record | None = None
    liveness: Liveness = Liveness.ALIVE
    shared: bool = False
    foreign: bool = False


class Request(NamedTuple):
    """What the caller wants of a node; a digest of None has no opinion."""

    digest: str | None = None
    force: bool = False
    wait: bool = True
    on_stale: OnStale = OnStale.RECOMPUTE


@dataclass(frozen=True, slots=True)
class Use:
    """The committed result is what the caller wants."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim the node by the next record.

    `in_place` gives the new attempt the plain root, else it gets its own. `sweep` says that the plain
    root may hold announced leftovers, to be deleted once the claim is won. `settle`: first let
    requests of a killed process land. `fence`: first stop this process's own older attempt.
    """

    in_place: bool
    sweep: bool = False
    settle: bool = False
    fence: bool = False
    unproven: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sibling:
    """Keep the committed result and go to a sibling named after the difference."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A live owner is at work: look again later."""


@dataclass(frozen=True, slots=True)
class FinishRemoval:
    """A removal was begun by somebody who is gone: complete it, then look again."""

    unproven: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refuse:
    """Raise this error."""

    error: type[CvcacheError]


Decision = Use | Claim | Sibling | Wait | FinishRemoval | Refuse


def decide(view: Observation, request: Request) -> Decision:
    """Decide what a caller that wants to have `request` does with a node seen as `view`."""
    record = view.record
    if record is None:
        return Refuse(NotACacheDir) if view.foreign else Claim(in_place=True)
    if record.state == "committed":
        return _decide_committed(record, request)
    if record.state in {"claimed", "removing"}:
        return _decide_held(view, record, request)
    return _claim(_unproven(record, stopped=not record.shared))


def _decide_committed(record: Record, request: Request) -> Decision:
    stale = request.digest is not None and record.digest != request.digest
    if stale and request.on_stale is OnStale.NEW:
        return Sibling()
    if stale and request.on_stale is OnStale.ERROR and not request.force:
        return Refuse(NodeStale)
    if not stale and not request.force:
        return Use()
    return _claim(record.unproven)


def _decide_held(view: Observation, record: Record, request: Request) -> Decision:
    """Decide about a node whose newest record has an owner who may still act."""
    if view.liveness is Liveness.RUNNING:
        return Refuse(RecursiveNode)
    if view.liveness is Liveness.ALIVE:
        return Wait() if request.wait else Refuse(NodeBusy)
    stopped = view.liveness is not Liveness.EXPIRED and not view.shared
    unproven = _unproven(record, stopped=stopped)
    if record.state == "removing":
        return FinishRemoval(unproven)
    return _claim(
        unproven,
        settle=view.liveness is Liveness.DEAD,
        fence=view.liveness is Liveness.MINE,
    )


def decide_removal(view: Observation, *, force: bool) -> Decision:
    """Decide what a caller that wants the node gone does; `Use` means that there is nothing to do."""
    record = view.record
    if record is None:
        return Refuse(NotACacheDir) if view.foreign else Use()
    if record.state == "removed":
        return Use()
    if record.state not in {"claimed", "removing"}:
        stopped = record.state == "committed" or not record.shared
        return FinishRemoval(_unproven(record, stopped=stopped))
    if view.liveness is Liveness.RUNNING:
        return Refuse(RecursiveNode)
    if view.liveness is Liveness.ALIVE and not force:
        return Refuse(NodeBusy)
    stopped = view.liveness in {Liveness.MINE, Liveness.DEAD} and not view.shared
    return FinishRemoval(_unproven(record, stopped=stopped))


def _unproven(record: Record, *, stopped: bool) -> tuple[str, ...]:
    """Return the attempts that may still write at the plain root, the newest one's included unless it `stopped`."""
    if stopped or record.root != IN_PLACE or record.attempt in record.unproven:
        return record.unproven
    return (*record.unproven, record.attempt)


def _claim(unproven: tuple[str, ...], *, settle: bool = False, fence: bool = False) -> Claim:
    in_place = not unproven
    return Claim(in_place=in_place, sweep=in_place, settle=settle and in_place, fence=fence, unproven=unproven)
