"""Image and labels layers: all levels as lazy arrays, one layer for each channel, no pixel read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cvcache.browse.layer_data.settings import colormap, geometry, is_range, safe_label, saved_settings
from cvcache.errors import UsageError
from cvcache.image import (
    CHANNEL_COLORS,
    StoredArray,
    StoredLevel,
    as_dask_array,
    image_metadata,
    is_zip,
    level_array,
)

if TYPE_CHECKING:
    import dask.array as da

    from cvcache.browse.locate import Subject
    from cvcache.formats import ItemPath

MAX_CHANNELS = 64
"""An image with more channels becomes one layer with a slider."""
MAX_VISIBLE_CHANNELS = 6
"""Channels that are visible at first."""
PLANE_NDIM = 2
RGB = (3, 4)

LayerData = tuple[Any, dict[str, Any], str]
"""Data, attributes and type of a layer, as napari takes them."""


@dataclass(frozen=True, slots=True)
class _Image:
    """An image whose metadata was read."""

    subject: Subject
    meta: Mapping[str, Any]
    levels: Sequence[StoredLevel]

    def level(self, number: int, *parts: Sequence[Any]) -> StoredArray:
        selections: list[Sequence[Any]] = [] if self.subject.slices is None else [self.subject.slices]
        selections += [self._trim(number)] if number else []
        return level_array(self.subject.item, self.meta, self.levels, number, *selections, *parts, fresh=True)

    def pyramid(self, *parts: Sequence[Any]) -> list[StoredArray]:
        """Return all levels, or a part of each; with slices, which count pixels of the finest level, only that level.

        A viewer stretches every level to the extent of the first: a level that does not cover the image is left out.
        """
        count = self.meta["levels"] if self.subject.slices is None else 1
        levels = [self.level(number, *parts) for number in range(count) if not number or self._covers_image(number)]
        return [levels[0], *(level for level in levels[1:] if 0 not in level.shape)]

    def _axes(self, number: int) -> Iterator[tuple[tuple[int, float, float], tuple[int, float, float]]]:
        """Yield extent, scale and translation along each axis, of the first level and of another."""
        names = ("shapes", "scales", "translations")
        first, other = (zip(*(self.meta[name][n] for name in names), strict=True) for n in (0, number))
        return zip(first, other, strict=True)

    def _covers_image(self, number: int) -> bool:
        return self._is_unscaled() or all(
            n <= n0 and abs(n0 * s0 - n * s) <= abs(s) and abs(t0 - t) <= abs(s)
            for (n0, s0, t0), (n, s, t) in self._axes(number)
        )

    def _is_unscaled(self) -> bool:
        """Whether all levels have the same scale, as before OME-Zarr 0.4, which did not record it."""
        return all(scale == self.meta["scales"][0] for scale in self.meta["scales"])

    def _trim(self, number: int) -> list[slice]:
        """Return slices of a level without the last pixels, if more than half of them lies beyond the image."""
        unknown = self._is_unscaled()
        ends = [
            n if unknown or not s else min(n, max(1, round(n0 * s0 / s)))
            for (n0, s0, _), (n, s, _) in self._axes(number)
        ]
        return [slice(0, end) for i, end in enumerate(ends) if i not in self.meta["added"]]


def layer_metadata(subject: Subject, **more: Any) -> dict[str, Any]:
    """Return the metadata of a layer."""
    return {"cvcache": {**subject.origin, "channel": None, **more}}


def layer_item_path(layer: LayerData) -> ItemPath | None:
    """Return the path of the item whose pixels a layer reads; None if they are in memory."""
    data, attributes, _ = layer
    graph = getattr(data[0] if attributes.get("multiscale") else data, "dask", None)
    sources = [part for name, part in getattr(graph, "layers", {}).items() if name.startswith("original-")]
    stored = (value for part in sources for value in part.values() if isinstance(value, StoredArray))
    return next((one.item for one in stored), None)


def image_layers(subject: Subject) -> list[LayerData]:
    """Return the layers of an image or labels in zarr: OME-Zarr, plain zarr, or one of them in a zip.

    Raises
    ------
    ItemDamaged, FileNotFoundError
        There is no image, or nothing.
    UsageError
        It has no pixels.

    Notes
    -----
    No store call if the metadata is recorded; else those of `cvcache.image.read_image_metadata`. For a zip see
    `cvcache.image.ome_zarr_zip.read`.
    """
    item = subject.item
    if is_zip(subject.name) and (item.pin or item.store.stat(item.path) is not None):
        from cvcache.image import image_in_zip

        subject = replace(subject, item=image_in_zip(item))
    image = _Image(subject, *image_metadata(subject.item))
    first = image.level(0)
    if 0 in first.shape:
        msg = f"{subject.item.url} has the shape {first.shape}, so there is nothing to show"
        raise UsageError(msg)
    kind = "labels" if image.meta["kind"] == "labels" and first.dtype.kind in "biu" else "image"
    if image.meta["kind"] == "array" and first.ndim < PLANE_NDIM:
        return []
    axes = first.meta["axes"]
    single = "c" not in axes or _is_rgb(first) or (kind == "labels" and first.shape[axes.index("c")] > 1)
    if single or image.meta["kind"] == "array":  # its axes have no names
        return [_layer(image, kind, image.pyramid(), _numbers(image, first)[:1])]
    at, numbers = axes.index("c"), _numbers(image, first)
    if len(numbers) > MAX_CHANNELS:
        return [_layer(image, kind, [one for one in image.pyramid() if one.shape[at] == len(numbers)], ())]
    parts = [[*[slice(None)] * at, i, ...] for i in range(len(numbers))]
    return [_layer(image, kind, _channel(image, part), numbers, i) for i, part in enumerate(parts)]


def _channel(image: _Image, part: Sequence[Any]) -> list[StoredArray]:
    """Return one channel of all levels; of the finest only, if the number of channels is not the same in all."""
    at = [i for i in range(len(image.meta["shapes"][0])) if i not in image.meta["added"]][image.meta["axes"].index("c")]
    same = len({shape[at] for shape in image.meta["shapes"]}) == 1
    return image.pyramid(part) if same else [image.level(0, part)]


def _numbers(image: _Image, first: StoredArray) -> Sequence[int]:
    """Return the numbers of the channels that are shown."""
    if "c" not in image.meta["axes"]:
        return (0,)
    stored = [i for i in range(len(first.window)) if i not in image.meta["added"]]
    part = first.window[stored[image.meta["axes"].index("c")]]
    return range(part.start, part.stop, part.step) if isinstance(part, slice) else (part,)


def _is_rgb(first: StoredArray) -> bool:
    return (
        first.ndim > PLANE_NDIM and first.meta["axes"][-1] == "c" and first.shape[-1] in RGB and first.dtype == "uint8"
    )


def _layer(
    image: _Image, kind: str, pyramid: list[StoredArray], numbers: Sequence[int], channel: int | None = None
) -> LayerData:
    """Return the layer of these levels: of the channel ``numbers[channel]``, or of all `numbers`."""
    first = pyramid[0]
    rgb = kind == "image" and _is_rgb(first)
    arrays = [_numeric(one) for one in pyramid]
    meta: Any = first.meta
    spatial = slice(None, -1 if rgb else None)
    axes, scale, translation = (meta[name][spatial] for name in ("axes", "scale", "translation"))
    unit = meta["unit"]
    if first.ndim < PLANE_NDIM:
        arrays = [array[None] for array in arrays]
        unit = dict.fromkeys("yx", next(iter(unit.values()), ""))
        axes, scale, translation = ["y", "x"], scale * 2, [0.0, *translation]
    plane_bytes = _plane_bytes(pyramid[-1], PLANE_NDIM + rgb)
    attributes: dict[str, Any] = {
        "name": _name(image, numbers, channel),
        "metadata": layer_metadata(image.subject, channel=channel, plane_bytes=plane_bytes),
        **geometry(axes, scale, translation, unit),
    }
    if kind == "image":
        attributes |= {"rgb": True} if rgb else _channel_settings(image, first, numbers, channel)
    attributes |= saved_settings(image.meta.get("layer"), kind, channel or 0, len(numbers))
    several = len(arrays) > 1
    return (arrays if several else arrays[0]), {**attributes, "multiscale": several}, kind


def _name(image: _Image, numbers: Sequence[int], channel: int | None) -> str:
    title = safe_label(image.subject.title)
    names = image.meta.get("channels")
    if channel is not None and isinstance(names, list) and numbers[channel] < len(names):
        if len(numbers) > 1 or str(names[numbers[channel]]) != str(numbers[channel]):
            title = f"{title}: {safe_label(names[numbers[channel]])}"
    elif channel is not None and len(numbers) > 1:
        title = f"{title}: {numbers[channel]}"
    return f"{title} (uncommitted)" if image.subject.origin.get("state") in {"running", "failed"} else title


def _channel_settings(image: _Image, first: StoredArray, numbers: Sequence[int], channel: int | None) -> dict[str, Any]:
    """Return colormap, contrast, blending and visibility of a channel, as recorded.

    For several channels in one layer, the values that are the same for all.
    """
    number = numbers[channel or 0] if numbers else None
    alone = len(numbers) < 2 or channel is None  # noqa: PLR2004 - two
    colors, contrast, active = (
        _channel_value(image.meta.get(name), number) for name in ("colors", "contrast", "active")
    )
    if colors is None and number is not None and not alone:
        colors = CHANNEL_COLORS[number % len(CHANNEL_COLORS)]
    limits = {"u1": (0, 255), "b1": (0, 1)}.get(first.dtype.str[1:])
    contrast_limits = tuple(contrast) if is_range(contrast) else limits
    return {
        "colormap": colormap(colors, alone=alone),
        "blending": "translucent" if alone else "additive",
        "visible": active is not False and (channel or 0) < MAX_VISIBLE_CHANNELS,
        **({"contrast_limits": contrast_limits} if contrast_limits else {}),
    }


def _channel_value(values: object, n: int | None) -> Any:
    if not isinstance(values, list) or not values:
        return None
    if n is None:
        return values[0] if all(value == values[0] for value in values) else None
    return values[n] if n < len(values) else None


def _numeric(stored: StoredArray) -> da.Array:
    """Return a level as a lazy array of real numbers, one task for each stored object."""
    import numpy as np

    array: da.Array
    if stored.dtype.kind == "b" and type(stored) is StoredArray:
        array = as_dask_array(replace(stored, dtype=np.dtype("uint8")))
    elif stored.dtype.kind == "b":
        array = as_dask_array(stored).astype("uint8")
    else:
        array = abs(as_dask_array(stored)) if stored.dtype.kind == "c" else as_dask_array(stored)
    return array


def _plane_bytes(stored: StoredArray, shown: int) -> int:
    """Return the number of bytes that are decoded to show one plane of a level."""
    import numpy as np

    axes = [i for i, part in enumerate(stored.window) if isinstance(part, slice)][-shown:]
    extents = zip(stored.spec.shape, stored.spec.chunks, itertools.count())
    decoded = math.prod(-(-n // chunk) * chunk if i in axes else chunk for n, chunk, i in extents)
    return decoded * np.dtype(stored.spec.dtype).itemsize
