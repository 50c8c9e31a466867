"""Deleting what attempts have left: the only place where whole items are deleted.

Nothing is deleted by prefix or wildcard at the plain root, where foreign data may lie: only the items that an attempt
announced before its first byte, or that a commit lists. What lies below the control directory is the attempts' own.
Only attempts before a record are swept, so a late sweeper cannot hit a newer one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from cvcache.errors import BadRecord, InvalidName
from cvcache.protocol.chain import read_record
from cvcache.protocol.owner import owner_is_dead
from cvcache.protocol.record import Record, load_inventory
from cvcache.store import IN_PLACE, Store, check_item_name, is_item_dir, layout, log_entries

_MAX_LOG_PARTS = 64
"""Number of parts (the last ones) that are kept of the log of an attempt that did not end it: 4 MiB or more."""

_MAX_FAILED_LOGS = 10
"""Of how many attempts that were not committed (the last ones) the logs are kept."""

_MAX_JSON_BYTES = 64 << 20


def sweep(store: Store, path: str, record: Record) -> None:
    """Delete what attempts before `record` have left, but not its own data root.

    `record` is a commit, the begin of a removal, or a claim that discards, or follows one that did. Of attempts that
    failed the last logs are kept until a removal.

    Notes
    -----
    Two LIST, and the deletes; what lies at the plain root costs one GET more, and one for each announcement there.
    """
    control = layout.control_dir(path)
    names = sorted(store.find(control))
    past = past_attempts(layout.log_names(names), record)
    is_removal = record.state == "removing"
    kept = set() if is_removal else _last_failed_logs(names, past)
    if is_removal or record.root != IN_PLACE:
        kept |= _sweep_plain_root(store, path, record, names, past)
    doomed = [name for name in names if layout.belongs_to_attempts(name, past) and name not in kept]
    if is_removal:
        doomed += filter(layout.is_temporary, names)
    else:
        doomed = [name for name in doomed if not layout.lies_below(name, record.root)]
    store.delete([f"{control}/{name}" for name in doomed], within=control)


def sweep_inherited_root(store: Store, path: str, record: Record) -> set[str]:
    """Delete what attempts before `record` left in the data root that it inherits, and return what it may go on with.

    Returns
    -------
    set of str
        Unfinished images, which stay with their announcements until they are written again or the attempt commits.

    Notes
    -----
    No request if the root is new; else one LIST, two where it is not the plain root, and the deletes.
    """
    if record.root_seq == record.seq:
        return set()
    root = layout.data_root(path, record)
    found = sorted(store.find(layout.announcements_dir(path)))
    announcements = [pair for name in found if (pair := _parse_checked_announcement(name))]
    if record.root == IN_PLACE:
        line = set(attempts_between(store.list(layout.log_dir(path)).files, record.root_seq, record.seq))
        announcements = [(attempt, item) for attempt, item in announcements if attempt in line]
    resumable = {item for _, item in announcements if is_item_dir(item)}
    leftovers = [(attempt, item) for attempt, item in announcements if item not in resumable]
    if record.root == IN_PLACE:
        for _, item in leftovers:
            delete_item(store, f"{root}/{item}")
    else:
        store.delete(
            [f"{root}/{name}" for name in store.find(root) if name.partition("/")[0] not in resumable], within=root
        )
    attempts = {attempt for attempt, _ in leftovers}
    paths = [at(path, attempt) for attempt in attempts for at in (layout.inventory_path, layout.heartbeat_path)]
    store.delete([*paths, *(layout.thumbnail_path(path, *pair) for pair in leftovers)])
    store.delete([layout.announcement_path(path, *pair) for pair in leftovers], within=layout.announcements_dir(path))
    return resumable


def keep_logs(store: Store, path: str, previous: Record) -> None:
    """Keep the logs of an attempt that was not committed, of an unfinished one its last parts.

    One LIST; for each log a GET, a PUT and, of an unfinished one, a LIST.
    """
    where = layout.log_parts_dir(path, previous.attempt)
    for name in sorted(store.find(f"{layout.announcements_dir(path)}/{previous.attempt}")):
        pair = _parse_checked_announcement(f"{previous.attempt}/{name}")
        if pair is None or is_item_dir(pair[1]):
            continue
        item = pair[1]
        parts = [f"{where}/{item}/{part}" for part in sorted(store.find(f"{where}/{item}"))]
        try:
            text = [store.get(f"{layout.data_root(path, previous)}/{item}")] if item.endswith(".log") else []
        except FileNotFoundError:
            text = [store.get(part) for part in parts[-_MAX_LOG_PARTS:]]
        if text:
            store.put_parts(layout.failed_log_path(path, previous.attempt, item), text)
        if parts:
            store.delete(parts, within=layout.log_parts_dir(path))


def discard_items(store: Store, path: str, root: str, attempt: str, names: Iterable[str]) -> None:
    """Delete items of `root` that are not committed, and their announcements by this attempt."""
    item_names = sorted(names)
    for name in item_names:
        delete_item(store, f"{root}/{name}")
    if item_names:
        paths = [layout.announcement_path(path, attempt, name) for name in item_names]
        store.delete(paths, within=layout.announcements_dir(path))


def delete_item(store: Store, path: str) -> None:
    """Delete the objects of one item."""
    if is_item_dir(path):
        store.delete([f"{path}/{name}" for name in store.find(path)], within=path)
    else:
        store.delete([path])


def past_attempts(log: Iterable[str], record: Record) -> list[str]:
    """Return the attempts before that of `record` whose leftovers it may delete, oldest first.

    Of a claim these are the ones before the claim that discards, and before all that had the data root of `record`.
    """
    end = record.seq if record.discards is None else min(record.discards, record.root_seq)
    return [attempt for attempt in attempts_between(log, 1, end) if attempt != record.attempt]


def attempts_between(log: Iterable[str], first: int, last: int) -> list[str]:
    """Return the attempts of the records from number `first` to the one before `last`, oldest first."""
    return list(dict.fromkeys(after for seq, after in log_entries(log) if first < seq <= last))


def _sweep_plain_root(store: Store, path: str, record: Record, names: list[str], past: list[str]) -> set[str]:
    """Delete the items of attempts before `record` at the plain root; return announcements that are still needed.

    These are of attempts that may still write there.
    """
    listing = store.list(path)
    present = {*listing.files, *filter(is_item_dir, listing.dirs)}
    rows = _rows_of_first_commit(store, path, record) if present else {}
    for name, row in rows.items():
        if name in present and _is_as_committed(store, f"{path}/{name}", row):
            delete_item(store, f"{path}/{name}")
    needed = set()
    for name in names:
        pair = _parse_checked_announcement(name.removeprefix("writing/")) if name.startswith("writing/") else None
        if pair is None or pair[0] not in past or not _was_in_place(store, f"{layout.control_dir(path)}/{name}"):
            continue
        if pair[1] in present and pair[1] not in rows:
            delete_item(store, f"{path}/{pair[1]}")
        if not _is_over(store, path, layout.log_names(names), pair[0]):
            needed.add(name)
    return needed


def _rows_of_first_commit(store: Store, path: str, record: Record) -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of the first commit at the plain root: what is ours there."""
    if record.first is None:
        return {}
    try:
        first = read_record(store, layout.log_dir(path), *record.first)
        if first.items is not None:
            return first.items
        inventory = layout.inventory_path(path, first.attempt)
        return load_inventory(store.get(inventory, 0, _MAX_JSON_BYTES), first.attempt, store.url(inventory))
    except (FileNotFoundError, BadRecord):
        return {}


