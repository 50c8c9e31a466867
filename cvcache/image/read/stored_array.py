"""A stored array as numpy and dask slice it: only the chunks that a slice touches are read."""

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
"""One per stored axis: the plane of an axis that is gone, or a slice with start, stop and a positive step."""
KEPT_INDEXES = 1024
DOCUMENTS = ("zarr.json", ".zattrs", ".zarray", "")
"""What of an image is written last, whatever its format; the zip itself."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One request: all chunks it brings, and the bytes it asks for (all where `part` is None)."""

    unit: tuple[int, ...]
    chunks: tuple[tuple[int, ...], ...]
    part: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """One level of an image, or a window of it, as an array that is read when it is sliced.

    Parameters
    ----------
    item : ItemPath
        Of the item.
    spec : ArraySpec
    window : tuple
        What of the stored array is to be seen.
    dtype : numpy.dtype
        Of what a slice returns.
    complete : bool
        Every chunk was written: a missing one is damage, not emptiness.
    version : str
        Changes when the stored bytes may have; empty where nobody can tell.
    meta : mapping
        Axes, scale, translation and unit of what is seen, for whoever writes an image made of it.
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
        return tuple(length(part) for part in self.window if isinstance(part, slice))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent, in pixels, of what is best read at once: a chunk, or in shards a shard."""
        pairs = zip(self.window, self.spec.unit, strict=True)
        return tuple(max(1, unit // part.step) for part, unit in pairs if isinstance(part, slice))

    @property
    def name(self) -> str:
        """Name of the dask array made of it: the same for the same bytes, and for no others."""
        told = repr((self.item.url, self.item.pin, self.version, self.spec, self._seen(), str(self.dtype)))
        return f"cvcache-image-{hashlib.sha256(told.encode()).hexdigest()[:32]}"

    def __cvcache_key__(self) -> Canonical:
        """Stand for the bytes in a key: of a version of an item, or of what lies there now (one LIST of the level)."""
        origin = self.item.origin
        if origin:
            seen = hashlib.sha256(repr((self.spec.path, self._seen(), str(self.dtype))).encode()).hexdigest()[:32]
            return Canonical({"$item": origin["item"], "version": origin["version"], "seen": seen})
        # scale and unit are taken over by what is written from it
        told = hashlib.sha256(repr(sorted(self.meta.items())).encode()).hexdigest()[:32]
        return Canonical({"$image": replace(self, version="").name, "chunks": self._chunk_digest(), "metadata": told})

    def __cvcache_input__(self) -> tuple[str, dict[str, str]] | None:
        """Say of which node, item and version it is; None where no commit vouches for it."""
        origin = self.item.origin
        return (origin["node"], {"item": origin["item"], "version": origin["version"]}) if origin else None

    def __cvcache_images__(self) -> list[Mapping[str, Any]]:
        """Give what is recorded of the image it is a part of."""
        return [self.item.meta] if self.item.origin else []

    def _seen(self) -> list[int | list[int]]:
        return [part if isinstance(part, int) else [part.start, part.stop, part.step] for part in self.window]

    def _chunk_digest(self) -> str:
        """Return what differs once a chunk was written anew."""
        below = self.item.store.find(self.item.at(self.spec.path))
        rows = [(key, info.size, info.etag) for key, info in sorted(below.items()) if not key.endswith(DOCUMENTS[:3])]
        return hashlib.sha256(repr(rows).encode()).hexdigest()[:32]

    def __dask_tokenize__(self) -> str:
        return self.name

    def __getitem__(self, index: Any) -> np.ndarray:
        import numpy as np

        window, after = compose(self.window, index)
        out = np.empty([length(part) if isinstance(part, slice) else 1 for part in window], dtype=self.spec.dtype)
        self._fill(out, [part if isinstance(part, slice) else slice(part, part + 1, 1) for part in window])
        seen = out[tuple(slice(None) if isinstance(part, slice) else 0 for part in window)]
        return np.asarray(seen[after] if after else seen).astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:  # noqa: FBT001 - numpy calls it so
        pixels = self[...]
        return pixels if dtype is None else pixels.astype(dtype, copy=bool(copy))

    def _fill(self, out: np.ndarray, window: Sequence[slice]) -> None:
        """Read each chunk that the window touches, once, and put its part where it belongs."""
        wanted = [_touched(part, extent) for part, extent in zip(window, self.spec.chunks, strict=True)]
        by_index = [{piece.chunk: piece for piece in axis} for axis in wanted]

        def read(job: _Job) -> None:
            for chunk, pixels in self._read(job):
                pieces = [axis[i] for axis, i in zip(by_index, chunk, strict=True)]
                out[tuple(piece.target for piece in pieces)] = (
                    self.spec.fill if pixels is None else pixels[tuple(piece.source for piece in pieces)]
                )

        chunks = itertools.product(*([piece.chunk for piece in axis] for axis in wanted))
        gather(read, self._jobs(list(chunks)), remote=self.item.remote)

    def _jobs(self, chunks: list[tuple[int, ...]]) -> list[_Job]:
        if self.spec.shards is None:
            return [_Job(chunk, (chunk,)) for chunk in chunks]
        inner = self.spec.inner_grid
        by_shard: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
        for chunk in chunks:
            shard = tuple(i // n for i, n in zip(chunk, inner, strict=True))
            by_shard.setdefault(shard, []).append(chunk)
        whole = [_Job(shard, tuple(inside)) for shard, inside in by_shard.items() if self._nearly_all(shard, inside)]
        rest = [(shard, inside) for shard, inside in by_shard.items() if not self._nearly_all(shard, inside)]
        parts = gather(lambda pair: self._parts(*pair), rest, remote=self.item.remote)
        return [*whole, *itertools.chain.from_iterable(parts)]

    def _nearly_all(self, shard: tuple[int, ...], inside: list[tuple[int, ...]]) -> bool:
        """Whether to fetch a whole shard at once: most of what it holds is asked for."""
        extents = zip(shard, self.spec.unit, self.spec.shape, self.spec.chunks, strict=True)
        held = math.prod(-(-(min((i + 1) * u, n) - i * u) // c) for i, u, n, c in extents)
        return 2 * len(inside) > held

    def _parts(self, shard: tuple[int, ...], inside: list[tuple[int, ...]]) -> list[_Job]:
        """Return the requests for some chunks of one shard."""
        index = self._index(shard)
        chunk_ranges = ((chunk, index[self._position(chunk)] if index else None) for chunk in inside)
        return [_Job(shard, (chunk,), part or (0, 0)) for chunk, part in chunk_ranges]

    def _index(self, shard: tuple[int, ...]) -> list[tuple[int, int] | None] | None:
        item, spec = self.item, self.spec
        where = _Indexed(f"{item.pin} {item.url} {spec.path}", shard, self.complete, item, spec)
        return _cached_index(where) if item.pin else _cached_index.__wrapped__(where)

    def _position(self, chunk: Sequence[int]) -> int:
        position = 0
        for i, n in zip(chunk, self.spec.inner_grid, strict=True):
            position = position * n + i % n
        return position

    def _read(self, job: _Job) -> Iterator[tuple[tuple[int, ...], np.ndarray | None]]:
        """Yield each chunk of a request with its pixels, or None where there are none."""
        key = self.spec.key(job.unit)
        data = None if job.part == (0, 0) else _get(self.item, key, *(job.part or (None, None)), complete=self.complete)
        with _named(self.item, key):
            index = None
            if data is not None and self.spec.shards is not None and job.part is None:
                end = slice(-self.spec.index_bytes, None) if self.spec.index_at_end else slice(self.spec.index_bytes)
                index = self.spec.read_index(data[end])
            for chunk in job.chunks:
                bounds = (0, None) if index is None else index[self._position(chunk)]
                here = None if data is None or bounds is None else data[slice(*bounds)]
                if here is None and self.complete:
                    raise missing(self.item, key)
                yield chunk, None if here is None else self.spec.decode(here)


@contextlib.contextmanager
def _named(item: ItemPath, key: str) -> Iterator[None]:
    """Say which chunk it is whose bytes are refused."""
    try:
        yield
    except ValueError as error:
        raise _damaged(item, f"its chunk {key} is corrupt ({error})") from error


def missing(item: ItemPath, key: str) -> ItemDamaged:
    """Return the error for a chunk that is not there although it was written."""
    return _damaged(item, f"its chunk {key} is missing")


def _damaged(item: ItemPath, what: str) -> ItemDamaged:
    vouched = item.pin or item.end_record
    hint = "compute the item again" if vouched else "no commit vouches for it, so bring a good copy"
    return ItemDamaged(f"{item.url} is damaged: {what}; {hint}")


def _get(item: ItemPath, key: str, start: int | None, end: int | None, *, complete: bool) -> bytes | None:
    try:
        return item.get(key, start, end)
    except FileNotFoundError:
        if complete:
            raise missing(item, key) from None
        return None


@functools.lru_cache(KEPT_INDEXES)
def _cached_index(where: _Indexed) -> list[tuple[int, int] | None] | None:
    spec = where.spec
    key = spec.key(where.shard)
    start, end = (-spec.index_bytes, None) if spec.index_at_end else (0, spec.index_bytes)
    table = _get(where.item, key, start, end, complete=where.complete)
    if table is None:
        return None
    with _named(where.item, key):
        return spec.read_index(table)


@dataclass(frozen=True, slots=True)
class _Indexed:
    """Which shard's table is meant; equal for the same shard of the same commit."""

    url: str
    shard: tuple[int, ...]
    complete: bool
    item: ItemPath = field(compare=False)
    spec: ArraySpec = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one chunk contributes along one axis: `source` in the chunk goes to `target` in the result."""

    chunk: int
    source: slice
    target: slice


def _touched(part: slice, extent: int) -> list[_Piece]:
    """Return the pieces of the chunks of `extent` pixels that the slice `part` needs."""
    pieces, done, total = [], 0, length(part)
    while done < total:
        first = part.start + done * part.step
        chunk = first // extent
        count = min(total - done, -(-((chunk + 1) * extent - first) // part.step))
        source = slice(first - chunk * extent, first - chunk * extent + (count - 1) * part.step + 1, part.step)
        pieces.append(_Piece(chunk, source, slice(done, done + count)))
        done += count
    return pieces


def length(part: slice) -> int:
    """Return how many pixels a slice with start, stop and step has."""
    return len(range(part.start, part.stop, part.step))


def whole(shape: Sequence[int], added: Sequence[int] = ()) -> Window:
    """Return the window of everything but the axes that only the storage has."""
    return tuple(0 if i in added else slice(0, n, 1) for i, n in enumerate(shape))


def compose(window: Window, index: Any) -> tuple[Window, tuple[Any, ...] | None]:
    """Return the window that `index` leaves of `window`, and what numpy has to do afterwards (fancy or backward)."""
    given = list(index) if isinstance(index, tuple) else [index]
    axes = [i for i, part in enumerate(window) if isinstance(part, slice)]
    if any(part is Ellipsis for part in given):
        at = next(i for i, part in enumerate(given) if part is Ellipsis)
        given[at : at + 1] = [slice(None)] * (len(axes) - len(given) + 1)
    given += [slice(None)] * (len(axes) - len(given))
    if len(given) > len(axes):
        msg = f"too many indices: {len(given)} for {len(axes)} axes"
        raise IndexError(msg)
    result = list(window)
    after: list[Any] = []
    for axis, part in zip(axes, given, strict=True):
        seen: Any = window[axis]
        extent = length(seen)
        if isinstance(part, slice):
            forward = range(*part.indices(extent))
            backward = forward.step < 0
            forward = forward[::-1] if backward else forward
            after.append(slice(None, None, -1 if backward else None))
            result[axis] = slice(
                seen.start + forward.start * seen.step,
                seen.start + (forward.start + len(forward) * forward.step) * seen.step,
                seen.step * forward.step,
            )
        elif hasattr(part, "__index__") and not getattr(part, "ndim", 0):
            plane = range(extent)[part.__index__()]
            result[axis] = seen.start + plane * seen.step
        else:
            after.append(part)
    return tuple(result), tuple(after) if any(
        not isinstance(part, slice) or part != slice(None) for part in after
    ) else None
