"""Where one item lies, as a format sees it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from cvcache.errors import ItemDamaged, NodeReplaced
from cvcache.store import reopen
from cvcache.store.base import ObjectInfo, Store

PIN_SECONDS = 1.0
"""How long a look at the log of a bucket holds while the chunks of one image are read."""

_looked: dict[str, float] = {}


def _nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """One item: the object at `path`, or for a directory format the objects below it.

    Attributes
    ----------
    store : Store
    path : str
        Full key of the item, without a scheme.
    meta : mapping
        What the format's ``write`` returned, as committed; empty when nothing is known.
    guard : callable
        Gives the context every write runs in: it raises once the attempt has lost its node.
    share : callable
        Called before another process is handed a part of the write.
    wrote : callable
        Told the key and the bytes of every part this process has written.
    pin : str
        Full key of the record that would replace the commit this place belongs to; empty for none.

    A place that crosses a pickle keeps where it is and loses what ties it to this process.
    """

    store: Store
    path: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    guard: Callable[[], AbstractContextManager[Any]] = nullcontext
    share: Callable[[], None] = _nothing
    wrote: Callable[[str, bytes], None] = _nothing
    pin: str = ""

    @property
    def name(self) -> str:
        """The item's own name: the last component of `path`."""
        return self.path.rpartition("/")[2]

    @property
    def url(self) -> str:
        """The item's address, for messages."""
        return self.store.url(self.path)

    def at(self, key: str) -> str:
        """Return the full key of the part `key`; the item itself for an empty one."""
        return f"{self.path}/{key}" if key else self.path

    def get(self, key: str = "", start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of the item, or of its part `key`, as the pinned commit left them.

        A whole file is compared with what its commit vouched for. After a part was read, the log is asked whether
        the commit is still the newest: each time on disk and in memory, at most once a second on a bucket.

        Raises
        ------
        NodeReplaced
            If it is not: these bytes may be another attempt's.
        """
        try:
            data = self.store.get(self.at(key), start, end)
        except FileNotFoundError:
            self.check_pin(now=True)
            raise
        if key:
            self.check_pin(now=self.store.scheme in {"file", "memory"})
        elif start is None and end is None:
            self._check(data)
        return data

    def check_pin(self, *, now: bool) -> None:
        """Raise `NodeReplaced` if another record follows the pinned commit."""
        if not self.pin or (not now and time.monotonic() - _looked.get(self.pin, -PIN_SECONDS) < PIN_SECONDS):
            return
        asked = time.monotonic()
        replaced = self.store.stat(self.pin) is not None
        _looked[self.pin] = asked
        if replaced:
            msg = f"{self.url} was replaced or removed while it was read; open its node again to read the newer result"
            raise NodeReplaced(msg)

    def _check(self, data: bytes) -> None:
        """Compare a whole file with what its commit vouched for."""
        size, digest = self.meta.get("size"), self.meta.get("sha256")
        if (size is not None and size != len(data)) or (digest is not None and digest != sha256(data)):
            msg = (
                f"{self.url} holds {len(data)} bytes that are not the {size} its commit vouched for; "
                "compute the node again with force=True"
            )
            raise ItemDamaged(msg)

    def put(self, data: bytes, key: str = "") -> None:
        """Write the item, or its part `key`, whole."""
        with self.guard():
            self.store.put(self.at(key), data)
        self.wrote(key, data)

    def find(self) -> dict[str, ObjectInfo]:
        """Return all parts of a directory item, by key."""
        return self.store.find(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.store.scheme, self.path, dict(self.meta), self.pin)


def _unpickle(scheme: str, path: str, meta: dict[str, Any], pin: str) -> Place:
    return Place(reopen(scheme, path), path, meta, pin=pin)


def sha256(data: bytes) -> str:
    """Return the digest that an item's row keeps of its bytes."""
    return hashlib.sha256(data).hexdigest()
