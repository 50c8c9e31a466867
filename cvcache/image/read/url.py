"""Parses the URL or path of an image or file, with or without slices."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from cvcache.errors import InvalidName
from cvcache.formats import kind_of
from cvcache.image.read.slices import Slices, format_slices, split_slices
from cvcache.protocol import standing_path
from cvcache.store import Place, Store, is_item_dir, merge_options, open_store_from, parse_url, url_and_options

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Location(NamedTuple):
    """Location of an image or file: `path` in `store`, the normalized URL (with its slices), and the slices."""

    store: Store
    path: str
    url: str
    slices: Slices | None


def standing_location(location: Location) -> Location:
    """Return where the image or file of a node lies by the commit that stands: only the first is at its plain path.

    One LIST, and one GET if it is in a node that was computed more than once.
    """
    return location._replace(path=standing_path(location.store, location.path))


def is_zip(path: str) -> bool:
    """Whether a path or URL has the suffix of an image in one zip file."""
    return kind_of(path) == "image" and not is_item_dir(path)


def is_zarr(path: str) -> bool:
    """Whether a path or URL has the suffix of an image that is a directory."""
    return kind_of(path) == "image" and is_item_dir(path)


def parse_image_url(url: object, options: Mapping[str, Any] | None = None, near: Place | None = None) -> Location:
    """Return the location of `url`, with the URL normalized; no store call.

    Parameters
    ----------
    url : str, os.PathLike or UPath
        Of an image or file, with ``?slices=[...]`` or without.
    options : mapping, optional
        Storage options for its store.
    near : Place, optional
        Whose store it is without options, if it is in the same bucket.

    Raises
    ------
    InvalidName
        It holds a secret, or is not valid in any store.
    """
    text, url_options = url_and_options(url)
    base, slices = split_slices(text)
    parsed = parse_url(base).checked()
    if _CONTROL.search(base) or not base:
        msg = f"{parsed.redacted_url!r} is no place of an image: it is empty or has control characters"
        raise InvalidName(f"{msg}; give the URL of one image or file")
    path = os.path.realpath(os.path.expanduser(parsed.path)) if parsed.scheme == "file" else parsed.path.rstrip("/")
    if parsed.scheme != "file" and ("/" not in path or {".", "..", ""} & set(path.split("/"))):
        msg = f"{parsed.redacted_url!r} names no image and no file in a bucket"
        raise InvalidName(f"{msg}; give its whole URL, without '.', '..' and '//'")
    store = open_store_from(near, parsed.scheme, path, {**url_options, **merge_options(options or {})})
    query = "" if slices is None else f"?slices={format_slices(slices)}"
    return Location(store, path, store.url(path) + query, slices)
