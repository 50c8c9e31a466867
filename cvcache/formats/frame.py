"""A pandas DataFrame as an Arrow table and back, with what Arrow forgets of it kept beside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    import pyarrow as pa

OWN = b"cvcache"
"""Where a schema keeps ours; pandas' own notes lie beside it."""


def to_table(frame: pd.DataFrame, kept: Mapping[str, Any]) -> pa.Table:
    """Return `frame` as a table that `from_table` makes it again of, with `kept` on record.

    Raises
    ------
    ValueError, TypeError, NotImplementedError, AttributeError
        Arrow has no form for a column.
    """
    import pyarrow as pa

    table = pa.Table.from_pandas(frame)
    notes = {"dtypes": [str(t) for t in frame.dtypes], "index": _axis(frame.index), "labels": _axis(frame.columns)}
    own = json.dumps({**kept, "frame": notes}).encode()
    return table.replace_schema_metadata({**(table.schema.metadata or {}), OWN: own})


def own_of(schema: pa.Schema) -> dict[str, Any]:
    """Return what `to_table` put on record, or the format; nothing in a file of others."""
    found = json.loads((schema.metadata or {}).get(OWN, b"{}"))
    return found if isinstance(found, dict) else {}


def from_table(table: pa.Table, columns: Sequence[str | int] | None = None) -> pd.DataFrame:
    """Return the DataFrame of a table, of ours or of others; of some `columns` if the table has only them."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    notes = own_of(table.schema).get("frame")
    if notes is None:
        return frame if columns is None else frame[list(columns)]
    if "range" in notes["index"]:
        ranged = pd.RangeIndex(*notes["index"]["range"], name=frame.index.name)
        if len(frame.columns):
            frame = frame.set_axis(ranged)
        else:
            attrs, frame = frame.attrs, pd.DataFrame(index=ranged, columns=frame.columns)
            frame.attrs = attrs
    else:
        frame.index = _restored(frame.index, notes["index"], table)
    labels = _restored(frame.columns, notes["labels"])
    if "range" in notes["labels"]:
        every = pd.RangeIndex(*notes["labels"]["range"], name=frame.columns.name)
        labels = every if columns is None else every[every.get_indexer(labels)]
    frame.columns = labels
    dtypes = notes["dtypes"]
    if columns is not None:
        # of a table read in part: which of all columns each one is
        names = [name for name in _all_names(table) if name is not None]
        dtypes = [dtypes[names.index(str(label))] for label in frame.columns]
    _restore_dtypes(frame, table, dtypes)
    return frame if columns is None else frame[list(columns)]


def _all_names(table: pa.Table) -> list[str | None]:
    """Return the names of all columns that the whole table has, the index left out."""
    pandas = json.loads(table.schema.metadata[b"pandas"])
    index = {name for name in pandas["index_columns"] if isinstance(name, str)}
    return [row["field_name"] for row in pandas["columns"] if row["field_name"] not in index]


def _restore_dtypes(frame: pd.DataFrame, table: pa.Table, dtypes: Sequence[str]) -> None:
    import pandas as pd

    for i, dtype in enumerate(dtypes):
        if str(frame.dtypes.iloc[i]) != dtype:
            values = _values(table.column(i), dtype)
            given = pd.Series(values, index=frame.index, dtype=dtype) if values is not None else None
            frame.isetitem(i, frame.iloc[:, i].astype(dtype) if given is None else given)


def _values(column: pa.ChunkedArray, dtype: str) -> Any:
    """Return a column as pandas' array of `dtype`, without a way through floats; None if pandas converts it itself."""
    import pandas as pd

    if dtype == "object":
        # Arrow's own objects have None where a column of pandas would have NaN
        return pd.Series(column.to_numpy(zero_copy_only=False), dtype=object).array
    kind = pd.api.types.pandas_dtype(dtype)
    return kind.__from_arrow__(column) if hasattr(kind, "__from_arrow__") else None


def _axis(axis: pd.Index) -> dict[str, Any]:
    import pandas as pd

    if type(axis) is pd.RangeIndex:
        return {"range": [axis.start, axis.stop, axis.step]}
    freq = getattr(axis, "freqstr", None) if isinstance(axis, (pd.DatetimeIndex, pd.TimedeltaIndex)) else None
    return {} if isinstance(axis, pd.MultiIndex) else {"dtype": str(axis.dtype), **({"freq": freq} if freq else {})}


def _restored(axis: pd.Index, notes: Mapping[str, Any], table: pa.Table | None = None) -> pd.Index:
    """Return an axis as it was; `table` has its values if it is the index."""
    import pandas as pd

    if "dtype" in notes and str(axis.dtype) != notes["dtype"]:
        name = json.loads(table.schema.metadata[b"pandas"])["index_columns"][0] if table is not None else None
        values = _values(table.column(name), notes["dtype"]) if table is not None else None
        axis = axis.astype(notes["dtype"]) if values is None else pd.Index(values, dtype=notes["dtype"], name=axis.name)
    return type(axis)(axis, freq=notes["freq"]) if "freq" in notes else axis


def difference(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Return how `b` is not `a`, in values, dtypes, index, labels, attrs or the types of objects; empty if it is."""
    import pandas as pd

    from cvcache.formats.json_value import plain_difference

    exact: dict[str, Any] = {"check_exact": True, "check_index_type": "exact", "check_column_type": "exact"}
    try:
        # the frequency of one of several levels is nothing anybody set
        pd.testing.assert_frame_equal(a, b, **exact, check_freq=not isinstance(a.index, pd.MultiIndex))
    except AssertionError as error:
        return " ".join(str(error).split())
    if a.attrs != b.attrs or plain_difference(a.attrs, b.attrs):
        return f"its .attrs {a.attrs!r} would come back as {b.attrs!r}"
    parts = {"index": (a.index, b.index)}
    parts |= {f"column {label!r}": (a.iloc[:, i], b.iloc[:, i]) for i, label in enumerate(a.columns)}
    for what, (mine, back) in parts.items():
        if mine.dtype == object and not isinstance(mine, pd.MultiIndex):
            for x, y in zip(mine, back, strict=True):
                if type(x) is not type(y) or repr(x) != repr(y):
                    return f"the {what} holds {x!r}, which would come back as {y!r}"
    return ""
