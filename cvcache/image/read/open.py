"""Any image at any URL as a lazy array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cvcache.errors import UnknownOption
from cvcache.formats import ItemPath
from cvcache.image.read.level import as_dask_array, open_level
from cvcache.image.read.stored_array import StoredArray
from cvcache.image.read.url import Location, is_zip, parse_image_url, standing_location

if TYPE_CHECKING:
    import dask.array as da


def open_image(
    url: object, *, level: int = 0, slices: Sequence[Any] | str | None = None, **storage_options: Any
) -> da.Array:
    """Return an image as a dask array: OME-Zarr 0.4 or 0.5, plain zarr, or one of them in a zip.

    Parameters
    ----------
    url : str, os.PathLike, UPath or Item
        Of the image, of any program; or an item of a node, whose commit is then checked.
        ``?slices=[0, :100, ..., ::2]`` at its end selects a part, for example to develop
        a script on a crop.
    level : int
        0 is the image itself; -1 the coarsest.
    slices : sequence of int, slice and Ellipsis, or str, optional
        A part of the image at the URL; steps are positive.
    **storage_options
        For fsspec: ``anon=True``, ``endpoint_url=...``. Never stored.

    Returns
    -------
    dask.array.Array
        In the image's own chunks. An image written from it inherits axes, scale, translation and unit, the translation
        moved by the slices.

    Raises
    ------
    FileNotFoundError
        Nothing exists at the URL.
    ItemDamaged
        There is no image, or its metadata is not valid. When computed: a chunk cannot be decoded, or is missing in an
        image that cvcache wrote.
    UsageError
        There is no such level, or the slices do not fit it.

    Notes
    -----
    One GET for OME-Zarr 0.5 with consolidated metadata, as cvcache writes it; else one more for each level. Then one
    GET per chunk. In a key the array stands for the current chunks of its level, by their size and etag, or time (one
    LIST); a URL in a key stands for the metadata only (one HEAD), which does not change if pixels are edited in
    place. Neither contains storage options.
    """
    if hasattr(type(url), "__cvcache_input__") and hasattr(type(url), "to_dask_array"):
        if storage_options:
            msg = f"{url!r} has the storage options of its tree; {', '.join(sorted(storage_options))} cannot be given"
            raise UnknownOption(msg)
        item: Any = url
        lazy: da.Array = item.dask(level=level, slices=slices)
        return lazy
    return open_image_at(parse_image_url(url, storage_options), level, slices)


def open_image_at(target: Location, level: int, slices: Sequence[Any] | str | None) -> da.Array:
    """Return the image at a location; see `open_image`."""
    stored, meta = open_location(target, level, slices)
    source_chunks = meta.get("source_chunks") if level % meta["levels"] == 0 else None
    return as_dask_array(stored, source_chunks, meta["added"])


def open_location(
    target: Location, level: int, slices: Sequence[Any] | str | None
) -> tuple[StoredArray, Mapping[str, Any]]:
    """Return one level of the image at a location, or a part of it, and the metadata of the whole; see `open_image`."""
    target = standing_location(target)
    item = ItemPath(target.store, target.path)
    if is_zip(target.path) and target.store.stat(target.path) is not None:
        from cvcache.image.arrays import ZipStore

        item = ItemPath(ZipStore(target.store, target.path), "")
    try:
        return open_level(item, level, target.slices, slices)
    except FileNotFoundError:
        msg = f"there is no image at {target.url}; correct the URL"
        raise FileNotFoundError(msg) from None
