"""Checks of the arrays and options of an image; `parse_*` also convert them to plain Python types."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from cvcache.errors import UsageError, did_you_mean
from cvcache.formats import not_reproducible, type_name
from cvcache.image.write.downsample import INTEGER_METHODS, METHODS

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from cvcache.formats import ItemPath

    Array = np.ndarray | da.Array

MAX_AXES = 5
ITEMSIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8), "c": (8, 16)}


def is_dask_array(obj: object) -> TypeGuard[da.Array]:
    """Whether `obj` is a dask array, by the name of its type: importing dask is slow."""
    return type_name(obj) == "dask.array.core.Array"


def check_numeric_array(item: ItemPath, obj: object) -> Array:
    """Return `obj` if it is a numpy or dask array of numbers that zarr can store exactly."""
    import numpy as np

    if not is_dask_array(obj) and type(obj) is not np.ndarray:
        hint = "pass numpy.asarray(obj) or a dask array"
        raise not_reproducible(item, f"it is a {type_name(obj)}, not a numpy.ndarray or dask array", hint)
    array = cast("Array", obj)
    if array.dtype.itemsize not in ITEMSIZES.get(array.dtype.kind, ()):
        raise not_reproducible(item, f"zarr has no portable form for {array.dtype!r}", "convert it with .astype(...)")
    if any(math.isnan(extent) for extent in array.shape):
        raise not_reproducible(item, "its shape is not known yet", "call x.compute_chunk_sizes() first")
    sample = getattr(array, "_meta", array)
    if type(sample) is not np.ndarray:
        raise not_reproducible(
            item, f"its blocks are {type_name(sample)}", "convert them with x.map_blocks(numpy.asarray)"
        )
    return array


def check_image_array(item: ItemPath, obj: object, kind: str) -> Array:
    """Return `obj` if it is an array that OME-Zarr can store exactly."""
    array = check_numeric_array(item, obj)
    if kind == "labels" and array.dtype.kind not in "biu":
        raise not_reproducible(item, f"labels are integers, not {array.dtype}", "use .astype('int32'), or kind='image'")
    if array.ndim == 0:
        raise not_reproducible(item, "a single value is no image", "write it as .json or .npy")
    if array.ndim > MAX_AXES:
        raise not_reproducible(item, f"shape {array.shape} is no image of 1 to 5 axes", "write it as .zarr or .npy")
    return array


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise unless `value` is one of `choices`."""
    if value not in choices:
        msg = f"{name}={value!r} is not one of {', '.join(choices)}{did_you_mean(str(value), list(choices))}"
        raise UsageError(msg)


def check_method(downsample: str | None, kind: str, dtype: np.dtype) -> str:
    """Return the downsampling method for an image of `kind`; for labels one that adds no new label."""
    if downsample is None:
        return "mode" if kind == "labels" else "mean"
    check_choice("downsample", downsample, METHODS)
    if kind == "labels" and downsample in {"mean", "median"}:
        msg = f"downsample={downsample!r} would invent labels; use 'mode', 'nearest', 'max' or 'min'"
        raise UsageError(msg)
    if dtype.kind == "c" and downsample not in {"mean", "nearest"}:
        msg = f"downsample={downsample!r} needs an order of pixels, and complex numbers have none; use 'mean'"
        raise UsageError(msg)
    if downsample in INTEGER_METHODS and dtype.kind not in "biu":
        msg = f"downsample={downsample!r} needs whole numbers, not {dtype}; use 'mean' or 'nearest'"
        raise UsageError(msg)
    return downsample


def _is_plain_json(value: object) -> bool:
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def check_layer(layer: object) -> dict[str, Any]:
    """Return the settings of a napari layer if they are plain JSON."""
    if layer is None or (isinstance(layer, Mapping) and _is_plain_json(layer)):
        return dict(layer or {})
    msg = f"layer={layer!r} must be a mapping of plain values, as in {{'colormap': 'magma', 'opacity': 0.7}}"
    raise UsageError(msg)


def parse_numbers(name: str, value: Any) -> Any:
    """Return an option that is a sequence of numbers, or a mapping of axis to number, as floats.

    Raises
    ------
    UsageError
        It is neither.
    """
    if value is None:
        return None
    try:
        if isinstance(value, Mapping):
            return {str(axis): _parse_number(part) for axis, part in value.items()}
        if not isinstance(value, (str, bytes)):
            return [_parse_number(part) for part in value]
    except (TypeError, ValueError):
        pass
    msg = (
        f"{name}={value!r} must be numbers: one per axis, one per axis of space, or by name as in {{'z': 2, 'y': 0.5}}"
    )
    raise UsageError(msg)


