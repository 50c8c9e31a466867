"""Valid names of nodes and items, and which directory entries are nodes or items.

Pure: no I/O. Every rule is there because without it a store, or a home directory, was harmed;
docs/explanation/hazards.md lists the cases.
"""

from __future__ import annotations

import functools
import operator
import os
import re
import unicodedata
from collections.abc import Iterable

from cvcache.errors import InvalidName
from cvcache.store.layout import is_control, is_item_dir, is_leaf
from cvcache.store.urls import Location

MAX_SEGMENT_BYTES = 200
MAX_KEY_BYTES = 900

_DRIVE = re.compile(r"[A-Za-z]:")
_ONE_SLASH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
_WILDCARD = re.compile(r"[*?\[\]{}]")
_WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(1, 10))}


def node_path(location: Location) -> str:
    """Return the full key of a node at `location`; a local path stays relative, and keeps its leading ``~/``.

    Raises
    ------
    InvalidName
        If no store may be opened for it, if it is the root of a store, or if a segment is invalid: empty, ``.``,
        ``..``, or the name of an item above the node.
    """
    url, path = location.checked().url, location.path.rstrip("/")  # a URL that was checked holds no secret
    if location.scheme == "file":
        url = location.redacted_url
        path = _local_path(path, url)
        if not path and location.path:
            return "/"
    elif "/" not in path and (location.scheme != "memory" or not path):
        msg = f"{url!r} is the root of a store, which is nobody's node; give a directory in it"
        raise InvalidName(msg)
    if path in {"", ".", "..", "~"}:
        msg = f"{url!r} names no directory of its own; give a path below it, such as 'cvcache-run1'"
        raise InvalidName(msg)
    *parents, name = path.lstrip("/").split("/")
    for segment in [*parents, name]:
        if segment in {"", ".", ".."}:
            msg = f"{url!r} has the segment {segment!r}, which stores read differently; write the path out"
            raise InvalidName(msg)
        if fault := _segment_fault(segment):
            msg = f"{url[:80]!r} has the segment {segment[:80]!r}, which {fault}"
            raise InvalidName(msg)
    for segment in parents:
        if is_leaf(segment):
            msg = f"{url!r} lies inside {segment!r}, which is an item or cvcache's own; choose a directory outside it"
            raise InvalidName(msg)
    return check_key(path.removesuffix(name) + check_node_name(name, url), url)


def _local_path(path: str, url: str) -> str:
    if _ONE_SLASH.match(path):
        msg = f"{url!r} is a URL with one slash too few, or a path: write '://', or './' before it"
        raise InvalidName(msg)
    if _DRIVE.match(path):
        msg = f"{url!r} is a drive path; drives cannot be told from nodes here, so give a directory with a POSIX path"
        raise InvalidName(msg)
    return path[2:] if path.startswith("./") and path[2] != "/" else path


def check_key(path: str, url: str) -> str:
    """Return `path`; raise `InvalidName` if its UTF-8 form is longer than `MAX_KEY_BYTES`, which all stores accept."""
    if 4 * len(path) <= MAX_KEY_BYTES:  # a character has at most four bytes
        return path
    size = len(path.encode("utf-8", "surrogatepass"))
    if size > MAX_KEY_BYTES:
        msg = f"{url[:80]!r}... is {size} bytes long; over {MAX_KEY_BYTES} some stores fail, so use shorter names"
        raise InvalidName(msg)
    return path


def check_node_name(name: str, url: str | None = None) -> str:
    """Return the node name `name` in Unicode normal form C.

    Raises
    ------
    InvalidName
        If it is no valid name; the message says why.
    """
    name = _check_segment(name, "node", url)
    if is_item_dir(name):
        msg = f"node name {name!r} ends like a directory item; drop the {name[name.rindex('.') :]!r}"
        raise InvalidName(msg)
    if wild := _WILDCARD.search(name):
        msg = (
            f"node name {name!r} holds {wild[0]!r}, which tools expand as a wildcard; use letters, digits, - _ = and ,"
        )
        raise InvalidName(msg)
    return name


