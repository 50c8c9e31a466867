"""The canonical form of pandas' values: content, dtype, index and names, exactly."""

from __future__ import annotations

from typing import Any

from cvcache.keys.canonical import Walk
from cvcache.keys.digest import CanonicalJson

__all__ = ["canonical_table"]


def canonical_table(walk: Walk, value: Any) -> CanonicalJson:
    """Return the form of a table, column, index, array, scalar or dtype; None for anything else of pandas'.

    What derives from one of them elsewhere, as a GeoDataFrame does, has something added and no form here.
    """
    import pandas as pd

    kind = type(value)
    if value is pd.NaT or value is pd.NA:
        return {"$pandas": str(value)}
    if kind.__module__.partition(".")[0] != "pandas":
        return None
    if kind is pd.DataFrame:
        columns: list[CanonicalJson] = [_array(walk, value.iloc[:, i].array, f"[{i}]") for i in range(value.shape[1])]
        rows: CanonicalJson = len(value)
        frame: dict[str, CanonicalJson] = {
            "$frame": columns,
            "rows": rows,
            "columns": _index(walk, value.columns, ".columns"),
        }
        return {**frame, "index": _index(walk, value.index, ".index"), **_attrs(walk, value)}
    if kind is pd.Series:
        series: dict[str, CanonicalJson] = {
            "$series": _array(walk, value.array),
            "name": walk.by_text(value.name, ".name"),
        }
        return {**series, "index": _index(walk, value.index, ".index"), **_attrs(walk, value)}
    if isinstance(value, pd.Index):
        return _index(walk, value)
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return _array(walk, value)
    if isinstance(value, pd.api.extensions.ExtensionDtype):
        return {"$dtype": _dtype(walk, value)}
    return _scalar(walk, value, pd)


def _scalar(walk: Walk, value: Any, pd: Any) -> CanonicalJson:
    kind = type(value)
    if kind is pd.Timestamp:
        zone = str(getattr(value.tzinfo, "key", value.tzinfo or ""))
        return {"$timestamp": value.isoformat(), "unit": value.unit, "zone": zone, "fold": value.fold}
    if kind is pd.Timedelta:
        return {"$timedelta": value.isoformat(), "unit": value.unit}
    if kind is pd.Period:
        return {"$period": value.ordinal, "freq": value.freqstr}
    if kind is pd.Interval:
        return {"$interval": [walk.form(value.left), walk.form(value.right)], "closed": value.closed}
    return None


def _attrs(walk: Walk, value: Any) -> dict[str, CanonicalJson]:
    return {"attrs": walk.form(value.attrs, ".attrs")} if value.attrs else {}


def _dtype(walk: Walk, dtype: Any) -> CanonicalJson:
    """Return the form of a dtype; that of categories and of strings shows only a part of itself in its name."""
    if hasattr(dtype, "categories"):
        return ["category", None if dtype.categories is None else _index(walk, dtype.categories), dtype.ordered]
    return repr(dtype) if hasattr(dtype, "na_value") and hasattr(dtype, "storage") else str(dtype)


def _index(walk: Walk, index: Any, step: str = "") -> CanonicalJson:
    """Return the form of the labels of an axis."""
    import pandas as pd

    names: CanonicalJson = walk.by_text(list(index.names), f"{step}.names")
    kind = type(index).__name__
    if isinstance(index, pd.RangeIndex):
        return {"$index": [index.start, index.stop, index.step], "kind": kind, "names": names}
    if isinstance(index, pd.MultiIndex):
        levels: list[CanonicalJson] = [
            _array(walk, index.get_level_values(i).array, f"{step}[{i}]") for i in range(index.nlevels)
        ]
        return {"$index": levels, "kind": kind, "names": names}
    more: dict[str, CanonicalJson] = {"freq": str(index.freqstr)} if getattr(index, "freq", None) is not None else {}
    return {"$index": _array(walk, index.array, step), "kind": kind, "names": names, **more}


def _array(walk: Walk, array: Any, step: str = "") -> CanonicalJson:
    """Return the form of a column: numpy's values as they are, categories by number, others one by one."""
    import pandas as pd

    dtype = array.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return {"$column": walk.form(array.codes, step), "dtype": _dtype(walk, dtype)}
    if isinstance(array, pd.arrays.NumpyExtensionArray) and dtype.numpy_dtype.kind != "O":
        return walk.form(array.to_numpy(), step)
    if dtype.kind in "mM" and hasattr(array, "asi8"):
        return {"$column": walk.form(array.asi8, step), "dtype": _dtype(walk, dtype)}
    return {"$column": walk.by_text(list(array), step), "dtype": _dtype(walk, dtype)}
