"""Tables as Parquet (``.parquet``): a pandas DataFrame or a pyarrow Table, exactly or not at all."""

from __future__ import annotations

import io
import json
import warnings
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError, did_you_mean
from cvcache.formats import frame as frames
from cvcache.formats.messages import check_frame, damage, need, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import pyarrow as pa

    from cvcache.formats.item_path import ItemPath

WAY_OUT = "convert or rename that (.astype(...), .rename(...)), or clear it where the file needs it not"
COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "brotli", None)


def write(item: ItemPath, obj: Any, /, *, compression: str | None = "zstd") -> dict[str, Any]:
    """Write a table. It is decoded and compared before that.

    Parameters
    ----------
    item : ItemPath
    obj : pandas.DataFrame or pyarrow.Table
        It comes back as the same of the two; several levels of index, time zones, categories, nullable types and plain
        ``.attrs`` are kept.
    compression : str or None
        "zstd", "snappy", "gzip", "lz4", "brotli" or None.

    Raises
    ------
    NotReproducible
        `obj` is no such table, or would come back changed.
    UsageError
        An unknown `compression`.

    Notes
    -----
    One PUT. While it runs there is one copy of the table beside its bytes.
    """
    if compression not in COMPRESSIONS:
        msg = f"compression={compression!r} is not one of {COMPRESSIONS}{did_you_mean(str(compression), _texts())}"
        raise UsageError(msg)
    data = encode(item, obj, {}, compression)
    item.put(data)
    return metadata(data)


def read(item: ItemPath, /, *, columns: Sequence[str | int] | None = None) -> pd.DataFrame | pa.Table:
    """Return the table as what it was written as; a file of others as a DataFrame.

    Parameters
    ----------
    item : ItemPath
    columns : sequence of str or int, optional
        Names of the columns to read, in the order wanted; the index of a DataFrame comes along.

    Raises
    ------
    ItemDamaged
        The bytes are no Parquet, or not those written.
    UsageError
        A column that the table does not have.

    Notes
    -----
    One GET; with `columns` one STAT, one GET of the end of the file and one for each run of bytes that holds them.
    """
    if columns is None:
        return decode(item, item.get())
    parquet = need("pyarrow.parquet", "tables", item)
    with item.store.open(item.path, "rb") as opened:
        try:
            table, wanted = _some(item, parquet.ParquetFile(opened, page_checksum_verification=True), columns)
            result = _object(table, wanted)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise _fault(item, error) from error
    item.check_pin(now=True)
    return result


def describe(item: ItemPath) -> dict[str, Any]:
    """Return kind, rows, columns, dtypes, index, row groups and bytes; one STAT, one or two GET of the file's end."""
    parquet = need("pyarrow.parquet", "tables", item)
    with item.store.open(item.path, "rb") as opened:
        try:
            size = opened.seek(0, io.SEEK_END)
            opened.seek(0)
            return _meta(parquet.read_metadata(opened), size)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise _fault(item, error) from error


def encode(item: ItemPath, obj: Any, kept: Mapping[str, Any], compression: str | None = "zstd") -> bytes:
    """Return a table as the bytes of a Parquet file that brings it back; `kept` goes on record in it."""
    arrow = need("pyarrow", "tables", item)
    if type(obj) is arrow.Table:
        return _encode_table(item, obj, compression)
    frame = check_frame(item, obj, ", or a pyarrow.Table")
    try:
        with warnings.catch_warnings():
            # what others only warn of is found by the comparison
            warnings.simplefilter("ignore")
            data = _bytes(frames.to_table(frame, kept), compression)
            changed = frames.difference(frame, frames.from_table(_decoded(data)))
    # of KeyError: names that are equal as text
    except (ValueError, TypeError, NotImplementedError, AttributeError, KeyError, OverflowError) as error:
        why = " ".join(str(error).split())
        raise refusal(item, f"Parquet has no form for it: {why}", WAY_OUT) from error
    if changed:
        raise refusal(item, f"it would come back changed: {changed}", WAY_OUT)
    return data


def decode(item: ItemPath, data: bytes) -> Any:
    """Return the table in the bytes of a Parquet file."""
    need("pyarrow", "tables", item)
    try:
        return _object(_decoded(data), None)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise damage(item, error) from error


