"""Facts of a row from its record: label and value, one line each."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cvcache.browse.item_bytes import READ_ERRORS, error_line
from cvcache.browse.text import (
    MAX_PARTS,
    environment_lines,
    join_line,
    number_text,
    plain_line,
    plain_text,
    recorded_list,
    recorded_mapping,
    recorded_size,
    shape_text,
    size_text,
    value_text,
)
from cvcache.node import Address, Commit, Snapshot, item_io, read_snapshot
from cvcache.protocol import Record, describe_owner
from cvcache.store import IN_PLACE, redact_url

if TYPE_CHECKING:
    from cvcache.browse.rows import Row

MAX_KEY_BYTES = 64 << 10
MAX_FACTS = 400
MAX_INPUTS = 200

Fact = tuple[str, str]


def facts(row: Row, *, environment: bool = False) -> tuple[Fact, ...]:
    """Return the recorded facts of a node or an item, as pairs of label and value.

    Parameters
    ----------
    row : Row
    environment : bool
        Of a node, also its environment: Python, packages, git, memory.

    Notes
    -----
    No store call for an item, nor for a node whose inventory is in the record; else one GET, for a running node one
    LIST. One GET more for the environment.
    """
    pairs = _item_facts(row) if row.is_item else _node_facts(row, environment=environment)
    shown: list[Fact] = []
    for label, text in pairs:
        if len(shown) == MAX_FACTS:
            shown.append(("…", "more is recorded than is shown"))
            break
        if text:
            shown.append((plain_line(label, 80), text))
    return tuple(shown)


def why(row: Row) -> tuple[str, ...]:
    """Return the reason of the newest attempt at a node, one difference a line; no store call."""
    reasons = row.node.reason if row.record is not None else ()
    return tuple(plain_line(reason, 1000) for reason in reasons[:MAX_FACTS])


def error_text(row: Row) -> str:
    """Return type, message and traceback of the error of a failed node; else empty. No store call.

    Of a row that could not be read, the error of the read.
    """
    if row.state == "unreadable":
        return plain_text(row.note)
    error = row.node.error if row.record is not None else None
    if not error:
        return ""
    head = f"{error.get('type', 'error')}: {error.get('message', '')}"
    return plain_text("\n\n".join(part for part in (head, error.get("traceback", "")) if part))


def key_text(row: Row) -> str:
    """Return the key of a node, of the commit that stands, as indented JSON, cut at 64 KiB; empty if it has no key.

    No store call.
    """
    record = row.record
    if record is None or record.key is None:
        return ""
    # printable characters stay as they are, all others are escaped
    text = plain_text(json.dumps(record.key, indent=2, ensure_ascii=False, default=str))
    data = text.encode("utf-8", "replace")
    return (
        text
        if len(data) <= MAX_KEY_BYTES
        else f"{data[:MAX_KEY_BYTES].decode(errors='ignore')}\n… the rest is left out"
    )


def stale_because(row: Row) -> tuple[str, ...]:
    """Return which inputs of a committed node have another version by now, one a line.

    Notes
    -----
    One LIST and one GET for each node that has an item in the key.
    """
    record = row.record
    if record is None or record.state != "committed":
        return ()
    read: dict[Address, Snapshot | str] = {}  # a node with several items in the key is read once
    changes = [_upstream_line(row.node.address, source, read) for source in record.inputs[:MAX_INPUTS]]
    if len(record.inputs) > MAX_INPUTS:
        changes.append(f"{len(record.inputs) - MAX_INPUTS} more inputs were not looked at")
    return tuple(text for text in changes if text)


def _upstream_line(address: Address, source: Mapping[str, str], read: dict[Address, Snapshot | str]) -> str:
    url, version = source.get("url", ""), source.get("version", "")
    name = plain_line(f"{redact_url(url)}/{source['item']}" if source.get("item") else redact_url(url))
    upstream = address.resolve(url)
    if upstream is None:
        return f"{name}: lies in another store, which was not asked"
    if upstream not in read:
        try:
            read[upstream] = read_snapshot(upstream)
        except READ_ERRORS as error:
            read[upstream] = error_line(error)
    node = read[upstream]
    if isinstance(node, str):
        return f"{name}: {node}"
    if not node.committed:
        now = {"absent": "was removed", "running": "is being computed again"}.get(node.state, f"is {node.state}")
        return f"{name}: {now}"
    return f"{name}: version {_short(version)} -> {_short(node.version)}" if node.version != version else ""


def _short(version: str) -> str:
    """Return a version as `explain` shows it: the first digits of its digest, and those of a forced attempt."""
    return "+".join(plain_line(part, 60)[:8] for part in version.split("+")[:2])


def _node_facts(row: Row, *, environment: bool) -> Iterator[Fact]:
    yield "state", row.state_text or "not looked at"
    yield "URL", plain_line(row.node.url, 2000)
    record, newest = row.record, row.node.newest
    if record is None or newest is None:
        yield "note", plain_line(row.note)
        return
    if newest.state == "claimed":
        yield "written by", plain_line(describe_owner(newest))
    if newest.error:
        yield "error", plain_line(f"{newest.error.get('type', '')}: {newest.error.get('message', '')}", 1000)
    if record.state == "committed":
        yield from _commit_facts(row, record)
    try:
        yield from _content_facts(row)
        yield from _user_facts(record.meta)
        if environment:
            environment_facts = environment_lines(item_io.read_environment(row.node))
            yield from ((label, plain_line(text, 20_000)) for label, text in environment_facts)
    except READ_ERRORS as error:
        yield "trouble", error_line(error)


def _commit_facts(row: Row, record: Record) -> Iterator[Fact]:
    commit = Commit.of(row.node)
    yield "committed", time_text(commit.time)
    yield "took", duration_text(commit.duration)
    yield "host", plain_line(commit.host)
    yield "version", plain_line(commit.version)
    if record.root != IN_PLACE:
        yield "data in", plain_line(record.root)
    yield "made from", f"{len(record.inputs)} items of other nodes" if record.inputs else ""


def _content_facts(row: Row) -> Iterator[Fact]:
    rows = item_io.read_rows(row.node)
    sizes = [size for recorded in rows.values() if (size := recorded_size(recorded)) is not None]
    yield "items", f"{len(rows)}, {size_text(sum(sizes))}" if sizes else str(len(rows))


def _user_facts(meta: object) -> Iterator[Fact]:
    for name, value in recorded_mapping(meta).items():
        yield f"meta {name}", value_text(value)


def _item_facts(row: Row) -> Iterator[Fact]:
    meta = row.meta
    yield "kind", plain_line(row.kind)
    yield "state", row.state
    if row.state == "foreign":
        yield "note", "not written by cvcache"
    yield from _array_facts(meta)
    yield from _pixel_facts(meta)
    yield from _table_facts(meta)
    yield "arrays", join_line(value_text(name, 60) for name in recorded_mapping(meta.get("arrays")))
    yield "leads to", plain_line(redact_url(meta["url"]), 2000) if isinstance(meta.get("url"), str) else ""
    yield "size", size_text(recorded_size(meta))
    yield "objects", number_text(meta["objects"]) if "objects" in meta else ""
    yield "copied along", "no" if meta.get("track") is False else ""
    yield "written", "not yet whole" if meta.get("complete") is False else ""
    yield "SHA-256", value_text(meta.get("sha256", ""), 64)
    yield from _user_facts(meta.get("user"))


def _array_facts(meta: Mapping[str, Any]) -> Iterator[Fact]:
    axes = [value_text(axis, 20) for axis in recorded_list(meta.get("axes"))]
    unit = recorded_mapping(meta.get("unit"))
    shape = recorded_list(meta.get("shape"))
    # an array without axes has a shape too
    yield "shape", plain_line(shape_text(meta)) if shape else "one number" if meta.get("shape") == [] else ""
    yield "axes", join_line(axes, " ")
    yield "dtype", value_text(meta.get("dtype", ""), 80)
    for label in ("scale", "translation"):
        numbers = [number_text(n) for n in recorded_list(meta.get(label))]
        if len(numbers) == len(axes):
            yield label, join_line(_with_unit(*pair, unit) for pair in zip(axes, numbers, strict=True))
        else:
            yield label, join_line(numbers)


def _with_unit(axis: str, number: str, unit: Mapping[str, Any]) -> str:
    return f"{axis} {number} {value_text(unit[axis], 40)}" if axis in unit else f"{axis} {number}"


def _pixel_facts(meta: Mapping[str, Any]) -> Iterator[Fact]:
    shapes = recorded_list(meta.get("shapes"))
    if "levels" in meta:
        extents = (shape_text({"shape": shape}) for shape in shapes[: MAX_PARTS + 1])
        yield "levels", join_line([number_text(meta["levels"]), *extents], "; ")
    for label in ("chunks", "shards"):
        extents = (shape_text({"shape": shape}) for shape in recorded_list(meta.get(label))[:1])
        yield label, join_line(extents)
    channels = [value_text(name, 60) for name in recorded_list(meta.get("channels"))]
    yield "channels", join_line(channels)
    for label in ("contrast", "range"):
        yield label, join_line(map(_span, recorded_list(meta.get(label))))


def _span(pair: object) -> str:
    return " to ".join(number_text(n) for n in recorded_list(pair)[:2]) or "unknown"


def _table_facts(meta: Mapping[str, Any]) -> Iterator[Fact]:
    if "rows" in meta:
        yield "rows", number_text(meta["rows"])
    columns, dtypes = recorded_list(meta.get("columns")), recorded_list(meta.get("dtypes"))
    if len(columns) == len(dtypes):
        pairs = zip(columns, dtypes, strict=True)
        yield "columns", join_line(f"{value_text(a, 60)} ({value_text(b, 40)})" for a, b in pairs)
    else:
        yield "columns", join_line(value_text(name, 60) for name in columns)
    yield "coordinates", join_line(value_text(name, 60) for name in recorded_list(meta.get("coordinates")))


def time_text(time: datetime.datetime | None) -> str:
    """Return a time in the local time zone."""
    if time is None:
        return ""
    try:
        return time.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    except (ValueError, OverflowError, OSError):  # a year that the time zone does not cover
        return time.isoformat()


def duration_text(seconds: float | None) -> str:
    """Return a duration in seconds, minutes or hours."""
    if seconds is None:
        return ""
    if seconds < 120:  # noqa: PLR2004 - up to two minutes in seconds
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min {rest} s"  # noqa: PLR2004 - two hours
