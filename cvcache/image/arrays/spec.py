"""One stored zarr array: grid of chunks and shards, metadata document, bytes of a chunk.

Supported is what cvcache writes and most other programs do: little- or big-endian numbers, one compressor, a
checksum, chunks in C order, with or without shards. Other arrays are read by the zarr library. The fields of
`ArraySpec` and `Codec` are part of keys, through their ``repr``; do not rename them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvcache.image.arrays.codec import CRC32C_BYTES, READABLE_CODECS, SHUFFLES, ZARR_3, Codec, crc32c, strip_crc32c
from cvcache.image.pyramid import grid_shape

if TYPE_CHECKING:
    import numpy as np

ABSENT = 2**64 - 1
"""Offset and length in a shard's index of a chunk that is not stored."""
INDEX_ENTRY_BYTES = 16
_LITTLE_ENDIAN = {"name": "bytes", "configuration": {"endian": "little"}}
_COMPLEX_PARTS = 2
_NUMBER = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)")
_NamedCodec = tuple[str, Mapping[str, Any]]
"""Name and configuration."""


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """Layout and encoding of one array.

    Attributes
    ----------
    path : str
        Key of the array in the item; empty for the item itself.
    shape, chunks : tuple of int
        In pixels.
    shards : tuple of int or None
        Extent of one object, if it holds several chunks.
    dtype : str
        numpy's, with the stored byte order: ``"<u2"``.
    codec : Codec
    checksum : bool
        Whether each chunk ends in its CRC-32C.
    names : tuple of str
        Of the dimensions.
    zarr_format : int
    prefix, separator : str
        Of a chunk's key.
    fill : number or bool
        Value of the pixels of a missing chunk.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    dtype: str
    codec: Codec
    checksum: bool = True
    names: tuple[str, ...] = ()
    zarr_format: int = 3
    prefix: str = "c/"
    separator: str = "/"
    fill: float | complex = 0
    index_at_end: bool = True

    @property
    def object_shape(self) -> tuple[int, ...]:
        """Extent of one object, a chunk or a shard, in pixels."""
        return self.shards or self.chunks

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of objects along each axis."""
        return grid_shape(self.shape, self.object_shape)

    @property
    def object_count(self) -> int:
        """Number of objects of the array, without its metadata."""
        return math.prod(self.grid)

    @property
    def itemsize(self) -> int:
        """Bytes per pixel."""
        return int(re.sub(r"\D", "", self.dtype))

    @property
    def chunks_per_object(self) -> tuple[int, ...]:
        """Number of chunks in one object, along each axis."""
        return grid_shape(self.object_shape, self.chunks)

    @property
    def shard_index_bytes(self) -> int:
        """Size of the index of a shard: offset and length of each chunk, and a checksum."""
        return INDEX_ENTRY_BYTES * math.prod(self.chunks_per_object) + CRC32C_BYTES

    def numpy_dtype(self) -> np.dtype:
        """Return the stored dtype."""
        import numpy as np

        return np.dtype(self.dtype)

    @property
    def key_prefix(self) -> str:
        """Common prefix of the keys of its objects."""
        return (f"{self.path}/" if self.path else "") + self.prefix

    def key(self, index: Sequence[int]) -> str:
        """Return the key, in the item, of one object."""
        return self.key_prefix + self.separator.join(map(str, index))

    def object_index(self, key: str) -> tuple[int, ...] | None:
        """Return the grid index of the object `key`; None if it is no object of this array."""
        parts = key.removeprefix(self.key_prefix).split(self.separator) if key.startswith(self.key_prefix) else []
        if len(parts) != len(self.shape) or not all(part.isascii() and part.isdigit() for part in parts):
            return None
        index = tuple(map(int, parts))
        return index if all(i < n for i, n in zip(index, self.grid, strict=True)) else None

    @property
    def document_key(self) -> str:
        """Key, in the item, of the array's metadata."""
        name = "zarr.json" if self.zarr_format == ZARR_3 else ".zarray"
        return f"{self.path}/{name}" if self.path else name

    def document(self) -> dict[str, Any]:
        """Return the array's metadata document."""
        return _document3(self) if self.zarr_format == ZARR_3 else _document2(self)

    def encode(self, block: np.ndarray) -> list[bytes]:
        """Return the bytes of one object, in parts; `block` is smaller than `object_shape` at the array's edge."""
        if self.shards is None:
            return self._encode_chunk(block)
        import numpy as np

        offsets = np.full((math.prod(self.chunks_per_object), 2), ABSENT, dtype="<u8")
        parts: list[bytes] = []
        offset = 0
        for i, corner in enumerate(itertools.product(*map(range, self.chunks_per_object))):
            region = tuple(slice(c * n, (c + 1) * n) for c, n in zip(corner, self.chunks, strict=True))
            if all(part.start < extent for part, extent in zip(region, block.shape, strict=True)):
                chunk = self._encode_chunk(block[region])
                offsets[i] = offset, sum(map(len, chunk))
                parts += chunk
                offset += sum(map(len, chunk))
        table = offsets.tobytes()
        return [*parts, table + crc32c(table)]

    def _encode_chunk(self, block: np.ndarray) -> list[bytes]:
        import numpy as np

        if block.shape != self.chunks:
            padded = np.zeros(self.chunks, dtype=self.dtype)
            padded[tuple(map(slice, block.shape))] = block
            block = padded
        data = self.codec.encode(np.ascontiguousarray(block, dtype=self.dtype))
        return [data, crc32c(data)] if self.checksum else [data]

    def decode(self, data: bytes) -> np.ndarray:
        """Return the pixels of one chunk.

        Raises
        ------
        ValueError
            The bytes cannot be decoded as a chunk of this array.
        """
        import numpy as np

        out = np.empty(math.prod(self.chunks) * self.itemsize, dtype="uint8")
        self.codec.decode(strip_crc32c(data) if self.checksum else data, out)
        return out.view(self.dtype).reshape(self.chunks)

    def parse_shard_index(self, table: bytes) -> list[tuple[int, int] | None]:
        """Return the byte range (start, end) of each chunk of a shard; None for one that is not stored.

        Raises
        ------
        ValueError
            The index is damaged.
        """
        import numpy as np

        if len(table) != self.shard_index_bytes:
            msg = "the shard is cut short"
            raise ValueError(msg)
        rows = np.frombuffer(strip_crc32c(table), dtype="<u8").reshape(-1, 2).tolist()
        return [None if row[0] == ABSENT else (row[0], row[0] + row[1]) for row in rows]

    def object_indices(self) -> Iterator[tuple[int, ...]]:
        """Yield the grid index of each object."""
        return itertools.product(*map(range, self.grid))


