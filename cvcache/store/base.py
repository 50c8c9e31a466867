"""What cvcache needs of a place that keeps bytes: eleven verbs on exact keys.

Paths are full keys without a scheme: ``/home/me/cache/node`` on disk, ``bucket/cache/node`` in a
bucket. No verb expands a wildcard, follows a link or deletes by prefix.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, ClassVar, Self, cast

if TYPE_CHECKING:
    from cvcache.store.fileobj import Guard

CONCURRENCY = 48
"""Requests to a bucket under way in one process."""

RETRIES = 5
"""Times that a request is sent again which failed in passing."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Size in bytes and, where the store has them, the tag that changes with the content and the time of writing."""

    size: int
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """One level below a path: object name -> info, the names of the deeper prefixes, and whether there may be more."""

    files: dict[str, ObjectInfo] = field(default_factory=dict)
    dirs: tuple[str, ...] = ()
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.files or self.dirs)


class Store(ABC):
    """Bytes by exact key, with one primitive that elects a winner.

    A missing key is `FileNotFoundError`; it is only raised where the store itself said so, never
    for a refusal, a timeout or a listing that was remembered.

    Safe to use from several threads.
    """

    scheme: ClassVar[str]
    shared: ClassVar[bool]
    """Whether other processes see the same bytes."""

    @classmethod
    def create(cls, scheme: str, options: Mapping[str, Any], retries: int) -> Self:  # noqa: ARG003 - for buckets
        """Return a new store of this kind."""
        return cls()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as kind and scheme alone: options may hold secrets, so another process brings its own."""
        return _reopen, (type(self), self.scheme)

    @abstractmethod
    def url(self, path: str) -> str:
        """Return the address of `path` as a user would type it; never with a secret."""

    @abstractmethod
    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return the bytes of one object, or of its range ``[start, end)``; negative `start` counts from the end."""

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """Write one object whole: a reader sees the old bytes or the new ones, never a part."""

    def put_parts(self, path: str, parts: Sequence[bytes]) -> None:
        """Write one object whole, as `put` does, from parts that need not be joined in memory first."""
        self.put(path, b"".join(parts))

    def copy(self, source: str, target: str) -> None:
        """Make `target` what `source` is, whole, by one request or a link where the store has them."""
        self.put(target, self.get(source))

    @abstractmethod
    def put_new(self, path: str, data: bytes) -> bool:
        """Create one object unless it exists, and say whether it holds `data` now; of N creators one is told so.

        `data` must be the caller's alone (hold a nonce) and at most 64 KiB: after a lost reply the
        object is read back, and whose bytes it holds decides.
        """

    @abstractmethod
    def list(self, path: str, limit: int | None = None) -> Listing:
        """Return one level below `path`; nothing there is an empty listing. Links are files, never directories.

        A bucket, which lists in pages, stops after the page that brings `limit` names: those that sort first.
        """

    def names(self, path: str) -> Sequence[str]:
        """Return the names of the objects one level below `path`, perhaps of directories too; none through a link."""
        return tuple(self.list(path).files)

    @abstractmethod
    def find(self, path: str) -> dict[str, ObjectInfo]:
        """Return every object below `path`, by name relative to it; links are not followed."""

    @abstractmethod
    def stat(self, path: str) -> ObjectInfo | None:
        """Return the info of the object at exactly `path`; None if there is none."""

    @abstractmethod
    def delete(self, paths: Iterable[str], within: str | None = None) -> None:
        """Delete exactly these objects; one that is gone already is fine.

        Directories below `within` that this leaves empty go too, where a store has any.
        """

    @abstractmethod
    def open(self, path: str, mode: str, guard: Guard = nullcontext) -> IO[bytes]:
        """Open one object for ``"rb"`` or ``"wb"``; what is written appears whole on close, inside ``guard()``."""

    def makedirs(self, path: str) -> None:  # noqa: B027 - a store without directories has nothing to do
        """Make sure that a file can be created in the directory `path`, where a store has directories."""

    def sync(self, path: str) -> None:  # noqa: B027 - a bucket keeps what it acknowledged
        """Make everything written below `path` survive a power cut, where that is not so already."""

    def is_blocked(self, path: str) -> bool:  # noqa: ARG002 - only a disk has links, and files with nothing below
        """Whether a directory at `path` is out of the question: a link is there or above, or a file is above."""
        return False

    @abstractmethod
    def exclusive(self, path: str) -> bool:
        """Whether `put_new` below `path` elects exactly one winner; asked of the store itself once per process."""


_opened: list[tuple[int, str, dict[str, Any], Store]] = []
"""Process, bucket and options of each store that was opened."""
_wrappers: list[Callable[[Store], Store]] = []
_lock = threading.Lock()


def cached_store(scheme: str, path: str, options: Mapping[str, Any], create: Callable[[], Store]) -> Store:
    """Return the store this process opened with these options, or without any opened last in the bucket of `path`.

    If there is none, what `create` makes is remembered.
    """
    bucket = f"{scheme}://{path.split('/', maxsplit=1)[0]}"
    with _lock:
        store = _find(bucket, options) or create()
        entry = (os.getpid(), bucket, dict(options), store)
        if scheme not in {"file", "memory"} and entry not in _opened:
            _opened.append(entry)
    for wrap in _wrappers:
        store = wrap(store)
    return store


def _find(bucket: str, options: Mapping[str, Any]) -> Store | None:
    scheme, _, name = bucket.partition("://")
    for pid, opened, known, found in reversed(_opened):
        if pid != os.getpid() or not opened.startswith(f"{scheme}://"):
            continue
        if known == options if options else opened == bucket or not name:
            return cast("Store", found)
    return None


def _reopen(kind: type[Store], scheme: str) -> Store:
    return cached_store(scheme, "", {}, lambda: kind.create(scheme, {}, RETRIES))


class instrument:  # noqa: N801 - used like a function: ``with instrument(CountingStore):``
    """Put `wrap` around every store opened while this context lasts: the seam for tests and measurements."""

    def __init__(self, wrap: Callable[[Store], Store]) -> None:
        self._wrap = wrap

    def __enter__(self) -> None:
        _wrappers.append(self._wrap)

    def __exit__(self, *_: object) -> None:
        _wrappers.remove(self._wrap)
