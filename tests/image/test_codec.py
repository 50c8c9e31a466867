"""Chunks as bytes: what zarr itself would write, and nothing damaged ever becomes pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cvcache.errors import UsageError
from cvcache.image.arrays import (
    COMPRESSOR_DEFAULTS,
    ArraySpec,
    Codec,
    crc32c,
    parse_compressor,
    parse_document,
    strip_crc32c,
)

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = ["|b1", "|u1", "|i1", "<u2", ">u2", "<i4", "<u8", "<f2", "<f4", ">f8", "<c8", "<c16"]
COMPRESSORS: dict[str, Any] = {
    **{name: name for name in ("blosc", "zstd", "gzip")},
    "none": None,
    "lz4 in blosc": {"name": "blosc", "cname": "lz4hc", "clevel": 5, "shuffle": "bitshuffle"},
    "unshuffled": {"name": "blosc", "shuffle": "noshuffle"},
}
READABLE = ["blosc", "zstd", "gzip", "zlib", "lz4", "none"]
BLOCK = np.random.default_rng(0).integers(0, 9000, (16, 256)).astype("<u2")
NOISE = np.random.default_rng(0).integers(0, 256, (16, 512)).astype("|u1")
"""What no codec makes smaller; blosc keeps it as it is."""


def spec_of(compressor: Any, dtype: str = "<u2", **options: Any) -> ArraySpec:
    form = {"path": "0", "shape": (20, 30), "chunks": (8, 16), "shards": None, "names": ("y", "x")}
    return ArraySpec(**{**form, "dtype": dtype, "codec": parse_compressor(compressor), **options})


def codec_of(name: str) -> Codec:
    return Codec(name, tuple(sorted(COMPRESSOR_DEFAULTS.get(name, {}).items())))


def put(folder: Path, spec: ArraySpec, pixels: np.ndarray) -> None:
    """Write an array with our own document and our own bytes."""
    documents = {spec.document_key: json.dumps(spec.document()).encode()}
    for index in spec.object_indices():
        region = tuple(slice(i * n, (i + 1) * n) for i, n in zip(index, spec.object_shape, strict=True))
        documents[spec.key(index)] = b"".join(spec.encode(pixels[region]))
    for key, data in documents.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(data)


def zarr_writes(folder: Path, spec: ArraySpec, *, compressors: Any) -> zarr.Array[Any]:
    """Let zarr make the same array."""
    options: dict[str, Any] = {"dimension_names": spec.names} if spec.zarr_format == 3 else {}
    if spec.zarr_format == 2:
        options["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
    return zarr.create_array(
        str(folder),
        shape=spec.shape,
        chunks=spec.chunks,
        shards=spec.shards,
        dtype=spec.dtype,
        zarr_format=spec.zarr_format,
        compressors=compressors,
        **options,
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compressor", COMPRESSORS.values(), ids=COMPRESSORS)
@pytest.mark.parametrize("form", ["3", "3 sharded", "2"])
def test_zarr_reads_what_we_write(tmp_path: Path, form: str, compressor: Any, dtype: str) -> None:
    if form != "2":
        dtype = np.dtype(dtype).newbyteorder("<").str
    options: dict[str, Any] = {"shards": (16, 16)} if "sharded" in form else {}
    if form == "2":
        options = {"zarr_format": 2, "prefix": "", "checksum": False}
    spec = spec_of(compressor, dtype, **options)
    pixels = np.random.default_rng(1).integers(0, 200, spec.shape).astype(dtype)
    put(tmp_path, spec, pixels)
    array = zarr.open_array(str(tmp_path / "0"), mode="r")
    np.testing.assert_array_equal(np.asarray(array[...]), pixels)
    assert (array.shape, array.chunks, array.shards) == (spec.shape, spec.chunks, spec.shards)
    assert array.dtype == np.dtype(dtype)
    assert array.fill_value == 0
    assert parse_document(json.loads((tmp_path / spec.document_key).read_bytes()), "0") == ArraySpec(
        **{name: getattr(spec, name) for name in ArraySpec.__slots__ if name not in {"names", "codec"}},
        names=spec.names if spec.zarr_format == 3 else (),
        codec=spec.codec,
    )


def codecs_of_zarr(name: str) -> dict[str, Any]:
    from zarr import codecs

    return {
        "blosc": (codecs.BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", blocksize=0), codecs.Crc32cCodec()),
        "zstd": (codecs.ZstdCodec(level=1), codecs.Crc32cCodec()),
        "gzip": (codecs.GzipCodec(level=5), codecs.Crc32cCodec()),
        "none": (codecs.Crc32cCodec(),),
    }[name]  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if not dtype.startswith(">")])
@pytest.mark.parametrize("name", ["blosc", "zstd", "gzip", "none"])
@pytest.mark.parametrize("shards", [None, (16, 16)])
def test_the_document_of_zarr_3_is_zarrs_own(tmp_path: Path, name: str, dtype: str, shards: Any) -> None:
    spec = spec_of(None if name == "none" else name, dtype, shards=shards)
    theirs = zarr_writes(tmp_path / "theirs", spec, compressors=codecs_of_zarr(name))
    put(tmp_path / "ours", spec, np.zeros(spec.shape, dtype))
    ours = zarr.open_array(str(tmp_path / "ours" / "0"), mode="r")
    assert ours.metadata == theirs.metadata
    assert ours.metadata.to_dict() == theirs.metadata.to_dict()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["blosc", "zstd", "gzip", "none"])
def test_the_document_of_zarr_2_is_zarrs_own(tmp_path: Path, name: str, dtype: str) -> None:
    spec = spec_of(None if name == "none" else name, dtype, zarr_format=2, prefix="", checksum=False)
    made = {
        "blosc": numcodecs.Blosc("zstd", 1, numcodecs.Blosc.SHUFFLE),
        "zstd": numcodecs.Zstd(1),
        "gzip": numcodecs.GZip(5),
        "none": None,
    }
    theirs = zarr_writes(tmp_path / "theirs", spec, compressors=made[name])
    put(tmp_path / "ours", spec, np.zeros(spec.shape, dtype))
    ours = zarr.open_array(str(tmp_path / "ours" / "0"), mode="r")
    assert ours.metadata.to_dict() == theirs.metadata.to_dict()


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("block", [BLOCK, NOISE, np.zeros_like(BLOCK)], ids=["pixels", "noise", "zeros"])
def test_no_cut_nor_longer_chunk_is_decoded(name: str, block: np.ndarray) -> None:
    codec = codec_of(name)
    data = codec.encode(block)
    out = np.empty(block.nbytes, "uint8")
    codec.decode(data, out)
    assert out.tobytes() == block.tobytes()
    cuts = {*range(min(40, len(data))), *range(max(0, len(data) - 40), len(data)), len(data) // 2}
    spoilt = [data[:end] for end in cuts] + [data + extra for extra in (b"\0", b"\0" * 8, data)]
    for one in spoilt:
        with pytest.raises(ValueError, match=r"."):
            codec.decode(one, np.empty(block.nbytes, "uint8"))


@pytest.mark.parametrize("name", READABLE)
def test_a_chunk_of_another_size_is_refused(name: str) -> None:
    codec = codec_of(name)
    for other in (BLOCK[:-1], BLOCK[:, :-1], np.append(BLOCK, BLOCK), np.zeros(1 << 24, "uint8"), BLOCK[:0]):
        with pytest.raises(ValueError, match=r"."):
            codec.decode(codec.encode(np.ascontiguousarray(other)), np.empty(BLOCK.nbytes, "uint8"))


@pytest.mark.parametrize("compressor", ["blosc", "zstd", "gzip", None])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_flipped_bit_becomes_pixels(compressor: Any, data: st.DataObject) -> None:
    spec = spec_of(compressor, shape=BLOCK.shape, chunks=BLOCK.shape)
    chunk = bytearray(b"".join(spec.encode(BLOCK)))
    for place in data.draw(st.sets(st.integers(0, len(chunk) * 8 - 1), min_size=1, max_size=4)):
        chunk[place // 8] ^= 1 << place % 8
    with pytest.raises(ValueError, match="checksum"):
        spec.decode(bytes(chunk))


@pytest.mark.parametrize("name", ["blosc", "zstd", "gzip", "zlib", "lz4"])
@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=200), data=st.data())
def test_junk_raises_nothing_else(name: str, junk: bytes, data: st.DataObject) -> None:
    codec = codec_of(name)
    good = bytearray(codec.encode(BLOCK))
    at = data.draw(st.integers(0, len(good)))
    good[at : at + len(junk)] = junk
    for one in (junk, bytes(good)):
        try:
            codec.decode(one, np.empty(BLOCK.nbytes, "uint8"))
        except ValueError:
            continue
        assert one  # without a checksum other pixels of the right size may come out, but never of nothing


@given(st.binary(max_size=300))
def test_a_checksum_protects_what_is_before_it(data: bytes) -> None:
    whole = data + crc32c(data)
    assert strip_crc32c(whole) == data
    for spoilt in (whole[:-1], whole[1:], whole + b"\0", b""):
        if spoilt != whole:
            with pytest.raises(ValueError, match="checksum"):
                strip_crc32c(spoilt)


@pytest.mark.parametrize("end", [0, 3, 4, 16, 67])
def test_the_index_of_a_shard_has_its_size_and_checksum(end: int) -> None:
    spec = spec_of("zstd", shards=(16, 32))
    shard = b"".join(spec.encode(np.ones((16, 30), "<u2")))
    table = shard[-spec.shard_index_bytes :]
    found = spec.parse_shard_index(table)
    assert len(found) == 4
    for place in found:
        assert place is not None
        np.testing.assert_array_equal(spec.decode(shard[slice(*place)]).max(), 1)
    with pytest.raises(ValueError, match="short"):
        spec.parse_shard_index(table[:end])
    with pytest.raises(ValueError, match="checksum"):
        spec.parse_shard_index(bytes([table[0] ^ 1]) + table[1:])


def test_a_shard_at_the_edge_lacks_the_chunks_outside() -> None:
    spec = spec_of("zstd", shards=(16, 32))
    shard = b"".join(spec.encode(np.ones((4, 14), "<u2")))
    assert [place is not None for place in spec.parse_shard_index(shard[-spec.shard_index_bytes :])] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("options", [{"level": 3}, {"cname": {}}, {"shuffle": "no such"}, {"blocksize": "x"}], ids=str)
@pytest.mark.parametrize("name", ["blosc", "zstd", "gzip", "lz4"])
def test_options_of_others_do_not_matter_to_the_decoder(name: str, options: dict[str, Any]) -> None:
    data, out = codec_of(name).encode(BLOCK), np.empty(BLOCK.nbytes, "uint8")
    Codec(name, tuple(options.items())).decode(data, out)
    assert out.tobytes() == BLOCK.tobytes()


@pytest.mark.parametrize(
    "given",
    [
        "zstdd",
        "pickle",
        5,
        ["zstd"],
        {"name": "zstd", "level": "x"},
        {"name": "zstd", "cname": "lz4"},
        {"name": "blosc", "cname": "nosuch"},
        {},
    ],
    ids=str,
)
def test_a_compressor_nobody_has_is_refused(given: Any) -> None:
    with pytest.raises(UsageError):
        parse_compressor(given)


@pytest.mark.parametrize(
    "given",
    [
        numcodecs.Blosc("lz4", 3, numcodecs.Blosc.BITSHUFFLE),
        zarr.codecs.BloscCodec(cname="lz4", clevel=3, shuffle="bitshuffle", typesize=2),
        {"id": "blosc", "cname": "lz4", "clevel": 3, "shuffle": 2},
        {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 3, "shuffle": "bitshuffle"}},
    ],
    ids=["numcodecs", "zarr", "zarr 2", "zarr 3"],
)
def test_everybodys_spelling_is_understood(given: Any) -> None:
    options = {"cname": "lz4", "clevel": 3, "shuffle": "bitshuffle", "blocksize": 0}
    assert parse_compressor(given) == Codec("blosc", tuple(sorted(options.items())))
