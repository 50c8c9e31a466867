"""Opening images by URL, and what an image written from another one takes over."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
import zarr

import cvcache
from cvcache import ItemDamaged, NodeReplaced, UsageError, cdir, cdir_commit, cdir_init, cdir_query, open_image
from cvcache.image import identity
from cvcache.keys import canonical_key_with_inputs
from cvcache.keys.graphs import lineage
from cvcache.protocol import finish

if TYPE_CHECKING:
    from servers.store_cases import StoreCase

    from cvcache import CacheDir

PIXELS = np.random.default_rng(1).integers(0, 900, (20, 200, 300)).astype("uint16")
SCALE = {"scale": (2.0, 0.5, 0.5), "unit": "um", "translation": (1.0, 2.0, 3.0)}


@pytest.fixture
def root(store_case: StoreCase) -> CacheDir:
    return cdir(store_case.child("tree"), **store_case.options)


@pytest.fixture
def raw(root: CacheDir) -> CacheDir:
    node = cdir_init(root / "raw")
    node.write("raw.ome.zarr", da.from_array(PIXELS, chunks=(8, 100, 150)), **SCALE)
    cdir_commit(node)
    return node


def test_an_image_opens_by_its_url(raw: CacheDir, store_case: StoreCase) -> None:
    image = open_image(raw["raw.ome.zarr"].url, **store_case.options)
    assert image.chunks == da.from_array(PIXELS, chunks=(8, 100, 150)).chunks
    np.testing.assert_array_equal(image, PIXELS)
    assert image.name.startswith("cvcache-image-") or "rechunk" in image.name
    assert open_image(raw["raw.ome.zarr"].url, level=-1, **store_case.options).shape == (20, 100, 150)


def test_slices_in_the_url_and_beside_it(raw: CacheDir, store_case: StoreCase) -> None:
    url = f"{raw['raw.ome.zarr'].url}?slices=[0, :100, ..., ::2]"
    np.testing.assert_array_equal(open_image(url, **store_case.options), PIXELS[0, :100, ::2])
    part = open_image(url, slices="[10:20, -5]", **store_case.options)
    np.testing.assert_array_equal(part, PIXELS[0, :100, ::2][10:20, -5])
    spaced = {
        "[3, :2]": PIXELS[3, :2],
        "[:, :100]": PIXELS[:, :100],
        "[0:1, 0, -1:]": PIXELS[0:1, 0, -1:],
        "[..., ::2]": PIXELS[..., ::2],
    }
    for text, expected in spaced.items():
        url_of_part = f"{raw['raw.ome.zarr'].url}?slices={text}"
        np.testing.assert_array_equal(open_image(url_of_part, **store_case.options), expected)
    np.testing.assert_array_equal(raw.read("raw.ome.zarr", slices=(slice(3, 9), Ellipsis, 7)), PIXELS[3:9, :, 7])
    with pytest.raises(UsageError, match="slices"):
        open_image(f"{raw['raw.ome.zarr'].url}?slices=[0, 0, 0, 0]", **store_case.options)
    with pytest.raises(UsageError, match="no level 9"):
        open_image(url, level=9, **store_case.options)


def test_nothing_there_says_so(root: CacheDir, store_case: StoreCase) -> None:
    with pytest.raises(FileNotFoundError, match=r"no image at .*absent\.ome\.zarr"):
        open_image((root / "x").url + "/absent.ome.zarr", **store_case.options)


def test_an_image_takes_over_what_it_overlays(root: CacheDir, raw: CacheDir) -> None:
    with cdir_init(root / "made", {"image": raw["raw.ome.zarr"]}) as made:
        lazy = raw.read("raw.ome.zarr")
        for name, pixels in {
            "lazy.ome.zarr": lazy > 300,
            "eager.ome.zarr": PIXELS + 1,
            "item.ome.zarr": raw["raw.ome.zarr"],
            "level.ome.zarr": raw.read("raw.ome.zarr", level=1) + 1,
            "crop.ome.zarr": raw.read("raw.ome.zarr", slices="[2:8, 10:, ::3]") * 2,
            "other.ome.zarr": lazy[:, :50],
            "told.ome.zarr": made_of(lazy),
        }.items():
            made.write(name, pixels, **({"scale": (9, 9, 9)} if name.startswith("told") else {}))
    geometry = {item.name[:-9]: (item.meta["scale"], item.meta["translation"]) for item in made.items()}
    assert geometry == {
        "lazy": ([2, 0.5, 0.5], [1, 2, 3]),
        "eager": ([2, 0.5, 0.5], [1, 2, 3]),
        "item": ([2, 0.5, 0.5], [1, 2, 3]),
        "level": ([2, 1, 1], [1, 2.25, 3.25]),
        "crop": ([2, 0.5, 1.5], [5, 7, 3]),
        "other": ([1, 1, 1], [0, 0, 0]),
        "told": ([9, 9, 9], [1, 2, 3]),
    }
    assert made["lazy.ome.zarr"].meta["unit"] == dict.fromkeys("zyx", "micrometer")


def made_of(image: da.Array) -> da.Array:
    return da.map_blocks(np.sqrt, image, dtype="float32")


def test_inputs_that_differ_count_for_nothing(root: CacheDir, raw: CacheDir, caplog: pytest.LogCaptureFixture) -> None:
    other = cdir_init(root / "other")
    other.write("raw.ome.zarr", PIXELS, scale=(1, 1, 7))
    cdir_commit(other)
    with cdir_init(root / "sum", [raw["raw.ome.zarr"], other["raw.ome.zarr"]]) as made:
        item = made.write("sum.ome.zarr", PIXELS)
    assert item.meta["scale"] == [1, 1, 1]
    assert "differ in scale" in caplog.text


def test_channels_may_be_gone(root: CacheDir) -> None:
    raw = cdir_init(root / "cells")
    raw.write("raw.ome.zarr", np.zeros((2, 10, 20), "uint8"), axes="cyx", scale=(0.1, 0.2), channels=["a", "b"])
    cdir_commit(raw)
    with cdir_init(root / "mask", raw["raw.ome.zarr"]) as made:
        assert made.write("mask.ome.zarr", np.zeros((10, 20), bool)).meta["scale"] == [0.1, 0.2]
        assert made.write("both.ome.zarr", np.zeros((2, 10, 20))).meta["channels"] == ["a", "b"]


def test_what_others_can_slice_is_written(root: CacheDir) -> None:
    stored = zarr.array(PIXELS, chunks=(20, 50, 60), store=zarr.storage.MemoryStore())
    labelled = SimpleNamespace(
        dims=("y", "x"),
        data=PIXELS[0],
        coords={
            "y": np_coordinate([3, 5, *range(7, 403, 2)][:200], "um"),
            "x": np_coordinate(np.arange(300) / 2, "um"),
        },
    )
    with cdir_init(root / "made") as made:
        assert made.write("a.ome.zarr", stored).meta["stored_as"] == "dask"
        meta = made.write("b.ome.zarr", labelled).meta
        labelled.coords["x"] = np_coordinate(np.arange(300) ** 2, "um")
        with pytest.raises(UsageError, match="not even"):
            made.write("c.ome.zarr", labelled)
    np.testing.assert_array_equal(made.read("a.ome.zarr"), PIXELS)
    assert (meta["scale"], meta["translation"], meta["unit"]["x"]) == ([2, 0.5], [3, 0], "micrometer")


def np_coordinate(values: Any, unit: str) -> Any:
    array = np.asarray(values)
    return SimpleNamespace(values=array, dtype=array.dtype, attrs={"units": unit})


def test_the_lineage_of_a_commit_is_its_own(raw: CacheDir, store_case: StoreCase) -> None:
    before = cdir_query(raw).read("raw.ome.zarr")
    assert lineage(before) == lineage(cdir_query(raw).read("raw.ome.zarr"))
    assert before.name == cdir_query(raw).read("raw.ome.zarr").name
    opened = lineage(open_image(raw["raw.ome.zarr"].url, **store_case.options))
    assert opened == lineage(open_image(raw["raw.ome.zarr"].url, **store_case.options))
    with cdir_init(raw, force=True) as again:
        again.write("raw.ome.zarr", da.from_array(PIXELS + 1, chunks=(8, 100, 150)), **SCALE)
    assert lineage(before) != lineage(cdir_query(raw).read("raw.ome.zarr"))
    with pytest.raises(NodeReplaced):
        before.compute()


def test_an_image_being_written_is_read_as_far_as_it_is(root: CacheDir, store_case: StoreCase) -> None:
    node = cdir_init(root / "half")

    def fail(block: np.ndarray, block_id: Any = None) -> np.ndarray:
        if block_id == (1, 0, 0):
            raise ZeroDivisionError
        return block

    image = da.from_array(PIXELS, chunks=(10, 200, 300)).map_blocks(fail, dtype="uint16")
    with pytest.raises(ZeroDivisionError):
        node.write("a.ome.zarr", image, chunks=(10, 200, 300), levels=1)
    seen = np.asarray(cdir_query(root / "half").read("a.ome.zarr"))
    assert seen.shape == PIXELS.shape
    assert not seen[10:].any()
    with pytest.raises(ItemDamaged):
        np.asarray(open_image(node["a.ome.zarr"].url, **store_case.options))


def test_thumbnails_are_pictures(root: CacheDir) -> None:
    pytest.importorskip("PIL")
    import io

    from PIL import Image

    node = cdir_init(root / "seen")
    node.write("gray.ome.zarr", PIXELS)
    node.write("color.ome.zarr", np.stack([PIXELS[0]] * 3), axes="cyx")
    node.write("labels.ome.zarr", PIXELS[0] // 100, kind="labels")
    node.write("flat.ome.zarr", np.arange(2000.0))
    node.write("empty.ome.zarr", np.zeros((0, 5)))
    cdir_commit(node)
    node = cdir_query(node)
    modes = {}
    for item in node.items():
        png = item.thumbnail()
        modes[item.name.partition(".")[0]] = Image.open(io.BytesIO(png)).mode if png else None
    assert modes == {"gray": "L", "color": "RGB", "labels": "RGB", "flat": "L", "empty": None}
    assert max(Image.open(io.BytesIO(node["gray.ome.zarr"].thumbnail() or b"")).size) <= 256


def test_a_replaced_local_image_is_another_array(tmp_path: Path) -> None:
    zarr.create_array(str(tmp_path / "a.zarr"), data=PIXELS[0])
    before = open_image(tmp_path / "a.zarr")
    shutil.rmtree(tmp_path / "a.zarr")
    zarr.create_array(str(tmp_path / "a.zarr"), data=PIXELS[1])
    after = open_image(tmp_path / "a.zarr")
    assert before.name != after.name
    assert lineage(after) == lineage(open_image(Path(tmp_path / "a.zarr")))


def compute_image(node: CacheDir, value: int, **how: object) -> CacheDir:
    with cvcache.cdir_init(node, {"value": value}, **how) as out:  # type: ignore[arg-type]  # on_stale, force, wait
        if not out.committed:
            out.write("x.ome.zarr", da.full((8, 64, 64), value, chunks=(4, 32, 32), dtype="u2"), axes="zyx")
    return out


def test_a_lazy_image_that_was_replaced_is_an_error_not_the_other_result(store_case: StoreCase) -> None:
    node = cdir(store_case.url, **store_case.options)
    lazy = compute_image(node, 1).read("x.ome.zarr")
    assert int(lazy.max().compute()) == 1
    compute_image(node, 2)
    if store_case.kind in {"s3", "gcs"}:
        from cvcache.formats import successor

        successor._checked_at.clear()
    with pytest.raises((NodeReplaced, ItemDamaged)):
        lazy.compute()
    assert int(cdir(store_case.url, **store_case.options).read("x.ome.zarr").max().compute()) == 2


def _identity(options: dict[str, Any], url: str, _: object) -> object:
    return identity(url, options)


def test_a_plain_url_leads_to_what_stands_also_where_the_old_image_is_still_there(
    store_case: StoreCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that died between its commit and its sweep leaves both."""
    where = cdir(store_case.child("node"), **store_case.options)
    url = f"{store_case.child('node')}/x.ome.zarr"
    keys = []
    for value in (1, 2):
        with monkeypatch.context() as patch, cdir_init(where, {"value": value}) as node:
            patch.setattr(finish, "sweep", lambda *_: None)
            node.write("x.ome.zarr", np.full((4, 4), value, "u1"))
        assert np.asarray(open_image(url, **store_case.options)).max() == value
        keys.append(canonical_key_with_inputs(url, functools.partial(_identity, store_case.options))[0])
    assert "node/x.ome.zarr/zarr.json" in store_case.snapshot()
    assert keys[0] != keys[1]
    with cdir_init(cdir(store_case.child("other"), **store_case.options)) as other:
        other.write("y.ref", url)
    assert np.asarray(other.read("y.ref")).max() == 2