def parse_child(child: object) -> list[str]:
    """Return the names on the way from a node to one below it, given as text, an int or a relative path.

    Raises
    ------
    InvalidName
        It is none of these, or one of the names cannot be a node's.
    """
    text = child if isinstance(child, str) else _child_text(child)
    return [check_node_name(name) for name in text.split("/")]


def _child_text(child: object) -> str:
    if isinstance(child, os.PathLike) and not hasattr(child, "__cvcache_input__"):
        return str(os.fspath(child))
    if not isinstance(child, bool) and hasattr(child, "__index__"):
        return str(operator.index(child))
    msg = f"a child is named by text, an int or a relative path, not by {repr(child)[:80]} ({type(child).__name__})"
    raise InvalidName(f"{msg}; spell it, as in node / f'{{sigma:.2f}}'")


def check_item_name(name: str) -> str:
    """Return the item name `name` in Unicode normal form C; raise `InvalidName` if it is not valid."""
    return _check_segment(name, "item", None)


def _check_segment(name: object, what: str, url: str | None) -> str:
    if not isinstance(name, str):
        msg = f"a {what} name is text, not {type(name).__name__}"
        raise InvalidName(msg)
    reason = _name_fault(name)
    if reason:
        where = f" in {url!r}" if url and url != name else ""
        msg = f"{what} name {name[:80]!r}{where} {reason}"
        raise InvalidName(msg)
    return unicodedata.normalize("NFC", name)


@functools.lru_cache(4096)
def _name_fault(name: str) -> str | None:
    """Return why this is no name for a node or an item; None if it is one."""
    if name in {"", ".", ".."}:
        return "is no name"
    if fault := _segment_fault(name):
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


@functools.lru_cache(4096)
def _segment_fault(segment: str) -> str | None:
    """Return why some store does not accept `segment` in a key, also as a parent directory; None if all do."""
    if "/" in segment or "\\" in segment:
        return "holds a path separator; one name is one level"
    if any(unicodedata.category(c) in {"Cc", "Cs"} for c in segment):
        return "holds a control character or half a character"
    if len(unicodedata.normalize("NFC", segment).encode("utf-8")) > MAX_SEGMENT_BYTES:
        return f"is over {MAX_SEGMENT_BYTES} bytes long, which some file systems refuse"
    return None


def relative_url(url: str, other: str) -> str:
    """Return `other` relative to `url`, as in ``../a/b``; `other` itself if it is in another store."""
    parts, other_parts = url.split("/"), other.split("/")
    common = next(
        (i for i, (a, b) in enumerate(zip(parts, other_parts, strict=False)) if a != b),
        min(len(parts), len(other_parts)),
    )
    if "://" in url + other and common < 3:  # noqa: PLR2004 - scheme, two slashes and bucket are the store
        return other
    return "/".join([".."] * (len(parts) - common) + other_parts[common:])


def resolve_relative(path: str, relative: str) -> str | None:
    """Return the path that is `relative` to the node at `path`; None for one in another store or above its root."""
    if "://" in relative or relative.startswith("/"):
        return None
    base = path.split("/")
    while relative == ".." or relative.startswith("../"):
        base, relative = base[:-1], relative[3:]
    parts = relative.split("/")
    outside = not any(base) or any(map(is_control, parts)) or ".." in parts
    return None if outside else "/".join([*base, relative] if relative else base)


def item_names(files: Iterable[str], dirs: Iterable[str]) -> tuple[str, ...]:
    """Return the entries of one level that are items, sorted."""
    return tuple(sorted([*files, *(d for d in dirs if is_item_dir(d))]))


def child_names(dirs: Iterable[str]) -> tuple[str, ...]:
    """Return the directories of one level that are child nodes, sorted; one with an invalid node name is foreign."""
    return tuple(sorted(name for name in dirs if _is_node_name(name)))


def _is_node_name(name: str) -> bool:
    try:
        return check_node_name(name) == name
    except InvalidName:
        return False
