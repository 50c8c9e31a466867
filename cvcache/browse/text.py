"""Recorded values as short plain text: whatever a record says, nothing here raises or grows long."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cvcache.printable import plain

LONGEST = 300
"""Characters of one value."""
MOST_PARTS = 24
"""Members of a list or mapping that are shown."""
MOST_MEMBERS = 4096
"""Members of a list that are looked at."""
DEEPEST = 4
MOST_DIGITS = 10**40
TIP_LINE, TIP_LINES = 600, 12
"""Characters of a line of a tooltip, and its lines."""


def line(text: str, longest: int = LONGEST) -> str:
    """Return foreign text as one plain line, cut at `longest` characters."""
    shown = plain(text[: longest * 4]).encode("utf-8", "replace").decode()
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest and len(text) <= longest * 4 else shown[: longest - 1] + "…"


def lines(text: str) -> str:
    """Return foreign text of several lines as plain text."""
    return plain(text).encode("utf-8", "replace").decode()


def tip(text: str) -> str:
    """Return plain text as a tooltip: Qt takes what looks like HTML for it, so it is spelled as such throughout."""
    shown = [line(part, TIP_LINE) for part in text.split("\n")[:TIP_LINES]]
    return "<qt>" + "<br>".join(map(html.escape, shown)) + "</qt>" if text else ""


def value_text(value: object, longest: int = LONGEST) -> str:
    """Return any recorded value as one plain line."""
    return line("".join(_pieces(value, DEEPEST)), longest)


def _pieces(value: object, deep: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value[: LONGEST * 4]
    elif isinstance(value, (Mapping, list, tuple)):
        yield from _collection(value, deep)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > MOST_DIGITS:
        yield "a number of many digits"  # Python refuses to spell one of thousands
    else:
        yield str(value)[:LONGEST]


def _collection(value: Mapping[Any, Any] | Sequence[Any], deep: int) -> Iterator[str]:
    named = isinstance(value, Mapping)
    if not deep:
        yield "{…}" if named else "[…]"
        return
    yield "{" if named else "["
    for i, part in enumerate(value):
        yield ", " if i else ""
        if i == MOST_PARTS:
            yield f"… {len(value) - i} more"
            break
        yield from _pieces(part, deep - 1)
        if isinstance(value, Mapping):
            yield ": "
            yield from _pieces(value[part], deep - 1)
    yield "}" if named else "]"


def number(value: object) -> float | int | None:
    """Return a recorded number if it is one that is finite and no bool."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < MOST_DIGITS and not math.isnan(value) else None


def count(value: object) -> int | None:
    """Return a recorded count if it is a whole number that is not negative."""
    return value if isinstance(value, int) and number(value) is not None and value >= 0 else None


def members(value: object) -> list[Any]:
    """Return the members of a recorded list, of a long one the first; nothing for what is none."""
    return list(value[:MOST_MEMBERS]) if isinstance(value, (list, tuple)) else []


def fields(value: object) -> Mapping[str, Any]:
    """Return a recorded mapping; nothing for what is none."""
    return value if isinstance(value, Mapping) else {}


def number_text(value: object) -> str:
    """Return a number without digits that say nothing."""
    found = number(value)
    return value_text(value, 40) if found is None else f"{found:.6g}" if isinstance(found, float) else str(found)


def joined(values: Iterable[str], between: str = ", ") -> str:
    """Return some texts in one line; of many, the first."""
    shown: list[str] = []
    for value in values:
        if len(shown) == MOST_PARTS:
            shown.append("…")
            break
        shown.append(value)
    return line(between.join(shown))
