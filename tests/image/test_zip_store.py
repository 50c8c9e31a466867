"""A zip as a store: members by range, few requests, no harm from zips made to do it, and zips that others read."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import struct
import threading
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cvcache import cdir_init, cdir_query
from cvcache.errors import ItemDamaged, LeaseLost, NodeReplaced, NotReproducible, UnknownOption, UsageError
from cvcache.formats import Format, ItemPath, ItemWrite, registry
from cvcache.image.arrays import TAIL_BYTES, ZipStore, zip_directory, zip_store, zip_write
from cvcache.store import LocalStore, MemoryStore
from cvcache.testing import CountingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cvcache.store import Store

CONTENT = {
    "zarr.json": b'{"zarr_format": 3}',
    "0/zarr.json": b'{"node_type": "array"}',
    "0/c/0/0": bytes(range(256)) * 40,
    "0/c/0/1": b"",
    "1/zarr.json": b"{}",
    "1/c/\u00fc": b"abc",
}


def zip_bytes(
    content: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED, *, comment: bytes = b""
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as target:
        for name, data in (CONTENT if content is None else content).items():
            target.writestr(zipfile.ZipInfo(name), data, method)
        target.comment = comment
    return buffer.getvalue()


def streamed(content: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip as it is written to a pipe: sizes follow the members."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: object) -> int:
            raise OSError

        def tell(self) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", method) as target:
        for name, data in content.items():
            with target.open(name, "w", force_zip64=True) as member:
                member.write(data)
    return pipe.getvalue()


def with_local_extra(name: str, data: bytes, extra: bytes) -> bytes:
    """Return a zip whose one member has an extra field in its own header only, as alignment tools make it."""
    plain = zip_bytes({name: data})
    at = 30 + len(name)
    patched = plain[:28] + struct.pack("<H", len(extra)) + plain[30:at] + extra + plain[at:]
    start, size = patched.index(b"PK\x01\x02"), patched.rindex(b"PK\x05\x06")
    return patched[: size + 16] + struct.pack("<L", start) + patched[size + 20 :]


def patched(data: bytes, signature: bytes, offset: int, value: bytes, which: int = 0) -> bytes:
    """Return `data` with `value` at `offset` behind the `which`-th `signature`."""
    at = -1
    for _ in range(which + 1):
        at = data.index(signature, at + 1)
    at += offset
    return data[:at] + value + data[at + len(value) :]


@pytest.fixture(params=["local", "memory"])
def put(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., tuple[CountingStore, str]]]:
    """Give a function that puts a zip into a counting store."""
    store: Store = LocalStore() if request.param == "local" else MemoryStore()
    root = str(tmp_path) if request.param == "local" else f"zips/{uuid.uuid4().hex}"
    keys: list[str] = []

    def act(data: bytes) -> tuple[CountingStore, str]:
        path = f"{root}/{len(keys)}.ome.zarr.zip"
        store.put(path, data)
        keys.append(path)
        return CountingStore(store), path

    yield act
    store.delete(keys)


def memory_zip(data: bytes) -> ZipStore:
    path = f"zips/{uuid.uuid4().hex}.zip"
    store = MemoryStore()
    store.put(path, data)
    return ZipStore(store, path)


@pytest.mark.parametrize(
    "make",
    [
        zip_bytes,
        lambda: zip_bytes(method=zipfile.ZIP_DEFLATED),
        lambda: streamed(CONTENT),
        lambda: streamed(CONTENT, zipfile.ZIP_DEFLATED),
        lambda: b"#!/bin/sh\n" + zip_bytes(),
        lambda: zip_bytes(comment=b"c" * 65535),
        lambda: zip_bytes({**CONTENT, "0/": b"", "0/c/": b""}),
    ],
    ids=["stored", "deflated", "streamed", "streamed deflated", "behind a script", "comment", "directories"],
)
def test_every_verb_that_reads(put: Any, make: Any) -> None:
    outer, path = put(make())
    store = ZipStore(outer, path)
    assert {name: info.size for name, info in store.find("").items()} == {n: len(d) for n, d in CONTENT.items()}
    for name, data in CONTENT.items():
        assert store.get(name) == store.get(f"/{name}") == data
        assert store.open(name, "rb").read() == data
        for start, end in ((0, 3), (5, 7), (2, None), (-4, None), (None, 9), (7, 5), (0, 10**6), (10**6, None)):
            assert store.get(name, start, end) == data[start:end]
    assert set(store.find("0")) == {"zarr.json", "c/0/0", "c/0/1"}
    assert (set(store.list("").files), store.list("").dirs) == ({"zarr.json"}, ("0", "1"))
    assert (set(store.list("0").files), store.list("0").dirs) == ({"zarr.json"}, ("c",))
    assert not store.list("0/zarr.json")
    assert store.stat("0/c") is store.stat("nothing") is None
    assert store.stat("zarr.json").size == len(CONTENT["zarr.json"])  # type: ignore[union-attr]
    with pytest.raises(FileNotFoundError, match=r"zip/0/c"):
        store.get("0/c")
    with pytest.raises(FileNotFoundError):
        store.open("nothing", "rb")
    assert store.url("0/c/0/0") == f"{outer.url(path)}/0/c/0/0"
    assert store.url("") == outer.url(path)
    assert (store.scheme, store.shared) == ("zip", outer.shared)


def test_what_writes_is_refused(put: Any) -> None:
    store = ZipStore(*put(zip_bytes()))
    for act in (
        lambda: store.put("zarr.json", b""),
        lambda: store.put_new("new", b""),
        lambda: store.delete(["zarr.json"]),
        lambda: store.open("zarr.json", "wb"),
        lambda: store.makedirs("0"),
    ):
        with pytest.raises(UsageError, match="a zip is only read"):
            act()
    assert not store.exclusive("")
    assert store.get("zarr.json") == CONTENT["zarr.json"]


def test_one_request_for_the_directory_and_one_a_member(put: Any) -> None:
    outer, path = put(zip_bytes())
    store = ZipStore(outer, path)
    assert outer.total == 0
    store.find("")
    store.stat("zarr.json")
    store.list("0")
    assert dict(outer.counts) == {"stat": 1, "get": 1}
    for n, (start, end) in enumerate(((None, None), (1000, 2000), (-10, None), (0, 10240)), 2):
        store.get("0/c/0/0", start, end)
        assert dict(outer.counts) == {"stat": 1, "get": n}
    with pytest.raises(FileNotFoundError):
        store.get("nothing")
    ZipStore(outer, path).find("")
    assert dict(outer.counts) == {"stat": 2, "get": 5}, "the directory of the same bytes is remembered"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_streamed_member_costs_one_request_whole_and_two_by_range(put: Any, method: int) -> None:
    outer, path = put(streamed({"a": bytes(500_000), "b": b"1" * 500_000}, method))
    store = ZipStore(outer, path)
    store.find("")
    outer.reset()
    assert store.get("a") == bytes(500_000)
    assert outer.total == 1
    assert store.get("b", 400_000, 400_003) == b"111"
    assert outer.total == (3 if method == zipfile.ZIP_STORED else 2)
    outer.reset()
    assert store.get("b", -5) == b"11111"
    assert outer.total == 1


@pytest.mark.parametrize("length", [4, 63, 64, 65, 4000])
def test_a_header_longer_than_the_directory_says(put: Any, length: int) -> None:
    data = bytes(range(256))
    outer, path = put(with_local_extra("a", data, bytes(length)))
    for start, end in ((None, None), (0, 5), (250, None), (3, 250)):
        store = ZipStore(outer, path)
        assert store.get("a", start, end) == store.get("a", start, end) == data[start:end]
    outer.reset()
    store.get("a")
    assert outer.total == (1 if length <= 64 else 2)


def test_the_directory_alone_is_read_of_a_large_file(put: Any) -> None:
    names = [f"0/c/{i}/{'x' * 100}" for i in range(2000)]
    outer, path = put(zip_bytes(dict.fromkeys(names, b"1" * 1000)))
    sizes: list[int] = []
    get = outer.get
    outer.get = lambda *args: sizes.append(len(data := get(*args))) or data
    assert len(ZipStore(outer, path).find("")) == 2000
    assert len(sizes) == 2
    assert sizes[0] == TAIL_BYTES
    assert sum(sizes) < 2000 * (46 + 110) + 200


def test_a_zip_of_over_4_gib(tmp_path: Path) -> None:
    """Sparse: the first member is a hole that no test reads whole."""
    path, hole = tmp_path / "a.zip", (4 << 30) + 5
    first, rest = zipfile.ZipInfo("hole"), {"b": b"behind", "zarr.json": b"{}"}
    first.file_size, first.compress_size, first.CRC = hole, hole, 0
    with path.open("w+b") as file:
        file.write(first.FileHeader(zip64=True))
        file.seek(hole, io.SEEK_CUR)
        with zipfile.ZipFile(file, "w") as target:
            target.filelist.append(first)
            first.header_offset = 0
            target._didModify = True
            for name, data in rest.items():
                target.writestr(name, data)
    store = ZipStore(LocalStore(), str(path))
    assert {name: info.size for name, info in store.find("").items()} == {"hole": hole, "b": 6, "zarr.json": 2}
    assert store.get("b") == b"behind"
    assert store.get("hole", hole - 3, hole) == bytes(3)
    assert store.get("hole", -3) == bytes(3)
    with zipfile.ZipFile(path) as other:
        assert other.getinfo("hole").file_size == hole


def test_metadata_of_over_4_gib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_store, "MAX_MEMBER_BYTES", 10)
    store = memory_zip(zip_bytes({"0/zarr.json": b"1" * 11, "0/c": b"1" * 11}))
    assert store.get("0/c") == b"1" * 11
    with pytest.raises(ItemDamaged, match="10 are the most"):
        store.get("0/zarr.json")
    with pytest.raises(ItemDamaged, match="10 are the most"):
        memory_zip(zip_bytes({"0/c": b"1" * 11}, zipfile.ZIP_DEFLATED)).get("0/c")


def test_a_bomb_is_refused_and_an_empty_chunk_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zip_bytes({"a": bytes(8 << 20)}, zipfile.ZIP_DEFLATED)
    assert zipfile.ZipFile(io.BytesIO(data)).getinfo("a").compress_size * 1000 < 8 << 20
    assert memory_zip(data).get("a") == bytes(8 << 20)
    monkeypatch.setattr(zip_store, "RATIO_FREE_BYTES", 1 << 20)
    with pytest.raises(ItemDamaged, match="are said to become 8388608"):
        memory_zip(data).get("a")


def damaged(data: bytes, name: str = "a", *verbs: str) -> str:
    """Return how reading the directory, or else the member, is refused."""
    store = memory_zip(data)
    try:
        store.find("")
    except ItemDamaged as error:
        return str(error)
    assert "get" in verbs
    with pytest.raises(ItemDamaged) as caught:
        store.get(name)
    return str(caught.value)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a", "a/../b", "a/..", "a\\b", "C:/a", "C:\\a", ".", "a/./b", "a//b", "/", "//a/"]
)
def test_a_harmful_name_is_refused(name: str) -> None:
    assert repr(name) in damaged(zip_bytes({"fine": b"", name: b"x"}))


def test_a_nul_in_a_name_is_refused() -> None:
    data = zip_bytes({"aXb": b"x"}).replace(b"aXb", b"a\0b")
    assert "'a\\x00b'" in damaged(data)


def test_a_duplicate_is_refused() -> None:
    assert "'a' has an entry twice" in damaged(zip_bytes({"a": b"1", "b": b"2"}).replace(b"b", b"a"))


def test_members_that_overlap_are_refused() -> None:
    data = zip_bytes({"a": b"1" * 100, "b": b"2" * 100})
    assert "overlaps" in damaged(patched(data, b"PK\x01\x02", 42, struct.pack("<L", 0), which=1))
    grown = patched(data, b"PK\x01\x02", 20, struct.pack("<LL", 101, 101))
    assert "'a' overlaps" in damaged(grown)
    last = patched(data, b"PK\x01\x02", 20, struct.pack("<LL", 101, 101), which=1)
    assert "'b' overlaps the next one, or the directory" in damaged(last)
    header = patched(zip_bytes({"a": b"1" * 100, "b": b""}), b"PK\x03\x04", 28, struct.pack("<H", 1))
    assert "overlaps the next member" in damaged(header, "a", "get")


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_an_encrypted_member_is_refused(flag: int) -> None:
    assert "encrypted" in damaged(patched(zip_bytes({"a": b"1"}), b"PK\x01\x02", 8, struct.pack("<H", flag)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_unusual_compression_is_refused(method: int) -> None:
    assert f"method {method}" in damaged(zip_bytes({"a": b"1" * 99}, method))


def test_a_size_that_is_not_so_is_refused() -> None:
    plain, packed = zip_bytes({"a": b"1" * 99}), zip_bytes({"a": b"1" * 99}, zipfile.ZIP_DEFLATED)
    assert "another size" in damaged(patched(plain, b"PK\x01\x02", 24, struct.pack("<L", 98)))
    for size in (0, 98, 100, 10**6):
        assert f"the {size} bytes" in damaged(patched(packed, b"PK\x01\x02", 24, struct.pack("<L", size)), "a", "get")


def test_changed_bytes_are_refused() -> None:
    assert "checksum" in damaged(zip_bytes({"a": b"1" * 99}).replace(b"1" * 9, b"2" * 9), "a", "get")
    assert "not where" in damaged(patched(zip_bytes({"a": b""}), b"PK\x03\x04", 0, b"PKxx"), "a", "get")
    assert "not where" in damaged(patched(zip_bytes({"a": b""}), b"PK\x03\x04", 30, b"b"), "a", "get")
    assert "'a'" in damaged(
        patched(zip_bytes({"a": b"1" * 99}, zipfile.ZIP_DEFLATED), b"PK\x03\x04", 31, b"\xff"), "a", "get"
    )


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zip_bytes({str(i): b"" for i in range(11)})
    monkeypatch.setattr(zip_store, "MAX_ENTRIES", 11)
    assert len(memory_zip(data).find("")) == 11
    monkeypatch.setattr(zip_store, "MAX_ENTRIES", 10)
    assert "over 10 members" in damaged(data)


def test_a_directory_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    size = (256 << 20) + 1
    with path.open("wb") as file:
        file.seek(size + 1000)
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, size, 1000, 0))
    outer = CountingStore(LocalStore())
    with pytest.raises(ItemDamaged, match="268435457 bytes long"):
        ZipStore(outer, str(path)).find("")
    assert outer.counts["get"] == 1


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x05\x06", b"x" * 100_000, b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip(data: bytes) -> None:
    if data.startswith(b"PK\x05\x06") and len(data) == 22:
        assert memory_zip(data).find("") == {}
    else:
        assert "cannot be read" in damaged(data)


def test_a_missing_zip_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.zip"):
        ZipStore(LocalStore(), str(tmp_path / "a.zip")).find("")


def test_a_failing_request_is_no_damage() -> None:
    class Failing(MemoryStore):
        def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
            raise ConnectionResetError(path, start, end)

    path = f"zips/{uuid.uuid4().hex}.zip"
    MemoryStore().put(path, zip_bytes())
    with pytest.raises(ConnectionResetError):
        ZipStore(Failing(), path).find("")


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_broken_zip_reads_right_or_is_refused(data: st.DataObject) -> None:
    content = {"zarr.json": b"{}", "c/0": b"12345" * 9}
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    raw = bytearray(zip_bytes(content, method) if data.draw(st.booleans()) else streamed(content, method))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    store = memory_zip(bytes(raw)[: data.draw(st.integers(0, len(raw)) | st.just(len(raw)))])
    with contextlib.suppress(ItemDamaged):
        names = store.find("")
        for name in names:
            assert store.get(name) in {content.get(name, b"{}"), *content.values()}


def test_a_zip_that_is_gone_was_replaced_if_its_commit_was(put: Any) -> None:
    outer, path = put(zip_bytes())
    pin = f"{path}.successor"
    store = ZipStore(outer, path, pin)
    assert store.get("zarr.json") == CONTENT["zarr.json"]
    outer.store.delete([path])
    outer.store.put(pin, b"")
    for act in (lambda: store.get("zarr.json"), lambda: store.get("nothing"), lambda: store.get("0/c/0/0", 5, 9)):
        with pytest.raises(NodeReplaced):
            act()
    with pytest.raises(NodeReplaced):
        ItemPath(store, "", successor=pin, committed=True).raise_if_replaced()
    outer.store.delete([pin])


def test_it_crosses_a_pickle_without_its_directory(put: Any) -> None:
    outer, path = put(zip_bytes())
    store = ZipStore(outer, path, "pin")
    store.find("")
    data = pickle.dumps(store)
    assert len(data) < 400
    back = pickle.loads(data)  # noqa: S301
    assert (back.url("a"), back._zip_item.pin) == (store.url("a"), "pin")
    assert back.get("zarr.json") == CONTENT["zarr.json"]


def test_many_threads_read_the_directory_once(put: Any) -> None:
    content = {str(i): bytes([i]) * 1000 for i in range(64)}
    outer, path = put(zip_bytes(content))
    store = ZipStore(outer, path)
    ready = threading.Barrier(8)

    def read(first: int) -> list[bytes]:
        ready.wait()
        return [store.get(str(i)) for i in range(first, 64, 8)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(8)))
    assert [found[i % 8][i // 8] for i in range(64)] == list(content.values())
    assert dict(outer.counts) == {"stat": 1, "get": 65}


class TestZipDirectory:
    def lay(self, store: Store, root: str, content: dict[str, bytes]) -> None:
        for name, data in content.items():
            store.put(f"{root}/{name}", data)

    @pytest.fixture(params=["local", "memory"])
    def source(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[CountingStore, str]]:
        store: Store = LocalStore() if request.param == "local" else MemoryStore()
        root = str(tmp_path / "a.ome.zarr") if request.param == "local" else f"zips/{uuid.uuid4().hex}/a.ome.zarr"
        self.lay(store, root, CONTENT)
        yield CountingStore(store), root
        store.delete([f"{root}/{name}" for name in store.find(root)])

    def test_it_is_a_zip_in_order_that_others_read(self, source: Any) -> None:
        buffer = io.BytesIO()
        done = zip_directory(*source, buffer)
        raw = buffer.getvalue()
        assert done == (len(CONTENT), len(raw), hashlib.sha256(raw).hexdigest())
        with zipfile.ZipFile(buffer) as other:
            assert other.testzip() is None
            assert {name: other.read(name) for name in other.namelist()} == CONTENT
            assert other.namelist() == ["zarr.json", "0/zarr.json", "1/zarr.json", "0/c/0/0", "0/c/0/1", "1/c/\u00fc"]
            assert {entry.compress_type for entry in other.infolist()} == {zipfile.ZIP_STORED}
            assert {entry.date_time for entry in other.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert source[0].counts == {"find": 1, "get": len(CONTENT)}
        store = memory_zip(raw)
        assert {name: store.get(name) for name in store.find("")} == CONTENT
        assert {member.header_room for member in store._members().values()} == {0}, "a range needs no look at a header"

    def test_equal_content_gives_equal_bytes(self, source: Any) -> None:
        store, root = source
        first, second = io.BytesIO(), io.BytesIO()
        zip_directory(store, root, first)
        other = f"{root}2"
        self.lay(store, other, dict(reversed(CONTENT.items())))
        zip_directory(store, other, second)
        store.delete([f"{other}/{name}" for name in CONTENT])
        assert first.getvalue() == second.getvalue()

    def test_the_file_is_only_appended_to(self, source: Any) -> None:
        class Pipe:
            def __init__(self) -> None:
                self.parts: list[bytes] = []

            def write(self, data: bytes) -> int:
                self.parts.append(bytes(data[:1000]))
                return len(data[:1000])

        pipe = Pipe()
        done = zip_directory(*source, pipe)  # type: ignore[arg-type]
        raw = b"".join(pipe.parts)
        assert (done.bytes, done.sha256) == (len(raw), hashlib.sha256(raw).hexdigest())
        assert zipfile.ZipFile(io.BytesIO(raw)).testzip() is None

    def test_one_member_at_a_time_is_held(self, source: Any) -> None:
        store, root = source
        sizes: list[int] = []
        buffer = io.BytesIO()
        get = store.get

        def noting(*args: Any) -> bytes:
            sizes.append(buffer.tell())
            return get(*args)

        store.get = noting
        zip_directory(store, root, buffer)
        assert sizes == sorted(set(sizes)), "what came before was written"

    def test_members_beyond_the_limits_of_a_plain_zip(self, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
        buffer = io.BytesIO()
        zip_directory(*source, buffer)
        monkeypatch.undo()
        assert b"PK\x06\x06" in buffer.getvalue()
        store = memory_zip(buffer.getvalue())
        assert {name: store.get(name) for name in store.find("")} == CONTENT
        assert store.get("0/c/0/0", 300, 310) == CONTENT["0/c/0/0"][300:310]

    def test_nothing_and_too_much_are_refused(self, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        store, root = source
        with pytest.raises(FileNotFoundError, match="nothing that could be zipped"):
            zip_directory(store, f"{root}-not", io.BytesIO())
        monkeypatch.setattr(zip_write, "MAX_ENTRIES", 3)
        with pytest.raises(UsageError, match="larger shards"):
            zip_directory(store, root, io.BytesIO())
        monkeypatch.undo()
        store.put(f"{root}/a\\b", b"")
        with pytest.raises(UsageError, match="backslash"):
            zip_directory(store, root, io.BytesIO())

    @pytest.mark.parametrize("shards", [None, (16, 32)])
    def test_zarr_reads_it(self, tmp_path: Path, shards: Any) -> None:
        pixels = np.arange(40 * 50, dtype="uint16").reshape(40, 50)
        root = tmp_path / "a.zarr"
        group = zarr.open_group(root, mode="w")
        group.create_array("0", data=pixels, chunks=(8, 16), shards=shards)
        path = tmp_path / "a.zarr.zip"
        with path.open("wb") as file:
            done = zip_directory(LocalStore(), str(root), file)
        assert done.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        with zarr.storage.ZipStore(path, mode="r") as store:
            np.testing.assert_array_equal(zarr.open_group(store, mode="r")["0"][:], pixels)

    def test_what_zarr_zips_is_read(self, tmp_path: Path) -> None:
        pixels = np.arange(40 * 50, dtype="uint16").reshape(40, 50)
        path = tmp_path / "a.zarr.zip"
        with zarr.storage.ZipStore(path, mode="w") as store:
            zarr.create_array(store, name="0", data=pixels, chunks=(40, 50), compressors=None)
        ours = ZipStore(LocalStore(), str(path))
        assert ours.get("0/c/0/0") == pixels.tobytes()
        assert ours.get("0/c/0/0", 100, 200) == pixels.tobytes()[100:200]


FORM = Format("ome.zarr.zip", "cvcache.image.ome_zarr_zip")
PIXELS = np.random.default_rng(0).integers(0, 250, (9, 300, 310)).astype("uint16")


def lazy_pixels() -> da.Array:
    return da.from_array(PIXELS, chunks=(4, 128, 310))


def assert_same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    assert (a.dtype, getattr(a, "chunks", None)) == (b.dtype, getattr(b, "chunks", None))
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b), strict=True)


class TestItem:
    """The format ``.ome.zarr.zip``."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> ItemPath:
        return ItemWrite(CountingStore(LocalStore()), f"{tmp_path}/node/cells.ome.zarr.zip")

    def later(self, place: ItemPath, meta: Any) -> ItemPath:
        return ItemWrite(place.store, place.path, json.loads(json.dumps(meta)))

    def left(self, place: ItemPath) -> list[str]:
        return sorted(place.store.find(place.path.rpartition("/")[0]))

    @pytest.mark.parametrize(
        ("make", "options"),
        [
            (lambda: PIXELS, {}),
            (lambda: PIXELS[0] > 99, {"kind": "labels"}),
            (lambda: PIXELS[0, 0].astype(">f4"), {}),
            (lazy_pixels, {}),
            (lazy_pixels, {"chunks": (1, 64, 64), "shards": (3, 128, 128)}),
            (lazy_pixels, {"version": "0.4", "compressor": None}),
            (lambda: np.zeros((0, 5)), {}),
        ],
        ids=["numpy", "bool labels", "line", "dask", "shards", "0.4", "no pixels"],
    )
    def test_it_comes_back_as_it_went_in(self, place: ItemPath, make: Any, options: Any) -> None:
        meta = FORM.write(place, make(), **options)
        assert self.left(place) == ["cells.ome.zarr.zip"]
        raw = place.store.get(place.path)
        assert (meta["bytes"], meta["size"], meta["sha256"]) == (len(raw), len(raw), hashlib.sha256(raw).hexdigest())
        for there in (self.later(place, meta), ItemWrite(place.store, place.path)):
            assert_same(FORM.read(there), make())
        less = {"size", "sha256", "range", "histogram"}
        told = {name: value for name, value in meta.items() if name not in less}
        assert FORM.describe(ItemWrite(place.store, place.path)) == told

    def test_levels_and_slices(self, place: ItemPath) -> None:
        meta = FORM.write(place, lazy_pixels(), chunks=(1, 64, 64), shards=(3, 128, 128), levels=2)
        there = self.later(place, meta)
        part: Any = FORM.read(there, slices="[-1, 5:200:3, ...]")
        np.testing.assert_array_equal(part.compute(), PIXELS[-1, 5:200:3])
        assert_same(FORM.read(there, level=-1), FORM.read(there, level=1))
        with pytest.raises(UsageError, match=r"cells\.ome\.zarr\.zip has no level 2"):
            FORM.read(there, level=2)

    def test_equal_images_are_equal_zips(self, place: ItemPath) -> None:
        first = FORM.write(place, PIXELS)
        other = ItemWrite(place.store, place.path.replace("/node/", "/other/"))
        assert FORM.write(other, PIXELS) == first
        assert FORM.write(place, PIXELS) == first

    def test_it_names_itself_and_not_the_scratch(self, place: ItemPath) -> None:
        FORM.write(place, PIXELS)
        with zipfile.ZipFile(place.path) as other:
            assert other.namelist()[0] == "zarr.json"
            group = json.loads(other.read("zarr.json"))
        assert group["attributes"]["ome"]["multiscales"][0]["name"] == "cells"
        with zarr.storage.ZipStore(place.path, mode="r") as store:
            np.testing.assert_array_equal(zarr.open_group(store, mode="r")["0"][:], PIXELS)

    def test_a_chunk_costs_one_request(self, place: ItemPath) -> None:
        meta = FORM.write(place, lazy_pixels(), chunks=(1, 64, 64))
        there = self.later(place, meta)
        store: Any = place.store
        store.reset()
        pixels: Any = FORM.read(ItemPath(store, place.path, there.meta, f"{place.path}.successor", committed=True))
        assert store.total == 0
        pixels[0, :64, :64].compute(scheduler="sync")
        assert [verb for verb, path in store.log if path == place.path] == ["stat", "get", "get"]
        pixels[3, 64:128, :64].compute(scheduler="sync")
        assert [verb for verb, path in store.log if path == place.path] == ["stat", "get", "get", "get"]

    def test_a_lazy_image_crosses_a_pickle(self, place: ItemPath) -> None:
        meta = FORM.write(place, lazy_pixels())
        pixels: Any = pickle.loads(pickle.dumps(FORM.read(self.later(place, meta))))  # noqa: S301
        np.testing.assert_array_equal(pixels.compute(), PIXELS)

    def test_the_zip_may_lie_anywhere(self, place: ItemPath) -> None:
        meta = FORM.write(place, lazy_pixels())
        store, path = MemoryStore(), f"zips/{uuid.uuid4().hex}/cells.ome.zarr.zip"
        store.put(path, place.store.get(place.path))
        assert_same(FORM.read(self.later(ItemWrite(store, path), meta)), lazy_pixels())
        store.delete([path])

    def test_another_zip_in_its_place_is_another_dask_array(self, place: ItemPath) -> None:
        FORM.write(place, lazy_pixels())
        first: Any = FORM.read(ItemWrite(place.store, place.path))
        assert first.name == FORM.read(ItemWrite(place.store, place.path)).name  # type: ignore[attr-defined]  # a dask array
        FORM.write(place, lazy_pixels() + 1)
        second: Any = FORM.read(ItemWrite(place.store, place.path))
        assert first.name != second.name
        assert_same(second, lazy_pixels() + 1)

    def test_it_is_written_on_a_disk_only(self) -> None:
        with pytest.raises(UsageError, match=r"write 'a\.ome\.zarr' here, or"):
            FORM.write(ItemWrite(MemoryStore(), "bucket/node/a.ome.zarr.zip"), PIXELS)

    def test_what_cannot_be_written_leaves_nothing(self, place: ItemPath) -> None:
        def fail(block: Any) -> Any:
            raise RuntimeError(str(block.shape))

        with pytest.raises(NotReproducible, match=r"node/cells\.ome\.zarr\.zip was not written"):
            FORM.write(place, [[1, 2]])
        with pytest.raises(UnknownOption, match="scale"):
            FORM.write(place, PIXELS, scle=1)
        with pytest.raises(RuntimeError):
            FORM.write(place, da.from_array(PIXELS, chunks=99).map_blocks(fail, dtype="uint16", meta=PIXELS[:0]))
        assert self.left(place) == []
        assert not (place.store.list(place.path.rpartition("/")[0] + "/_cvcache/tmp"))

    def test_every_write_is_guarded(self, place: ItemPath) -> None:
        entered: list[int] = []

        class Limited(ItemWrite):
            last = float("inf")

            @contextlib.contextmanager
            def writing(self) -> Iterator[None]:
                entered.append(1)
                if len(entered) > self.last:
                    raise LeaseLost(self.url)
                yield

        before = FORM.write(Limited(place.store, place.path), PIXELS)
        total = len(entered)
        for last in (0, 1, total - 1):
            entered.clear()
            Limited.last = last
            with pytest.raises(LeaseLost):
                FORM.write(Limited(place.store, place.path), PIXELS + 1)
            assert self.left(place) == ["cells.ome.zarr.zip"]
            assert hashlib.sha256(place.store.get(place.path)).hexdigest() == before["sha256"]

    def test_what_is_no_image(self, place: ItemPath) -> None:
        for act in (FORM.read, FORM.describe):
            with pytest.raises(FileNotFoundError):
                act(place)
        for raw in (b"", b"no zip", zip_bytes({"readme": b""})):
            place.store.put(place.path, raw)
            for act in (FORM.read, FORM.describe):
                with pytest.raises(ItemDamaged, match=r"cells\.ome\.zarr\.zip"):
                    act(place)

    def test_a_missing_or_changed_chunk_is_damage(self, place: ItemPath) -> None:
        meta = FORM.write(place, PIXELS, chunks=(9, 300, 310), levels=1)
        raw = place.store.get(place.path)
        at = raw.index(b"0/c/0/0/0") + 500
        place.store.put(place.path, raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        with pytest.raises(ItemDamaged, match="0/c/0/0/0"):
            FORM.read(self.later(place, meta))
        with zipfile.ZipFile(io.BytesIO(raw)) as whole:
            rest = {name: whole.read(name) for name in whole.namelist() if "/c/" not in name}
        place.store.put(place.path, zip_bytes(rest))
        with pytest.raises(ItemDamaged, match="0/c/0/0/0"):
            FORM.read(self.later(place, meta))

    def test_in_a_node(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(registry._formats, "ome.zarr.zip", FORM)
        with cdir_init(tmp_path / "node", {"n": 1}) as node:
            node.write("a.ome.zarr.zip", lazy_pixels(), scale=(2, 1, 1))
            node.write("b.ome.zarr.zip", PIXELS)
        old = cdir_query(tmp_path / "node")
        row = old["a.ome.zarr.zip"].meta
        assert (row["shape"], row["scale"], row["sha256"]) == ([9, 300, 310], [2.0, 1.0, 1.0], row["sha256"])
        assert_same(old.read("a.ome.zarr.zip"), lazy_pixels())
        assert_same(old.read("b.ome.zarr.zip"), PIXELS)
        lazy = old.read("a.ome.zarr.zip")
        with cdir_init(tmp_path / "node", {"n": 2}) as node:
            node.write("a.ome.zarr.zip", lazy_pixels() + 1)
        for act in (lazy.compute, lambda: old.read("b.ome.zarr.zip")):
            with pytest.raises(NodeReplaced):
                act()
        assert_same(cdir_query(tmp_path / "node").read("a.ome.zarr.zip"), lazy_pixels() + 1)
