"""Deleting the leftovers of earlier attempts.

Whole items are deleted here only: by exact names that an attempt announced before its first byte, never by prefix or
wildcard. So foreign data is safe, and a late sweeper cannot hit a newer attempt.
"""

from __future__ import annotations

from collections.abc import Iterable

from cvcache.errors import InvalidName
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import Record
from cvcache.store import Store, attempt_root, check_item_name, is_item_dir, layout, log_entries

_MAX_LOG_PARTS = 64
"""Number of parts (the last ones) that are kept of the log of a dead attempt: 4 MiB or more."""


def sweep_leftovers(
    store: Store,
    path: str,
    record: Record,
    settle: Policy | None,
    *,
    keep_logs: bool = False,
    keep_images: bool = False,
) -> set[str]:
    """Delete the items that attempts before `record` announced in place, then their announcements.

    Later attempts are left alone: the caller may have been suspended for a long time and have lost its lease. With
    `settle`, first wait its `request_timeout`, until requests of a killed process have reached the store.

    Returns
    -------
    set of str
        With `keep_images`: the unfinished images, which are kept so that `resume_item` can continue them.
    """
    announcements = _announced_in_place(store, path, record)
    if not announcements:
        return set()
    if settle is not None and store.scheme not in {"file", "memory"}:
        settle.sleep(settle.request_timeout)
    resumable = {item for _, item in announcements if keep_images and is_item_dir(item)}
    leftovers = [(attempt, item) for attempt, item in announcements if item not in resumable]
    if keep_logs:
        _archive_logs(store, path, [(attempt, item) for attempt, item in leftovers if not is_item_dir(item)])
    _delete_announced(store, path, leftovers)
    return resumable


def _announced_in_place(store: Store, path: str, record: Record) -> list[tuple[str, str]]:
    """Return (attempt, item) of all that attempts before `record` announced in place."""
    names = sorted(store.find(layout.announcements_dir(path)))
    announcements = [pair for name in names if (pair := _parse_checked_announcement(name))]
    if not announcements:
        return []
    in_place = _in_place_attempts(past_attempts(store.list(layout.log_dir(path)).files, record), record)
    return [(attempt, item) for attempt, item in announcements if attempt in in_place]


def _delete_announced(store: Store, path: str, announcements: list[tuple[str, str]]) -> None:
    """Delete the items with all that their attempts left beside them, and last the announcements."""
    for _, item in announcements:
        delete_item(store, f"{path}/{item}")
    attempts = {attempt for attempt, _ in announcements}
    paths = [at(path, attempt) for attempt in attempts for at in (layout.inventory_path, layout.heartbeat_path)]
    store.delete([*paths, *(layout.thumbnail_path(path, *pair) for pair in announcements)])
    store.delete(
        [layout.announcement_path(path, *pair) for pair in announcements], within=layout.announcements_dir(path)
    )


def _parse_checked_announcement(name: str) -> tuple[str, str] | None:
    """Return (attempt, item) of a valid announcement; None for others: a forged name could lead out of the node."""
    pair = layout.parse_announcement(name)
    try:
        return pair if pair and check_item_name(pair[1]) == pair[1] else None
    except InvalidName:
        return None


def past_attempts(log: Iterable[str], record: Record) -> list[str]:
    """Return the attempts before `record`, oldest first."""
    return [after for seq, after in log_entries(log) if 1 < seq <= record.seq]


def _in_place_attempts(past: list[str], record: Record) -> list[str]:
    """Return the attempts of `past` that wrote in place: after the first unproven one, none did."""
    first = next((i for i, attempt in enumerate(past) if attempt in record.unproven), None)
    return past if first is None else past[: first + 1]


def _archive_logs(store: Store, path: str, announcements: list[tuple[str, str]]) -> None:
    """Move the logs among the announced items to the data root of their attempt; of unfinished logs, the last parts."""
    if not announcements:
        return
    where = layout.log_parts_dir(path)
    part_names = sorted(store.find(where))
    for attempt, item in announcements:
        parts = [f"{where}/{part}" for part in part_names if part.startswith(f"{attempt}/{item}/")]
        try:
            text = [store.get(f"{path}/{item}")] if item.endswith(".log") else []
        except FileNotFoundError:
            text = [store.get(part) for part in parts[-_MAX_LOG_PARTS:]]
        if text:
            store.put_parts(f"{path}/{attempt_root(attempt)}/{item}", text)
        if parts:
            store.delete(parts, within=where)


def discard_items(store: Store, path: str, root: str, names: Iterable[str]) -> None:
    """Delete items of `root` that are not committed, and all announcements of their names."""
    item_names = set(names)
    for name in sorted(item_names):
        delete_item(store, f"{root}/{name}")
    if item_names:
        announcements = map(layout.parse_announcement, store.find(layout.announcements_dir(path)))
        paths = [layout.announcement_path(path, *pair) for pair in announcements if pair and pair[1] in item_names]
        store.delete(paths, within=layout.announcements_dir(path))


def delete_item(store: Store, path: str) -> None:
    """Delete the objects of one item."""
    if is_item_dir(path):
        store.delete([f"{path}/{name}" for name in store.find(path)], within=path)
    else:
        store.delete([path])
