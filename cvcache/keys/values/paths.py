"""Canonical JSON of paths and URLs: the text, and what changes with the content of the file.

A file has its size and modification time; a directory that is an image or array, those of its metadata file; a node,
or an item of one that was computed again, the newest record. What lies at another URL is looked up by whoever makes the
key (`CanonicalEncoder`); a URL where that finds nothing out, and a text that names no file, are encoded as text only.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pathlib
import re
import stat
from collections.abc import Mapping
from typing import Any

from cvcache.errors import UnkeyableValue
from cvcache.keys.canonical import CanonicalEncoder, canonical_text, type_name
from cvcache.keys.digest import CanonicalJson
from cvcache.store import RECORDS_OF_ONE_ATTEMPT, ZARR_METADATA, log_dir, parse_url, redact_url

__all__ = ["canonical_local_path", "canonical_path"]

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://\S+")
_SLICES = re.compile(r"[?&]slices=[^&]*")


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
    """Return size and time of a file, or of the metadata file of an image or array; None if there is none.

    Of an item of a node that was computed again, whose result lies elsewhere, the newest record.
    """
    if record := _record_of_recomputed_node(os.path.dirname(path) or os.curdir):
        return {"log": record}
    try:
        info = os.stat(path)
        if stat.S_ISREG(info.st_mode):
            return {"size": info.st_size, "modified": _timestamp(info.st_mtime_ns)}
        if not stat.S_ISDIR(info.st_mode):
            return None
    except (OSError, ValueError):  # no such file, or not a valid name
        return None
    for name in ZARR_METADATA:
        if file_state := _local_stat(f"{path}/{name}"):
            return file_state
    with contextlib.suppress(OSError):
        return {"log": max(os.listdir(log_dir(path)), default="")}
    return {"modified": _timestamp(info.st_mtime_ns)} if any_directory else None


def _record_of_recomputed_node(path: str) -> str:
    """Return the name of the newest record of a node that was claimed more than once; empty for other directories."""
    try:
        records = os.listdir(log_dir(path))
    except (OSError, ValueError):
        return ""
    return max(records) if len(records) > RECORDS_OF_ONE_ATTEMPT else ""


def _timestamp(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    when = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _encode_url(
    encoder: CanonicalEncoder, tag: str, url: str, options: Mapping[str, Any] | None = None
) -> CanonicalJson:
    """Return the JSON of a URL; a secret in it is used for the request and left out of the JSON."""
    redacted = redact_url(url)
    file_state = _url_state(encoder, _SLICES.sub("", url), options or {})
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


def _url_state(encoder: CanonicalEncoder, url: str, options: Mapping[str, Any]) -> Mapping[str, CanonicalJson] | None:
    """Return what changes with the content at a URL; None if that cannot be found."""
    location = parse_url(url)
    if location.scheme == "file":
        return _local_stat(location.path) or {"absent": True}
    return encoder.resolve(url, options) if encoder.resolve is not None else None
