"""Canonical JSON of xarray objects: names, dimensions, data, coordinates and units; no other attributes."""

from __future__ import annotations

from typing import Any

from cvcache.keys.canonical import CanonicalEncoder
from cvcache.keys.digest import CanonicalJson

__all__ = ["canonical_xarray"]


def canonical_xarray(encoder: CanonicalEncoder, value: Any) -> CanonicalJson:
    """Return the JSON of a DataArray, Dataset or Variable; None for other values of xarray."""
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
    return {"$xarray": encoder.encode(parts), "type": kind.__name__}


def _coords(value: Any) -> dict[Any, Any]:
    return {name: _parts(part.variable) for name, part in value.coords.items()}


def _parts(value: Any) -> dict[str, Any]:
    """Return dimensions and data of a variable; strings in an object array as a list."""
    data = value.data
    texts = data.dtype.kind == "O" and hasattr(data, "tolist")
    units = {"units": value.attrs["units"]} if value.attrs.get("units") else {}  # they become metadata of an image
    return {"dims": list(value.dims), "data": (data.shape, data.ravel().tolist()) if texts else data, **units}