def _codecs3(spec: ArraySpec) -> list[dict[str, Any]]:
    serializer = [_LITTLE_ENDIAN if spec.itemsize > 1 else {"name": "bytes"}]
    checksum = [{"name": "crc32c"}] if spec.checksum else []
    return [*serializer, *spec.codec.documents(spec.itemsize, 3), *checksum]


def _document3(spec: ArraySpec) -> dict[str, Any]:
    codecs = _codecs3(spec)
    if spec.shards is not None:
        configuration = {
            "chunk_shape": list(spec.chunks),
            "codecs": codecs,
            "index_codecs": [_LITTLE_ENDIAN, {"name": "crc32c"}],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": configuration}]
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(spec.shape),
        "data_type": spec.numpy_dtype().name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(spec.object_shape)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": _fill_value(spec),
        "codecs": codecs,
        "attributes": {},
        **({"dimension_names": list(spec.names)} if spec.names else {}),
        "storage_transformers": [],
    }


def _document2(spec: ArraySpec) -> dict[str, Any]:
    compressor = spec.codec.documents(spec.itemsize, 2)
    return {
        "zarr_format": 2,
        "shape": list(spec.shape),
        "chunks": list(spec.chunks),
        "dtype": spec.dtype,
        "fill_value": _fill_value(spec),
        "order": "C",
        "filters": None,
        "compressor": compressor[0] if compressor else None,
        "dimension_separator": "/",
    }


def _fill_value(spec: ArraySpec) -> Any:
    kind = spec.numpy_dtype().kind
    return False if kind == "b" else [0.0, 0.0] if kind == "c" else 0.0 if kind == "f" else 0


def parse_document(document: Mapping[str, Any], path: str) -> ArraySpec | None:
    """Return the spec of a metadata document; None if only the zarr library can read the array.

    Raises
    ------
    LookupError, TypeError, ValueError
        It is no metadata document of an array.
    """
    return _parse3(document, path) if document["zarr_format"] == ZARR_3 else _parse2(document, path)


def _parse3(document: Mapping[str, Any], path: str) -> ArraySpec | None:
    object_shape = _parse_extents(document["chunk_grid"]["configuration"]["chunk_shape"])
    codecs = list(map(_name_and_configuration, document["codecs"]))
    encoding, options = _name_and_configuration(document.get("chunk_key_encoding", "default"))
    separator = options.get("separator", "/" if encoding == "default" else ".")
    layout = _parse_layout(object_shape, codecs)
    if layout is None:
        return None
    order, compressor, checksum = _parse_codecs(layout.codecs)
    _check_separator(separator)
    if not _is_supported3(document, encoding) or compressor is None:
        return None
    return ArraySpec(
        path=path,
        shape=_parse_extents(document["shape"]),
        chunks=layout.chunks,
        shards=layout.shards,
        dtype=_stored_dtype(document["data_type"], order),
        codec=compressor,
        checksum=checksum,
        names=tuple(str(name) for name in document.get("dimension_names") or ()),
        prefix=f"c{separator}" if encoding == "default" else "",
        separator=separator,
        fill=_parse_fill_value(document.get("fill_value"), document["data_type"]),
        index_at_end=layout.index_at_end,
    )


