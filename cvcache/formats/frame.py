"""A pandas DataFrame as an Arrow table and back; what Arrow cannot store is in the schema's metadata."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import pyarrow as pa

METADATA_KEY = b"cvcache"
"""Key of our entry in the metadata of a schema."""


def to_table(frame: pd.DataFrame, extra: Mapping[str, Any]) -> pa.Table:
    """Return `frame` as a table from which `from_table` restores it; `extra` is stored in its metadata.

    Raises
    ------
    ValueError, TypeError, NotImplementedError, AttributeError
        Arrow has no form for a column.
    """
    import pyarrow as pa

    table = pa.Table.from_pandas(frame)
    frame_metadata = {
        "dtypes": [str(t) for t in frame.dtypes],
        "index": _axis_metadata(frame.index),
        "labels": _axis_metadata(frame.columns),
    }
    encoded = json.dumps({**extra, "frame": frame_metadata}).encode()
    return table.replace_schema_metadata({**(table.schema.metadata or {}), METADATA_KEY: encoded})


def cvcache_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Return the entry that cvcache wrote into the metadata of a schema; empty in files of other programs."""
    metadata = json.loads((schema.metadata or {}).get(METADATA_KEY, b"{}"))
    return metadata if isinstance(metadata, dict) else {}


def from_table(table: pa.Table, columns: Sequence[str | int] | None = None) -> pd.DataFrame:
    """Return a table as a DataFrame; with `columns`, the table has only these and its index."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    metadata = cvcache_metadata(table.schema).get("frame")
    if metadata is None:
        return frame if columns is None else frame[list(columns)]
    if "range" in metadata["index"]:
        range_index = pd.RangeIndex(*metadata["index"]["range"], name=frame.index.name)
        if len(frame.columns):
            frame = frame.set_axis(range_index)
        else:
            attrs, frame = frame.attrs, pd.DataFrame(index=range_index, columns=frame.columns)
            frame.attrs = attrs
    else:
        frame.index = _restore_axis(frame.index, metadata["index"], table)
    labels = _restore_axis(frame.columns, metadata["labels"])
    if "range" in metadata["labels"]:
        all_labels = pd.RangeIndex(*metadata["labels"]["range"], name=frame.columns.name)
        labels = all_labels if columns is None else all_labels[all_labels.get_indexer(labels)]
    frame.columns = labels
    dtypes = metadata["dtypes"]
    if columns is not None:
        # the table was read in part: find the position of each column among all
        names = [name for name in _all_names(table) if name is not None]
        dtypes = [dtypes[names.index(str(label))] for label in frame.columns]
    _restore_dtypes(frame, table, dtypes)
    return frame if columns is None else frame[list(columns)]


def _all_names(table: pa.Table) -> list[str | None]:
    """Return the names of all columns of the whole table, without the index."""
    pandas = json.loads(table.schema.metadata[b"pandas"])
    index = {name for name in pandas["index_columns"] if isinstance(name, str)}
    return [row["field_name"] for row in pandas["columns"] if row["field_name"] not in index]


def _restore_dtypes(frame: pd.DataFrame, table: pa.Table, dtypes: Sequence[str]) -> None:
    import pandas as pd

    for i, dtype in enumerate(dtypes):
        if str(frame.dtypes.iloc[i]) != dtype:
            values = _to_pandas(table.column(i), dtype)
            series = pd.Series(values, index=frame.index, dtype=dtype) if values is not None else None
            frame.isetitem(i, frame.iloc[:, i].astype(dtype) if series is None else series)


def _to_pandas(column: pa.ChunkedArray, dtype: str) -> Any:
    """Return a column as a pandas array of `dtype`, not converted through floats; None if ``astype`` does it."""
    import pandas as pd

    if dtype == "object":
        # Arrow would give None where a column of pandas has NaN
        return pd.Series(column.to_numpy(zero_copy_only=False), dtype=object).array
    extension = pd.api.types.pandas_dtype(dtype)
    return extension.__from_arrow__(column) if hasattr(extension, "__from_arrow__") else None


def _axis_metadata(axis: pd.Index) -> dict[str, Any]:
    import pandas as pd

    if type(axis) is pd.RangeIndex:
        return {"range": [axis.start, axis.stop, axis.step]}
    freq = getattr(axis, "freqstr", None) if isinstance(axis, (pd.DatetimeIndex, pd.TimedeltaIndex)) else None
    return {} if isinstance(axis, pd.MultiIndex) else {"dtype": str(axis.dtype), **({"freq": freq} if freq else {})}


def _restore_axis(axis: pd.Index, metadata: Mapping[str, Any], table: pa.Table | None = None) -> pd.Index:
    """Return an axis with its recorded dtype and frequency; `table` has its values if it is the index."""
    import pandas as pd

    if "dtype" in metadata and str(axis.dtype) != metadata["dtype"]:
        name = json.loads(table.schema.metadata[b"pandas"])["index_columns"][0] if table is not None else None
        values = _to_pandas(table.column(name), metadata["dtype"]) if table is not None else None
        axis = (
            axis.astype(metadata["dtype"])
            if values is None
            else pd.Index(values, dtype=metadata["dtype"], name=axis.name)
        )
    return type(axis)(axis, freq=metadata["freq"]) if "freq" in metadata else axis


def dataframe_difference(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Return how `b` differs from `a` in values, dtypes, index, labels, attrs or types of objects, else empty."""
    import pandas as pd

    from cvcache.formats.json_value import json_difference

    exact: dict[str, Any] = {"check_exact": True, "check_index_type": "exact", "check_column_type": "exact"}
    try:
        # the frequency of a level in a MultiIndex is inferred by pandas
        pd.testing.assert_frame_equal(a, b, **exact, check_freq=not isinstance(a.index, pd.MultiIndex))
    except AssertionError as error:
        return " ".join(str(error).split())
    if a.attrs != b.attrs or json_difference(a.attrs, b.attrs):
        return f"its .attrs {a.attrs!r} would come back as {b.attrs!r}"
    parts = {"index": (a.index, b.index)}
    parts |= {f"column {column!r}": (a.iloc[:, i], b.iloc[:, i]) for i, column in enumerate(a.columns)}
    for label, (written, read_back) in parts.items():
        if written.dtype == object and not isinstance(written, pd.MultiIndex):
            for x, y in zip(written, read_back, strict=True):
                if type(x) is not type(y) or repr(x) != repr(y):
                    return f"the {label} holds {x!r}, which would come back as {y!r}"
    return ""
