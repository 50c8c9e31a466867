"""What must not be shown of storage options, and its removal from what other libraries say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

_SECRET_OPTION = re.compile(r"key|secret|token|passw|credential|sas|connection_string", re.IGNORECASE)
_USER = re.compile(r"://([^/@]+)@")
_SHORTEST_SECRET = 8
_NO_SECRETS = {"google_default"}


def find_secrets(options: Mapping[str, Any]) -> frozenset[str]:
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


def redact_secrets(secrets: frozenset[str], text: str) -> str:
    """Return `text` with each of `secrets` struck out."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def contains_secret(secrets: frozenset[str], error: BaseException | None) -> bool:
    """Whether `error`, or one it came from, says one of `secrets`."""
    while error is not None:
        if redact_secrets(secrets, text := str(error)) != text:
            return True
        error = error.__cause__ or error.__context__
    return False
