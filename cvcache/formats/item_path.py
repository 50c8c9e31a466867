"""Where one item lies, as a format sees it."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from cvcache.errors import CvcacheError, ItemDamaged, LeaseLost, NodeReplaced
from cvcache.store import MemoryCache, ObjectInfo, Store, open_store

logger = logging.getLogger("cvcache")

PIN_SECONDS = 1.0
"""How long a look at the log of a bucket holds while the chunks of one image are read."""

MOST_LOOKED = 16_384
_looked: dict[str, float] = {}
"""Record that would replace a commit -> when the last look for it began."""
_proved: dict[str, float] = {}
"""The same of looks that have found none."""
_turns: dict[str, threading.Lock] = {}


def _nothing(*_: object) -> None:
    """Do nothing."""


def _from_the_start(_: Mapping[str, Any]) -> Mapping[str, int]:
    """Keep nothing of what an earlier attempt may have left."""
    return {}


@dataclass(slots=True)  # every read makes one, and to make a frozen one takes five times as long
class ItemPath:
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
    begin : callable
        Told what is about to be written (plain JSON, the same for the same content) before a directory item's
        first byte. Gives the parts an earlier attempt left of the very same: key -> size.
    thumbnail : callable or None
        Takes a small PNG of the item, where somebody keeps it.
    inputs : tuple of mapping
        What is recorded of the images in the node's key.
    pin : str
        Full key of the record that would replace the commit this place belongs to; empty for none.
    until : str
        Full key of the record that would end the attempt this place belongs to; empty for none. Another process
        that writes for the attempt looks for it, so that it does not write into what comes after; so does who reads
        what is written so far and has to be `strict`.
    away : bool
        This is that other process.
    origin : mapping
        URL of the node, name of the item and version of a commit, as ``node``, ``item`` and ``version``; else empty.
    ram : Ram or None
        Keeps what was read of a pinned commit in memory.
    strict : bool
        A part that comes from a bucket is handed out only after a look at the log that began once it was there, as on
        disk and in memory; else a look a second will do. What is in memory needs none then.

    A place that crosses a pickle keeps where it is and loses what ties it to this process.
    """

    store: Store
    path: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    guard: Callable[[], AbstractContextManager[Any]] = nullcontext
    share: Callable[[], None] = _nothing
    wrote: Callable[[str, bytes], None] = _nothing
    begin: Callable[[Mapping[str, Any]], Mapping[str, int]] = _from_the_start
    thumbnail: Callable[[bytes], None] | None = None
    inputs: tuple[Mapping[str, Any], ...] = ()
    pin: str = ""
    until: str = ""
    away: bool = False
    origin: Mapping[str, str] = field(default_factory=dict)
    ram: MemoryCache | None = None
    strict: bool = False

    @property
    def remote(self) -> bool:
        """Whether a request takes so long that several should be under way."""
        return self.store.scheme not in {"file", "memory"}

    @property
    def next_record(self) -> str:
        """Full key of the record after which these may be another attempt's bytes: `pin`, or `until` if `strict`."""
        return self.pin or (self.until if self.strict else "")

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
        return f"{self.path}/{key}" if self.path and key else self.path or key

    def get(self, key: str = "", start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of the item, or of its part `key`, as the pinned commit left them.

        A whole file is compared with what its commit vouched for. After a part was read, the log is asked whether
        the commit is still the newest: each time on disk, in memory and where it has to be `strict`, else at most once
        a second.

        Raises
        ------
        NodeReplaced
            If it is not: these bytes may be another attempt's.
        """
        kept = (self.pin, self.path, key, start, end) if self.ram is not None and self.pin else None
        data = self.ram.get(kept) if self.ram is not None and kept else None
        known = data is not None
        if data is None:
            try:
                data = self.store.get(self.at(key), start, end)
            except FileNotFoundError:
                self.check_pin(now=True)
                raise
            if not key and start is None and end is None:
                self.check_whole(data)
        if key and not (known and self.strict):
            self.check_pin(now=self.strict or self.store.scheme in {"file", "memory"})
        if self.ram is not None and kept and not known:
            self.ram.put(kept, data)
        return data

    def check_pin(self, *, now: bool) -> None:
        """Raise `NodeReplaced` if another record follows the pinned commit, or the attempt of a strict place."""
        record = self.next_record
        if record and self._has_come(record, now=now):
            msg = f"{self.url} was replaced or removed while it was read; open its node again to read the newer result"
            raise NodeReplaced(msg)

    def _has_come(self, record: str, *, now: bool) -> bool:
        """Whether a record of the log is there; asked again only after a while unless it has to be `now`."""
        asked = time.monotonic()
        if now:
            # those that wait while one looks share the look after that one
            with _turns.setdefault(record, threading.Lock()):
                return _proved.get(record, -1.0) <= asked and self._look(record)
        return asked - _looked.get(record, -PIN_SECONDS) >= PIN_SECONDS and self._look(record)

    def _look(self, record: str) -> bool:
        for memory in (_looked, _proved, _turns):
            if len(memory) >= MOST_LOOKED:
                memory.clear()
        # noted before the answer, so that of many threads one asks
        begun = _looked[record] = time.monotonic()
        if self.store.stat(record) is not None:
            _looked.pop(record, None)
            return True
        _proved[record] = begun
        return False

    def check_whole(self, data: bytes) -> None:
        """Raise `ItemDamaged` unless a whole file is what its commit vouched for."""
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

    def put_parts(self, parts: Sequence[bytes], key: str) -> None:
        """Write the part `key` of a directory item, as `put` does, from pieces that follow one another.

        Raises
        ------
        LeaseLost
            The attempt this belongs to is over.
        """
        if self.away and self.until and self._has_come(self.until, now=not self.remote):
            msg = f"{self.url} is no longer this attempt's; what other processes still write for it is discarded"
            raise LeaseLost(msg)
        with self.guard():
            self.store.put_parts(self.at(key), parts)

    def illustrate(self, draw: Callable[[], bytes | None]) -> None:
        """Hand over the small PNG that `draw` makes of the item, where somebody keeps it.

        The item is there by now: that it has no picture is logged and not raised.
        """
        if self.thumbnail is None:
            return
        try:
            if picture := draw():
                self.thumbnail(picture)
        except CvcacheError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a program finds in an item that was written as asked
            logger.warning("%s has no thumbnail (%s: %s)", self.url, type(error).__name__, error)

    def find(self) -> dict[str, ObjectInfo]:
        """Return all parts of a directory item, by key."""
        return self.store.find(self.path)

    def changed(self, keys: Sequence[str]) -> str:
        """Return what differs once the first of these parts that exists was written anew; one STAT each until then.

        A zip has a checksum of each of its parts, and tells by all of them.
        """
        if self.store.scheme == "zip":
            return sha256(repr(sorted((key, info.etag) for key, info in self.find().items())).encode())
        infos = (self.store.stat(self.at(key)) for key in keys)
        info = next((info for info in infos if info is not None), None)
        return "" if info is None else f"{info.size} {info.etag} {info.modified}".rstrip()

    def __reduce__(self) -> tuple[Any, ...]:
        # a store that is inside another one knows its way back; the others need the bucket to choose the right options
        store = self.store if self.store.scheme == "zip" else (self.store.scheme, self.path)
        return _unpickle, (
            (store, self.path, dict(self.meta)),
            {"pin": self.pin, "until": self.until, "origin": dict(self.origin), "strict": self.strict},
        )


def _unpickle(where: tuple[Store | tuple[str, str], str, dict[str, Any]], ties: dict[str, Any]) -> ItemPath:
    store, path, meta = where
    return ItemPath(store if isinstance(store, Store) else open_store(*store, {}), path, meta, away=True, **ties)


def sha256(data: bytes) -> str:
    """Return the digest that an item's row keeps of its bytes."""
    return hashlib.sha256(data).hexdigest()
