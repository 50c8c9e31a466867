"""The first rows of a table as text, from a bounded number of bytes."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvcache.browse.item_bytes import READ_ERRORS, error_line, head, item_path
from cvcache.browse.text import plain_line, recorded_count, size_text, value_text
from cvcache.errors import DataError
from cvcache.formats import find_suffix
from cvcache.store import RangeReader

if TYPE_CHECKING:
    from cvcache.browse.rows import Row

MAX_CSV_BYTES = 256 << 10
MAX_PARQUET_BYTES = 64 << 20
MAX_COLUMNS = 200
MAX_CELL_LENGTH = 200
BUFFER_SIZE = 1 << 20
MAX_DECODED_BYTES = 256 << 20
"""Decoded bytes of a column in the first row group; a larger column is left out."""
_MAX_THRIFT_STRING = 64 << 20
_PARSE_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError, csv.Error)
"""Errors of pyarrow and csv for files that they cannot read."""


@dataclass(frozen=True, slots=True)
class TableHead:
    """The first rows of a table.

    Attributes
    ----------
    columns : tuple of str
    rows : tuple of tuples of str
        Each as long as `columns`.
    total : int or None
        Number of rows in the whole table.
    note : str
        What is left out, or why nothing is shown; empty for a complete table.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    total: int | None = None
    note: str = ""


def has_table(name: str) -> bool:
    """Whether `table_head` returns something for items of this name."""
    return find_suffix(name, _HEADS) is not None


def table_head(row: Row, rows: int = 200) -> TableHead | None:
    """Return the first rows of a CSV or Parquet item; None for every other item.

    Notes
    -----
    Of a CSV one GET of at most 256 KiB, and one STAT unless that is the whole file. Of a Parquet file one STAT, one GET
    of its end, one or a few GET of each shown column, 64 MiB at most, and one STAT at the end.
    """
    read_head = find_suffix(row.name, _HEADS) if row.is_item else None
    if read_head is None:
        return None
    try:
        return read_head(row, rows)
    except ImportError:
        return TableHead(note="Parquet is read with pyarrow: pip install 'cvcache[tables]'")
    except (*READ_ERRORS, *_PARSE_ERRORS) as error:
        return TableHead(total=recorded_count(row.meta.get("rows")), note=error_line(error))


def _csv_head(row: Row, max_rows: int) -> TableHead:
    raw = head(row, MAX_CSV_BYTES)
    text = raw.data.decode("utf-8-sig", errors="replace").replace("\0", "")
    lines: list[list[str]] = []
    cut = ""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        # a blank line is no row
        lines.extend(itertools.islice(filter(None, reader), max_rows + 2))
    except csv.Error as error:
        cut = f"the rest cannot be read: {error}"
    ended = len(lines) <= max_rows + 1
    cut_names = ended and not raw.whole and len(lines) == 1
    if ended and not raw.whole and not cut_names:
        lines[1:] = lines[1:-1]  # the last line is cut
    names, body = (lines[0], lines[1:]) if lines else ([], [])
    recorded = recorded_count(row.meta.get("rows"))
    total = recorded if recorded is not None else len(body) if ended and raw.whole and not cut else None
    return _head(names, body[:max_rows], total, cut, cut_names=cut_names)


def _head(
    names: list[str], body: list[list[str]], total: int | None, note: str, *, cut_names: bool = False
) -> TableHead:
    """Return rows that are all as long as the columns, with a note on what is left out."""
    width = max([len(names), *map(len, body)])
    left_out = [note] if note else []
    if width > MAX_COLUMNS:
        at_least = "at least " if cut_names else ""
        left_out.append(f"{at_least}{width - MAX_COLUMNS} of {at_least}{width} columns are left out")
    if total is None or total > len(body):
        left_out.append(f"the first {len(body)} rows" + (f" of {total}" if total is not None else ""))
    width = min(width, MAX_COLUMNS)
    shown = [[plain_line(cell, MAX_CELL_LENGTH) for cell in cells[:width]] for cells in (names, *body)]
    columns, *rows = [(*cells, *[""] * (width - len(cells))) for cells in shown]
    return TableHead(columns, tuple(rows), total, plain_line("; ".join(left_out)))


def _parquet_head(row: Row, max_rows: int) -> TableHead:
    import pyarrow.parquet as pq

    item = item_path(row)
    info = item.store.stat(item.path)
    if info is None:
        head(row, 0)  # raises an error that says why
        raise FileNotFoundError(item.url)
    reader = io.BufferedReader(RangeReader(_bounded(item.store.get, item.path), info.size), BUFFER_SIZE)
    file = pq.ParquetFile(
        reader,
        buffer_size=BUFFER_SIZE,
        pre_buffer=False,
        thrift_string_size_limit=_MAX_THRIFT_STRING,
        thrift_container_size_limit=1_000_000,
        page_checksum_verification=True,
    )
    names = list(file.schema_arrow.names)
    shown = _decodable(file, names[:MAX_COLUMNS])
    batch = next(file.iter_batches(batch_size=max_rows, columns=shown, use_threads=False), None) if shown else None
    if batch is None:  # an empty table gives no batch
        note = (
            "" if shown or not names else f"a column takes more than {size_text(MAX_DECODED_BYTES)} once it is decoded"
        )
        return _head(names, [], int(file.metadata.num_rows), note)
    body = [list(cells) for cells in zip(*map(_cells, batch.columns), strict=True)]
    shown_names = list(batch.schema.names)
    left_out = (
        f"{len(names) - len(shown_names)} of {len(names)} columns are left out" if len(shown_names) < len(names) else ""
    )
    return _head(shown_names, body, int(file.metadata.num_rows), left_out)


def _decodable(file: Any, names: list[str]) -> list[str]:
    """Return the columns whose first row group is small enough to decode."""
    metadata = file.metadata
    if not metadata.num_row_groups:
        return names
    group = metadata.row_group(0)
    too_large = set()
    for i in range(min(metadata.num_columns, group.num_columns)):
        column = group.column(i)
        if column.total_uncompressed_size > MAX_DECODED_BYTES:
            too_large.add(column.path_in_schema.split(".")[0])
    return [name for name in names if name.split(".")[0] not in too_large]


def _bounded(get: Callable[[str, int, int], bytes], path: str) -> Callable[[int, int], bytes]:
    """Return a function that reads a range, and raises once `MAX_PARQUET_BYTES` were read."""
    remaining = [MAX_PARQUET_BYTES]

    def read(start: int, end: int) -> bytes:
        remaining[0] -= end - start
        if remaining[0] < 0:
            raise DataError(
                f"its first rows take more than {size_text(MAX_PARQUET_BYTES)} to read, so they are not shown"
            )
        return get(path, start, end)

    return read


def _cells(column: Any) -> Iterator[str]:
    for scalar in column:
        try:
            value = scalar.as_py()
        except (ValueError, OverflowError, TypeError, ImportError):
            value = str(scalar)
        yield "" if value is None else value_text(value, MAX_CELL_LENGTH)


_HEADS = {"csv": _csv_head, "parquet": _parquet_head}
