"""From a URL to the store that keeps it. This package alone imports fsspec, and only when a store is opened."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

from cvcache.errors import InvalidName, UnknownOption
from cvcache.store.base import Listing, ObjectInfo, Store
from cvcache.store.names import node_path
from cvcache.store.urls import as_text, parse

__all__ = ["Listing", "ObjectInfo", "Store", "check_scheme", "instrument", "location_of", "open_store", "read_option"]

_opened: list[tuple[int, str, dict[str, Any], Store]] = []
_wrappers: list[Callable[[Store], Store]] = []
_lock = threading.Lock()


def location_of(where: object) -> tuple[str, str, dict[str, Any]]:
    """Return (scheme, full key, storage options) of a node at a str, os.PathLike or UPath.

    Raises
    ------
    InvalidName
        For a spelling no store keeps, and for the places that must never be a node: the root of a
        file system, a mount point, the home or the current directory and what lies above them.
    """
    text, options = as_text(where)
    location = parse(text)
    path = node_path(location)
    return location.scheme, _absolute(path) if location.scheme == "file" else path, options


def _absolute(path: str) -> str:
    """Return the one absolute spelling of a local path: links above its last component followed, that one not."""
    if path == "~" or path.startswith("~/"):
        path = os.path.expanduser(path)
    path = os.path.abspath(path)
    parent, name = os.path.split(path)
    path = os.path.join(os.path.realpath(parent), name)
    home = os.path.realpath(os.path.expanduser("~"))
    for place, what in ((home, "the home directory"), (os.getcwd(), "the current directory")):
        if place == path or place.startswith(path.rstrip("/") + "/"):
            msg = f"{path!r} is {what} or lies above it; give a directory of its own, such as {path + '/cvcache'!r}"
            raise InvalidName(msg)
    if os.path.ismount(path):
        msg = f"{path!r} is where a file system is mounted; give a directory in it"
        raise InvalidName(msg)
    return path


def open_store(scheme: str, path: str, options: Mapping[str, Any], retries: int = 5) -> Store:
    """Return the store for `scheme`, the same one for the same options in this process.

    `path` names the bucket: a handle that crossed a pickle has no options (they may hold secrets) and
    takes those this process used there last.
    """
    with _lock:
        store = _find(scheme, path, dict(options)) or _create(scheme, dict(options), retries)
        entry = (os.getpid(), f"{scheme}://{path.split('/', maxsplit=1)[0]}", dict(options), store)
        if scheme not in {"file", "memory"} and entry not in _opened:
            _opened.append(entry)
    for wrap in _wrappers:
        store = wrap(store)
    return store


def reopen(scheme: str, path: str) -> Store:
    """Return the store of a handle that crossed a pickle, as `open_store` finds it without options."""
    return open_store(scheme, path, {})


def _find(scheme: str, path: str, options: dict[str, Any]) -> Store | None:
    bucket = f"{scheme}://{path.split('/', maxsplit=1)[0]}"
    for pid, opened, known, found in reversed(_opened):
        same = (
            known == options and opened.startswith(f"{scheme}://")
            if options
            else opened == bucket or (not path and opened.startswith(bucket))
        )
        if pid == os.getpid() and same:
            return cast("Store", found)
    return None


def _create(scheme: str, options: dict[str, Any], retries: int) -> Store:
    if scheme in {"file", "memory"} and options:
        msg = f"{scheme} paths take no storage options; {', '.join(sorted(options))} is for a bucket"
        raise UnknownOption(msg)
    if scheme == "file":
        from cvcache.store.local import LocalStore

        return LocalStore()
    if scheme == "memory":
        from cvcache.store.memory import MemoryStore

        return MemoryStore()
    try:
        return _create_bucket(scheme, options, retries)
    except ImportError as error:
        packages = {"s3": "'cvcache[s3]'", "gs": "'cvcache[gcs]'"}
        remedy = f"pip install {packages[scheme]}" if scheme in packages else f"install what fsspec needs for {scheme}"
        msg = f"{scheme}:// needs a package that is not installed ({error}); {remedy}"
        raise ImportError(msg) from None


def read_option(text: str) -> Any:
    """Return the value of a storage option as people type it: what is JSON as that, anything else as it stands."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def check_scheme(scheme: str) -> None:
    """Raise `InvalidName` for what nothing that is installed opens, `ImportError` for what a package is missing for."""
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        msg = (
            f"{scheme}:// is an unknown kind of URL; known are s3://, gs://, memory://, a path on this computer and, "
            "with a package of its own, whatever fsspec can open"
        )
        raise InvalidName(msg) from None


def _create_bucket(scheme: str, options: dict[str, Any], retries: int) -> Store:
    check_scheme(scheme)
    if scheme == "s3":
        from cvcache.store.s3 import S3Store

        return S3Store(options, retries)
    if scheme == "gs":
        from cvcache.store.gcs import GcsStore

        return GcsStore(options, retries)
    from cvcache.store.bucket import BucketStore

    return BucketStore(scheme, options, retries)


class instrument:  # noqa: N801 - used like a function: ``with instrument(CountingStore):``
    """Put `wrap` around every store opened while this context lasts: the seam for tests and measurements."""

    def __init__(self, wrap: Callable[[Store], Store]) -> None:
        self._wrap = wrap

    def __enter__(self) -> None:
        _wrappers.append(self._wrap)

    def __exit__(self, *_: object) -> None:
        _wrappers.remove(self._wrap)
