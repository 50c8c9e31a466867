"""The items of one node: their rows, their places, and the way of bytes into and out of them."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import IO, Any

from cvcache.errors import CvcacheError, ItemDamaged, ItemNotFound, NodeReplaced, did_you_mean
from cvcache.formats import ItemPath, find_format, sha256
from cvcache.protocol import (
    Attempt,
    Record,
    Turn,
    delete_item,
    load_environment,
    load_inventory,
    raise_if_replaced,
    resume_item,
)
from cvcache.store import Listing, MemoryCache, Store, is_item_dir, item_names, layout, successor_path

logger = logging.getLogger("cvcache")

MAX_INVENTORY = 64 << 20
"""Bytes of an inventory that are read; one that is longer does not parse."""


MAX_THUMBNAIL = 4 << 20
"""Bytes of a thumbnail that are kept, and read."""


def committed_rows(store: Store, path: str, record: Record) -> Mapping[str, Mapping[str, Any]]:
    """Return the item rows of a committed or failed record; one GET where they were too many for it."""
    if record.items is not None or record.state != "committed":
        return record.items or {}
    inventory = layout.inventory_path(path, record.attempt)
    try:
        return load_inventory(store.get(inventory, 0, MAX_INVENTORY), record.attempt, store.url(inventory))
    except FileNotFoundError:
        raise_if_replaced(store, path, record)
        msg = f"{store.url(inventory)} is gone; nobody knows what the commit vouched for, so compute it with force=True"
        raise ItemDamaged(msg) from None


def read_made(store: Store, path: str, record: Record) -> Mapping[str, Any]:
    """Return what the items of a committed record were made with; one GET."""
    inventory = layout.inventory_path(path, record.attempt)
    try:
        return load_environment(store.get(inventory, 0, MAX_INVENTORY), store.url(inventory))
    except FileNotFoundError:
        raise_if_replaced(store, path, record)
        return {}


def listed_rows(store: Store, root: str) -> dict[str, Mapping[str, Any]]:
    """Return a row for each item that lies in `root` now; one LIST."""
    return rows_of(store.list(root))


def rows_of(listing: Listing) -> dict[str, Mapping[str, Any]]:
    """Return a row for each item of one listed directory."""
    names = item_names(listing.files, listing.dirs)
    return {name: {"size": listing.files[name].size} if name in listing.files else {} for name in names}


def read_item(
    store: Store,
    path: str,
    record: Record | None,
    name: str,
    row: Mapping[str, Any],
    options: dict[str, Any],
    ram: MemoryCache | None = None,
) -> Any:
    """Return the object of one item, exactly as the attempt of `record` wrote it, or raise."""
    row = row if row or record is None else planned(store, path, record, name)
    place = committed_place(store, path, record, name, row, ram)
    try:
        obj = find_format(name).read(place, **options)
        if "sha256" not in row and row.get("stored_as") != "dask":
            place.check_pin(now=True)
    except (FileNotFoundError, ItemDamaged, NodeReplaced) as error:
        if record is not None:
            raise_if_replaced(store, path, record)
        if isinstance(error, ItemDamaged):
            raise
        msg = f"{place.url} is gone although its commit vouched for it; compute the node again with force=True"
        raise ItemDamaged(msg) from error
    return obj


def committed_place(
    store: Store, path: str, record: Record | None, name: str, row: Mapping[str, Any], ram: MemoryCache | None = None
) -> ItemPath:
    """Return where the item `name` of `record` lies; pinned to a commit, so that no other result is taken for it."""
    where = f"{layout.data_root(path, record)}/{name}"
    if record is None:
        return ItemPath(store, where, row, ram=ram)
    if record.state != "committed":
        return ItemPath(store, where, row, until=successor_path(path, record), ram=ram)
    origin = {"node": store.url(path), "item": name, "version": record.version or record.attempt}
    return ItemPath(store, where, row, pin=successor_path(path, record), ram=ram, origin=origin)


def planned(store: Store, path: str, record: Record, name: str) -> Mapping[str, Any]:
    """Return the metadata of an image that is being written, from its announcement; nothing for any other item."""
    if not is_item_dir(name) or record.state == "committed":
        return {}
    try:
        data = store.get(layout.announcement_path(path, record.attempt, name), 0, MAX_INVENTORY)
        plan = json.loads(data)["plan"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return {}
    from cvcache.image import planned_metadata

    return planned_metadata(plan)


def open_item(store: Store, path: str, record: Record | None, name: str, row: Mapping[str, Any]) -> IO[bytes]:
    """Return one item as a file object that was opened while its commit was the newest, or raise."""
    place = f"{layout.data_root(path, record)}/{name}"
    pinned = record if record is not None and record.state == "committed" else None
    with contextlib.ExitStack() as unless_right:
        try:
            file = unless_right.enter_context(store.open(place, "rb"))
            right = file.seek(0, io.SEEK_END) == row.get("size", file.tell())
            file.seek(0)
        except FileNotFoundError:
            right = False
        if pinned is not None:
            raise_if_replaced(store, path, pinned)
        if not right:
            msg = f"{store.url(place)} is not what its commit vouched for; compute the node again with force=True"
            raise ItemDamaged(msg)
        unless_right.pop_all()
    return file


def not_found(url: str, name: str, names: list[str]) -> ItemNotFound:
    """Return the error for an item that is not in a node."""
    known = ", ".join(names) or "nothing"
    return ItemNotFound(f"{url} has no item {name!r}{did_you_mean(name, names)} (it holds: {known})")


def write_item(
    attempt: Attempt,
    name: str,
    obj: object,
    options: dict[str, Any],
    images: tuple[Mapping[str, Any], ...] = (),
    user: Mapping[str, Any] | None = None,
) -> None:
    """Write one item of an open attempt and keep its row for the commit.

    `images` are what `obj` is read from; `user` goes into the row beside what the format says.
    """
    fmt = find_format(name)
    written: dict[str, Any] = {}
    begun: list[bool] = []
    turn = Turn(f"{attempt.url}/{name}")
    attempt.check_rewritable(name)
    attempt.write_counts[name] += 1

    def guard() -> AbstractContextManager[None]:
        if not begun:
            begun.append(True)
            _withdraw(attempt, name)
        return turn.writing(attempt.writing_item(name))

    def wrote(key: str, data: bytes) -> None:
        if not key:
            written.update(size=len(data), sha256=sha256(data))

    def begin(plan: Mapping[str, Any]) -> Mapping[str, int]:
        begun.append(True)
        attempt.rows.pop(name, None)
        return resume_item(attempt, name, plan)

    place = ItemPath(
        attempt.store,
        f"{attempt.root}/{name}",
        guard=guard,
        share=attempt.share,
        wrote=wrote,
        begin=begin,
        thumbnail=functools.partial(keep_thumbnail, attempt, name),
        inputs=(*images, *attempt.images),
        until=successor_path(attempt.path, attempt.record),
    )
    with attempt.item_lock(name):
        try:
            row = fmt.write(place, obj, **options)
        except BaseException:
            turn.end()
            if begun and attempt.shared:
                attempt.failed_writes.add(name)
            if begun and not attempt.announcements.get(name):
                _discard(attempt, name)
            raise
        turn.end()
        attempt.rows[name] = {**row, **written, **(user or {})}
        attempt.own_files.discard(name)


def read_thumbnail(store: Store, path: str, record: Record, name: str) -> bytes | None:
    """Return the picture that was made of an item while it was written; None where there is none."""
    try:
        return store.get(layout.thumbnail_path(path, record.attempt, name), 0, MAX_THUMBNAIL)
    except FileNotFoundError:
        return None


def keep_thumbnail(attempt: Attempt, name: str, png: bytes) -> None:
    """Put the picture of what this attempt wrote under `name`."""
    if len(png) > MAX_THUMBNAIL:
        msg = f"its PNG has {len(png)} bytes, more than {MAX_THUMBNAIL}"
        raise ValueError(msg)
    with attempt.writing():
        attempt.store.put(layout.thumbnail_path(attempt.path, attempt.id, name), png)
    attempt.thumbnails.add(name)


def drop_thumbnail(attempt: Attempt, name: str) -> None:
    """Delete the picture of what this attempt wrote under `name` before, and which is about to be something else."""
    if name in attempt.thumbnails:
        with attempt.writing():
            attempt.store.delete([layout.thumbnail_path(attempt.path, attempt.id, name)])
        attempt.thumbnails.discard(name)


def _withdraw(attempt: Attempt, name: str) -> None:
    """Take back what this attempt wrote under `name` before; the parts of a directory would stay among the new ones."""
    drop_thumbnail(attempt, name)
    if attempt.rows.pop(name, None) is not None and is_item_dir(name):
        with attempt.writing():
            delete_item(attempt.store, f"{attempt.root}/{name}")


def _discard(attempt: Attempt, name: str) -> None:
    """Delete what a failed write left of an item; the error under way matters more than one here."""
    if name in attempt.announcements and not attempt.lost:
        with contextlib.suppress(Exception), attempt.writing():
            delete_item(attempt.store, f"{attempt.root}/{name}")


def own_file_rows(attempt: Attempt) -> dict[str, Mapping[str, Any]]:
    """Return rows for what the user wrote through ``open()`` and ``path()``; one LIST, and one more a directory."""
    if not attempt.own_files:
        return {}
    listing = attempt.store.list(attempt.root)
    rows: dict[str, Mapping[str, Any]] = {}
    for name in sorted(attempt.own_files - attempt.rows.keys()):
        if name in listing.files:
            rows[name] = {"size": listing.files[name].size, "etag": listing.files[name].etag}
        elif name in listing.dirs:
            parts = attempt.store.find(f"{attempt.root}/{name}")
            rows[name] = {"objects": len(parts), "bytes": sum(info.size for info in parts.values())}
        else:
            logger.warning("%s/%s was asked for but never written; the commit leaves it out", attempt.url, name)
    return {name: {**_described(attempt, name), **row} for name, row in rows.items()}


def _described(attempt: Attempt, name: str) -> Mapping[str, Any]:
    """Return what the format of a user's own file says of it; nothing where no format knows it."""
    try:
        return find_format(name).describe(ItemPath(attempt.store, f"{attempt.root}/{name}"))
    except (CvcacheError, ValueError, OSError, ImportError):
        return {"kind": "file"}
