"""ome.zarr: conformance, pyramids, laziness, damage, and what others make of it."""

from __future__ import annotations

import contextlib
import json
import pickle
import shutil
import threading
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from format_cases import CountingStore, FormatTests, assert_same, new_place

from cvcache.errors import ItemDamaged, LeaseLost, NotReproducible, UsageError
from cvcache.formats import ItemPath, ItemWrite, find_format
from cvcache.image.write import downsample_mean, downsample_mode
from cvcache.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORM = find_format("a.ome.zarr")


def image(*shape: int, dtype: str = "uint16") -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 250, shape)
    return (values > 99 if dtype == "bool" else values).astype(dtype)


def read_back(place: ItemPath, meta: dict[str, Any], **options: Any) -> Any:
    return FORM.read(ItemWrite(place.store, place.path, json.loads(json.dumps(meta))), **options)


def local_place(tmp_path: Path, name: str = "a.ome.zarr") -> ItemPath:
    return ItemWrite(LocalStore(), str(tmp_path / name))


class TestOmeZarr(FormatTests):
    name = "cells.ome.zarr"
    good: ClassVar = {
        **{
            dtype: lambda dtype=dtype: image(5, 7, dtype=dtype)
            for dtype in ("bool", "uint8", "int8", ">u2", "int32", "uint64", "float16", "float32", ">f8", "complex64")
        },
        "rank 1": lambda: image(700),
        "rank 2": lambda: image(300, 301),
        "rank 3": lambda: image(17, 65, 300),
        "rank 4": lambda: image(2, 5, 20, 300),
        "rank 5": lambda: image(3, 2, 5, 8, 9),
        "all fill": lambda: np.zeros((20, 300, 300), "uint8"),
        "no pixels": lambda: np.zeros((0, 5)),
        "no pixels of dask": lambda: da.zeros((4, 0, 5), dtype="uint8"),
        "nan": lambda: np.full((3, 3), np.nan),
        "dask": lambda: da.from_array(image(20, 300, 400), chunks=(7, 128, 100)),
        "dask rank 1": lambda: da.from_array(image(700), chunks=((300, 1, 399),)),
        "dask irregular": lambda: da.from_array(image(40, 300), chunks=((3, 30, 7), (299, 1))),
        "dask bool": lambda: da.from_array(image(40, 300), chunks=16) > 99,
    }
    bad: ClassVar = {
        "scalar": lambda: np.array(1),
        "object": lambda: np.array([[1, "a"]], dtype=object),
        "time": lambda: np.zeros((2, 2), "datetime64[s]"),
        "text": lambda: np.array([["a"]]),
        "structured": lambda: np.zeros((2, 2), [("a", "i4")]),
        "long double": lambda: np.zeros((2, 2), "longdouble"),
        "list": lambda: [[1, 2]],
        "masked": lambda: np.ma.masked_array([[1, 2]], [[True, False]]),
        "masked dask": lambda: da.ma.masked_equal(da.zeros((2, 2)), 0),
        "unknown shape": lambda: da.from_array(image(5, 5), chunks=2)[da.from_array(image(5, 5), chunks=2) > 3],
        "rank 6": lambda: np.zeros((1,) * 6),
    }
    wrong_option = "scle"
    untold = frozenset({"range", "histogram"})


@pytest.mark.parametrize("kind", ["image", "labels"])
@pytest.mark.parametrize("library", ["numpy", "dask"])
def test_each_level_is_the_mean_or_pick_of_the_one_above(kind: str, library: str) -> None:
    place = new_place("a.ome.zarr")
    data = image(37, 301, 530)
    source = da.from_array(data, chunks=(10, 99, 530)) if library == "dask" else data
    meta = FORM.write(place, source, kind=kind, levels=4, chunks=(8, 50, 64))
    shrink = downsample_mean if kind == "image" else downsample_mode
    for level in range(4):
        np.testing.assert_array_equal(np.asarray(read_back(place, meta, level=level)), data, strict=True)
        data = shrink(data, (2, 2, 2))
    assert_same(read_back(place, meta, level=-1), read_back(place, meta, level=3))
    with pytest.raises(UsageError, match="no level 4"):
        read_back(place, meta, level=4)


def test_anisotropy_shapes_the_levels() -> None:
    place = new_place("a.ome.zarr")
    data = image(9, 700, 600)
    meta = FORM.write(place, data, scale=(2, 0.5, 0.5), unit="um")
    assert meta["shapes"] == [[9, 700, 600], [9, 350, 300], [9, 175, 150]]
    np.testing.assert_array_equal(read_back(place, meta, level=1), downsample_mean(data, (1, 2, 2)))


