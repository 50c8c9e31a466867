"""How the pixels of one chunk become bytes and back: a compressor, and a checksum where the format has one.

Chunks are encoded and decoded in the calling thread. What is decoded is never larger than the chunk it
stands for, whatever the bytes say.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

CRC_BYTES = 4
ZARR_2, ZARR_3 = 2, 3
"""What ``zarr_format`` says in a metadata document."""
SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
DEFAULTS: dict[str, dict[str, Any]] = {
    "blosc": {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "blocksize": 0},
    "zstd": {"level": 1},
    "gzip": {"level": 5},
    "none": {},
}
"""What is written by name, and with what unless told otherwise."""

READ = {"blosc", "zstd", "gzip", "zlib", "lz4", "none"}
_ZSTD_HEADER = 5
_ZSTD_SHORT, _ZSTD_SHORT_FROM = 2, 256  # a size of two bytes counts from 256
_WBITS = {"gzip": 31, "zlib": 15}


@dataclass(frozen=True, slots=True)
class Codec:
    """One compressor.

    Attributes
    ----------
    name : str
        As zarr 3 calls it; "none" for bytes as they are.
    options : tuple of (str, value)
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def documents(self, itemsize: int, zarr_format: int) -> list[dict[str, Any]]:
        """Return what an array's metadata says of it: the list of compressors in zarr 3, or the one of zarr 2."""
        if self.name == "none":
            return []
        options = dict(self.options)
        if zarr_format == ZARR_2:
            if "shuffle" in options:
                options["shuffle"] = SHUFFLES.index(options["shuffle"])
            return [{"id": self.name, **options}]
        if self.name == "blosc":
            options["typesize"] = itemsize
        if self.name == "zstd":
            options["checksum"] = False  # zarr has a default for it, zarrs has not
        return [{"name": self.name, "configuration": options}]

    def encode(self, block: np.ndarray) -> bytes:
        """Return the bytes of a C-contiguous block."""
        coder = _coder(self)
        return block.tobytes() if coder is None else bytes(coder.encode(block))

    def decode(self, data: bytes, out: np.ndarray) -> None:
        """Fill `out`, a C-contiguous block of bytes, from what `encode` gave.

        Raises
        ------
        ValueError
            The bytes are no such block, or one of another size.
        """
        if self.name == "none":
            plain = data
        elif self.name in _WBITS:
            plain = _inflate(data, out.nbytes, _WBITS[self.name])
        else:
            _decode_into(self, data, out)
            return
        if len(plain) != out.nbytes:
            msg = f"{len(plain)} bytes where {out.nbytes} belong"
            raise ValueError(msg)
        out[:] = memoryview(plain).cast("B")


def parse_compressor(given: object) -> Codec:
    """Return the codec a user asks for: a name, None for no compression, or a configuration of zarr or numcodecs."""
    if given is None:
        return Codec("none")
    if isinstance(given, str):
        given = {"name": given}
    if hasattr(given, "get_config"):
        given = given.get_config()
    elif hasattr(given, "to_dict"):
        given = given.to_dict()
    if not isinstance(given, Mapping):
        msg = f"compressor={given!r} must be one of {', '.join(DEFAULTS)}, None, or a codec of zarr or numcodecs"
        raise UsageError(msg)
    name = str(given.get("name", given.get("id")))
    if name not in DEFAULTS:
        msg = f"compressor {name!r}{did_you_mean(name, list(DEFAULTS))} is not one of {', '.join(DEFAULTS)}"
        raise UsageError(msg)
    rest = given.get("configuration") or {k: v for k, v in given.items() if k not in {"name", "id"}}
    options = {k: v for k, v in dict(rest).items() if k not in {"typesize", "checksum"} and v is not None}
    if isinstance(options.get("shuffle"), int):
        options["shuffle"] = SHUFFLES[options["shuffle"]]
    unknown = sorted(options.keys() - DEFAULTS[name].keys())
    if unknown:
        msg = f"the compressor {name} takes {', '.join(DEFAULTS[name]) or 'no option'}, not {', '.join(unknown)}"
        raise UsageError(msg)
    codec = Codec(name, tuple(sorted({**DEFAULTS[name], **options}.items())))
    _try(codec)
    return codec


def _try(codec: Codec) -> None:
    import numpy as np

    block = np.arange(64, dtype="uint16")
    try:
        codec.decode(codec.encode(block), np.empty(block.nbytes, "uint8"))
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        msg = f"the compressor {codec.name} does not take {dict(codec.options)} ({error})"
        raise UsageError(msg) from error


def crc32c(data: bytes) -> bytes:
    """Return the checksum zarr's codec ``crc32c`` puts behind what it protects."""
    import google_crc32c

    return int(google_crc32c.value(data)).to_bytes(CRC_BYTES, "little")


def without_crc(data: bytes) -> bytes:
    """Return what the checksum at its end protects.

    Raises
    ------
    ValueError
        They do not fit.
    """
    if len(data) < CRC_BYTES or crc32c(data[:-CRC_BYTES]) != data[-CRC_BYTES:]:
        msg = "its checksum does not fit"
        raise ValueError(msg)
    return data[:-CRC_BYTES]


@functools.cache
def _coder(codec: Codec) -> Any:
    if codec.name == "none":
        return None
    import numcodecs

    options = dict(codec.options)
    if "shuffle" in options:
        options["shuffle"] = SHUFFLES.index(options["shuffle"])
    return numcodecs.get_codec({"id": codec.name, **options})


def _decode_into(codec: Codec, data: bytes, out: np.ndarray) -> None:
    promised = _promised(codec.name, data)
    if promised not in (None, out.nbytes):
        msg = f"its header promises {promised} bytes where {out.nbytes} belong"
        raise ValueError(msg)
    if codec.name == "blosc" and int.from_bytes(data[12:16], "little") != len(data):
        # blosc believes its header, and would read on behind the end
        msg = f"its header does not say that it is {len(data)} bytes long"
        raise ValueError(msg)
    try:
        # how it was encoded is in the bytes; the options of others need not even be ones
        _coder(Codec(codec.name)).decode(data, out)
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def _promised(name: str, data: bytes) -> int | None:
    """Return how many bytes the header of a compressed chunk says it becomes; None where it says nothing."""
    if name == "blosc":
        return int.from_bytes(data[4:8], "little")
    if name == "lz4":
        return int.from_bytes(data[:4], "little")
    if len(data) <= _ZSTD_HEADER:
        return 0
    # RFC 8878, section 3.1.1.1
    single, width = data[4] >> 5 & 1, data[4] >> 6
    start = _ZSTD_HEADER + 1 - single + (0, 1, 2, 4)[data[4] & 3]
    size = (1 if single else 0, 2, 4, 8)[width]
    if not size:
        return None
    return int.from_bytes(data[start : start + size], "little") + (_ZSTD_SHORT_FROM if size == _ZSTD_SHORT else 0)


def _inflate(data: bytes, limit: int, wbits: int) -> bytes:
    machine = zlib.decompressobj(wbits)
    try:
        plain = machine.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(plain) == limit and not (machine.eof and not machine.unused_data):
        msg = "it is cut short, or something follows it"
        raise ValueError(msg)
    return plain
