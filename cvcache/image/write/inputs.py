"""Inputs of a write: conversion to a numpy or dask array, and the geometry inherited from other images."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.errors import UnkeyableValue, UsageError
from cvcache.formats import type_name
from cvcache.image.pyramid import AXIS_TYPES
from cvcache.image.read import image_geometry
from cvcache.image.write.options import is_dask_array, parse_axes, parse_numbers

if TYPE_CHECKING:
    from cvcache.formats import ItemWrite

logger = logging.getLogger("cvcache")

INHERITED_FIELDS = ("scale", "translation", "unit")
DIMENSION_AXES = {"time": "t", "channel": "c", "channels": "c"}
"""Name of a dimension in xarray -> axis."""
NUMBER_KINDS, TEXT_KINDS = ("i", "u", "f"), ("U", "O")
"""Kinds of numpy's dtypes."""
UNNAMED_DIMENSION = re.compile(r"dim_\d+")
GRID_TOLERANCE = 1e-3
"""Tolerance, in pixels, for coordinates on an even grid."""


def as_array(obj: object) -> tuple[object, dict[str, Any]]:
    """Return `obj` as a numpy or dask array, and its own axes, scale and unit if it has them.

    A zarr array becomes a dask array, one task a chunk or shard. An object with ``dims``, ``coords`` and ``data``
    (xarray) has its dims as axes, and the step of its coordinates as scale. Any other object is returned unchanged.
    """
    if type_name(obj).startswith("zarr.") and hasattr(obj, "shape") and hasattr(obj, "chunks"):
        import dask.array as da

        names = getattr(getattr(obj, "metadata", None), "dimension_names", None) or ()
        geometry = {"axes": tuple(names)} if names and all(name in AXIS_TYPES for name in names) else {}
        return da.from_array(obj, chunks=getattr(obj, "shards", None) or obj.chunks, name=False), geometry
    if all(hasattr(obj, name) for name in ("dims", "coords", "data")) and not is_dask_array(obj):
        return _from_xarray(obj)
    return obj, {}


def _from_xarray(obj: Any) -> tuple[object, dict[str, Any]]:
    dims = [str(dim) for dim in obj.dims]
    axes = tuple(DIMENSION_AXES.get(dim.lower(), dim.lower()) for dim in dims)
    if all(UNNAMED_DIMENSION.fullmatch(dim) for dim in dims):
        return obj.data, {}
    if not set(axes) <= AXIS_TYPES.keys():
        return obj.data, {"dims": dims}
    scale: dict[str, float] = {}
    translation: dict[str, float] = {}
    unit: dict[str, str] = {}
    geometry: dict[str, Any] = {"axes": axes, "scale": scale, "translation": translation, "unit": unit}
    for axis, dim in zip(axes, dims, strict=True):
        coordinate = obj.coords.get(dim)
        values = [] if coordinate is None else list(coordinate.values)
        kind = coordinate.dtype.kind if values else None
        if kind in NUMBER_KINDS:
            scale[axis], translation[axis] = _even_step(axis, list(map(float, values))), float(values[0])
            if unit_name := coordinate.attrs.get("units"):
                unit[axis] = str(unit_name)
        elif kind in TEXT_KINDS and axis == "c":
            geometry["channels"] = list(map(str, values))
    return obj.data, geometry


def _even_step(axis: str, values: Sequence[float]) -> float:
    """Return the distance of coordinates, or raise `UsageError` unless they are even."""
    step = (values[-1] - values[0]) / (len(values) - 1) if len(values) > 1 else 1.0
    tolerance = GRID_TOLERANCE * abs(step)
    if not all(math.isclose(value, values[0] + i * step, abs_tol=tolerance) for i, value in enumerate(values)):
        msg = f"the coordinates along {axis!r} are not even; OME-Zarr has one scale an axis; drop or resample them"
        raise UsageError(msg)
    return step or 1.0


def lineage_digest(array: object) -> str | None:
    """Return a digest of the graph and its sources that is equal in every run; None if there is none.

    Files that tasks get by name are included with size and time, so a changed file is another source.
    """
    if not is_dask_array(array):
        return None
    from cvcache.keys import digest, lineage

    try:
        return digest(lineage(array))
    except UnkeyableValue as error:
        logger.info("a crash of this write would start over: %s", error)
        return None


