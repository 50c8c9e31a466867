"""What is asked of a node, and what the result will count as in keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cvcache.protocol.record import Record
from cvcache.protocol.rules import Request


class Sources(NamedTuple):
    """What a key holds of other nodes: where they lie and in which version, and what is recorded of their images."""

    inputs: tuple[Mapping[str, str], ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()


class NodeRequest(NamedTuple):
    """What a caller wants of a node: what the protocol sees, and what goes into the record.

    `sources` finds the inputs in the key, and is called only if the node has to be computed. `keep_version`: a forced
    result keeps the version of the key, so nothing downstream runs again. `explain` returns the differences between
    two keys, one line each: the protocol itself knows a key as a digest and opaque JSON.
    """

    request: Request
    key: Any = None
    sources: Callable[[], Sources] = Sources
    keep_version: bool = False
    explain: Callable[[Any, Any], list[str]] = lambda *_: []


def is_forced(wish: NodeRequest, before: Record | None) -> bool:
    """Whether a result counts as a new version: one was asked for, now or by an attempt `before` that did not end."""
    return wish.request.force or (before is not None and before.forced and before.state in {"claimed", "failed"})


def version_of(wish: NodeRequest, attempt: str, before: Record | None) -> str:
    """Return what the result of `attempt` counts as in keys: its key alone, where that says what it holds.

    Forced alone it counts as what is there `before`.
    """
    digest = wish.request.digest
    if digest and wish.keep_version and before is not None and (before.state, before.digest) == ("committed", digest):
        return before.version or digest
    return digest if digest and (wish.keep_version or not is_forced(wish, before)) else f"{digest or ''}+{attempt}"
