"""The first or last bytes of an item as they lie in the store, never more than was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cvcache.browse.text import plain_line, recorded_size
from cvcache.errors import CvcacheError, ItemDamaged
from cvcache.formats import ItemPath
from cvcache.protocol import raise_if_replaced
from cvcache.store import is_item_dir

if TYPE_CHECKING:
    from cvcache.browse.rows import Row

TROUBLE = (CvcacheError, OSError)
"""What reading from a store may raise: said in place of what was to be shown."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Some bytes of an object, and whether they are all of it."""

    data: bytes
    whole: bool


def told(error: BaseException) -> str:
    """Return an error as one line for people."""
    if isinstance(error, CvcacheError):
        return plain_line(str(error), 1000)
    return plain_line(f"it cannot be read: {type(error).__name__}: {error}", 1000)


def place_of(row: Row) -> ItemPath:
    """Return where an item lies; one of a commit pinned to it."""
    node = row.node
    if row.state == "foreign":
        return ItemPath(node.store, f"{node.location}/{row.name}")
    return node.item_path(row.name, row.meta)


def head(row: Row, limit: int) -> Raw:
    """Return the first bytes of a file item, at most `limit`.

    Raises
    ------
    ItemDamaged, NodeReplaced
        It is gone, changed, or another attempt's by now.

    Notes
    -----
    One GET; of a commit one STAT more, unless it is the whole file and its digest is recorded.
    """
    place = place_of(row)
    data = _pinned(row, place, lambda: place.store.get(place.path, 0, limit + 1))
    whole = len(data) <= limit
    if whole:
        place.check_content(data)
    if not whole or "sha256" not in place.meta:
        place.check_pin(now=True)
    return Raw(data[:limit], whole)


def tail(row: Row, limit: int) -> Raw:
    """Return the last bytes of a file item, at most `limit`; raises and costs what `head` does."""
    size = recorded_size(row.meta)
    if size is not None and size <= limit:
        return head(row, limit)
    place = place_of(row)
    # with a recorded size the end is known too: what somebody appended later is not the result
    span = (size - limit, size) if size is not None else (-limit, None)
    data = _pinned(row, place, lambda: place.store.get(place.path, *span))
    place.check_pin(now=True)
    if size is not None and len(data) != limit:
        msg = f"{place.url} is shorter than the {size} bytes that are recorded; compute the node again with force=True"
        raise ItemDamaged(msg)
    return Raw(data, size is None and len(data) < limit)


def _pinned(row: Row, place: ItemPath, get: Callable[[], bytes]) -> bytes:
    """Return what `get` reads; say what became of the node where there is nothing."""
    if is_item_dir(row.name):
        msg = f"{place.url} is a directory of many objects, none of which is read for this"
        raise ItemDamaged(msg)
    try:
        return get()
    except (FileNotFoundError, IsADirectoryError):
        record = row.record
        if record is not None and place.pin:
            raise_if_replaced(row.node.store, row.node.location, record)
            msg = f"{place.url} is gone although its commit vouched for it; compute the node again with force=True"
        else:
            msg = f"{place.url} is not there any more; look at the tree again"
        raise ItemDamaged(msg) from None
