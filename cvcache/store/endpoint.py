"""Whether anybody listens where a store is said to be: asked once, before libraries try for minutes."""

from __future__ import annotations

import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from cvcache.store.urls import redact_url

_VARIABLES = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), "gs": ("STORAGE_EMULATOR_HOST",)}
_PATIENCE = 5.0
_PORTS = {"http": 80, "https": 443}


def endpoint_of(scheme: str, options: Mapping[str, Any]) -> str | None:
    """Return the address given for a store by option or environment; None for a provider's own."""
    nested = options.get("client_kwargs")
    given = [options, nested] if isinstance(nested, Mapping) else [options]
    values = [kind.get("endpoint_url") for kind in given] + [
        os.environ.get(name) for name in _VARIABLES.get(scheme, ())
    ]
    return next((value for value in values if isinstance(value, str) and value), None)


def check_endpoint(endpoint: str) -> None:
    """Raise `ConnectionError` if nobody listens at `endpoint`; a way through a proxy is not checked."""
    parts = urllib.parse.urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    host = parts.hostname
    if host is None or (
        {parts.scheme, "all"} & urllib.request.getproxies().keys() and not urllib.request.proxy_bypass(host)
    ):
        return
    try:
        socket.create_connection((host, parts.port or _PORTS.get(parts.scheme, 80)), timeout=_PATIENCE).close()
    except OSError as error:
        msg = f"no server answers at {redact_url(endpoint)} ({error}); start it, or correct the endpoint"
        raise ConnectionError(msg) from None
