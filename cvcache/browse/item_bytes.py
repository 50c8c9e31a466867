"""The first or last bytes of an item, never more than a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cvcache.browse.text import plain_line, recorded_size
from cvcache.errors import CvcacheError, ItemDamaged
from cvcache.formats import ItemPath
from cvcache.node import item_io
from cvcache.protocol import raise_if_replaced
from cvcache.store import is_item_dir

if TYPE_CHECKING:
    from cvcache.browse.rows import Row

READ_ERRORS = (CvcacheError, OSError)
"""Errors of a read; a preview shows them in place of the content."""


@dataclass(frozen=True, slots=True)
class RawBytes:
    """Some bytes of an object, and whether they are the whole object."""

    data: bytes
    whole: bool


def error_line(error: BaseException) -> str:
    """Return an error as one line for people."""
    if isinstance(error, CvcacheError):
        return plain_line(str(error), 1000)
    return plain_line(f"it cannot be read: {type(error).__name__}: {error}", 1000)


def item_path(row: Row, *, strict: bool = False) -> ItemPath:
    """Return the path of an item; an item of a commit is pinned to the commit."""
    node = row.node
    if row.state == "foreign":
        return ItemPath(node.store, f"{node.path}/{row.name}")
    return item_io.item_path(node, row.name, row.meta, strict=strict)


def head(row: Row, limit: int) -> RawBytes:
    """Return the first bytes of a file item, at most `limit`.

    Raises
    ------
    ItemDamaged, NodeReplaced
        It is missing or damaged, or another attempt has replaced it.

    Notes
    -----
    One GET.
    """
    item = item_path(row)
    data = _pinned(row, item, lambda: item.store.get(item.path, 0, limit + 1))
    whole = len(data) <= limit
    if whole:
        item.check_content(data)
    return RawBytes(data[:limit], whole)


def tail(row: Row, limit: int) -> RawBytes:
    """Return the last bytes of a file item, at most `limit`; raises and costs what `head` does."""
    size = recorded_size(row.meta)
    if size is not None and size <= limit:
        return head(row, limit)
    item = item_path(row)
    # of a recorded size only these bytes: what was appended later is not part of the result
    span = (size - limit, size) if size is not None else (-limit, None)
    data = _pinned(row, item, lambda: item.store.get(item.path, *span))
    if size is not None and len(data) != limit:
        msg = f"{item.url} is shorter than the {size} bytes that are recorded; compute the node again with force=True"
        raise ItemDamaged(msg)
    return RawBytes(data, size is None and len(data) < limit)


def _pinned(row: Row, item: ItemPath, get: Callable[[], bytes]) -> bytes:
    """Return what `get` reads; if the object is missing, raise an error that says why."""
    if is_item_dir(row.name):
        msg = f"{item.url} is a directory of many objects, none of which is read for this"
        raise ItemDamaged(msg)
    try:
        return get()
    except (FileNotFoundError, IsADirectoryError):
        record = row.record
        if record is not None and item.pin:
            raise_if_replaced(row.node.store, row.node.path, record)
            msg = f"{item.url} is gone although its commit vouched for it; compute the node again with force=True"
        else:
            msg = f"{item.url} is not there any more; look at the tree again"
        raise ItemDamaged(msg) from None
