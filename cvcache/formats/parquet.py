"""Tables as Parquet (``.parquet``): a pandas DataFrame or a pyarrow Table; one that would change is refused."""

from __future__ import annotations

import io
import json
import warnings
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError, did_you_mean
from cvcache.formats import frame
from cvcache.formats.messages import check_dataframe, import_optional, item_damaged, not_reproducible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import pyarrow as pa

    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite

HINT = "convert or rename that (.astype(...), .rename(...)), or clear it if the file does not need it"
COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "brotli", None)


def write(item: ItemWrite, obj: Any, /, *, compression: str | None = "zstd") -> dict[str, Any]:
    """Write a table. The file is decoded and compared first.

    Parameters
    ----------
    item : ItemWrite
    obj : pandas.DataFrame or pyarrow.Table
        Read as the same type; a MultiIndex, time zones, categories, nullable types and plain ``.attrs`` are stored.
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
        suggestion = did_you_mean(str(compression), [name for name in COMPRESSIONS if name])
        msg = f"compression={compression!r} is not one of {COMPRESSIONS}{suggestion}"
        raise UsageError(msg)
    data = encode(item, obj, {}, compression)
    item.put(data)
    return file_metadata(data)


def read(item: ItemPath, /, *, columns: Sequence[str | int] | None = None) -> pd.DataFrame | pa.Table:
    """Return the table in the type that was written; a file of another program as a DataFrame.

    Parameters
    ----------
    item : ItemPath
    columns : sequence of str or int, optional
        Names of the columns to read, in the order wanted; the index of a DataFrame is read too.

    Raises
    ------
    ItemDamaged
        The bytes are no Parquet, or not those written.
    UsageError
        A column that the table does not have.

    Notes
    -----
    One GET; with `columns` one STAT, one GET of the footer and one for each byte range that holds them.
    """
    if columns is None:
        return decode(item, item.get())
    parquet = import_optional("pyarrow.parquet", "tables", item)
    with item.store.open(item.path, "rb") as file:
        try:
            table, names = _read_columns(item, parquet.ParquetFile(file, page_checksum_verification=True), columns)
            result = _from_table(table, names)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise _read_error(item, error) from error
    item.check_pin(now=True)
    return result


def describe(item: ItemPath) -> dict[str, Any]:
    """Return kind, rows, columns, dtypes, index, row groups and bytes; one STAT, one or two GET of the footer."""
    parquet = import_optional("pyarrow.parquet", "tables", item)
    with item.store.open(item.path, "rb") as file:
        try:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            return _metadata(parquet.read_metadata(file), size)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise _read_error(item, error) from error


def encode(item: ItemPath, obj: Any, extra: Mapping[str, Any], compression: str | None = "zstd") -> bytes:
    """Return a table as the bytes of a Parquet file; `extra` is stored in the metadata of its schema."""
    arrow = import_optional("pyarrow", "tables", item)
    if type(obj) is arrow.Table:
        return _encode_table(item, obj, compression)
    dataframe = check_dataframe(item, obj, ", or a pyarrow.Table")
    try:
        with warnings.catch_warnings():
            # the comparison below finds what pandas and pyarrow only warn of
            warnings.simplefilter("ignore")
            data = _to_parquet(frame.to_table(dataframe, extra), compression)
            changed = frame.dataframe_difference(dataframe, frame.from_table(_read_table(data)))
    # KeyError: two column names are equal as str
    except (ValueError, TypeError, NotImplementedError, AttributeError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise not_reproducible(item, f"Parquet has no form for it: {reason}", HINT) from error
    if changed:
        raise not_reproducible(item, f"it would come back changed: {changed}", HINT)
    return data


def decode(item: ItemPath, data: bytes) -> Any:
    """Return the table in the bytes of a Parquet file."""
    import_optional("pyarrow", "tables", item)
    try:
        return _from_table(_read_table(data), None)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise item_damaged(item, error) from error


def file_metadata(data: bytes) -> dict[str, Any]:
    """Return the metadata of a Parquet file from its bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return _metadata(pq.read_metadata(pa.BufferReader(data)), len(data))


