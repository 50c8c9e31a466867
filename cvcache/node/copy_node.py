"""Copy a committed node byte for byte into an attempt on another node."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from cvcache import formats, protocol
from cvcache.errors import ItemDamaged
from cvcache.node.item_io import read_environment, read_rows, read_thumbnail
from cvcache.node.snapshot import Snapshot
from cvcache.store import Store, gather, is_item_dir, layout

MAX_IN_MEMORY = 64 << 20
"""Objects up to this size are copied in one piece, larger ones in a stream."""


def copy_items_into(attempt: protocol.Attempt, source: Snapshot, names: set[str] | None = None) -> protocol.Record:
    """Copy the items of the committed node `source` into `attempt`, and commit it as the same version.

    Parameters
    ----------
    attempt : Attempt
        Open for writing.
    source : Snapshot
    names : set of str, optional
        Which items; all of them by default.

    Raises
    ------
    ItemDamaged
        If a file of `source` is not what its commit vouched for, or an object of a directory item is missing; the
        attempt is released. Within one store and in directory items, bytes are not compared: `cdir_verify` does.

    Notes
    -----
    Per object one GET and one PUT, or one copy request within a store; of a directory item one LIST per 1,000.
    """
    record = source.record
    if source.uncached is not None:
        source.uncached.write_arrays()
    rows = {name: row for name, row in read_rows(source).items() if names is None or name in names}
    try:
        for name, row in rows.items():
            _copy_item(attempt, source, name, row)
        if record is not None and source.uncached is None:
            protocol.raise_if_replaced(source.store, source.path, record)
    except BaseException:
        protocol.release_attempt(attempt)
        raise
    meta: Mapping[str, Any] = record.meta if record else {}
    fields = {"version": record.version, "reason": (f"copied from {source.result_url}",)} if record else {}
    return protocol.commit_attempt(attempt, rows, meta, read_environment(source), **fields)


def _copy_item(attempt: protocol.Attempt, source: Snapshot, name: str, row: Mapping[str, Any]) -> None:
    record = source.record
    source_key, target_key = f"{layout.data_root(source.path, record)}/{name}", f"{attempt.root}/{name}"
    keys = sorted(source.store.find(source_key)) if is_item_dir(name) else [""]
    if "objects" in row and row["objects"] != len(keys):
        msg = f"{source.result_url}/{name} has {len(keys)} objects, not the {row['objects']} its commit vouched for"
        raise ItemDamaged(msg)
    with attempt.writing_item(name):
        gather(
            lambda key: _copy_object(
                source.store,
                _join(source_key, key),
                attempt.store,
                _join(target_key, key),
                row if not key else {},
            ),
            keys,
            remote=True,
        )
        if record is not None and (png := read_thumbnail(source, name)) is not None:
            attempt.store.put(layout.thumbnail_path(attempt.path, attempt.id, name), png)


def _join(path: str, key: str) -> str:
    return f"{path}/{key}" if key else path


def _copy_object(source: Store, path: str, target: Store, target_path: str, row: Mapping[str, Any]) -> None:
    if source is target:
        source.copy(path, target_path)
        return
    if row.get("size", 0) > MAX_IN_MEMORY:
        with source.open(path, "rb") as reader, target.open(target_path, "wb") as writer:
            checksum = hashlib.sha256()
            while block := reader.read(1 << 20):
                checksum.update(block)
                writer.write(block)
            if row.get("sha256", checksum.hexdigest()) != checksum.hexdigest():
                raise _damaged(source, path)
        return
    data = source.get(path)
    if row.get("size", len(data)) != len(data) or row.get("sha256", formats.sha256(data)) != formats.sha256(data):
        raise _damaged(source, path)
    target.put(target_path, data)


def _damaged(source: Store, path: str) -> ItemDamaged:
    return ItemDamaged(f"{source.url(path)} is not what its commit vouched for; compute it again there with force=True")
