"""From a URL to its store. fsspec is imported only when a store is opened."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from typing import Any, Protocol

from cvcache.errors import InvalidName, UnknownOption, UsageError
from cvcache.store.base import LOCAL_SCHEMES, RETRIES, Store, bucket_of, cached_store
from cvcache.store.names import node_path
from cvcache.store.urls import parse_url, url_and_options


def resolve_node(where: object) -> tuple[str, str, dict[str, Any]]:
    """Return (scheme, full key, storage options) of a node at a str, os.PathLike or UPath.

    Raises
    ------
    InvalidName
        If a store does not accept the spelling, or if it must never be a node: the root of a file
        system, a mount point, the home directory, the current directory and their parents.
    """
    text, options = url_and_options(where)
    location = parse_url(text)
    path = node_path(location)
    return location.scheme, _absolute(path) if location.scheme == "file" else path, options


def _absolute(path: str) -> str:
    """Return the absolute path; links in its parent are resolved, a link at its end is not."""
    if path == "~" or path.startswith("~/"):
        path = os.path.expanduser(path)
    path = os.path.abspath(path)
    parent, name = os.path.split(path)
    path = os.path.join(os.path.realpath(parent), name)
    inside = path.rstrip("/") + "/"
    for directory, what in (
        (_real_home(os.environ.get("HOME")), "the home directory"),
        (os.getcwd(), "the current directory"),
    ):
        if directory == path or directory.startswith(inside):
            msg = f"{path!r} is {what} or lies above it; give a directory of its own, such as {path + '/cvcache'!r}"
            raise InvalidName(msg)
    if os.path.ismount(path):
        msg = f"{path!r} is where a file system is mounted; give a directory in it"
        raise InvalidName(msg)
    return path


@functools.cache
def _real_home(home: str | None) -> str:  # noqa: ARG001 - what it is remembered for
    return os.path.realpath(os.path.expanduser("~"))


def open_store(scheme: str, path: str, options: Mapping[str, Any], retries: int = RETRIES) -> Store:
    """Return the store for `path`; in one process the same store for the same options.

    No options means the environment, whatever other stores of the bucket were opened with.
    """
    return cached_store(
        scheme, path, options, retries, lambda: _store_class(scheme, options).create(scheme, options, retries)
    )


class Place(Protocol):
    """Something in a store."""

    @property
    def store(self) -> Store: ...
    @property
    def path(self) -> str: ...


def open_store_from(near: Place | None, scheme: str, path: str, options: Mapping[str, Any]) -> Store:
    """Return the store for `path`: without options that of `near`, if it is in the same bucket."""
    if near is not None and not options and scheme == near.store.scheme and bucket_of(path) == bucket_of(near.path):
        return near.store
    return open_store(scheme, path, options)


def merge_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return storage options, those given as ``storage_options={...}`` among the others.

    Raises
    ------
    UsageError
        It is no mapping, or an option is given twice.
    """
    if "storage_options" not in options:
        return dict(options)
    given = options["storage_options"] or {}
    if not isinstance(given, Mapping):
        msg = f"storage_options is a dict, such as {{'anon': True}}, not {type(given).__name__}"
        raise UsageError(msg)
    others = {name: value for name, value in options.items() if name != "storage_options"}
    if twice := sorted(given.keys() & others.keys()):
        msg = f"{', '.join(twice)} is given both in storage_options and by itself; give it once"
        raise UsageError(msg)
    return {**given, **others}


def _store_class(scheme: str, options: Mapping[str, Any]) -> type[Store]:
    if scheme in LOCAL_SCHEMES and options:
        msg = f"{scheme} paths take no storage options; {', '.join(sorted(options))} is for a bucket"
        raise UnknownOption(msg)
    match scheme:
        case "file":
            from cvcache.store.local import LocalStore

            return LocalStore
        case "memory":
            from cvcache.store.memory import MemoryStore

            return MemoryStore
        case "s3":
            from cvcache.store.s3 import S3Store

            return S3Store
        case "gs":
            from cvcache.store.gcs import GcsStore

            return GcsStore
    from cvcache.store.bucket import BucketStore

    return BucketStore


def parse_storage_option(text: str) -> Any:
    """Return the value of a storage option that a person typed: JSON is parsed, any other text stays text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
