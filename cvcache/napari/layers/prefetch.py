"""Pixels that are read in a worker before napari asks for them, so that the window does not wait for a store.

napari slices on the GUI thread. What it is about to show (the coarsest level and the level that fits the canvas, at the
slider's position) is read ahead and kept with the array; everything else stays as lazy as it was.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.array import Array
from dask.callbacks import Callback

from cvcache.errors import CvcacheError
from cvcache.napari.layers.viewport import PLANE, Frame, Span, View

if TYPE_CHECKING:
    from cvcache.browse import LayerData

Trouble = Callable[[Exception], object] | None
Held = tuple[tuple[Span, ...], np.ndarray]

AT_ONCE = 16
"""Chunks that are read at a time."""
LONGEST = 30.0
"""Seconds that the window waits for a plane."""


class Ahead(Array):
    """A dask array that has some of its pixels at hand already."""

    __slots__ = ("_held", "_trouble")
    _held: tuple[Held, ...]
    _trouble: Trouble

    @classmethod
    def of(cls, array: Array, held: Sequence[Held], trouble: Trouble) -> Ahead:
        """Return `array` with these parts at hand; what goes wrong while others are read is told to `trouble`."""
        new = cls(array.dask, array.name, array.chunks, dtype=array.dtype, meta=array._meta)  # noqa: SLF001 - nothing else says which kind of array the blocks are
        new._held, new._trouble = tuple(held), trouble
        return new

    def __getitem__(self, index: Any) -> Array:
        part: Array = super().__getitem__(index)  # type: ignore[no-untyped-call]  # dask is typed in part
        spans = _spans(index, self.shape)
        if spans is None:
            return Ahead.of(part, (), self._trouble)
        drop = tuple(0 if isinstance(i, int) else slice(None) for i in _whole(index, self.ndim))
        held = []
        for where, pixels in self._held:
            cut = [(max(a, c), min(b, d)) for (a, b), (c, d) in zip(spans, where, strict=True)]
            if any(low >= high for low, high in cut):
                continue
            inner = tuple(slice(low - c, high - c) for (low, high), (c, _) in zip(cut, where, strict=True))
            kept = [(low - a, high - a) for (low, high), (a, _), i in zip(cut, spans, drop, strict=True) if i != 0]
            held.append((tuple(kept), pixels[inner][drop]))
        return Ahead.of(part, held, self._trouble)

    def __array__(self, dtype: Any = None, copy: Any = None, **_: Any) -> np.ndarray:
        """Return the pixels.

        Where they cannot be read `trouble` is told, if there is one, and napari, which shows them, gets zeros: the
        error would come to it in the middle of drawing. Others get the error.
        """
        for where, pixels in self._held:
            if all(span == (0, extent) for span, extent in zip(where, self.shape, strict=True)):
                return np.array(pixels, dtype=dtype, copy=True if copy else None)
        for_napari = str(sys._getframe(1).f_globals.get("__name__")).startswith("napari.layers.")  # noqa: SLF001 - who asks
        waits = for_napari and self._trouble is not None and threading.current_thread() is threading.main_thread()
        try:
            return np.asarray(_soon(self) if waits else _pixels(self), dtype=dtype)
        except (OSError, CvcacheError) as error:
            if self._trouble is None:
                raise
            self._trouble(error)
            if not for_napari:
                raise
            return np.zeros(self.shape, dtype=dtype or self.dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return Array, (self.dask, self.name, self.chunks, self.dtype, self._meta)


def read_ahead(layer: LayerData, view: View, trouble: Trouble) -> LayerData:
    """Read what `view` will show of an image or labels layer, and return the layer with that at hand.

    Raises
    ------
    OSError, CvcacheError
        It cannot be read.

    Notes
    -----
    One GET for each chunk, or part of a shard, that is seen, in the coarsest level and in the one that is chosen.
    """
    data, attributes, kind = layer
    several = bool(attributes.get("multiscale"))
    levels = list(data) if several else [data]
    if kind not in {"image", "labels"} or not all(isinstance(level, Array) for level in levels):
        return layer
    rgb = bool(attributes.get("rgb"))
    frame = Frame.of(view, levels, levels[0].ndim - rgb, attributes)
    coarsest = len(levels) - 1
    wanted = {coarsest: frame.whole(coarsest)}
    if several and view.ndisplay == PLANE and (level := frame.level()) != coarsest:
        wanted[level] = frame.visible(level)  # of a volume napari shows the coarsest level
    held = {level: [_read(levels[level], spans, rgb=rgb)] for level, spans in wanted.items()}
    ahead = [Ahead.of(level, held.get(i, ()), trouble) for i, level in enumerate(levels)]
    return (ahead if several else ahead[0]), attributes, kind


def _read(level: Array, spans: tuple[Span, ...], *, rgb: bool) -> Held:
    where = (*spans, (0, level.shape[-1])) if rgb else spans
    return where, _pixels(level[tuple(slice(*span) for span in where)])


def _pixels(array: Array, callbacks: set[Any] | None = None) -> np.ndarray:
    """Compute in threads of this process, whatever scheduler is the default: workers elsewhere lack the options."""
    return np.asarray(array.compute(scheduler="threads", num_workers=AT_ONCE, callbacks=callbacks))


def _soon(array: Array) -> np.ndarray:
    """Compute while the window waits, but not without end: a store may hang."""
    found: Future[np.ndarray] = Future()
    callbacks = set(Callback.active)  # napari's cache; taken by dask itself it would stay on for all, after a timeout

    def compute() -> None:
        try:
            found.set_result(_pixels(array, callbacks))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where somebody waits
            found.set_exception(error)

    threading.Thread(target=compute, name="cvcache-plane", daemon=True).start()
    if not wait([found], LONGEST).done:
        msg = f'no answer in {LONGEST:.0f} s; with "Load planes in the background" napari does not wait for it'
        raise TimeoutError(msg)
    return found.result()


def _whole(index: Any, ndim: int) -> tuple[Any, ...]:
    """Return an index with one entry for each axis."""
    given = index if isinstance(index, tuple) else (index,)
    if Ellipsis in [i for i in given if i is Ellipsis]:
        at = next(n for n, i in enumerate(given) if i is Ellipsis)
        given = (*given[:at], *[slice(None)] * (ndim - len(given) + 1), *given[at + 1 :])
    return (*(int(i) if isinstance(i, np.integer) else i for i in given), *[slice(None)] * (ndim - len(given)))


def _spans(index: Any, shape: tuple[int, ...]) -> list[Span] | None:
    """Return begin and end along each axis; None for an index that is more than integers and slices of step 1."""
    spans = []
    for part, extent in zip(_whole(index, len(shape)), shape, strict=False):
        if isinstance(part, int) and not isinstance(part, bool):
            spans.append((part % extent, part % extent + 1))
        elif isinstance(part, slice) and part.step in {None, 1}:
            begin, end, _ = part.indices(extent)
            spans.append((begin, max(begin, end)))
        else:
            return None
    return spans if len(spans) == len(shape) == len(_whole(index, len(shape))) else None
