"""Deleting what earlier attempts announced, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from cvcache.errors import InvalidName
from cvcache.protocol.policy import Policy
from cvcache.protocol.record import Record
from cvcache.store import Store, attempt_root, check_item_name, is_item_dir, layout, log_entries

_KEPT_PARTS = 64
"""Parts of the log of an attempt that died which are kept, the last ones: 4 MiB or more."""


def sweep_leftovers(
    store: Store,
    path: str,
    record: Record,
    settle: Policy | None,
    *,
    keep_logs: bool = False,
    keep_images: bool = False,
) -> set[str]:
    """Delete what the attempts before `record` announced at the plain root, the announcements after all items.

    What came after is left alone: whoever wipes may have been stopped for a long time, and be out-voted by now.

    Returns
    -------
    set of str
        With `keep_images`: the half images that stay, for a write of the very same to go on with.
    """
    announced = [pair for name in sorted(store.find(layout.announcements_dir(path))) if (pair := _announced(name))]
    if announced:
        past = _at_plain_root(past_attempts(store.list(layout.log_dir(path)).files, record), record)
        announced = [(attempt, item) for attempt, item in announced if attempt in past]
    kept = {item for _, item in announced if keep_images and is_item_dir(item)}
    announced = [(attempt, item) for attempt, item in announced if item not in kept]
    if not announced and not kept:
        return kept
    if settle is not None and store.scheme not in {"file", "memory"}:
        settle.sleep(settle.request_timeout)
    if keep_logs:
        _keep_logs(store, path, [(attempt, item) for attempt, item in announced if not is_item_dir(item)])
    for _, item in announced:
        delete_item(store, f"{path}/{item}")
    attempts = {attempt for attempt, _ in announced}
    gone = [
        name
        for attempt in attempts
        for name in (layout.inventory_path(path, attempt), layout.heartbeat_path(path, attempt))
    ]
    store.delete([*gone, *(layout.thumbnail_path(path, *pair) for pair in announced)])
    store.delete([layout.announcement_path(path, *pair) for pair in announced], within=layout.announcements_dir(path))
    return kept


def _announced(name: str) -> tuple[str, str] | None:
    """Return attempt and item of an announcement as cvcache makes it: a forged one must not lead out of the node."""
    pair = layout.parse_announcement(name)
    try:
        return pair if pair and check_item_name(pair[1]) == pair[1] else None
    except InvalidName:
        return None


def past_attempts(log: Iterable[str], record: Record) -> list[str]:
    """Return the attempts before `record`, oldest first."""
    return [after for seq, after in log_entries(log) if 1 < seq <= record.seq]


def _at_plain_root(past: list[str], record: Record) -> list[str]:
    """Return those of `past` that had the plain root: since the first that was never proved dead, nobody has."""
    first = next((i for i, attempt in enumerate(past) if attempt in record.unproven), None)
    return past if first is None else past[: first + 1]


def _keep_logs(store: Store, path: str, announced: list[tuple[str, str]]) -> None:
    """Keep the logs of (attempt, item) for whoever asks what went wrong, those that were never whole too."""
    if not announced:
        return
    where = layout.log_parts_dir(path)
    found = sorted(store.find(where))
    for attempt, item in announced:
        parts = [f"{where}/{part}" for part in found if part.startswith(f"{attempt}/{item}/")]
        try:
            text = [store.get(f"{path}/{item}")] if item.endswith(".log") else []
        except FileNotFoundError:
            text = [store.get(part) for part in parts[-_KEPT_PARTS:]]
        if text:
            store.put_parts(f"{path}/{attempt_root(attempt)}/{item}", text)
        if parts:
            store.delete(parts, within=where)


def discard_items(store: Store, path: str, root: str, names: Iterable[str]) -> None:
    """Delete items of `root` that no commit will vouch for, and whatever announces them: the names are free then."""
    doomed = set(names)
    for name in sorted(doomed):
        delete_item(store, f"{root}/{name}")
    if doomed:
        announced = map(layout.parse_announcement, store.find(layout.announcements_dir(path)))
        gone = [layout.announcement_path(path, *pair) for pair in announced if pair and pair[1] in doomed]
        store.delete(gone, within=layout.announcements_dir(path))


def delete_item(store: Store, path: str) -> None:
    """Delete exactly the objects of one item."""
    if is_item_dir(path):
        store.delete([f"{path}/{name}" for name in store.find(path)], within=path)
    else:
        store.delete([path])
