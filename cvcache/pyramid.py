"""The shape of an image pyramid: axes, level shapes, chunks, scales. Arithmetic only, no I/O, no numpy.

Axes are one-letter names in array order. ``t`` is time, ``c`` channels, ``z``, ``y`` and ``x`` space;
time and channels are never downsampled. A voxel's size is its *scale*, where its centre lies is its
*translation*, both in the unit of the axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cvcache.errors import UsageError

__all__ = [
    "Level",
    "check_axes",
    "default_axes",
    "default_chunks",
    "grid",
    "next_factors",
    "per_axis",
    "plan_levels",
    "storage_axes",
]

ORDER = "tczyx"
TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
SMALL = 256
"""A level whose largest spatial extent is at most this, in pixels, is the last one."""
CHUNK_BYTES = 2 * 1024**2
CHUNK_DEPTH = 16
MOST_LEVELS = 16


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a pyramid.

    Attributes
    ----------
    shape, chunks : tuple of int
        In pixels, one per axis.
    factors : tuple of int
        How many pixels of level 0 one pixel spans, per axis.
    scale, translation : tuple of float
        Size of a pixel and position of the first pixel's centre, per axis, in the axis' unit.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    factors: tuple[int, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]


def default_axes(ndim: int) -> tuple[str, ...]:
    """Return the axes of an array of rank 1 to 5 of which nothing is known: x, yx, zyx, czyx or tczyx."""
    if not 1 <= ndim <= len(ORDER):
        msg = f"an image has 1 to {len(ORDER)} axes, not {ndim}; reshape it, or write it as .npy"
        raise UsageError(msg)
    return tuple(ORDER[-ndim:])


def check_axes(axes: Sequence[str], ndim: int) -> tuple[str, ...]:
    """Return `axes` as a tuple: distinct letters of ``tczyx``, one per dimension, time and channel first.

    Raises
    ------
    UsageError
        The names cannot be kept by OME-Zarr.
    """
    names = tuple(axes)
    unknown = [name for name in names if name not in TYPES]
    if unknown or len(set(names)) != len(names):
        msg = f"axes {list(names)} must be distinct letters of {ORDER!r}"
        raise UsageError(msg)
    if len(names) != ndim:
        msg = f"axes {list(names)} name {len(names)} dimensions, the array has {ndim}"
        raise UsageError(msg)
    rank = {"time": 0, "channel": 1, "space": 2}
    ordered = tuple(sorted(names, key=lambda name: rank[TYPES[name]]))
    if ordered != names:
        msg = f"axes {list(names)} must be in the order {list(ordered)} (OME-Zarr); numpy.moveaxis does it"
        raise UsageError(msg)
    return names


def storage_axes(axes: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the axes an array is stored with, and which of them were added with extent 1.

    OME-Zarr asks for at least two axes of space; ``x`` is stored as ``yx``, ``tc`` as ``tcyx``.
    """
    names = list(axes)
    if len(names) - len(set(names) & set("tc")) <= 1:
        missing = "x" if "x" not in names and ("y" in names or "z" in names) else "y" if "x" in names else "yx"
        names = sorted([*names, *missing], key=ORDER.index)
    return tuple(names), tuple(i for i, name in enumerate(names) if name not in axes)


def per_axis(
    values: Sequence[float] | Mapping[str, float] | None, axes: Sequence[str], default: float, what: str
) -> tuple[float, ...]:
    """Return one finite number per axis.

    Parameters
    ----------
    values : sequence or mapping or None
        One per axis, one per axis of space, or by axis name; the others get `default`.
    axes : sequence of str
    default : float
    what : str
        What the values are, for the message.

    Raises
    ------
    UsageError
        A wrong number of values, an unknown axis, or a value that is not finite.
    """
    if isinstance(values, Mapping):
        unknown = [name for name in values if name not in axes]
        found = tuple(float(values.get(name, default)) for name in axes)
    else:
        given = [float(value) for value in values] if values is not None else []
        space = [i for i, name in enumerate(axes) if TYPES.get(name) == "space"]
        where = list(range(len(axes))) if len(given) == len(axes) else space
        unknown = [] if values is None or len(given) == len(where) else [f"{len(given)} values"]
        by_index = dict(zip(where, given, strict=False))
        found = tuple(by_index.get(i, default) for i in range(len(axes)))
    if unknown or not all(math.isfinite(value) for value in found):
        msg = f"{what} {values!r} does not fit the axes {list(axes)}: give one finite number per axis, or a mapping"
        raise UsageError(msg)
    return found


