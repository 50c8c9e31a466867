"""Results that other tools give back as something else than what was computed."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import warnings
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest

import cvcache
from cvcache import CacheDir

if TYPE_CHECKING:
    from pathlib import Path

    from servers.store_cases import BucketCase, LocalCase, MemoryCase, StoreCase


@pytest.fixture
def root(memory_case: MemoryCase) -> CacheDir:
    return cvcache.cdir(memory_case.url)


@pytest.fixture
def any_root(store_case: StoreCase) -> CacheDir:
    return cvcache.cdir(store_case.url, **store_case.options)


def first_and_later(node: CacheDir, name: str, value: object, **options: object) -> list[object]:
    """Write an item and give what is read by the one who wrote it, before and after the commit, and by another."""
    with cvcache.cdir_init(node) as d:
        d.write(name, value, **options)
        first = d.read(name)
    return [first, d.read(name), cvcache.cdir_query(node).read(name)]


# -- first and later -----------------------------------------------------------------------------------------------


def test_the_one_who_computed_reads_what_everyone_reads(any_root: CacheDir) -> None:
    value = {"a": [1, 2.0, None], "ü": "x"}
    assert [repr(back) for back in first_and_later(any_root / "n", "n.json", value)] == [repr(value)] * 3


@pytest.mark.parametrize(
    "value",
    [(1, 2, {"3": 4}), {3: 4}, np.float64(1.0), np.arange(3), {"a": {1}}, object()],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_would_come_back_as_another_type_is_refused_when_it_is_written(
    root: CacheDir, value: object
) -> None:
    with pytest.raises(cvcache.NotReproducible), cvcache.cdir_init(root / "n") as d:
        d.write("value.json", value)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 0, 3), (2, 1, 3, 1), (2, 1, 2, 1, 2), (1, 2, 1, 2, 1, 2)])
def test_arrays_of_every_rank_come_back(root: CacheDir, shape: tuple[int, ...]) -> None:
    value = np.random.default_rng(0).random(shape)
    for back in first_and_later(root / "n", "x.npy", value):
        assert isinstance(back, np.ndarray)
        assert (back.dtype, back.shape) == (value.dtype, shape)
        np.testing.assert_array_equal(back, value)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (3, 4, 5), (2, 3, 4, 5), (2, 2, 3, 4, 5)])
@pytest.mark.parametrize("lazy", [False, True])
def test_images_of_every_rank_come_back_as_the_kind_they_were(
    root: CacheDir, shape: tuple[int, ...], *, lazy: bool
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype("u2")
    value = da.from_array(pixels, chunks=2) if lazy else pixels
    for back in first_and_later(root / "n", "x.ome.zarr", value):
        assert (type(back), back.dtype) == (type(value), value.dtype)
        np.testing.assert_array_equal(np.asarray(back), pixels)


def test_irregular_chunks_come_back_in_their_order(root: CacheDir) -> None:
    value = da.from_array(np.arange(100).reshape(10, 10).astype("u1"), chunks=((3, 7), (2, 5, 3)))
    for back in first_and_later(root / "n", "x.ome.zarr", value, chunks=(5, 5)):
        assert isinstance(back, da.Array)
        assert back.chunks == value.chunks


@pytest.mark.parametrize("compressor", ["blosc", "zstd", "gzip", None, {"id": "blosc", "cname": "lz4"}])
def test_a_compressed_image_is_read_without_options(root: CacheDir, compressor: object) -> None:
    pixels = np.arange(400, dtype="u2").reshape(20, 20)
    for back in first_and_later(root / "n", "x.ome.zarr", pixels, compressor=compressor):
        np.testing.assert_array_equal(back, pixels)


def test_an_object_array_is_refused_when_it_is_written_not_when_it_is_read(root: CacheDir) -> None:
    for name in ("x.npy", "x.npz", "x.ome.zarr", "x.zarr"):
        value = np.array([1, "a", None], dtype=object)
        with pytest.raises(cvcache.NotReproducible), cvcache.cdir_init(root / "n") as d:
            d.write(name, {"a": value} if name == "x.npz" else value)
    assert cvcache.cdir_query(root / "n").state == "failed"


def test_what_code_was_left_in_a_store_is_never_run(any_root: CacheDir, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> object:
            return os.mkdir, (str(trap),)

    with cvcache.cdir_init(any_root / "n") as d:
        for name in ("x.npy", "x.json", "x.csv", "x.parquet", "x.npz"):
            with d.open(name, "wb") as file:
                if name == "x.npy":
                    np.save(file, np.array([Trap()], dtype=object), allow_pickle=True)
                else:
                    file.write(pickle.dumps(Trap()))
    node = cvcache.cdir_query(any_root / "n")
    for item in node.items():
        with pytest.raises(cvcache.ItemDamaged):
            item.read()
    assert not trap.exists()


# -- what belongs to a result --------------------------------------------------------------------------------------


def test_a_folder_is_written_and_read(any_root: CacheDir) -> None:
    files = {f"example_{i}.bin": bytes([i]) for i in range(5)} | {"labels.json": b"[1]"}
    for back in first_and_later(any_root / "n", "examples.dir", files):
        assert dict(back) == files


# -- what belongs to the caller ------------------------------------------------------------------------------------


def test_what_a_caller_changes_does_not_change_what_is_kept(local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.url, ram="1MB")
    value, pixels = {"a": [1]}, np.zeros(3)
    with cvcache.cdir_init(root / "n") as d:
        d.write("n.json", value)
        d.write("x.npy", pixels)
    value["a"].append(2)
    pixels[:] = 9
    for _ in range(2):
        got, array = d.read("n.json"), d.read("x.npy")
        assert (got, array.tolist()) == ({"a": [1]}, [0, 0, 0])
        got["a"].append(3)
        array[:] = 7


def test_memory_is_bounded_with_nothing_else_configured(local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.url, ram="64KB")
    with cvcache.cdir_init(root / "n") as d:
        for i in range(8):
            d.write(f"x{i}.npy", np.zeros(4000))
    for item in d.items():
        item.read()
    assert root._context.ram is not None
    assert 0 < root._context.ram.size <= 64_000
    assert cvcache.cdir(local_case.url, ram="1TB") == root


def test_options_and_arguments_of_the_caller_are_left_as_they_were(s3_case: BucketCase) -> None:
    options = copy.deepcopy(s3_case.options)
    settings = {"levels": [1, 2], "nested": {"a": None}}
    root = cvcache.cdir(s3_case.url, **options)

    @cvcache.step(version=1)
    def work(out: CacheDir, settings: dict[str, object]) -> None:  # noqa: ARG001 - part of the key
        out.write("x.ome.zarr", np.zeros((4, 4), "u1"), layer={"colormap": "gray"})

    work(root / "n", settings)
    assert options == s3_case.options
    assert settings == {"levels": [1, 2], "nested": {"a": None}}


def test_no_coroutine_is_left_behind_when_the_result_is_there(root: CacheDir) -> None:
    @cvcache.step(version=1)
    async def fetch(out: CacheDir) -> None:
        out.write("n.json", 1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert asyncio.run(fetch(root / "n")).read("n.json") == 1
            gc.collect()


# -- handles and places --------------------------------------------------------------------------------------------


def test_without_a_place_and_without_options_everything_works() -> None:
    with cvcache.cdir_init(None) as d:
        d.write("x.ome.zarr", da.ones((4, 4)))
        d.write("n.json", 1)
    assert d.read("n.json") == 1
    assert np.asarray(d.read("x.ome.zarr")).sum() == 16
    assert cvcache.cdir(None).cached("n.json", lambda: 2) == 2


def test_pickling_a_handle_leaves_both_usable(local_case: LocalCase) -> None:
    with cvcache.cdir_init(local_case.child("n")) as d:
        d.write("n.json", 1)
    d.read("n.json")
    twin = pickle.loads(pickle.dumps(d))  # noqa: S301 - our own bytes
    assert [handle.read("n.json") for handle in (twin, d, twin)] == [1, 1, 1]


def test_credentials_reach_the_store(s3_case: BucketCase) -> None:
    wrong = {**s3_case.options, "endpoint_url": "http://127.0.0.1:9"}
    assert cvcache.cdir_query(s3_case.child("n"), **s3_case.options).state == "absent"
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9"):
        cvcache.cdir_query(cvcache.cdir(s3_case.child("n"), policy=cvcache.Policy(retries=0), **wrong))


def test_a_url_never_becomes_a_local_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("s4://bucket/run", "s3:/bucket/run", "file:/run", "C:/run"):
        with pytest.raises(cvcache.InvalidName):
            cvcache.cdir_init(url)
    assert list(tmp_path.iterdir()) == []


def test_a_text_a_path_and_a_handle_name_the_same_node(tmp_path: Path) -> None:
    with cvcache.cdir_init(str(tmp_path / "n")) as d:
        d.write("n.json", 1)
    places = (tmp_path / "n", f"{tmp_path}/n/", f"file://{tmp_path}/n", cvcache.cdir(tmp_path) / "n")
    assert [cvcache.cdir_query(place).read("n.json") for place in places] == [1] * 4


def test_spaces_are_legal_in_slices(local_case: LocalCase) -> None:
    pixels = np.arange(4 * 120 * 50, dtype="u2").reshape(4, 120, 50)
    with cvcache.cdir_init(local_case.child("n")) as d:
        d.write("x.ome.zarr", pixels)
    url = d["x.ome.zarr"].url
    for text, expected in {
        "[3, :2]": pixels[3, :2],
        "[:, :100]": pixels[:, :100],
        "[0:1, 0, -1:]": pixels[0:1, 0, -1:],
        "[..., ::2]": pixels[..., ::2],
    }.items():
        np.testing.assert_array_equal(cvcache.open_image(f"{url}?slices={text}").compute(), expected)
