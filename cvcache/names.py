"""What a URL, a node name and an item name may be, and which entry of a directory is which.

Pure: no I/O. Every rule here exists because some store, or some person's home directory, was
harmed by its absence; docs/explanation/hazards.md lists them.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from cvcache.errors import InvalidName
from cvcache.layout import is_control, is_item_dir

MAX_SEGMENT_BYTES = 200
MAX_KEY_BYTES = 900

_SCHEMES = {"file": "file", "local": "file", "gs": "gs", "gcs": "gs", "s3": "s3", "s3a": "s3", "memory": "memory"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_DRIVE = re.compile(r"[A-Za-z]:")
_ONE_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
_WILDCARD = re.compile(r"[*?\[\]{}]")
_SECRET = re.compile(
    r"[?&](x-amz-|x-goog-|awsaccesskeyid=|[\w-]*(sig|signature|token|secret|password|key)=)", re.IGNORECASE
)
_USER = re.compile(r"(?!arn:)[^/:@]+:[^@]*@|[^/@]*@")
"""Who and with which password, before the bucket; a secret key may hold slashes, the name of an access point colons."""

_WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}


class Location(NamedTuple):
    """Where a URL points: the scheme's canonical name and the full key, e.g. ``("s3", "bucket/run7")``."""

    scheme: str
    path: str


def parse_url(url: object) -> Location:
    """Split `url` into scheme and key, in the one spelling all processes share.

    A local path keeps its leading ``~/`` and may be relative; making it absolute needs the
    environment and is done where the store is opened.

    Raises
    ------
    InvalidName
        For an empty or relative-segment path, a doubled slash, a secret in the URL, a chained URL,
        or a segment no store keeps.
    """
    if not isinstance(url, str):
        msg = f"a node's URL is text or a path, not {type(url).__name__}"
        raise InvalidName(msg)
    if "::" in url:
        msg = f"{redact(url)!r} chains file systems; give the URL of the store that keeps the cache"
        raise InvalidName(msg)
    match = _SCHEME.fullmatch(url)
    scheme, rest = (match[1].lower(), match[2]) if match else ("file", url)
    scheme = _SCHEMES.get(scheme, scheme)
    if scheme != "file":
        _refuse_secret(url, rest)
    elif _ONE_SLASH.match(rest):
        msg = f"{redact(rest)!r} is a URL with one slash too few, or a path: write '://', or './' before it"
        raise InvalidName(msg)
    elif _DRIVE.match(rest):
        msg = f"{url!r} is a drive path; drives cannot be told from nodes here, so give a directory with a POSIX path"
        raise InvalidName(msg)
    return Location(scheme, _check_path(rest, url, local=scheme == "file"))


def redact(url: str) -> str:
    """Return `url` without user name, password and query, for messages and logs."""
    scheme, colon, rest = url.partition(":")
    slashes = rest[: len(rest) - len(rest.lstrip("/"))]
    if slashes and (user := _USER.match(rest, len(slashes))):
        url = scheme + colon + slashes + rest[user.end() :]
    return url.split("?")[0] if _SECRET.search(url) else url


def _refuse_secret(url: str, rest: str) -> None:
    if _USER.match(rest.lstrip("/")) or _SECRET.search(rest):
        msg = f"{redact(url)!r} holds a secret, which records and logs would show; pass it as a storage option"
        raise InvalidName(msg)


def _check_path(rest: str, url: str, *, local: bool) -> str:
    shown = redact(url)
    if local and rest != "./":
        rest = rest.removeprefix("./")
    body = rest.rstrip("/") if local else rest.strip("/")
    if not body and (not local or rest.startswith("/")):
        return "/" if local else ""
    if body in {"", ".", "..", "~"}:
        msg = f"{shown!r} names no directory of its own; give a path below it, such as 'cvcache-run1'"
        raise InvalidName(msg)
    segments = body.lstrip("/").split("/")
    for segment in segments:
        if segment in {"", ".", ".."}:
            msg = f"{shown!r} has the segment {segment!r}, which stores read differently; write the path out"
            raise InvalidName(msg)
        if fault := _unkeepable(segment):
            msg = f"{shown[:80]!r} has the segment {segment[:80]!r}, which {fault}"
            raise InvalidName(msg)
    for parent in segments[:-1]:
        if is_control(parent.casefold()) or is_item_dir(parent):
            msg = f"{shown!r} lies inside {parent!r}, which is an item or cvcache's own; choose a directory outside it"
            raise InvalidName(msg)
    if not local and len(segments) == 1:
        return body
    last = check_node_name(segments[-1], shown)
    path = body[: len(body) - len(segments[-1])] + last
    check_key(path, shown)
    return path


