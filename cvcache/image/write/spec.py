"""What an image will be: axes, levels and encoding, from the shape of an array and the options; without a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from cvcache.errors import UsageError
from cvcache.image.arrays import ArraySpec, Codec, parse_compressor
from cvcache.image.ome_metadata import ome_metadata, omero_metadata
from cvcache.image.pyramid import (
    Level,
    block_shapes,
    check_axes,
    check_factors,
    default_axes,
    level_steps,
    per_axis,
    plan_levels,
    storage_axes,
)
from cvcache.image.write.options import (
    check_channels,
    check_contrast,
    check_layer,
    check_method,
    check_unit,
    dtype_limits,
    parse_int,
    parse_ints,
)
from cvcache.image.write.statistics import contrast_windows
from cvcache.image.write.task import Plan

if TYPE_CHECKING:
    import numpy as np

    from cvcache.formats import ItemWrite
    from cvcache.image.write.task import WriteCounts

T = TypeVar("T")

VERSIONS = ("0.5", "0.4")


@dataclass(frozen=True)
class ImageSpec:
    """An image and its pyramid as they will be stored.

    Attributes
    ----------
    axes : tuple of str
        As stored; OME-Zarr asks for at least two of space.
    added : tuple of int
        Indices of the axes that the array does not have, of extent 1.
    dtype : numpy.dtype
        Of the array.
    levels : tuple of Level
    codec : Codec
    version, kind, method : str
        Version of OME-Zarr; "image" or "labels"; how a level is downsampled.
    units : mapping
        Axis -> unit.
    channels : sequence of str or mapping
        A name, or fields of omero, for each channel.
    contrast : list of (low, high)
        For each channel; empty if the pixels say it.
    layer : mapping
        Settings of the napari layer.
    """

    axes: tuple[str, ...]
    added: tuple[int, ...]
    dtype: np.dtype
    levels: tuple[Level, ...]
    codec: Codec
    version: str
    kind: str
    method: str
    units: Mapping[str, str]
    channels: Sequence[str | Mapping[str, Any]]
    contrast: list[tuple[float, float]]
    layer: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        dtype: np.dtype,
        geometry: Mapping[str, Any],
        *,
        levels: int | None = None,
        factors: Any = None,
        downsample: str | None = None,
        chunks: Sequence[int] | None = None,
        shards: Any = None,
        compressor: object = "blosc",
        version: str = "0.5",
        kind: str = "image",
        contrast: Any = None,
        layer: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the specification for an array of this shape and dtype.

        `geometry` has its axes, scale, translation, unit and channels, those that are known; the options are those of
        ``ome_zarr.write``.

        Raises
        ------
        UsageError
            Options that are not valid, or do not fit the array.
        """
        method = check_method(downsample, kind, dtype)
        axes = check_axes(geometry.get("axes") or default_axes(len(shape)), len(shape))
        stored_axes, added = storage_axes(axes)

        def stored(values: Sequence[T], default: T) -> list[T]:
            """Return one value for each stored axis."""
            by_axis = dict(zip(axes, values, strict=True))
            return [by_axis.get(name, default) for name in stored_axes]

        stored_shape = stored(shape, 1)
        units = check_unit(geometry.get("unit"), axes)
        steps = check_factors(factors, axes)
        objects = _parse_shards(shards, axes, version)
        chunk_shape = _parse_extents("chunks", chunks, axes)
        pyramid = plan_levels(
            stored_shape,
            stored_axes,
            dtype.itemsize,
            scale=stored(per_axis(geometry.get("scale"), axes, 1.0, "scale"), 1.0),
            translation=stored(per_axis(geometry.get("translation"), axes, 0.0, "translation"), 0.0),
            levels=None if levels is None else parse_int("levels", levels),
            factors=None if steps is None else [stored(step, 1) for step in steps],
            chunks=None if chunk_shape is None else stored(chunk_shape, 1),
            shards=stored(objects, 1) if objects else objects,
        )
        channel_count = stored_shape[stored_axes.index("c")] if "c" in stored_axes else 1
        return cls(
            axes=stored_axes,
            added=added,
            dtype=dtype,
            levels=pyramid,
            codec=parse_compressor(compressor),
            version=version,
            kind=kind,
            method=method,
            units=units,
            channels=check_channels(geometry.get("channels"), channel_count),
            contrast=check_contrast(contrast, channel_count),
            layer=check_layer(layer),
        )

    @property
    def selection(self) -> tuple[slice | None, ...]:
        """Index that gives an array the stored axes."""
        return tuple(None if i in self.added else slice(None) for i in range(len(self.axes)))

    @property
    def has_statistics(self) -> bool:
        """Whether its pixels have an order and a contrast."""
        return self.kind == "image" and self.dtype.kind != "c"

    def plan(self, item: ItemWrite, source_chunks: Sequence[Sequence[int]] | None) -> Plan:
        """Return the plan of its write, with blocks that fit dask's chunks of the source."""
        return Plan(
            item=item,
            dtype=str(self.dtype),
            specs=tuple(self._array(n, level) for n, level in enumerate(self.levels)),
            steps=level_steps(self.levels),
            blocks=block_shapes(self.levels, source_chunks, self.dtype.itemsize),
            method=self.method,
            statistics=self.has_statistics,
            channel_axis=self.axes.index("c") if "c" in self.axes else None,
        )

    def _array(self, n: int, level: Level) -> ArraySpec:
        """Return layout and encoding of one level."""
        # OME-Zarr has only integer labels; the group's attributes record that they were bool
        is_mask = self.kind == "labels" and self.dtype.kind == "b"
        is_new = self.version == "0.5"
        return ArraySpec(
            path=str(n),
            shape=level.shape,
            chunks=level.chunks,
            shards=level.shards,
            dtype="|u1" if is_mask else self.dtype.newbyteorder("<").str,
            codec=self.codec,
            checksum=is_new,
            names=self.axes,
            zarr_format=3 if is_new else 2,
            prefix="c/" if is_new else "",
        )

    def ome_attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of OME-Zarr, without ``omero``."""
        return ome_metadata(
            name,
            self.axes,
            self.levels,
            units=self.units,
            kind=self.kind,
            method=self.method,
            version=self.version,
        )

    def omero_attributes(self, counts: WriteCounts) -> dict[str, Any] | None:
        """Return the attribute ``omero`` of an image with these pixels; None for labels and complex numbers."""
        if not self.has_statistics:
            return None
        limits = dtype_limits(self.dtype)
        windows = self.contrast or contrast_windows(counts, len(self.channels), limits)
        return omero_metadata(self.channels, windows, limits)


def _parse_extents(name: str, value: Any, axes: Sequence[str]) -> tuple[int, ...] | None:
    """Return an option that has one extent for each axis."""
    extents = parse_ints(name, value)
    if extents is not None and len(extents) != len(axes):
        msg = f"{name}={list(extents)} must be {len(axes)} extents in pixels, one for each of the axes {list(axes)}"
        raise UsageError(msg)
    return extents


def _parse_shards(shards: Any, axes: Sequence[str], version: str) -> tuple[int, ...] | Literal[False] | None:
    if shards is False or (shards is None and version == "0.4"):
        return False
    extents = _parse_extents("shards", shards, axes)
    if extents is not None and version == "0.4":
        msg = "OME-Zarr 0.4 has no shards; leave shards= away, or write version='0.5'"
        raise UsageError(msg)
    return extents
