"""An OME-Zarr image in one zip file (``.ome.zarr.zip``), read lazily by ranges."""

from __future__ import annotations

import inspect
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError
from cvcache.formats import ItemPath, ItemWrite, stored_size
from cvcache.image import ome_zarr
from cvcache.image.arrays import ZipStore, zip_directory
from cvcache.store import node_of, temporary_dir

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    import dask.array as da
    import numpy as np


class _Scratch(ItemWrite):
    """The directory that the image is written to first; its name and URL are those of the zip."""

    def __init__(self, zip_item: ItemWrite) -> None:
        path = f"{temporary_dir(node_of(zip_item.path))}/{os.urandom(8).hex()}.ome.zarr"
        super().__init__(zip_item.store, path, successor=zip_item.successor, inputs=zip_item.inputs)
        self.zip_item = zip_item

    @property
    def name(self) -> str:
        return self.zip_item.name

    @property
    def url(self) -> str:
        return self.zip_item.url

    def writing(self) -> AbstractContextManager[None]:
        return self.zip_item.writing()

    def share(self) -> None:
        self.zip_item.share()

    def thumbnail(self, png: bytes) -> None:
        self.zip_item.thumbnail(png)


def write(item: ItemWrite, obj: object, /, **options: Any) -> dict[str, Any]:
    """Write an image and its pyramid into one zip; the options are those of ``.ome.zarr``.

    Parameters
    ----------
    item : ItemWrite
        In a store on disk.
    obj : array
        See `cvcache.image.ome_zarr.write`.
    **options
        The same.

    Raises
    ------
    NotReproducible
        OME-Zarr cannot store `obj`; nothing was written.
    UsageError
        The store is not on disk, or the options do not fit the array.

    Notes
    -----
    The image is first written as a directory in the node's ``_cvcache/tmp``, so twice its size is needed on disk until
    the zip is complete. After a crash it is computed from the start.
    """
    if item.store.scheme != "file":
        msg = (
            f"{item.url} was not written: a zip is put together on a disk; write {item.name.removesuffix('.zip')!r} "
            "here, or the zip in a node on a disk, and copy the file"
        )
        raise UsageError(msg)
    scratch = _Scratch(item)
    try:
        meta = ome_zarr.write(scratch, obj, **options)
        with item.open() as file:
            summary = zip_directory(item.store, scratch.path, file)
    finally:
        parts = item.store.find(scratch.path)
        item.store.delete((f"{scratch.path}/{name}" for name in parts), within=scratch.path)
    return {**_single_object_metadata(meta, summary.bytes), "size": summary.bytes, "sha256": summary.sha256}


# the signature names the options for `check_options`; mypy does not know that a function can be given one
write.__signature__ = inspect.signature(ome_zarr.write)  # type: ignore[attr-defined]


def read(item: ItemPath, /, *, level: int = 0, slices: Sequence[Any] | str | None = None) -> np.ndarray | da.Array:
    """Return one level, as `cvcache.image.ome_zarr.read` does.

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
        The file is no such zip; from a dask array when it is computed.
    UsageError
        There is no such level, or `slices` do not fit it.

    Notes
    -----
    One STAT and one GET for the directory of the zip, one more where that is longer than 64 KiB; then one GET per
    object used.
    """
    pixels = ome_zarr.read(image_in_zip(item), level=level, slices=slices)
    if not hasattr(pixels, "dask"):
        item.check_pin(now=True)
    return pixels


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata of the image, also of another program; two STAT, and one GET more than for ``.ome.zarr``.

    Raises
    ------
    ItemDamaged
        There is no zip, or no image in it.
    """
    return _single_object_metadata(ome_zarr.describe(image_in_zip(item)), stored_size(item))


def image_in_zip(item: ItemPath) -> ItemPath:
    """Return the item path of the image in a zip: its root."""
    meta = dict(item.meta)
    if not item.pin and (info := item.store.stat(item.path)) is not None:
        meta["etag"] = info.etag  # without a commit the etag identifies the zip
    store = ZipStore(item.store, item.path, item.pin or item.next_record)
    # no memory cache: its keys would be equal for two zips of one commit
    return replace(item, store=store, path="", meta=meta, ram=None)


def _single_object_metadata(meta: dict[str, Any], size: int) -> dict[str, Any]:
    """Return the metadata of an image that is one object."""
    return {**{name: value for name, value in meta.items() if name != "objects"}, "bytes": size}
