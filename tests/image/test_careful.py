"""What fresh eyes broke once: each of these lost or mixed data, or showed it wrongly, without a word."""

from __future__ import annotations

import io
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest

from cvcache import ItemDamaged, UsageError, cdir_init, cdir_query
from cvcache.image import pyramid

if TYPE_CHECKING:
    from pathlib import Path

ONES = da.ones((512, 512), chunks=128, dtype="uint16")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "BLOCK_BYTES", 0)


def fail_last(block: np.ndarray, block_id: Any = None) -> np.ndarray:
    if block_id == (3, 3):
        raise RuntimeError
    return block


def test_a_name_that_is_free_again_is_not_ours_any_more(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), cdir_init(tmp_path / "n", {"k": 1}) as node:
        node.write("a.ome.zarr", ONES.map_blocks(fail_last, dtype="uint16"))
    with cdir_init(tmp_path / "n", {"k": 1}) as node:
        node.write("v.json", 1)
    mine = tmp_path / "n" / "a.ome.zarr" / "precious"
    mine.parent.mkdir()
    mine.write_text("mine")
    with cdir_init(tmp_path / "n", {"k": 2}) as node:
        node.write("v.json", 2)
    assert mine.read_text() == "mine"


def load(path: str) -> np.ndarray:
    pixels: np.ndarray = np.load(path)
    return pixels


def test_a_file_that_was_mended_is_another_source(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i}.npy") for i in range(4)]
    for path in paths:
        np.save(path, np.full((64, 64), 1, "uint16"))
    (tmp_path / "3.npy").write_bytes(b"broken")

    def image() -> da.Array:
        tiles = [da.from_delayed(dask.delayed(load)(path), (64, 64), dtype="uint16") for path in paths]
        return da.concatenate(tiles)

    with pytest.raises(ValueError, match=r"pickle|magic|reshape|file"), cdir_init(tmp_path / "n") as node:
        node.write("a.ome.zarr", image(), chunks=(64, 64), levels=1)
    for path in paths:
        np.save(path, np.full((64, 64), 2, "uint16"))
    with cdir_init(tmp_path / "n") as node:
        node.write("a.ome.zarr", image(), chunks=(64, 64), levels=1)
    assert np.unique(np.asarray(node.read("a.ome.zarr"))).tolist() == [2]


def test_a_crop_of_half_the_size_is_no_level(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "raw") as raw:
        raw.write("raw.ome.zarr", da.ones((1024, 1024), chunks=512, dtype="uint16"), scale=(0.5, 0.5), unit="um")
    with cdir_init(tmp_path / "made", raw["raw.ome.zarr"]) as made:
        lazy = raw.read("raw.ome.zarr")
        plain = made.write("a.ome.zarr", lazy[:512, :512]).meta
        right = made.write("b.ome.zarr", raw.read("raw.ome.zarr", slices="[512:, 512:]") + 1).meta
    assert (plain["scale"], plain["unit"]) == ([1, 1], {})
    assert (right["scale"], right["translation"]) == ([0.5, 0.5], [256, 256])


def test_scale_carries_through_a_node_of_many_items(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "raw") as raw:
        for i in range(80):
            raw.write(f"{i}.ome.zarr", np.ones((8, 8), "uint8"), scale=(0.5, 0.5))
    with cdir_init(tmp_path / "made", cdir_query(raw.url)["7.ome.zarr"]) as made:
        assert made.write("a.ome.zarr", np.ones((8, 8))).meta["scale"] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("dims", "axes"), [("CYX", "cyx"), (("time", "y", "x"), "tyx"), (("dim_0", "dim_1", "dim_2"), "zyx")]
)
def test_dimensions_are_not_taken_for_others(tmp_path: Path, dims: Any, axes: str) -> None:
    labelled = SimpleNamespace(dims=tuple(dims), coords={}, data=np.ones((3, 40, 40), "uint8"))
    with cdir_init(tmp_path / "n") as node:
        assert "".join(node.write("a.ome.zarr", labelled).meta["axes"]) == axes
        labelled.dims = ("q", "y", "x")
        with pytest.raises(UsageError, match="axes="):
            node.write("b.ome.zarr", labelled)
        node.write("c.ome.zarr", labelled, axes="cyx")


def test_windows_end_where_the_pixels_do(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "n") as node:
        byte = node.write("a.ome.zarr", np.tile(np.arange(256, dtype="uint8"), (256, 1))).meta["contrast"]
        mask = node.write("b.ome.zarr", np.eye(64, dtype=bool)).meta["contrast"]
        few = node.write("c.ome.zarr", np.tile(np.arange(6, dtype="uint16"), (6, 1))).meta["contrast"]
    assert (byte[0][1], mask, few) == (255, [[0, 1]], [[0, 5]])


def test_air_is_dark(tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.full((4, 64, 64), -1000, "int16")
    pixels[:, 20:40, 20:40] = 300
    with cdir_init(tmp_path / "n") as node:
        node.write("a.ome.zarr", pixels)
    shown = np.asarray(Image.open(io.BytesIO(node["a.ome.zarr"].thumbnail() or b"")))
    assert (shown[0, 0], shown[30, 30]) == (0, 254)


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 0.5},
        {"scale": {"x": "a"}},
        {"axes": 5},
        {"factors": 2.0},
        {"levels": 2.5},
        {"levels": True},
        {"chunks": 64},
        {"chunks": "auto"},
        {"contrast": (10, 2)},
        {"contrast": (float("nan"), 1)},
        {"channels": [1]},
        {"channels": [{"label": "a", "color": "red"}]},
        {"unit": {"x": 5}},
        {"shards": True},
    ],
    ids=str,
)
def test_a_mistake_is_told_before_anything_is_computed(tmp_path: Path, options: Any) -> None:
    calls: list[int] = []
    image = ONES.map_blocks(lambda block: calls.append(1) or block, dtype="uint16", meta=np.empty((0, 0), "uint16"))
    node = cdir_init(tmp_path / "n")
    with pytest.raises(UsageError):
        node.write("a.ome.zarr", image, **options)
    assert calls == []


def test_numpy_numbers_are_numbers(tmp_path: Path) -> None:
    options = {"scale": np.array([0.5, 2]), "chunks": np.array([64, 64]), "contrast": np.array([1, 5])}
    with cdir_init(tmp_path / "n") as node:
        meta = node.write("a.ome.zarr", np.ones((128, 128), "uint8"), **options).meta
    assert (meta["scale"], meta["chunks"][0], meta["contrast"]) == ([0.5, 2], [64, 64], [[1, 5]])


def test_a_link_sees_that_its_image_was_computed_again(tmp_path: Path) -> None:
    labels = np.zeros((50, 50), "int32")
    for made in (labels, labels + 1):
        with cdir_init(tmp_path / "labels", force=True) as node:
            node.write("l.ome.zarr", da.from_array(made, chunks=50), kind="labels")
        if made is labels:
            with cdir_init(tmp_path / "ref") as ref:
                ref.write("l.ref", os.fspath(tmp_path / "labels" / "l.ome.zarr"))
    with pytest.raises(ItemDamaged, match="changed"):
        ref.read("l.ref")
