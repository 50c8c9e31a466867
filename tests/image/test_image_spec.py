"""What an image will be, told from a shape and options: no store, no pixels."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cvcache.errors import UsageError
from cvcache.formats import ItemWrite
from cvcache.image.write import ImageSpec, WriteCounts, compute_histogram
from cvcache.store import MemoryStore


def spec(shape: tuple[int, ...], dtype: Any = "uint16", geometry: dict[str, Any] | None = None, **options: Any) -> Any:
    return ImageSpec.of(shape, np.dtype(dtype), geometry or {}, **options)


def counts_of(pixels: np.ndarray) -> WriteCounts:
    histogram = compute_histogram(pixels)
    assert histogram is not None
    return WriteCounts(histograms={0: histogram})


@pytest.mark.parametrize(("shape", "axes"), [((9,), "x"), ((3, 4), "tc"), ((3, 4), "zy"), ((2, 3, 4), "czy")])
def test_its_selection_gives_an_array_the_stored_axes(shape: Any, axes: str) -> None:
    image = spec(shape, geometry={"axes": tuple(axes)})
    assert np.zeros(shape)[image.selection].shape == image.levels[0].shape
    assert len(image.axes) == len(image.levels[0].scale) == len(shape) + len(image.added)


def test_geometry_and_chunks_are_those_of_the_array_and_one_along_an_added_axis() -> None:
    image = spec(
        (3, 300), geometry={"axes": ("c", "x"), "scale": [1.0, 0.5], "translation": {"x": 7.0}}, chunks=(1, 64)
    )
    assert image.axes == ("c", "y", "x")
    first, second = image.levels
    assert (first.scale, first.translation, first.chunks) == ((1, 1, 0.5), (0, 0, 7), (1, 1, 64))
    assert (second.shape, second.scale, second.translation) == ((3, 1, 150), (1, 1, 1), (0, 0, 7.25))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"levels": 0}, "levels=0"),
        ({"levels": 1.5}, "levels=1.5"),
        ({"chunks": (8,)}, "chunks="),
        ({"chunks": "ab"}, "chunks='ab'"),
        ({"shards": (64,)}, "shards="),
        ({"shards": 64}, "shards=64"),
        ({"shards": (64, 64), "chunks": (7, 7)}, "multiples"),
        ({"shards": (64, 64), "version": "0.4"}, "0.4 has no shards"),
        ({"factors": {"q": 2}}, "factors"),
        ({"downsample": "mean", "kind": "labels"}, "invent labels"),
        ({"compressor": "lzw"}, "compressor"),
        ({"contrast": (3, 1)}, "contrast"),
        ({"layer": {"x": object()}}, "layer="),
        ({"geometry": {"axes": ("y", "y")}}, "axes"),
        ({"geometry": {"scale": [1.0, 2.0, 3.0]}}, "scale"),
        ({"geometry": {"scale": []}}, "scale"),
        ({"geometry": {"translation": ()}}, "translation"),
        ({"factors": []}, "factors"),
        ({"factors": [[]]}, "factors"),
        ({"shards": [], "version": "0.4"}, "shards"),
        ({"shards": 0, "version": "0.4"}, "shards=0"),
        ({"shards": np.array([64, 64]), "version": "0.4"}, "0.4 has no shards"),
        ({"geometry": {"unit": {"z": "um"}}}, "unit names the axes"),
        ({"geometry": {"axes": ("c", "x"), "channels": ["a", "b"]}}, "channels="),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        spec((64, 64), **options)


@pytest.mark.parametrize(
    ("kind", "dtype", "stored"),
    [("image", ">u2", "<u2"), ("labels", "bool", "|u1"), ("image", "bool", "|b1"), ("image", "<f4", "<f4")],
)
def test_pixels_are_stored_little_endian_and_masks_as_integers(kind: str, dtype: str, stored: str) -> None:
    plan = spec((64, 64), dtype, kind=kind).plan(ItemWrite(MemoryStore(), "a.ome.zarr"), None)
    assert {one.dtype for one in plan.specs} == {stored}
    assert plan.dtype == str(np.dtype(dtype))


@pytest.mark.parametrize(("version", "zarr_format", "checksum"), [("0.5", 3, True), ("0.4", 2, False)])
def test_a_version_of_ome_zarr_has_its_version_of_zarr(version: str, zarr_format: int, checksum: bool) -> None:  # noqa: FBT001 - a parameter
    image = spec((600, 600), version=version)
    plan = image.plan(ItemWrite(MemoryStore(), "a.ome.zarr"), None)
    assert {(one.zarr_format, one.checksum) for one in plan.specs} == {(zarr_format, checksum)}
    datasets = image.ome_attributes("a")["multiscales"][0]["datasets"]
    assert [one.path for one in plan.specs] == [row["path"] for row in datasets]


def test_contrast_is_as_given_or_as_the_pixels_say() -> None:
    pixels = np.arange(1000, dtype="uint16")
    window = spec((64, 64)).omero_attributes(counts_of(pixels))["channels"][0]["window"]
    assert (window["min"], window["max"]) == (0, 65535)
    assert window["start"] in range(10)
    assert window["end"] in range(990, 1001)
    given = spec((64, 64), contrast=(3, 700)).omero_attributes(counts_of(pixels))["channels"][0]["window"]
    assert (given["start"], given["end"]) == (3, 700)


@pytest.mark.parametrize("options", [{"kind": "labels"}, {"dtype": "complex64"}])
def test_labels_and_complex_numbers_have_no_contrast(options: dict[str, Any]) -> None:
    assert spec((64, 64), **options).omero_attributes(WriteCounts()) is None


def test_nothing_that_is_stored_names_a_module() -> None:
    image = spec((64, 64), geometry={"unit": "um"})
    text = json.dumps([image.ome_attributes("a"), image.omero_attributes(WriteCounts())])
    assert "cvcache." not in text
    assert "micrometer" in text