def _is_supported3(document: Mapping[str, Any], encoding: str) -> bool:
    dtype = document["data_type"]
    return bool(
        document["chunk_grid"]["name"] == "regular"
        and encoding in {"default", "v2"}
        and isinstance(dtype, str)
        and _NUMBER.fullmatch(dtype)
        and document["shape"]
        and not document.get("storage_transformers")
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the objects of an array are cut into chunks, and the codecs of a chunk."""

    shards: tuple[int, ...] | None
    chunks: tuple[int, ...]
    codecs: Sequence[_NamedCodec]
    index_at_end: bool = True


def _parse_layout(object_shape: tuple[int, ...], codecs: Sequence[_NamedCodec]) -> _Layout | None:
    """Return the layout of objects with these codecs; None if only the zarr library can read their shards."""
    if [name for name, _ in codecs] != ["sharding_indexed"]:
        return _Layout(None, object_shape, codecs)
    _, sharding = codecs[0]
    chunks = _parse_extents(sharding["chunk_shape"])
    chunk_codecs = list(map(_name_and_configuration, sharding["codecs"]))
    index_at_end = sharding.get("index_location", "end") == "end"
    index_codecs = list(map(_name_and_configuration, sharding["index_codecs"]))
    has_big_endian = any(configuration.get("endian") == "big" for _, configuration in index_codecs)
    if [name for name, _ in index_codecs] != ["bytes", "crc32c"] or has_big_endian:
        return None
    is_divided = not any(a % b for a, b in zip(object_shape, chunks, strict=True))
    return _Layout(object_shape, chunks, chunk_codecs, index_at_end) if is_divided else None


def _parse2(document: Mapping[str, Any], path: str) -> ArraySpec | None:
    import numpy as np

    compressor = document.get("compressor") or {"id": "none"}
    is_number = isinstance(document["dtype"], str) and np.dtype(document["dtype"]).kind in "biufc"
    supported = is_number and document["shape"] and not document.get("filters") and document.get("order", "C") == "C"
    if not supported or compressor["id"] not in READABLE_CODECS:
        return None
    _check_separator(document.get("dimension_separator", "."))
    return ArraySpec(
        path=path,
        shape=_parse_extents(document["shape"]),
        chunks=_parse_extents(document["chunks"]),
        shards=None,
        dtype=_stored_dtype(document["dtype"], np.dtype(document["dtype"]).str[0]),
        codec=Codec(compressor["id"], _decoder_options({k: v for k, v in compressor.items() if k != "id"})),
        checksum=False,
        zarr_format=2,
        prefix="",
        separator=document.get("dimension_separator", "."),
        fill=_parse_fill_value(document.get("fill_value"), document["dtype"]),
    )


def _stored_dtype(name: str, order: str) -> str:
    import numpy as np

    dtype = np.dtype(name)
    return dtype.str if dtype.itemsize == 1 else dtype.newbyteorder(">" if order == ">" else "<").str


def _parse_codecs(codecs: Sequence[_NamedCodec]) -> tuple[str, Codec | None, bool]:
    """Return byte order, compressor (None if not supported) and whether there is a checksum."""
    names = [name for name, _ in codecs]
    checksum = names[-1:] == ["crc32c"]
    compressors = codecs[1 : len(codecs) - checksum]
    if names[:1] != ["bytes"] or len(compressors) > 1 or any(name not in READABLE_CODECS for name, _ in compressors):
        return "<", None, False
    order = ">" if codecs[0][1].get("endian") == "big" else "<"
    if not compressors:
        return order, Codec("none"), checksum
    return order, Codec(compressors[0][0], _decoder_options(compressors[0][1])), checksum


def _decoder_options(configuration: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Return the known options of a codec, as they are recorded; others affect only the encoder."""
    options = {k: v for k, v in configuration.items() if k in {"cname", "clevel", "shuffle", "blocksize", "level"}}
    if isinstance(options.get("shuffle"), int):
        options["shuffle"] = SHUFFLES[options["shuffle"]]
    return tuple(sorted(options.items()))


def _name_and_configuration(codec: Any) -> _NamedCodec:
    if isinstance(codec, str):
        return codec, {}
    return codec["name"], codec.get("configuration") or {}


def _parse_extents(values: Sequence[Any]) -> tuple[int, ...]:
    extents = tuple(int(value) for value in values)
    if any(extent < 0 for extent in extents):
        msg = f"negative extents {extents}"
        raise ValueError(msg)
    return extents


def _check_separator(separator: object) -> None:
    if separator not in ("/", "."):
        msg = f"{str(separator)[:80]!r} between the numbers of a chunk's key"
        raise ValueError(msg)


def _parse_fill_value(value: Any, name: str) -> float | complex:
    """Return a fill value of a metadata document as a number of dtype `name`."""
    import numpy as np

    dtype = np.dtype(name)
    if isinstance(value, list) and len(value) == _COMPLEX_PARTS:
        value = complex(float(value[0]), float(value[1]))
    elif isinstance(value, str) and value.startswith("0x"):
        value = np.array([int(value, 16)], f"u{dtype.itemsize}").view(dtype.newbyteorder("="))[0]
    elif isinstance(value, str):
        value = float(value)
    filled: float | complex = np.array([value or 0], dtype)[0].item()
    return filled
