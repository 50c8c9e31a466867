"""zarr over a `Place`: every byte zarr reads or writes passes ``place.get`` and ``place.put``."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype, default_buffer_prototype
from zarr.storage import MemoryStore, StorePath

from cvcache.errors import ItemDamaged
from cvcache.formats.place import Place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    import numpy as np

METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


class PlaceStore(Store):
    """A zarr store whose keys are the parts of one directory item.

    Parameters
    ----------
    place : Place
    complete : bool
        Every chunk is known to have been written: a missing one raises `ItemDamaged` instead of
        being taken for empty.
    read_only : bool

    Attributes
    ----------
    objects, bytes : int
        How many objects this instance wrote, and their size.
    """

    def __init__(self, place: Place, *, complete: bool = False, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.place = place
        self.complete = complete
        self.objects = 0
        self.bytes = 0

    supports_writes = True
    supports_deletes = False
    supports_listing = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlaceStore) and self.place.url == other.place.url and self.complete == other.complete

    def __hash__(self) -> int:
        return hash((self.place.url, self.complete))

    def __repr__(self) -> str:
        return f"PlaceStore({self.place.url!r})"

    def with_read_only(self, read_only: bool = False) -> PlaceStore:  # noqa: FBT001, FBT002 - zarr calls it so
        """Return the same store, read only or not."""
        return PlaceStore(self.place, complete=self.complete, read_only=read_only)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the object `key` or a range of it; None if there is none and that is no damage."""
        try:
            data = await asyncio.to_thread(self.place.get, key, *_bounds(byte_range))
        except FileNotFoundError:
            if self.complete and not key.endswith(METADATA):
                msg = f"{self.place.url} is damaged: its chunk {key} is missing; compute the item again"
                raise ItemDamaged(msg) from None
            return None
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return several ranges."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def set(self, key: str, value: Buffer) -> None:
        """Write the object `key` whole."""
        self._check_writable()
        data = value.to_bytes()
        await asyncio.to_thread(self.place.put, data, key)
        self.objects += 1
        self.bytes += len(data)

    async def exists(self, key: str) -> bool:
        """Whether there is an object `key`."""
        return await asyncio.to_thread(self.place.store.stat, self.place.at(key)) is not None

    async def delete(self, key: str) -> None:
        """Refuse: what an item consists of changes only by writing it anew."""
        msg = f"{self.place.at(key)} cannot be deleted on its own"
        raise NotImplementedError(msg)

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for key in await asyncio.to_thread(self.place.find):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`."""
        for key in await asyncio.to_thread(self.place.find):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names one level below `prefix`."""
        listing = await asyncio.to_thread(self.place.store.list, self.place.at(prefix.strip("/")))
        for name in (*listing.files, *listing.dirs):
            yield name


def _bounds(part: ByteRequest | None) -> tuple[int | None, int | None]:
    match part:
        case RangeByteRequest(start, end):
            return start, end
        case OffsetByteRequest(offset):
            return offset, None
        case SuffixByteRequest(suffix):
            return -suffix, None
        case _:
            return None, None


def array_document(
    shape: Sequence[int], chunks: Sequence[int], dtype: np.dtype, dimension_names: Sequence[str]
) -> dict[str, Any]:
    """Return the content of the ``zarr.json`` of a new array; touches no store."""
    array = zarr.create_array(
        MemoryStore(),
        shape=tuple(shape),
        chunks=tuple(chunks),
        dtype=dtype,
        fill_value=0,
        dimension_names=list(dimension_names),
    )
    buffers = array.metadata.to_buffer_dict(default_buffer_prototype())
    document: dict[str, Any] = json.loads(buffers["zarr.json"].to_bytes())
    return document


def write_region(
    place: Place, path: str, document: Mapping[str, Any], region: tuple[slice, ...], block: np.ndarray
) -> tuple[int, int]:
    """Write whole chunks of the array at `path`, those of only fill values too.

    Parameters
    ----------
    place : Place
    path : str
        Of the array in the item; empty for the item itself.
    document : mapping
        The array's ``zarr.json``.
    region : tuple of slice
        Begins and ends at chunk borders or at the array's edge.
    block : numpy.ndarray
        What goes there.

    Returns
    -------
    objects, bytes : int
        How much was written.

    Notes
    -----
    One PUT per chunk. Safe to call from several threads and processes for different regions.
    """
    store = PlaceStore(place)
    array = zarr.Array.from_dict(StorePath(store, path), dict(document))
    array.with_config({"write_empty_chunks": True})[region] = block
    return store.objects, store.bytes


def open_array(place: Place, path: str, *, complete: bool) -> zarr.Array[Any]:
    """Open the array at `path` for reading; one GET. See `PlaceStore` for `complete`.

    Raises
    ------
    ItemDamaged
        There is none.
    """
    store = PlaceStore(Place(place.store, place.path, pin=place.pin), complete=complete, read_only=True)
    try:
        return zarr.open_array(store=store, path=path, mode="r", zarr_format=3 if complete else None)
    except FileNotFoundError:
        msg = f"{place.url} is damaged: its array {path!r} is missing; compute the item again"
        raise ItemDamaged(msg) from None
