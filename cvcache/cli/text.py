"""Nodes and trees as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cvcache.browse import environment_lines, recorded_size, shape_text, size_text, strip_controls
from cvcache.node import Commit, Snapshot, current_state, item_io
from cvcache.tree import TreeEntry, directory_state

_MAX_ITEMS_SHOWN = 4
_STATE_NOTES = {"folder": ", no node; cvcache tree shows those below it", "foreign": ", not written by cvcache"}
_COLUMNS = ("node", "state", "items", "shape", "size", "time")


def item_line(name: str, row: Mapping[str, Any]) -> str:
    """Return one line with name, shape, dtype and size of an item."""
    return "  ".join(
        part for part in (name, shape_text(row), str(row.get("dtype", "")), size_text(recorded_size(row))) if part
    )


def tree_lines(top: TreeEntry) -> Iterator[str]:
    """Yield a table of a tree, aligned: node, state, items, shape, size, time."""
    rows = [_COLUMNS, *(_table_row(entry) for entry in top.walk())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _table_row(entry: TreeEntry) -> tuple[str, ...]:
    name = entry.node.url if entry.depth == 0 else "  " * entry.depth + entry.node.address.name
    names = sorted(entry.items)
    shown = ", ".join(names[:_MAX_ITEMS_SHOWN]) + (
        f" and {len(names) - _MAX_ITEMS_SHOWN} more" if len(names) > _MAX_ITEMS_SHOWN else ""
    )
    sizes = [size for row in entry.items.values() if (size := recorded_size(row)) is not None]
    shapes = [
        shape_text(row)
        for row in sorted(entry.items.values(), key=lambda row: ("levels" not in row, "rows" not in row))
        if row.get("shape") or "rows" in row
    ]
    commit = Commit.of(entry.node) if entry.node.committed else None
    seconds = f"{commit.duration:.2f} s" if commit else ""
    return (
        strip_controls(name),
        entry.node.state_text(entry.state),
        strip_controls(shown),
        shapes[0] if shapes else "",
        size_text(sum(sizes)) if sizes else "",
        seconds,
    )


def entry_json(entry: TreeEntry) -> dict[str, Any]:
    """Return a tree as plain values."""
    commit = Commit.of(entry.node) if entry.node.committed else None
    return {
        "url": entry.node.url,
        "name": entry.node.address.name,
        "state": entry.state,
        "committed": entry.node.committed,
        "time": commit.time.isoformat() if commit else None,
        "duration": commit.duration if commit else None,
        "items": {name: dict(row) for name, row in entry.items.items()},
        "children": [entry_json(child) for child in entry.children],
    }


def node_json(node: Snapshot) -> dict[str, Any]:
    """Return state, commit and items of one node as plain values."""
    commit, error, state = Commit.of(node) if node.committed else None, node.error, current_state(node)
    return {
        "url": node.url,
        "state": directory_state(node) if state == "absent" and not node.reason else state,
        "committed": node.committed,
        "reason": list(node.reason),
        "time": commit.time.isoformat() if commit else None,
        "duration": commit.duration if commit else None,
        "host": commit.host if commit else None,
        "version": commit.version if commit else None,
        "key": commit.key if commit else None,
        "meta": dict(commit.meta) if commit else None,
        "environment": dict(commit.environment()) if commit else None,
        "error": dict(error) if error else None,
        "items": {name: dict(row) for name, row in item_io.read_rows(node).items()},
    }


def node_text(node: Snapshot, report: Mapping[str, Any]) -> str:
    """Return the report of `node_json` on a node as lines."""
    state = node.state_text(report["state"])
    lines = [f"{report['url']}: {state}{_STATE_NOTES.get(report['state'], '')}"]
    facts = {"time": "", "duration": " s", "host": "", "version": ""}
    lines += [f"  {name}: {report[name]}{unit}" for name, unit in facts.items() if report[name] not in {None, ""}]
    lines += [f"  {label}: {text}" for label, text in environment_lines(report["environment"] or {})]
    lines += [f"  {name} = {value}" for name, value in (report["meta"] or {}).items()]
    lines += [f"  why: {reason}" for reason in report["reason"]]
    if report["error"]:
        lines.append(f"  error: {report['error'].get('type')}: {report['error'].get('message')}")
    if report["key"] is not None:
        lines.append("  key: " + json.dumps(report["key"], ensure_ascii=False)[:2000])
    lines += ["  item: " + item_line(name, row) for name, row in sorted(report["items"].items())]
    return "\n".join(strip_controls(line) for line in lines)
