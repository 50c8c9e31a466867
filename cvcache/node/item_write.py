"""Write the items of an open attempt, and their rows: the metadata of an item in a record."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from cvcache import formats, protocol
from cvcache.errors import CvcacheError
from cvcache.store import is_item_dir, layout, successor_path

logger = logging.getLogger("cvcache")

MAX_THUMBNAIL_BYTES = 4 << 20
"""No larger thumbnail is stored; of a larger one no more is read."""


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


def declare_own_file(attempt: protocol.Attempt, name: str) -> None:
    """Note that the user writes the file `name` of the open attempt."""
    with attempt.writing_item(name):
        attempt.own_files.add(name)
        attempt.rows.pop(name, None)
        delete_thumbnail(attempt, name)


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
