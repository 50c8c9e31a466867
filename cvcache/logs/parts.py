"""Where the text of a log lies while its step runs: objects that never change, one after the other."""

from __future__ import annotations

from cvcache.store import Store, layout


def read_parts(store: Store, path: str, attempt: str, item: str, *, after: int = 0) -> list[bytes]:
    """Return the parts of a log that follow the first `after`; one LIST, and a GET each.

    They are deleted once the log is written whole: then the list is short, or empty.
    """
    where = layout.log_parts_dir(path, attempt, item)
    names = set(store.list(where).files)
    parts: list[bytes] = []
    while (name := layout.part_name(after + len(parts) + 1)) in names:
        try:
            parts.append(store.get(f"{where}/{name}"))
        except FileNotFoundError:
            break
    return parts


def read_last_parts(store: Store, path: str, attempt: str, item: str, enough: int) -> tuple[bytes, bool]:
    """Return the text at the end of a log, at least `enough` bytes where there are, and whether that is all of it.

    One LIST, and a GET for each part that is needed.
    """
    where = layout.log_parts_dir(path, attempt, item)
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