@pytest.mark.parametrize("chunks", [(7, 100, (100, 100, 200)), (40, 400, 400), (1, 33, 400), (16, 256, 256)])
def test_each_source_block_is_computed_once_and_each_chunk_put_once(chunks: Any) -> None:
    calls: list[int] = []
    lock = threading.Lock()

    def source(block: np.ndarray) -> np.ndarray:
        with lock:
            calls.append(1)
        return block

    place = new_place("a.ome.zarr")
    data = image(40, 400, 400)
    lazy = da.from_array(data, chunks=chunks).map_blocks(source, meta=np.empty((0, 0, 0), "uint16"))
    meta = FORM.write(place, lazy)
    assert len(calls) == lazy.npartitions
    store: Any = place.store
    puts = store.paths("put")
    assert len(puts) == len(set(puts)) == meta["objects"]
    last_level = place.at(f"{meta['levels'] - 1}/")
    assert [path for path in store.paths("get") if not path.startswith(last_level)] == store.paths("find") == []
    again = read_back(place, meta)
    assert again.chunks == lazy.chunks
    np.testing.assert_array_equal(again.compute(), data)


def test_metadata_of_arrays_comes_first_and_of_the_group_last() -> None:
    place = new_place("a.ome.zarr")
    meta = FORM.write(place, np.zeros((40, 600, 600), "uint8"))
    keys = [path.removeprefix(f"{place.path}/") for path in place.store.paths("put")]  # type: ignore[attr-defined]
    assert keys[: meta["levels"]] == [f"{n}/zarr.json" for n in range(meta["levels"])]
    assert keys[-1] == "zarr.json"
    assert all("/c/" in key for key in keys[meta["levels"] : -1])


def test_reading_costs_one_get_a_chunk() -> None:
    place = new_place("a.ome.zarr")
    meta = FORM.write(place, image(40, 600, 600), chunks=(40, 300, 300))
    store: Any = place.store
    store.calls.clear()
    read_back(place, meta)
    assert len(store.calls) == 4
    store.calls.clear()
    FORM.write(place, da.from_array(image(40, 600, 600), chunks=(40, 600, 600)), chunks=(40, 300, 300))
    store.calls.clear()
    lazy = read_back(place, FORM.describe(place))
    store.calls.clear()
    lazy[0, :10, :10].compute()
    assert len(store.calls) == 1


@pytest.mark.parametrize("library", ["numpy", "dask"])
def test_a_missing_chunk_is_damage_never_zeros(library: str) -> None:
    place = new_place("a.ome.zarr")
    source = da.from_array(image(300, 300), chunks=100) if library == "dask" else image(300, 300)
    meta = FORM.write(place, source, chunks=(64, 64))
    place.store.delete([place.at("1/c/1/2"), place.at("0/c/0/0")])
    for level, key in ((0, "0/c/0/0"), (1, "1/c/1/2")):
        with pytest.raises(ItemDamaged, match=key) as caught:
            np.asarray(read_back(place, meta, level=level))
        assert place.url in str(caught.value)


def test_without_metadata_it_reads_the_same() -> None:
    place = new_place("a.ome.zarr")
    lazy = da.from_array(image(70), chunks=((30, 1, 39),))
    meta = FORM.write(place, lazy)
    assert_same(FORM.read(ItemWrite(place.store, place.path)), read_back(place, meta))


def test_options_are_kept() -> None:
    place = new_place("cells.ome.zarr")
    meta = FORM.write(
        place,
        image(2, 10, 20, 30),
        scale={"z": 2.0, "y": 0.5, "x": 0.5},
        translation=(1, 2, 3),
        unit={"z": "um", "y": "micrometer", "x": "µm"},
        channels=["DAPI", {"label": "GFP", "color": "123456"}],
        contrast=[(0, 100), (5, 50)],
        chunks=(1, 4, 8, 8),
    )
    assert meta["scale"] == [1, 2, 0.5, 0.5]
    assert meta["translation"] == [0, 1, 2, 3]
    assert meta["unit"] == dict.fromkeys("zyx", "micrometer")
    assert (meta["channels"], meta["contrast"]) == (["DAPI", "GFP"], [[0, 100], [5, 50]])
    assert meta["chunks"][0] == [1, 4, 8, 8]
    ome = json.loads(place.get("zarr.json"))["attributes"]["ome"]
    assert ome["multiscales"][0]["name"] == "cells"
    assert ome["omero"]["channels"][1]["color"] == "123456"
    assert ome["omero"]["channels"][0]["window"] == {"min": 0, "max": 65535, "start": 0, "end": 100}


