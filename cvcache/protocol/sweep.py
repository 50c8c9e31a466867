"""Deleting what attempts have left: the only place where whole items are deleted.

Nothing is deleted by prefix or wildcard at the plain root, where foreign data may lie: only the items that an attempt
announced before its first byte, or that a commit lists. What lies below the control directory is the attempts' own.
Only attempts before a record are swept, so a late sweeper cannot hit a newer one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from cvcache.errors import InvalidName
from cvcache.protocol.chain import Chain, read_record, walk_chain
from cvcache.protocol.owner import owner_is_dead
from cvcache.protocol.record import Record, load_inventory
from cvcache.store import IN_PLACE, Store, check_item_name, gather, is_item_dir, layout

logger = logging.getLogger("cvcache")
Keys: TypeAlias = tuple[str, ...]
"""Keys of objects in an item, relative to it."""


_MAX_LOG_PARTS = 64
"""Number of parts (the last ones) that are kept of the log of an attempt that did not end it: 4 MiB or more."""

_MAX_FAILED_LOGS = 10
"""Of how many attempts that were not committed (the last ones) the logs are kept."""

_MAX_JSON_BYTES = 64 << 20

_MAX_COMPARED_BYTES = 1 << 20
"""Of larger files only the size is compared with that of the commit."""

_DESKTOP_FILES = re.compile(r"\.DS_Store|\._.*|\.nfs.*|Thumbs\.db|desktop\.ini")
"""Files that a file browser or a network file system puts beside what it shows: nobody's work."""


def sweep(store: Store, path: str, record: Record) -> None:
    """Delete what attempts before `record` have left, but not its own data root.

    `record` is a commit, the begin of a removal, or a claim that discards, or follows one that did. Of attempts that
    failed the last logs are kept until a removal.

    Notes
    -----
    One LIST and the deletes. Where the plain root is not the one of `record`, one LIST more, two GET for each attempt
    whose announcements are there, and a GET for each small file or a LIST for each directory that is deleted there.
    """
    control = layout.control_dir(path)
    names = sorted(store.find(control))
    chain = walk_chain(store, layout.log_dir(path), layout.log_names(names))
    if (record.seq, record.after) not in chain:
        return
    past = past_attempts(chain, record)
    is_removal = record.state == "removing"
    kept = set() if is_removal else _last_failed_logs(names, past)
    if is_removal or record.root != IN_PLACE:
        writing = _sweep_plain_root(store, path, record, names, chain, past)
        kept |= {name for name in names if layout.tells_of_writes(name, writing)}
    doomed = [name for name in names if layout.belongs_to_attempts(name, past) and name not in kept]
    if is_removal:
        doomed += filter(layout.is_temporary, names)
    else:
        doomed = [name for name in doomed if not layout.lies_below(name, record.root)]
    store.delete([f"{control}/{name}" for name in doomed], within=control)


