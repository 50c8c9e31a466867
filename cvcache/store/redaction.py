"""Secrets in storage options, and their removal from messages of other libraries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

_SECRET_OPTION = re.compile(r"key|secret|token|passw|credential|sas|connection_string", re.IGNORECASE)
_USER = re.compile(r"://([^/@]+)@")
_MIN_SECRET_LENGTH = 8
_PUBLIC_VALUES = {"google_default"}


def find_secrets(options: Mapping[str, Any]) -> frozenset[str]:
    """Return the secrets in storage options: values named key, token or similar, and passwords in URLs."""
    secrets = {
        secret
        for secret in _secrets(options, is_secret=False)
        if len(secret) >= _MIN_SECRET_LENGTH and secret not in _PUBLIC_VALUES
    }
    return frozenset(
        spelling
        for secret in secrets
        for spelling in (secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1])
    )


def _secrets(value: object, *, is_secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _secrets(inner, is_secret=is_secret or _SECRET_OPTION.search(str(name)) is not None)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _secrets(inner, is_secret=is_secret)
    elif isinstance(value, str):
        credentials = _USER.findall(value)
        yield from [value] if is_secret else [part for user in credentials for part in (user, user.partition(":")[2])]


def redact_secrets(secrets: frozenset[str], text: str) -> str:
    """Return `text` with each of `secrets` replaced by asterisks."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def contains_secret(secrets: frozenset[str], error: BaseException | None) -> bool:
    """Whether the message of `error`, or of one of its causes, contains one of `secrets`."""
    while error is not None:
        if redact_secrets(secrets, text := str(error)) != text:
            return True
        error = error.__cause__ or error.__context__
    return False
