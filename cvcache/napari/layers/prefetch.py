"""Prefetch of pixels in a worker, so that the GUI thread does not wait for a store.

napari slices in the GUI thread. The planes that it shows first (of the coarsest level and of the level that fits the
canvas, at the position of the sliders) are read before and kept with the array; all other pixels stay lazy.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.array import Array
from dask.array.utils import meta_from_array
from dask.callbacks import Callback

from cvcache.errors import CvcacheError
from cvcache.napari.layers.viewport import PLANE_NDIM, Span, Viewport, VisiblePixels

if TYPE_CHECKING:
    from cvcache.browse import LayerData

OnError = Callable[[Exception], object] | None
PrefetchedPart = tuple[tuple[Span, ...], np.ndarray]

CONCURRENCY = 16
"""Chunks that are read in parallel."""
MAX_WAIT_SECONDS = 30.0
"""Seconds that the GUI thread waits for a plane."""


class PrefetchedArray(Array):
    """A dask array with some of its pixels in memory."""

    __slots__ = ("_on_error", "_parts")
    _parts: tuple[PrefetchedPart, ...]
    _on_error: OnError

    @classmethod
    def of(cls, array: Array, parts: Sequence[PrefetchedPart], on_error: OnError) -> PrefetchedArray:
        """Return `array` with these parts in memory; `on_error` gets the errors of later reads."""
        new = cls(array.dask, array.name, array.chunks, dtype=array.dtype, meta=meta_from_array(array))
        new._parts, new._on_error = tuple(parts), on_error
        return new

    def __getitem__(self, index: Any) -> Array:
        part: Array = super().__getitem__(index)  # type: ignore[no-untyped-call]  # dask is typed in part
        spans = _spans(index, self.shape)
        if spans is None:
            return PrefetchedArray.of(part, (), self._on_error)
        drop = tuple(0 if isinstance(i, int) else slice(None) for i in _full_index(index, self.ndim))
        parts = []
        for where, pixels in self._parts:
            cut = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(spans, where, strict=True)]
            if any(low >= high for low, high in cut):
                continue
            inner = tuple(slice(low - c, high - c) for (low, high), (c, _) in zip(cut, where, strict=True))
            span = [(low - a, high - a) for (low, high), (a, _), i in zip(cut, spans, drop, strict=True) if i != 0]
            parts.append((tuple(span), pixels[inner][drop]))
        return PrefetchedArray.of(part, parts, self._on_error)

    def __array__(self, dtype: Any = None, copy: Any = None, **_: Any) -> np.ndarray:
        """Return the pixels.

        If a read fails, `on_error` gets the error, and napari gets zeros, since an error would reach it while it draws.
        Other callers get the error.
        """
        for where, pixels in self._parts:
            if all(span == (0, extent) for span, extent in zip(where, self.shape, strict=True)):
                return np.array(pixels, dtype=dtype, copy=True if copy else None)
        frame = inspect.currentframe()
        caller = frame.f_back if frame is not None else None
        for_napari = caller is not None and str(caller.f_globals.get("__name__")).startswith("napari.layers.")
        waits = for_napari and self._on_error is not None and threading.current_thread() is threading.main_thread()
        try:
            return np.asarray(_pixels_within_timeout(self) if waits else _pixels(self), dtype=dtype)
        except (OSError, CvcacheError) as error:
            if self._on_error is None:
                raise
            self._on_error(error)
            if not for_napari:
                raise
            return np.zeros(self.shape, dtype=dtype or self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return Array, (self.dask, self.name, self.chunks, self.dtype, self._meta)


def prefetch_planes(layer: LayerData, view: Viewport, on_error: OnError) -> LayerData:
    """Read the planes of an image or labels layer that `view` shows, and return the layer with them in memory.

    Raises
    ------
    OSError, CvcacheError
        It cannot be read.

    Notes
    -----
    One GET for each visible chunk, or part of a shard, of the coarsest level and of the level that napari chooses.
    """
    data, attributes, kind = layer
    several = bool(attributes.get("multiscale"))
    levels = list(data) if several else [data]
    if kind not in {"image", "labels"} or not all(isinstance(level, Array) for level in levels):
        return layer
    rgb = bool(attributes.get("rgb"))
    frame = VisiblePixels.of(view, levels, levels[0].ndim - rgb, attributes)
    coarsest = len(levels) - 1
    spans_of_level = {coarsest: frame.whole(coarsest)}
    if several and view.ndisplay == PLANE_NDIM and (level := frame.level()) != coarsest:
        spans_of_level[level] = frame.visible(level)  # of a volume napari shows the coarsest level
    parts = {level: [_read(levels[level], spans, rgb=rgb)] for level, spans in spans_of_level.items()}
    prefetched = [PrefetchedArray.of(level, parts.get(i, ()), on_error) for i, level in enumerate(levels)]
    return (prefetched if several else prefetched[0]), attributes, kind


def _read(level: Array, spans: tuple[Span, ...], *, rgb: bool) -> PrefetchedPart:
    where = (*spans, (0, level.shape[-1])) if rgb else spans
    return where, _pixels(level[tuple(slice(*span) for span in where)])


def _pixels(array: Array, callbacks: set[Any] | None = None) -> np.ndarray:
    """Compute in threads of this process, whatever the default scheduler is: other workers lack the storage options."""
    return np.asarray(array.compute(scheduler="threads", num_workers=CONCURRENCY, callbacks=callbacks))


def _pixels_within_timeout(array: Array) -> np.ndarray:
    """Compute while the GUI thread waits, with a timeout, since a store may hang."""
    future: Future[np.ndarray] = Future()
    callbacks = set(Callback.active)  # napari's cache; taken by dask itself it would stay on for all, after a timeout

    def compute() -> None:
        try:
            future.set_result(_pixels(array, callbacks))
        except BaseException as error:  # noqa: BLE001 - any error is raised in the thread that waits
            future.set_exception(error)

    threading.Thread(target=compute, name="cvcache-plane", daemon=True).start()
    if not wait([future], MAX_WAIT_SECONDS).done:
        msg = f'no answer in {MAX_WAIT_SECONDS:.0f} s; with "Load planes in the background" napari does not wait for it'
        raise TimeoutError(msg)
    return future.result()


def _full_index(index: Any, ndim: int) -> tuple[Any, ...]:
    """Return an index with one entry for each axis."""
    given = index if isinstance(index, tuple) else (index,)
    if Ellipsis in [i for i in given if i is Ellipsis]:
        at = next(n for n, i in enumerate(given) if i is Ellipsis)
        given = (*given[:at], *[slice(None)] * (ndim - len(given) + 1), *given[at + 1 :])
    return (*(int(i) if isinstance(i, np.integer) else i for i in given), *[slice(None)] * (ndim - len(given)))


def _spans(index: Any, shape: tuple[int, ...]) -> list[Span] | None:
    """Return begin and end along each axis; None for an index that is more than integers and slices of step 1."""
    spans = []
    for part, extent in zip(_full_index(index, len(shape)), shape, strict=False):
        if isinstance(part, int) and not isinstance(part, bool):
            spans.append((part % extent, part % extent + 1))
        elif isinstance(part, slice) and part.step in {None, 1}:
            begin, end, _ = part.indices(extent)
            spans.append((begin, max(begin, end)))
        else:
            return None
    return spans if len(spans) == len(shape) == len(_full_index(index, len(shape))) else None
