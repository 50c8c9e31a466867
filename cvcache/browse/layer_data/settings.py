"""Settings of layers from records: units, colours and saved settings, checked before a viewer gets them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cvcache.browse.text import plain_line
from cvcache.image import long_unit

MAX_LABEL_LENGTH = 120
MAX_FLOAT = 1e38
"""Largest number that a graphics card can hold."""
_METERS = (
    *("angstrom", "attometer", "centimeter", "decimeter", "exameter", "femtometer", "foot", "gigameter", "hectometer"),
    *("inch", "kilometer", "megameter", "meter", "micrometer", "mile", "millimeter", "nanometer", "parsec"),
    *("petameter", "picometer", "terameter", "yard", "yoctometer", "yottameter", "zeptometer", "zettameter"),
)
_SECONDS = (
    *("attosecond", "centisecond", "day", "decisecond", "exasecond", "femtosecond", "gigasecond", "hectosecond"),
    *("hour", "kilosecond", "megasecond", "microsecond", "millisecond", "minute", "nanosecond", "petasecond"),
    *("picosecond", "second", "terasecond", "yoctosecond", "yottasecond", "zeptosecond", "zettasecond"),
)
UNITS = frozenset([*_METERS, *_SECONDS])
"""Units of OME-Zarr. No other text is given to pint, which evaluates it as an expression, however long that takes."""
COLORMAPS = frozenset(
    [
        *("Blues", "GrBu", "GrBu_d", "Greens", "Greys", "HiLo", "I Blue", "I Bordeaux", "I Forest", "I Orange"),
        *("I Purple", "Oranges", "PiYG", "PuGr", "Purples", "RdBu", "RdYeBuCy", "Reds", "Spectral", "YlGnBu"),
        *("autumn", "black", "blue", "blues", "bone", "bop blue", "bop orange", "bop purple", "cividis", "cool"),
        *("coolwarm", "cubehelix", "cyan", "fire", "gist_earth", "gray", "gray_r", "green", "greens", "hot", "hsl"),
        *("hsv", "ice", "inferno", "jet", "light_blues", "magenta", "magma", "ocean", "orange", "plasma", "rainbow"),
        *("red", "reds", "seismic", "spring", "summer", "terrain", "turbo", "twilight", "twilight_shifted"),
        *("viridis", "white", "winter", "yellow"),
    ]
)
"""Colormaps that napari has without matplotlib."""
COLORS = frozenset(
    [
        *("black", "blue", "brown", "cyan", "gold", "gray", "green", "lime", "magenta", "navy", "orange", "pink"),
        *("purple", "red", "teal", "transparent", "violet", "white", "yellow", "dimgray"),
    ]
)
_NO_TAGS = str.maketrans({"<": "\u2039", ">": "\u203a"})
_HEX = re.compile("#[0-9A-Fa-f]{6}")
_HEX_COLOR = re.compile("#[0-9A-Fa-f]{6}([0-9A-Fa-f]{2})?")

Check = Callable[[Any], bool]


def safe_label(text: object) -> str:
    """Return untrusted text without angle brackets: some windows of napari would render HTML."""
    return plain_line(str(text)[: MAX_LABEL_LENGTH * 4], MAX_LABEL_LENGTH).translate(_NO_TAGS)


def is_between(value: object, low: float = -MAX_FLOAT, high: float = MAX_FLOAT) -> bool:
    """Whether `value` is a number from `low` to `high`."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def is_range(value: object) -> bool:
    """Whether `value` is a valid contrast: (low, high)."""
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_between, value)) and value[0] < value[1]  # noqa: PLR2004 - a pair


