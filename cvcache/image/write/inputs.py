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
from cvcache.image.write.options import is_dask_array

if TYPE_CHECKING:
    from cvcache.formats import ItemWrite

logger = logging.getLogger("cvcache")

INHERITED_FIELDS = ("scale", "translation", "unit")
DIMENSION_AXES = {"time": "t", "channel": "c", "channels": "c"}
"""Name of a dimension in xarray -> axis."""
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
    if not all(axis in AXIS_TYPES for axis in axes):
        return obj.data, {"dims": dims}
    scale, translation, unit = {}, {}, {}
    for axis in axes:
        dim = dims[axes.index(axis)]
        if dim not in obj.coords or obj.coords[dim].dtype.kind not in "iuf":
            continue
        values = [float(value) for value in obj.coords[dim].values]
        step = (values[-1] - values[0]) / (len(values) - 1) if len(values) > 1 else 1.0
        if any(
            not math.isclose(v, values[0] + i * step, abs_tol=GRID_TOLERANCE * abs(step)) for i, v in enumerate(values)
        ):
            msg = f"the coordinates along {axis!r} are not even; OME-Zarr has one scale an axis; drop or resample them"
            raise UsageError(msg)
        scale[axis], translation[axis] = step or 1.0, values[0]
        if unit_name := obj.coords[dim].attrs.get("units"):
            unit[axis] = str(unit_name)
    geometry: dict[str, Any] = {"axes": axes, "scale": scale, "translation": translation, "unit": unit}
    channel = dims[axes.index("c")] if "c" in axes else None
    if channel in obj.coords and obj.coords[channel].dtype.kind in "UO":
        geometry["channels"] = [str(value) for value in obj.coords[channel].values]
    return obj.data, geometry


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


def inherited_geometry(item: ItemWrite, array: Any, axes: Sequence[str] | None) -> dict[str, Any]:
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
    axis_names = list(candidate["axes"])
    indices = list(range(len(axis_names)))
    droppable = {"t", "c"} if tuple(candidate["shape"]) != shape else set()
    for dropped in ([], ["c"], ["t"], ["t", "c"]):
        kept = [i for i in indices if axis_names[i] not in dropped]
        is_same = tuple(candidate["shape"][i] for i in kept) == shape and set(dropped) <= droppable
        if is_same and (axes is None or [axis_names[i] for i in kept] == list(axes)):
            break
    else:
        return None
    if not all(axis_names[i] in AXIS_TYPES for i in kept):
        return None
    geometry = {
        "axes": tuple(axis_names[i] for i in kept),
        "scale": tuple(candidate["scale"][i] for i in kept),
        "translation": tuple(candidate["translation"][i] for i in kept),
        "unit": {name: unit for name, unit in candidate["unit"].items() if name in {axis_names[i] for i in kept}},
    }
    channels = candidate.get("channels") if "c" in geometry["axes"] else None
    return {**geometry, **({"channels": channels} if channels else {})}
