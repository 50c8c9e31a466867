"""What a script would compute, and why, without computing it."""

from __future__ import annotations

import traceback
from contextvars import Token
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from cvcache.errors import NotComputed
from cvcache.keys import key_differences
from cvcache.node.address import Address
from cvcache.node.init import find_result_for, planner, read_sibling
from cvcache.node.request import sibling_of
from cvcache.node.snapshot import Snapshot
from cvcache.protocol import (
    LeaseWatch,
    NodeRecords,
    NodeRequest,
    OnStale,
    Record,
    Refuse,
    Sibling,
    Use,
    Wait,
    claim_reasons,
    decide,
    describe_owner,
    differences_from,
    new_id,
    observe_node,
    refusal_message,
    standing_record,
    utc_timestamp,
    version_of,
)

_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Planned:
    """One node a script asks for.

    Attributes
    ----------
    url : str
    action : str
        ``"read"``, ``"compute"``, or ``"wait"`` for another process that computes it.
    reason : tuple of str
        Why it would be computed, one difference a line.
    seconds : float or None
        Duration of the last commit there.
    """

    url: str
    action: str
    reason: tuple[str, ...] = ()
    seconds: float | None = None

    def __str__(self) -> str:
        reasons = f" ({'; '.join(self.reason)})" if self.reason else ""
        took = f", took {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.action:<8}{self.url}{reasons}{took}"


class plan:  # noqa: N801 - used like a function: ``with cvcache.plan() as p:``
    """List what the code in this context would compute and why; no step runs, nothing is written.

    Each node that would be computed gets a version, so that what depends on it is listed too. Where the
    code reads what only a real run computes, the plan ends: `ended` says where. Code under ``if not d.committed:`` is
    left out, that of a bare ``with cdir_init(...)`` runs up to its first write. Threads that the code starts are not in
    the context; those of a script that `cvcache plan` runs are. Removals and copies of nodes are really done.

    Attributes
    ----------
    rows : list of Planned
        In the order of the script.
    ended : str
        Where the plan had to end; empty if the code ran to its end.

    Notes
    -----
    One LIST and one GET a node.

    Examples
    --------
    >>> import cvcache
    >>> @cvcache.step
    ... def double(out, a):
    ...     out.write("double.json", 2 * a)
    >>> root = cvcache.cdir("memory://docs-plan/run")
    >>> with cvcache.plan() as planned:
    ...     node = double(root / "double", 21)
    >>> print(planned.rows[0])
    compute memory://docs-plan/run/double (first run)
    """

    def __init__(self) -> None:
        self.rows: list[Planned] = []
        self.ended = ""
        self._planned: dict[Address, Snapshot] = {}
        self._token: Token[Any] | None = None

    def __enter__(self) -> Self:
        self._token = planner.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> bool:
        if self._token is not None:
            planner.reset(self._token)
        if not isinstance(error, NotComputed):
            return False
        frames = [f for f in traceback.extract_tb(tb) if _PACKAGE not in Path(f.filename).parents]
        where = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
        self.ended = f"{where}{error}"
        return True

    def open_node(self, address: Address, node_request: NodeRequest) -> Snapshot:
        """Return the committed node, or a planned one in place of the result it would get."""
        if (planned := self.planned(address)) is not None:
            return self._open_again(planned, node_request)
        if address.context.uncached is not None:
            return self._compute(address, node_request, "compute", ["nothing is kept without a cache"], None)
        watch = LeaseWatch(address.context.policy)
        observation = observe_node(address.store, address.path, watch, node_request.request)
        decision = decide(observation, node_request.request._replace(wait=True))
        record = observation.record
        standing = standing_record(address.store, address.path, record)
        match decision:
            case Use():
                return self._read(Snapshot.of(address, NodeRecords(record, standing)))
            case Sibling():
                return self.open_node(read_sibling(address, node_request), node_request)
            case Refuse():
                differences = differences_from(standing, node_request)
                raise decision.error(refusal_message(address.url, observation, decision.error, differences))
            case Wait():
                reason = [describe_owner(record)] if record else []
                return self._compute(address, node_request, "wait", reason, standing)
        if (other := find_result_for(address, node_request.request)) is not None:
            return self._read(other)
        return self._compute(
            address, node_request, "compute", claim_reasons(observation, node_request, standing), standing
        )

    def planned(self, address: Address) -> Snapshot | None:
        """Return what stands in for the result of this node, or None."""
        return self._planned.get(address)

    def _read(self, node: Snapshot) -> Snapshot:
        self.rows.append(Planned(node.result_url, "read"))
        return node

    def _open_again(self, planned: Snapshot, node_request: NodeRequest) -> Snapshot:
        """Return the answer for a node that is in this plan already."""
        address, record = planned.address, cast("Record", planned.record)
        same = node_request.request.digest in {None, record.digest}
        if same and not node_request.request.force:
            return planned
        if not same and node_request.request.on_stale is OnStale.NEW:
            return self.open_node(sibling_of(address, record.key, node_request), node_request)
        reason = key_differences(record.key, node_request.key) or ["forced"]
        return self._compute(address, node_request, "compute", reason, None)

    def _compute(
        self, address: Address, node_request: NodeRequest, action: str, reason: list[str], standing: Record | None
    ) -> Snapshot:
        seconds = standing.duration if standing is not None else None
        self.rows.append(Planned(address.url, action, tuple(reason), seconds))
        planned = self._planned[address] = _planned_snapshot(address, node_request, tuple(reason), standing)
        return planned


def _planned_snapshot(
    address: Address, node_request: NodeRequest, reason: tuple[str, ...], standing: Record | None
) -> Snapshot:
    """Return what stands in for the result: it has a version for the keys of other nodes, and no items."""
    attempt = new_id()
    record = Record(
        seq=1,
        after="root",
        state="planned",
        attempt=attempt,
        nonce=attempt,
        time=utc_timestamp(),
        key=node_request.key,
        digest=node_request.request.digest,
        version=version_of(node_request, attempt, standing),
        inputs=node_request.sources().inputs,
        reason=reason,
    )
    return Snapshot(address, record, computed=True)
