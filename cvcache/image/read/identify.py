"""What lies at a URL now: by the etag of an object or of the metadata of an image, or the newest record of a node."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from cvcache.errors import InvalidName
from cvcache.image.read.url import is_zarr
from cvcache.protocol import read_newest_record, standing_path
from cvcache.store import ZARR_METADATA, Location, Place, Store, open_store_from, parse_url

WEB_TIMEOUT_SECONDS = 10
"""Timeout of a request to a web server."""
RETRY_AFTER_SECONDS = 60.0
"""Pause before the next request to a bucket or server that did not answer, as each one can take a minute."""
GONE_STATUSES = {404, 410}
_unreachable_until: dict[tuple[str, str, str], float] = {}
"""Scheme, bucket and account of a store, or scheme and host of a web server -> when to ask it again."""
logger = logging.getLogger("cvcache")


def identity(url: str, options: Mapping[str, Any], near: Place | None = None) -> Mapping[str, Any] | None:
    """Return etag, or size and time, of the object at a URL, or that it is absent; None if that cannot be found.

    A secret in the URL is used for the request alone. Without options the store is that of `near`, if that is in the
    same bucket.

    Notes
    -----
    One LIST of the node that it may be in, one GET if that was computed more than once, and one HEAD (up to 4 for a URL
    that ends in ``.zarr``); where that finds nothing a LIST and a GET of the node that it is. None for a minute after a
    server has not answered.
    """
    location = parse_url(url)
    host = (location.scheme, location.bucket, "")
    try:
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
    if "/" not in location.path or {"", ".", ".."} & set(location.path.split("/")):
        raise InvalidName(location.redacted_url)
    return open_store_from(near, location.scheme, location.path, options)


def _store_stat(store: Store, path: str) -> dict[str, Any]:
    found = _stat_object_or_image(store, standing_path(store, path))
    if found is not None:
        return found
    node = read_newest_record(store, path.rstrip("/"))
    if node is None:
        return {"absent": True}
    return {"commit": node.result.attempt} if node.result is not None else {"log": node.filename}


def _stat_object_or_image(store: Store, path: str) -> dict[str, Any] | None:
    for name in ZARR_METADATA if is_zarr(path) else ("",):
        info = store.stat(f"{path}/{name}".rstrip("/"))
        if info is not None:
            return {"etag": info.etag.strip('"')} if info.etag else {"size": info.size, "modified": info.modified}
    return None


def _web_stat(url: str) -> dict[str, Any] | None:
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
