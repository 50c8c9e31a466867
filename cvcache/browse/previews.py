"""Previews of one row: histogram, text and log, each read on demand.

No function raises for stored content, whatever it is, nor for a store that fails: it returns a sentence instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvcache.browse.item_bytes import READ_ERRORS, RawBytes, error_line, head, tail
from cvcache.browse.rows import Row, item_row
from cvcache.browse.text import (
    plain_text,
    recorded_count,
    recorded_list,
    recorded_mapping,
    recorded_number,
    recorded_size,
    size_text,
    value_text,
)
from cvcache.formats import kind_of
from cvcache.image import CHANNEL_COLORS
from cvcache.logs import Tail, read_log_end
from cvcache.node import item_io
from cvcache.store import check_item_name, is_item_dir, redact_url

if TYPE_CHECKING:
    from cvcache.node import Snapshot

MAX_TEXT_BYTES = 64 << 10
MAX_LOG_BYTES = 256 << 10
MAX_NOTEBOOK_BYTES = 8 << 20
"""A notebook is read as a whole, since its outputs lie between its cells; a larger one is shown as plain text."""
MAX_CHANNELS = 64
MAX_CELLS = 2000


@dataclass(frozen=True, slots=True)
class Histogram:
    """Histogram of the coarsest level of one channel; bin i begins at ``start + i * width``.

    Attributes
    ----------
    channel : str
        Name of the channel; empty for a single channel without a name.
    color : str
        Six hexadecimal digits.
    start, width : float
    counts : tuple of int
    contrast : tuple of two floats, or None
        The values shown as black and as full colour.
    """

    channel: str
    color: str
    start: float
    width: float
    counts: tuple[int, ...]
    contrast: tuple[float, float] | None = None


def histogram(row: Row) -> tuple[Histogram, ...]:
    """Return the recorded histograms, one for each channel that has one; no store call."""
    recorded = recorded_list(row.meta.get("histogram"))[:MAX_CHANNELS]
    channels, contrast = recorded_list(row.meta.get("channels")), recorded_list(row.meta.get("contrast"))
    histograms = []
    for i, one in enumerate(recorded):
        bins = recorded_mapping(one)
        start, width = recorded_number(bins.get("start")), recorded_number(bins.get("width"))
        counts = [recorded_count(n) for n in recorded_list(bins.get("counts"))]
        valid = tuple(n for n in counts if n is not None)
        if start is None or width is None or width <= 0 or not counts or len(valid) != len(counts):
            continue
        name = value_text(channels[i], 60) if i < len(channels) else "" if len(recorded) == 1 else str(i)
        color = "FFFFFF" if len(recorded) == 1 else CHANNEL_COLORS[i % len(CHANNEL_COLORS)]
        window = _window(contrast[i]) if i < len(contrast) else None
        histograms.append(Histogram(name, color, float(start), float(width), valid, window))
    return tuple(histograms)


def _window(pair: object) -> tuple[float, float] | None:
    numbers = [number for n in recorded_list(pair)[:3] if (number := recorded_number(n)) is not None]
    return (float(numbers[0]), float(numbers[1])) if len(numbers) == 2 else None  # noqa: PLR2004 - black and full colour


def text_head(row: Row, limit: int = MAX_TEXT_BYTES) -> str:
    """Return the first lines of a text, JSON, YAML, HTML or log item as plain text.

    Of a notebook the sources of its cells; of a binary file a sentence that says so.

    Notes
    -----
    One GET; one STAT more for a file longer than `limit`, or not written by cvcache.
    """
    if not row.is_item:
        return ""
    if is_item_dir(row.name):
        return "A directory of many objects; there is no text in it to show."
    size = recorded_size(row.meta)
    kind = kind_of(row.name)
    notebook = kind == "notebook" and (size is None or size <= MAX_NOTEBOOK_BYTES)
    try:
        raw = head(row, MAX_NOTEBOOK_BYTES if notebook else limit)
    except READ_ERRORS as error:
        return f"[{error_line(error)}]"
    if b"\0" in raw.data:
        shown = size_text(size if size is not None else len(raw.data))
        return f"Not a text: {shown} of another kind, to be opened with a program for it."
    if notebook and (cells := _notebook_text(raw, limit)):
        return cells
    if kind in {"json", "link"}:
        raw = _indented(raw, link=kind == "link")
    text = plain_text(raw.data[:limit].decode(errors="replace"))
    return text if raw.whole and len(raw.data) <= limit else f"{text}\n[… the rest is left out]"


def _indented(raw: RawBytes, *, link: bool) -> RawBytes:
    """Return JSON indented, or unchanged if it is cut or invalid; secrets in the URL of a link are redacted."""
    try:
        value = json.loads(raw.data) if raw.whole else None
        if link and isinstance(value, dict) and isinstance(value.get("url"), str):
            value["url"] = redact_url(value["url"])
        data = raw.data if value is None else json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return raw
    return RawBytes(data, raw.whole)


def _notebook_text(raw: RawBytes, limit: int) -> str:
    """Return the sources of the cells of a notebook; empty if the file is no notebook."""
    try:
        content = json.loads(raw.data)
    except (ValueError, RecursionError):
        return ""
    cells = recorded_list(recorded_mapping(content).get("cells"))
    text = plain_text("\n\n".join(_cells(cells[:MAX_CELLS])))
    return text if len(text) <= limit else f"{text[:limit]}\n[… the rest is left out]"


def _cells(cells: list[Any]) -> Iterator[str]:
    for cell in cells:
        kind = value_text(recorded_mapping(cell).get("cell_type", "cell"), 20)
        source = recorded_mapping(cell).get("source", "")
        text = (
            source if isinstance(source, str) else "".join(part for part in recorded_list(source) if type(part) is str)
        )
        yield f"[{kind}]\n{text}"


def log_tail(row: Row, limit: int = MAX_LOG_BYTES, name: str = "run.log") -> str:
    """Return the end of a log: of a log item, or of the log `name` of a node.

    Of a node it is that of the newest attempt; of one that runs or died the log so far. To follow a running attempt,
    use `follow_log` alone.

    Notes
    -----
    One GET. Of an uncommitted attempt one LIST more and, while its log is in
    parts, one GET for each part that is shown.
    """
    name = row.name if row.is_item else name
    try:
        raw = _log_end(row, check_item_name(name), limit)
    except READ_ERRORS as error:
        return f"[{error_line(error)}]"
    if raw is None:
        return ""
    text = plain_text(raw.data.decode(errors="replace"))
    return text if raw.whole else f"[… what comes before is left out]\n{text.partition(chr(10))[2] or text}"


def _log_end(row: Row, name: str, limit: int) -> RawBytes | None:
    """Return the end of a log; None if there is no log."""
    if row.is_item:
        return tail(row, limit)
    newest = row.node.newest_attempt
    if row.record is None or newest.record is None:
        return None
    recorded = item_io.read_rows(newest).get(name)
    if recorded is not None:
        return tail(item_row(row.path, newest, row.state, name, recorded), limit)
    data, whole = read_log_end(newest.store, newest.path, newest.record.attempt, name, limit)
    return RawBytes(data[-limit:], whole and len(data) <= limit) if data else None


def follow_log(node: Snapshot, name: str = "run.log") -> Tail:
    """Return a `Tail` that reads the log of a running node piece by piece, from the first line; see `Tail.look`."""
    return Tail(node.store, node.path, name)