def find_geometry(item: ItemWrite, array: Any, own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return axes, scale, translation, unit and channels of an image: as given, its own, or those of an input.

    Parameters
    ----------
    item : ItemWrite
    array : numpy.ndarray or dask.array.Array
    own, given : mapping
        From `as_array`, and the options; None for what is not given.

    Raises
    ------
    UsageError
        An option is not valid, or the dimensions have other names than axes.
    """
    parsed = {
        **given,
        "axes": parse_axes(given["axes"]),
        "scale": parse_numbers("scale", given["scale"]),
        "translation": parse_numbers("translation", given["translation"]),
    }
    if parsed["axes"] is None and "dims" in own:
        msg = f"{item.url} was not written: its dimensions {own['dims']} are none of tczyx; say axes="
        raise UsageError(msg)
    known = {**own, **{name: value for name, value in parsed.items() if value is not None}}
    if all(known.get(name) is not None for name in ("axes", *INHERITED_FIELDS)):
        return known
    return {**_inherited_geometry(item, array, known.get("axes")), **known}


def _inherited_geometry(item: ItemWrite, array: Any, axes: Sequence[str] | None) -> dict[str, Any]:
    """Return axes, scale, translation, unit and channels inherited from an input of the same shape; empty without one.

    Candidates are the images that the array was read from, or, if these are not known, those in the node's key; time
    and channels of an input may have been dropped. If several candidates match and differ, none is used. An array that
    was flipped, rolled or transposed to the same shape inherits too.
    """
    sources = _source_geometries(array)
    key_geometries = [image_geometry(meta) if "scales" in meta else meta for meta in item.inputs if "scale" in meta]
    # a plain array, such as one with the tiles of an image, has no geometry
    candidates = [source for source in sources if source["placed"]] or key_geometries
    matches = _matching_geometries(candidates, array, axes) or _matching_geometries(sources, array, axes)
    geometries = {repr([match[name] for name in ("axes", *INHERITED_FIELDS)]) for match in matches}
    if len(geometries) > 1:
        logger.warning(
            "%s: its inputs differ in scale or position, so it takes neither; say scale=, translation= and unit=",
            item.url,
        )
        return {}
    return matches[0] if matches else {}


def _matching_geometries(
    candidates: Iterable[Mapping[str, Any]], array: Any, axes: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Return the geometry that `array` inherits from each matching candidate, without duplicates."""
    matches: list[dict[str, Any]] = []
    for candidate in candidates:
        match = _match_geometry(candidate, tuple(array.shape), axes)
        if match and match not in matches:
            matches.append(match)
    return matches


def _source_geometries(array: Any) -> list[Mapping[str, Any]]:
    """Return the geometry of each image, level or part of one that a dask array is read from."""
    if not is_dask_array(array):
        return []
    from cvcache.keys import lineage_sources

    return [source.meta for source in lineage_sources(array) if hasattr(source, "window")]


def _match_geometry(
    candidate: Mapping[str, Any], shape: tuple[int, ...], axes: Sequence[str] | None
) -> dict[str, Any] | None:
    """Return the geometry that an image of `shape` inherits from `candidate`; None if they do not match."""
    names, extents = candidate["axes"], candidate["shape"]
    for dropped in ((), ("c",), ("t",), ("t", "c")):
        kept = [i for i, name in enumerate(names) if name not in dropped]
        kept_axes = [names[i] for i in kept]
        if tuple(extents[i] for i in kept) == shape and (axes is None or kept_axes == list(axes)):
            return _geometry_along(candidate, kept) if set(kept_axes) <= AXIS_TYPES.keys() else None
    return None


def _geometry_along(geometry: Mapping[str, Any], indices: Sequence[int]) -> dict[str, Any]:
    """Return the geometry along some of the axes."""
    axes = tuple(geometry["axes"][i] for i in indices)
    channels = geometry.get("channels") if "c" in axes else None
    return {
        "axes": axes,
        **{name: tuple(geometry[name][i] for i in indices) for name in ("scale", "translation")},
        "unit": {name: unit for name, unit in geometry["unit"].items() if name in axes},
        **({"channels": channels} if channels else {}),
    }
