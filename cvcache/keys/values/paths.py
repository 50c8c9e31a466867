"""Paths and URLs as part of a key: the text, and what tells the content that lies there from a later one.

A file counts with size and time of its last change; an image or array that is a directory, with those of its metadata;
a node, with its newest record; an object in a bucket or on a web server, with its etag. Where a URL cannot be asked it
counts by its text alone, and so does a text that is the name of nothing.
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
from typing import Any

from cvcache.errors import InvalidName, UnkeyableValue
from cvcache.keys.canonical import Walk, text_form, type_name
from cvcache.keys.digest import CanonicalJson
from cvcache.store import Location, log_dir, parse_url, redact_url

__all__ = ["canonical_local_path", "canonical_path"]

ROOTS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""The metadata of a directory that is an image or array, the one that is written last first."""
SECONDS = 10
"""How long a web server may take to answer."""
SILENCE = 60.0
"""Seconds for which a bucket or server that did not answer is not asked again, for that can take a minute each time."""
GONE = {404, 410}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://\S+")
_SLICES = re.compile(r"[?&]slices=[^&]*")
_silent: dict[tuple[str, str], float] = {}
logger = logging.getLogger("cvcache")


def canonical_path(walk: Walk, value: Any) -> CanonicalJson:
    """Return the form of a path, or of a text that may be one."""
    if type(value) is str:
        if _URL.fullmatch(value):
            return _url(walk, "$url", value) if walk.paths == "all" else text_form(value)
        return canonical_local_path(value)
    kind = type(value)
    remote = getattr(value, "protocol", "") not in {"", "file", "local"}
    text = str(value) if remote else value.as_posix() if hasattr(value, "as_posix") else os.fsdecode(value)
    known = kind.__module__.partition(".")[0] in {"pathlib", "upath"}
    more: dict[str, CanonicalJson] = {} if known else {"type": type_name(kind)}
    if walk.paths == "text" or (isinstance(value, pathlib.PurePath) and not isinstance(value, pathlib.Path)):
        return {"$path": text_form(text), **more}
    if not remote:
        return {"$path": text_form(text), **(_local(text, any_directory=True) or {"absent": True}), **more}
    form = _url(walk, "$path", text, value.storage_options) if walk.paths == "all" else text_form(text)
    return {**(form if isinstance(form, dict) else {"$path": form}), **more}


def canonical_local_path(text: str) -> CanonicalJson:
    """Return the form of a text, with size and time of the file or image on this machine that has this name, if any."""
    name = text.partition("?slices=")[0]
    plain = os.sep not in name and "/" not in name and not os.path.splitext(name)[1]
    facts = None if plain else _local(name)
    return {"$file": text_form(text), **facts} if facts else text_form(text)


def _local(path: str, *, any_directory: bool = False) -> dict[str, CanonicalJson] | None:
    """Return size and time of a file, or of the metadata of an image or array; None where there is none."""
    try:
        info = os.stat(path)
        if stat.S_ISREG(info.st_mode):
            return {"size": info.st_size, "modified": _moment(info.st_mtime_ns)}
        if not stat.S_ISDIR(info.st_mode):
            return None
    except (OSError, ValueError):  # there is nothing, or it is no name
        return None
    for name in ROOTS:
        if facts := _local(f"{path}/{name}"):
            return facts
    with contextlib.suppress(OSError):
        return {"log": max(os.listdir(log_dir(path)), default="")}
    return {"modified": _moment(info.st_mtime_ns)} if any_directory else None


def _moment(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    when = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _url(walk: Walk, tag: str, url: str, options: Mapping[str, Any] | None = None) -> CanonicalJson:
    """Return the form of a URL; a secret in it is used to ask, and is left out."""
    shown = redact_url(url)
    facts = _asked(_SLICES.sub("", url), options or {})
    if facts is not None:
        return {tag: text_form(shown), **facts}
    if shown != url:
        msg = (
            f"{walk.place}: {shown!r} holds a secret, which a key would show, and cannot be asked for what lies there; "
            "pass the URL without it and give credentials by the environment, or leave the argument out with ignore="
        )
        raise UnkeyableValue(msg)
    return text_form(url)


def _asked(url: str, options: Mapping[str, Any]) -> dict[str, CanonicalJson] | None:
    """Return etag, or size and time, of what lies at a URL; None where nobody can tell."""
    location = parse_url(url)
    host = (location.scheme, location.bucket)
    if time.monotonic() < _silent.get(host, 0.0):
        return None
    try:
        if location.scheme in {"http", "https"}:
            return _on_web(url)
        if location.scheme == "file":
            return _local(location.path) or {"absent": True}
        return _in_store(location.checked(), options)
    except (InvalidName, ImportError):  # of no store
        return None
    except Exception as error:  # noqa: BLE001 - the libraries below share no base class
        # only the kind of error, for its text may quote a secret
        logger.warning(
            "%s counts in a key by its text alone: nobody could be asked (%s)", location.shown, type(error).__name__
        )
        _silent[host] = time.monotonic() + SILENCE
        return None


def _in_store(location: Location, options: Mapping[str, Any]) -> dict[str, CanonicalJson]:
    from cvcache.store import open_store

    path = location.path
    if "/" not in path or {"", ".", ".."} & set(path.split("/")):
        raise InvalidName(location.shown)
    store = open_store(location.scheme, path, options)
    for name in ROOTS if path.endswith(".zarr") else ("",):
        info = store.stat(f"{path}/{name}".rstrip("/"))
        if info is not None:
            return {"etag": info.etag.strip('"')} if info.etag else {"size": info.size, "modified": info.modified}
    records = store.list(log_dir(path.rstrip("/"))).files
    return {"log": max(records)} if records else {"absent": True}


def _on_web(url: str) -> dict[str, CanonicalJson] | None:
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    request = Request(url, method="HEAD")  # noqa: S310 - the scheme has been looked at
    try:
        with urlopen(request, timeout=SECONDS) as reply:  # noqa: S310 - as above
            told = reply.headers
    except HTTPError as error:
        error.close()
        return {"absent": True} if error.code in GONE else None
    if told["ETag"]:
        return {"etag": told["ETag"].removeprefix("W/").strip('"')}
    if told["Last-Modified"]:
        return {"size": int(told["Content-Length"] or -1), "modified": told["Last-Modified"]}
    return None
