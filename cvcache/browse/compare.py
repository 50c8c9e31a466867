"""The difference between two rows, from their records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cvcache.browse.item_bytes import READ_ERRORS, error_line
from cvcache.browse.row_facts import duration_text
from cvcache.browse.text import plain_line, recorded_size, shape_text, size_text, value_text
from cvcache.keys import key_differences
from cvcache.node import item_io

if TYPE_CHECKING:
    from cvcache.browse.rows import Row
    from cvcache.protocol import Record

MAX_LINES = 500

_COMPARED = ("kind", "shape", "dtype", "axes", "scale", "unit", "translation", "levels", "channels")
_ALSO_COMPARED = ("rows", "columns", "range", "contrast", "arrays", "url", "user")


def difference(a: Row, b: Row) -> tuple[str, ...]:
    """Return the differences from `a` to `b`, one line each; empty if their records are equal.

    Of two nodes: state, key, duration, items that only one has, and differences of the items that both have. Of two
    items: their recorded metadata.

    Notes
    -----
    No store call for items, nor for committed nodes whose inventory is in the record; else one GET, for a running node
    one LIST. No array is read.
    """
    if a.is_item != b.is_item:
        item, node = ("first", "second") if a.is_item else ("second", "first")
        return (f"the {item} is an item, the {node} a node: nothing of them can be compared",)
    differences = _item_lines("", a.meta, b.meta) if a.is_item else _node_lines(a, b)
    lines: list[str] = []
    for text in differences:
        if len(lines) == MAX_LINES:
            lines.append("… there are more differences than are shown")
            break
        lines.append(plain_line(text, 1000))
    return tuple(lines)


def _node_lines(a: Row, b: Row) -> Iterator[str]:
    if a.state != b.state:
        yield f"state: {a.state_text or 'not looked at'} -> {b.state_text or 'not looked at'}"
    try:
        yield from _key_lines(a.record, b.record)
        yield from _duration_lines(a.duration, b.duration)
        yield from _rows_lines(_rows(a), _rows(b))
    except READ_ERRORS as error:
        yield error_line(error)


def _rows(row: Row) -> Mapping[str, Mapping[str, Any]]:
    return item_io.read_rows(row.node) if row.record is not None else {}


def _key_lines(a: Record | None, b: Record | None) -> Iterator[str]:
    if a is None or b is None or a.key == b.key:
        return
    try:
        yield from (f"key: {text}" for text in key_differences(a.key, b.key))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        yield "key: differs, in a way that no key made by cvcache does"


def _duration_lines(a: float | None, b: float | None) -> Iterator[str]:
    if duration_text(a) != duration_text(b):
        yield f"duration: {duration_text(a) or 'unknown'} -> {duration_text(b) or 'unknown'}"


def _rows_lines(a: Mapping[str, Mapping[str, Any]], b: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for label, only in (("first", a.keys() - b.keys()), ("second", b.keys() - a.keys())):
        yield from (f"{plain_line(name)}: only in the {label}" for name in sorted(only))
    for name in sorted(a.keys() & b.keys()):
        yield from _item_lines(f"{plain_line(name)}: ", a[name], b[name])


def _item_lines(before: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    changed = False
    for name in (*_COMPARED, *_ALSO_COMPARED):
        if name in a or name in b:
            old, new = _text(name, a), _text(name, b)
            if old != new:
                changed = True
                yield f"{before}{name} {old} -> {new}"
    old, new = (size_text(recorded_size(row)) or "unknown" for row in (a, b))
    if recorded_size(a) != recorded_size(b):
        yield f"{before}size {old} -> {new}" + ("" if old != new else " (not the same number of bytes)")
    elif not changed and a.get("sha256") != b.get("sha256") and "sha256" in a and "sha256" in b:
        yield f"{before}other content of the same size"


def _text(name: str, row: Mapping[str, Any]) -> str:
    """Return a recorded value as text; long values are compared as far as they are shown."""
    if name not in row:
        return "none"
    if name == "shape":
        return shape_text({"shape": row["shape"]}) or value_text(row["shape"])
    return value_text(row[name], 200)
