"""points: conformance, and what a viewer needs to place them."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from format_cases import FormatTests, assert_same, new_place

from cvcache import cdir, cdir_init, cdir_query, cdir_remove
from cvcache.errors import UsageError
from cvcache.formats import ItemPath, find_format

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cvcache import CacheDir
    from cvcache.formats import ItemPath


def spots() -> pd.DataFrame:
    return pd.DataFrame({"z": [0, 1], "y": [0.5, 1.5], "x": [3.0, np.nan], "area": [7, 8], "kind": ["a", "b"]})


class TestPointsParquet(FormatTests):
    name = "spots.points.parquet"
    good: ClassVar = {
        "table": spots,
        "no features": lambda: spots()[["y", "x"]],
        "indexed": lambda: spots().set_index("kind"),
        "nobody": lambda: spots().iloc[:0].reset_index(drop=True),
        "array": lambda: np.random.default_rng(0).random((5, 3)),
        "whole": lambda: np.arange(6, dtype="uint16").reshape(3, 2),
        "fortran": lambda: np.asfortranarray(np.arange(6, dtype="float32").reshape(3, 2)),
        "times": lambda: np.zeros((2, 4)),
        "empty": lambda: np.zeros((0, 3), "float32"),
    }
    bad: ClassVar = {
        "list": lambda: [[1, 2]],
        "flat": lambda: np.zeros(3),
        "too many axes": lambda: np.zeros((3, 5)),
        "no axes": lambda: np.zeros((3, 0)),
        "text": lambda: np.array([["a", "b"]]),
        "complex": lambda: np.zeros((2, 2), complex),
        "big-endian": lambda: np.zeros((2, 2), ">f4"),
        "masked": lambda: np.ma.masked_array([[1.0, 2.0]], [[True, False]]),
        "objects": lambda: spots().assign(kind=pd.Series([1, "b"], dtype=object)),
        "same name twice": lambda: pd.DataFrame([[1, 2]], columns=["x", "x"]),
    }

    def test_what_is_read_is_writable(self, place: ItemPath) -> None:
        form = find_format(self.name)
        meta = form.write(place, np.zeros((3, 2)))
        form.read(type(place)(place.store, place.path, meta))[0] = 1  # type: ignore[index]

    @pytest.mark.parametrize(
        ("obj", "axes"),
        [
            (pd.DataFrame({"a": [1]}), None),
            (pd.DataFrame({"x": ["a"]}), None),
            (pd.DataFrame({"x": [True]}), None),
            (spots(), "tyx"),
            (spots(), {"y": "row"}),
            (spots(), {"y": "x", "x": "x"}),
            (spots(), {"r": "y"}),
            (spots(), "yy"),
            (np.zeros((3, 2)), "zyx"),
            (np.zeros((3, 2)), "cx"),
            (np.zeros((3, 2)), {"y": 0, "x": 1}),
        ],
        ids=str,
    )
    def test_axes_that_do_not_fit_are_told_what_there_is(self, place: ItemPath, obj: Any, axes: Any) -> None:
        with pytest.raises(UsageError, match=r"axes=.*does not fit (a table with the columns|an array of shape)"):
            find_format(self.name).write(place, obj, axes=axes)
        assert place.store.stat(place.path) is None


class TestPointsCsv(TestPointsParquet):
    name = "spots.points.csv"
    good: ClassVar = {label: make for label, make in TestPointsParquet.good.items() if label != "indexed"}
    untold = frozenset(
        {
            *("axes", "scale", "translation", "unit", "coordinates", "features", "array"),
            *("dtypes", "index", "labels", "missing"),
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_viewer_places_them_without_reading(suffix: str) -> None:
    place = new_place(f"spots.points.{suffix}")
    meta = find_format(place.name).write(place, spots(), scale=(2, 0.5, 0.5), unit="um")
    assert meta["kind"] == "points"
    assert meta["axes"] == meta["coordinates"] == ["z", "y", "x"]
    assert meta["features"] == ["area", "kind"]
    assert (meta["scale"], meta["translation"]) == ([2.0, 0.5, 0.5], [0.0, 0.0, 0.0])
    assert meta["unit"] == dict.fromkeys("zyx", "micrometer")
    named = spots().rename(columns={"y": "centroid-0", "x": "centroid-1"})
    meta = find_format(place.name).write(
        place, named, axes={"y": "centroid-0", "x": "centroid-1"}, translation={"x": 3}
    )
    assert (meta["axes"], meta["coordinates"]) == (["y", "x"], ["centroid-0", "centroid-1"])
    assert (meta["features"], meta["translation"]) == (["z", "area", "kind"], [0.0, 3.0])
    assert find_format(place.name).write(place, np.zeros((2, 3)))["axes"] == ["z", "y", "x"]
    assert find_format(place.name).write(place, np.zeros((2, 2)), axes="xy")["axes"] == ["x", "y"]


@pytest.fixture
def top() -> Iterator[CacheDir]:
    url = f"memory://points/{uuid.uuid4().hex}"
    yield cdir(url)
    cdir_remove(url, recursive=True)


def image(top: CacheDir, name: str, **options: Any) -> CacheDir:
    with cdir_init(top / name) as node:
        node.write("raw.ome.zarr", np.zeros((3, 4, 5), "uint8"), **options)
    return cdir_query(top / name)


def test_points_found_in_an_image_lie_on_it(top: CacheDir) -> None:
    raw = image(top, "raw", scale=(2, 0.5, 0.25), translation=(9, 0, 0), unit="um")
    with cdir_init(top / "spots", {"image": raw["raw.ome.zarr"]}) as node:
        node.write("all.points.parquet", spots())
        node.write("flat.points.csv", spots()[["x", "y"]], axes="xy")
        node.write("timed.points.csv", np.zeros((2, 4)))
        node.write("said.points.csv", spots(), scale={"z": 7})
    metas = {item.name: item.meta for item in cdir_query(top / "spots").items()}
    assert (metas["all.points.parquet"]["scale"], metas["all.points.parquet"]["translation"]) == (
        [2, 0.5, 0.25],
        [9, 0, 0],
    )
    assert metas["all.points.parquet"]["unit"] == dict.fromkeys("zyx", "micrometer")
    assert metas["flat.points.csv"]["scale"] == [0.25, 0.5]
    assert metas["timed.points.csv"]["scale"] == [1, 1, 1, 1]
    assert metas["said.points.csv"]["scale"] == [7, 1, 1]


def test_images_that_do_not_agree_give_nothing(top: CacheDir, caplog: pytest.LogCaptureFixture) -> None:
    images = [image(top, name, scale=(2, 0.5, size)) for name, size in (("a", 1), ("b", 2))]
    with caplog.at_level(logging.WARNING), cdir_init(top / "spots", {"images": images}) as node:
        node.write("all.points.parquet", spots())
        assert node["all.points.parquet"].meta["scale"] == [1, 1, 1]
    assert "differ in scale" in caplog.text


def test_a_parquet_of_points_knows_its_geometry_without_a_record(top: CacheDir) -> None:
    with cdir_init(top / "a") as node:
        node.write("some.points.parquet", np.ones((2, 2), "float32"), scale=(3, 4))
    with cdir_init(top / "b") as node, node.open("copy.points.parquet", "wb") as file:
        file.write(cdir_query(top / "a").open("some.points.parquet").read())
    copy = cdir_query(top / "b")["copy.points.parquet"]
    assert (copy.meta["kind"], copy.meta["scale"], copy.meta["axes"]) == ("points", [3.0, 4.0], ["y", "x"])
    assert_same(copy.read(), np.ones((2, 2), "float32"))
