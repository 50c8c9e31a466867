"""Text (``.txt``, ``.md``, ``.html``, ``.yaml``) and logs (``.log``): a str as UTF-8, newlines untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvcache.formats.messages import damage, refusal, stored_bytes, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath


def write(place: ItemPath, obj: object, /) -> dict[str, Any]:
    """Write a str; one PUT.

    Raises
    ------
    NotReproducible
        `obj` is no str, or holds lone surrogates, which UTF-8 has no form for.
    """
    if type(obj) is not str:
        raise refusal(place, f"it is a {type_name(obj)}, not a str", "pass str(obj), or choose .json or .npy")
    data = encode(place, obj)
    place.put(data)
    return _meta(place, len(data))


def encode(place: ItemPath, text: str) -> bytes:
    """Return a text as UTF-8, or raise `NotReproducible`."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise refusal(place, str(error), "decode the text with errors='replace' first") from error


def read(place: ItemPath, /) -> str:
    """Return the text; one GET. In a log, what is not UTF-8 (a tool's own output) is replaced.

    Raises
    ------
    ItemDamaged
        The bytes of a text are not UTF-8.
    """
    data = place.get()
    if _kind(place) == "log":
        return data.decode(errors="replace")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise damage(place, error) from error


def describe(place: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return _meta(place, stored_bytes(place))


def _meta(place: ItemPath, size: int) -> dict[str, Any]:
    return {"kind": _kind(place), "bytes": size}


def _kind(place: ItemPath) -> str:
    return "log" if place.name.endswith(".log") else "text"
