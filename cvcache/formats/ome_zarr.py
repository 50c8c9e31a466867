"""Images of rank 1 to 5, numpy or dask, as OME-Zarr 0.5 with a pyramid (``.ome.zarr``); reads 0.4 as well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from cvcache.errors import ItemDamaged, UsageError
from cvcache.formats import ome_describe
from cvcache.formats.ome_metadata import ome_metadata, omero_metadata
from cvcache.formats.ome_options import (
    check_array,
    check_channels,
    check_chunks,
    check_contrast,
    check_unit,
    dtype_limits,
    is_lazy,
    measured_contrast,
    spread,
)
from cvcache.pyramid import check_axes, default_axes, per_axis, plan_levels, storage_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import dask.array as da
    import numpy as np

    from cvcache.formats.place import Place
    from cvcache.formats.pyramid_writer import Plan, Tally

    Array = np.ndarray | da.Array


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
    checked = check_array(place, obj, kind)
    names = check_axes(axes or default_axes(checked.ndim), checked.ndim)
    units = check_unit(unit, names)
    full, added = storage_axes(names)
    image = checked[tuple(None if i in added else slice(None) for i in range(len(full)))]
    pyramid = plan_levels(
        image.shape,
        full,
        checked.dtype.itemsize,
        scale=spread(per_axis(scale, names, 1.0, "scale"), names, full, 1.0),
        translation=spread(per_axis(translation, names, 0.0, "translation"), names, full, 0.0),
        levels=levels,
        chunks=None if chunks is None else spread(check_chunks(chunks, names), names, full, 1),
    )
    count = image.shape[full.index("c")] if "c" in full else 1
    shown, windows = check_channels(channels, count), check_contrast(contrast, count)
    plan = _plan(place, image, full, pyramid, labels=kind == "labels")
    _share(place, image)
    written = [_put_json(place, f"{path}/zarr.json", doc) for path, doc in zip(plan.paths, plan.documents, strict=True)]
    tally = _write_chunks(place, plan, image)
    omero = None
    if kind == "image" and checked.dtype.kind != "c":
        omero = omero_metadata(shown, windows or measured_contrast(tally, count), dtype_limits(checked.dtype))
    name = place.name.partition(".")[0]
    attributes = {
        "ome": ome_metadata(name, full, pyramid, units=units, kind=kind, omero=omero),
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
    packed = meta.get("source_chunks") if level == 0 else None
    lazy = _lazy(stored, index, ome_describe.unpack_chunks(packed) if packed else None)
    return cast("da.Array", lazy.astype(meta["dtype"], copy=False))


def _lazy(stored: Any, index: tuple[int | slice, ...], source: tuple[tuple[int, ...], ...] | None) -> Any:
    """Return a zarr array as a dask array, without its added axes and in the chunks of the source.

    Where those begin and end at borders of stored chunks each is one task, which reads no more than a
    slice of it asks for. Else each stored chunk is a task, so that none is read twice.
    """
    import dask.array as da
    import numpy as np

    grain = stored.shards or stored.chunks
    rest = iter(source or ())
    wanted = tuple((1,) if i == 0 else next(rest) for i in index) if source else grain
    direct = source is None or ome_describe.aligned(wanted, grain)
    empty = np.empty((0,) * stored.ndim, dtype=stored.dtype)
    # Unnamed for dask: the same URL may hold another result later, and equal names would mix the two.
    lazy: Any = da.from_array(stored, chunks=wanted if direct else grain, name=False, meta=empty)
    return lazy[index] if direct else lazy[index].rechunk(source, method="tasks")


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


def _plan(place: Place, image: Array, axes: Sequence[str], pyramid: Sequence[Any], *, labels: bool) -> Plan:
    import numpy as np

    from cvcache.formats.pyramid_writer import Plan
    from cvcache.formats.zarr_store import array_document

    # OME-Zarr has labels of integers only; what a bool was is known from the group's attributes.
    stored = np.dtype("uint8") if labels and image.dtype == bool else image.dtype.newbyteorder("=")
    return Plan(
        place=place,
        dtype=str(image.dtype),
        stored_dtype=str(stored),
        levels=tuple(pyramid),
        documents=tuple(array_document(level.shape, level.chunks, stored, axes) for level in pyramid),
        paths=tuple(str(n) for n in range(len(pyramid))),
        labels=labels,
        channel_axis=list(axes).index("c") if "c" in axes else None,
    )


def _share(place: Place, image: Array) -> None:
    """Announce that other processes will write parts of the item, where they will."""
    from cvcache.formats.pyramid_writer import needs_share

    if is_lazy(image) and needs_share(place, image):
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