def sweep_inherited_root(store: Store, path: str, record: Record) -> dict[str, Keys]:
    """Delete what attempts before `record` left in the data root that it inherits, and return what it may go on with.

    Returns
    -------
    dict
        Unfinished images, which stay with their announcements until they are written again or the attempt commits:
        name -> keys to delete last.

    Notes
    -----
    No request if the root is new; else two LIST and the deletes. A third LIST where it is not the plain root; there two
    GET for each announcement, since strangers' files lie there too.
    """
    if record.root_seq == record.seq:
        return {}
    root = layout.data_root(path, record)
    found = sorted(store.find(layout.announcements_dir(path)))
    chain = walk_chain(store, layout.log_dir(path), store.list(layout.log_dir(path)).files)
    # others may still write where they announced it: those stay until they are over
    line = set(attempts_between(chain, record.root_seq, record.seq))
    announcements = [pair for name in found if (pair := _parse_checked_announcement(name)) and pair[0] in line]
    in_place = record.root == IN_PLACE
    ours = _announced_items(store, path, announcements) if in_place else {item: () for _, item in announcements}
    resumable = {item: keys for item, keys in ours.items() if is_item_dir(item)}
    leftovers = [(attempt, item) for attempt, item in announcements if item not in resumable]
    if in_place:
        _delete_items(store, root, {item: () for item in ours if item not in resumable})
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

    Two LIST; for each log a GET, or one for each part of an unfinished one, and a PUT.
    """
    where = layout.log_parts_dir(path, previous.attempt)
    parts: dict[str, list[str]] = {}
    for name in sorted(store.find(where)):
        parts.setdefault(name.partition("/")[0], []).append(f"{where}/{name}")
    announced = store.find(f"{layout.announcements_dir(path)}/{previous.attempt}")
    pairs = [_parse_checked_announcement(f"{previous.attempt}/{name}") for name in announced]
    for item in sorted({pair[1] for pair in pairs if pair is not None and pair[1].endswith(".log")} | parts.keys()):
        whole, unfinished = f"{layout.data_root(path, previous)}/{item}", parts.get(item, [])
        text = _read_all(store, [whole]) or _read_all(store, unfinished[-_MAX_LOG_PARTS:])
        if text:
            store.put_parts(layout.failed_log_path(path, previous.attempt, item), text)
    store.delete([part for several in parts.values() for part in several], within=layout.log_parts_dir(path))


def _read_all(store: Store, paths: list[str]) -> list[bytes]:
    """Return these objects; none if one is missing, as after a sweep by who took the node over."""
    try:
        return [store.get(path) for path in paths]
    except FileNotFoundError:
        return []


def discard_items(store: Store, path: str, root: str, attempt: str, items: Mapping[str, Keys]) -> None:
    """Delete items of `root` that are not committed (name -> keys to delete last), and their announcements."""
    _delete_items(store, root, items)
    if items:
        paths = [layout.announcement_path(path, attempt, name) for name in sorted(items)]
        store.delete(paths, within=layout.announcements_dir(path))


def _delete_items(store: Store, root: str, items: Mapping[str, Keys]) -> None:
    """Delete items (name -> keys to delete last): the files in one batch, each directory after a LIST."""
    for name in filter(is_item_dir, items):
        delete_item(store, f"{root}/{name}", items[name])
    if files := [f"{root}/{name}" for name in items if not is_item_dir(name)]:
        store.delete(files)


def delete_item(store: Store, path: str, last: Keys = ()) -> None:
    """Delete the objects of one item, these `last`: what is left of it after a crash still tells whose it is."""
    if not is_item_dir(path):
        store.delete([path])
        return
    found = store.find(path)
    store.delete([f"{path}/{key}" for key in found if key not in last], within=path)
    if kept := [f"{path}/{key}" for key in found if key in last]:
        store.delete(kept, within=path)


def _announced_items(store: Store, path: str, pairs: Iterable[tuple[str, str]]) -> dict[str, Keys]:
    """Return the items at the plain root that were written by who announced them: name -> keys to delete last.

    Others are a stranger's: they hold none of the objects that were to be written before any other. Of what was
    announced without such an object all is ours.
    """

    def keys_of(pair: tuple[str, str]) -> Keys | None:
        first = _first_objects(store, layout.announcement_path(path, *pair))
        is_ours = not first or any(_holds(store, f"{path}/{pair[1]}", *one) for one in first)
        return tuple(str(key) for key, _, _ in first) if is_ours else None

    announced = list(pairs)
    found = gather(keys_of, announced, remote=store.scheme not in {"file", "memory"})
    items: dict[str, Keys] = {}
    for (_, item), keys in zip(announced, found, strict=True):
        if keys is not None:
            items[item] = (*items.get(item, ()), *keys)
    return items


def _first_objects(store: Store, announcement: str) -> list[list[Any]]:
    """Return key, size and digest of each object of which one was written before any other; empty if unknown."""
    row = _read_announcement(store, announcement)
    try:
        first = row.get("first") or row.get("plan", {}).get("first") or []
        return [[str(key), int(size), str(digest)] for key, size, digest in first]
    except (ValueError, AttributeError, TypeError):
        return []


def _forget_first_objects(store: Store, announcement: str) -> None:
    """Have any object of an announced item be its attempt's, which may write any of them after the sweep."""
    row = _read_announcement(store, announcement)
    plan = row.get("plan")
    places = [place for place in (row, plan) if isinstance(place, dict) and place.pop("first", None)]
    if places:
        store.put(announcement, json.dumps(row).encode())


def _read_announcement(store: Store, announcement: str) -> dict[str, Any]:
    """Return what an announcement says; nothing if it is gone or no JSON object."""
    try:
        row = json.loads(store.get(announcement, 0, _MAX_JSON_BYTES))
    except (FileNotFoundError, ValueError):
        return {}
    return row if isinstance(row, dict) else {}


def _holds(store: Store, item: str, key: str, size: int, digest: str) -> bool:
    """Whether an item has an object with these bytes; of a large one only the size is compared."""
    path = f"{item}/{key}" if key else item
    if size > _MAX_COMPARED_BYTES:
        info = store.stat(path)
        return info is not None and info.size == size
    try:
        data = store.get(path)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False
    return len(data) == size and hashlib.sha256(data).hexdigest() == digest


def past_attempts(chain: Chain, record: Record) -> list[str]:
    """Return the attempts before that of `record` whose leftovers it may delete, oldest first.

    Of a claim these are the ones before the claim that discards, and before all that had the data root of `record`.
    """
    end = record.seq if record.discards is None else min(record.discards, record.root_seq)
    return [attempt for attempt in attempts_between(chain, 1, end) if attempt != record.attempt]


