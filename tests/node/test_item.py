"""An item that is an array is one for numpy, scipy and dask; any other says so."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

import cvcache
from cvcache import CacheDir
from cvcache.node import address_of
from cvcache.testing import CountingStore, instrument

if TYPE_CHECKING:
    from pathlib import Path

    from servers.store_cases import BucketCase, LocalCase

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 50)).astype("u1")
ARRAYS: dict[str, tuple[Any, dict[str, Any]]] = {
    "eager.ome.zarr": (PIXELS, {}),
    "lazy.ome.zarr": (da.from_array(PIXELS, chunks=20), {}),
    "labels.ome.zarr": (PIXELS > 3, {"kind": "labels"}),
    "in-a-zip.ome.zarr.zip": (PIXELS, {}),
    "plain.zarr": (PIXELS.astype("f8"), {}),
    "array.npy": (PIXELS.astype("i4"), {}),
    "picture.png": (PIXELS, {}),
}
OTHERS: dict[str, Any] = {"number.json": 1, "arrays.npz": {"a": np.zeros(3)}, "text.txt": "text"}


def fill(node: CacheDir) -> CacheDir:
    with cvcache.cdir_init(node) as out:
        for name, (value, options) in ARRAYS.items():
            out.write(name, value, **options)
        for name, value in OTHERS.items():
            out.write(name, value)
    return out


@pytest.fixture(params=["disk", "no cache"])
def node(request: pytest.FixtureRequest, local_case: LocalCase) -> CacheDir:
    return fill(cvcache.cdir(local_case.url if request.param == "disk" else None))


@pytest.mark.parametrize("name", ARRAYS)
def test_numpy_and_scipy_take_it_for_what_it_is(node: CacheDir, name: str) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    item, value = node[name], np.asarray(node.read(name))
    assert (item.shape, item.ndim, item.dtype) == (value.shape, value.ndim, value.dtype)
    assert np.max(item) == value.max()
    assert np.asarray(item, "f4").dtype == "f4"
    np.testing.assert_array_equal(np.stack([item, item]), np.stack([value, value]))
    if value.dtype != bool:
        np.testing.assert_array_equal(ndimage.gaussian_filter(item, 1), ndimage.gaussian_filter(value, 1))


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("selection", [np.s_[3], np.s_[3:9, ::2], np.s_[..., -1], np.s_[:, 5:5]])
def test_a_part_is_that_of_the_array(node: CacheDir, name: str, selection: Any) -> None:
    value = np.asarray(node.read(name))[selection]
    part = node[name][selection]
    assert (type(part), part.dtype) == (np.ndarray, value.dtype)
    np.testing.assert_array_equal(part, value)


@pytest.mark.parametrize("name", ARRAYS)
def test_dask_takes_it_lazily(node: CacheDir, name: str) -> None:
    for lazy in (node[name].dask(), da.asarray(node[name]), da.asarray(pickle.loads(pickle.dumps(node[name])))):  # noqa: S301 - our own bytes
        assert isinstance(lazy, da.Array)
        assert (lazy.shape, lazy.dtype) == (node[name].shape, node[name].dtype)
        np.testing.assert_array_equal(lazy.compute(), np.asarray(node.read(name)))
    np.testing.assert_array_equal((da.asarray(node[name]) + 1).compute(), np.asarray(node.read(name)) + 1)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_array_says_so(node: CacheDir, name: str) -> None:
    item = node[name]
    for act in (np.asarray, np.max, da.asarray, lambda item: item[0], lambda item: item.dask(), cvcache.open_image):
        with pytest.raises(
            TypeError, match=rf"{name} is not one array \(its kind is .*\); read\(\) returns what it is"
        ):
            act(item)
    with pytest.raises(TypeError, match="not iterable"):
        list(item)  # type: ignore[call-overload]  # as users call it
    assert not any(hasattr(item, name) for name in ("shape", "dtype", "ndim"))
    with pytest.raises(cvcache.ItemNotFound):
        np.asarray(node["nothing.npy"])


def test_a_level_and_a_crop_of_an_item(tmp_path: Path) -> None:
    with cvcache.cdir_init(tmp_path / "a") as out:
        out.write("x.ome.zarr", np.arange(900 * 900, dtype="f4").reshape(900, 900))
    item = out["x.ome.zarr"]
    assert item.dask(level=1).shape == item.read(level=1).shape == (450, 450)
    crop = cvcache.open_image(item, level=1, slices="[0:5]")
    assert isinstance(crop, da.Array)
    np.testing.assert_array_equal(crop.compute(), item.read(level=1)[:5])
    with pytest.raises(cvcache.UnknownOption, match="options of its tree"):
        cvcache.open_image(item, anon=True)


def test_a_link_to_an_item_and_the_link_as_an_array(s3_case: BucketCase) -> None:
    root = cvcache.cdir(s3_case.url, **s3_case.options)
    with cvcache.cdir_init(root / "a") as out:
        out.write("x.ome.zarr", PIXELS)
    with cvcache.cdir_init(root / "b") as link:
        link.write("x.ref", out["x.ome.zarr"])
    assert link["x.ref"].meta["url"] == out["x.ome.zarr"].url
    np.testing.assert_array_equal(np.asarray(link["x.ref"]), PIXELS)
    np.testing.assert_array_equal(link["x.ref"][3:5], PIXELS[3:5])


def test_nothing_is_read_before_it_is_computed_and_then_what_is_needed(local_case: LocalCase) -> None:
    with cvcache.cdir_init(local_case.url) as out:
        out.write("x.ome.zarr", np.zeros((64, 64), "u1"), chunks=(16, 16))
    stores: list[CountingStore] = []

    def counting(store: Any) -> CountingStore:
        stores.append(CountingStore(store))
        return stores[-1]

    with instrument(counting):
        item = cvcache.cdir_query(local_case.url)["x.ome.zarr"]
        assert address_of(item.node).store is stores[0]
        before = stores[0].counts.copy()
        lazy = da.asarray(item)
        assert (lazy.shape, item.shape, item.dtype) == ((64, 64), (64, 64), np.dtype("u1"))
        assert stores[0].counts == before
        assert item[:16, :16].shape == (16, 16)
        assert stores[0].counts["get"] - before["get"] == 1


@cvcache.step(version=1)
def largest(out: CacheDir, pixels: Any) -> None:
    out.write("largest.json", int(np.max(pixels)))


@pytest.mark.parametrize("name", ["eager.ome.zarr", "array.npy"])
def test_a_lazy_item_in_a_key_stands_for_its_version(local_case: LocalCase, name: str) -> None:
    root = cvcache.cdir(local_case.url)
    item = fill(root / "a")[name]
    assert largest(root / "b", item.dask()).computed
    assert largest.why(root / "b", da.asarray(item)) == []
    again = cvcache.cdir_init(root / "a", force=True)
    with again:
        for other, (value, options) in ARRAYS.items():
            again.write(other, value, **options)
    assert largest.why(root / "b", da.asarray(again[name])) != []
