"""The path of one item in its store, as a format gets it: to be written, or of a pinned commit."""

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
from cvcache.store import MemoryCache, ObjectInfo, Store, reopen_store

logger = logging.getLogger("cvcache")

PIN_CHECK_SECONDS = 1.0
"""For how long one check of the log of a bucket is valid while chunks of an image are read."""

MAX_PIN_CHECKS = 16_384
_checked_at: dict[str, float] = {}
"""Key of the record that would replace a commit -> when the last check for it began."""
_absent_since: dict[str, float] = {}
"""The same -> when the last check began that did not find it."""
_check_locks: dict[str, threading.Lock] = {}


def _do_nothing(*_: object) -> None:
    """Do nothing."""


def _no_parts(_: Mapping[str, Any]) -> Mapping[str, int]:
    """Return that an earlier attempt left no parts to reuse."""
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
        Metadata that the format's ``write`` returned, from the record; empty if there is none.
    guard : callable
        Returns the context of each write; it raises if the attempt has lost its lease.
    share : callable
        Called before another process gets a part of the write.
    on_put : callable
        Called with key and bytes of each part that this process has written.
    announce : callable
        Called with the plan of a directory item (plain JSON, equal for equal content) before the first byte. Returns
        the parts that an earlier attempt wrote for an equal plan: key -> size.
    put_thumbnail : callable or None
        Stores a small PNG of the item; None if thumbnails are not stored.
    inputs : tuple of mapping
        Recorded metadata of the images in the node's key.
    pin : str
        Full key of the record that would replace the commit of this item; empty for none.
    end_record : str
        Full key of the record that would end the attempt that writes this item; empty for none. Another process that
        writes for the attempt checks for it, so that it does not write into a later result; so does a `strict`
        reader of an unfinished item.
    in_other_process : bool
        Whether this is such another process.
    origin : mapping
        ``node`` (URL), ``item`` (name) and ``version`` of a commit; empty without one.
    ram : MemoryCache or None
        Memory cache for what is read of a pinned commit.
    strict : bool
        Check the log after each part that was read from a bucket, as is always done on disk and in memory; otherwise
        one check a second is enough. A part from the memory cache needs no check then.

    A pickled one keeps store, path, metadata and pin, and loses the callables and the memory cache.
    """

    store: Store
    path: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    guard: Callable[[], AbstractContextManager[Any]] = nullcontext
    share: Callable[[], None] = _do_nothing
    on_put: Callable[[str, bytes], None] = _do_nothing
    announce: Callable[[Mapping[str, Any]], Mapping[str, int]] = _no_parts
    put_thumbnail: Callable[[bytes], None] | None = None
    inputs: tuple[Mapping[str, Any], ...] = ()
    pin: str = ""
    end_record: str = ""
    in_other_process: bool = False
    origin: Mapping[str, str] = field(default_factory=dict)
    ram: MemoryCache | None = None
    strict: bool = False

    @property
    def remote(self) -> bool:
        """Whether the latency of the store makes concurrent requests worthwhile."""
        return self.store.scheme not in {"file", "memory"}

    @property
    def next_record(self) -> str:
        """Full key of the record after which the bytes may be another attempt's: `pin`, or `end_record` if `strict`."""
        return self.pin or (self.end_record if self.strict else "")

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

        A whole file is compared with its recorded size and digest. After a part was read, the log is checked for a
        newer record: each time on disk, in memory and if `strict`, else at most once a second.

        Raises
        ------
        NodeReplaced
            There is a newer record, so the bytes may be another attempt's.
        """
        memory_key = (self.pin, self.path, key, start, end) if self.ram is not None and self.pin else None
        data = self.ram.get(memory_key) if self.ram is not None and memory_key else None
        from_memory = data is not None
        if data is None:
            try:
                data = self.store.get(self.at(key), start, end)
            except FileNotFoundError:
                self.check_pin(now=True)
                raise
            if not key and start is None and end is None:
                self.check_content(data)
        if key and not (from_memory and self.strict):
            self.check_pin(now=self.strict or self.store.scheme in {"file", "memory"})
        if self.ram is not None and memory_key and not from_memory:
            self.ram.put(memory_key, data)
        return data

    def check_pin(self, *, now: bool) -> None:
        """Raise `NodeReplaced` if a record follows the pinned commit, or ended the attempt of a strict item."""
        record = self.next_record
        if record and self._record_exists(record, now=now):
            msg = f"{self.url} was replaced or removed while it was read; open its node again to read the newer result"
            raise NodeReplaced(msg)

    def _record_exists(self, record: str, *, now: bool) -> bool:
        """Whether a record of the log exists; a check of the last second is reused unless it must be `now`."""
        asked_at = time.monotonic()
        if now:
            # threads that wait for a running check share the next one
            with _check_locks.setdefault(record, threading.Lock()):
                return _absent_since.get(record, -1.0) <= asked_at and self._stat_record(record)
        return asked_at - _checked_at.get(record, -PIN_CHECK_SECONDS) >= PIN_CHECK_SECONDS and self._stat_record(record)

    def _stat_record(self, record: str) -> bool:
        for cache in (_checked_at, _absent_since, _check_locks):
            if len(cache) >= MAX_PIN_CHECKS:
                cache.clear()
        # set before the answer, so that only one of many threads asks
        checked_at = _checked_at[record] = time.monotonic()
        if self.store.stat(record) is not None:
            _checked_at.pop(record, None)
            return True
        _absent_since[record] = checked_at
        return False

    def check_content(self, data: bytes) -> None:
        """Raise `ItemDamaged` unless a whole file has its recorded size and digest."""
        size, digest = self.meta.get("size"), self.meta.get("sha256")
        if (size is not None and size != len(data)) or (digest is not None and digest != sha256(data)):
            msg = (
                f"{self.url} holds {len(data)} bytes that are not the {size} its commit vouched for; "
                "compute the node again with force=True"
            )
            raise ItemDamaged(msg)

    def put(self, data: bytes, key: str = "") -> None:
        """Write the item, or its part `key`, as one object."""
        with self.guard():
            self.store.put(self.at(key), data)
        self.on_put(key, data)

    def put_parts(self, parts: Sequence[bytes], key: str) -> None:
        """Write the part `key` of a directory item from consecutive pieces of bytes.

        Raises
        ------
        LeaseLost
            The attempt has ended.
        """
        if self.in_other_process and self.end_record and self._record_exists(self.end_record, now=not self.remote):
            msg = f"{self.url} is no longer this attempt's; what other processes still write for it is discarded"
            raise LeaseLost(msg)
        with self.guard():
            self.store.put_parts(self.at(key), parts)

    def add_thumbnail(self, draw: Callable[[], bytes | None]) -> None:
        """Store the small PNG that `draw` returns, if thumbnails are stored.

        The item is already written, so an error of `draw` is logged and not raised.
        """
        if self.put_thumbnail is None:
            return
        try:
            if picture := draw():
                self.put_thumbnail(picture)
        except CvcacheError:
            raise
        except Exception as error:  # noqa: BLE001 - a thumbnail must not fail a write
            logger.warning("%s has no thumbnail (%s: %s)", self.url, type(error).__name__, error)

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
        # a zip store pickles itself; other stores are opened again
        store = self.store if self.store.scheme == "zip" else self.store.reopen_arguments(self.path)
        return _unpickle, (
            (store, self.path, dict(self.meta)),
            {"pin": self.pin, "end_record": self.end_record, "origin": dict(self.origin), "strict": self.strict},
        )


def _unpickle(args: tuple[Store | tuple[Any, ...], str, dict[str, Any]], options: dict[str, Any]) -> ItemPath:
    store, path, meta = args
    reopened = store if isinstance(store, Store) else reopen_store(*store)
    return ItemPath(reopened, path, meta, in_other_process=True, **options)


def sha256(data: bytes) -> str:
    """Return the hexadecimal SHA-256 that records keep of an item's bytes."""
    return hashlib.sha256(data).hexdigest()
