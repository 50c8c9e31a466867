"""What a failed request meant: try again, lost a race, not allowed, or not there."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

T = TypeVar("T")

_TRANSIENT_ERRNO = {
    getattr(errno, name)
    for name in ("EBUSY", "EREMOTEIO", "EIO", "EAGAIN", "EPIPE", "ECONNRESET", "ECONNABORTED", "ETIMEDOUT")
    if hasattr(errno, name)
}
_TRANSIENT_STATUS = {408, 409, 425, 429, 500, 502, 503, 504}
_TRANSIENT_CLASSES = {
    "ClientPayloadError", "ClientConnectionError", "ServerDisconnectedError", "ClientOSError", "HTTPClientError",
    "ResponseParserError", "IncompleteRead", "IncompleteReadError", "ResponseStreamingError", "ChunkedEncodingError",
    "ProxyError", "ChecksumError", "ConnectionClosedError", "EndpointConnectionError", "ReadTimeoutError",
    "ConnectTimeoutError",
    "FSTimeoutError", "ClientResponseError", "TransportError", "ConnectionError", "ReadTimeout",
}  # fmt: skip
_SECRET_OPTION = re.compile(r"key|secret|token|passw|credential|sas|connection_string", re.IGNORECASE)
_USER = re.compile(r"://([^/@]+)@")
_SHORTEST_SECRET = 8
_NO_SECRETS = {"google_default"}
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError"}


PATIENCE = 30.0
"""Seconds after which a request is not sent again: the libraries below have tried all that time themselves."""


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status behind an error of s3fs, gcsfs or what they stand on; None if it has none."""
    for candidate in (error, error.__cause__):
        response = getattr(candidate, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(status, int):
                return status
        for name in ("code", "status"):
            status = getattr(candidate, name, None)
            if isinstance(status, int):
                return status
    return None


def is_lost(error: BaseException) -> bool:
    """Whether a conditional create was answered "it exists"; three libraries spell it in three ways."""
    return isinstance(error, FileExistsError) or http_status(error) == 412  # noqa: PLR2004 - Precondition Failed


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed when sent again."""
    if isinstance(error, (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)):
        return False
    status = http_status(error)
    if status is not None:
        return status in _TRANSIENT_STATUS
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    if isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNO:
        return True
    return any(cls.__name__ in _TRANSIENT_CLASSES for cls in type(error).__mro__)


def is_denied(error: BaseException) -> bool:
    """Whether the store refused for want of a right or of credentials."""
    if isinstance(error, PermissionError) or http_status(error) in {401, 403}:
        return True
    if any(cls.__name__ in _NO_CREDENTIALS for cls in type(error).__mro__):
        return True
    return isinstance(error, OSError) and str(error).startswith("Forbidden")


def retrying(call: Callable[[], T], retries: int, sleep: Callable[[float], None] = time.sleep) -> T:
    """Return what `call` returns; one that fails in passing is sent again up to `retries` times, ever later."""
    began = time.monotonic()
    for attempt in range(retries):
        try:
            return call()
        except Exception as error:
            if not is_transient(error) or time.monotonic() - began > PATIENCE:
                raise
        sleep(min(0.1 * 2**attempt, 5.0))
    return call()


def secrets_of(options: Mapping[str, Any]) -> frozenset[str]:
    """Return what must not be shown of storage options: what is called a key or the like, and passwords in URLs."""
    found = {s for s in _secrets(options, hidden=False) if len(s) >= _SHORTEST_SECRET and s not in _NO_SECRETS}
    return frozenset(form for s in found for form in (s, quote(s), quote(s, safe=""), repr(s)[1:-1]))


def _secrets(value: object, *, hidden: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _secrets(inner, hidden=hidden or _SECRET_OPTION.search(str(name)) is not None)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _secrets(inner, hidden=hidden)
    elif isinstance(value, str):
        users = _USER.findall(value)
        yield from [value] if hidden else [part for user in users for part in (user, user.partition(":")[2])]


def without(secrets: frozenset[str], text: str) -> str:
    """Return `text` with each of `secrets` struck out."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def quotes(secrets: frozenset[str], error: BaseException | None) -> bool:
    """Whether `error`, or one it came from, says one of `secrets`."""
    while error is not None:
        if without(secrets, text := str(error)) != text:
            return True
        error = error.__cause__ or error.__context__
    return False
