"""Read the newest record of a node, or open it for writing."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from cvcache import protocol
from cvcache.node.address import Address
from cvcache.node.request import request_for, sibling_of
from cvcache.node.snapshot import Snapshot

if TYPE_CHECKING:
    from cvcache.node.uncached import Uncached

logger = logging.getLogger("cvcache")


class Planner(Protocol):
    """Answers requests for nodes in place of the protocol, and computes nothing."""

    def open_node(self, address: Address, node_request: protocol.NodeRequest) -> Snapshot:
        """Return the result, or what stands in for the one that would be computed."""

    def planned(self, address: Address) -> Snapshot | None:
        """Return what stands in for the result of this node, or None."""


planner: ContextVar[Planner | None] = ContextVar("cvcache_planner", default=None)
"""The plan of this context."""


process_planners: list[Planner] = []
"""The plan of the whole process, its threads included; empty for none."""


def current_planner() -> Planner | None:
    """Return the plan of this context, or else of the whole process."""
    own = planner.get()
    return own if own is not None else next(iter(process_planners), None)


def read_snapshot(address: Address) -> Snapshot:
    """Return the node as it is now; one LIST and one GET, for each tree of its context that has no result.

    One GET more where an attempt followed the commit that stands.
    """
    context = address.context
    if context.uncached is not None:
        return _uncached_snapshot(address, context.uncached.get(address.path))
    if (current := current_planner()) is not None and (stand_in := current.planned(address)) is not None:
        return stand_in
    node = Snapshot.of(address, protocol.read_node_records(address.store, address.path))
    if context.also and node.state == "absent":
        return find_in_other_trees(address, None) or node
    return node


def current_state(node: Snapshot) -> str:
    """Return `Snapshot.state`, or "stale"; of a committed node one LIST and one GET for each of its inputs."""
    return node.state_among(lambda source, _: read_snapshot(source).committed_version)


def find_in_other_trees(address: Address, digest: str | None) -> Snapshot | None:
    """Return the node in another tree of its context, if it is complete there with this key digest (None: any).

    One LIST and one GET each.
    """
    for other in address.others():
        try:
            node = read_snapshot(other)
        except OSError as error:  # a tree that cannot be read counts as empty
            logger.warning("%s cannot be looked at (%s); going on without it", other.url, error)
            continue
        if node.committed and node.record is not None and digest in {None, node.record.digest}:
            return node._replace(address=address, other=node.other or other)
    return None


def find_result_for(address: Address, request: protocol.Request) -> Snapshot | None:
    """Return a result in another tree that fits the request; one LIST and one GET each."""
    return None if request.force else find_in_other_trees(address, request.digest)


def open_node(
    address: Address,
    key: object = None,
    *,
    on_stale: str | None = None,
    force: bool | str = False,
    wait: bool | None = None,
) -> Snapshot:
    """Open a node, or a sibling of it, for writing; or read its result, if its key matches; see `cdir_init`."""
    context = address.context
    key = key if context.uncached is None else None  # nothing is found by it
    node_request = request_for(address, key, on_stale=on_stale, force=force, wait=wait)
    if (current := current_planner()) is not None:
        return current.open_node(address, node_request)
    if context.uncached is not None:
        from cvcache.node.uncached import Uncached  # few scripts run without a cache

        context.uncached[address.path] = uncached = Uncached.open(address.name)
        return _uncached_snapshot(address, uncached)
    while isinstance(result := _obtain(address, node_request), protocol.Sibling):
        address = read_sibling(address, node_request)
    return result


def read_sibling(address: Address, node_request: protocol.NodeRequest) -> Address:
    """Return the sibling that holds the result for the key of `node_request`; one LIST and one GET."""
    standing = protocol.read_node_records(address.store, address.path).standing
    return sibling_of(address, standing.key if standing else None, node_request)


def _uncached_snapshot(address: Address, uncached: Uncached | None) -> Snapshot:
    if uncached is None:
        return Snapshot(address)
    attempt = uncached.attempt if uncached.attempt.outcome is None else None
    return Snapshot(address, uncached.record, attempt, uncached.record.state == "committed", uncached)


def _obtain(address: Address, node_request: protocol.NodeRequest) -> Snapshot | protocol.Sibling:
    """Return the node, committed or open for writing; `Sibling` if the result belongs in a sibling."""
    context, store, path = address.context, address.store, address.path
    result = protocol.obtain_node(
        store, path, node_request, context.policy, lambda: find_result_for(address, node_request.request)
    )
    if isinstance(result, Snapshot):
        # the result of another tree is copied if the user wants it, and if this tree has a record of its own: a later
        # handle would read that one first
        if context.copy_on_read or _has_own_record(address, node_request):
            other, result = result, protocol.obtain_node(store, path, node_request, context.policy)
            if isinstance(result, protocol.Attempt):
                from cvcache.node.copy_node import copy_items_into  # few trees look into others

                copied = copy_items_into(result, other)
                result = protocol.NodeRecords(copied, copied)
            elif isinstance(result, protocol.Sibling):  # the result in this tree has another key and stays
                result = other
        if isinstance(result, Snapshot):
            logger.info("%s: read from %s", address.url, result.result_url)
            return result
    if isinstance(result, protocol.Attempt):
        return Snapshot(address, result.record, result)
    if isinstance(result, protocol.NodeRecords):
        if logger.isEnabledFor(logging.INFO) and result.standing is not None:  # a hit counts its microseconds
            logger.info("%s: read, computed %s", address.url, result.standing.time)
        return Snapshot.of(address, result)
    return result


def _has_own_record(address: Address, node_request: protocol.NodeRequest) -> bool:
    """Whether this tree has a record of the node that a result of another tree would have to follow."""
    return (
        node_request.request.on_stale is not protocol.OnStale.NEW
        and protocol.read_newest_record(address.store, address.path) is not None
    )
