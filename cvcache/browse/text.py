"""Recorded values as short plain text. A record may hold anything: nothing here raises, and no text grows long."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    # marks of direction and unseen line breaks make one name look like another
    r"|[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
MAX_VALUE_LENGTH = 300
"""Characters of one value."""
MAX_PARTS = 24
"""Elements of a list or mapping that are shown."""
MAX_LIST_LENGTH = 4096
"""Elements of a list that are read."""
MAX_DEPTH = 4
MAX_NUMBER = 10**40
MAX_TOOLTIP_LINE, MAX_TOOLTIP_LINES = 600, 12
"""Characters of one line of a tooltip, and number of lines."""
MAX_SIZE = 1 << 63
"""A recorded size from here on is not believed."""
_MAX_AXES = 32
_MAX_NUMBER_LENGTH = 40


def strip_controls(text: str) -> str:
    """Return `text` without escape sequences, control characters and marks of direction; lines and tabs stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


def plain_line(text: str, max_length: int = MAX_VALUE_LENGTH) -> str:
    """Return untrusted text as one plain line, cut at `max_length` characters."""
    shown = strip_controls(text[: max_length * 4]).encode("utf-8", "replace").decode()
    shown = " ".join(shown.split())
    return shown if len(shown) <= max_length and len(text) <= max_length * 4 else shown[: max_length - 1] + "…"


def plain_text(text: str) -> str:
    """Return untrusted text as plain text of several lines."""
    return strip_controls(text).encode("utf-8", "replace").decode()


def tooltip_html(text: str) -> str:
    """Return text as escaped HTML for a tooltip: Qt would render text that looks like HTML."""
    shown = [plain_line(part, MAX_TOOLTIP_LINE) for part in text.split("\n")[:MAX_TOOLTIP_LINES]]
    return "<qt>" + "<br>".join(map(html.escape, shown)) + "</qt>" if text else ""


def value_text(value: object, max_length: int = MAX_VALUE_LENGTH) -> str:
    """Return any recorded value as one plain line."""
    return plain_line("".join(_parts(value, MAX_DEPTH)), max_length)


def _parts(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value[: MAX_VALUE_LENGTH * 4]
    elif isinstance(value, (Mapping, list, tuple)):
        yield from _collection(value, depth)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_NUMBER:
        yield "a number of many digits"  # Python refuses to spell one of thousands
    else:
        yield str(value)[:MAX_VALUE_LENGTH]


def _collection(value: Mapping[Any, Any] | Sequence[Any], depth: int) -> Iterator[str]:
    named = isinstance(value, Mapping)
    if not depth:
        yield "{…}" if named else "[…]"
        return
    yield "{" if named else "["
    for i, part in enumerate(value):
        yield ", " if i else ""
        if i == MAX_PARTS:
            yield f"… {len(value) - i} more"
            break
        yield from _parts(part, depth - 1)
        if isinstance(value, Mapping):
            yield ": "
            yield from _parts(value[part], depth - 1)
    yield "}" if named else "]"


def recorded_number(value: object) -> float | int | None:
    """Return a recorded value if it is a finite number and no bool."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) < MAX_NUMBER and not math.isnan(value) else None


def recorded_count(value: object) -> int | None:
    """Return a recorded value if it is a whole number and not negative."""
    return value if isinstance(value, int) and recorded_number(value) is not None and value >= 0 else None


def recorded_list(value: object) -> list[Any]:
    """Return the first elements of a recorded list; an empty list for any other value."""
    return list(value[:MAX_LIST_LENGTH]) if isinstance(value, (list, tuple)) else []


def recorded_mapping(value: object) -> Mapping[str, Any]:
    """Return a recorded mapping; an empty one for any other value."""
    return value if isinstance(value, Mapping) else {}


def number_text(value: object) -> str:
    """Return a number as text of six significant digits."""
    number = recorded_number(value)
    return value_text(value, 40) if number is None else f"{number:.6g}" if isinstance(number, float) else str(number)


def join_line(values: Iterable[str], separator: str = ", ") -> str:
    """Return texts in one line; of many, the first."""
    shown: list[str] = []
    for value in values:
        if len(shown) == MAX_PARTS:
            shown.append("…")
            break
        shown.append(value)
    return plain_line(separator.join(shown))


def size_text(size: float | None) -> str:
    """Return a number of bytes for people."""
    if size is None:
        return ""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":  # noqa: PLR2004 - binary units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return ""


def recorded_size(meta: Mapping[str, Any]) -> int | None:
    """Return the size of an item in bytes, where it is recorded."""
    size = meta.get("size", meta.get("bytes"))
    return size if type(size) is int and 0 <= size < MAX_SIZE else None


def shape_text(meta: Mapping[str, Any]) -> str:
    """Return the shape of an array, or the number of rows of a table, where it is recorded."""
    shape = meta.get("shape")
    if isinstance(shape, (list, tuple)) and shape:
        return "x".join(str(n)[:_MAX_NUMBER_LENGTH] for n in shape[:_MAX_AXES])
    return f"{str(meta['rows'])[:_MAX_NUMBER_LENGTH]} rows" if "rows" in meta else ""


def environment_lines(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield label and text of an environment, as `CacheDir.environment` returns it."""
    if environment:
        packages = environment.get("packages")
        versions = packages.items() if isinstance(packages, Mapping) else ()
        loaded = ", ".join(f"{name} {version}" for name, version in versions)
        yield (
            "python",
            f"{environment.get('python')} ({environment.get('platform')})" + (f" with {loaded}" if loaded else ""),
        )
        peak = environment.get("peak_memory")
        yield "peak memory of the process", size_text(peak) if type(peak) is int else "unknown"
    if isinstance(git := environment.get("git"), Mapping):
        yield "git", f"{git.get('commit')}{', with changes not committed' if git.get('dirty') else ''}"
