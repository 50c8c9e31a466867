"""What a URL or path says by its spelling alone. What may be a node is for `cvcache.store.names` to say."""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from cvcache.errors import InvalidName

_SCHEMES = {"local": "file", "gcs": "gs", "s3a": "s3"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SECRET = re.compile(
    r"[?&](x-amz-|x-goog-|awsaccesskeyid=|[\w-]*(sig|signature|token|secret|password|key)=)", re.IGNORECASE
)
_USER = re.compile(r"(?!arn:)[^/:@]+:[^@]*@|[^/@]*@")
"""Who and with which password, before the bucket; a secret key may hold slashes, the name of an access point colons."""


class Location(NamedTuple):
    """Where a URL leads.

    Attributes
    ----------
    scheme : str
        In the one spelling all processes share; ``"file"`` for a path.
    path : str
        All that follows: the bucket or host and the key, without slashes before them; a local path as it is spelled.
    url : str
        As it was given, which may be with a secret.
    """

    scheme: str
    path: str
    url: str

    @property
    def bucket(self) -> str:
        """The first part of the path."""
        return self.path.partition("/")[0]

    @property
    def shown(self) -> str:
        """The URL without secrets, for messages and logs."""
        return redact_url(self.url)

    def checked(self) -> Location:
        """Return this location; `InvalidName` if no store may be opened for it: chained, with a secret, on the web."""
        if "::" in self.url:
            msg = f"{self.shown!r} chains file systems; give the URL of the one store that keeps it"
            raise InvalidName(msg)
        if self.scheme != "file" and self.shown != self.url:
            msg = (
                f"{self.shown!r} holds a secret, which records, links and logs would show; pass it as a storage option "
                "or by the environment"
            )
            raise InvalidName(msg)
        if self.scheme in {"http", "https"}:
            msg = f"{self.shown!r} is on a web server, which is no store; give the bucket's own URL (s3://, gs://)"
            raise InvalidName(msg)
        return self

    def __repr__(self) -> str:
        return f"Location({self.shown!r})"


def parse_url(url: object) -> Location:
    """Split a URL or path; `InvalidName` if it is no text."""
    if not isinstance(url, str):
        msg = f"a URL is text or a path, not {type(url).__name__}; pass it as a str or os.PathLike"
        raise InvalidName(msg)
    match = _SCHEME.fullmatch(url)
    scheme = match[1].lower() if match else "file"
    scheme = _SCHEMES.get(scheme, scheme)
    path = match[2] if match else url
    return Location(scheme, path if scheme == "file" else path.lstrip("/"), url)


def url_and_options(where: Any) -> tuple[Any, dict[str, Any]]:
    """Return an os.PathLike or UPath as text, and its storage options; anything else as it is."""
    if hasattr(where, "storage_options") and hasattr(where, "protocol"):
        return str(where), dict(where.storage_options)
    return os.fspath(where) if isinstance(where, os.PathLike) else where, {}


def redact_url(url: str) -> str:
    """Return `url` without user name, password and query, for messages and logs."""
    scheme, colon, rest = url.partition(":")
    slashes = rest[: len(rest) - len(rest.lstrip("/"))]
    if slashes and (user := _USER.match(rest, len(slashes))):
        url = scheme + colon + slashes + rest[user.end() :]
    secret = _SECRET.search(url)
    return url[: secret.start()].partition("?")[0] if secret else url
