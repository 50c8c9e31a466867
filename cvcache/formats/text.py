"""Text (``.txt``, ``.md``, ``.html``, ``.yaml``) and logs (``.log``): a str as UTF-8, newlines untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvcache.formats.messages import item_damaged, not_reproducible, stored_size, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite


def write(item: ItemWrite, obj: object, /) -> dict[str, Any]:
    """Write a str; one PUT.

    Raises
    ------
    NotReproducible
        `obj` is no str, or holds lone surrogates, which UTF-8 cannot encode.
    """
    if type(obj) is not str:
        raise not_reproducible(item, f"it is a {type_name(obj)}, not a str", "pass str(obj), or choose .json or .npy")
    data = encode(item, obj)
    item.put(data)
    return _metadata(item, len(data))


def encode(item: ItemPath, text: str) -> bytes:
    """Return a text as UTF-8, or raise `NotReproducible`."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise not_reproducible(item, str(error), "decode the text with errors='replace' first") from error


def read(item: ItemPath, /) -> str:
    """Return the text; one GET. In a log, bytes that are not UTF-8 (output of a tool) are replaced.

    Raises
    ------
    ItemDamaged
        The bytes of a text are not UTF-8.
    """
    data = item.get()
    if _kind(item) == "log":
        return data.decode(errors="replace")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise item_damaged(item, error) from error


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return _metadata(item, stored_size(item))


def _metadata(item: ItemPath, size: int) -> dict[str, Any]:
    return {"kind": _kind(item), "bytes": size}


def _kind(item: ItemPath) -> str:
    return "log" if item.name.endswith(".log") else "text"
