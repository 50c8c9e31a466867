"""The shape of an image pyramid: axes, level shapes, chunks, scales. Arithmetic only, no I/O, no numpy.

Axes are one-letter names in array order. ``t`` is time, ``c`` channels, ``z``, ``y`` and ``x`` space;
time and channels are never downsampled. The *scale* is the size of a voxel, the *translation* the
position of the first voxel's centre, both in the unit of the axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cvcache.errors import UsageError

__all__ = [
    "Level",
    "block_shapes",
    "check_axes",
    "check_factors",
    "default_axes",
    "default_chunks",
    "default_shards",
    "grid_shape",
    "level_steps",
    "next_factors",
    "per_axis",
    "plan_levels",
    "storage_axes",
]

AXIS_ORDER = "tczyx"
AXIS_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
LAST_LEVEL_EXTENT = 256
"""A level whose largest spatial extent is at most this, in pixels, is the last one."""
CHUNK_BYTES = 2 * 1024**2
CHUNK_DEPTH = 16
MAX_LEVELS = 16
MAX_UNSHARDED_CHUNKS = 10_000
"""A level with more chunks than this is stored in shards."""
SHARD_BYTES = 256 * 1024**2
BLOCK_BYTES = 8 * 1024**2
"""Small chunks are computed and written together, in blocks of up to about this size."""


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
    shards : tuple of int or None
        Extent of one object, if it holds several chunks.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    factors: tuple[int, ...]
    scale: tuple[float, ...]
    translation: tuple[float, ...]
    shards: tuple[int, ...] | None = None

    @property
    def object_shape(self) -> tuple[int, ...]:
        """Extent of one object: a shard, or a chunk."""
        return self.shards or self.chunks


def default_axes(ndim: int) -> tuple[str, ...]:
    """Return the default axes of an array of rank 1 to 5: x, yx, zyx, czyx or tczyx."""
    if not 1 <= ndim <= len(AXIS_ORDER):
        msg = f"an image has 1 to {len(AXIS_ORDER)} axes, not {ndim}; reshape it, or write it as .npy"
        raise UsageError(msg)
    return tuple(AXIS_ORDER[-ndim:])


def check_axes(axes: Sequence[str], ndim: int) -> tuple[str, ...]:
    """Return `axes` as a tuple: distinct letters of ``tczyx``, one per dimension, time and channel first.

    Raises
    ------
    UsageError
        OME-Zarr cannot store these axes.
    """
    names = tuple(axes)
    unknown = [name for name in names if name not in AXIS_TYPES]
    if unknown or len(set(names)) != len(names):
        msg = f"axes {list(names)} must be distinct letters of {AXIS_ORDER!r}"
        raise UsageError(msg)
    if len(names) != ndim:
        msg = f"axes {list(names)} name {len(names)} dimensions, the array has {ndim}"
        raise UsageError(msg)
    rank = {"time": 0, "channel": 1, "space": 2}
    ordered = tuple(sorted(names, key=lambda name: rank[AXIS_TYPES[name]]))
    if ordered != names:
        msg = f"axes {list(names)} must be in the order {list(ordered)} (OME-Zarr); numpy.moveaxis does it"
        raise UsageError(msg)
    return names


def storage_axes(axes: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the stored axes of an array, and the indices of those added with extent 1.

    OME-Zarr asks for at least two axes of space; ``x`` is stored as ``yx``, ``tc`` as ``tcyx``.
    """
    names = list(axes)
    if len(names) - len(set(names) & set("tc")) <= 1:
        missing = "x" if "x" not in names and ("y" in names or "z" in names) else "y" if "x" in names else "yx"
        names = sorted([*names, *missing], key=AXIS_ORDER.index)
    return tuple(names), tuple(i for i, name in enumerate(names) if name not in axes)


def per_axis(
    values: Sequence[float] | Mapping[str, float] | None, axes: Sequence[str], default: float, label: str
) -> tuple[float, ...]:
    """Return one finite number per axis.

    Parameters
    ----------
    values : sequence or mapping or None
        One per axis, one per axis of space, or by axis name; the others get `default`.
    axes : sequence of str
    default : float
    label : str
        Name of the values, for the message.

    Raises
    ------
    UsageError
        A wrong number of values, an unknown axis, or a value that is not finite.
    """
    by_axis = values if isinstance(values, Mapping) else _by_axis(values, axes)
    if by_axis is None or not by_axis.keys() <= set(axes) or not all(map(math.isfinite, by_axis.values())):
        msg = f"{label} {values!r} does not fit the axes {list(axes)}: give one finite number per axis, or a mapping"
        raise UsageError(msg)
    return tuple(float(by_axis.get(name, default)) for name in axes)


