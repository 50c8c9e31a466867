"""What is read is what was written, whoever reads it and when; what would come back as something else is refused."""

from __future__ import annotations

import copy
import datetime as dt
import os
import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

import cvcache
from cvcache import CacheDir

if TYPE_CHECKING:
    from pathlib import Path

    from servers.store_cases import BucketCase, MemoryCase, StoreCase


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


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.0, None], "ü": "x"}, {"a": [1, 1.0, True, None, "ä"], "b": {"c": [0.1, 10**30]}}]
)
def test_the_one_who_computed_reads_what_everyone_reads(any_root: CacheDir, value: object) -> None:
    assert [repr(back) for back in first_and_later(any_root / "n", "n.json", value)] == [repr(value)] * 3


class Unwritable:
    """Cannot even be pickled."""

    def __reduce__(self) -> object:
        msg = "cannot be pickled"
        raise TypeError(msg)


OBJECTS = np.array([1, "a", None], dtype=object)
LOSSY: list[object] = [(1, 2, {"3": 4}), (1, 2), {3: 4}, np.float64(1.0), np.arange(3), {"a": {1}}, {1, 2}, object()]
REFUSED: list[tuple[str, object]] = [
    *(("x.json", value) for value in (*LOSSY, Unwritable(), [1, Unwritable()], lambda: 1)),
    *(("x.json", {"deep": [value]}) for value in LOSSY),
    *((name, OBJECTS) for name in ("x.npy", "x.ome.zarr", "x.zarr")),
    ("x.npz", {"a": OBJECTS}),
    ("x.txt", b"x"),
]


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=lambda part: part if isinstance(part, str) else "")
def test_what_would_come_back_changed_is_refused_when_it_is_written(root: CacheDir, name: str, value: object) -> None:
    with (
        pytest.raises(cvcache.NotReproducible, match=rf"{name} was not written: .+; .+"),
        cvcache.cdir_init(root / "n") as d,
    ):
        d.write(name, value)
    failed = cvcache.cdir_query(root / "n")
    assert (failed.state, failed.items()) == ("failed", [])


def test_what_cannot_be_written_is_never_a_result(any_root: CacheDir) -> None:
    for value in (Unwritable(), [1, Unwritable()], lambda: 1):
        with pytest.raises(cvcache.NotReproducible), cvcache.cdir_init(any_root / "n") as d:
            d.write("n.json", value)
        assert cvcache.cdir_query(any_root / "n").state == "failed"
    assert [*first_and_later(any_root / "n", "n.json", 3)] == [3] * 3


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


def test_a_folder_is_written_and_read(any_root: CacheDir, tmp_path: Path) -> None:
    files = {f"example_{i}.bin": bytes([i]) for i in range(5)} | {"0/a.txt": b"A", "0/b.txt": b"B", "big": bytes(1000)}
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "x.bin").write_bytes(b"x")
    for value, expected in ((files, files), (made, {"deep/x.bin": b"x"})):
        node = any_root / f"n{len(expected)}"
        for back in first_and_later(node, "examples.dir", value):
            assert dict(back) == expected
        assert [item.name for item in cvcache.cdir_query(node).items()] == ["examples.dir"]


# -- what belongs to the caller ------------------------------------------------------------------------------------


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


# -- handles and places --------------------------------------------------------------------------------------------


@pytest.fixture
def _own_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    from cvcache.formats import registry

    monkeypatch.setattr(registry, "_formats", dict(registry._formats))


@pytest.mark.usefixtures("_own_formats")
def test_a_format_of_ones_own_is_read_and_written(any_root: CacheDir) -> None:
    def write(place: Any, obj: complex) -> dict[str, Any]:
        place.put(f"{obj.real!r} {obj.imag!r}".encode())
        return {"kind": "text"}

    def read(place: Any) -> complex:
        return complex(*map(float, place.get().split()))

    cvcache.register_format("cplx", SimpleNamespace(write=write, read=read, describe=lambda _: {"kind": "text"}))
    with cvcache.cdir_init(any_root / "n") as d:
        d.write("z.cplx", 1 + 2j)
        assert d.read("z.cplx") == 1 + 2j
    assert cvcache.cdir_query(any_root / "n").read("z.cplx") == 1 + 2j


@pytest.mark.usefixtures("_own_formats")
def test_a_pickle_is_there_for_who_registers_it(root: CacheDir) -> None:
    value = {"when": dt.date(2026, 1, 2), "what": (1, {2: 3})}
    with pytest.raises(cvcache.UnknownFormat), cvcache.cdir_init(root / "n") as d:
        d.write("value.pkl", value)
    pickles = SimpleNamespace(
        write=lambda place, obj: place.put(pickle.dumps(obj)) or {"kind": "file"},
        read=lambda place: pickle.loads(place.get()),  # noqa: S301 - our own bytes
        describe=lambda _: {"kind": "file"},
    )
    cvcache.register_format("pkl", pickles)
    with cvcache.cdir_init(root / "n") as d:
        d.write("value.pkl", value)
    assert cvcache.cdir_query(root / "n").read("value.pkl") == value


@pytest.mark.parametrize("name", ["cells.csv", "cells.parquet"])
def test_a_table_comes_back(any_root: CacheDir, name: str) -> None:
    import pandas as pd

    index = pd.Index([3, 5], name="label")
    table = pd.DataFrame({"area": [1.5, np.nan], "n": [1, 2], "stain": ["NeuN", "c-Fos"]}, index=index)
    with cvcache.cdir_init(any_root / "n") as d:
        d.write(name, table)
        first = d.read(name)
    for back in (first, cvcache.cdir_query(any_root / "n").read(name)):
        pd.testing.assert_frame_equal(back, table)
    assert d[name].meta["kind"] == "table"
