"""The canonical form of xarray's objects: names, dimensions, data, coordinates, units; no other attributes."""

from __future__ import annotations

from typing import Any

from cvcache.keys.canonical import Walk
from cvcache.keys.digest import CanonicalJson

__all__ = ["canonical_xarray"]


def canonical_xarray(walk: Walk, value: Any) -> CanonicalJson:
    """Return the form of a DataArray, Dataset or Variable; None for anything else of xarray's."""
    import xarray

    kind = type(value)
    if kind is xarray.Dataset:
        parts = {"data": {name: _parts(part) for name, part in value.data_vars.items()}, "coords": _coords(value)}
    elif kind is xarray.DataArray:
        parts = {"name": value.name, **_parts(value), "coords": _coords(value)}
    elif kind in {xarray.Variable, xarray.IndexVariable}:
        parts = _parts(value)
    else:
        return None
    return {"$xarray": walk.form(parts), "type": kind.__name__}


def _coords(value: Any) -> dict[Any, Any]:
    return {name: _parts(part.variable) for name, part in value.coords.items()}


def _parts(value: Any) -> dict[str, Any]:
    """Return dimensions and data of a variable; texts, which numpy keeps as objects, as a list."""
    data = value.data
    texts = data.dtype.kind == "O" and hasattr(data, "tolist")
    units = {"units": value.attrs["units"]} if value.attrs.get("units") else {}  # they end up in an image
    return {"dims": list(value.dims), "data": (data.shape, data.ravel().tolist()) if texts else data, **units}
