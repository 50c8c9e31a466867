"""Read and write the items of one node, and their rows: the metadata of an item in a record."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import IO, Any

from cvcache import formats, protocol
from cvcache.errors import CvcacheError, ItemDamaged, ItemNotFound, NodeReplaced, did_you_mean
from cvcache.store import Listing, MemoryCache, Store, is_item_dir, item_names, layout, successor_path

logger = logging.getLogger("cvcache")

MAX_INVENTORY_BYTES = 64 << 20
"""An inventory is read up to here; a longer one does not parse."""

MAX_THUMBNAIL_BYTES = 4 << 20
"""No larger thumbnail is stored; of a larger one no more is read."""


def read_rows(store: Store, path: str, record: protocol.Record) -> Mapping[str, Mapping[str, Any]]:
    """Return the rows of a committed or failed record; one GET if they are in an inventory of their own."""
    if record.items is not None or record.state != "committed":
        return record.items or {}
    inventory = layout.inventory_path(path, record.attempt)
    try:
        return protocol.load_inventory(
            store.get(inventory, 0, MAX_INVENTORY_BYTES), record.attempt, store.url(inventory)
        )
    except FileNotFoundError:
        protocol.raise_if_replaced(store, path, record)
        msg = f"{store.url(inventory)} is gone; nobody knows what the commit vouched for, so compute it with force=True"
        raise ItemDamaged(msg) from None


def read_environment(store: Store, path: str, record: protocol.Record) -> Mapping[str, Any]:
    """Return the environment that the items of a committed record were made in; one GET."""
    inventory = layout.inventory_path(path, record.attempt)
    try:
        return protocol.load_environment(store.get(inventory, 0, MAX_INVENTORY_BYTES), store.url(inventory))
    except FileNotFoundError:
        protocol.raise_if_replaced(store, path, record)
        return {}


def list_rows(store: Store, root: str) -> dict[str, Mapping[str, Any]]:
    """Return a row for each item that is in `root` now; one LIST."""
    return rows_in_listing(store.list(root))


def rows_in_listing(listing: Listing) -> dict[str, Mapping[str, Any]]:
    """Return a row for each item of one listed directory."""
    names = item_names(listing.files, listing.dirs)
    return {name: {"size": listing.files[name].size} if name in listing.files else {} for name in names}


def read_item(
    store: Store,
    path: str,
    record: protocol.Record | None,
    name: str,
    row: Mapping[str, Any],
    options: dict[str, Any],
    ram: MemoryCache | None = None,
) -> Any:
    """Return the object of one item, exactly as the attempt of `record` wrote it, or raise."""
    row = row if row or record is None else announced_metadata(store, path, record, name)
    item = item_path(store, path, record, name, row, ram)
    try:
        obj = formats.find_format(name).read(item, **options)
        if "sha256" not in row and row.get("stored_as") != "dask":
            item.check_pin(now=True)
    except (FileNotFoundError, ItemDamaged, NodeReplaced) as error:
        if record is not None:
            protocol.raise_if_replaced(store, path, record)
        if isinstance(error, ItemDamaged):
            raise
        msg = f"{item.url} is gone although its commit vouched for it; compute the node again with force=True"
        raise ItemDamaged(msg) from error
    return obj


def item_path(
    store: Store,
    path: str,
    record: protocol.Record | None,
    name: str,
    row: Mapping[str, Any],
    ram: MemoryCache | None = None,
) -> formats.ItemPath:
    """Return the path of the item `name` of `record`; of a committed record it is pinned to that commit."""
    full_key = f"{layout.data_root(path, record)}/{name}"
    if record is None:
        return formats.ItemPath(store, full_key, row, ram=ram)
    if record.state != "committed":
        return formats.ItemPath(store, full_key, row, end_record=successor_path(path, record), ram=ram)
    origin = {"node": store.url(path), "item": name, "version": record.version or record.attempt}
    return formats.ItemPath(store, full_key, row, pin=successor_path(path, record), ram=ram, origin=origin)


def announced_metadata(store: Store, path: str, record: protocol.Record, name: str) -> Mapping[str, Any]:
    """Return the metadata of an image that is being written, from its announcement; empty for any other item."""
    if not is_item_dir(name) or record.state == "committed":
        return {}
    try:
        data = store.get(layout.announcement_path(path, record.attempt, name), 0, MAX_INVENTORY_BYTES)
        plan = json.loads(data)["plan"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return {}
    from cvcache.image import planned_metadata

    return planned_metadata(plan)


def open_item(store: Store, path: str, record: protocol.Record | None, name: str, row: Mapping[str, Any]) -> IO[bytes]:
    """Return one item as a file object, opened while its commit was the newest, or raise."""
    full_key = f"{layout.data_root(path, record)}/{name}"
    pinned = record if record is not None and record.state == "committed" else None
    with contextlib.ExitStack() as unless_valid:
        try:
            file = unless_valid.enter_context(store.open(full_key, "rb"))
            valid = file.seek(0, io.SEEK_END) == row.get("size", file.tell())
            file.seek(0)
        except FileNotFoundError:
            valid = False
        if pinned is not None:
            protocol.raise_if_replaced(store, path, pinned)
        if not valid:
            msg = f"{store.url(full_key)} is not what its commit vouched for; compute the node again with force=True"
            raise ItemDamaged(msg)
        unless_valid.pop_all()
    return file


def item_not_found(url: str, name: str, names: list[str]) -> ItemNotFound:
    """Return the error for an item that is not in a node."""
    present = ", ".join(names) or "nothing"
    return ItemNotFound(f"{url} has no item {name!r}{did_you_mean(name, names)} (it holds: {present})")


def write_item(
    attempt: protocol.Attempt,
    name: str,
    obj: object,
    options: dict[str, Any],
    images: tuple[Mapping[str, Any], ...] = (),
    user: Mapping[str, Any] | None = None,
) -> None:
    """Write one item of an open attempt and note its row for the commit.

    `images` is the metadata of the images that `obj` is read from; `user` goes into the row with that of the format.
    """
    fmt = formats.find_format(name)
    written: dict[str, Any] = {}
    started: list[bool] = []
    turn = protocol.Turn(f"{attempt.url}/{name}")
    attempt.check_rewritable(name)
    attempt.write_counts[name] += 1

    def guard() -> AbstractContextManager[None]:
        if not started:
            started.append(True)
            _delete_earlier_write(attempt, name)
        return turn.writing(attempt.writing_item(name))

    def wrote(key: str, data: bytes) -> None:
        if not key:
            written.update(size=len(data), sha256=formats.sha256(data))

    def begin(plan: Mapping[str, Any]) -> Mapping[str, int]:
        started.append(True)
        attempt.rows.pop(name, None)
        return protocol.resume_item(attempt, name, plan)

    item = formats.ItemPath(
        attempt.store,
        f"{attempt.root}/{name}",
        guard=guard,
        share=attempt.share,
        on_put=wrote,
        announce=begin,
        put_thumbnail=functools.partial(put_thumbnail, attempt, name),
        inputs=(*images, *attempt.images),
        end_record=successor_path(attempt.path, attempt.record),
    )
    with attempt.item_lock(name):
        try:
            row = fmt.write(item, obj, **options)
        except BaseException:
            turn.end()
            if started and attempt.shared:
                attempt.failed_writes.add(name)
            if started and not attempt.announcements.get(name):
                _delete_failed_write(attempt, name)
            raise
        turn.end()
        attempt.rows[name] = {**row, **written, **(user or {})}
        attempt.own_files.discard(name)


def read_thumbnail(store: Store, path: str, record: protocol.Record, name: str) -> bytes | None:
    """Return the thumbnail of an item, or None; one GET."""
    try:
        return store.get(layout.thumbnail_path(path, record.attempt, name), 0, MAX_THUMBNAIL_BYTES)
    except FileNotFoundError:
        return None


def put_thumbnail(attempt: protocol.Attempt, name: str, png: bytes) -> None:
    """Store the thumbnail of the item `name` of this attempt."""
    if len(png) > MAX_THUMBNAIL_BYTES:
        msg = f"its PNG has {len(png)} bytes, more than {MAX_THUMBNAIL_BYTES}"
        raise ValueError(msg)
    with attempt.writing():
        attempt.store.put(layout.thumbnail_path(attempt.path, attempt.id, name), png)
    attempt.thumbnails.add(name)


def delete_thumbnail(attempt: protocol.Attempt, name: str) -> None:
    """Delete the thumbnail of the item `name` of this attempt, which is about to be written again."""
    if name in attempt.thumbnails:
        with attempt.writing():
            attempt.store.delete([layout.thumbnail_path(attempt.path, attempt.id, name)])
        attempt.thumbnails.discard(name)


def _delete_earlier_write(attempt: protocol.Attempt, name: str) -> None:
    """Delete what this attempt wrote under `name` before; old parts of a directory would stay among the new ones."""
    delete_thumbnail(attempt, name)
    if attempt.rows.pop(name, None) is not None and is_item_dir(name):
        with attempt.writing():
            protocol.delete_item(attempt.store, f"{attempt.root}/{name}")


def _delete_failed_write(attempt: protocol.Attempt, name: str) -> None:
    """Delete what a failed write left of an item; an error here must not hide the one being raised."""
    if name in attempt.announcements and not attempt.lost:
        with contextlib.suppress(Exception), attempt.writing():
            protocol.delete_item(attempt.store, f"{attempt.root}/{name}")


def own_file_rows(attempt: protocol.Attempt) -> dict[str, Mapping[str, Any]]:
    """Return rows for the files written through ``open()`` and ``path()``; one LIST, and one more for a directory."""
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
    return {name: {**_describe_own_file(attempt, name), **row} for name, row in rows.items()}


def _describe_own_file(attempt: protocol.Attempt, name: str) -> Mapping[str, Any]:
    """Return the metadata that the format of a user's own file reads from it; only the kind if no format knows it."""
    try:
        return formats.find_format(name).describe(formats.ItemPath(attempt.store, f"{attempt.root}/{name}"))
    except (CvcacheError, ValueError, OSError, ImportError):
        return {"kind": "file"}
