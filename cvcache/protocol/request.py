"""The request for a node, and the version that its result has in the keys of other nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cvcache.protocol.record import Record
from cvcache.protocol.rules import Request


class Sources(NamedTuple):
    """Inputs of a key: URL and version of other nodes, and the metadata of their images."""

    inputs: tuple[Mapping[str, str], ...] = ()
    images: tuple[Mapping[str, Any], ...] = ()


class NodeRequest(NamedTuple):
    """The request for a node: the part that the rules decide on, and what goes into the record.

    `sources` finds the inputs in the key, and is called only if the node has to be computed. `keep_version`: a forced
    result keeps the version of the key, so nothing downstream runs again. `explain` returns the differences between
    two keys, one line each: the protocol itself knows a key as a digest and opaque JSON.
    """

    request: Request
    key: Any = None
    sources: Callable[[], Sources] = Sources
    keep_version: bool = False
    explain: Callable[[Any, Any], list[str]] = lambda *_: []


def version_of(node_request: NodeRequest, attempt: str, previous: Record | None) -> str:
    """Return the version of the result of `attempt`: the digest of its key, or a new one if the result is forced.

    With `keep_version` it is that of the commit that stands, if that has the same key.
    """
    digest, forced = node_request.request.digest, node_request.request.force
    standing = previous.result if previous is not None else None
    if digest and node_request.keep_version and standing is not None and standing.digest == digest:
        return standing.version or digest
    return digest if digest and (node_request.keep_version or not forced) else f"{digest or ''}+{attempt}"
