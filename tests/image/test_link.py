"""Links: what they keep, what they lead to, and what they say when that has changed."""

from __future__ import annotations

import importlib.util
import json
import os
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr

from cvcache import cdir_init, cdir_query
from cvcache.errors import InvalidName, ItemDamaged, NotReproducible, UnknownOption, UsageError
from cvcache.formats import Format, ItemPath, ItemWrite, registry
from cvcache.image import ome_zarr, ome_zarr_zip
from cvcache.image.read import slices as slices_module
from cvcache.store import LocalStore, MemoryStore, instrument
from cvcache.testing import CountingStore, FormatTests

if TYPE_CHECKING:
    from collections.abc import Iterator

FORM = Format("ref", "cvcache.image.link")
PIXELS = np.random.default_rng(0).integers(0, 250, (5, 60, 70)).astype("uint16")

needs_open_image = pytest.mark.skipif(
    importlib.util.find_spec("cvcache.image.read.open") is None, reason="cvcache.image.read.open is not there yet"
)


@pytest.fixture
def place() -> Iterator[ItemPath]:
    found = ItemWrite(MemoryStore(), f"refs/{uuid.uuid4().hex}/raw.ref")
    yield found
    found.store.delete([found.path])


@pytest.fixture(params=["local", "memory"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ItemPath]:
    """Give a place for what is linked, which nothing is at yet."""
    if request.param == "local":
        yield ItemWrite(LocalStore(), f"{tmp_path}/else where/raw")
        return
    found = ItemWrite(MemoryStore(), f"refs/{uuid.uuid4().hex}/else where/raw")
    yield found
    found.store.delete([found.path, *(found.at(key) for key in found.find())])


class TestReference(FormatTests):
    """A link to this very file."""

    suffix = "ref"

    def values(self) -> dict[str, object]:
        return {"path": Path(__file__), "text": __file__}

    def refused(self) -> dict[str, object]:
        return {"bytes": b"/data", "number": 3, "array": PIXELS}

    def equal(self, written: Any, read: Any) -> bool:
        return type(read) is bytes and read == Path(written).read_bytes()


def put_image(elsewhere: ItemPath, pixels: np.ndarray = PIXELS, suffix: str = ".ome.zarr", **options: Any) -> ItemPath:
    there = ItemWrite(elsewhere.store, elsewhere.path + suffix)
    ome_zarr.write(there, da.from_array(pixels, chunks=(2, 60, 70)), **options)
    return there


def content(place: ItemPath) -> Any:
    return json.loads(place.get())


def test_a_file_is_its_bytes(place: ItemPath, elsewhere: ItemPath) -> None:
    elsewhere.put(b"raw bytes")
    meta = FORM.write(place, elsewhere.url)
    assert content(place)["url"] == elsewhere.url
    assert content(place)["kind"] == "file"
    assert meta == {"kind": "file", "url": elsewhere.url, "bytes": len(place.get())} == FORM.describe(place)
    assert FORM.read(ItemWrite(place.store, place.path, meta)) == b"raw bytes"


def test_a_changed_or_missing_file_is_damage(place: ItemPath, elsewhere: ItemPath) -> None:
    elsewhere.put(b"raw bytes")
    FORM.write(place, elsewhere.url)
    elsewhere.put(b"new bytes")
    with pytest.raises(ItemDamaged, match=r"raw' *, which changed after .* force=True"):
        FORM.read(place)
    elsewhere.store.delete([elsewhere.path])
    with pytest.raises(ItemDamaged, match="is gone"):
        FORM.read(place)


@pytest.mark.parametrize("options", [{"level": 1}, {"slices": "[0]"}])
def test_a_file_has_no_levels(place: ItemPath, elsewhere: ItemPath, options: Any) -> None:
    elsewhere.put(b"raw bytes")
    FORM.write(place, elsewhere.url)
    with pytest.raises(UsageError, match="no levels and no slices"):
        FORM.read(place, **options)
    with pytest.raises(UsageError, match="no slices; leave them away"):
        FORM.write(place, f"{elsewhere.url}?slices=[0]")


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_an_image_is_known_by_its_metadata(place: ItemPath, elsewhere: ItemPath, version: str) -> None:
    there = put_image(elsewhere, version=version)
    meta = FORM.write(place, f"{there.url}/")
    assert content(place)["url"] == there.url
    assert list(content(place)["fingerprint"]) == ["sha256"]
    assert meta["kind"] == "image"
    assert FORM.describe(place) == meta
    put_image(elsewhere, version=version, scale=(1, 2, 3))
    with pytest.raises(ItemDamaged, match="changed after the link was written"):
        FORM.read(place)
    there.store.delete(there.at(key) for key in there.find())
    with pytest.raises(ItemDamaged, match="is gone"):
        FORM.read(place)


def test_an_image_in_a_zip_is_an_image(place: ItemPath, tmp_path: Path) -> None:
    there = ItemWrite(LocalStore(), str(tmp_path / "raw.ome.zarr.zip"))
    ome_zarr_zip.write(there, PIXELS)
    assert FORM.write(place, tmp_path / "raw.ome.zarr.zip")["kind"] == "image"
    assert content(place)["fingerprint"]["size"] == len(there.get())
    ome_zarr_zip.write(there, PIXELS + 1)
    with pytest.raises(ItemDamaged, match="changed"):
        FORM.read(place)


def test_a_local_path_is_made_absolute(place: ItemPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw.tif").write_bytes(b"raw")
    (tmp_path / "sub").mkdir()
    (tmp_path / "latest.tif").symlink_to("raw.tif")
    (tmp_path / "again").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    real = os.path.realpath(tmp_path / "raw.tif")
    for said in ("raw.tif", "./sub/../raw.tif", "~/raw.tif", "latest.tif", "again/raw.tif", f"file://{real}"):
        FORM.write(place, said)
        assert content(place)["url"] == real
        assert FORM.read(place) == b"raw"
    FORM.write(place, tmp_path / "raw.tif")
    assert content(place)["url"] == real


def test_equal_targets_give_equal_links(place: ItemPath, elsewhere: ItemPath) -> None:
    elsewhere.put(b"raw bytes")
    FORM.write(place, elsewhere.url)
    first = place.get()
    FORM.write(place, elsewhere.url)
    assert place.get() == first


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://AKIA:secretsecret@bucket/raw.ome.zarr", "secret"),
        ("s3://bucket/raw.ome.zarr?X-Amz-Signature=secretsecret", "secret"),
        ("s3://bucket/raw.ome.zarr?slices=[0]&token=secretsecret", "secret"),
        ("https://example.org/raw.ome.zarr", "web server"),
        ("zip::s3://bucket/raw.zip", "chains"),
        ("s3://bucket", "names no image"),
        ("s3://bucket/a/../raw.zarr", "without"),
        ("s3://bucket/a//raw.zarr", "without"),
        ("", "empty"),
        ("/data/a\nb", "control"),
        ("nosuchscheme://bucket/raw.zarr", "unknown kind"),
    ],
)
def test_a_url_nobody_should_keep_is_refused(place: ItemPath, url: str, said: str) -> None:
    with pytest.raises(InvalidName, match=said) as caught:
        FORM.write(place, url)
    assert "secretsecret" not in str(caught.value)
    assert place.store.stat(place.path) is None


