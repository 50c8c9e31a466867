"""The first rows of a table as text, from a bounded number of its bytes."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvcache.browse.item_bytes import TROUBLE, head, place_of, told
from cvcache.browse.text import plain_line, recorded_count, size_text, value_text
from cvcache.errors import DataError
from cvcache.store import RangeReader

if TYPE_CHECKING:
    from cvcache.browse.rows import Row

CSV_BYTES = 256 << 10
PARQUET_BYTES = 64 << 20
MOST_COLUMNS = 200
CELL = 200
AT_ONCE = 1 << 20
MOST_DECODED = 256 << 20
"""Bytes of a column in the first group of rows once it is decoded; beyond this it is left out."""
_MOST_NAMES = 64 << 20
_STRANGE = (ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError, csv.Error)
"""What pyarrow and csv raise for what they cannot read."""


@dataclass(frozen=True, slots=True)
class TableHead:
    """The first rows of a table.

    Attributes
    ----------
    columns : tuple of str
    rows : tuple of tuples of str
        Each as long as `columns`.
    total : int or None
        How many rows there are in all.
    note : str
        What is left out, or why nothing is shown; empty if this is all.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    total: int | None = None
    note: str = ""


def table_head(row: Row, rows: int = 200) -> TableHead | None:
    """Return the first rows of a CSV or Parquet item; None for every other item.

    Notes
    -----
    Of a CSV one GET of at most 256 KiB, and one STAT unless that is the whole file. Of a Parquet file one STAT, the GET
    of its end, one or a few of each column that is shown, 64 MiB at most, and one STAT at last.
    """
    if not row.is_item or not row.name.endswith((".csv", ".parquet")):
        return None
    try:
        return _csv_head(row, rows) if row.name.endswith(".csv") else _parquet_head(row, rows)
    except ImportError:
        return TableHead(note="Parquet is read with pyarrow: pip install 'cvcache[tables]'")
    except (*TROUBLE, *_STRANGE) as error:
        return TableHead(total=recorded_count(row.meta.get("rows")), note=told(error))


def _csv_head(row: Row, most: int) -> TableHead:
    raw = head(row, CSV_BYTES)
    text = raw.data.decode("utf-8-sig", errors="replace").replace("\0", "")
    lines: list[list[str]] = []
    cut = ""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        # a line that is blank is no row
        lines.extend(itertools.islice(filter(None, reader), most + 2))
    except csv.Error as error:
        cut = f"the rest cannot be read: {error}"
    ended = len(lines) <= most + 1
    cut_names = ended and not raw.whole and len(lines) == 1
    if ended and not raw.whole and not cut_names:
        lines[1:] = lines[1:-1]  # the bytes end inside it
    names, body = (lines[0], lines[1:]) if lines else ([], [])
    recorded = recorded_count(row.meta.get("rows"))
    total = recorded if recorded is not None else len(body) if ended and raw.whole and not cut else None
    return _head(names, body[:most], total, cut, cut_names=cut_names)


def _head(
    names: list[str], body: list[list[str]], total: int | None, note: str, *, cut_names: bool = False
) -> TableHead:
    """Return rows that are all as long as the columns, and say what is left out."""
    wide = max([len(names), *map(len, body)])
    left_out = [note] if note else []
    if wide > MOST_COLUMNS:
        at_least = "at least " if cut_names else ""
        left_out.append(f"{at_least}{wide - MOST_COLUMNS} of {at_least}{wide} columns are left out")
    if total is None or total > len(body):
        left_out.append(f"the first {len(body)} rows" + (f" of {total}" if total is not None else ""))
    wide = min(wide, MOST_COLUMNS)
    shown = [[plain_line(cell, CELL) for cell in cells[:wide]] for cells in (names, *body)]
    columns, *rows = [(*cells, *[""] * (wide - len(cells))) for cells in shown]
    return TableHead(columns, tuple(rows), total, plain_line("; ".join(left_out)))


def _parquet_head(row: Row, most: int) -> TableHead:
    import pyarrow.parquet as pq

    place = place_of(row)
    info = place.store.stat(place.path)
    if info is None:
        head(row, 0)  # says what became of it
        raise FileNotFoundError(place.url)
    reader = io.BufferedReader(RangeReader(_bounded(place.store.get, place.path), info.size), AT_ONCE)
    file = pq.ParquetFile(
        reader,
        buffer_size=AT_ONCE,
        pre_buffer=False,
        thrift_string_size_limit=_MOST_NAMES,
        thrift_container_size_limit=1_000_000,
        page_checksum_verification=True,
    )
    names = list(file.schema_arrow.names)
    shown = _decodable(file, names[:MOST_COLUMNS])
    batch = next(file.iter_batches(batch_size=most, columns=shown, use_threads=False), None) if shown else None
    place.check_pin(now=True)
    if batch is None:  # of no rows there is no batch
        strange = "" if shown or not names else f"a column takes more than {size_text(MOST_DECODED)} once it is decoded"
        return _head(names, [], int(file.metadata.num_rows), strange)
    body = [list(cells) for cells in zip(*map(_cells, batch.columns), strict=True)]
    kept = list(batch.schema.names)
    left_out = f"{len(names) - len(kept)} of {len(names)} columns are left out" if len(kept) < len(names) else ""
    return _head(kept, body, int(file.metadata.num_rows), left_out)


def _decodable(file: Any, names: list[str]) -> list[str]:
    """Return the columns whose first part decodes to something that fits into memory."""
    found = file.metadata
    if not found.num_row_groups:
        return names
    group = found.row_group(0)
    too_large = set()
    for i in range(min(found.num_columns, group.num_columns)):
        column = group.column(i)
        if column.total_uncompressed_size > MOST_DECODED:
            too_large.add(column.path_in_schema.split(".")[0])
    return [name for name in names if name.split(".")[0] not in too_large]


def _bounded(get: Callable[[str, int, int], bytes], path: str) -> Callable[[int, int], bytes]:
    """Return what reads a range, and refuses once `PARQUET_BYTES` were read."""
    left = [PARQUET_BYTES]

    def read(start: int, end: int) -> bytes:
        left[0] -= end - start
        if left[0] < 0:
            raise DataError(f"its first rows take more than {size_text(PARQUET_BYTES)} to read, so they are not shown")
        return get(path, start, end)

    return read


def _cells(column: Any) -> Iterator[str]:
    for scalar in column:
        try:
            value = scalar.as_py()
        except (ValueError, OverflowError, TypeError, ImportError):
            value = str(scalar)
        yield "" if value is None else value_text(value, CELL)
