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
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from cvcache.store.fileobj import Guard

CONCURRENCY = 48
"""Concurrent requests to a bucket of one process."""

LOCAL_SCHEMES = ("file", "memory")
"""Schemes of stores without options, which are the same for all of a process."""

_VARIABLES = ("AWS_", "AZURE_", "CLOUDSDK_", "FSSPEC_", "GCSFS_", "GOOGLE_", "STORAGE_EMULATOR_HOST")
"""Beginnings of the environment variables that file systems read."""
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "FSSPEC_", "STORAGE_EMULATOR_HOST")
"""Those that say which server is meant."""

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
    account: str = ""
    """Which options and endpoint it was opened with: stores of two accounts may have other bytes at one URL."""

    @classmethod
    def create(cls, scheme: str, options: Mapping[str, Any], retries: int) -> Self:  # noqa: ARG003 - for buckets
        """Return a new store of this kind."""
        return cls()

    def reopen_arguments(self, path: str) -> tuple[type[Store], str, str, str]:
        """Return what `reopen_store` takes for a `path`: no options, which may contain secrets."""
        return type(self), self.scheme, self.account if known_options(self.account) else "", path

    def __reduce__(self) -> tuple[Any, ...]:
        return reopen_store, self.reopen_arguments("")

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


class _Account(NamedTuple):
    """Where the bytes of a store are, and as whom it asks for them."""

    name: str
    scheme: str
    options: dict[str, Any]
    endpoints: tuple[tuple[str, str], ...]


_accounts: list[_Account] = []
_options_of_bucket: dict[tuple[str, str], dict[str, Any]] = {}
"""Scheme and bucket -> the options that a tree in it was last opened with; for handles of another process alone."""
_open_stores: dict[tuple[Any, ...], Store] = {}
"""Process, account, retries and environment -> the store."""
_wrappers: list[Callable[[Store], Store]] = []
_lock = threading.Lock()


def _reset_lock() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it when this process was forked
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_lock)


def _environment(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the environment variables that begin with one of these names."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(names)))


def account_of(scheme: str, options: Mapping[str, Any]) -> str:
    """Return a name for these options, with the endpoints of the environment as it is now; empty for a local scheme.

    It means nothing in another process, and tells nothing of the options.
    """
    if scheme in LOCAL_SCHEMES:
        return ""
    endpoints = _environment(_ENDPOINT_VARIABLES)
    with _lock:
        for account in _accounts:
            if account[1:] == (scheme, options, endpoints):
                return account.name
        _accounts.append(_Account(os.urandom(8).hex(), scheme, dict(options), endpoints))
        return _accounts[-1].name


def known_options(account: str) -> Mapping[str, Any] | None:
    """Return the options of an account of this process, or None."""
    return next((one.options for one in _accounts if one.name == account), None)


def options_of(account: str, scheme: str, path: str) -> Mapping[str, Any]:
    """Return the options of an account, for what was pickled; none for an empty account.

    In another process than that of the account these are the options that it opened a tree in the same bucket with
    last, if it did; else none.
    """
    if not account:
        return {}
    known = known_options(account)
    return known if known is not None else _options_of_bucket.get((scheme, bucket_of(path)), {})


def bucket_of(path: str) -> str:
    """Return the bucket of a full key."""
    return path.partition("/")[0]


def cached_store(
    scheme: str, path: str, options: Mapping[str, Any], retries: int, create: Callable[[], Store]
) -> Store:
    """Return the open store of this process with these options, in the same environment, or `create` it."""
    account = account_of(scheme, options)
    opened_with = (os.getpid(), account, retries, _environment(_VARIABLES)) if account else ()
    with _lock:
        store = _open_stores.get(opened_with) or create()
        store.account = account
        if account:
            _open_stores[opened_with] = store
        if options:
            _options_of_bucket[scheme, bucket_of(path)] = dict(options)
    for wrap in _wrappers:
        store = wrap(store)
    return store


def reopen_store(kind: type[Store], scheme: str, account: str, path: str) -> Store:
    """Return the store for a `path` that was pickled, see `options_of`."""
    options = options_of(account, scheme, path)
    return cached_store(scheme, path, options, RETRIES, lambda: kind.create(scheme, options, RETRIES))


class instrument:  # noqa: N801 - used like a function: ``with instrument(CountingStore):``
    """Wrap every store that is opened while this context lasts, for tests and measurements."""

    def __init__(self, wrap: Callable[[Store], Store]) -> None:
        self._wrap = wrap

    def __enter__(self) -> None:
        _wrappers.append(self._wrap)

    def __exit__(self, *_: object) -> None:
        _wrappers.remove(self._wrap)
