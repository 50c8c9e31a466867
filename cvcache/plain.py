"""Metadata of users: plain JSON values, kept exactly or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cvcache.errors import NotReproducible


def plain_values(values: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return a copy of `values`, which come back from JSON as they are.

    Raises
    ------
    NotReproducible
        If they would not: a tuple, a numpy scalar, a key that is no text.
    """
    given = dict(values)
    try:
        back: dict[str, Any] = json.loads(json.dumps(given, allow_nan=False))
        problem = "" if _same(given, back) else "it would come back changed"
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        msg = f"{what} is not plain JSON ({problem}); give str, int, float, bool, None, lists and dicts with str keys"
        raise NotReproducible(msg)
    return back


def _same(value: object, back: object) -> bool:
    if type(value) is not type(back):
        return False
    if isinstance(value, dict) and isinstance(back, dict):
        return value.keys() == back.keys() and all(_same(value[key], back[key]) for key in value)
    if isinstance(value, list) and isinstance(back, list):
        return len(value) == len(back) and all(map(_same, value, back))
    return value == back
