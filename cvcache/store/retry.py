"""Classifying failed requests: transient, already exists, access denied. And retries."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

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
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError"}


MAX_RETRY_SECONDS = 30.0
"""A request that has failed for so many seconds is not sent again: the library has retried it all that time."""


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status of an error of s3fs, gcsfs or their libraries; None if it has none."""
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


def is_already_exists(error: BaseException) -> bool:
    """Whether a conditional create failed because the object exists; libraries report it in three ways."""
    return isinstance(error, FileExistsError) or http_status(error) == 412  # noqa: PLR2004 - Precondition Failed


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed if it is sent again."""
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


def is_access_denied(error: BaseException) -> bool:
    """Whether the store denied the request: no permission or no credentials."""
    if isinstance(error, PermissionError) or http_status(error) in {401, 403}:
        return True
    if any(cls.__name__ in _NO_CREDENTIALS for cls in type(error).__mro__):
        return True
    return isinstance(error, OSError) and str(error).startswith("Forbidden")


def call_with_retries(call: Callable[[], T], retries: int, sleep: Callable[[float], None] = time.sleep) -> T:
    """Return ``call()``; after a transient error call again, up to `retries` times, with growing delays."""
    started = time.monotonic()
    for attempt in range(retries):
        try:
            return call()
        except Exception as error:
            if not is_transient(error) or time.monotonic() - started > MAX_RETRY_SECONDS:
                raise
        sleep(min(0.1 * 2**attempt, 5.0))
    return call()