def metadata(data: bytes) -> dict[str, Any]:
    """Return the metadata of a Parquet file from its bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return _meta(pq.read_metadata(pa.BufferReader(data)), len(data))


def own_of(data: bytes) -> dict[str, Any]:
    """Return what was put on record in a Parquet file, by its bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return frames.own_of(pq.read_schema(pa.BufferReader(data)))


def _encode_table(item: ItemPath, table: pa.Table, compression: str | None) -> bytes:
    own = {frames.OWN: json.dumps({"type": "pyarrow.Table"}).encode()}
    if frames.OWN in (table.schema.metadata or {}):
        raise refusal(item, "its schema's metadata has the key 'cvcache'", "take that away")
    data = _bytes(table.replace_schema_metadata({**(table.schema.metadata or {}), **own}), compression)
    back: Any = _object(_decoded(data), None)
    for name, (mine, other) in zip(table.schema.names, zip(table.schema, back.schema, strict=True), strict=True):
        if not mine.equals(other, check_metadata=True):
            why = f"the column {name!r}, {mine.type}, would come back as {other.type}"
            raise refusal(item, why, "cast it to a type that Parquet has, with table.cast(...)")
    for name, mine, other in zip(table.schema.names, table.columns, back.columns, strict=True):
        # NaN is no NaN's equal
        if not mine.equals(other) and repr(mine.to_pylist()) != repr(other.to_pylist()):
            raise refusal(item, f"the column {name!r} would come back changed", "cast it, with table.cast(...)")
    return data


def _bytes(table: pa.Table, compression: str | None) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression=compression or "none",
        use_compliant_nested_type=False,
        write_page_checksum=True,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _decoded(data: bytes) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()


def _some(item: ItemPath, file: Any, columns: Sequence[str | int]) -> tuple[pa.Table, list[str | int]]:
    """Return the part of a file with these columns and, of a DataFrame, the index."""
    if isinstance(columns, str):
        msg = f"columns={columns!r} must be a list of names, as in columns=[{columns!r}]"
        raise UsageError(msg)
    wanted, schema = list(columns), file.schema_arrow
    known = [name for name in schema.names if name not in _index_names(schema)]
    for name in wanted:
        if str(name) not in known:
            shown = ", ".join(known[:20])
            msg = f"{item.url} has no column {name!r}{did_you_mean(str(name), known)} (it has: {shown})"
            raise UsageError(msg)
    return file.read(columns=[*map(str, wanted), *_index_names(schema)]), wanted


def _object(table: pa.Table, wanted: list[str | int] | None) -> Any:
    if frames.own_of(table.schema).get("type") != "pyarrow.Table":
        return frames.from_table(table, wanted)
    rest = {key: value for key, value in table.schema.metadata.items() if key != frames.OWN}
    table = table.replace_schema_metadata(rest or None)
    return table if wanted is None else table.select(wanted)


def _index_names(schema: pa.Schema) -> list[str]:
    if frames.own_of(schema).get("type") == "pyarrow.Table":
        return []
    notes = json.loads((schema.metadata or {}).get(b"pandas", b'{"index_columns": []}'))
    return [name for name in notes["index_columns"] if isinstance(name, str)]


def _meta(found: Any, size: int) -> dict[str, Any]:
    """Return what the end of a file tells."""
    schema = found.schema.to_arrow_schema()
    notes = frames.own_of(schema).get("frame", {})
    index = _index_names(schema)
    names = [name for name in schema.names if name not in index]
    ranged = notes.get("index", {}).get("range")
    return {
        "kind": "table",
        "rows": found.num_rows if ranged is None else len(range(*ranged)),
        "columns": names,
        "dtypes": notes.get("dtypes") or [str(schema.field(name).type) for name in names],
        "index": index,
        "row_groups": found.num_row_groups,
        "bytes": size,
    }


def _fault(item: ItemPath, error: Exception) -> Exception:
    """Return the error to raise for one met while parts of a file were read."""
    return error if isinstance(error, UsageError) or getattr(error, "errno", None) else damage(item, error)


def _texts() -> list[str]:
    return [name for name in COMPRESSIONS if name]
