"""Canonical JSON of pandas values: content, dtype, index and names."""

from __future__ import annotations

from typing import Any

from cvcache.keys.canonical import CanonicalEncoder
from cvcache.keys.digest import CanonicalJson

__all__ = ["canonical_table"]


def canonical_table(encoder: CanonicalEncoder, value: Any) -> CanonicalJson:
    """Return the JSON of a table, column, index, array, scalar or dtype; None for other values of pandas.

    A subclass in another package, such as a GeoDataFrame, has more state and gives None.
    """
    import pandas as pd

    kind = type(value)
    if value is pd.NaT or value is pd.NA:
        return {"$pandas": str(value)}
    if kind.__module__.partition(".")[0] != "pandas":
        return None
    if kind is pd.DataFrame:
        columns: list[CanonicalJson] = [
            _encode_array(encoder, value.iloc[:, i].array, f"[{i}]") for i in range(value.shape[1])
        ]
        rows: CanonicalJson = len(value)
        frame: dict[str, CanonicalJson] = {
            "$frame": columns,
            "rows": rows,
            "columns": _encode_index(encoder, value.columns, ".columns"),
        }
        return {**frame, "index": _encode_index(encoder, value.index, ".index"), **_encode_attrs(encoder, value)}
    if kind is pd.Series:
        series: dict[str, CanonicalJson] = {
            "$series": _encode_array(encoder, value.array),
            "name": encoder.encode_paths_as_text(value.name, ".name"),
        }
        return {**series, "index": _encode_index(encoder, value.index, ".index"), **_encode_attrs(encoder, value)}
    if isinstance(value, pd.Index):
        return _encode_index(encoder, value)
    if isinstance(value, pd.api.extensions.ExtensionArray):
        return _encode_array(encoder, value)
    if isinstance(value, pd.api.extensions.ExtensionDtype):
        return {"$dtype": _encode_dtype(encoder, value)}
    return _encode_scalar(encoder, value, pd)


def _encode_scalar(encoder: CanonicalEncoder, value: Any, pd: Any) -> CanonicalJson:
    kind = type(value)
    if kind is pd.Timestamp:
        zone = str(getattr(value.tzinfo, "key", value.tzinfo or ""))
        return {"$timestamp": value.isoformat(), "unit": value.unit, "zone": zone, "fold": value.fold}
    if kind is pd.Timedelta:
        return {"$timedelta": value.isoformat(), "unit": value.unit}
    if kind is pd.Period:
        return {"$period": value.ordinal, "freq": value.freqstr}
    if kind is pd.Interval:
        return {"$interval": [encoder.encode(value.left), encoder.encode(value.right)], "closed": value.closed}
    return None


def _encode_attrs(encoder: CanonicalEncoder, value: Any) -> dict[str, CanonicalJson]:
    return {"attrs": encoder.encode(value.attrs, ".attrs")} if value.attrs else {}


def _encode_dtype(encoder: CanonicalEncoder, dtype: Any) -> CanonicalJson:
    """Return the JSON of a dtype; the name of one with categories or of strings is not enough."""
    if hasattr(dtype, "categories"):
        return [
            "category",
            None if dtype.categories is None else _encode_index(encoder, dtype.categories),
            dtype.ordered,
        ]
    return repr(dtype) if hasattr(dtype, "na_value") and hasattr(dtype, "storage") else str(dtype)


def _encode_index(encoder: CanonicalEncoder, index: Any, accessor: str = "") -> CanonicalJson:
    """Return the JSON of an index."""
    import pandas as pd

    names: CanonicalJson = encoder.encode_paths_as_text(list(index.names), f"{accessor}.names")
    kind = type(index).__name__
    if isinstance(index, pd.RangeIndex):
        return {"$index": [index.start, index.stop, index.step], "kind": kind, "names": names}
    if isinstance(index, pd.MultiIndex):
        levels: list[CanonicalJson] = [
            _encode_array(encoder, index.get_level_values(i).array, f"{accessor}[{i}]") for i in range(index.nlevels)
        ]
        return {"$index": levels, "kind": kind, "names": names}
    freq: dict[str, CanonicalJson] = {"freq": str(index.freqstr)} if getattr(index, "freq", None) is not None else {}
    return {"$index": _encode_array(encoder, index.array, accessor), "kind": kind, "names": names, **freq}


def _encode_array(encoder: CanonicalEncoder, array: Any, accessor: str = "") -> CanonicalJson:
    """Return the JSON of a column: as a numpy array, by the codes of categories, or value by value."""
    import pandas as pd

    dtype = array.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return {"$column": encoder.encode(array.codes, accessor), "dtype": _encode_dtype(encoder, dtype)}
    if isinstance(array, pd.arrays.NumpyExtensionArray) and dtype.numpy_dtype.kind != "O":
        return encoder.encode(array.to_numpy(), accessor)
    if dtype.kind in "mM" and hasattr(array, "asi8"):
        return {"$column": encoder.encode(array.asi8, accessor), "dtype": _encode_dtype(encoder, dtype)}
    return {"$column": encoder.encode_paths_as_text(list(array), accessor), "dtype": _encode_dtype(encoder, dtype)}