def test_contrast_is_measured_per_channel() -> None:
    data = np.zeros((2, 20, 20), "float32")
    data[1, :10] = 7
    data[1, 10:] = np.nan
    meta = FORM.write(new_place("a.ome.zarr"), data, axes="cyx", chunks=(2, 20, 20))
    assert meta["contrast"] == [[0, 1], [7, 8]]
    assert FORM.write(new_place("a.ome.zarr"), data, axes="cyx", contrast=(0, 3))["contrast"] == [[0, 3], [0, 3]]


@pytest.mark.parametrize(
    "options",
    [
        {"axes": "yxc"},
        {"axes": "yx"},
        {"scale": (1, 2)},
        {"unit": {"t": "s"}},
        {"levels": 0},
        {"chunks": (4, 4)},
        {"chunks": (4, 4, 4, 4)},
        {"kind": "mask"},
        {"channels": ["a", "b"]},
        {"channels": "a"},
        {"contrast": (1, 2, 3)},
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any]) -> None:
    place = new_place("a.ome.zarr")
    with pytest.raises(UsageError):
        FORM.write(place, image(4, 5, 6), **options)
    assert place.find() == {}


def test_labels_are_integers() -> None:
    place = new_place("a.ome.zarr")
    with pytest.raises(NotReproducible, match="astype"):
        FORM.write(place, np.zeros((3, 3)), kind="labels")
    assert FORM.write(place, image(3, 3, dtype="bool"), kind="labels")["kind"] == "labels"


@pytest.mark.parametrize("wrong", ["dtype", "shape"])
def test_a_graph_that_lies_about_its_blocks_is_refused(wrong: str) -> None:
    def lie(block: np.ndarray) -> np.ndarray:
        return block / 3 if wrong == "dtype" else block[:, :-1]

    lazy = da.from_array(image(64, 64), chunks=(64, 64)).map_blocks(lie, meta=np.empty((0, 0), "uint16"))
    place = new_place("a.ome.zarr")
    with pytest.raises(NotReproducible, match="dtype="):
        FORM.write(place, lazy)
    assert "zarr.json" not in place.find()


def test_every_put_runs_under_the_guard() -> None:
    place = new_place("a.ome.zarr")
    entered: list[int] = []

    class Limited(ItemWrite):
        @contextlib.contextmanager
        def writing(self) -> Iterator[None]:
            entered.append(1)
            if len(entered) > 5:
                raise LeaseLost
            yield

    with pytest.raises(LeaseLost):
        FORM.write(Limited(place.store, place.path), da.zeros((300, 300)), chunks=(64, 64))
    assert "zarr.json" not in place.find()


def test_other_processes_write_too(tmp_path: Path) -> None:
    place = local_place(tmp_path)
    shared: list[int] = []

    class Shared(ItemWrite):
        def share(self) -> None:
            shared.append(1)

    lazy = da.from_array(image(20, 300, 300), chunks=(7, 100, 300))
    with dask.config.set(scheduler="processes", num_workers=2):
        meta = FORM.write(Shared(place.store, place.path), lazy)
        again = read_back(place, meta)
        assert_same(lazy, again)
    assert shared == [1]
    assert FORM.describe(place).items() <= meta.items()
    shared.clear()
    FORM.write(Shared(place.store, place.path), lazy)
    assert shared == []


def test_a_store_of_this_process_is_not_given_to_others() -> None:
    place = new_place("a.ome.zarr")
    with dask.config.set(scheduler="processes"), pytest.raises(UsageError, match="this process only"):
        FORM.write(place, da.zeros((3, 3)))
    assert place.find() == {}


def test_a_lazy_image_survives_pickling(tmp_path: Path) -> None:
    place = local_place(tmp_path)
    meta = FORM.write(place, da.from_array(image(30, 30), chunks=10))
    assert_same(pickle.loads(pickle.dumps(read_back(place, meta))), read_back(place, meta))  # noqa: S301


def test_a_rewritten_image_is_not_mixed_up_with_the_old_one() -> None:
    place = new_place("a.ome.zarr")
    meta = FORM.write(place, da.zeros((4, 4)))
    old = read_back(place, meta)
    meta = FORM.write(place, da.ones((4, 4)))
    assert old.name != read_back(place, meta).name


