"""What the tasks of one image share: the plan, what each hands on of what it wrote, and the place of a block."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cvcache.formats import ItemPath
from cvcache.image.arrays import ArraySpec
from cvcache.image.pyramid import grid_shape
from cvcache.image.write.histogram import Histogram

Index = tuple[int, ...]


class WriteCounts(NamedTuple):
    """What was written, and what was seen of it.

    Attributes
    ----------
    objects, bytes : int
    limits : mapping
        Channel -> (least, greatest) finite value of level 0.
    histograms : mapping
        Channel -> histogram of the last level.
    """

    objects: int = 0
    bytes: int = 0
    limits: Mapping[int, tuple[float, float]] = {}
    histograms: Mapping[int, Histogram] = {}

    def plus(self, other: WriteCounts) -> WriteCounts:
        """Return what both say together."""
        limits, histograms = dict(self.limits), dict(self.histograms)
        for channel, (low, high) in other.limits.items():
            current = limits.get(channel, (low, high))
            limits[channel] = (min(low, current[0]), max(high, current[1]))
        for channel, histogram in other.histograms.items():
            histograms[channel] = histograms[channel] + histogram if channel in histograms else histogram
        return WriteCounts(self.objects + other.objects, self.bytes + other.bytes, limits, histograms)


@dataclass(frozen=True, slots=True)
class Plan:
    """What each task of one image has to know.

    Attributes
    ----------
    item : ItemPath
        In another process without what ties it to this one.
    dtype : str
        Of the source's blocks.
    specs : tuple of ArraySpec
        The levels, the finest first.
    steps : tuple of tuple of int
        By what each level is divided to give the next; ones for the last.
    blocks : tuple of tuple of int
        Extent of what one task writes of each level, see `cvcache.image.pyramid.blocks`.
    method : str
        One of `cvcache.image.write.downsample.METHODS`.
    statistics : bool
        Whether limits and histograms are wanted.
    channel_axis : int or None
    progress_topic : str
        Topic on which a distributed worker says that a task is done; empty for none.
    """

    item: ItemPath
    dtype: str
    specs: tuple[ArraySpec, ...]
    steps: tuple[Index, ...]
    blocks: tuple[Index, ...]
    method: str
    statistics: bool = False
    channel_axis: int | None = None
    progress_topic: str = ""

    def __dask_tokenize__(self) -> str:
        # every task has a unique name; distributed would hash all fields for each one, and some it cannot
        return f"cvcache-plan-{self.item.url}"

    @property
    def object_count(self) -> int:
        """How many objects all levels have."""
        return sum(spec.object_count for spec in self.specs)

    def grid(self, n: int) -> Index:
        """Return how many blocks of level `n` lie along each axis."""
        return grid_shape(self.specs[n].shape, self.blocks[n])

    def region(self, n: int, index: Index) -> tuple[slice, ...]:
        """Return what of level `n` one block is, in pixels."""
        axes = zip(index, self.blocks[n], self.specs[n].shape, strict=True)
        return tuple(slice(i * extent, min((i + 1) * extent, full)) for i, extent, full in axes)

    def children(self, n: int, index: Index) -> Iterator[Index]:
        """Yield the blocks of level ``n - 1`` that one of level `n` is made of."""
        axes = zip(index, self.blocks[n], self.steps[n - 1], self.blocks[n - 1], self.grid(n - 1), strict=True)
        ranges = []
        for i, extent, step, child, count in axes:
            ratio = extent * step // child
            ranges.append(range(i * ratio, min((i + 1) * ratio, count)))
        return itertools.product(*ranges)

    def object_indices(self, n: int, index: Index) -> Iterator[Index]:
        """Yield the objects of one block of level `n`."""
        object_shape = self.specs[n].object_shape
        region = self.region(n, index)
        return itertools.product(
            *(range(part.start // u, -(-part.stop // u)) for part, u in zip(region, object_shape, strict=True))
        )
