"""Raw bytes (``.bin``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvcache.formats.messages import not_reproducible, stored_size, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite


def write(item: ItemWrite, obj: object, /) -> dict[str, Any]:
    """Write bytes; one PUT.

    Raises
    ------
    NotReproducible
        `obj` is not exactly ``bytes``.
    """
    if type(obj) is not bytes:
        raise not_reproducible(item, f"it is a {type_name(obj)}, not bytes", "pass bytes(obj), or choose .npy or .txt")
    item.put(obj)
    return {"kind": "file", "bytes": len(obj)}


def read(item: ItemPath, /) -> bytes:
    """Return the bytes; one GET."""
    return item.get()


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return {"kind": "file", "bytes": stored_size(item)}
