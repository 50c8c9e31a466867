"""What others wrote and recorded as short plain text: whatever it says, nothing here raises or grows long."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    # what turns the direction of writing around, or breaks a line unseen, makes a name look like another one
    r"|[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
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
MOST_BYTES = 1 << 63
"""No store keeps as much; a record may say so."""
_MOST_AXES = 32
_LONGEST_NUMBER = 40  # characters of a number, as somebody else may have recorded it


def plain(text: str) -> str:
    """Return `text` without escape sequences, control characters and turns of direction; lines and tabs stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


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


def size_text(size: float | None) -> str:
    """Return a number of bytes for people."""
    if size is None:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":  # noqa: PLR2004 - binary units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return ""


def row_bytes(row: Mapping[str, Any]) -> int | None:
    """Return how many bytes an item has, where it is recorded."""
    size = row.get("size", row.get("bytes"))
    return size if type(size) is int and 0 <= size < MOST_BYTES else None


def shape_text(row: Mapping[str, Any]) -> str:
    """Return the extent of an item, where it is recorded: of its axes in pixels, or its rows."""
    shape = row.get("shape")
    if isinstance(shape, (list, tuple)) and shape:
        return "x".join(str(n)[:_LONGEST_NUMBER] for n in shape[:_MOST_AXES])
    return f"{str(row['rows'])[:_LONGEST_NUMBER]} rows" if "rows" in row else ""


def environment_lines(made: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield label and text of what a result was made with, as `CacheDir.environment` gives it."""
    if made:
        packages = made.get("packages")
        versions = packages.items() if isinstance(packages, Mapping) else ()
        loaded = ", ".join(f"{name} {version}" for name, version in versions)
        yield "python", f"{made.get('python')} ({made.get('platform')})" + (f" with {loaded}" if loaded else "")
        peak = made.get("peak_memory")
        yield "peak memory of the process", size_text(peak) if type(peak) is int else "unknown"
    if isinstance(git := made.get("git"), Mapping):
        yield "git", f"{git.get('commit')}{', with changes not committed' if git.get('dirty') else ''}"
