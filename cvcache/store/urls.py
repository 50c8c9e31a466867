"""Parsing of URLs and paths, without I/O. Whether a node may be there is checked in `cvcache.store.names`."""

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
"""User name and password before the bucket; a secret key may contain slashes, the name of an access point colons."""


class Location(NamedTuple):
    """A parsed URL or path.

    Attributes
    ----------
    scheme : str
        The canonical spelling, such as ``"gs"`` for ``"gcs"``; ``"file"`` for a path.
    path : str
        Bucket or host and key, without leading slashes; a local path as it was given.
    url : str
        As it was given; it may contain a secret.
    """

    scheme: str
    path: str
    url: str

    @property
    def bucket(self) -> str:
        """The first part of the path."""
        return self.path.partition("/")[0]

    @property
    def redacted_url(self) -> str:
        """The URL without secrets, for messages and logs."""
        return redact_url(self.url)

    def checked(self) -> Location:
        """Return this location; `InvalidName` if it is a chained URL, contains a secret or is on a web server."""
        if "::" in self.url:
            msg = f"{self.redacted_url!r} chains file systems; give the URL of the one store that keeps it"
            raise InvalidName(msg)
        if self.scheme != "file" and self.redacted_url != self.url:
            msg = (
                f"{self.redacted_url!r} holds a secret, which records, links and logs would show; "
                "pass it as a storage option or by the environment"
            )
            raise InvalidName(msg)
        if self.scheme in {"http", "https"}:
            msg = (
                f"{self.redacted_url!r} is on a web server, which is no store; give the bucket's own URL (s3://, gs://)"
            )
            raise InvalidName(msg)
        return self

    def __repr__(self) -> str:
        return f"Location({self.redacted_url!r})"


def parse_url(url: object) -> Location:
    """Return the parsed URL or path; `InvalidName` if it is no str."""
    if not isinstance(url, str):
        msg = f"a URL is text or a path, not {type(url).__name__}; pass it as a str or os.PathLike"
        raise InvalidName(msg)
    match = _SCHEME.fullmatch(url)
    scheme = match[1].lower() if match else "file"
    scheme = _SCHEMES.get(scheme, scheme)
    path = match[2] if match else url
    return Location(scheme, path if scheme == "file" else path.lstrip("/"), url)


def url_and_options(where: Any) -> tuple[Any, dict[str, Any]]:
    """Return an os.PathLike or UPath as str, and its storage options; any other object unchanged.

    Raises
    ------
    InvalidName
        For an item or node of a tree: what is read by its path is not checked against its commit.
    """
    if hasattr(where, "__cvcache_input__"):
        msg = f"{where!r} is no URL; read() it, or pass str(...) to take what lies there without its commit"
        raise InvalidName(msg)
    if hasattr(where, "storage_options") and hasattr(where, "protocol"):
        return str(where), dict(where.storage_options)
    return os.fspath(where) if isinstance(where, os.PathLike) else where, {}


def redact_url(url: str) -> str:
    """Return `url` without user name, password and query, for messages and logs."""
    scheme, colon, rest = url.partition(":")
    slashes = rest[: len(rest) - len(rest.lstrip("/"))]
    if slashes and (user_match := _USER.match(rest, len(slashes))):
        url = scheme + colon + slashes + rest[user_match.end() :]
    secret_match = _SECRET.search(url)
    return url[: secret_match.start()].partition("?")[0] if secret_match else url
