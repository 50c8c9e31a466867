"""Canonical JSON of paths and URLs: the text, and what changes with the content of the file.

A file has its size and modification time; a directory that is an image or array, those of its metadata file; a node,
its newest record; an object in a bucket or on a web server, its etag. A URL whose server does not answer, and a text
that names no file, are encoded as text only.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import pathlib
import re
import stat
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvcache.errors import InvalidName, UnkeyableValue
from cvcache.keys.canonical import CanonicalEncoder, canonical_text, type_name
from cvcache.keys.digest import CanonicalJson
from cvcache.store import Location, log_dir, parse_url, redact_url

if TYPE_CHECKING:
    from cvcache.store import Place, Store

__all__ = ["canonical_local_path", "canonical_path"]

METADATA_FILES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""Metadata files of a directory that is an image or array; the one that is written last comes first."""
WEB_TIMEOUT_SECONDS = 10
"""Timeout of a request to a web server."""
RETRY_AFTER_SECONDS = 60.0
"""Pause before the next request to a bucket or server that did not answer, as each one can take a minute."""
GONE_STATUSES = {404, 410}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://\S+")
_SLICES = re.compile(r"[?&]slices=[^&]*")
_unreachable_until: dict[tuple[str, str, str], float] = {}
"""Scheme, bucket and account of a store, or scheme and host of a web server -> when to ask it again."""
logger = logging.getLogger("cvcache")


def canonical_path(encoder: CanonicalEncoder, value: Any) -> CanonicalJson:
    """Return the JSON of a path, or of a text that may be a path."""
    if type(value) is str:
        if _URL.fullmatch(value):
            return _encode_url(encoder, "$url", value) if encoder.paths == "all" else canonical_text(value)
        return canonical_local_path(value)
    kind = type(value)
    remote = getattr(value, "protocol", "") not in {"", "file", "local"}
    text = str(value) if remote else value.as_posix() if hasattr(value, "as_posix") else os.fsdecode(value)
    is_known_type = kind.__module__.partition(".")[0] in {"pathlib", "upath"}
    type_field: dict[str, CanonicalJson] = {} if is_known_type else {"type": type_name(kind)}
    if encoder.paths == "text" or (isinstance(value, pathlib.PurePath) and not isinstance(value, pathlib.Path)):
        return {"$path": canonical_text(text), **type_field}
    if not remote:
        return {
            "$path": canonical_text(text),
            **(_local_stat(text, any_directory=True) or {"absent": True}),
            **type_field,
        }
    encoded = (
        _encode_url(encoder, "$path", text, value.storage_options) if encoder.paths == "all" else canonical_text(text)
    )
    return {**(encoded if isinstance(encoded, dict) else {"$path": encoded}), **type_field}


def canonical_local_path(text: str) -> CanonicalJson:
    """Return the JSON of a text; if it names a file or image on this machine, with size and time."""
    name = text.partition("?slices=")[0]
    is_plain_name = os.sep not in name and "/" not in name and not os.path.splitext(name)[1]
    file_state = None if is_plain_name else _local_stat(name)
    return {"$file": canonical_text(text), **file_state} if file_state else canonical_text(text)


def _local_stat(path: str, *, any_directory: bool = False) -> dict[str, CanonicalJson] | None:
    """Return size and time of a file, or of the metadata file of an image or array; None if there is none."""
    try:
        info = os.stat(path)
        if stat.S_ISREG(info.st_mode):
            return {"size": info.st_size, "modified": _timestamp(info.st_mtime_ns)}
        if not stat.S_ISDIR(info.st_mode):
            return None
    except (OSError, ValueError):  # no such file, or not a valid name
        return None
    for name in METADATA_FILES:
        if file_state := _local_stat(f"{path}/{name}"):
            return file_state
    with contextlib.suppress(OSError):
        return {"log": max(os.listdir(log_dir(path)), default="")}
    return {"modified": _timestamp(info.st_mtime_ns)} if any_directory else None


def _timestamp(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    when = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _encode_url(
    encoder: CanonicalEncoder, tag: str, url: str, options: Mapping[str, Any] | None = None
) -> CanonicalJson:
    """Return the JSON of a URL; a secret in it is used for the request and left out of the JSON."""
    redacted = redact_url(url)
    file_state = _remote_stat(_SLICES.sub("", url), options or {}, encoder.near)
    if file_state is not None:
        return {tag: canonical_text(redacted), **file_state}
    if redacted != url:
        msg = (
            f"{encoder.value_path}: {redacted!r} holds a secret, which a key would show, "
            "and cannot be asked for what lies there; pass the URL without it and give credentials by the environment, "
            "or leave the argument out with ignore="
        )
        raise UnkeyableValue(msg)
    return canonical_text(url)


def _remote_stat(url: str, options: Mapping[str, Any], near: Place | None) -> dict[str, CanonicalJson] | None:
    """Return etag, or size and time, of the object at a URL; None if they cannot be found."""
    location = parse_url(url)
    host = (location.scheme, location.bucket, "")
    try:
        if location.scheme == "file":
            return _local_stat(location.path) or {"absent": True}
        store = None
        if location.scheme not in {"http", "https"}:
            store = _open_store(location.checked(), options, near)
            host = (location.scheme, location.bucket, store.account)
        if time.monotonic() < _unreachable_until.get(host, 0.0):
            return None
        return _web_stat(url) if store is None else _store_stat(store, location.path)
    except (InvalidName, ImportError):  # no store for this URL
        return None
    except Exception as error:  # noqa: BLE001 - the libraries below share no base class
        # only the type of the error, as its text may contain a secret
        logger.warning(
            "%s counts in a key by its text alone: nobody could be asked (%s)",
            location.redacted_url,
            type(error).__name__,
        )
        _unreachable_until[host] = time.monotonic() + RETRY_AFTER_SECONDS
        return None


def _open_store(location: Location, options: Mapping[str, Any], near: Place | None) -> Store:
    from cvcache.store import open_store_from

    if "/" not in location.path or {"", ".", ".."} & set(location.path.split("/")):
        raise InvalidName(location.redacted_url)
    return open_store_from(near, location.scheme, location.path, options)


def _store_stat(store: Store, path: str) -> dict[str, CanonicalJson]:
    for name in METADATA_FILES if path.endswith(".zarr") else ("",):
        info = store.stat(f"{path}/{name}".rstrip("/"))
        if info is not None:
            return {"etag": info.etag.strip('"')} if info.etag else {"size": info.size, "modified": info.modified}
    records = store.list(log_dir(path.rstrip("/"))).files
    return {"log": max(records)} if records else {"absent": True}


def _web_stat(url: str) -> dict[str, CanonicalJson] | None:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    request = Request(url, method="HEAD")  # noqa: S310 - the scheme has been looked at
    try:
        with urlopen(request, timeout=WEB_TIMEOUT_SECONDS) as response:  # noqa: S310 - as above
            headers = response.headers
    except HTTPError as error:
        error.close()
        return {"absent": True} if error.code in GONE_STATUSES else None
    if headers["ETag"]:
        return {"etag": headers["ETag"].removeprefix("W/").strip('"')}
    if headers["Last-Modified"]:
        return {"size": int(headers["Content-Length"] or -1), "modified": headers["Last-Modified"]}
    return None
