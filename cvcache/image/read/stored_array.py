"""An array in a store that numpy and dask can slice; a slice reads only the chunks it needs.

Why not ``zarr.Array``: a chunk is read through `ItemPath`, which checks the pin; a missing or corrupt chunk of a
committed image raises `ItemDamaged` instead of being filled; and of a shard only the needed byte ranges are read. The
name of the array is part of keys; it depends on the ``repr`` of `ArraySpec`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cvcache.errors import ItemDamaged
from cvcache.keys import Canonical
from cvcache.store import gather

if TYPE_CHECKING:
    import numpy as np

    from cvcache.formats import ItemPath
    from cvcache.image.arrays import ArraySpec

Window = tuple[int | slice, ...]
"""One per stored axis: the index of a dropped axis, or a slice with start, stop and a positive step."""
_FORWARD, _BACKWARD = slice(None), slice(None, None, -1)
MAX_CACHED_INDEXES = 1024
METADATA_NAMES = ("zarr.json", ".zattrs", ".zarray", "")
"""Objects of an image that are written last, in any format; the empty name is the zip itself."""


@dataclass(frozen=True, slots=True)
class _Request:
    """One request for an object: the chunks to decode from it, and the byte range (None for the whole object)."""

    object_index: tuple[int, ...]
    chunks: tuple[tuple[int, ...], ...]
    byte_range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """One level of an image, or a window of it, as an array that is read when it is sliced.

    Parameters
    ----------
    item : ItemPath
        Of the image.
    spec : ArraySpec
    window : tuple
        The visible part of the stored array.
    dtype : numpy.dtype
        Of what a slice returns.
    complete : bool
        Whether every chunk was written: then a missing one is damage, not fill values.
    version : str
        Token that changes if the stored bytes may have changed; empty if the item is pinned.
    meta : mapping
        Axes, scale, translation and unit of the window, inherited by images written from it.
    """

    item: ItemPath
    spec: ArraySpec
    window: Window
    dtype: np.dtype
    complete: bool
    version: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of each axis, in pixels."""
        return tuple(slice_length(part) for part in self.window if isinstance(part, slice))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent, in pixels, of one stored object: a chunk, or a shard."""
        pairs = zip(self.window, self.spec.object_shape, strict=True)
        return tuple(max(1, extent // part.step) for part, extent in pairs if isinstance(part, slice))

    @property
    def name(self) -> str:
        """Name of its dask array: equal for equal bytes only."""
        identity = repr(
            (self.item.url, self.item.pin, self.version, self.spec, self._window_as_json(), str(self.dtype))
        )
        return f"cvcache-image-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"

    def __cvcache_key__(self) -> Canonical:
        """Return its canonical form in a key: the version of an item, or a digest of the current chunks (one LIST)."""
        origin = self.item.origin
        if origin:
            window = hashlib.sha256(
                repr((self.spec.path, self._window_as_json(), str(self.dtype))).encode()
            ).hexdigest()[:32]
            return Canonical({"$item": origin["item"], "version": origin["version"], "seen": window})
        # scale and unit are inherited by images written from it
        metadata = hashlib.sha256(repr(sorted(self.meta.items())).encode()).hexdigest()[:32]
        return Canonical(
            {"$image": replace(self, version="").name, "chunks": self._chunk_digest(), "metadata": metadata}
        )

    def __cvcache_input__(self) -> tuple[str, dict[str, str]] | None:
        """Return node, item and version it is read from; None without a commit."""
        origin = self.item.origin
        return (origin["node"], {"item": origin["item"], "version": origin["version"]}) if origin else None

    def __cvcache_images__(self) -> list[Mapping[str, Any]]:
        """Return the recorded metadata of its image."""
        return [self.item.meta] if self.item.origin else []

    def _window_as_json(self) -> list[int | list[int]]:
        return [part if isinstance(part, int) else [part.start, part.stop, part.step] for part in self.window]

    def _chunk_digest(self) -> str:
        """Return a digest that changes if a chunk is rewritten."""
        parts = self.item.store.find(self.item.at(self.spec.path))
        rows = [
            (key, info.size, info.etag) for key, info in sorted(parts.items()) if not key.endswith(METADATA_NAMES[:3])
        ]
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:32]

    def __dask_tokenize__(self) -> str:
        return self.name

    def __getitem__(self, index: Any) -> np.ndarray:
        import numpy as np

        window, numpy_index = index_window(self.window, index)
        out = np.empty([slice_length(part) if isinstance(part, slice) else 1 for part in window], dtype=self.spec.dtype)
        self._fill(out, [part if isinstance(part, slice) else slice(part, part + 1, 1) for part in window])
        pixels = out[tuple(slice(None) if isinstance(part, slice) else 0 for part in window)]
        return np.asarray(pixels[numpy_index] if numpy_index else pixels).astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:  # noqa: FBT001 - numpy calls it so
        pixels = self[...]
        return pixels if dtype is None else pixels.astype(dtype, copy=bool(copy))

    def _fill(self, out: np.ndarray, window: Sequence[slice]) -> None:
        """Fill `out` with the pixels of `window`; each chunk is read once."""
        axes = [_chunk_parts(part, extent) for part, extent in zip(window, self.spec.chunks, strict=True)]
        by_index = [{part.chunk: part for part in axis} for axis in axes]

        def read(request: _Request) -> None:
            for chunk, pixels in self._read_request(request):
                parts = [axis[i] for axis, i in zip(by_index, chunk, strict=True)]
                out[tuple(part.target for part in parts)] = (
                    self.spec.fill if pixels is None else pixels[tuple(part.source for part in parts)]
                )

        chunks = itertools.product(*([part.chunk for part in axis] for axis in axes))
        gather(read, self._requests(list(chunks)), remote=self.item.remote)

    def _requests(self, chunks: list[tuple[int, ...]]) -> list[_Request]:
        if self.spec.shards is None:
            return [_Request(chunk, (chunk,)) for chunk in chunks]
        chunks_per_object = self.spec.chunks_per_object
        by_shard: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for chunk in chunks:
            shard = tuple(i // n for i, n in zip(chunk, chunks_per_object, strict=True))
            by_shard.setdefault(shard, []).append(chunk)
        whole_shards = [
            _Request(shard, tuple(needed)) for shard, needed in by_shard.items() if self._covers_most(shard, needed)
        ]
        other_shards = [(shard, needed) for shard, needed in by_shard.items() if not self._covers_most(shard, needed)]
        parts = gather(lambda pair: self._shard_requests(*pair), other_shards, remote=self.item.remote)
        return [*whole_shards, *itertools.chain.from_iterable(parts)]

    def _covers_most(self, shard: tuple[int, ...], needed: list[tuple[int, ...]]) -> bool:
        """Whether most chunks of a shard are needed, so that it is read whole."""
        extents = zip(shard, self.spec.object_shape, self.spec.shape, self.spec.chunks, strict=True)
        chunk_count = math.prod(-(-(min((i + 1) * u, n) - i * u) // c) for i, u, n, c in extents)
        return 2 * len(needed) > chunk_count

    def _shard_requests(self, shard: tuple[int, ...], needed: list[tuple[int, ...]]) -> list[_Request]:
        """Return the requests for some chunks of one shard."""
        index = self._shard_index(shard)
        chunk_ranges = ((chunk, index[self._index_position(chunk)] if index else None) for chunk in needed)
        return [_Request(shard, (chunk,), byte_range or (0, 0)) for chunk, byte_range in chunk_ranges]

    def _shard_index(self, shard: tuple[int, ...]) -> list[tuple[int, int] | None] | None:
        item, spec = self.item, self.spec
        index_key = _IndexKey(f"{item.pin} {item.url} {spec.path}", shard, self.complete, item, spec)
        return _cached_index(index_key) if item.pin else _cached_index.__wrapped__(index_key)

    def _index_position(self, chunk: Sequence[int]) -> int:
        position = 0
        for i, n in zip(chunk, self.spec.chunks_per_object, strict=True):
            position = position * n + i % n
        return position

    def _read_request(self, request: _Request) -> Iterator[tuple[tuple[int, ...], np.ndarray | None]]:
        """Yield each chunk of a request with its pixels, or None if it is not stored."""
        key = self.spec.key(request.object_index)
        data = (
            None
            if request.byte_range == (0, 0)
            else _get_or_none(self.item, key, *(request.byte_range or (None, None)), complete=self.complete)
        )
        with _naming_chunk(self.item, key):
            index = None
            if data is not None and self.spec.shards is not None and request.byte_range is None:
                end = (
                    slice(-self.spec.shard_index_bytes, None)
                    if self.spec.index_at_end
                    else slice(self.spec.shard_index_bytes)
                )
                index = self.spec.parse_shard_index(data[end])
            for chunk in request.chunks:
                bounds = (0, None) if index is None else index[self._index_position(chunk)]
                chunk_data = None if data is None or bounds is None else data[slice(*bounds)]
                if chunk_data is None and self.complete:
                    raise missing_chunk_error(self.item, key)
                yield chunk, None if chunk_data is None else self.spec.decode(chunk_data)


@contextlib.contextmanager
def _naming_chunk(item: ItemPath, key: str) -> Iterator[None]:
    """Turn a `ValueError` of a decoder into `ItemDamaged` with the key of the chunk."""
    try:
        yield
    except ValueError as error:
        raise _damage_error(item, f"its chunk {key} is corrupt ({error})") from error


def missing_chunk_error(item: ItemPath, key: str) -> ItemDamaged:
    """Return the error for a missing chunk of a complete image."""
    return _damage_error(item, f"its chunk {key} is missing")


def _damage_error(item: ItemPath, problem: str) -> ItemDamaged:
    hint = "compute the item again" if item.successor else "no commit vouches for it, so bring a good copy"
    return ItemDamaged(f"{item.url} is damaged: {problem}; {hint}")


def _get_or_none(item: ItemPath, key: str, start: int | None, end: int | None, *, complete: bool) -> bytes | None:
    try:
        return item.get(key, start, end)
    except FileNotFoundError:
        if complete:
            raise missing_chunk_error(item, key) from None
        return None


@functools.lru_cache(MAX_CACHED_INDEXES)
def _cached_index(index_key: _IndexKey) -> list[tuple[int, int] | None] | None:
    spec = index_key.spec
    key = spec.key(index_key.shard)
    start, end = (-spec.shard_index_bytes, None) if spec.index_at_end else (0, spec.shard_index_bytes)
    table = _get_or_none(index_key.item, key, start, end, complete=index_key.complete)
    if table is None:
        return None
    with _naming_chunk(index_key.item, key):
        return spec.parse_shard_index(table)


@dataclass(frozen=True, slots=True)
class _IndexKey:
    """Cache key of the index of a shard: equal for the same shard of the same commit."""

    url: str
    shard: tuple[int, ...]
    complete: bool
    item: ItemPath = field(compare=False)
    spec: ArraySpec = field(compare=False)


@dataclass(frozen=True, slots=True)
class _ChunkPart:
    """Part of one chunk along one axis: `source` in the chunk is copied to `target` in the result."""

    chunk: int
    source: slice
    target: slice


def _chunk_parts(part: slice, extent: int) -> list[_ChunkPart]:
    """Return the parts of chunks of `extent` pixels that the slice `part` needs."""
    parts, done, total = [], 0, slice_length(part)
    while done < total:
        first = part.start + done * part.step
        chunk = first // extent
        count = min(total - done, -(-((chunk + 1) * extent - first) // part.step))
        source = slice(first - chunk * extent, first - chunk * extent + (count - 1) * part.step + 1, part.step)
        parts.append(_ChunkPart(chunk, source, slice(done, done + count)))
        done += count
    return parts


def slice_length(part: slice) -> int:
    """Return the number of pixels in a slice with start, stop and step."""
    return len(range(part.start, part.stop, part.step))


def full_window(shape: Sequence[int], added: Sequence[int] = ()) -> Window:
    """Return the window of the whole array, without the axes that were added for storage."""
    return tuple(0 if i in added else slice(0, n, 1) for i, n in enumerate(shape))


def visible_parts(window: Window) -> list[tuple[int, slice]]:
    """Return the stored axes that a window does not drop, each with its slice."""
    return [(i, part) for i, part in enumerate(window) if isinstance(part, slice)]


def index_window(window: Window, index: Any) -> tuple[Window, tuple[Any, ...] | None]:
    """Return the window of `index` in `window`, and the index to apply in numpy afterwards (fancy or backward)."""
    visible = visible_parts(window)
    result = list(window)
    numpy_index: list[Any] = []
    for (axis, current), part in zip(visible, _expand_index(index, len(visible)), strict=True):
        if isinstance(part, slice):
            result[axis], direction = _index_slice(current, part)
            numpy_index.append(direction)
        elif hasattr(part, "__index__") and not getattr(part, "ndim", 0):
            plane = range(slice_length(current))[part.__index__()]
            result[axis] = current.start + plane * current.step
        else:
            numpy_index.append(part)
    return tuple(result), None if all(part is _FORWARD for part in numpy_index) else tuple(numpy_index)


def _expand_index(index: Any, ndim: int) -> list[Any]:
    """Return one part per axis; all axes that `index` does not name are taken whole."""
    parts = list(index) if isinstance(index, tuple) else [index]
    position = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    before, after = parts[:position], parts[position + 1 :]
    missing = ndim - len(before) - len(after)
    if missing < 0:
        msg = f"too many indices: {ndim - missing} for {ndim} axes"
        raise IndexError(msg)
    return [*before, *[slice(None)] * missing, *after]


def _index_slice(current: slice, part: slice) -> tuple[slice, slice]:
    """Return the slice `part` of the slice `current`, read forward, and the slice that gives it its direction."""
    pixels = range(current.start, current.stop, current.step)[part]
    direction = _FORWARD
    if pixels.step < 0:
        pixels, direction = pixels[::-1], _BACKWARD
    return slice(pixels.start, pixels.start + len(pixels) * pixels.step, pixels.step), direction