def grid(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Return how many chunks lie along each axis."""
    return tuple(-(-extent // chunk) for extent, chunk in zip(shape, chunks, strict=True))


def default_chunks(shape: Sequence[int], axes: Sequence[str], itemsize: int) -> tuple[int, ...]:
    """Return chunks of at most about 2 MiB: one time and channel, up to 16 planes, planes about square.

    Extents of the plane are powers of two, or the whole axis where that is shorter.
    """
    budget = max(1, CHUNK_BYTES // itemsize)
    chunks = [1] * len(shape)
    space = [i for i, name in enumerate(axes) if TYPES[name] == "space"]
    for i in space[:-2]:
        chunks[i] = min(shape[i], CHUNK_DEPTH)
        budget = max(1, budget // chunks[i])
    left = len(space[-2:])
    for i in sorted(space[-2:], key=lambda i: shape[i]):
        side = math.isqrt(budget) if left > 1 else budget
        chunks[i] = min(shape[i], 1 << (side.bit_length() - 1))
        budget = max(1, budget // chunks[i])
        left -= 1
    return tuple(chunks)


def next_factors(shape: Sequence[int], axes: Sequence[str], scale: Sequence[float]) -> tuple[int, ...]:
    """Return by what each axis is divided to reach the next level: 2 or 1.

    Of the axes of space still longer than 256 pixels (of all, when none is) the one with the finest
    voxel is the reference. Halved is each axis of space whose voxel is less than twice as large as the
    reference's: a stack with z four times as coarse as y and x keeps its z until y and x have caught up.
    An axis of one pixel stays.
    """
    space = [i for i, name in enumerate(axes) if TYPES[name] == "space" and shape[i] > 1]
    if not space:
        return (1,) * len(shape)
    reference = min(abs(scale[i]) for i in ([i for i in space if shape[i] > SMALL] or space))
    near = 2 * reference * (1 - 1e-9)
    return tuple(2 if i in space and abs(scale[i]) < near else 1 for i in range(len(shape)))


def plan_levels(
    shape: Sequence[int],
    axes: Sequence[str],
    itemsize: int,
    *,
    scale: Sequence[float] | None = None,
    translation: Sequence[float] | None = None,
    levels: int | None = None,
    chunks: Sequence[int] | None = None,
) -> tuple[Level, ...]:
    """Return the levels of the pyramid of one array, the finest first.

    Parameters
    ----------
    shape : sequence of int
        Of level 0, in pixels, none of them 0.
    axes : sequence of str
        One letter per dimension.
    itemsize : int
        Bytes per pixel.
    scale, translation : sequence of float, optional
        Of level 0, one per axis; 1 and 0 if not given.
    levels : int, optional
        How many; fewer when everything is one pixel before. By default as many as it takes until the
        largest extent in space is at most 256 pixels.
    chunks : sequence of int, optional
        One per axis, clipped to each level's shape; `default_chunks` if not given.

    Raises
    ------
    UsageError
        `levels`, `chunks` or `scale` make no pyramid.
    """
    scale = tuple(map(float, scale or (1.0,) * len(shape)))
    translation = tuple(map(float, translation or (0.0,) * len(shape)))
    chunks = tuple(chunks) if chunks is not None else default_chunks(shape, axes, itemsize)
    if (levels is not None and levels < 1) or len(chunks) != len(shape) or min(chunks) < 1 or 0 in scale:
        msg = (
            f"levels={levels}, chunks={list(chunks)}, scale={list(scale)} make no pyramid of shape {list(shape)}: "
            "at least one level, one positive chunk extent per axis, no scale of 0"
        )
        raise UsageError(msg)
    now, factors = tuple(shape), (1,) * len(shape)
    plan: list[Level] = []
    while True:
        pixel = tuple(s * f for s, f in zip(scale, factors, strict=True))
        centre = tuple(t + (f - 1) / 2 * s for t, f, s in zip(translation, factors, scale, strict=True))
        clipped = tuple(min(c, n) for c, n in zip(chunks, now, strict=True))
        plan.append(Level(now, clipped, factors, pixel, centre))
        step = next_factors(now, axes, pixel)
        if len(plan) == levels or max(step) == 1 or (levels is None and _is_small(now, axes, len(plan))):
            return tuple(plan)
        now = tuple(-(-n // f) for n, f in zip(now, step, strict=True))
        factors = tuple(a * b for a, b in zip(factors, step, strict=True))


def _is_small(shape: Sequence[int], axes: Sequence[str], count: int) -> bool:
    extents = (n for n, name in zip(shape, axes, strict=True) if TYPES[name] == "space")
    return count >= MOST_LEVELS or max(extents) <= SMALL
