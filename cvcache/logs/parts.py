"""Where the text of a log lies while its step runs: objects that never change, one after the other."""

from __future__ import annotations

from cvcache.store.base import Store
from cvcache.store.layout import RESERVED

KIND = "parts"
"""The directory of a node's control objects that holds the parts of logs."""


def part_name(item: str, number: int) -> str:
    """Return the name of a part below those of its attempt; numbers begin with 1."""
    return f"{item}/{number:06d}"


def parts_of(path: str, attempt: str, item: str) -> str:
    """Return the full key of the directory that the parts of one log lie in."""
    return f"{path}/{RESERVED}/{KIND}/{attempt}/{item}"


def read_parts(store: Store, path: str, attempt: str, item: str, *, after: int = 0) -> list[bytes]:
    """Return the parts of a log that follow the first `after`; one LIST, and a GET each.

    They are deleted once the log is written whole: then the list is short, or empty.
    """
    where = parts_of(path, attempt, item)
    names = set(store.list(where).files)
    parts: list[bytes] = []
    while (name := f"{after + len(parts) + 1:06d}") in names:
        try:
            parts.append(store.get(f"{where}/{name}"))
        except FileNotFoundError:
            break
    return parts


def read_last_parts(store: Store, path: str, attempt: str, item: str, enough: int) -> tuple[bytes, bool]:
    """Return the text at the end of a log, at least `enough` bytes where there are, and whether that is all of it.

    One LIST, and a GET for each part that is needed.
    """
    where = parts_of(path, attempt, item)
    files = store.list(where).files
    text = b""
    for name in sorted(files, reverse=True):
        if len(text) >= enough:
            return text, False
        try:
            text = store.get(f"{where}/{name}") + text
        except FileNotFoundError:  # written whole since, and the parts deleted
            return text, False
    return text, True
