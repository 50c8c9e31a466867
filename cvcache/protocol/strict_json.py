"""JSON that comes from anybody: only what every reader takes for the same value, or `BadRecord`."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from cvcache.errors import BadRecord

MAX_JSON_DEPTH = 256
"""Levels of nesting; a key of the deepest canonical value has fewer."""

_SHOWN = 80  # characters of a value that an error quotes


def parse_json(data: bytes, where: str) -> Any:
    """Read strict JSON: no duplicate keys, no NaN, no lone surrogate, no endless nesting."""
    try:
        value = json.loads(
            data.decode("utf-8"), parse_constant=_constant, parse_float=_float, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:
        msg = f"{where} is not a record of cvcache ({type(error).__name__}: {error}); move it away to use this place"
        raise BadRecord(msg) from None
    if b"\\u" in data or data.count(b"{") + data.count(b"[") >= MAX_JSON_DEPTH:
        _check_levels(value, where)
    return value


def _check_levels(value: Any, where: str) -> None:
    """Refuse endless nesting and half characters, without recursion."""
    depth, level = 0, [value]
    while level:
        for text in level:
            if isinstance(text, str) and not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
                raise_bad_record(where, "holds half a character, a surrogate")
        level = [v for v in level if isinstance(v, (dict, list))]
        level = [inner for v in level for inner in ((*v, *v.values()) if isinstance(v, dict) else v)]
        depth += 1
        if depth > MAX_JSON_DEPTH:
            raise_bad_record(where, f"is nested more than {MAX_JSON_DEPTH} levels deep")


def _float(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        return _constant(text)
    return value


def shorten(value: object) -> str:
    """Return a value as an error quotes it."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        msg = "a key stands twice"
        raise ValueError(msg)
    return row


def raise_bad_record(where: str, what: str) -> NoReturn:
    """Say that what lies at `where` is no record."""
    msg = f"{where} {what}; it is not usable, and nothing was changed. Move it away to use this place"
    raise BadRecord(msg)
