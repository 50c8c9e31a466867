"""What a viewer shows, and which pixels of which level it will read: computed as napari does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask.array import Array

Span = tuple[int, int]
"""Begin and end along one axis, in pixels."""

FIT_FRACTION = 0.95
"""Part of the canvas that napari gives an image when it fits the view."""
DEFAULT_CANVAS = (600.0, 800.0)
"""Height and width of a canvas that has no size yet."""
PLANE_NDIM = 2


@dataclass(frozen=True, slots=True)
class Viewport:
    """The state of the viewer that decides which pixels are read.

    Attributes
    ----------
    empty : bool
        Whether the next layer is the first, to which the viewer will fit.
    ndisplay : int
    displayed : tuple of int
        The axes that are drawn, counted from the last one, which is -1.
    point : tuple of float
        Positions of the sliders, in world units.
    canvas : tuple of float
        Height and width in pixels of the screen.
    center : tuple of float
        Of the camera, along the axes that are drawn.
    zoom : float
        Pixels of the screen per world unit.
    """

    empty: bool = True
    ndisplay: int = 2
    displayed: tuple[int, ...] = (-2, -1)
    point: tuple[float, ...] = ()
    canvas: tuple[float, float] = DEFAULT_CANVAS
    center: tuple[float, ...] = ()
    zoom: float = 1.0

    @classmethod
    def of(cls, viewer: Any) -> Viewport:
        """Return the state of `viewer`; call it in the GUI thread."""
        dims = viewer.dims
        camera = viewer.scene.camera
        size = viewer.canvas.size
        height, width = (float(n) if n > 1 else default for n, default in zip(size, DEFAULT_CANVAS, strict=True))
        return cls(
            empty=not viewer.layers,
            ndisplay=dims.ndisplay,
            displayed=tuple(axis - dims.ndim for axis in dims.displayed),
            point=tuple(map(float, dims.point)),
            canvas=(height, width),
            center=tuple(map(float, camera.center))[-dims.ndisplay :],
            zoom=float(camera.zoom),
        )


@dataclass(frozen=True, slots=True)
class VisiblePixels:
    """Which pixels of which level are visible of one image."""

    shapes: list[tuple[int, ...]]
    chunks: list[tuple[tuple[int, ...], ...]]
    drawn: tuple[int, ...]
    point: tuple[int, ...]
    corners: tuple[tuple[float, float], ...]  # in pixels of level 0, along the drawn axes
    canvas: tuple[float, ...]

    @classmethod
    def of(cls, view: Viewport, levels: Sequence[Array], ndim: int, attributes: Mapping[str, Any]) -> VisiblePixels:
        """Return the visible pixels of an image of `ndim` axes, with ``scale`` and ``translate`` of its attributes."""
        shape = levels[0].shape[:ndim]
        scale = _numbers(attributes.get("scale"), ndim, 1.0)
        move = _numbers(attributes.get("translate"), ndim, 0.0)
        fits = view.ndisplay <= ndim and all(-ndim <= axis for axis in view.displayed)
        drawn = tuple(axis + ndim for axis in (view.displayed if fits else range(-min(view.ndisplay, ndim), 0)))
        point = [(n - 1) // 2 if view.empty else 0 for n in shape]
        if not view.empty:
            for axis in range(-min(ndim, len(view.point)), 0):
                point[axis] = min(max(round((view.point[axis] - move[axis]) / scale[axis]), 0), shape[axis] - 1)
        canvas = view.canvas[-len(drawn) :] if len(drawn) <= PLANE_NDIM else (math.inf,) * len(drawn)
        if view.empty:
            zoom = FIT_FRACTION * min(c / (shape[a] * abs(scale[a])) for c, a in zip(canvas, drawn, strict=True))
            center = [move[a] + (shape[a] - 1) / 2 * scale[a] for a in drawn]
        else:
            zoom, center = view.zoom, list(view.center)
        corners = []
        for size, middle, axis in zip(canvas, center, drawn, strict=True):
            ends = [(middle + sign * size / zoom / 2 - move[axis]) / scale[axis] for sign in (-1, 1)]
            corners.append((min(ends), max(ends)))
        return cls(
            [level.shape[:ndim] for level in levels],
            [level.chunks[:ndim] for level in levels],
            drawn,
            tuple(point),
            tuple(corners),
            tuple(canvas),
        )

    def level(self) -> int:
        """Return the level that napari chooses: the coarsest with at least one pixel for each pixel of the screen."""
        larger = [
            (high - low, size, axis)
            for (low, high), size, axis in zip(self.corners, self.canvas, self.drawn, strict=True)
            if high - low > size and any(self._factor(i, axis) > 1 for i in range(len(self.shapes)))
        ]
        if not larger:
            return 0
        fine_enough = [
            i
            for i in range(len(self.shapes))
            if all(extent / self._factor(i, axis) > size for extent, size, axis in larger)
        ]
        return fine_enough[-1] if fine_enough else 0

    def whole(self, level: int) -> tuple[Span, ...]:
        """Return the whole plane, or volume, of a level."""
        return tuple(
            (0, n) if axis in self.drawn else self._at(level, axis) for axis, n in enumerate(self.shapes[level])
        )

    def visible(self, level: int) -> tuple[Span, ...]:
        """Return the part of the plane that the canvas shows, extended to whole chunks, as napari reads it."""
        spans = list(self.whole(level))
        for (low, high), axis in zip(self.corners, self.drawn, strict=True):
            factor, extent = self._factor(level, axis), self.shapes[level][axis]
            first = min(max(math.floor(low / factor), 0), extent - 1)
            last = min(max(math.ceil(high / factor), 0), extent - 1)
            spans[axis] = _to_chunks(first, last, self.chunks[level][axis])
        return tuple(spans)

    def _factor(self, level: int, axis: int) -> float:
        return self.shapes[0][axis] / self.shapes[level][axis]

    def _at(self, level: int, axis: int) -> Span:
        last = self.shapes[level][axis] - 1
        index = round(min(max(self.point[axis] / self._factor(level, axis), 0), last))
        return index, index + 1


def _to_chunks(first: int, last: int, chunks: Sequence[int]) -> Span:
    start, low, high = 0, 0, sum(chunks)
    for size in chunks:
        if start <= first < start + size:
            low = start
        if start <= last < start + size:
            high = start + size
        start += size
    return low, high


def _numbers(values: Any, ndim: int, default: float) -> list[float]:
    found = [default] * ndim if values is None else [float(value) for value in values]
    return [value or default for value in found] if default else found