def geometry(
    axes: Sequence[str], scale: Sequence[float], translation: Sequence[float], unit: Mapping[str, str]
) -> dict[str, Any]:
    """Return scale, translate, units and axis labels of a layer; no units if none is known."""
    names = [long_unit(unit[axis]) if isinstance(unit.get(axis), str) else "" for axis in axes]
    units = [name if name in UNITS else "pixel" for name in names]
    return {
        "scale": tuple(float(size) if 1e-30 < abs(size) < 1e30 else 1.0 for size in scale),  # noqa: PLR2004 - as a graphics card holds it
        "translate": tuple(float(start) if is_between(start) else 0.0 for start in translation),
        "axis_labels": tuple(safe_label(axis) for axis in axes),
        **({"units": tuple(units)} if set(units) != {"pixel"} else {}),
    }


def colormap(color: object, *, alone: bool) -> str:
    """Return the colormap of a channel from six hexadecimal digits; gray for a single white channel."""
    hex_color = f"#{color}" if isinstance(color, str) else ""
    return hex_color.lower() if _HEX.fullmatch(hex_color) and not (alone and hex_color.upper() == "#FFFFFF") else "gray"


def saved_settings(settings: object, kind: str, channel: int = 0, channels: int = 1) -> dict[str, Any]:
    """Return the saved settings that are valid for a layer of this kind; a list may have one for each channel."""
    valid: dict[str, Any] = {}
    if not isinstance(settings, Mapping):
        return valid
    for name, check in _SETTINGS[kind].items():
        value = settings.get(name)
        if isinstance(value, list) and len(value) == channels and not check(value):
            value = value[channel]
        if value is not None and check(value):
            valid[name] = tuple(value) if isinstance(value, list) else value
    return valid


def _number(low: float, high: float) -> Check:
    return lambda value: is_between(value, low, high)


def _one_of(*names: str) -> Check:
    return lambda value: isinstance(value, str) and value in names


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_colormap(value: object) -> bool:
    return isinstance(value, str) and (value in COLORMAPS or _HEX.fullmatch(value) is not None)


def _is_color(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) in {3, 4} and all(is_between(part, 0, 1) for part in value)
    return isinstance(value, str) and (value in COLORS or _HEX_COLOR.fullmatch(value) is not None)


_SMOOTH = ("bessel", "cubic", "linear", "blackman", "catrom", "gaussian", "hamming", "hanning", "hermite", "kaiser")
_SMOOTHER = ("lanczos", "mitchell", "nearest", "spline16", "spline36")
_SYMBOLS = ("arrow", "clobber", "cross", "diamond", "disc", "hbar", "ring", "square", "star", "tailed_arrow")
_MORE_SYMBOLS = ("triangle_down", "triangle_up", "vbar", "x")
_COMMON_SETTINGS: dict[str, Check] = {
    "opacity": _number(0, 1),
    "visible": _is_bool,
    "blending": _one_of("translucent", "translucent_no_depth", "additive", "minimum", "opaque", "multiplicative"),
}
_SETTINGS: dict[str, dict[str, Check]] = {
    "image": {
        **_COMMON_SETTINGS,
        "colormap": _is_colormap,
        "contrast_limits": is_range,
        "gamma": _number(0.01, 100),
        "interpolation2d": _one_of(*_SMOOTH, *_SMOOTHER),
        "interpolation3d": _one_of(*_SMOOTH, *_SMOOTHER),
        "rendering": _one_of("translucent", "additive", "iso", "mip", "minip", "attenuated_mip", "average"),
        "iso_threshold": is_between,
        "attenuation": _number(0, 10),
        "depiction": _one_of("volume", "plane"),
        "projection_mode": _one_of("none", "sum", "mean", "max", "min"),
    },
    "labels": {
        **_COMMON_SETTINGS,
        "rendering": _one_of("translucent", "iso_categorical"),
        "iso_gradient_mode": _one_of("fast", "smooth"),
        "depiction": _one_of("volume", "plane"),
    },
    "points": {
        **_COMMON_SETTINGS,
        "size": _number(1e-6, 1e6),
        "symbol": _one_of(*_SYMBOLS, *_MORE_SYMBOLS),
        "face_color": _is_color,
        "border_color": _is_color,
        "border_width": _number(0, 1),
        "shading": _one_of("none", "spherical"),
    },
}
