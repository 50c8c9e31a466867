"""The parts of a log while its step runs: numbered objects that are never overwritten."""

from __future__ import annotations

from cvcache.store import Store, layout


def read_log_parts(store: Store, path: str, attempt: str, item: str, *, after: int = 0) -> list[bytes]:
    """Return the parts of a log that follow the first `after`; one LIST, and a GET each.

    The parts are deleted after the whole log is written: then the list is incomplete or empty.
    """
    folder = layout.log_parts_dir(path, attempt, item)
    names = set(store.list(folder).files)
    parts: list[bytes] = []
    while (name := layout.part_name(after + len(parts) + 1)) in names:
        try:
            parts.append(store.get(f"{folder}/{name}"))
        except FileNotFoundError:
            break
    return parts


def read_log_end(store: Store, path: str, attempt: str, item: str, min_bytes: int) -> tuple[bytes, bool]:
    """Return at least the last `min_bytes` bytes of a log, and whether that is all of it.

    One LIST, and a GET for each part that is needed.
    """
    folder = layout.log_parts_dir(path, attempt, item)
    files = store.list(folder).files
    text = b""
    for name in sorted(files, reverse=True):
        if len(text) >= min_bytes:
            return text, False
        try:
            text = store.get(f"{folder}/{name}") + text
        except FileNotFoundError:  # the whole log was written, and the parts deleted
            return text, False
    return text, True
