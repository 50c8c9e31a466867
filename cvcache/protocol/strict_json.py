"""Strict JSON: only documents that every parser reads as the same value; `BadRecord` for any other."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from cvcache.errors import BadRecord

MAX_JSON_DEPTH = 256
"""Levels of nesting; every canonical key has fewer."""

_MAX_QUOTE_LENGTH = 80  # characters of a value that an error quotes


def parse_json(data: bytes, where: str) -> Any:
    """Return the value of strict JSON: no duplicate keys, no NaN, no lone surrogate, bounded nesting."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            object_pairs_hook=_unique_keys,
        )
    except (ValueError, RecursionError) as error:
        msg = f"{where} is not a record of cvcache ({type(error).__name__}: {error}); move it away to use this place"
        raise BadRecord(msg) from None
    if b"\\u" in data or data.count(b"{") + data.count(b"[") >= MAX_JSON_DEPTH:
        _check_nesting(value, where)
    return value


def _check_nesting(value: Any, where: str) -> None:
    """Refuse deep nesting and lone surrogates, without recursion."""
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


def _parse_float(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        return _refuse_constant(text)
    return value


def shorten(value: object) -> str:
    """Return the repr of a value, cut to the length that an error quotes."""
    text = repr(value)
    return text if len(text) <= _MAX_QUOTE_LENGTH else text[:_MAX_QUOTE_LENGTH] + "..."


def _refuse_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        msg = "a key stands twice"
        raise ValueError(msg)
    return members


def raise_bad_record(where: str, what: str) -> NoReturn:
    """Raise `BadRecord` for the object at `where`."""
    msg = f"{where} {what}; it is not usable, and nothing was changed. Move it away to use this place"
    raise BadRecord(msg)