def _parse_number(value: Any) -> float:
    if isinstance(value, (str, bytes, bool)):
        raise TypeError
    return float(value)


def parse_ints(name: str, value: Any) -> tuple[int, ...] | None:
    """Return an option that is a sequence of integers.

    Raises
    ------
    UsageError
        It is none.
    """
    if value is None:
        return None
    try:
        if not isinstance(value, (str, bytes)):
            return tuple(parse_int(name, part) for part in value)
    except TypeError:
        pass
    msg = f"{name}={value!r} must be a sequence of whole numbers, one extent in pixels for each axis"
    raise UsageError(msg)


def parse_int(name: str, value: Any) -> int:
    """Return an option that is one integer.

    Raises
    ------
    UsageError
        It is none.
    """
    if not isinstance(value, (bool, str, bytes)) and hasattr(type(value), "__index__"):
        return int(value.__index__())
    msg = f"{name}={value!r} must be a whole number"
    raise UsageError(msg)


def parse_axes(axes: object) -> tuple[str, ...] | None:
    """Return the option ``axes``, a str or a sequence of str, as a tuple.

    Raises
    ------
    UsageError
        It is neither.
    """
    if axes is None:
        return None
    if isinstance(axes, (str, Sequence)) and all(isinstance(axis, str) for axis in axes):
        return tuple(axes)
    msg = f"axes={axes!r} must be one letter of tczyx per dimension, as in 'zyx'"
    raise UsageError(msg)


def check_unit(unit: Any, axes: Sequence[str]) -> Mapping[str, str]:
    """Return axis -> unit; a single unit is for the axes of space."""
    if isinstance(unit, str):
        return {name: unit for name in axes if name in "zyx"}
    if unit is not None and not (isinstance(unit, Mapping) and all(isinstance(u, str) for u in unit.values())):
        msg = f"unit={unit!r} must be text, or a mapping as in {{'t': 's', 'y': 'um', 'x': 'um'}}"
        raise UsageError(msg)
    unknown = [name for name in unit or {} if name not in axes]
    if unknown:
        msg = f"unit names the axes {unknown}, the image has {list(axes)}"
        raise UsageError(msg)
    return unit or {}


def check_channels(channels: Sequence[str | Mapping[str, Any]] | None, count: int) -> Sequence[str | Mapping[str, Any]]:
    """Return a name, or fields, for each of `count` channels."""
    if channels is None:
        return [str(i) for i in range(count)]
    if isinstance(channels, str) or len(channels) != count:
        msg = f"channels={channels!r} must be a list of {count}, one per channel"
        raise UsageError(msg)
    for channel in channels:
        fields: Any = {"label": channel} if isinstance(channel, str) else channel
        is_valid = isinstance(fields, Mapping) and _is_plain_json(fields) and isinstance(fields.get("label", ""), str)
        if not is_valid or not re.fullmatch("[0-9A-Fa-f]{6}", str(fields.get("color", "FFFFFF"))):
            msg = f"channel {channel!r} must be a name, or a mapping such as {{'label': 'DAPI', 'color': '0000FF'}}"
            raise UsageError(msg)
    return channels


def check_contrast(contrast: Any, count: int) -> list[tuple[float, float]]:
    """Return (low, high) for each of `count` channels; empty if not given."""
    if contrast is None:
        return []
    try:
        entries = [list(part) if hasattr(part, "__len__") else part for part in contrast]
        pairs = entries if any(isinstance(part, list) for part in entries) else [entries] * count
        limits = [(_parse_number(low), _parse_number(high)) for low, high in pairs]
    except (TypeError, ValueError):
        limits = []
    if len(limits) != count or not all(
        math.isfinite(low) and math.isfinite(high) and low < high for low, high in limits
    ):
        msg = (
            f"contrast={contrast!r} must be (low, high) with low < high, or a list of {count} of them, one per channel"
        )
        raise UsageError(msg)
    return [(_int_if_whole(low), _int_if_whole(high)) for low, high in limits]


def _int_if_whole(value: float) -> float:
    return int(value) if value == int(value) else value


def dtype_limits(dtype: np.dtype) -> tuple[float, float] | None:
    """Return the least and greatest value of an integer or bool dtype; None for a float."""
    import numpy as np

    if dtype.kind == "f":
        return None
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