def _is_as_committed(store: Store, path: str, row: Mapping[str, Any]) -> bool:
    """Whether a file is what its commit vouched for, and not somebody's correction; a directory counts as ours."""
    if is_item_dir(path):
        return True
    info = store.stat(path)
    if info is not None and "sha256" in row:
        try:
            return hashlib.sha256(store.get(path)).hexdigest() == str(row["sha256"])
        except FileNotFoundError:
            return False
    return info is not None and row.get("size") in {None, info.size}


def _was_in_place(store: Store, announcement: str) -> bool:
    try:
        row = json.loads(store.get(announcement, 0, _MAX_JSON_BYTES))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(row, dict) and row.get("root") == IN_PLACE


def _is_over(store: Store, path: str, log: Iterable[str], attempt: str) -> bool:
    """Whether nobody writes for an attempt any more: it recorded its own end, or is proved dead; and had not shared."""
    entries = log_entries(log)
    following = next(((seq, after) for seq, after in entries if after == attempt), None)
    if following is None or store.stat(layout.shared_marker_path(path, attempt)) is not None:
        return False
    try:
        if read_record(store, layout.log_dir(path), *following).attempt == attempt:
            return True
        candidates = [(seq, after) for seq, after in entries if seq == following[0] - 1]
        records = [read_record(store, layout.log_dir(path), *entry) for entry in candidates]
    except (FileNotFoundError, BadRecord):
        return False
    return any(record.attempt == attempt and owner_is_dead(record.owner) for record in records)


def _last_failed_logs(names: Iterable[str], past: list[str]) -> set[str]:
    """Return the names of the logs to keep of attempts that were not committed."""
    logs = {name for name in names if name.startswith("failed/")}
    failed = [attempt for attempt in past if any(layout.belongs_to_attempts(name, [attempt]) for name in logs)]
    return {name for name in logs if layout.belongs_to_attempts(name, failed[-_MAX_FAILED_LOGS:])}


def _parse_checked_announcement(name: str) -> tuple[str, str] | None:
    """Return (attempt, item) of a valid announcement; None for others: a forged name could lead out of the node."""
    pair = layout.parse_announcement(name)
    try:
        return pair if pair and check_item_name(pair[1]) == pair[1] else None
    except InvalidName:
        return None
