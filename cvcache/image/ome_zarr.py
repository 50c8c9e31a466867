"""Images of rank 1 to 5 as OME-Zarr with a pyramid (``.ome.zarr``): 0.5, or 0.4 on request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from cvcache.formats import drawing_thumbnail
from cvcache.image.ome_metadata import group_attributes, group_documents
from cvcache.image.read import (
    StoredLevel,
    as_dask_array,
    build_metadata,
    cvcache_attributes,
    open_level,
    read_image_metadata,
)
from cvcache.image.write import (
    VERSIONS,
    ImageSpec,
    announce_plan,
    as_array,
    check_choice,
    check_image_array,
    check_progress,
    compute_and_write,
    find_geometry,
    parse_int,
    put_array_documents,
    put_json,
    statistics_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import dask.array as da
    import numpy as np

    from cvcache.formats import ItemPath, ItemWrite
    from cvcache.image.write import Plan

    Array = np.ndarray | da.Array


def write(
    item: ItemWrite,
    obj: object,
    /,
    *,
    axes: Sequence[str] | None = None,
    scale: Sequence[float] | Mapping[str, float] | None = None,
    translation: Sequence[float] | Mapping[str, float] | None = None,
    unit: str | Mapping[str, str] | None = None,
    levels: int | None = None,
    factors: int | Sequence[Any] | Mapping[str, int] | None = None,
    downsample: str | None = None,
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | Literal[False] | None = None,
    compressor: object = "blosc",
    version: str = "0.5",
    kind: str = "image",
    channels: Sequence[str | Mapping[str, Any]] | None = None,
    contrast: Sequence[float] | Sequence[Sequence[float]] | None = None,
    layer: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], object] | bool | None = None,
) -> dict[str, Any]:
    """Write an image and its pyramid; a dask array is computed in the same pass, each block once.

    Parameters
    ----------
    item : ItemWrite
    obj : numpy.ndarray, dask.array.Array, zarr.Array or xarray.DataArray
        Of any integer, float, complex or bool dtype; its axes are in the order t, c, z, y, x.
    axes : sequence of str, optional
        One letter of ``tczyx`` per dimension; by default the last ones of it.
    scale, translation : sequence or mapping of float, optional
        Voxel size, and position of the first voxel's centre: one per axis, one per axis of space, or by
        axis name; 1 and 0 if not given.
    unit : str or mapping, optional
        Of the axes of space, or by axis name; ``um`` and the like become the long names of OME-Zarr.
    levels : int, optional
        Number of levels; by default as many as make the largest extent in space at most 256 pixels.
    factors : int, sequence or mapping, or a sequence of them, optional
        Downsampling factors from a level to the next: for all axes of space, per axis, or by name; a list has one
        entry per step. By default 2, but 1 along axes whose voxels are twice as large as others'.
    downsample : str, optional
        "mean" (the default for images: rounded, dtype kept), "mode" (for labels: no id is invented), "nearest",
        "max", "min" or "median".
    chunks : sequence of int, optional
        One per dimension; by default about 2 MiB with at most 16 planes.
    shards : sequence of int or False, optional
        Extent of one object, multiples of `chunks`; False for one object a chunk. By default a level of more
        than 10,000 chunks is stored in shards.
    compressor : str, mapping, codec or None
        "blosc" (zstd, level 1, with shuffle), "zstd", "gzip", or one of them with its options as zarr or numcodecs
        spell it; None for none.
    version : str
        Of OME-Zarr: "0.5" (zarr 3, each chunk with a checksum), or "0.4" for old readers.
    kind : str
        "image" or "labels" (integers or bool).
    channels : sequence of str or mapping, optional
        A name per channel, or fields of OME-Zarr's omero channel.
    contrast : (low, high) or sequence of them, optional
        Intensities shown as black and as full colour, for all channels or for each; by default 99.8 % of the
        pixels of the last level are between them.
    layer : mapping, optional
        Settings of the napari layer that shows the image; plain values.
    progress : callable or bool, optional
        Called with (blocks done, blocks in all). By default a long write draws a bar on a terminal, and nothing
        elsewhere; False draws none.

    Axes, scale, translation, unit and channel names that are not given are taken from an input of the same shape: an
    image that `obj` was read from, or one in the node's key.

    Raises
    ------
    NotReproducible
        `obj` is no such array.
    UsageError
        Options that do not fit the array.

    Notes
    -----
    One PUT for the plan, one per object, one per level, and one for the group, which is last. Chunks that an earlier
    attempt wrote of an equal image are reused.
    """
    check_choice("kind", kind, ("image", "labels"))
    check_choice("version", version, VERSIONS)
    array, own_geometry = as_array(obj)
    image = check_image_array(item, array, kind)
    given = {"axes": axes, "scale": scale, "translation": translation, "unit": unit, "channels": channels}
    spec = ImageSpec.of(
        image.shape,
        image.dtype,
        find_geometry(item, image, own_geometry, given),
        levels=levels,
        factors=factors,
        downsample=downsample,
        chunks=chunks,
        shards=shards,
        compressor=compressor,
        version=version,
        kind=kind,
        contrast=contrast,
        layer=layer,
    )
    progress_callback = check_progress(progress)
    stored_image = image[spec.selection]
    plan = spec.plan(item, getattr(stored_image, "chunks", None))
    multiscale = spec.ome_attributes(item.name.partition(".")[0])
    cvcache = {**cvcache_attributes(image, spec.added), **({"layer": spec.layer} if spec.layer else {})}
    present = announce_plan(plan, stored_image, {"ome": multiscale, "cvcache": cvcache})
    sizes = put_array_documents(plan)
    counts = compute_and_write(plan, stored_image, present, progress_callback)
    omero = spec.omero_attributes(counts)
    attributes = group_attributes(multiscale, cvcache, omero, version)
    group = group_documents(attributes, plan.specs, version)
    sizes += [put_json(item, key, document) for key, document in group.items()]
    meta = build_metadata(attributes, [StoredLevel(one.path, one.document(), one) for one in plan.specs])
    if stored_image.size:
        _draw_thumbnail(plan, meta, omero)
    statistics = statistics_metadata(counts, len(spec.channels)) if plan.statistics else {}
    return {**meta, **statistics, "objects": counts.objects + len(sizes), "bytes": counts.bytes + sum(sizes)}


def read(item: ItemPath, /, *, level: int = 0, slices: Sequence[Any] | str | None = None) -> np.ndarray | da.Array:
    """Return one level: a dask array if one was written (level 0 with its chunks), else a numpy array.

    Parameters
    ----------
    item : ItemPath
    level : int
        0 is the image itself; -1 the coarsest.
    slices : sequence of int, slice and Ellipsis, or str, optional
        The part of the level to read, as in ``"[0, :100, ..., ::2]"``; steps are positive.

    Raises
    ------
    ItemDamaged
        A chunk or the metadata is missing or corrupt; from a dask array when it is computed.
    UsageError
        There is no such level, or `slices` do not fit it.

    Notes
    -----
    One GET per object used; one more if the metadata is not recorded. An image of another program is returned as a
    dask array, and its missing chunks have the fill value.
    """
    stored, meta = open_level(item, parse_int("level", level), slices)
    if meta["stored_as"] == "numpy":
        return stored[...]
    source_chunks = meta.get("source_chunks") if level % meta["levels"] == 0 else None
    return as_dask_array(stored, source_chunks, meta["added"])


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata of an image, also of another program; one GET if cvcache wrote it, and one LIST.

    Raises
    ------
    ItemDamaged
        There is no multiscale image.
    """
    meta, _ = read_image_metadata(item)
    sizes = [info.size for info in item.find().values()]
    return {**meta, "objects": len(sizes), "bytes": sum(sizes)}


def _draw_thumbnail(plan: Plan, meta: Mapping[str, Any], omero: Mapping[str, Any] | None) -> None:
    """Store a thumbnail of the image, rendered from its last level."""
    from cvcache.image.read import StoredArray, full_window
    from cvcache.image.write import render_thumbnail

    spec = plan.specs[-1]
    last_level = StoredArray(plan.item, spec, full_window(spec.shape, meta["added"]), spec.numpy_dtype(), complete=True)
    colors = [row["color"] for row in (omero or {}).get("channels", ())]
    with drawing_thumbnail(plan.item):
        if picture := render_thumbnail(last_level, meta, colors):
            plan.item.thumbnail(picture)
