"""The commit of a node, as users see it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cvcache.node.item_io import read_environment
from cvcache.node.snapshot import Snapshot


@dataclass(frozen=True)
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
    digest : str or None
        Of the key.
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
    version: str
    key: Any = None
    digest: str | None = None
    duration: float = 0.0
    host: str = ""
    reason: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    _snapshot: ClassVar[Snapshot | None] = None  # of an instance what it was made from, which is no field

    @classmethod
    def of(cls, node: Snapshot) -> Commit:
        """Return the commit of a committed node."""
        record = node.record
        if record is None:
            msg = f"{node.url} has no commit"
            raise ValueError(msg)
        try:
            time = datetime.datetime.fromisoformat(record.time).astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            time = datetime.datetime.fromtimestamp(0, datetime.UTC)
        commit = cls(
            time=time,
            version=node.version,
            key=record.key,
            digest=record.digest,
            duration=record.duration or 0.0,
            host=record.owner.host,
            reason=record.reason,
            meta=record.meta,
        )
        object.__setattr__(commit, "_snapshot", node)
        return commit

    def environment(self) -> Mapping[str, Any]:
        """Return what the result was made with: Python, packages, git, peak memory; one GET.

        Returns
        -------
        mapping
            ``python``, ``platform``, ``packages`` (name -> version), ``peak_memory`` in bytes, and where the script
            was under git ``git`` (``commit``, ``dirty``). Without a cache that of this process, as it is now.
        """
        return read_environment(self._snapshot) if self._snapshot is not None else {}
