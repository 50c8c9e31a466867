"""Equality of values as a user sees it: type, dtype, shape, order, index and key types, at every depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvcache.formats import type_name


def materialize(value: Any) -> Any:
    """Return a lazy value as a value in memory: a dask array computed, a lazy mapping as a dict."""
    if hasattr(value, "__dask_graph__"):
        return value.compute()
    return dict(value) if isinstance(value, Mapping) and not isinstance(value, dict) else value


def values_equal(a: Any, b: Any) -> bool:
    """Whether `a` and `b` are equal in type and content; NaN equals NaN, and 0.0 differs from -0.0.

    Compares arrays, dask arrays (with their chunks), tables, and dicts and lists of them; other values by ``==``,
    floats by their ``repr``.
    """
    if type(a) is not type(b):
        return False
    kind = type_name(a)
    if hasattr(a, "__dask_graph__"):
        return (a.dtype, a.chunks) == (b.dtype, b.chunks) and values_equal(a.compute(), b.compute())
    if kind == "numpy.ndarray":
        return _same_array(a, b)
    if kind.startswith("pandas.") and hasattr(a, "columns"):
        from cvcache.formats import dataframe_difference

        return not dataframe_difference(a, b)
    if kind == "pyarrow.lib.Table":
        return bool(a.schema.equals(b.schema, check_metadata=True)) and repr(a.to_pydict()) == repr(b.to_pydict())
    if isinstance(a, Mapping):
        names = [(type(key), key) for key in a] == [(type(key), key) for key in b]
        return names and all(values_equal(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(values_equal, a, b))
    return repr(a) == repr(b) if isinstance(a, (float, complex)) else bool(a == b)


def _same_array(a: Any, b: Any) -> bool:
    import numpy as np

    try:
        np.testing.assert_array_equal(a, b, strict=True)
    except AssertionError:
        return False
    floats = a.dtype.kind == "f" and a.size
    return not floats or bool((np.signbit(a) == np.signbit(b))[~np.isnan(a)].all())