def check_key(path: str, shown: str) -> str:
    """Return `path`, or raise `InvalidName` if its UTF-8 form is longer than any store surely keeps."""
    size = len(path.encode("utf-8", "surrogatepass"))
    if size > MAX_KEY_BYTES:
        msg = f"{shown[:80]!r}... is {size} bytes long; over {MAX_KEY_BYTES} some stores fail, so use shorter names"
        raise InvalidName(msg)
    return path


def check_node_name(name: str, shown: str | None = None) -> str:
    """Return `name` in Unicode normal form C if a node may be called so.

    Raises
    ------
    InvalidName
        Says which character or ending is refused.
    """
    name = _check_segment(name, "node", shown)
    if is_item_dir(name):
        msg = f"node name {name!r} ends like a directory item; drop the {name[name.rindex('.') :]!r}"
        raise InvalidName(msg)
    if wild := _WILDCARD.search(name):
        msg = (
            f"node name {name!r} holds {wild[0]!r}, which tools expand as a wildcard; use letters, digits, - _ = and ,"
        )
        raise InvalidName(msg)
    return name


def check_item_name(name: str) -> str:
    """Return `name` in Unicode normal form C if an item may be called so; raise `InvalidName` otherwise."""
    return _check_segment(name, "item", None)


def _check_segment(name: object, what: str, shown: str | None) -> str:
    if not isinstance(name, str):
        msg = f"a {what} name is text, not {type(name).__name__}"
        raise InvalidName(msg)
    reason = _segment_fault(name)
    if reason:
        where = f" in {shown!r}" if shown and shown != name else ""
        msg = f"{what} name {name[:80]!r}{where} {reason}"
        raise InvalidName(msg)
    return unicodedata.normalize("NFC", name)


@functools.lru_cache(4096)
def _segment_fault(name: str) -> str | None:
    """Say why no node or item can have this name; None if one can."""
    if name in {"", ".", ".."}:
        return "is no name"
    if fault := _unkeepable(name):
        return fault
    if name != name.strip() or name.endswith("."):
        return "begins or ends with a space, or ends with a dot, which some file systems drop"
    if is_control(name.casefold()):
        return "is reserved for cvcache itself"
    if "?versionId=" in name:
        return "holds '?versionId=', which S3 takes for a version of another name"
    if _DRIVE.match(name) or name.split(".", maxsplit=1)[0].casefold() in _WINDOWS_DEVICES:
        return "is a device or drive name on Windows"
    return None


def _unkeepable(segment: str) -> str | None:
    """Say why some store cannot keep `segment`, be it a name of ours or a directory above; None if all can."""
    if "/" in segment or "\\" in segment:
        return "holds a path separator; one name is one level"
    if any(unicodedata.category(c) in {"Cc", "Cs"} for c in segment):
        return "holds a control character or half a character"
    if len(unicodedata.normalize("NFC", segment).encode("utf-8")) > MAX_SEGMENT_BYTES:
        return f"is over {MAX_SEGMENT_BYTES} bytes long, which some file systems refuse"
    return None


def item_names(files: Iterable[str], dirs: Iterable[str]) -> tuple[str, ...]:
    """Return which entries of one level are items, sorted."""
    return tuple(sorted([*files, *(d for d in dirs if is_item_dir(d))]))


def child_names(dirs: Iterable[str]) -> tuple[str, ...]:
    """Return which directories of one level are child nodes, sorted; one that no node may be called is foreign."""
    return tuple(sorted(name for name in dirs if _is_node_name(name)))


def _is_node_name(name: str) -> bool:
    try:
        return check_node_name(name) == name
    except InvalidName:
        return False
