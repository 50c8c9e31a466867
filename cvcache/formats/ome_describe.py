"""What an OME-Zarr group says of itself, read as plain JSON: 0.4 and 0.5, ours and others'."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.formats.common import damage
from cvcache.pyramid import default_axes

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from cvcache.formats.place import Place


def own_attributes(array: np.ndarray | da.Array, added: Sequence[int]) -> dict[str, Any]:
    """Return what OME-Zarr has no words for and reading needs, kept beside ``ome`` in the group's attributes."""
    chunks = getattr(array, "chunks", None)
    return {
        "stored_as": "numpy" if chunks is None else "dask",
        "dtype": str(array.dtype),
        "added": list(added),
        **({} if chunks is None else {"source_chunks": pack_chunks(chunks)}),
    }


def pack_chunks(chunks: Sequence[Sequence[int]]) -> list[list[list[int]]]:
    """Return dask's chunks with runs counted: per axis a list of [extent, how often]."""
    return [[[int(extent), len(list(run))] for extent, run in itertools.groupby(axis)] for axis in chunks]


def unpack_chunks(packed: Sequence[Sequence[Sequence[int]]]) -> tuple[tuple[int, ...], ...]:
    """Return what was given to `pack_chunks`."""
    return tuple(tuple(extent for extent, count in axis for _ in range(count)) for axis in packed)


def aligned(chunks: Sequence[Sequence[int]], stored: Sequence[int]) -> bool:
    """Whether all borders between dask's `chunks` are borders of the `stored` chunks too."""
    borders = ((border, extent) for axis, extent in zip(chunks, stored, strict=True) for border in _borders(axis))
    return all(border % extent == 0 for border, extent in borders)


def _borders(axis: Sequence[int]) -> list[int]:
    """Return where dask's chunks along one axis meet."""
    return list(itertools.accumulate(axis[:-1]))


def look(place: Place) -> dict[str, Any]:
    """Return the metadata of an image but for its object count and size; one or two GET, and as many per level.

    Raises
    ------
    ItemDamaged
        There is no multiscale image, or no metadata of one of its levels.
    """
    try:
        attributes, name = _group(place)
    except ValueError as error:
        raise damage(place, error) from error
    try:
        ome = attributes.get("ome", attributes)
        paths = [dataset["path"] for dataset in ome["multiscales"][0]["datasets"]]
        documents = [json.loads(place.get(f"{path}/{name}")) for path in paths]
        return metadata(attributes, documents)
    except (LookupError, TypeError, ValueError, FileNotFoundError) as error:
        why = f"no image of OME-Zarr 0.4 or 0.5: {type(error).__name__} {error}"
        raise damage(place, why) from error


def _group(place: Place) -> tuple[Mapping[str, Any], str]:
    """Return the group's attributes, and where an array of the same zarr version keeps its metadata."""
    try:
        return json.loads(place.get("zarr.json")).get("attributes", {}), "zarr.json"
    except FileNotFoundError:
        pass
    try:
        return json.loads(place.get(".zattrs")), ".zarray"
    except FileNotFoundError:
        if place.find():
            raise damage(place, "there is neither zarr.json nor .zattrs") from None
        raise


def metadata(attributes: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metadata of an item from its group's attributes and its arrays' documents."""
    own = attributes.get("cvcache", {})
    ome = attributes.get("ome", attributes)
    multiscale = ome["multiscales"][0]
    shapes = [list(document["shape"]) for document in documents]
    added = list(own.get("added", []))
    keep = [i for i in range(len(shapes[0])) if i not in added]
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in multiscale.get("axes", [])]
    axes = axes or [{"name": name} for name in default_axes(len(shapes[0]))]
    scale, translation = _transform(multiscale, len(shapes[0]))
    meta = {
        "kind": "labels" if "image-label" in ome else "image",
        "shape": [shapes[0][i] for i in keep],
        "dtype": own.get("dtype") or _dtype(documents[0]),
        "axes": [axes[i]["name"] for i in keep],
        "scale": [scale[i] for i in keep],
        "translation": [translation[i] for i in keep],
        "unit": {axis["name"]: axis["unit"] for axis in axes if "unit" in axis},
        "levels": len(documents),
        "shapes": shapes,
        "chunks": [_chunks(document) for document in documents],
        "paths": [dataset["path"] for dataset in multiscale["datasets"]],
        "stored_as": own.get("stored_as", "dask"),
        "added": added,
        "complete": "stored_as" in own,
    }
    if "source_chunks" in own:
        meta["source_chunks"] = own["source_chunks"]
    return {**meta, **_channels(ome.get("omero") or {})}


def _transform(multiscale: Mapping[str, Any], ndim: int) -> tuple[list[float], list[float]]:
    """Return scale and translation of the first level, those of the whole multiscale applied last."""
    scale, translation = [1.0] * ndim, [0.0] * ndim
    for owner in (multiscale["datasets"][0], multiscale):
        for step in owner.get("coordinateTransformations", []):
            if "scale" in step:
                scale = [a * b for a, b in zip(scale, step["scale"], strict=True)]
                translation = [a * b for a, b in zip(translation, step["scale"], strict=True)]
            elif "translation" in step:
                translation = [a + b for a, b in zip(translation, step["translation"], strict=True)]
    return scale, translation


def _dtype(document: Mapping[str, Any]) -> str:
    import numpy as np

    return str(np.dtype(document["data_type"] if "data_type" in document else document["dtype"]))


def _chunks(document: Mapping[str, Any]) -> list[int]:
    grid = document.get("chunk_grid")
    return list(grid["configuration"]["chunk_shape"] if grid else document["chunks"])


def _channels(omero: Mapping[str, Any]) -> dict[str, Any]:
    rows = omero.get("channels", [])
    found: dict[str, Any] = {}
    if rows and all("label" in row for row in rows):
        found["channels"] = [row["label"] for row in rows]
    windows = [row.get("window", {}) for row in rows]
    if rows and all("start" in window and "end" in window for window in windows):
        found["contrast"] = [[window["start"], window["end"]] for window in windows]
    return found