VALID = {
    "rank 1": (lambda: image(700), {}),
    "rank 2": (lambda: image(600, 500), {"unit": "um", "scale": (0.5, 0.5)}),
    "rank 3 bool": (lambda: image(17, 65, 300, dtype="bool"), {}),
    "rank 4": (lambda: da.from_array(image(2, 5, 20, 300), chunks=7), {"channels": ["a", "b"]}),
    "rank 5": (lambda: image(3, 2, 5, 8, 9), {"unit": {"t": "s", "x": "nm"}}),
    "float": (lambda: image(20, 20, dtype="float32") / 3, {}),
    "complex": (lambda: image(20, 20, dtype="complex64"), {}),
    "labels": (lambda: image(300, 300, dtype="int32"), {"kind": "labels"}),
    "bool labels": (lambda: image(300, 300, dtype="bool"), {"kind": "labels"}),
    "time": (lambda: image(3, 30, 30), {"axes": "tyx"}),
    "only time": (lambda: image(3), {"axes": "t"}),
}


@pytest.mark.parametrize("case", VALID.values(), ids=VALID)
def test_the_strictest_validators_agree(tmp_path: Path, case: Any) -> None:
    import ome_zarr_models
    import yaozarrs

    make, options = case
    place = local_place(tmp_path)
    FORM.write(place, make(), **options)
    yaozarrs.validate_zarr_store(place.path)
    with warnings.catch_warnings(action="error", category=ome_zarr_models.exceptions.ValidationWarning):
        model = ome_zarr_models.open_ome_zarr(place.path, version="0.5")
    assert type(model).__name__ in ("Image", "ImageLabel")


def test_zarr_reads_every_level(tmp_path: Path) -> None:
    place = local_place(tmp_path)
    data = image(30, 300, 600)
    meta = FORM.write(place, data)
    group = zarr.open_group(place.path, mode="r")
    assert sorted(group.array_keys()) == meta["paths"]
    np.testing.assert_array_equal(group["0"][...], data)  # type: ignore[index]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_by_others_is_described_and_read(tmp_path: Path, version: str) -> None:
    data = image(2, 20, 30)
    multiscale: dict[str, Any] = {
        "version": "0.4",
        "axes": [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", "unit": "micrometer"} for n in "yx")],
        "datasets": [
            {"path": f"s{n}", "coordinateTransformations": [{"type": "scale", "scale": [1, 0.5 * 2**n, 0.5 * 2**n]}]}
            for n in range(2)
        ],
        "coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2]}],
    }
    group = zarr.open_group(tmp_path / "b.ome.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    for n in range(2):
        part = data[:, :: 2**n, :: 2**n]
        array = group.create_array(f"s{n}", shape=part.shape, chunks=(1, 8, 8), dtype=part.dtype)
        array[:, 8:, :] = part[:, 8:, :]
    ome = {"multiscales": [multiscale]}
    group.attrs.update(ome if version == "0.4" else {"ome": {"version": "0.5", **ome}})
    place = local_place(tmp_path, "b.ome.zarr")
    meta = FORM.describe(place)
    assert (meta["shape"], meta["dtype"], meta["axes"], meta["levels"]) == ([2, 20, 30], "uint16", ["c", "y", "x"], 2)
    assert (meta["scale"], meta["unit"]) == ([1, 1, 1], {"y": "micrometer", "x": "micrometer"})
    assert meta["objects"] == len(place.find())
    lazy: Any = read_back(place, meta)
    assert lazy.chunks == ((1, 1), (8, 8, 4), (8, 8, 8, 6))
    np.testing.assert_array_equal(lazy[:, 8:].compute(), data[:, 8:])
    # What others left out is empty by OME-Zarr's own rule.
    assert not lazy[:, :8].compute().any()
    assert read_back(place, meta, level=1).shape == (2, 10, 15)


def test_what_is_no_image_is_damage(tmp_path: Path) -> None:
    place = local_place(tmp_path)
    zarr.open_group(place.path, mode="w")
    with pytest.raises(ItemDamaged, match="OME-Zarr"):
        FORM.describe(place)
    place.put(b"{", "zarr.json")
    with pytest.raises(ItemDamaged):
        FORM.read(place)
    shutil.rmtree(place.path)
    place.put(b"", "other")
    with pytest.raises(ItemDamaged, match=r"none of zarr"):
        FORM.describe(place)


def test_counting_store_is_shared_by_no_one() -> None:
    assert not CountingStore().shared
