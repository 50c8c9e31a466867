"""Where one item lies, as a format sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from cvcache.errors import ItemDamaged
from cvcache.store import reopen
from cvcache.store.base import ObjectInfo, Store


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

    A place that crosses a pickle keeps where it is and loses what ties it to this process.
    """

    store: Store
    path: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    guard: Callable[[], AbstractContextManager[Any]] = nullcontext
    share: Callable[[], None] = _nothing
    wrote: Callable[[str, bytes], None] = _nothing

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
        """Return the bytes of the item, or of its part `key`."""
        data = self.store.get(self.at(key), start, end)
        if not key and start is None and end is None:
            self._check(data)
        return data

    def _check(self, data: bytes) -> None:
        """Compare a whole file with what its commit vouched for."""
        size, digest = self.meta.get("size"), self.meta.get("sha256")
        if (size is not None and size != len(data)) or (digest is not None and digest != sha256(data)):
            msg = f"{self.url} holds {len(data)} bytes that are not the {size} its commit vouched for; compute the node again with force=True"
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
        return _unpickle, (self.store.scheme, self.path, dict(self.meta))


def _unpickle(scheme: str, path: str, meta: dict[str, Any]) -> Place:
    return Place(reopen(scheme, path), path, meta)


def sha256(data: bytes) -> str:
    """Return the digest that an item's row keeps of its bytes."""
    return hashlib.sha256(data).hexdigest()
