"""The commit of a node, as users see it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvcache.protocol import Record


@dataclass(frozen=True, slots=True)
class Commit:
    """The record that makes a node complete. It exists if and only if the node is.

    Attributes
    ----------
    time : datetime.datetime
        When it was written, by the clock of the machine that wrote it, in UTC.
    version : str
        The version that an item of this node has in a key.
    key : object
        The canonical key, as plain JSON values; None for a node committed without one.
    duration : float
        Seconds from the claim to the commit.
    host : str
        Name of the machine, empty where it is not recorded.
    reason : tuple of str
        Why the node was computed.
    meta : mapping
        User metadata.
    """

    time: datetime.datetime
    attempt: str
    version: str
    key: Any = None
    digest: str | None = None
    root: str = "."
    duration: float = 0.0
    host: str = ""
    reason: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record) -> Commit:
        """Return the commit that `record`, a committed one, describes."""
        try:
            time = datetime.datetime.fromisoformat(record.time).astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            time = datetime.datetime.fromtimestamp(0, datetime.UTC)
        return cls(
            time=time,
            attempt=record.attempt,
            version=record.version or record.attempt,
            key=record.key,
            digest=record.digest,
            root=record.root,
            duration=record.duration or 0.0,
            host=record.owner.host,
            reason=record.reason,
            meta=record.meta,
        )
