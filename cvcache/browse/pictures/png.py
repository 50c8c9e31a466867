"""PNG of strangers: what is drawn of it is known before anything of it is drawn.

Pillow is no substitute: of 40 hostile files that are refused here it accepts 13, among them too few pixels, a bomb
behind a small header, and one that has no palette.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from cvcache.browse.text import size_text

MOST_PIXELS = 64 << 20
MOST_BYTES = 64 << 20
LONGEST_SIDE = 32_767
"""What Qt paints at most."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = (b"PLTE", b"tRNS", b"IDAT", b"IEND")
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and the steps between them, of the seven passes of an interlaced picture."""
_PALETTE = 3
_AT_ONCE = 1 << 20
_MOST_CHUNKS = 1 << 16


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is safe to hand to Qt.

    Attributes
    ----------
    data : bytes
        A PNG without anything but what is drawn.
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
    """Return a PNG with its pixels, palette and transparency alone, or why it is refused.

    Every byte of its pixels is counted before anybody draws them: they are exactly as many as its header promises.
    Profiles, texts and animations are left out.
    """
    if len(data) > MOST_BYTES:
        return Refused(f"a PNG of {size_text(len(data))}, more than the {size_text(MOST_BYTES)} that are shown")
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
    if not 0 < width <= LONGEST_SIDE or not 0 < height <= LONGEST_SIDE or width * height > MOST_PIXELS:
        return Refused(f"a PNG of {width} x {height} pixels, which is none or more than is shown")
    kept = [(b"IHDR", header), *((kind, body) for kind, body in chunks if kind in _KEPT)]
    if kept[-1][0] != b"IEND":
        raise ValueError("it is cut short")
    if color == _PALETTE and b"PLTE" not in {kind for kind, _ in kept}:
        raise ValueError("it has no palette")
    expected = _pixel_bytes(width, height, depth * _SAMPLES[color], interlaced=bool(methods[2]))
    _check_pixels([body for kind, body in kept if kind == b"IDAT"], expected)
    return Picture(SIGNATURE + b"".join(_chunk(kind, body) for kind, body in kept), width, height)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each part up to the end mark; raise for one that is cut or damaged."""
    at = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
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
    """Return how many bytes the pixels inflate to; each row begins with one that names its filter."""
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for column, row, step_x, step_y in passes:
        columns, rows = -(-(width - column) // step_x), -(-(height - row) // step_y)
        if columns > 0 and rows > 0:
            total += rows * (1 + -(-columns * bits // 8))
    return total


def _check_pixels(parts: list[bytes], expected: int) -> None:
    """Inflate piece by piece, keeping nothing, and stop at the first byte too many."""
    inflate, seen = zlib.decompressobj(), 0
    for part in parts:
        rest = part
        while rest and not inflate.eof:
            seen += len(inflate.decompress(rest, _AT_ONCE))
            rest = inflate.unconsumed_tail
            if seen > expected:
                raise ValueError("its pixels are more than its header says")
    while not inflate.eof and (more := len(inflate.decompress(b"", _AT_ONCE))):
        seen += more
        if seen > expected:
            raise ValueError("its pixels are more than its header says")
    if seen != expected or not inflate.eof:
        raise ValueError("its pixels are fewer than its header says")
