"""Plain values as JSON (``.json``); a value that would change is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvcache.errors import NotReproducible
from cvcache.formats.messages import item_damaged, not_reproducible, stored_size, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite


def write(item: ItemWrite, obj: object, /, *, indent: int | None = 2) -> dict[str, Any]:
    """Write dicts with str keys, lists, str, int, float, bool and None.

    NaN and the infinities are kept, spelled as Python, JavaScript sources and pandas spell them.

    Parameters
    ----------
    item : ItemWrite
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
        # values that JSON cannot store become null or are left out; the comparison then finds them
        text = json.dumps(obj, indent=indent, ensure_ascii=False, skipkeys=True, default=lambda _: None)
        data = f"{text}\n".encode()
        problem = json_difference(obj, json.loads(data))
    except (ValueError, RecursionError) as error:
        problem = f"$ {error}"
    if problem:
        raise not_reproducible(
            item, problem, "convert it to plain JSON values first, or keep arrays as .npy and tables as .csv"
        )
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
        # cvcache writes UTF-8; for other files json detects the encoding
        return json.loads(data.decode() if "sha256" in item.meta else data)
    except ValueError as error:
        raise item_damaged(item, error) from error


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return {"kind": "json", "bytes": stored_size(item)}


def json_exact(values: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return a copy of `values`, a user's metadata, decoded from JSON and equal to them.

    Raises
    ------
    NotReproducible
        A value would change: a tuple, a numpy scalar, a key that is no str.
    """
    original = dict(values)
    try:
        decoded: dict[str, Any] = json.loads(json.dumps(original, allow_nan=False))
        problem = json_difference(original, decoded)
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        msg = f"{label} is not plain JSON ({problem}); give str, int, float, bool, None, lists and dicts with str keys"
        raise NotReproducible(msg)
    return decoded


def json_difference(obj: object, decoded: object, path: str = "$") -> str:
    """Return where and how `decoded` differs from `obj` in value or type; empty if it does not."""
    if type(obj) is not type(decoded):
        outcome = "has no form in JSON" if decoded is None else f"would come back as {type_name(decoded)}"
        return f"{path} is a {type_name(obj)}, which {outcome}"
    if isinstance(obj, dict) and isinstance(decoded, dict):
        if problem := _key_difference(obj, decoded, path):
            return problem
        parts = ((value, decoded[key], f"{path}{_path_step(key)}") for key, value in obj.items())
    elif isinstance(obj, list) and isinstance(decoded, list):
        parts = ((a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(obj, decoded, strict=True)))
    else:
        # repr tells NaN from numbers and 0.0 from -0.0, where == does not.
        same = repr(obj) == repr(decoded) if isinstance(obj, float) else obj == decoded
        return "" if same else f"{path} is {obj!r}, which would come back as {decoded!r}"
    return next(filter(None, (json_difference(*part) for part in parts)), "")


def _key_difference(obj: dict[Any, Any], decoded: dict[str, Any], path: str) -> str:
    bad_key = next((key for key in obj if type(key) is not str), None)
    if bad_key is not None:
        return f"{path} has the key {bad_key!r}, a {type_name(bad_key)}, which would come back as str or not at all"
    return "" if list(obj) == list(decoded) else f"{path} has keys that JSON cannot tell apart"


def _path_step(key: str) -> str:
    return f".{key}" if key.isidentifier() else f"[{json.dumps(key)}]"
