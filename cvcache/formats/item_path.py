"""The path of one item in its store, as a format gets it to read: at a place, or as the attempt of a record left it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cvcache.errors import ItemDamaged, NodeReplaced
from cvcache.formats.successor import has_been_replaced, record_exists
from cvcache.store import MemoryCache, ObjectInfo, Store, reopen_store


@dataclass(frozen=True)
class ItemPath:
    """One item: the object at `path`, or for a directory format the objects below it.

    Attributes
    ----------
    store : Store
    path : str
        Full key of the item, without a scheme.
    meta : mapping
        Metadata that the format's ``write`` returned, from the record; empty if there is none.
    successor : str
        Full key of the record that would follow that of the item's attempt: it would replace the commit, or end the
        attempt. Empty for an item of no node.
    committed : bool
        Whether the record is a commit: its bytes are never overwritten, so nothing is looked for until one is missing.
    strict : bool
        Of an unfinished item, look for the successor after each part that was read.
    origin : mapping or None
        ``node`` (URL), ``item`` (name) and ``version`` of a commit; None without one.
    ram : MemoryCache or None
        Memory cache for what is read of a commit; a pickle loses it.
    """

    store: Store
    path: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    successor: str = ""
    committed: bool = False
    strict: bool = False
    origin: Mapping[str, str] | None = None
    ram: MemoryCache | None = None

    @property
    def remote(self) -> bool:
        """Whether the latency of the store makes concurrent requests worthwhile."""
        return self.store.scheme not in {"file", "memory"}

    @property
    def name(self) -> str:
        """The item's own name: the last component of `path`."""
        return self.path.rpartition("/")[2]

    @property
    def url(self) -> str:
        """The item's address, for messages."""
        return self.store.url(self.path)

    @property
    def pin(self) -> str:
        """Full key of the record that would follow the commit of this item; empty without a commit."""
        return self.successor if self.committed else ""

    @property
    def next_record(self) -> str:
        """Full key of the record after which the bytes may be another attempt's; empty if none is looked for."""
        return self.successor if self.strict and not self.committed else ""

    def at(self, key: str) -> str:
        """Return the full key of the part `key`; the item itself for an empty one."""
        return f"{self.path}/{key}" if self.path and key else self.path or key

    def get(self, key: str = "", start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of the item, or of its part `key`, as its attempt left them.

        A whole file is compared with its recorded size and digest.

        Raises
        ------
        FileNotFoundError
            It is missing although its commit stands, or no commit vouched for it.
        NodeReplaced
            It is missing, for its commit was replaced or removed; or, of a `strict` unfinished item, it may be another
            attempt's.
        """
        if self.ram is None or not self.committed:
            return self._get_checked(key, start, end)
        memory_key = (self.successor, self.path, key, start, end)
        data = self.ram.get(memory_key)
        if data is None:
            data = self._get_checked(key, start, end)
            self.ram.put(memory_key, data)
        return data

    def _get_checked(self, key: str, start: int | None, end: int | None) -> bytes:
        try:
            data = self.store.get(self.at(key), start, end)
        except FileNotFoundError:
            self.raise_if_replaced()
            raise
        if key:
            self.check_pin(now=self.strict)
        elif start is None and end is None:
            self.check_content(data)
        return data

    def raise_if_replaced(self) -> None:
        """Raise `NodeReplaced` if the commit of this item does not stand any more; for a part that is missing."""
        if self.committed and has_been_replaced(self.store, self.successor):
            raise NodeReplaced(self._replaced_message())
        self.check_pin(now=True)

    def check_pin(self, *, now: bool) -> None:
        """Raise `NodeReplaced` if `next_record` exists; a check of the last second serves unless it must be `now`."""
        if self.next_record and record_exists(self.store, self.next_record, now=now):
            raise NodeReplaced(self._replaced_message())

    def _replaced_message(self) -> str:
        return f"{self.url} was replaced or removed while it was read; open its node again to read the newer result"

    def check_content(self, data: bytes) -> None:
        """Raise `ItemDamaged` unless a whole file has its recorded size and digest."""
        size, digest = self.meta.get("size"), self.meta.get("sha256")
        if (size is not None and size != len(data)) or (digest is not None and digest != sha256(data)):
            msg = (
                f"{self.url} holds {len(data)} bytes that are not the {size} its commit vouched for; "
                "compute the node again with force=True"
            )
            raise ItemDamaged(msg)

    def find(self) -> dict[str, ObjectInfo]:
        """Return all parts of a directory item, by key."""
        return self.store.find(self.path)

    def fingerprint(self, keys: Sequence[str]) -> str:
        """Return a token that changes when the first of these parts that exists is rewritten; one STAT each until then.

        In a zip it is a digest of the checksums of all parts.
        """
        if self.store.scheme == "zip":
            return sha256(repr(sorted((key, info.etag) for key, info in self.find().items())).encode())
        infos = (self.store.stat(self.at(key)) for key in keys)
        info = next((info for info in infos if info is not None), None)
        return "" if info is None else f"{info.size} {info.etag} {info.modified}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: getattr(self, name) for name in ("successor", "committed", "strict", "origin")}
        return unpickle, (ItemPath, reopen_arguments(self), self.path, dict(self.meta), fields)


def reopen_arguments(item: ItemPath) -> Store | tuple[Any, ...]:
    """Return what a pickle has of the store: a zip store pickles itself, other ones are opened again."""
    return item.store if item.store.scheme == "zip" else item.store.reopen_arguments(item.path)


def unpickle(
    kind: type[ItemPath], store: Store | tuple[Any, ...], path: str, meta: dict[str, Any], fields: dict[str, Any]
) -> ItemPath:
    """Return the item of a pickle."""
    return kind(store if isinstance(store, Store) else reopen_store(*store), path, meta, **fields)


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 that records keep of an item's bytes."""
    return hashlib.sha256(data).hexdigest()
