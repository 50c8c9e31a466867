"""Checks once that a server listens at a custom endpoint, before a library retries for minutes."""

from __future__ import annotations

import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from cvcache.store.urls import redact_url

_ENVIRONMENT_VARIABLES = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), "gs": ("STORAGE_EMULATOR_HOST",)}
_TIMEOUT = 5.0
_DEFAULT_PORTS = {"http": 80, "https": 443}


def endpoint_of(scheme: str, options: Mapping[str, Any]) -> str | None:
    """Return the endpoint of a store from its options or the environment; None for the default of the provider."""
    nested = options.get("client_kwargs")
    sources = [options, nested] if isinstance(nested, Mapping) else [options]
    values = [source.get("endpoint_url") for source in sources] + [
        os.environ.get(name) for name in _ENVIRONMENT_VARIABLES.get(scheme, ())
    ]
    return next((value for value in values if isinstance(value, str) and value), None)


def check_endpoint(endpoint: str) -> None:
    """Raise `ConnectionError` if no server listens at `endpoint`; not checked if there is a proxy."""
    parts = urllib.parse.urlsplit(endpoint if "://" in endpoint else f"http://{endpoint}")
    host = parts.hostname
    if host is None or (
        {parts.scheme, "all"} & urllib.request.getproxies().keys() and not urllib.request.proxy_bypass(host)
    ):
        return
    try:
        socket.create_connection((host, parts.port or _DEFAULT_PORTS.get(parts.scheme, 80)), timeout=_TIMEOUT).close()
    except OSError as error:
        msg = f"no server answers at {redact_url(endpoint)} ({error}); start it, or correct the endpoint"
        raise ConnectionError(msg) from None
