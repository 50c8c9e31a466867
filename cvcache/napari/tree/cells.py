"""Texts of the cells of the tree: short plain text, whatever is stored."""

from __future__ import annotations

import datetime

from cvcache.browse import MAX_TOOLTIP_LINE, Row, error_line, plain_line, size_text, tooltip_html
from cvcache.errors import CvcacheError
from cvcache.store import strip_control

COLUMNS = ("Name", "State", "Shape", "Type", "Size", "When")
NAME, STATE, SHAPE, TYPE, SIZE, WHEN = range(len(COLUMNS))

MAX_NAME_LENGTH = 400
MAX_CELL_LENGTH = 60
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "RefreshError")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_UNITS = ((2 * _DAY, _DAY, "d"), (2 * _HOUR, _HOUR, "h"), (_MINUTE, _MINUTE, "min"), (0, 1, "s"))


def cell_text(row: Row, column: int, now: datetime.datetime | None = None) -> str:
    """Return the text of one cell; no store call."""
    if column == NAME:
        return plain_line(row.name, MAX_NAME_LENGTH)
    if column == STATE:
        return plain_line(_state_text(row), MAX_CELL_LENGTH)
    if column == SHAPE:
        return plain_line(extent_text(row), MAX_CELL_LENGTH)
    if column == TYPE:
        return plain_line(row.dtype or (row.kind if row.is_item else ""), MAX_CELL_LENGTH)
    if column == SIZE:
        return size_text(row.size)
    return age_text(row.time, now)


def _state_text(row: Row) -> str:
    """Return the state of a node; of an item only a state that its node does not have."""
    if not row.is_item:
        return row.state_text
    return "uncommitted" if row.note == "uncommitted" else row.state if row.state == "foreign" else ""


def extent_text(row: Row) -> str:
    """Return the shape of an array, or the number of rows of a table."""
    if row.kind in {"table", "points"} and row.shape:
        return f"{row.shape[0]:,} rows"
    return "\N{MULTIPLICATION SIGN}".join(map(str, row.shape[:8]))


def age_text(time: datetime.datetime | None, now: datetime.datetime | None = None) -> str:
    """Return the age of a time, in the largest unit that fits."""
    if time is None:
        return ""
    seconds = ((now or datetime.datetime.now(datetime.UTC)) - time).total_seconds()
    if seconds < 1:
        return "now"
    unit, name = next((unit, name) for least, unit, name in _UNITS if seconds >= least)
    return f"{int(seconds // unit):,} {name} ago"


def row_tooltip(row: Row) -> str:
    """Return the tooltip of a row; no store call."""
    lines = [row.name, row.url, f"{row.state_text or 'not looked at yet'}{f': {row.note}' if row.note else ''}"]
    if row.is_item:
        lines.append(" ".join(part for part in (row.kind, extent_text(row), row.dtype, size_text(row.size)) if part))
    if row.time is not None:
        took = f", computed in {row.duration:.3g} s" if row.duration is not None else ""
        lines.append(f"committed {row.time.astimezone():%Y-%m-%d %H:%M:%S}{took}")
    return tooltip_html("\n".join(plain_line(text, MAX_TOOLTIP_LINE) for text in lines))


def error_sentence(error: BaseException) -> str:
    """Return an error as one plain line."""
    if type(error) is KeyError:
        return "it is not there any more"
    return (
        error_line(error)
        if isinstance(error, CvcacheError) or not isinstance(error, OSError)
        else _store_error_text(error)
    )


def _store_error_text(error: OSError) -> str:
    """Return the error of a store, the reason first, and the path without the directories of cvcache."""
    text = plain_line(str(error), 1000)
    if error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    url, colon, reason = text.partition(": ")
    if not colon or not (url.startswith("/") or "://" in url):
        return text or error_line(error)
    url = plain_line(strip_control(url))
    if any(name in reason for name in _NO_CREDENTIALS):
        return plain_line(f"no credentials for {_bucket(url)}: {reason}", 1000)
    if isinstance(error, PermissionError):
        return plain_line(f"no right to read {url}: {reason}", 1000)
    return plain_line(reason if "there is no bucket" in reason else f"{reason} ({url})", 1000)


def _bucket(url: str) -> str:
    return "/".join(url.split("/")[:3]) if "://" in url else url
