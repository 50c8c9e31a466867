"""Plain values as JSON (``.json``), exactly or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvcache.errors import NotReproducible
from cvcache.formats.messages import damage, refusal, stored_bytes, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath


def write(item: ItemPath, obj: object, /, *, indent: int | None = 2) -> dict[str, Any]:
    """Write dicts with str keys, lists, str, int, float, bool and None.

    NaN and the infinities are kept, spelled as Python, JavaScript sources and pandas spell them.

    Parameters
    ----------
    item : ItemPath
    obj : object
    indent : int, optional
        Spaces per level; None puts everything on one line.

    Raises
    ------
    NotReproducible
        Something in `obj` would come back as another type; the message has its path.

    Notes
    -----
    One PUT. The text is decoded and compared before that.
    """
    try:
        # What JSON has no form for becomes null or is left out; the comparison then finds where.
        text = json.dumps(obj, indent=indent, ensure_ascii=False, skipkeys=True, default=lambda _: None)
        data = f"{text}\n".encode()
        problem = plain_difference(obj, json.loads(data))
    except (ValueError, RecursionError) as error:
        problem = f"$ {error}"
    if problem:
        raise refusal(item, problem, "convert it to plain JSON values first, or keep arrays as .npy and tables as .csv")
    item.put(data)
    return {"kind": "json", "bytes": len(data)}


def read(item: ItemPath, /) -> Any:
    """Return the value; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are not JSON.
    """
    data = item.get()
    try:
        # what cvcache wrote is UTF-8; of anything else json finds out by itself
        return json.loads(data.decode() if "sha256" in item.meta else data)
    except ValueError as error:
        raise damage(item, error) from error


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return {"kind": "json", "bytes": stored_bytes(item)}


def plain_values(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return a copy of `values`, the metadata of a user, which come back from JSON as they are.

    Raises
    ------
    NotReproducible
        If they would not: a tuple, a numpy scalar, a key that is no text.
    """
    given = dict(values)
    try:
        back: dict[str, Any] = json.loads(json.dumps(given, allow_nan=False))
        problem = plain_difference(given, back)
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        msg = f"{what} is not plain JSON ({problem}); give str, int, float, bool, None, lists and dicts with str keys"
        raise NotReproducible(msg)
    return back


def plain_difference(obj: object, back: object, path: str = "$") -> str:
    """Return where and how `back` is not `obj`, type for type; empty if it is."""
    if type(obj) is not type(back):
        form = "has no form in JSON" if back is None else f"would come back as {type_name(back)}"
        return f"{path} is a {type_name(obj)}, which {form}"
    if isinstance(obj, dict) and isinstance(back, dict):
        bad = next((key for key in obj if type(key) is not str), None)
        if bad is not None:
            return f"{path} has the key {bad!r}, a {type_name(bad)}, which would come back as str or not at all"
        if list(obj) != list(back):
            return f"{path} has keys that JSON cannot tell apart"
        pairs = ((value, back[key], f"{path}{_step(key)}") for key, value in obj.items())
        return next(filter(None, (plain_difference(*pair) for pair in pairs)), "")
    if isinstance(obj, list) and isinstance(back, list):
        triples = ((a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(obj, back, strict=True)))
        return next(filter(None, (plain_difference(*triple) for triple in triples)), "")
    # repr tells NaN from numbers and 0.0 from -0.0, where == does not.
    same = repr(obj) == repr(back) if isinstance(obj, float) else obj == back
    return "" if same else f"{path} is {obj!r}, which would come back as {back!r}"


def _step(key: str) -> str:
    return f".{key}" if key.isidentifier() else f"[{json.dumps(key)}]"