def _by_axis(values: Sequence[float] | None, axes: Sequence[str]) -> Mapping[str, float] | None:
    """Return axis -> value, for all axes or those of space; None for another number of values."""
    if values is None:
        return {}
    space = [name for name in axes if AXIS_TYPES.get(name) == "space"]
    names = axes if len(values) == len(axes) else space
    return dict(zip(names, map(float, values), strict=True)) if len(values) == len(names) else None


def grid_shape(shape: Sequence[int], chunks: Sequence[int]) -> tuple[int, ...]:
    """Return the number of chunks along each axis."""
    return tuple(-(-extent // chunk) for extent, chunk in zip(shape, chunks, strict=True))


def default_chunks(shape: Sequence[int], axes: Sequence[str], itemsize: int) -> tuple[int, ...]:
    """Return chunks of at most about 2 MiB: one time and channel, up to 16 planes, planes about square.

    Extents of the plane are powers of two, or the whole axis where that is shorter.
    """
    budget = max(1, CHUNK_BYTES // itemsize)
    chunks = [1] * len(shape)
    space = [i for i, name in enumerate(axes) if AXIS_TYPES[name] == "space"]
    for i in space[:-2]:
        chunks[i] = max(1, min(shape[i], CHUNK_DEPTH))
        budget = max(1, budget // chunks[i])
    remaining = len(space[-2:])
    for i in sorted(space[-2:], key=lambda i: shape[i]):
        side = math.isqrt(budget) if remaining > 1 else budget
        chunks[i] = max(1, min(shape[i], 1 << (side.bit_length() - 1)))
        budget = max(1, budget // chunks[i])
        remaining -= 1
    return tuple(chunks)


def default_shards(
    shape: Sequence[int], axes: Sequence[str], chunks: Sequence[int], itemsize: int
) -> tuple[int, ...] | None:
    """Return shards of at most 256 MiB that keep a level below 10,000 objects; None if its chunks are few enough."""
    shards = list(chunks)
    axis_order = [i for i, name in enumerate(axes) if AXIS_TYPES.get(name, "space") == "space"][::-1] or list(
        range(len(shape))
    )
    turn = 0
    while (
        math.prod(grid_shape(shape, shards)) > MAX_UNSHARDED_CHUNKS and 2 * math.prod(shards) * itemsize <= SHARD_BYTES
    ):
        growing = [i for i in axis_order if shards[i] < shape[i]] or [
            i for i in range(len(shape)) if shards[i] < shape[i]
        ]
        axis = growing[turn % len(growing)]
        shards[axis] *= 2
        turn += 1
    return None if shards == list(chunks) else tuple(shards)


def check_factors(factors: Any, axes: Sequence[str]) -> list[tuple[int, ...]] | None:
    """Return the downsampling factors of each step, per axis; a single entry is for all steps.

    Parameters
    ----------
    factors : int, sequence, mapping, or sequence of these; None
        For all axes of space, per axis, per axis of space or by name.

    Raises
    ------
    UsageError
        One is no positive whole number, or of an axis that is never shrunk (time, channels).
    """
    if factors is None:
        return None
    is_per_step = isinstance(factors, Sequence) and any(isinstance(step, (Sequence, Mapping)) for step in factors)
    return [_factors_per_axis(step, axes) for step in (factors if is_per_step else [factors])]


def _factors_per_axis(factors: Any, axes: Sequence[str]) -> tuple[int, ...]:
    space = [AXIS_TYPES.get(name) == "space" for name in axes]
    if isinstance(factors, int):
        factors = {name: factors for name, spatial in zip(axes, space, strict=True) if spatial}
    elif not isinstance(factors, (Mapping, Sequence)) or isinstance(factors, str):
        msg = f"factors {factors!r} must be a whole number, one per axis, or a mapping by name"
        raise UsageError(msg)
    step = per_axis(factors, axes, 1.0, "factors")
    if any(f < 1 or f != int(f) or (f > 1 and not spatial) for f, spatial in zip(step, space, strict=True)):
        msg = f"factors {factors!r} must be whole numbers of at least 1, and 1 for time and channels"
        raise UsageError(msg)
    return tuple(map(int, step))


def next_factors(shape: Sequence[int], axes: Sequence[str], scale: Sequence[float]) -> tuple[int, ...]:
    """Return the factors from this level to the next, per axis: 2 or 1.

    The reference is the finest voxel size among the axes of space longer than 256 pixels (among all of
    space if none is). Each axis of space whose voxel size is less than twice the reference is halved: a
    stack with z four times as coarse as y and x keeps its z for two levels. An axis of one pixel is kept.
    """
    space = [i for i, name in enumerate(axes) if AXIS_TYPES[name] == "space" and shape[i] > 1]
    if not space:
        return (1,) * len(shape)
    reference = min(abs(scale[i]) for i in ([i for i in space if shape[i] > LAST_LEVEL_EXTENT] or space))
    threshold = 2 * reference * (1 - 1e-9)
    return tuple(2 if i in space and abs(scale[i]) < threshold else 1 for i in range(len(shape)))


def plan_levels(
    shape: Sequence[int],
    axes: Sequence[str],
    itemsize: int,
    *,
    scale: Sequence[float] | None = None,
    translation: Sequence[float] | None = None,
    levels: int | None = None,
    factors: Sequence[Sequence[int]] | None = None,
    chunks: Sequence[int] | None = None,
    shards: Sequence[int] | Literal[False] | None = None,
) -> tuple[Level, ...]:
    """Return the levels of the pyramid of one array, the finest first.

    Parameters
    ----------
    shape : sequence of int
        Of level 0, in pixels; an empty array has this one level.
    axes : sequence of str
        One letter per dimension.
    itemsize : int
        Bytes per pixel.
    scale, translation : sequence of float, optional
        Of level 0, one per axis; 1 and 0 if not given.
    levels : int, optional
        Number of levels; fewer if one of them is a single pixel. By default as many as make the largest
        extent in space at most 256 pixels.
    factors : sequence of sequence of int, optional
        Factors of each step, per axis, the last one for all further steps; by default `next_factors`.
        Several give one level more than factors, unless `levels` is less.
    chunks : sequence of int, optional
        One per axis, clipped to each level's shape; `default_chunks` if not given.
    shards : sequence of int or bool, optional
        Multiples of `chunks`; False for none; `default_shards` if not given.

    Raises
    ------
    UsageError
        `levels`, `chunks`, `shards` or `scale` make no pyramid.
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
    _check_shards(shards, chunks)
    pyramid = []
    for level_shape, spans in _level_shapes(shape, axes, scale, levels, factors):
        level_chunks = tuple(max(1, min(c, n)) for c, n in zip(chunks, level_shape, strict=True))
        level = Level(
            shape=level_shape,
            chunks=level_chunks,
            factors=spans,
            scale=tuple(s * f for s, f in zip(scale, spans, strict=True)),
            translation=tuple(t + (f - 1) / 2 * s for t, f, s in zip(translation, spans, scale, strict=True)),
            shards=_shards(level_shape, axes, level_chunks, chunks, shards, itemsize),
        )
        pyramid.append(level)
    return tuple(pyramid)


def _level_shapes(
    shape: Sequence[int],
    axes: Sequence[str],
    scale: Sequence[float],
    levels: int | None,
    factors: Sequence[Sequence[int]] | None,
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield the shape of each level, and how many pixels of level 0 one of its pixels spans."""
    if factors is not None and len(factors) > 1:
        levels = min(levels or MAX_LEVELS, len(factors) + 1)
    level_shape, spans = tuple(shape), (1,) * len(shape)
    for count in itertools.count(1):
        yield level_shape, spans
        if count == levels or (levels is None and _is_last(level_shape, axes, count)):
            return
        voxels = [s * f for s, f in zip(scale, spans, strict=True)]
        wanted = factors[min(count, len(factors)) - 1] if factors else next_factors(level_shape, axes, voxels)
        step = _possible_factors(level_shape, wanted)
        if max(step) == 1:
            return
        level_shape = tuple(-(-n // f) for n, f in zip(level_shape, step, strict=True))
        spans = tuple(a * b for a, b in zip(spans, step, strict=True))


def _possible_factors(shape: Sequence[int], wanted: Sequence[int]) -> tuple[int, ...]:
    """Return the factors that shrink a level: 1 along an axis of one pixel, and for an empty one."""
    return tuple(1 if n <= 1 or 0 in shape else f for n, f in zip(shape, wanted, strict=True))


def _check_shards(shards: Sequence[int] | Literal[False] | None, chunks: Sequence[int]) -> None:
    if shards is None or shards is False:
        return
    if len(shards) != len(chunks) or any(a < 1 or a % b for a, b in zip(shards, chunks, strict=True)):
        msg = f"shards={list(shards)} must be multiples of the chunks {list(chunks)}, one for each of them"
        raise UsageError(msg)


def _shards(
    shape: Sequence[int],
    axes: Sequence[str],
    level_chunks: tuple[int, ...],
    chunks: Sequence[int],
    shards: Sequence[int] | Literal[False] | None,
    itemsize: int,
) -> tuple[int, ...] | None:
    """Return the shards of one level, clipped to its shape in whole chunks."""
    if shards is None:
        default = default_shards(shape, axes, level_chunks, itemsize)
        ratio = [a // b for a, b in zip(default or level_chunks, level_chunks, strict=True)]
    elif shards is False:
        return None
    else:
        ratio = [a // b for a, b in zip(shards, chunks, strict=True)]
    chunks_per_shard = [
        max(1, min(n, -(-extent // c))) for n, extent, c in zip(ratio, shape, level_chunks, strict=True)
    ]
    return (
        None
        if max(chunks_per_shard) == 1
        else tuple(n * c for n, c in zip(chunks_per_shard, level_chunks, strict=True))
    )


def block_shapes(
    levels: Sequence[Level], source: Sequence[Sequence[int]] | None, itemsize: int
) -> tuple[tuple[int, ...], ...]:
    """Return, for each level, the shape of the block that one task writes, in pixels.

    A block consists of whole objects, is divisible by the factors to the next level, and is downsampled into
    exactly one block there. So no two tasks write the same object, and the tasks form a tree.

    Parameters
    ----------
    levels : sequence of Level
    source : sequence of sequence of int, optional
        dask's chunks of the source: a block is one of them if their borders allow it.
    itemsize : int
        Bytes per pixel.
    """
    steps = level_steps(levels)
    shapes: list[tuple[int, ...]] = []
    for level, step in zip(levels, steps, strict=True):
        base = [math.lcm(u, f) for u, f in zip(level.object_shape, step, strict=True)]
        if shapes:
            shrunk = [b // f for b, f in zip(shapes[-1], steps[len(shapes) - 1], strict=True)]
            shapes.append(tuple(math.lcm(a, b) for a, b in zip(base, shrunk, strict=True)))
        else:
            shapes.append(_first_block_shape(level.shape, base, source, itemsize))
    return tuple(shapes)


def level_steps(levels: Sequence[Level]) -> tuple[tuple[int, ...], ...]:
    """Return the downsampling factors from each level to the next; ones for the last."""
    following = [*levels[1:], levels[-1]]
    return tuple(
        tuple(b // a for a, b in zip(level.factors, coarser.factors, strict=True))
        for level, coarser in zip(levels, following, strict=True)
    )


def _first_block_shape(
    shape: Sequence[int], base: Sequence[int], source: Sequence[Sequence[int]] | None, itemsize: int
) -> tuple[int, ...]:
    block = list(base)
    for i, parts in enumerate(source or ()):
        largest = max(parts, default=0)
        even = all(part == largest for part in parts[:-1])
        if even and (largest % base[i] == 0 or largest >= shape[i]):
            block[i] = max(1, -(-largest // base[i])) * base[i]
    # grow up to the array itself, but not beyond the memory of one task
    while growing := [i for i in reversed(range(len(block))) if block[i] < shape[i]]:
        axis = min(growing, key=lambda i: block[i] // base[i])
        if 2 * math.prod(map(min, block, shape)) * itemsize > BLOCK_BYTES:
            break
        block[axis] *= 2
    return tuple(block)


def _is_last(shape: Sequence[int], axes: Sequence[str], count: int) -> bool:
    extents = (n for n, name in zip(shape, axes, strict=True) if AXIS_TYPES[name] == "space")
    return count >= MAX_LEVELS or max(extents) <= LAST_LEVEL_EXTENT