def attempts_between(chain: Chain, first: int, last: int) -> list[str]:
    """Return the attempts of the records from number `first` to the one before `last`, oldest first."""
    return list(dict.fromkeys(after for seq, after in chain if first < seq <= last))


def _sweep_plain_root(
    store: Store, path: str, record: Record, names: list[str], chain: Chain, past: list[str]
) -> set[str]:
    """Delete the items of attempts before `record` at the plain root, but none that was changed after its commit.

    Returns
    -------
    set of str
        The attempts that may still write there.
    """
    announced: dict[str, list[str]] = {}
    for pair in map(_parse_checked_announcement, layout.announcement_names(names)):
        if pair is not None and pair[0] in past:
            announced.setdefault(pair[0], []).append(pair[1])
    is_over = {
        attempt: over for attempt in announced if (over := _is_over(store, path, names, chain, attempt)) is not None
    }
    in_place = [(attempt, item) for attempt in is_over for item in announced[attempt]]
    writing = {attempt for attempt, over in is_over.items() if not over}
    # listed after that: who ends later may have written what this lacks
    listing = store.list(path)
    sizes = {name: info.size for name, info in listing.files.items()}
    present = {*sizes, *filter(is_item_dir, listing.dirs)}
    rows = _rows_of_first_commit(store, path, record) if present else {}
    doomed = _as_committed(store, path, {name: rows[name] for name in rows if name in present}, sizes)
    uncommitted = [(attempt, item) for attempt, item in in_place if item in present and item not in rows]
    ours = _announced_items(store, path, [pair for pair in uncommitted if pair[0] not in writing])
    for pair in (pair for pair in in_place if pair[0] in writing):
        _forget_first_objects(store, layout.announcement_path(path, *pair))
    written = {item: () for attempt, item in uncommitted if attempt in writing}
    _delete_items(store, path, {**dict.fromkeys(doomed, ()), **ours, **written})
    return writing


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
    except FileNotFoundError:  # it was deleted by an earlier sweep, after the items
        return {}


def _as_committed(store: Store, path: str, rows: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int]) -> set[str]:
    """Return the items that are as their commit vouched for, and warn of others: corrections by hand, or a stranger's.

    Of a directory some objects may be missing, by damage or by a sweep that was interrupted.
    """

    def is_ours(name: str) -> bool:
        row = rows[name]
        if is_item_dir(name):
            found = store.find(f"{path}/{name}").items()
            parts = [info.size for key, info in found if not _DESKTOP_FILES.fullmatch(key.rpartition("/")[2])]
            return len(parts) <= int(row.get("objects", len(parts))) and sum(parts) <= int(row.get("bytes", sum(parts)))
        if "sha256" not in row or sizes[name] != row.get("size"):
            return bool(sizes[name] == row.get("size", sizes[name]))
        return _holds(store, f"{path}/{name}", "", sizes[name], row["sha256"])

    names = list(rows)
    ours = dict(zip(names, gather(is_ours, names, remote=store.scheme not in {"file", "memory"}), strict=True))
    for name in names:
        if not ours[name]:
            url = store.url(f"{path}/{name}")
            logger.warning("%s is not as it was committed: it was not deleted; move it away", url)
    return {name for name in names if ours[name]}


def _is_over(store: Store, path: str, names: list[str], chain: Chain, attempt: str) -> bool | None:
    """Whether nobody writes for a past attempt any more; None for one that wrote elsewhere than at the plain root.

    Two GET: the claim, and the record that follows it, as it is a past one: its end, or the claim of another attempt.
    """
    pair = next(pair for pair in itertools.pairwise(chain) if pair[1][1] == attempt)
    claim, end = (read_record(store, layout.log_dir(path), *entry) for entry in pair)
    if claim.root != IN_PLACE:
        return None
    has_ended = end.attempt == attempt and (end.state == "committed" or not end.shared)
    return (has_ended or owner_is_dead(claim.owner)) and not layout.has_shared_marker(names, attempt)


def _last_failed_logs(names: Iterable[str], past: list[str]) -> set[str]:
    """Return the names of the logs to keep of attempts that were not committed."""
    logs = set(filter(layout.is_failed_log, names))
    failed = [attempt for attempt in past if any(layout.belongs_to_attempts(name, [attempt]) for name in logs)]
    return {name for name in logs if layout.belongs_to_attempts(name, failed[-_MAX_FAILED_LOGS:])}


def _parse_checked_announcement(name: str) -> tuple[str, str] | None:
    """Return (attempt, item) of a valid announcement; None for others: a forged name could lead out of the node."""
    pair = layout.parse_announcement(name)
    try:
        return pair if pair and check_item_name(pair[1]) == pair[1] else None
    except InvalidName:
        return None