@pytest.mark.parametrize("obj", [None, 3, b"/data/raw", ["/data/raw"], PIXELS])
def test_what_is_no_url_is_refused(place: ItemPath, obj: Any) -> None:
    with pytest.raises(NotReproducible, match=r"raw\.ref was not written"):
        FORM.write(place, obj)


def test_storage_options_are_not_taken(place: ItemPath) -> None:
    class Upath:
        protocol = "s3"
        storage_options: dict[str, str] = {"secret": "secretsecret"}  # noqa: RUF012 - as UPath has it

        def __str__(self) -> str:
            return "s3://bucket/raw.zarr"

    with pytest.raises(UsageError, match=r"keeps no storage options.*link the URL as text") as caught:
        FORM.write(place, Upath())
    assert "secretsecret" not in str(caught.value)
    with pytest.raises(UnknownOption, match="anon"):
        FORM.write(place, "s3://bucket/raw.zarr", anon=True)


def test_what_is_not_there_is_refused(place: ItemPath, elsewhere: ItemPath) -> None:
    for url in (elsewhere.url, f"{elsewhere.url}.ome.zarr", f"{elsewhere.url}?slices=[0]"):
        with pytest.raises(UsageError, match="there is no zarr and no file"):
            FORM.write(place, url)
    elsewhere.put(b"", "foreign.txt")
    with pytest.raises(UsageError, match="there is no zarr and no file"):
        FORM.write(place, elsewhere.url)
    assert place.store.stat(place.path) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"url": "/a", "kind": "file"}',
        b'{"url": 1, "kind": "file", "fingerprint": {}}',
        b'{"url": "/a", "kind": "code", "fingerprint": {}}',
        b'{"url": "https://a/b", "kind": "file", "fingerprint": {}}',
        b'{"url": "/a?slices=[x]", "kind": "file", "fingerprint": {}}',
        b'{"url": "/a", "kind": "file", "fingerprint": {}, "more": "' + bytes(70_000) + b'"}',
    ],
)
def test_what_is_no_link(place: ItemPath, data: bytes) -> None:
    place.put(data)
    with pytest.raises(ItemDamaged, match=r"raw\.ref"):
        FORM.read(place)


