"""Images of rank 1 to 5, numpy or dask, as OME-Zarr 0.5 with a pyramid (``.ome.zarr``); reads 0.4 as well."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from cvcache.errors import ItemDamaged, UsageError
from cvcache.formats import ome_describe
from cvcache.formats.common import refusal, type_name
from cvcache.formats.ome_metadata import ome_metadata, omero_metadata
from cvcache.pyramid import (
    check_axes,
    default_axes,
    per_axis,
    plan_levels,
    storage_axes,
)

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from cvcache.formats.place import Place
    from cvcache.formats.pyramid_writer import Plan, Tally

    Array = np.ndarray | da.Array

MOST_AXES = 5
ITEMSIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}


def write(
    place: Place,
    obj: object,
    /,
    *,
    axes: Sequence[str] | None = None,
    scale: Sequence[float] | Mapping[str, float] | None = None,
    translation: Sequence[float] | Mapping[str, float] | None = None,
    unit: str | Mapping[str, str] | None = None,
    levels: int | None = None,
    chunks: Sequence[int] | None = None,
    kind: str = "image",
    channels: Sequence[str | Mapping[str, Any]] | None = None,
    contrast: Sequence[float] | Sequence[Sequence[float]] | None = None,
) -> dict[str, Any]:
    """Write an image and its pyramid; a dask array is computed meanwhile, each block once.

    Parameters
    ----------
    place : Place
    obj : numpy.ndarray or dask.array.Array
        Of any integer, float, complex or bool dtype; axes in the order t, c, z, y, x as far as present.
    axes : sequence of str, optional
        One letter of ``tczyx`` per dimension; by default the last ones of it.
    scale, translation : sequence or mapping of float, optional
        Voxel size, and position of the first voxel's centre: one per axis, one per axis of space, or by
        axis name; 1 and 0 if not given.
    unit : str or mapping, optional
        Of the axes of space, or by axis name; ``um`` and the like become the long names of OME-Zarr.
    levels : int, optional
        How many; by default until the largest extent in space is at most 256 pixels.
    chunks : sequence of int, optional
        One per dimension; by default about 2 MiB with at most 16 planes.
    kind : str
        "image": a lower level is the mean of the one above, rounded to the dtype; "labels" (integers or
        bool): it is every second pixel.
    channels : sequence of str or mapping, optional
        A name per channel, or fields of OME-Zarr's omero channel.
    contrast : (low, high) or sequence of them, optional
        What to show as black and as full colour, for all channels or for each; by default the range of
        the last level.

    Raises
    ------
    NotReproducible
        `obj` is no such array.
    UsageError
        Options that do not fit the array.

    Notes
    -----
    One PUT per chunk of each level, one per level, and one for the group, which comes last.
    """
    checked = _checked(place, obj, kind)
    names = check_axes(axes or default_axes(checked.ndim), checked.ndim)
    _checked_units(unit, names)
    full, added = storage_axes(names)
    image = checked[tuple(None if i in added else slice(None) for i in range(len(full)))]
    if chunks is not None and len(chunks) == len(names):
        chunks = tuple({**dict.fromkeys(full, 1), **dict(zip(names, chunks, strict=True))}[name] for name in full)
    sizes = dict(zip(names, per_axis(scale, names, 1.0, "scale"), strict=True))
    origin = dict(zip(names, per_axis(translation, names, 0.0, "translation"), strict=True))
    pyramid = plan_levels(
        image.shape,
        full,
        checked.dtype.itemsize,
        scale=[sizes.get(name, 1.0) for name in full],
        translation=[origin.get(name, 0.0) for name in full],
        levels=levels,
        chunks=chunks,
    )
    count = image.shape[full.index("c")] if "c" in full else 1
    shown = _channels(channels, count)
    windows = _windows(contrast, count)
    plan = _plan(place, image, full, pyramid, labels=kind == "labels")
    _share(place, image)
    written = [_put_json(place, f"{path}/zarr.json", doc) for path, doc in zip(plan.paths, plan.documents, strict=True)]
    tally = _write_chunks(place, plan, image)
    windows = windows or _measured(tally, count)
    omero = None
    if kind == "image" and checked.dtype.kind != "c":
        omero = omero_metadata(shown, windows, _limits(checked.dtype))
    units = {name: unit for name in names if name in "zyx"} if isinstance(unit, str) else unit
    attributes = {
        "ome": ome_metadata(place.name.partition(".")[0], full, pyramid, units=units, kind=kind, omero=omero),
        "cvcache": ome_describe.own_attributes(checked, added),
    }
    written.append(_put_json(place, "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    meta = ome_describe.metadata(attributes, plan.documents)
    return {**meta, "objects": tally.objects + len(written), "bytes": tally.bytes + sum(written)}


def read(place: Place, /, *, level: int = 0) -> np.ndarray | da.Array:
    """Return one level: a dask array if one was written (level 0 with its chunks), else a numpy array.

    Parameters
    ----------
    place : Place
    level : int
        0 is the image itself; -1 the coarsest.

    Raises
    ------
    ItemDamaged
        A chunk or the metadata is missing; from a dask array when it is computed.
    UsageError
        There is no such level.

    Notes
    -----
    One GET, two where the item's metadata is not known, one more per chunk used. What cvcache did not
    write comes back as a dask array, and its missing chunks are empty, as OME-Zarr has it.
    """
    from cvcache.formats.zarr_store import open_array

    meta = place.meta if "stored_as" in place.meta else ome_describe.look(place)
    if not -meta["levels"] <= level < meta["levels"]:
        msg = f"{place.url} has no level {level}, only 0 to {meta['levels'] - 1}"
        raise UsageError(msg)
    level %= meta["levels"]
    stored = open_array(place, meta["paths"][level], complete=meta["complete"])
    index = tuple(0 if i in meta["added"] else slice(None) for i in range(stored.ndim))
    if meta["stored_as"] == "numpy":
        pixels = cast("np.ndarray", stored[...])
        return pixels[index].astype(meta["dtype"], copy=False)
    import dask.array as da
    import numpy as np

    empty = np.empty((0,) * stored.ndim, dtype=stored.dtype)
    # Unnamed for dask: the same URL may hold another result later, and equal names would mix the two.
    lazy = da.from_array(stored, chunks=stored.shards or stored.chunks, name=False, meta=empty)[index]
    if level == 0 and meta.get("source_chunks"):
        lazy = lazy.rechunk(ome_describe.unpack_chunks(meta["source_chunks"]), method="tasks")
    return cast("da.Array", lazy.astype(meta["dtype"], copy=False))


def describe(place: Place) -> dict[str, Any]:
    """Return the metadata of an OME-Zarr, by whomever; two GET and one more per level, and one LIST of everything.

    Raises
    ------
    ItemDamaged
        There is no multiscale image.
    """
    meta = ome_describe.look(place)
    sizes = [info.size for info in place.find().values()]
    return {**meta, "objects": len(sizes), "bytes": sum(sizes)}


def _checked(place: Place, obj: object, kind: str) -> Array:
    """Return `obj` if it is an array that OME-Zarr brings back as it is."""
    import math

    import numpy as np

    if not _is_lazy(obj) and type(obj) is not np.ndarray:
        way_out = "pass numpy.asarray(obj) or a dask array"
        raise refusal(place, f"it is a {type_name(obj)}, not a numpy.ndarray or dask array", way_out)
    array = cast("Array", obj)
    if kind not in ("image", "labels"):
        msg = f"kind={kind!r} is neither 'image' nor 'labels'"
        raise UsageError(msg)
    if array.dtype.itemsize not in ITEMSIZES.get(array.dtype.kind, ()):
        raise refusal(place, f"zarr has no portable form for {array.dtype!r}", "convert it with .astype(...)")
    if kind == "labels" and array.dtype.kind not in "biu":
        raise refusal(place, f"labels are integers, not {array.dtype}", "use .astype('int32'), or kind='image'")
    if array.ndim == 0:
        raise refusal(place, "a single value is no image", "write it as .json or .npy")
    if any(math.isnan(extent) for extent in array.shape):
        raise refusal(place, "its shape is not known yet", "call x.compute_chunk_sizes() first")
    if 0 in array.shape or array.ndim > MOST_AXES:
        raise refusal(place, f"shape {array.shape} is no image of 1 to 5 axes", "write it as .npy")
    sample = getattr(array, "_meta", array)
    if type(sample) is not np.ndarray:
        raise refusal(place, f"its blocks are {type_name(sample)}", "convert them with x.map_blocks(numpy.asarray)")
    return array


def _is_lazy(obj: object) -> TypeGuard[da.Array]:
    # By name: dask takes long to import, and who passes an array of it has done so.
    return type_name(obj) == "dask.array.core.Array"


def _checked_units(unit: str | Mapping[str, str] | None, axes: Sequence[str]) -> None:
    unknown = [name for name in unit if name not in axes] if isinstance(unit, Mapping) else []
    if unknown:
        msg = f"unit names the axes {unknown}, the image has {list(axes)}"
        raise UsageError(msg)


def _plan(place: Place, image: Array, axes: Sequence[str], pyramid: Sequence[Any], *, labels: bool) -> Plan:
    from cvcache.formats.pyramid_writer import Plan
    from cvcache.formats.zarr_store import array_document

    native = image.dtype.newbyteorder("=")
    return Plan(
        place=place,
        dtype=str(image.dtype),
        levels=tuple(pyramid),
        documents=tuple(array_document(level.shape, level.chunks, native, axes) for level in pyramid),
        paths=tuple(str(n) for n in range(len(pyramid))),
        labels=labels,
        channel_axis=list(axes).index("c") if "c" in axes else None,
    )


def _share(place: Place, image: Array) -> None:
    """Announce that other processes will write parts of the item, where they will."""
    from cvcache.formats.pyramid_writer import needs_share

    if _is_lazy(image) and needs_share(place, image):
        place.share()


def _put_json(place: Place, key: str, document: Mapping[str, Any]) -> int:
    data = json.dumps(document, indent=2).encode()
    place.put(data, key)
    return len(data)


def _write_chunks(place: Place, plan: Plan, image: Array) -> Tally:
    import dask.array as da
    import numpy as np

    from cvcache.formats.pyramid_writer import write_pyramid

    if isinstance(image, np.ndarray):
        tally = write_pyramid(plan, da.from_array(image, chunks=plan.unit(0), name=False), scheduler="threads")
    else:
        tally = write_pyramid(plan, image)
    if tally.objects != plan.chunk_count:
        msg = f"{place.url} is incomplete: {tally.objects} of {plan.chunk_count} chunks were written"
        raise ItemDamaged(msg)
    return tally


def _channels(channels: Sequence[str | Mapping[str, Any]] | None, count: int) -> Sequence[str | Mapping[str, Any]]:
    if channels is None:
        return [str(i) for i in range(count)]
    if isinstance(channels, str) or len(channels) != count:
        msg = f"channels={channels!r} must be a list of {count}, one per channel"
        raise UsageError(msg)
    return channels


def _windows(contrast: Any, count: int) -> list[tuple[float, float]]:
    if contrast is None:
        return []
    pairs = list(contrast) if any(isinstance(part, Sequence) for part in contrast) else [contrast] * count
    if len(pairs) != count or {len(pair) for pair in pairs} != {2}:
        msg = f"contrast={contrast!r} must be (low, high), or a list of {count} of them, one per channel"
        raise UsageError(msg)
    return [(low, high) for low, high in pairs]


def _measured(tally: Tally, count: int) -> list[tuple[float, float]]:
    found = (tally.limits.get(i, (0, 1)) for i in range(count))
    return [
        (int(low), int(high)) if isinstance(low, bool) else (low, high if high > low else low + 1)
        for low, high in found
    ]


def _limits(dtype: np.dtype) -> tuple[float, float] | None:
    import numpy as np

    if dtype.kind == "f":
        return None
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
