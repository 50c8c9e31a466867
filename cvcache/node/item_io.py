"""Read the items of a node, and their rows: the metadata of an item in a record."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from typing import IO, Any

from cvcache import formats, protocol
from cvcache.errors import ItemDamaged, ItemNotFound, NodeReplaced, NotComputed, UsageError, did_you_mean
from cvcache.node.snapshot import Snapshot
from cvcache.store import Listing, Store, is_item_dir, item_names, layout, successor_path

MAX_INVENTORY_BYTES = 64 << 20
"""An inventory is read up to here; a longer one does not parse."""


def read_rows(node: Snapshot) -> Mapping[str, Mapping[str, Any]]:
    """Return item name -> row of a node.

    Notes
    -----
    No store call for a committed or failed node, one GET if its rows are in an inventory of their own; one LIST for a
    node that is open.
    """
    record = node.record
    if node.uncached is not None:
        return {**list_rows(node.store, node.path), **node.uncached.attempt.rows}
    if record is None:
        return {}
    match record.state:
        case "planned":
            msg = f"{node.url} would be computed, so nobody knows yet what it will hold; the plan ends here"
            raise NotComputed(f"{msg}, run the script")
        case "claimed":
            own = node.attempt.rows if node.attempt is not None else {}
            return {**list_rows(node.store, layout.data_root(node.path, record)), **own}
        case "failed":
            return record.items or {}
        case "committed":
            return record.items if record.items is not None else _read_inventory(node, record)
    return {}


def committed_rows(node: Snapshot) -> Mapping[str, Mapping[str, Any]]:
    """Return item name -> row of a committed node; empty for another one."""
    return read_rows(node) if node.committed and not node.is_planned else {}


def image_rows(node: Snapshot, name: str | None = None) -> list[Mapping[str, Any]]:
    """Return the rows of the images of a committed node, or of its item `name` if that is one."""
    rows = committed_rows(node)
    wanted = rows.values() if name is None else [rows.get(name, {})]
    return [row for row in wanted if row.get("kind") in {"image", "labels"}]


def _read_inventory(node: Snapshot, record: protocol.Record) -> Mapping[str, Mapping[str, Any]]:
    inventory = layout.inventory_path(node.path, record.attempt)
    url = node.store.url(inventory)
    try:
        return protocol.load_inventory(node.store.get(inventory, 0, MAX_INVENTORY_BYTES), record.attempt, url)
    except FileNotFoundError:
        protocol.raise_if_replaced(node.store, node.path, record)
        msg = f"{url} is gone; nobody knows what the commit vouched for, so compute it with force=True"
        raise ItemDamaged(msg) from None


def read_environment(node: Snapshot) -> Mapping[str, Any]:
    """Return the environment that the items of a node were made in, empty if it is not committed; one GET."""
    record = node.record
    if record is None or record.state != "committed":
        return {}
    if node.uncached is not None:
        from cvcache.node.provenance import environment  # few nodes are asked for it

        return environment()
    inventory = layout.inventory_path(node.path, record.attempt)
    try:
        return protocol.load_environment(node.store.get(inventory, 0, MAX_INVENTORY_BYTES), node.store.url(inventory))
    except FileNotFoundError:
        protocol.raise_if_replaced(node.store, node.path, record)
        return {}


def list_rows(store: Store, root: str) -> dict[str, Mapping[str, Any]]:
    """Return a row for each item that is in `root` now; one LIST."""
    return rows_in_listing(store.list(root))


def rows_in_listing(listing: Listing) -> dict[str, Mapping[str, Any]]:
    """Return a row for each item of one listed directory."""
    names = item_names(listing.files, listing.dirs)
    return {name: {"size": listing.files[name].size} if name in listing.files else {} for name in names}


def item_row(node: Snapshot, name: str) -> Mapping[str, Any]:
    """Return the row of one item, or raise `ItemNotFound`; the cost of `read_rows`."""
    if node.uncached is not None:
        node.uncached.write_arrays(name)
    rows = read_rows(node)
    if name not in rows:
        present = ", ".join(sorted(rows)) or "nothing"
        msg = f"{node.url} has no item {name!r}{did_you_mean(name, sorted(rows))} (it holds: {present})"
        raise ItemNotFound(msg)
    return rows[name]


def item_url(node: Snapshot, name: str) -> str:
    """Return the address of the item `name`, which need not exist."""
    if node.uncached is not None:
        node.uncached.write_arrays(name)
    return node.store.url(f"{layout.data_root(node.path, node.record)}/{name}")


def read_item(node: Snapshot, name: str, options: dict[str, Any], *, lazily: bool = False) -> Any:
    """Return the object of one item, exactly as the attempt of the record wrote it, or raise.

    With `lazily` an image or zarr array is a dask array, also one that was written from a numpy array.
    """
    if node.uncached is not None and not options and (array := node.uncached.array(name)) is not None:
        return array
    row = item_row(node, name)
    row = {**row, "stored_as": "dask"} if lazily else row
    item = item_path(node, name, row)
    try:
        obj = formats.find_format(name).read(item, **options)
    except (FileNotFoundError, ItemDamaged, NodeReplaced) as error:
        if node.record is not None:
            protocol.raise_if_replaced(node.store, node.path, node.record)
        if isinstance(error, ItemDamaged):
            raise
        msg = f"{item.url} is gone although its commit vouched for it; compute the node again with force=True"
        raise ItemDamaged(msg) from error
    return obj


def item_path(node: Snapshot, name: str, row: Mapping[str, Any], *, strict: bool = False) -> formats.ItemPath:
    """Return the path of the item `name` with the metadata `row`, pinned to the record of the node if it has one.

    With `strict` to read the pixels of another attempt raises, also on a bucket.

    No store call, but one GET for the plan of an image that is being written.
    """
    record, store, path = node.record, node.store, node.path
    full_key = f"{layout.data_root(path, record)}/{name}"
    if record is None or node.uncached is not None:
        return formats.ItemPath(store, full_key, row)
    meta, successor = row or announced_metadata(node, name), successor_path(path, record)
    if record.state != "committed":
        return formats.ItemPath(store, full_key, meta, successor, strict=strict)
    origin = {"node": store.url(path), "item": name, "version": record.version or record.attempt}
    ram = node.address.context.ram
    return formats.ItemPath(store, full_key, meta, successor, committed=True, strict=strict, origin=origin, ram=ram)


def announced_metadata(node: Snapshot, name: str) -> Mapping[str, Any]:
    """Return the metadata of an image that is being written, from its announcement; empty for any other item."""
    record = node.record
    if record is None or record.state == "committed" or not is_item_dir(name):
        return {}
    try:
        announcement = layout.announcement_path(node.path, record.attempt, name)
        plan = json.loads(node.store.get(announcement, 0, MAX_INVENTORY_BYTES))["plan"]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return {}
    from cvcache.image import planned_metadata

    return planned_metadata(plan)


def open_item(node: Snapshot, name: str) -> IO[bytes]:
    """Return one item as a file object, opened while its commit was the newest, or raise."""
    row, record = item_row(node, name), node.record
    if is_item_dir(name):
        msg = f"{node.url}/{name} is a directory of objects, which is no file; read() it, or use its url"
        raise UsageError(msg)
    full_key = f"{layout.data_root(node.path, record)}/{name}"
    with contextlib.ExitStack() as unless_valid:
        try:
            file = unless_valid.enter_context(node.store.open(full_key, "rb"))
            valid = file.seek(0, io.SEEK_END) == row.get("size", file.tell())
            file.seek(0)
        except FileNotFoundError:
            valid = False
        if record is not None and record.state == "committed" and node.uncached is None:
            protocol.raise_if_replaced(node.store, node.path, record)
        if not valid:
            url = node.store.url(full_key)
            msg = f"{url} is not what its commit vouched for; compute the node again with force=True"
            raise ItemDamaged(msg)
        unless_valid.pop_all()
    return file


def read_thumbnail(node: Snapshot, name: str) -> bytes | None:
    """Return the small PNG of the item `name`, or None where there is none; one GET."""
    if node.record is None:
        return None
    from cvcache.node.item_write import MAX_THUMBNAIL_BYTES  # few who read a node ask for it

    try:
        path = layout.thumbnail_path(node.path, node.record.attempt, name)
        return node.store.get(path, 0, MAX_THUMBNAIL_BYTES)
    except FileNotFoundError:
        return None


def is_newest(node: Snapshot) -> bool:
    """Whether no record follows the newest one of the snapshot; one STAT."""
    return node.newest is None or node.store.stat(layout.successor_path(node.path, node.newest)) is None


def is_recorded(node: Snapshot) -> bool:
    """Whether the record of the snapshot is still in the store; one STAT."""
    return node.record is None or node.store.stat(layout.record_path(node.path, node.record)) is not None
