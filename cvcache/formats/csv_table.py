"""A pandas DataFrame as CSV (``.csv``): readable anywhere, and identical when read back here.

What CSV itself forgets (dtypes, which column is the index, types of labels, which columns have missing
values) is kept in the item's metadata.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cvcache.formats.messages import check_frame, damage, need, refusal, stored_bytes, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from cvcache.formats.item_path import ItemPath

WAY_OUT = "convert the column with .astype(...), or write the table as .parquet"


def write(item: ItemPath, obj: Any, /) -> dict[str, Any]:
    """Write a table with plain columns; one PUT. It is read back and compared before that.

    Raises
    ------
    NotReproducible
        `obj` is no DataFrame, has several levels of index or columns, or would come back changed.
    """
    data, meta = encode(item, obj)
    item.put(data)
    return meta


def encode(item: ItemPath, obj: Any) -> tuple[bytes, dict[str, Any]]:
    """Return a table as CSV, and the metadata that bring it back."""
    pandas = need("pandas", "tables", item)
    check_frame(item, obj)
    problem = _problem(pandas, obj)
    if problem:
        raise refusal(item, *problem)
    ranged = type(obj.index) is pandas.RangeIndex
    data = _text(item, obj)
    parts = ([] if ranged else [obj.index]) + [obj.iloc[:, i] for i in range(obj.shape[1])]
    meta = {
        "kind": "table",
        "rows": len(obj),
        "columns": obj.columns.tolist(),
        "dtypes": [str(dtype) for dtype in obj.dtypes],
        "index": _axis(pandas, obj.index),
        "labels": _axis(pandas, obj.columns),
        "missing": [i for i, part in enumerate(parts) if bool(part.isna().any())],
        "bytes": len(data),
    }
    try:
        pandas.testing.assert_frame_equal(obj, _decode(pandas, data, meta), check_exact=True)
    except (AssertionError, ValueError, TypeError, NotImplementedError) as error:
        raise refusal(item, f"it would come back changed: {' '.join(str(error).split())}", WAY_OUT) from error
    return data, meta


def read(item: ItemPath, /) -> pd.DataFrame:
    """Return the table; one GET. One that cvcache did not write is read with pandas' defaults.

    Raises
    ------
    ItemDamaged
        The bytes are not the table its metadata tells of.
    """
    pandas = need("pandas", "tables", item)
    data = item.get()
    try:
        if "dtypes" in item.meta:
            return _decode(pandas, data, item.meta)
        frame: pd.DataFrame = pandas.read_csv(io.BytesIO(data))
    except (ValueError, TypeError) as error:
        raise damage(item, error) from error
    return frame


def describe(item: ItemPath) -> dict[str, Any]:
    """Return kind, rows, columns (an index counts as one) and bytes; one STAT and one GET of everything."""
    pandas = need("pandas", "tables", item)
    try:
        frame = pandas.read_csv(io.BytesIO(item.get()))
    except pandas.errors.EmptyDataError:
        frame = pandas.DataFrame()
    except ValueError as error:
        raise damage(item, error) from error
    return {
        "kind": "table",
        "rows": len(frame),
        "columns": [str(name) for name in frame.columns],
        "bytes": stored_bytes(item),
    }


def _text(item: ItemPath, frame: pd.DataFrame) -> bytes:
    import pandas as pd

    text: str = frame.to_csv(index=type(frame.index) is not pd.RangeIndex, lineterminator="\n")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise refusal(item, str(error), WAY_OUT) from error


def _problem(pandas: Any, frame: pd.DataFrame) -> tuple[str, str] | None:
    """Return why CSV with metadata cannot keep `frame`, and the way out; None if nothing is known against it."""
    for axis, what in ((frame.index, "index"), (frame.columns, "columns")):
        if isinstance(axis, pandas.MultiIndex):
            return f"its {what} has several levels", "flatten it first (reset_index, or join the names)"
        if type(axis.name) not in (str, int, type(None)):
            return f"the {what} is named {axis.name!r}", "give it a str as a name"
    label = next((label for label in frame.columns.tolist() if type(label) not in (str, int)), None)
    if label is not None:
        return f"the column {label!r} has a {type_name(label)} as its name", "rename it to a str"
    if frame.attrs:
        return "its .attrs would be lost", "clear them with frame.attrs = {}, or write them as .json"
    parts = {"index": frame.index, **{f"column {name!r}": frame[name] for name in frame.columns if _once(frame, name)}}
    for what, part in parts.items():
        odd = next((x for x in part if type(x) is not str), None) if part.dtype == object else None
        if odd is not None or (part.dtype == object and part.isna().any()):
            return f"the {what} holds a {type_name(odd)} among objects", WAY_OUT
    return None if frame.columns.is_unique else ("two columns have the same name", "rename one of them")


def _once(frame: pd.DataFrame, name: object) -> bool:
    return bool((frame.columns == name).sum() == 1)


def _axis(pandas: Any, axis: pd.Index) -> dict[str, Any]:
    if type(axis) is pandas.RangeIndex:
        return {"range": [axis.start, axis.stop, axis.step], "name": axis.name}
    return {"dtype": str(axis.dtype), "name": axis.name}


def _decode(pandas: Any, data: bytes, meta: Mapping[str, Any]) -> pd.DataFrame:
    index, labels = meta["index"], meta["labels"]
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
        parts = [raw[i].astype(dtype) for i, dtype in enumerate(dtypes)]
    else:
        parts = []
    if "dtype" in index:
        rows = pandas.Index(parts.pop(0).array, dtype=index["dtype"], name=index["name"])
    else:
        rows = pandas.RangeIndex(*index["range"], name=index["name"])
    frame = pandas.DataFrame({i: part.array for i, part in enumerate(parts)}, index=rows)
    if "range" in labels:
        frame.columns = pandas.RangeIndex(*labels["range"], name=labels["name"])
    else:
        frame.columns = pandas.Index(meta["columns"], dtype=labels["dtype"], name=labels["name"])
    result: pd.DataFrame = frame
    return result
