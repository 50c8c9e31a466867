"""A pandas DataFrame as CSV (``.csv``): readable anywhere, and identical when read back here.

What CSV cannot store (dtypes, which column is the index, types of labels, which columns have missing
values) is in the item's metadata.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cvcache.formats.messages import (
    check_dataframe,
    import_optional,
    item_damaged,
    not_reproducible,
    stored_size,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite

HINT = "convert the column with .astype(...), or write the table as .parquet"


def write(item: ItemWrite, obj: Any, /) -> dict[str, Any]:
    """Write a table with plain columns; one PUT. The CSV is decoded and compared first.

    Raises
    ------
    NotReproducible
        `obj` is no DataFrame, has several levels of index or columns, or would come back changed.
    """
    data, meta = encode(item, obj)
    item.put(data)
    return meta


def encode(item: ItemPath, obj: Any) -> tuple[bytes, dict[str, Any]]:
    """Return a table as CSV, and the metadata needed to restore it."""
    pandas = import_optional("pandas", "tables", item)
    check_dataframe(item, obj)
    problem = _find_problem(pandas, obj)
    if problem:
        raise not_reproducible(item, *problem)
    default_index = type(obj.index) is pandas.RangeIndex
    data = _to_csv(item, obj)
    series = ([] if default_index else [obj.index]) + [obj.iloc[:, i] for i in range(obj.shape[1])]
    meta = {
        "kind": "table",
        "rows": len(obj),
        "columns": obj.columns.tolist(),
        "dtypes": [str(dtype) for dtype in obj.dtypes],
        "index": _axis_metadata(pandas, obj.index),
        "labels": _axis_metadata(pandas, obj.columns),
        "missing": [i for i, values in enumerate(series) if bool(values.isna().any())],
        "bytes": len(data),
    }
    try:
        pandas.testing.assert_frame_equal(obj, _decode(pandas, data, meta), check_exact=True)
    except (AssertionError, ValueError, TypeError, NotImplementedError) as error:
        raise not_reproducible(item, f"it would come back changed: {' '.join(str(error).split())}", HINT) from error
    return data, meta


def read(item: ItemPath, /) -> pd.DataFrame:
    """Return the table; one GET. A file of another program is read with pandas' defaults.

    Raises
    ------
    ItemDamaged
        The bytes do not match the metadata.
    """
    pandas = import_optional("pandas", "tables", item)
    data = item.get()
    try:
        if "dtypes" in item.meta:
            return _decode(pandas, data, item.meta)
        frame: pd.DataFrame = pandas.read_csv(io.BytesIO(data))
    except (ValueError, TypeError) as error:
        raise item_damaged(item, error) from error
    return frame


def describe(item: ItemPath) -> dict[str, Any]:
    """Return kind, rows, columns (an index counts as one) and bytes; one STAT and one GET of everything."""
    pandas = import_optional("pandas", "tables", item)
    try:
        frame = pandas.read_csv(io.BytesIO(item.get()))
    except pandas.errors.EmptyDataError:
        frame = pandas.DataFrame()
    except ValueError as error:
        raise item_damaged(item, error) from error
    return {
        "kind": "table",
        "rows": len(frame),
        "columns": [str(name) for name in frame.columns],
        "bytes": stored_size(item),
    }


def _to_csv(item: ItemPath, frame: pd.DataFrame) -> bytes:
    import pandas as pd

    text: str = frame.to_csv(index=type(frame.index) is not pd.RangeIndex, lineterminator="\n")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise not_reproducible(item, str(error), HINT) from error


def _find_problem(pandas: Any, frame: pd.DataFrame) -> tuple[str, str] | None:
    """Return the reason why CSV cannot store `frame`, and a hint; None if no reason is known."""
    if problem := _axis_problem(pandas, frame.index, "index") or _axis_problem(pandas, frame.columns, "columns"):
        return problem
    bad_label = next((name for name in frame.columns.tolist() if type(name) not in (str, int)), None)
    if bad_label is not None:
        return f"the column {bad_label!r} has a {type_name(bad_label)} as its name", "rename it to a str"
    if frame.attrs:
        return "its .attrs would be lost", "clear them with frame.attrs = {}, or write them as .json"
    series = {f"column {name!r}": frame[name] for name in frame.columns if _is_unique(frame, name)}
    for label, values in {"index": frame.index, **series}.items():
        if values.dtype == object and (bad_type := _type_beside_str(values)):
            return f"the {label} holds a {bad_type} among objects", HINT
    return None if frame.columns.is_unique else ("two columns have the same name", "rename one of them")


def _axis_problem(pandas: Any, axis: pd.Index, label: str) -> tuple[str, str] | None:
    if isinstance(axis, pandas.MultiIndex):
        return f"its {label} has several levels", "flatten it first (reset_index, or join the names)"
    if type(axis.name) not in (str, int, type(None)):
        return f"the {label} is named {axis.name!r}", "give it a str as a name"
    return None


def _type_beside_str(values: Iterable[object]) -> str | None:
    return next((type_name(value) for value in values if type(value) is not str), None)


def _is_unique(frame: pd.DataFrame, name: object) -> bool:
    return bool((frame.columns == name).sum() == 1)


def _axis_metadata(pandas: Any, axis: pd.Index) -> dict[str, Any]:
    if type(axis) is pandas.RangeIndex:
        return {"range": [axis.start, axis.stop, axis.step], "name": axis.name}
    return {"dtype": str(axis.dtype), "name": axis.name}


def _decode(pandas: Any, data: bytes, meta: Mapping[str, Any]) -> pd.DataFrame:
    index, column_labels = meta["index"], meta["labels"]
    dtypes = [*([index["dtype"]] if "dtype" in index else []), *meta["dtypes"]]
    if dtypes:
        raw = pandas.read_csv(
            io.StringIO(data.decode(), newline=""),
            header=0,
            names=range(len(dtypes)),
            index_col=False,
            # Numbers are parsed by astype below: read_csv's own parser is not exact in every version.
            dtype={i: dtype if dtype in ("bool", "boolean") else "str" for i, dtype in enumerate(dtypes)},
            keep_default_na=False,
            na_values={i: [""] for i in meta["missing"]},
            skip_blank_lines=False,
        )
        columns = [raw[i].astype(dtype) for i, dtype in enumerate(dtypes)]
    else:
        columns = []
    if "dtype" in index:
        rows = pandas.Index(columns.pop(0).array, dtype=index["dtype"], name=index["name"])
    else:
        rows = pandas.RangeIndex(*index["range"], name=index["name"])
    frame = pandas.DataFrame({i: column.array for i, column in enumerate(columns)}, index=rows)
    if "range" in column_labels:
        frame.columns = pandas.RangeIndex(*column_labels["range"], name=column_labels["name"])
    else:
        frame.columns = pandas.Index(meta["columns"], dtype=column_labels["dtype"], name=column_labels["name"])
    result: pd.DataFrame = frame
    return result
