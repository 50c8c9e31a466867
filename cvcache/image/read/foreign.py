"""Arrays that only zarr can read, through a zarr store over an `ItemPath`: every byte passes ``ItemPath.get``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import zarr
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.storage import StorePath

from cvcache.formats import ItemPath, item_damaged
from cvcache.image.arrays import ArraySpec, Codec
from cvcache.image.read.stored_array import StoredArray, Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    import numpy as np
    from zarr.core.buffer import Buffer, BufferPrototype

    from cvcache.image.read.describe import StoredLevel


class ItemPathStore(Store):
    """A read-only zarr store over one directory item."""

    supports_writes = False
    supports_deletes = False
    supports_listing = True

    def __init__(self, item: ItemPath) -> None:
        super().__init__(read_only=True)
        self.item = item

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ItemPathStore) and self.item.url == other.item.url

    def __hash__(self) -> int:
        return hash(self.item.url)

    def __repr__(self) -> str:
        return f"ItemPathStore({self.item.url!r})"

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the object `key` or a range of it; None if it does not exist."""
        try:
            data = await asyncio.to_thread(self.item.get, key, *_bounds(byte_range))
        except FileNotFoundError:
            return None
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return several ranges."""
        return list(await asyncio.gather(*(self.get(key, prototype, part) for key, part in key_ranges)))

    async def set(self, key: str, value: Buffer) -> None:
        """Raise: the store is read-only."""
        msg = f"{self.item.at(key)} is read only"
        raise NotImplementedError(msg)

    async def delete(self, key: str) -> None:
        """Raise: the store is read-only."""
        msg = f"{self.item.at(key)} is read only"
        raise NotImplementedError(msg)

    async def exists(self, key: str) -> bool:
        """Whether the object `key` exists."""
        return await asyncio.to_thread(self.item.store.stat, self.item.at(key)) is not None

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for key in await asyncio.to_thread(self.item.find):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys with this prefix."""
        for key in await asyncio.to_thread(self.item.find):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below `prefix`."""
        listing = await asyncio.to_thread(self.item.store.list, self.item.at(prefix.strip("/")))
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


class ForeignStoredArray(StoredArray):
    """A stored array whose chunks the zarr library decodes."""

    __slots__ = ("_document",)
    _document: str

    @classmethod
    def from_level(
        cls,
        item: ItemPath,
        level: StoredLevel,
        window: Window,
        dtype: np.dtype,
        meta: Mapping[str, Any],
        version: str,
    ) -> Self:
        """Return the array of one level."""
        spec = ArraySpec(level.path, level.shape, level.chunks, None, str(dtype), Codec("zarr"))
        array = cls(item, spec, window, dtype, complete=False, version=version, meta=meta)
        object.__setattr__(array, "_document", json.dumps(level.document))
        return array

    def __getstate__(self) -> list[Any]:
        return [*super().__getstate__(), self._document]  # type: ignore[misc]

    def __setstate__(self, state: list[Any]) -> None:
        super().__setstate__(state[:-1])  # type: ignore[misc]
        object.__setattr__(self, "_document", state[-1])

    def _fill(self, out: np.ndarray, window: Sequence[slice]) -> None:
        try:
            array = zarr.Array.from_dict(
                StorePath(ItemPathStore(self.item), self.spec.path), json.loads(self._document)
            )
            out[...] = array[tuple(window)]
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise item_damaged(self.item, f"zarr, of {self.spec.path}: {error}") from error