def read_cvcache_metadata(data: bytes) -> dict[str, Any]:
    """Return the entry that cvcache wrote into the metadata of a Parquet file, given its bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return frame.cvcache_metadata(pq.read_schema(pa.BufferReader(data)))


def _encode_table(item: ItemPath, table: pa.Table, compression: str | None) -> bytes:
    entry = {frame.METADATA_KEY: json.dumps({"type": "pyarrow.Table"}).encode()}
    if frame.METADATA_KEY in (table.schema.metadata or {}):
        raise not_reproducible(item, "its schema's metadata has the key 'cvcache'", "take that away")
    data = _to_parquet(table.replace_schema_metadata({**(table.schema.metadata or {}), **entry}), compression)
    read_back: Any = _from_table(_read_table(data), None)
    for name, (written, restored) in zip(
        table.schema.names, zip(table.schema, read_back.schema, strict=True), strict=True
    ):
        if not written.equals(restored, check_metadata=True):
            reason = f"the column {name!r}, {written.type}, would come back as {restored.type}"
            raise not_reproducible(item, reason, "cast it to a type that Parquet has, with table.cast(...)")
    for name, written, restored in zip(table.schema.names, table.columns, read_back.columns, strict=True):
        # NaN is not equal to NaN
        if not written.equals(restored) and repr(written.to_pylist()) != repr(restored.to_pylist()):
            raise not_reproducible(
                item, f"the column {name!r} would come back changed", "cast it, with table.cast(...)"
            )
    return data


def _to_parquet(table: pa.Table, compression: str | None) -> bytes:
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


def _read_table(data: bytes) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()


def _read_columns(item: ItemPath, file: Any, columns: Sequence[str | int]) -> tuple[pa.Table, list[str | int]]:
    """Return a table of these columns and, for a DataFrame, the index; and the names of the columns."""
    if isinstance(columns, str):
        msg = f"columns={columns!r} must be a list of names, as in columns=[{columns!r}]"
        raise UsageError(msg)
    names, schema = list(columns), file.schema_arrow
    available = [name for name in schema.names if name not in _index_columns(schema)]
    for name in names:
        if str(name) not in available:
            listed = ", ".join(available[:20])
            msg = f"{item.url} has no column {name!r}{did_you_mean(str(name), available)} (it has: {listed})"
            raise UsageError(msg)
    return file.read(columns=[*map(str, names), *_index_columns(schema)]), names


def _from_table(table: pa.Table, names: list[str | int] | None) -> Any:
    if frame.cvcache_metadata(table.schema).get("type") != "pyarrow.Table":
        return frame.from_table(table, names)
    schema_metadata = {key: value for key, value in table.schema.metadata.items() if key != frame.METADATA_KEY}
    table = table.replace_schema_metadata(schema_metadata or None)
    return table if names is None else table.select(names)


def _index_columns(schema: pa.Schema) -> list[str]:
    if frame.cvcache_metadata(schema).get("type") == "pyarrow.Table":
        return []
    pandas_metadata = json.loads((schema.metadata or {}).get(b"pandas", b'{"index_columns": []}'))
    return [name for name in pandas_metadata["index_columns"] if isinstance(name, str)]


def _metadata(parquet_metadata: Any, size: int) -> dict[str, Any]:
    """Return the metadata of the item from the footer of its file."""
    schema = parquet_metadata.schema.to_arrow_schema()
    frame_metadata = frame.cvcache_metadata(schema).get("frame", {})
    index = _index_columns(schema)
    names = [name for name in schema.names if name not in index]
    range_args = frame_metadata.get("index", {}).get("range")
    return {
        "kind": "table",
        "rows": parquet_metadata.num_rows if range_args is None else len(range(*range_args)),
        "columns": names,
        "dtypes": frame_metadata.get("dtypes") or [str(schema.field(name).type) for name in names],
        "index": index,
        "row_groups": parquet_metadata.num_row_groups,
        "bytes": size,
    }


def _read_error(item: ItemPath, error: Exception) -> Exception:
    """Return the error to raise for an exception of pyarrow or the store: `ItemDamaged` unless the store failed."""
    return error if isinstance(error, UsageError) or getattr(error, "errno", None) else item_damaged(item, error)
