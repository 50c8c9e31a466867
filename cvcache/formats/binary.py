"""Bytes as they are (``.bin``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvcache.formats.messages import refusal, stored_bytes, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath


def write(place: ItemPath, obj: object, /) -> dict[str, Any]:
    """Write bytes; one PUT.

    Raises
    ------
    NotReproducible
        `obj` is not exactly ``bytes``.
    """
    if type(obj) is not bytes:
        raise refusal(place, f"it is a {type_name(obj)}, not bytes", "pass bytes(obj), or choose .npy or .txt")
    place.put(obj)
    return {"kind": "file", "bytes": len(obj)}


def read(place: ItemPath, /) -> bytes:
    """Return the bytes; one GET."""
    return place.get()


def describe(place: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return {"kind": "file", "bytes": stored_bytes(place)}
