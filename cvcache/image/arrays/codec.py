"""Compressors and checksums of chunks.

Chunks are encoded and decoded in the calling thread. The output of a decoder is never larger than one chunk,
whatever its header says: the bytes are untrusted.
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

CRC32C_BYTES = 4
ZARR_2, ZARR_3 = 2, 3
"""Values of ``zarr_format`` in a metadata document."""
SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
COMPRESSOR_DEFAULTS: dict[str, dict[str, Any]] = {
    "blosc": {"cname": "zstd", "clevel": 1, "shuffle": "shuffle", "blocksize": 0},
    "zstd": {"level": 1},
    "gzip": {"level": 5},
    "none": {},
}
"""Name of each compressor that can be written -> its default options."""

READABLE_CODECS = {"blosc", "zstd", "gzip", "zlib", "lz4", "none"}
_ZSTD_HEADER = 5
_ZSTD_SHORT, _ZSTD_SHORT_FROM = 2, 256  # a content size of two bytes has an offset of 256
_WBITS = {"gzip": 31, "zlib": 15}


@dataclass(frozen=True, slots=True)
class Codec:
    """One compressor.

    Attributes
    ----------
    name : str
        Its name in zarr 3; "none" for uncompressed bytes.
    options : tuple of (str, value)
    """

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def documents(self, itemsize: int, zarr_format: int) -> list[dict[str, Any]]:
        """Return its configuration in an array's metadata, as a list: empty for "none", else of one compressor."""
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
        codec = _numcodecs_codec(self)
        return block.tobytes() if codec is None else bytes(codec.encode(block))

    def decode(self, data: bytes, out: np.ndarray) -> None:
        """Decode `data` into `out`, a C-contiguous block of bytes.

        Raises
        ------
        ValueError
            The bytes cannot be decoded, or to another size.
        """
        if self.name == "none":
            decoded = data
        elif self.name in _WBITS:
            decoded = _inflate(data, out.nbytes, _WBITS[self.name])
        else:
            _decode_into(self, data, out)
            return
        if len(decoded) != out.nbytes:
            msg = f"{len(decoded)} bytes where {out.nbytes} belong"
            raise ValueError(msg)
        out[:] = memoryview(decoded).cast("B")


def parse_compressor(compressor: object) -> Codec:
    """Return the codec for the option ``compressor``: a name, None, or a configuration of zarr or numcodecs."""
    if compressor is None:
        return Codec("none")
    name, configuration = _name_and_configuration(compressor)
    options = {k: v for k, v in dict(configuration).items() if k not in {"typesize", "checksum"} and v is not None}
    if isinstance(options.get("shuffle"), int):
        options["shuffle"] = SHUFFLES[options["shuffle"]]
    unknown = sorted(options.keys() - COMPRESSOR_DEFAULTS[name].keys())
    if unknown:
        allowed = ", ".join(COMPRESSOR_DEFAULTS[name]) or "no option"
        msg = f"the compressor {name} takes {allowed}, not {', '.join(unknown)}"
        raise UsageError(msg)
    codec = Codec(name, tuple(sorted({**COMPRESSOR_DEFAULTS[name], **options}.items())))
    _check_works(codec)
    return codec


def _name_and_configuration(compressor: Any) -> tuple[str, Any]:
    """Return the name of a compressor that can be written, and its configuration as given."""
    document = {"name": compressor} if isinstance(compressor, str) else compressor
    if hasattr(document, "get_config"):
        document = document.get_config()
    elif hasattr(document, "to_dict"):
        document = document.to_dict()
    known = ", ".join(COMPRESSOR_DEFAULTS)
    if not isinstance(document, Mapping):
        msg = f"compressor={document!r} must be one of {known}, None, or a codec of zarr or numcodecs"
        raise UsageError(msg)
    name = str(document.get("name", document.get("id")))
    if name not in COMPRESSOR_DEFAULTS:
        msg = f"compressor {name!r}{did_you_mean(name, list(COMPRESSOR_DEFAULTS))} is not one of {known}"
        raise UsageError(msg)
    return name, document.get("configuration") or {k: v for k, v in document.items() if k not in {"name", "id"}}


def _check_works(codec: Codec) -> None:
    import numpy as np

    block = np.arange(64, dtype="uint16")
    try:
        codec.decode(codec.encode(block), np.empty(block.nbytes, "uint8"))
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        msg = f"the compressor {codec.name} does not take {dict(codec.options)} ({error})"
        raise UsageError(msg) from error


def crc32c(data: bytes) -> bytes:
    """Return the checksum that zarr's codec ``crc32c`` appends."""
    import google_crc32c

    return int(google_crc32c.value(data)).to_bytes(CRC32C_BYTES, "little")


def strip_crc32c(data: bytes) -> bytes:
    """Return `data` without the checksum at its end.

    Raises
    ------
    ValueError
        The checksum does not match.
    """
    if len(data) < CRC32C_BYTES or crc32c(data[:-CRC32C_BYTES]) != data[-CRC32C_BYTES:]:
        msg = "its checksum does not fit"
        raise ValueError(msg)
    return data[:-CRC32C_BYTES]


@functools.cache
def _numcodecs_codec(codec: Codec) -> Any:
    if codec.name == "none":
        return None
    import numcodecs

    options = dict(codec.options)
    if "shuffle" in options:
        options["shuffle"] = SHUFFLES.index(options["shuffle"])
    return numcodecs.get_codec({"id": codec.name, **options})


def _decode_into(codec: Codec, data: bytes, out: np.ndarray) -> None:
    size = _decoded_size(codec.name, data)
    if size not in (None, out.nbytes):
        msg = f"its header promises {size} bytes where {out.nbytes} belong"
        raise ValueError(msg)
    if codec.name == "blosc" and int.from_bytes(data[12:16], "little") != len(data):
        # blosc trusts its header, and would read beyond the end
        msg = f"its header does not say that it is {len(data)} bytes long"
        raise ValueError(msg)
    try:
        # decoders need no options, and those in foreign metadata may be invalid
        _numcodecs_codec(Codec(codec.name)).decode(data, out)
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def _decoded_size(name: str, data: bytes) -> int | None:
    """Return the decoded size according to the header of a compressed chunk; None if it has no size."""
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
    decompressor = zlib.decompressobj(wbits)
    try:
        inflated = decompressor.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(inflated) == limit and not (decompressor.eof and not decompressor.unused_data):
        msg = "it is cut short, or something follows it"
        raise ValueError(msg)
    return inflated
