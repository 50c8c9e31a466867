"""The interface of a store: methods on exact keys.

Paths are full keys without a scheme: ``/home/me/cache/node`` on disk, ``bucket/cache/node`` in a
bucket. No method expands a wildcard, follows a link or deletes by prefix.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from cvcache.store.fileobj import Guard

CONCURRENCY = 48
"""Concurrent requests to a bucket of one process."""

RETRIES = 5
"""How often a request is sent again after a transient error."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Size in bytes of an object; its etag and time of modification, if the store has them."""

    size: int
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """One level below a path: object name -> info, the names of directories, and whether the listing is incomplete."""

    files: dict[str, ObjectInfo] = field(default_factory=dict)
    dirs: tuple[str, ...] = ()
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.files or self.dirs)


class Store(ABC):
    """Bytes by exact key, with one conditional create that elects a winner.

    A missing key raises `FileNotFoundError`; only if the store itself says so, never for a denied
    request, a timeout or a cached listing.

    Safe to use from several threads.
    """

    scheme: str
    shared: bool
    """Whether other processes see the same bytes."""

    @classmethod
    def create(cls, scheme: str, options: Mapping[str, Any], retries: int) -> Self:  # noqa: ARG003 - for buckets
        """Return a new store of this kind."""
        return cls()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only class and scheme: options may contain secrets, so another process uses its own."""
        return _reopen, (type(self), self.scheme)

    @abstractmethod
    def url(self, path: str) -> str:
        """Return the URL of `path`, as a user would type it; never with a secret."""

    @abstractmethod
    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of one object, or of its range ``[start, end)``; negative `start` counts from the end."""

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """Write one object atomically: a reader sees the old bytes or the new ones, never a part."""

    def put_parts(self, path: str, parts: Sequence[bytes]) -> None:
        """Write one object atomically from parts, if possible without joining them in memory."""
        self.put(path, b"".join(parts))

    def copy(self, source: str, target: str) -> None:
        """Copy one object atomically; by one request or a link, if the store has them."""
        self.put(target, self.get(source))

    @abstractmethod
    def put_new(self, path: str, data: bytes) -> bool:
        """Create one object unless it exists; True if it contains `data` now, for exactly one of N creators.

        `data` must be unique (contain a nonce) and at most 64 KiB: after a lost reply the object is read
        back and compared.
        """

    @abstractmethod
    def list(self, path: str, limit: int | None = None) -> Listing:
        """Return one level below `path`; empty if nothing is there. Links are files, never directories.

        A bucket lists in pages, and stops after the page that reaches `limit` names.
        """

    def names(self, path: str) -> Sequence[str]:
        """Return the names of the objects one level below `path`, maybe of directories too; none through a link."""
        return tuple(self.list(path).files)

    @abstractmethod
    def find(self, path: str) -> dict[str, ObjectInfo]:
        """Return all objects below `path` by relative name; links are not followed."""

    @abstractmethod
    def stat(self, path: str) -> ObjectInfo | None:
        """Return the info of the object at exactly `path`; None if there is none."""

    @abstractmethod
    def delete(self, paths: Iterable[str], within: str | None = None) -> None:
        """Delete exactly these objects; missing objects are ignored.

        If the store has directories, those below `within` that become empty are deleted too.
        """

    @abstractmethod
    def open(self, path: str, mode: str, guard: Guard = nullcontext) -> IO[bytes]:
        """Open one object as ``"rb"`` or ``"wb"``; written bytes are published on close, inside ``guard()``."""

    def makedirs(self, path: str) -> None:  # noqa: B027 - a store without directories has nothing to do
        """Create the directory `path`, if the store has directories."""

    def sync(self, path: str) -> None:  # noqa: B027 - a bucket keeps what it acknowledged
        """Make all that was written below `path` durable, if it is not yet."""

    def is_blocked(self, path: str) -> bool:  # noqa: ARG002 - only a disk has links, and files with nothing below
        """Whether no directory can be at `path`: it or a parent is a link, or a parent is a file."""
        return False

    @abstractmethod
    def exclusive(self, path: str) -> bool:
        """Whether `put_new` below `path` elects exactly one winner; tested once per process."""


_open_stores: list[tuple[int, str, dict[str, Any], Store]] = []
"""Process, bucket, options and store of each open store."""
_wrappers: list[Callable[[Store], Store]] = []
_lock = threading.Lock()


def cached_store(scheme: str, path: str, options: Mapping[str, Any], create: Callable[[], Store]) -> Store:
    """Return the open store of this process with these options, or `create` it.

    Without options, it is the store that was opened last for the bucket of `path`.
    """
    bucket = f"{scheme}://{path.split('/', maxsplit=1)[0]}"
    with _lock:
        store = _find_store(bucket, options) or create()
        entry = (os.getpid(), bucket, dict(options), store)
        if scheme not in {"file", "memory"} and entry not in _open_stores:
            _open_stores.append(entry)
    for wrap in _wrappers:
        store = wrap(store)
    return store


def _find_store(bucket: str, options: Mapping[str, Any]) -> Store | None:
    scheme, _, name = bucket.partition("://")
    for pid, store_bucket, store_options, store in reversed(_open_stores):
        if pid != os.getpid() or not store_bucket.startswith(f"{scheme}://"):
            continue
        if store_options == options if options else store_bucket == bucket or not name:
            return cast("Store", store)
    return None


def _reopen(kind: type[Store], scheme: str) -> Store:
    return cached_store(scheme, "", {}, lambda: kind.create(scheme, {}, RETRIES))


class instrument:  # noqa: N801 - used like a function: ``with instrument(CountingStore):``
    """Wrap every store that is opened while this context lasts, for tests and measurements."""

    def __init__(self, wrap: Callable[[Store], Store]) -> None:
        self._wrap = wrap

    def __enter__(self) -> None:
        _wrappers.append(self._wrap)

    def __exit__(self, *_: object) -> None:
        _wrappers.remove(self._wrap)