def test_a_link_of_unknown_origin_shows_no_file_it_has_no_fingerprint_of(place: ItemPath, tmp_path: Path) -> None:
    (tmp_path / "private").write_bytes(b"key")
    for fingerprint in ({}, {"size": 3}, {"size": 3, "etag": ""}):
        place.put(json.dumps({"url": str(tmp_path / "private"), "kind": "file", "fingerprint": fingerprint}).encode())
        with pytest.raises(ItemDamaged, match="changed"):
            FORM.read(place)


def test_a_missing_link_is_not_found(place: ItemPath) -> None:
    for act in (FORM.read, FORM.describe):
        with pytest.raises(FileNotFoundError):
            act(place)


def test_few_requests(place: ItemPath, elsewhere: ItemPath) -> None:
    stores: list[CountingStore] = []

    def counting(store: Any) -> CountingStore:
        stores.append(CountingStore(store))
        return stores[-1]

    there = put_image(elsewhere)
    with instrument(counting):
        FORM.write(ItemWrite(counting(place.store), place.path), there.url)
    assert sum((store.counts for store in stores), Counter()) == {"stat": 2, "get": 2, "list": 3, "put": 1}


def test_in_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._formats, "ref", FORM)
    (tmp_path / "raw.tif").write_bytes(b"raw")
    with cdir_init(tmp_path / "node") as node:
        node.write("raw.ref", tmp_path / "raw.tif")
    assert cdir_query(tmp_path / "node").read("raw.ref") == b"raw"
    assert cdir_query(tmp_path / "node")["raw.ref"].meta["kind"] == "file"
    (tmp_path / "raw.tif").write_bytes(b"newer")
    with pytest.raises(ItemDamaged, match="changed after the link was written"):
        cdir_query(tmp_path / "node").read("raw.ref")
    assert (tmp_path / "raw.tif").read_bytes() == b"newer"


@needs_open_image
class TestImages:
    """What needs ``cvcache.image.read.open``."""

    def test_an_image_is_a_lazy_array(self, place: ItemPath, elsewhere: ItemPath) -> None:
        there = put_image(elsewhere, levels=2)
        FORM.write(place, there.url)
        pixels: Any = FORM.read(place)
        assert isinstance(pixels, da.Array)
        np.testing.assert_array_equal(pixels.compute(), PIXELS)
        level: Any = FORM.read(place, level=1)
        np.testing.assert_array_equal(level.compute(), ome_zarr.read(there, level=1))
        part: Any = FORM.read(place, slices="[1, ::2]")
        np.testing.assert_array_equal(part.compute(), PIXELS[1, ::2])

    @pytest.mark.parametrize("text", ["[1, :20]", "%5B1,:20%5D"])
    def test_a_part_of_an_image(self, place: ItemPath, elsewhere: ItemPath, text: str) -> None:
        there = put_image(elsewhere)
        FORM.write(place, f"{there.url}?slices={text}")
        assert content(place)["url"] == f"{there.url}?slices=[1,:20]"
        assert slices_module.split_slices(content(place)["url"])[0] == there.url
        pixels: Any = FORM.read(place)
        np.testing.assert_array_equal(pixels.compute(), PIXELS[1, :20])

    def test_a_plain_zarr(self, place: ItemPath, tmp_path: Path) -> None:
        zarr.save_array(tmp_path / "raw.zarr", PIXELS)
        FORM.write(place, tmp_path / "raw.zarr")
        pixels: Any = FORM.read(place)
        np.testing.assert_array_equal(pixels.compute(), PIXELS)

    def test_a_zip(self, place: ItemPath, tmp_path: Path) -> None:
        there = ItemWrite(LocalStore(), str(tmp_path / "raw.ome.zarr.zip"))
        ome_zarr_zip.write(there, PIXELS)
        FORM.write(place, there.path)
        pixels: Any = FORM.read(place)
        np.testing.assert_array_equal(pixels.compute(), PIXELS)
