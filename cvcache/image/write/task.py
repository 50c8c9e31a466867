"""Types that the tasks of one image share: the plan, with the geometry of blocks, and the counts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cvcache.formats import ItemWrite
from cvcache.image.arrays import ArraySpec
from cvcache.image.pyramid import grid_shape
from cvcache.image.write.histogram import Histogram

Index = tuple[int, ...]


class WriteCounts(NamedTuple):
    """Counts and statistics of written objects.

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
        """Return the sum of both."""
        limits, histograms = dict(self.limits), dict(self.histograms)
        for channel, (low, high) in other.limits.items():
            current = limits.get(channel, (low, high))
            limits[channel] = (min(low, current[0]), max(high, current[1]))
        for channel, histogram in other.histograms.items():
            histograms[channel] = histograms[channel] + histogram if channel in histograms else histogram
        return WriteCounts(self.objects + other.objects, self.bytes + other.bytes, limits, histograms)


@dataclass(frozen=True, slots=True)
class Plan:
    """Plan of a write, part of each task.

    Attributes
    ----------
    item : ItemWrite
        In another process without its lease.
    dtype : str
        Of the source's blocks.
    specs : tuple of ArraySpec
        The levels, the finest first.
    steps : tuple of tuple of int
        Downsampling factors from each level to the next; ones for the last.
    blocks : tuple of tuple of int
        Shape of the block that one task writes, per level; see `cvcache.image.pyramid.block_shapes`.
    method : str
        One of `cvcache.image.write.downsample.METHODS`.
    statistics : bool
        Whether limits and histograms are computed.
    channel_axis : int or None
    progress_topic : str
        Topic of the events that distributed workers log for finished tasks; empty for none.
    """

    item: ItemWrite
    dtype: str
    specs: tuple[ArraySpec, ...]
    steps: tuple[Index, ...]
    blocks: tuple[Index, ...]
    method: str
    statistics: bool = False
    channel_axis: int | None = None
    progress_topic: str = ""

    def __dask_tokenize__(self) -> str:
        # task names are unique; without this distributed would hash all fields for each task
        return f"cvcache-plan-{self.item.url}"

    @property
    def object_count(self) -> int:
        """Number of objects of all levels."""
        return sum(spec.object_count for spec in self.specs)

    def grid(self, n: int) -> Index:
        """Return the number of blocks of level `n` along each axis."""
        return grid_shape(self.specs[n].shape, self.blocks[n])

    def region(self, n: int, index: Index) -> tuple[slice, ...]:
        """Return the region of one block in level `n`, in pixels."""
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
        """Yield the grid indices of the objects in one block of level `n`."""
        object_shape = self.specs[n].object_shape
        region = self.region(n, index)
        return itertools.product(
            *(range(part.start // u, -(-part.stop // u)) for part, u in zip(region, object_shape, strict=True))
        )
