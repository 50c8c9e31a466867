"""Thumbnail of an image: maximum projection of its last level along z, channels in their colours."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

THUMBNAIL_SIDE = 256
"""Pixels of the longer side, at most."""
MAX_CHUNKS = 64
"""Of a last level with more chunks only the middle plane is shown; if that has more too, there is no thumbnail."""
MAX_CHANNELS = 6
GRAY, RGB = 0, 2


def render_thumbnail(level: Any, meta: Mapping[str, Any], colors: list[str]) -> bytes | None:
    """Return a PNG of one level: first time point, maximum along z, channels added in their colours.

    None if too many chunks would have to be read.

    Parameters
    ----------
    level : array
        Can be sliced; only what is shown is read.
    meta : mapping
        ``axes``, ``kind`` and ``contrast`` of the image.
    colors : list of str
        Six hexadecimal digits a channel; the first one alone means gray.
    """
    import numpy as np

    index = _shown_index(meta["axes"], level)
    if index is None:
        return None
    axes = [axis for axis, part in zip(meta["axes"], index, strict=True) if isinstance(part, slice)]
    planes = _project(np.asarray(level[index]), axes)
    if meta["kind"] == "labels":
        return encode_png(_label_colors(planes[0]))
    windows = meta.get("contrast") or [[0, 1]] * len(planes)
    shades = [_shade(plane, *window) for plane, window in zip(planes, windows, strict=False)]
    if len(shades) == 1:
        return encode_png((shades[0] * 255).astype("uint8"))
    total = np.zeros((*shades[0].shape, 3))
    for shade, color in zip(shades, colors, strict=False):
        total += shade[..., None] * [int(color[i : i + 2], 16) for i in (0, 2, 4)]
    return encode_png(np.clip(total, 0, 255).astype("uint8"))


def _shown_index(axes: Sequence[str], level: Any) -> tuple[int | slice, ...] | None:
    """Return the index of all of z, or of its middle plane if that has too many chunks; None if both have."""
    for whole_z in (True, False):
        pairs = zip(axes, level.shape, strict=True)
        index = tuple(_axis_index(axis, extent, whole_z=whole_z) for axis, extent in pairs)
        if _chunk_count(index, level) <= MAX_CHUNKS:
            return index
    return None


def _axis_index(axis: str, extent: int, *, whole_z: bool) -> int | slice:
    if axis == "t" or (axis == "z" and not whole_z):
        return 0 if axis == "t" else extent // 2
    return slice(0, min(extent, MAX_CHANNELS) if axis == "c" else extent)


def _chunk_count(index: Sequence[int | slice], level: Any) -> int:
    pairs = zip(index, level.chunks, strict=True)
    return math.prod(-(-part.stop // chunk) for part, chunk in pairs if isinstance(part, slice))


def _project(pixels: np.ndarray, axes: Sequence[str]) -> np.ndarray:
    """Return (channel, rows, columns) of pixels with these axes, small enough for a thumbnail."""
    import numpy as np

    remaining = list(axes)
    if pixels.dtype.kind == "c":
        pixels = np.abs(pixels)
    if {"z", "y", "x"} <= set(remaining):
        pixels = pixels.max(axis=remaining.index("z"))
        remaining.remove("z")
    planes = pixels if remaining[:1] == ["c"] else pixels[None]
    while planes.ndim < 3:  # noqa: PLR2004 - channel, rows, columns
        planes = planes[:, None]
    step = max(1, -(-max(planes.shape[1:]) // THUMBNAIL_SIDE))
    return planes[:, ::step, ::step]


def _shade(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    import numpy as np

    span = float(high) - float(low) or 1.0
    with np.errstate(invalid="ignore", over="ignore"):
        shade: np.ndarray = np.nan_to_num(np.clip((plane.astype("float64") - low) / span, 0, 1))
    return shade


def _label_colors(plane: np.ndarray) -> np.ndarray:
    """Return a colour for each label, different for close ids; background is black."""
    import numpy as np

    ids = plane.astype("uint64")
    with np.errstate(over="ignore"):
        mixed = (ids * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    colors = np.stack([64 + (mixed >> np.uint64(8 * i)) % np.uint64(192) for i in range(3)], axis=-1).astype("uint8")
    colors[ids == 0] = 0
    return colors


def encode_png(pixels: np.ndarray) -> bytes:
    """Return a PNG of (rows, columns) or (rows, columns, 3) pixels of uint8, by RFC 2083."""
    rows, columns = pixels.shape[:2]
    raw = b"".join(b"\0" + pixels[i].tobytes() for i in range(rows))
    header = struct.pack(">IIBBBBB", columns, rows, 8, RGB if pixels.ndim > 2 else GRAY, 0, 0, 0)  # noqa: PLR2004 - rows, columns
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    body = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)
