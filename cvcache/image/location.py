"""From a URL or path, with slices or without, to the store that keeps an image or file."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cvcache.errors import InvalidName
from cvcache.image.slices import Slices, format_slices, split_slices
from cvcache.names import parse_url, redact
from cvcache.store import open_store
from cvcache.store.base import Store

ZIPPED = ".zarr.zip"
"""How the name of a file ends that is an image."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Location(NamedTuple):
    """What a URL leads to: `path` in `store`, the URL that is kept (with its slices), and the slices."""

    store: Store
    path: str
    url: str
    slices: Slices | None


def locate(where: object, options: Mapping[str, Any] | None = None) -> Location:
    """Return what `where` leads to, in the one spelling that is kept; no store call.

    Parameters
    ----------
    where : str, os.PathLike or UPath
        Of an image or file, with ``?slices=[...]`` or without.
    options : mapping, optional
        Storage options for its store.

    Raises
    ------
    InvalidName
        It holds a secret, or is spelled in a way no store keeps.
    """
    if hasattr(where, "storage_options") and hasattr(where, "protocol"):
        options, where = {**where.storage_options, **(options or {})}, str(where)
    text = os.fspath(where) if isinstance(where, os.PathLike) else where
    if not isinstance(text, str):
        msg = f"{where!r} is no URL or path; pass it as a str or os.PathLike"
        raise InvalidName(msg)
    bare, slices = split_slices(text)
    scheme, remote, rest = bare.partition("://")
    scheme = scheme.lower() if remote else "file"
    if _CONTROL.search(bare) or "::" in bare or not bare:
        msg = f"{redact(bare)!r} is no place of an image: it is empty, chained or has control characters"
        raise InvalidName(f"{msg}; give the URL of one image or file")
    if scheme in {"file", "local"}:
        scheme, path = "file", os.path.realpath(os.path.expanduser(rest if remote else bare))
    else:
        scheme, path = _remote(scheme, rest.strip("/"), bare)
    store = open_store(scheme, path, options or {})
    query = "" if slices is None else f"?slices={format_slices(slices)}"
    return Location(store, path, store.url(path) + query, slices)


def _remote(scheme: str, rest: str, url: str) -> tuple[str, str]:
    """Return scheme and full key of an image or file in a bucket; `parse_url` knows only of nodes."""
    if redact(url) != url:
        msg = f"{redact(url)!r} holds a secret, and URLs are shown and kept; give credentials by the environment"
        raise InvalidName(f"{msg}, or open its bucket with them in this process, as in cdir(url, **options)")
    if scheme in {"http", "https"}:
        msg = f"{url!r} is on a web server, which no store of ours reads; give its bucket's URL (s3://, gs://)"
        raise InvalidName(msg)
    bucket, *segments = rest.split("/")
    if not segments or {"", ".", ".."} & set(segments):
        msg = f"{url!r} names no image and no file in a bucket; give its whole URL, without '.', '..' and '//'"
        raise InvalidName(msg)
    location = parse_url(f"{scheme}://{bucket}")
    return location.scheme, "/".join([location.path, *segments])
