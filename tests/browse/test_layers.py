"""Layers of items, rows and URLs: what they are, what they cost, and that they never show two results as one."""

from __future__ import annotations

import contextlib
import json
import pickle
import struct
import subprocess
import sys
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cvcache
from cvcache import CacheDir, cdir, cdir_init, cdir_query
from cvcache.browse import item_row
from cvcache.browse.layer_data import UNITS, cost, layers, saved_settings, with_contrast
from cvcache.errors import CvcacheError, ItemDamaged, NodeReplaced, UsageError
from cvcache.formats import ItemWrite, find_format, successor
from cvcache.image import pyramid
from cvcache.node import address_of, item_io, release_node, snapshot_of
from cvcache.store import LocalStore
from cvcache.testing import CountingStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers.store_cases import StoreCase

    from cvcache.browse import Row
    from cvcache.browse.layer_data import LayerData
    from cvcache.store import Store

STACK = np.random.default_rng(0).integers(0, 4000, (8, 96, 128)).astype("uint16")
LABELS = (np.arange(STACK.size).reshape(STACK.shape) // 4096).astype("int32")
UM = {"scale": (2, 0.5, 0.25), "unit": "um"}


def filled(url: str, *items: tuple[str, Any, dict[str, Any]], made_of: Any = None, **options: Any) -> CacheDir:
    """Give a committed node with these items."""
    with cvcache.cdir_init(cdir(url, **options), made_of) as node:
        for name, value, how in items:
            node.write(name, value, **how)
    return cvcache.cdir_query(cdir(url, **options))


def one(url: str, value: Any, name: str = "x.ome.zarr", **how: Any) -> LayerData:
    """Give the only layer of an item that was written alone."""
    (layer,) = layers(filled(url, (name, value, how))[name])
    return layer


def row_of(node: CacheDir, name: str, state: str = "committed") -> Row:
    return item_row("steps", snapshot_of(node), state, name, item_io.read_rows(snapshot_of(node))[name])


def where(layer: LayerData) -> dict[str, Any]:
    found: dict[str, Any] = layer[1]["metadata"]["cvcache"]
    return found


@pytest.fixture
def viewer() -> Any:
    """Give a viewer without a window."""
    return pytest.importorskip("napari.components").ViewerModel()


def shown(viewer: Any, layer: LayerData) -> Any:
    """Add a layer as a plugin's reader does, and give it."""
    (added,) = viewer._add_layer_from_data(*layer)
    return added


# -- images ---------------------------------------------------------------------------------------------


def test_an_image_is_its_levels_with_their_place_in_the_world(store_case: StoreCase) -> None:
    how = {**UM, "axes": "zyx", "translation": (1, 2, 3), "contrast": (10, 900), "levels": 2}
    node = filled(store_case.child("a/b"), ("x.ome.zarr", STACK, how), **store_case.options)
    data, attributes, kind = layers(row_of(node, "x.ome.zarr"))[0]
    assert kind == "image"
    assert [level.shape for level in data] == [tuple(shape) for shape in node["x.ome.zarr"].meta["shapes"]]
    assert np.array_equal(np.asarray(data[0]), STACK)
    expected = {
        "name": "b/x",
        "scale": (2.0, 0.5, 0.25),
        "translate": (1.0, 2.0, 3.0),
        "units": ("micrometer",) * 3,
        "axis_labels": ("z", "y", "x"),
        "contrast_limits": (10, 900),
        "colormap": "gray",
        "blending": "translucent",
        "visible": True,
        "multiscale": True,
    }
    assert {name: attributes[name] for name in expected} == expected
    told = where((data, attributes, kind))
    assert (told["url"], told["node"], told["item"]) == (node["x.ome.zarr"].url, node.url, "x.ome.zarr")
    record = snapshot_of(node).record
    assert record is not None
    assert (told["path"], told["state"], told["commit"]) == ("steps/x.ome.zarr", "committed", record.attempt)
    assert json.loads(json.dumps(told)) == told


def test_channels_are_layers_of_their_own(tmp_path: Path, viewer: Any) -> None:
    image = np.stack([STACK, STACK[::-1], STACK // 2])
    how = {
        "axes": "czyx",
        "channels": ["DAPI", {"label": "GFP", "color": "FF8800"}, {"label": "off", "active": False}],
        "contrast": [(1, 2), (3, 4), (5, 6)],
        "chunks": (1, 4, 32, 32),
    }
    found = layers(filled(str(tmp_path / "n"), ("x.ome.zarr", image, how))["x.ome.zarr"])
    assert [a["name"] for _, a, _ in found] == ["n/x: DAPI", "n/x: GFP", "n/x: off"]
    assert [a["colormap"] for _, a, _ in found] == ["#00ff00", "#ff8800", "#00ffff"]
    assert [a["contrast_limits"] for _, a, _ in found] == [(1, 2), (3, 4), (5, 6)]
    assert [a["visible"] for _, a, _ in found] == [True, True, False]
    assert {a["blending"] for _, a, _ in found} == {"additive"}
    assert [where(layer)["channel"] for layer in found] == [0, 1, 2]
    for layer, pixels in zip(found, image, strict=True):
        finest = layer[0][0] if layer[1]["multiscale"] else layer[0]
        assert np.array_equal(np.asarray(finest), pixels)
        assert shown(viewer, layer).ndim == 3


def test_an_image_of_many_channels_has_a_slider_for_them(tmp_path: Path, viewer: Any) -> None:
    layer = one(str(tmp_path / "n"), np.zeros((65, 4, 4), "uint8"), axes="cyx")
    assert layer[0].shape == (65, 4, 4)
    assert shown(viewer, layer).axis_labels == ("c", "y", "x")


@pytest.mark.parametrize("same", [False, True])
def test_what_is_recorded_of_one_channel_is_not_taken_for_all(tmp_path: Path, *, same: bool) -> None:
    contrast = [(0, 9) if same else (0, i + 1) for i in range(65)]
    channels = [{"color": "FF0000" if same or not i else "00FF00", "active": same or i > 0} for i in range(65)]
    how = {"axes": "cyx", "contrast": contrast, "channels": channels}
    _, attributes, _ = one(str(tmp_path / "n"), np.zeros((65, 4, 4), "uint16"), **how)
    assert attributes.get("contrast_limits") == ((0, 9) if same else None)
    assert attributes["colormap"] == ("#ff0000" if same else "gray")
    assert attributes["visible"]


def foreign_pyramid(path: Path, *levels: tuple[np.ndarray, float, float]) -> Path:
    """Write pixels, scale and translation of each level as another program does."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=2)
    datasets = []
    for i, (pixels, scale, translation) in enumerate(levels):
        group.create_array(str(i), data=pixels)
        steps = [{"type": "scale", "scale": [scale] * 2}, {"type": "translation", "translation": [translation] * 2}]
        datasets.append({"path": str(i), "coordinateTransformations": steps})
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return path


@pytest.mark.parametrize(
    "other",
    [
        (np.zeros((16, 16)), 2.0, 0.5),  # a part
        (np.zeros((32, 32)), 1.0, 0.0),  # of another scale than it has
        (np.zeros((32, 32)), 2.0, 9.0),  # somewhere else
        (np.zeros((128, 128)), 0.5, 0.0),  # finer than the first
        (np.zeros((32, 32)), 0.0, 0.0),
    ],
)
def test_a_level_that_is_not_all_of_the_image_is_left_out(tmp_path: Path, viewer: Any, other: Any) -> None:
    path = foreign_pyramid(tmp_path / "x.ome.zarr", (np.ones((64, 64)), 1.0, 0.0), other, (np.ones((16, 16)), 4.0, 1.5))
    (layer,) = layers(path)
    assert [level.shape for level in layer[0]] == [(64, 64), (16, 16)]
    shown(viewer, layer)


def test_levels_whose_scale_nobody_has_recorded_are_all_there(tmp_path: Path) -> None:
    path = foreign_pyramid(tmp_path / "x.ome.zarr", *((np.ones((side, side)), 1.0, 0.0) for side in (65, 33, 17)))
    (layer,) = layers(path)
    assert [level.shape for level in layer[0]] == [(65, 65), (33, 33), (17, 17)]


@pytest.mark.parametrize("side", [1023, 1025, 1056, 2049])
def test_no_level_is_drawn_beside_its_place(tmp_path: Path, viewer: Any, side: int) -> None:
    layer = one(str(tmp_path / "n"), np.zeros((side, side), "uint8"), levels=7)
    added = shown(viewer, layer)
    for number, level in enumerate(layer[0]):
        added.data_level = number
        added.refresh()
        drawn = added._transforms["tile2data"]
        for column in range(level.shape[1] + 1):
            left = drawn.scale[1] * column + drawn.translate[1]
            assert abs(left - 2**number * column) <= 2**number / 2


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint32", "int64", "float16", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(40,), (30, 40), (2, 3, 20, 30)])
def test_every_image_is_painted(tmp_path: Path, viewer: Any, dtype: str, shape: tuple[int, ...]) -> None:
    value = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    for data, attributes, kind in layers(filled(str(tmp_path / "n"), ("x.ome.zarr", value, {}))["x.ome.zarr"]):
        added = shown(viewer, with_contrast((data, attributes, kind)))
        assert added.ndim >= 2
        assert added.contrast_limits[0] < added.contrast_limits[1]
        assert np.asarray(added._slice.image.raw).size


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "uint64"])
def test_labels_are_labels(tmp_path: Path, viewer: Any, dtype: str) -> None:
    layer = one(str(tmp_path / "n"), LABELS.astype(dtype), kind="labels", **UM)
    assert layer[2] == "labels"
    assert "contrast_limits" not in layer[1]
    assert shown(viewer, layer).scale.tolist() == [2, 0.5, 0.25]


def test_an_image_without_pixels_is_an_error_that_says_so(tmp_path: Path) -> None:
    node = filled(str(tmp_path / "n"), ("x.ome.zarr", np.zeros((0, 5)), {}))
    with pytest.raises(UsageError, match="nothing to show"):
        layers(node["x.ome.zarr"])


def test_a_node_is_no_item(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no item"):
        layers(filled(str(tmp_path / "n"), ("a.json", 1, {})))


def test_what_is_no_picture_has_no_layers(tmp_path: Path) -> None:
    items = [("a.json", 1, {}), ("a.txt", "x", {}), ("a.npy", np.zeros(4), {}), ("a.zarr", np.zeros(4), {})]
    node = filled(str(tmp_path / "n"), *items)
    assert [layers(item) for item in node.items()] == [[], [], [], []]


def test_small_files_with_arrays_are_pictures(tmp_path: Path, viewer: Any) -> None:
    items = [
        ("a.npy", np.eye(4) > 0, {}),
        ("b.npy", np.zeros((4, 5, 3), "uint8"), {}),
        ("c.npz", {"even": np.ones((2, 3), "complex64"), "flat": np.ones(3)}, {}),
        ("d.png", np.zeros((5, 6, 4), "uint8"), {}),
        ("e.zarr", np.ones((2, 3, 4)), {}),
    ]
    node = filled(str(tmp_path / "n"), *items)
    found = [layer for item in node.items() for layer in layers(item)]
    assert [a["name"] for _, a, _ in found] == ["n/a", "n/b", "n/c/even", "n/d", "n/e"]
    assert [a.get("rgb") for _, a, _ in found] == [False, True, False, True, None]
    for layer in found:
        shown(viewer, layer)


def test_a_gray_picture_with_opacity_is_a_picture(tmp_path: Path, viewer: Any) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("LA", (6, 5), (7, 9)).save(tmp_path / "x.png")
    (layer,) = layers(tmp_path / "x.png")
    assert (layer[0].shape, layer[1]["rgb"]) == ((5, 6, 4), True)
    assert np.unique(layer[0].reshape(-1, 4), axis=0).tolist() == [[7, 7, 7, 9]]
    shown(viewer, layer)


def test_a_huge_picture_of_others_is_too_large(tmp_path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(bytes(20_001))]
    parts = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(UsageError, match="too large to show"):
        layers(tmp_path / "x.png")


def test_what_no_commit_vouches_for_is_not_to_be_computed_again(tmp_path: Path) -> None:
    node = filled(str(tmp_path / "n"), ("d.png", np.zeros((5, 6), "uint8"), {}), ("x.ome.zarr", STACK, {}))
    (tmp_path / "x.png").write_bytes(b"no picture")
    (tmp_path / "no.ome.zarr").mkdir()
    (tmp_path / "no.ome.zarr" / "zarr.json").write_text("{")
    for path in (tmp_path / "x.png", tmp_path / "no.ome.zarr"):
        with pytest.raises(ItemDamaged, match="no commit vouches") as caught:
            layers(path)
        assert "force" not in str(caught.value)
    (tmp_path / "n" / "d.png").write_bytes(b"no picture")
    with pytest.raises(ItemDamaged, match="force=True"):
        layers(node["d.png"])
    (foreign,) = layers(item_row("", snapshot_of(node), "foreign", "x.ome.zarr", {}))
    for chunk in (tmp_path / "n" / "x.ome.zarr" / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"no chunk")
    with pytest.raises(ItemDamaged, match="no commit vouches"):
        np.asarray(foreign[0])


def test_what_is_too_large_to_be_read_whole_is_refused_before_it_is(tmp_path: Path) -> None:
    node = filled(
        str(tmp_path / "n"), ("a.npy", np.zeros((2, 2)), {}), ("t.csv", pd.DataFrame({"y": [1], "x": [2]}), {})
    )
    lies = {"a.npy": {"shape": [100_000, 100_000]}, "t.csv": {"rows": 1_000_001}}
    for name, more in lies.items():
        row = item_row("", snapshot_of(node), "committed", name, {**item_io.read_rows(snapshot_of(node))[name], **more})
        with pytest.raises(UsageError, match=r"at most|up to"):
            layers(row)


def test_a_link_shows_what_it_leads_to(tmp_path: Path) -> None:
    source = filled(str(tmp_path / "a"), ("x.ome.zarr", STACK, {"axes": "zyx", **UM}))
    node = filled(str(tmp_path / "b"), ("raw.ref", f"{source['x.ome.zarr'].url}?slices=[2:4,:10]", {}))
    ((data, attributes, _),) = layers(node["raw.ref"])
    assert attributes["name"] == "b/raw"
    assert attributes["translate"] == (4.0, 0.0, 0.0)
    assert np.array_equal(np.asarray(data), STACK[2:4, :10])


# -- what it costs --------------------------------------------------------------------------------------


class Calls:
    """A root on one kind of store, whose calls are noted."""

    def __init__(self, case: StoreCase) -> None:
        self.case = case
        self.stores: list[CountingStore] = []

    def wrap(self, store: Store) -> Store:
        self.stores.append(CountingStore(store))
        return self.stores[-1]

    def of(self, act: Callable[[], object]) -> list[tuple[str, str]]:
        for store in self.stores:
            store.reset()
        act()
        return [(verb, path.rpartition("/n/")[2]) for store in self.stores for verb, path in store.log]


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.server)])
def calls(request: pytest.FixtureRequest) -> Iterator[Calls]:
    calls = Calls(request.getfixturevalue(f"{request.param}_case"))
    with instrument(calls.wrap):
        yield calls


def test_layers_of_a_committed_image_ask_for_nothing(calls: Calls) -> None:
    items = [("x.ome.zarr", STACK, {"axes": "zyx"}), ("l.ome.zarr", LABELS, {"kind": "labels"})]
    node = filled(calls.case.child("n"), *items, **calls.case.options)
    rows = [row_of(node, name) for name, *_ in items]
    assert calls.of(lambda: [layers(row) for row in rows]) == []
    assert calls.of(lambda: [layers(node[row.name]) for row in rows]) == []


@pytest.mark.parametrize(
    "shards",
    [False, (8, 96, 128)],
    ids=[
        "chunks",
        "shards",
    ],
)
@pytest.mark.parametrize("value", [STACK, STACK > 2000], ids=["numbers", "bool"])
def test_a_plane_reads_its_chunks_and_nothing_else(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, shards: Any, value: np.ndarray
) -> None:
    monkeypatch.setattr(successor, "CHECK_SECONDS", 3600.0)
    how = {"axes": "zyx", "levels": 2, "chunks": (1, 32, 32), "shards": shards}
    node = filled(calls.case.child("n"), ("x.ome.zarr", value, how), **calls.case.options)
    (layer,) = layers(node["x.ome.zarr"])
    pixels: list[np.ndarray] = []
    log = calls.of(lambda: pixels.append(np.asarray(layer[0][1][3])))
    gets = [path for verb, path in log if verb == "get"]
    ny, nx = -(-layer[0][1].shape[1] // 32), -(-layer[0][1].shape[2] // 32)
    if shards:
        # the shard's table, and from it the chunks of the plane
        assert len(gets) == 1 + ny * nx
        assert set(gets) == {"x.ome.zarr/1/c/0/0/0"}
    else:
        assert sorted(gets) == [f"x.ome.zarr/1/c/3/{y}/{x}" for y in range(ny) for x in range(nx)]
    assert all(path.startswith("_cvcache/log/") for verb, path in log if verb == "stat")
    assert {verb for verb, _ in log} <= {"get", "stat"}
    assert cost(layer) == ny * nx * 32 * 32 * value.dtype.itemsize


def test_a_viewer_reads_no_more_than_it_shows(calls: Calls, viewer: Any) -> None:
    big = da.zeros((4, 2048, 2048), chunks=(1, 512, 512), dtype="uint16")
    how = {"axes": "zyx", "chunks": (1, 256, 256), "contrast": (0, 9)}
    node = filled(calls.case.child("n"), ("x.ome.zarr", big, how), **calls.case.options)
    (layer,) = layers(node["x.ome.zarr"])
    log = calls.of(lambda: shown(viewer, layer))
    gets = [path for verb, path in log if verb == "get"]
    assert gets
    last = len(layer[0]) - 1
    assert {path.split("/")[1] for path in gets} == {str(last)}
    # its plane, and that of its thumbnail in the list of layers
    assert len(set(gets)) <= 2


def test_the_cost_of_a_large_foreign_plane_is_known_before_it_is_read(tmp_path: Path) -> None:
    import zarr

    zarr.create_array(tmp_path / "big.zarr", shape=(3, 100_000, 100_000), chunks=(1, 1000, 1000), dtype="uint8")
    (layer,) = layers(tmp_path / "big.zarr")
    assert cost(layer) == 10**10
    assert with_contrast((layer[0], {n: v for n, v in layer[1].items() if n != "contrast_limits"}, "image"))[1][
        "contrast_limits"
    ] == (0, 255)


def of_state(state: str) -> dict[str, Any]:
    return {"multiscale": True, "metadata": {"cvcache": {"state": state}}}


@pytest.mark.parametrize("state", ["running", "failed"])
def test_the_contrast_of_a_running_image_is_that_of_the_finest_level_while_the_others_are_empty(state: str) -> None:
    levels = [da.full((4, 64, 64), 300, dtype="u2"), da.zeros((4, 32, 32), dtype="u2")]
    levels[0] = da.concatenate([levels[0][..., :32], da.full((4, 64, 32), 900, dtype="u2")], axis=-1)
    assert with_contrast((levels, of_state(state), "image"))[1]["contrast_limits"] == (300, 900)
    empty = [da.zeros((4, 64, 64), dtype="u2"), da.zeros((4, 32, 32), dtype="u2")]
    assert with_contrast((empty, of_state(state), "image"))[1]["contrast_limits"] == (0, 65535)


def test_the_contrast_of_an_empty_running_image_is_not_sought_in_all_of_it() -> None:
    read: list[int] = []

    def plane(side: int) -> da.Array:
        def block(block_id: tuple[int, ...]) -> np.ndarray:
            assert block_id == (0, 0)
            read.append(side)
            return np.zeros((side, side), "u1")

        return da.map_blocks(block, chunks=((side,), (side,)), dtype="u1", meta=np.empty((0, 0), "u1"))

    # 144 MiB and 16 MiB and 1 MiB are 161 MiB; 324 MiB more are too much, and 121 MiB more are too
    levels = [plane(side << 10) for side in (18, 12, 4, 1)]
    assert with_contrast((levels, of_state("running"), "image"))[1]["contrast_limits"] == (0, 255)
    assert read == [1 << 10, 4 << 10, 12 << 10]


@pytest.mark.parametrize("foreign", [False, True])
def test_the_contrast_of_an_empty_image_is_sought_in_its_smallest_level(calls: Calls, *, foreign: bool) -> None:
    how = {"axes": "yx", "levels": 3, "chunks": (64, 64)}
    node = filled(calls.case.child("n"), ("x.ome.zarr", da.zeros((512, 512), dtype="f4"), how), **calls.case.options)
    source = item_row("", snapshot_of(node), "foreign", "x.ome.zarr", {}) if foreign else node["x.ome.zarr"]
    ((data, attributes, kind),) = layers(source)
    bare = {name: value for name, value in attributes.items() if name != "contrast_limits"}
    log = calls.of(lambda: with_contrast((data, bare, kind)))
    assert {path.split("/")[1] for verb, path in log if verb == "get"} == {"2"}


def test_a_foreign_table_is_asked_for_its_size_and_head_first(calls: Calls) -> None:
    node = filled(calls.case.child("n"), ("a.json", 1, {}), **calls.case.options)
    calls.case.put("n/t.csv", b"y,x\n1,2\n")
    row = item_row("", snapshot_of(node), "foreign", "t.csv", {})
    log = calls.of(lambda: layers(row))
    assert sorted(verb for verb, _ in log) == ["get", "get", "stat"]


def test_importing_the_layers_loads_nothing_heavy() -> None:
    code = "import cvcache.browse.layer_data.layers, sys; print(sorted({n.partition('.')[0] for n in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "cvcache" in done.stdout
    assert not {"numpy", "dask", "pandas", "zarr", "napari", "qtpy", "fsspec"} & set(eval(done.stdout))  # noqa: S307 - our own line


# -- one result, or an error ----------------------------------------------------------------------------


@pytest.fixture
def _no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look at the log of a bucket hold for ever, but for who asks for one after each part."""
    monkeypatch.setattr(successor, "CHECK_SECONDS", 3600.0)


@pytest.mark.usefixtures("_no_second_look")
def test_a_replaced_zip_is_an_error_and_no_mix(store_case: StoreCase, tmp_path: Path) -> None:
    url, options = store_case.child("n"), store_case.options
    how = {"axes": "zyx", "levels": 1, "chunks": (1, 96, 128), "shards": (8, 96, 128), "compressor": None}
    name = "x.ome.zarr.zip"

    def put(value: int) -> CacheDir:
        filled(str(tmp_path / f"made{value}"), (name, np.full_like(STACK, value), how))
        with cvcache.cdir_init(cdir(url, **options), value) as node, node.open(name, "wb") as file:
            file.write((tmp_path / f"made{value}" / name).read_bytes())
        return cvcache.cdir_query(cdir(url, **options))

    (layer,) = layers(put(1)[name])
    assert np.unique(np.asarray(layer[0][0])).tolist() == [1]
    newer = put(2)
    with pytest.raises(NodeReplaced):
        np.asarray(layer[0][1])
    (again,) = layers(newer[name])
    assert np.unique(np.asarray(again[0])).tolist() == [2]


@pytest.mark.usefixtures("_no_second_look")
def test_replaced_labels_of_a_table_are_an_error_and_no_mix(store_case: StoreCase) -> None:
    url, options = store_case.child("seg"), store_case.options
    how = {"kind": "labels", "axes": "zyx", "levels": 1, "chunks": (1, 96, 128)}
    source = filled(url, ("l.ome.zarr", LABELS, how), made_of=1, **options)
    table = ("t.csv", pd.DataFrame({"label": [1, 2], "area": [3, 4]}), {})
    cells = filled(store_case.child("cells"), table, made_of={"labels": source["l.ome.zarr"]}, **options)
    (layer,) = layers(cells["t.csv"])
    assert where(layer)["node"] == source.url
    assert np.array_equal(np.asarray(layer[0][0]), LABELS[0])
    filled(url, ("l.ome.zarr", LABELS + 1, how), made_of=2, **options)
    with pytest.raises(NodeReplaced):
        np.asarray(layer[0][1])


@pytest.mark.parametrize("end", ["another", "committed", "failed"])
@pytest.mark.usefixtures("_no_second_look")
def test_a_layer_of_an_attempt_shows_nothing_of_what_follows_it(store_case: StoreCase, end: str) -> None:
    url, options = store_case.child("n"), store_case.options
    how = {"axes": "zyx", "levels": 1, "chunks": (1, 96, 128)}
    with contextlib.suppress(ArithmeticError), cvcache.cdir_init(cdir(url, **options), 1) as attempt:
        attempt.write("x.ome.zarr", np.full_like(STACK, 1), **how)
        (layer,) = layers(cvcache.cdir_query(cdir(url, **options))["x.ome.zarr"])
        assert where(layer)["state"] == "running"
        assert np.unique(np.asarray(layer[0][0])).tolist() == [1]
        copy = pickle.loads(pickle.dumps(layer[0]))  # noqa: S301 - our own bytes
        if end != "committed":
            raise ArithmeticError(end)
    if end == "failed":
        (layer,) = layers(
            item_row("", snapshot_of(cvcache.cdir_query(cdir(url, **options))), "failed", "x.ome.zarr", {})
        )
        assert np.unique(np.asarray(layer[0][0])).tolist() == [1]
    if end != "committed":
        filled(url, ("x.ome.zarr", np.full_like(STACK, 2), how), made_of=2, **options)
    for array in (layer[0], copy):
        with pytest.raises(NodeReplaced):
            np.asarray(array[1])


@pytest.mark.usefixtures("_no_second_look")
def test_a_replaced_node_is_an_error_and_no_mix(store_case: StoreCase) -> None:
    url, options = store_case.child("n"), store_case.options
    how = {"axes": "zyx", "levels": 1, "chunks": (1, 96, 128)}
    (layer,) = layers(filled(url, ("x.ome.zarr", STACK, how), made_of=1, **options)["x.ome.zarr"])
    assert np.array_equal(np.asarray(layer[0][0]), STACK[0])
    newer = filled(url, ("x.ome.zarr", STACK + 1, how), made_of=2, **options)
    with pytest.raises(NodeReplaced):
        np.asarray(layer[0][1])
    (again,) = layers(newer["x.ome.zarr"])
    assert np.array_equal(np.asarray(again[0]), STACK + 1)
    assert again[0].name != layer[0].name


def test_an_image_that_is_being_written_shows_what_is_there(
    store_case: StoreCase, viewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyramid, "BLOCK_BYTES", 0)  # a task a chunk
    began, go_on = threading.Event(), threading.Event()

    def block(block_id: tuple[int, ...]) -> np.ndarray:
        if block_id[0]:
            began.set()
            assert go_on.wait(60)
        return np.full((4, 96, 128), 7, "uint16")

    image = da.map_blocks(block, chunks=((4, 4), (96,), (128,)), dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
    url, options = store_case.child("n"), store_case.options

    def write() -> None:
        with dask.config.set(scheduler="threads", num_workers=2):
            filled(url, ("x.ome.zarr", image, {"levels": 1, "chunks": (4, 96, 128), **UM}), **options)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert began.wait(60)
        node = cvcache.cdir_query(cdir(url, **options))
        deadline = time.monotonic() + 60
        while not address_of(node).store.find(f"{address_of(node).path}/x.ome.zarr/0/c"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (layer,), (again,) = (layers(row_of(node, "x.ome.zarr", "running")) for _ in range(2))
        assert layer[1]["name"] == "n/x (uncommitted)"
        assert layer[1]["scale"] == (2.0, 0.5, 0.25)
        assert where(layer)["state"] == "running"
        assert layer[0].name != again[0].name
        assert np.unique(np.asarray(layer[0][:4])).tolist() == [7]
        assert np.unique(np.asarray(layer[0][4:])).tolist() == [0]
        assert with_contrast(layer)[1]["contrast_limits"][1] > 0
        shown(viewer, layer)
    finally:
        go_on.set()
        writer.join()
    (layer,) = layers(cvcache.cdir_query(cdir(url, **options))["x.ome.zarr"])
    assert layer[1]["name"] == "n/x"
    assert np.unique(np.asarray(layer[0])).tolist() == [7]


def test_a_failed_write_shows_what_it_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "BLOCK_BYTES", 0)
    chunk = tmp_path / "n" / "x.ome.zarr" / "0" / "c" / "0"

    def block(block_id: tuple[int, ...]) -> np.ndarray:
        deadline = time.monotonic() + 60
        while block_id[0] and not chunk.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        if block_id[0]:
            raise ArithmeticError(block_id)
        return np.full((4, 96, 128), 7, "uint16")

    image = da.map_blocks(block, chunks=((4, 4), (96,), (128,)), dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
    with pytest.raises(ArithmeticError), dask.config.set(scheduler="threads", num_workers=2):
        filled(str(tmp_path / "n"), ("x.ome.zarr", image, {"levels": 1, "chunks": (4, 96, 128)}))
    row = item_row("", snapshot_of(cdir_query(str(tmp_path / "n"))), "failed", "x.ome.zarr", {})
    (layer,) = layers(row)
    assert layer[1]["name"] == "n/x (uncommitted)"
    assert np.unique(np.asarray(layer[0][:4])).tolist() == [7]
    assert np.unique(np.asarray(layer[0][4:])).tolist() == [0]


# -- URLs and what others wrote -------------------------------------------------------------------------


def test_the_url_of_an_item_is_that_item(store_case: StoreCase) -> None:
    node = filled(store_case.child("n"), ("x.ome.zarr", STACK, {}), **store_case.options)
    (layer,) = layers(node["x.ome.zarr"].url, **store_case.options)
    record = snapshot_of(node).record
    assert record is not None
    assert where(layer)["commit"] == record.attempt
    assert where(layer)["state"] == "committed"
    assert np.array_equal(np.asarray(layer[0]), STACK)


def test_an_item_of_an_attempt_with_a_root_of_its_own_is_that_item(tmp_path: Path) -> None:
    url = str(tmp_path / "n")
    left = cdir_init(url, 1)
    left.path("x.bin")  # shared: the next attempt leaves the plain paths to it
    release_node(snapshot_of(left))
    node = filled(url, ("x.ome.zarr", STACK, {}), made_of=2)
    record = snapshot_of(node).record
    assert record is not None
    if record.root == ".":
        pytest.skip("the attempt has the plain paths")
    (layer,) = layers(node["x.ome.zarr"].url)
    assert where(layer)["commit"] == record.attempt
    assert where(layer)["node"] == node.url


def test_a_foreign_file_in_a_node_is_not_taken_for_its_result(tmp_path: Path) -> None:
    node = filled(str(tmp_path / "n"), ("a.json", 1, {}))
    place = ItemWrite(LocalStore(), str(tmp_path / "n" / "stray.ome.zarr"))
    find_format("x.ome.zarr").write(place, STACK[0])
    for source in (place.path, item_row("", snapshot_of(node), "foreign", "stray.ome.zarr", {})):
        (layer,) = layers(source)
        assert where(layer)["commit"] == ""
        assert where(layer)["state"] == "foreign"
        assert np.array_equal(np.asarray(layer[0]), STACK[0])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_others_wrote_is_shown(tmp_path: Path, viewer: Any, version: str) -> None:
    path = tmp_path / "data" / "x.ome.zarr"
    find_format("x.ome.zarr").write(ItemWrite(LocalStore(), str(path)), np.stack([STACK] * 2), version=version, **UM)
    document = path / ("zarr.json" if version == "0.5" else ".zattrs")
    group = json.loads(document.read_text())
    attributes = group["attributes"] if version == "0.5" else group
    del attributes["cvcache"]
    ome = attributes.get("ome", attributes)
    ome["multiscales"][0]["axes"][-1]["unit"] = "10**10**10"  # pint would work it out
    document.write_text(json.dumps(group))
    found = layers(path)
    assert [a["name"] for _, a, _ in found] == ["data/x: 0", "data/x: 1"][: len(found)]
    for layer in found:
        assert layer[1]["units"] == ("micrometer", "micrometer", "pixel")
        assert layer[1]["scale"] == (2.0, 0.5, 0.25)
        assert np.array_equal(np.asarray(layer[0]), STACK)
        shown(viewer, layer)


def test_an_image_in_a_zip_is_shown(tmp_path: Path, viewer: Any) -> None:
    node = filled(str(tmp_path / "n"), ("x.ome.zarr.zip", STACK, {"axes": "zyx", **UM}))
    (layer,) = layers(node["x.ome.zarr.zip"])
    assert np.array_equal(np.asarray(layer[0]), STACK)
    moved = tmp_path / "away.ome.zarr.zip"
    moved.write_bytes((tmp_path / "n" / "x.ome.zarr.zip").read_bytes())
    (foreign,) = layers(moved)
    assert np.array_equal(np.asarray(foreign[0]), STACK)
    assert foreign[1]["scale"] == layer[1]["scale"]
    shown(viewer, layer)


def test_a_crop_is_shown_where_it_lies(tmp_path: Path) -> None:
    node = filled(str(tmp_path / "n"), ("x.ome.zarr", np.stack([STACK] * 3), {"axes": "czyx", "scale": (1, 2, 2, 2)}))
    found = layers(f"{node['x.ome.zarr'].url}?slices=[1:,3:5,::2]")
    assert [a["name"] for _, a, _ in found] == ["n/x: 1", "n/x: 2"]
    assert found[0][1]["translate"] == (6.0, 0.0, 0.0)
    assert found[0][1]["scale"] == (2.0, 4.0, 2.0)
    assert np.array_equal(np.asarray(found[0][0]), STACK[3:5, ::2])


def test_a_wrong_url_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        layers(tmp_path / "nothing.ome.zarr")
    (tmp_path / "no.ome.zarr").mkdir()
    (tmp_path / "no.ome.zarr" / "a").write_text("x")
    with pytest.raises(ItemDamaged):
        layers(str(tmp_path / "no.ome.zarr"))


# -- points and tables ----------------------------------------------------------------------------------


def test_points_lie_where_they_were_measured(tmp_path: Path, viewer: Any) -> None:
    frame = pd.DataFrame({"y": [1.0, np.nan, 3.0], "x": [4, 5, 6], "area": [7, 8, 9], "who": ["a", "b", "<b>c</b>"]})
    how = {"scale": (0.5, 0.25), "translation": (1, 2), "unit": "um"}
    node = filled(str(tmp_path / "n"), ("p.points.csv", frame, how), ("q.points.parquet", frame, how))
    for item in node.items():
        ((data, attributes, kind),) = layers(item)
        assert kind == "points"
        assert data.tolist() == [[1.0, 4.0], [3.0, 6.0]]
        assert attributes["features"].to_dict("list") == {"area": [7, 9], "who": ["a", "\u2039b\u203ac\u2039/b\u203a"]}
        assert attributes["scale"] == (0.5, 0.25)
        assert attributes["translate"] == (1.0, 2.0)
        assert attributes["units"] == ("micrometer",) * 2
        assert shown(viewer, (data, attributes, kind)).features.shape == (2, 2)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_points_of_an_array(tmp_path: Path, viewer: Any, count: int) -> None:
    layer = one(str(tmp_path / "n"), np.arange(3 * count, dtype="float64").reshape(3, count), "p.points.parquet")
    assert shown(viewer, layer).ndim == max(2, count)


@pytest.mark.parametrize(("span", "size"), [(1.0, 0.01), (1e-6, 1e-8), (1000.0, 10.0), (0.0, 1.0)])
def test_points_are_as_large_as_they_are_far_apart(tmp_path: Path, viewer: Any, span: float, size: float) -> None:
    layer = one(str(tmp_path / "n"), np.array([[5.0, 5.0], [5.0, 5.0 + span]]), "p.points.parquet")
    assert layer[1]["size"] == pytest.approx(size)
    assert np.asarray(shown(viewer, layer).size) == pytest.approx(size)


def test_a_table_of_a_projection_lies_on_the_last_axes_of_its_labels(tmp_path: Path, viewer: Any) -> None:
    frame = pd.DataFrame({"centroid-0": [1.0, 2.0], "centroid-1": [3.0, 4.0]})
    _, (layer,) = measured(tmp_path, frame)
    assert layer[1]["scale"] == (0.5, 0.25)
    assert layer[1]["axis_labels"] == ("y", "x")
    assert layer[1]["units"] == ("micrometer",) * 2
    shown(viewer, layer)


def test_a_table_lies_in_the_image_that_has_its_axes_rather_than_in_a_larger_one(tmp_path: Path) -> None:
    deep = filled(str(tmp_path / "a"), ("l.ome.zarr", LABELS, {"kind": "labels", "axes": "zyx", **UM}))
    flat = filled(str(tmp_path / "b"), ("l.ome.zarr", LABELS[0], {"kind": "labels", "scale": (7, 8)}))
    key = {"a": deep["l.ome.zarr"], "b": flat["l.ome.zarr"]}
    frame = pd.DataFrame({"centroid-0": [1.0, 2.0], "centroid-1": [3.0, 4.0]})
    (layer,) = layers(filled(str(tmp_path / "t"), ("t.csv", frame, {}), made_of=key)["t.csv"])
    assert layer[1]["scale"] == (7.0, 8.0)


def measured(tmp_path: Path, frame: pd.DataFrame, name: str = "t.csv") -> tuple[CacheDir, list[LayerData]]:
    source = filled(str(tmp_path / "seg"), ("l.ome.zarr", LABELS, {"kind": "labels", "axes": "zyx", **UM}))
    node = filled(str(tmp_path / "seg" / "cells"), (name, frame, {}), made_of={"labels": source["l.ome.zarr"]})
    return source, layers(node[name])


@pytest.mark.parametrize(
    "columns", [("z", "y", "x"), ("centroid-0", "centroid-1", "centroid-2"), ("axis-0", "axis-1", "axis-2")]
)
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_table_of_regions_is_points_and_labels(
    tmp_path: Path, viewer: Any, columns: tuple[str, ...], name: str
) -> None:
    frame = pd.DataFrame(
        {"label": [1, 2], **{column: [i, i + 1.0] for i, column in enumerate(columns)}, "area": [5, 6]}
    )
    source, found = measured(tmp_path, frame, name)
    (_, about_labels, first), (data, attributes, second) = found
    assert (first, second) == ("labels", "points")
    assert attributes["scale"] == about_labels["scale"] == (2.0, 0.5, 0.25)
    assert attributes["units"] == ("micrometer",) * 3
    assert data.tolist() == [[0, 1, 2], [1, 2, 3]]
    assert about_labels["features"]["index"].tolist() == [1, 2]
    assert about_labels["features"]["area"].tolist() == [5, 6]
    assert about_labels["visible"] is False
    assert where(found[0])["url"] == source["l.ome.zarr"].url
    for layer in found:
        shown(viewer, layer)


def test_a_table_without_coordinates_goes_with_its_labels(tmp_path: Path, viewer: Any) -> None:
    _, found = measured(tmp_path, pd.DataFrame({"label_id": [1, 2], "index": [8, 9], "area": [5, 6]}))
    assert [(kind, a["visible"], list(a["features"])) for _, a, kind in found] == [("labels", True, ["index", "area"])]
    assert found[0][1]["features"]["index"].tolist() == [1, 2]
    shown(viewer, found[0])


def test_labels_that_became_floats_are_labels_still(tmp_path: Path) -> None:
    _, found = measured(tmp_path, pd.DataFrame({"label": [1.0, 2.0], "area": [5, 6]}))
    assert found[0][1]["features"]["index"].tolist() == [1, 2]
    assert found[0][1]["features"]["index"].dtype == "int64"


def test_labels_of_another_version_are_not_those_a_table_tells_of(tmp_path: Path) -> None:
    frame = pd.DataFrame({"label": [1, 2], "area": [5, 6]})
    measured(tmp_path, frame)
    filled(str(tmp_path / "seg"), ("l.ome.zarr", LABELS + 1, {"kind": "labels"}), made_of="newer")
    assert layers(cdir_query(str(tmp_path / "seg" / "cells"))["t.csv"]) == []


def test_any_other_table_has_no_layers(tmp_path: Path) -> None:
    _, found = measured(tmp_path, pd.DataFrame({"label": ["a", "b"], "x": [1, 2]}))
    assert found == []


# -- what a record may say ------------------------------------------------------------------------------


def test_saved_settings_are_taken(tmp_path: Path, viewer: Any) -> None:
    image = np.stack([STACK[0]] * 2)
    layer = {"colormap": ["magma", "#ff0000"], "gamma": 0.5, "contrast_limits": [1, 2], "opacity": 0.3, "nonsense": 1}
    found = layers(filled(str(tmp_path / "n"), ("x.ome.zarr", image, {"axes": "cyx", "layer": layer}))["x.ome.zarr"])
    assert [a["colormap"] for _, a, _ in found] == ["magma", "#ff0000"]
    assert {(a["gamma"], a["contrast_limits"], a["opacity"]) for _, a, _ in found} == {(0.5, (1, 2), 0.3)}
    assert not any("nonsense" in a for _, a, _ in found)
    assert [shown(viewer, each).gamma for each in found] == [0.5, 0.5]


HOSTILE: list[dict[str, Any]] = [
    {"colormap": "no such one", "blending": "x", "rendering": "mip; rm", "interpolation2d": "custom"},
    {"colormap": {"colors": [[0, 0, 0]]}, "opacity": 7, "gamma": 0, "visible": "no"},
    {"contrast_limits": [5, 5], "opacity": None, "gamma": "1", "attenuation": -1},
    {"contrast_limits": [10**400, 10**401], "iso_threshold": 10**400},
    {
        "contrast_limits": [-1e308, 1e308],
        "name": "<img src=x>",
        "data": 1,
        "metadata": {},
        "scale": [0, 0],
        "affine": "x",
    },
    {"colormap": "a" * 100_000, "face_color": "a" * 100_000, "size": -1, "symbol": []},
    {"colormap": ["magma", 5], "visible": [True, "x"], "size": [1, 2]},
]


@pytest.mark.parametrize("layer", HOSTILE)
@pytest.mark.parametrize("kind", ["image", "labels"])
def test_hostile_settings_do_nothing(tmp_path: Path, viewer: Any, kind: str, layer: dict[str, Any]) -> None:
    node = filled(str(tmp_path / "n"), ("x.ome.zarr", LABELS, {"kind": kind}))
    row = item_row(
        "",
        snapshot_of(node),
        "committed",
        "x.ome.zarr",
        {**item_io.read_rows(snapshot_of(node))["x.ome.zarr"], "layer": layer},
    )
    (plain,), (found,) = layers(node["x.ome.zarr"]), layers(row)
    for each in (plain, found):
        each[1].pop("metadata")
    assert found[1] == plain[1]
    shown(viewer, found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    ["opacity", "colormap", "gamma", "contrast_limits", "size", "face_color", "visible", "symbol", "rendering"]
)


@given(JSON | st.dictionaries(NAMES, JSON), st.sampled_from(["image", "labels", "points"]), st.integers(1, 3))
def test_no_settings_raise(settings: Any, kind: str, channels: int) -> None:
    assert isinstance(saved_settings(settings, kind, channels - 1, channels), dict)


FIELDS = [
    "kind",
    "shape",
    "dtype",
    "axes",
    "scale",
    "translation",
    "unit",
    "levels",
    "shapes",
    "scales",
    "translations",
    "chunks",
    "paths",
    "stored",
    "added",
    "complete",
    "channels",
    "contrast",
    "colors",
    "active",
    "layer",
    "shards",
]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> CacheDir:
    url = str(tmp_path_factory.mktemp("tree") / "n")
    return filled(url, ("x.ome.zarr", np.stack([STACK] * 2), {"axes": "czyx", **UM, "scale": (1, 2, 2, 2)}))


@settings(deadline=None)
@given(name=st.sampled_from(FIELDS), value=JSON)
def test_a_row_that_lies_gives_layers_or_an_error_of_ours(written: CacheDir, name: str, value: Any) -> None:
    row = item_row(
        "",
        snapshot_of(written),
        "committed",
        "x.ome.zarr",
        {**item_io.read_rows(snapshot_of(written))["x.ome.zarr"], name: value},
    )
    try:
        found = layers(row)
    except CvcacheError:
        return
    except FileNotFoundError:
        return
    for layer in found:
        cost(layer)
        assert "<" not in layer[1]["name"]


def test_names_are_plain_text(tmp_path: Path) -> None:
    image = np.zeros((2, 4, 4), "uint8")
    how = {"axes": "cyx", "channels": ["<script>alert(1)</script>", "\x1b[31mred\x1b[0m"]}
    found = layers(filled(str(tmp_path / "n"), ("x.ome.zarr", image, how))["x.ome.zarr"])
    for _, attributes, _ in found:
        assert not set("<>\x1b") & set(attributes["name"])


# -- in a viewer ----------------------------------------------------------------------------------------


def test_every_unit_of_ome_zarr_is_one_of_the_viewers() -> None:
    pint = pytest.importorskip("pint")
    registry = pint.get_application_registry()
    assert [unit for unit in UNITS if str(registry.parse_expression(unit).units) != unit] == []


def test_every_known_colormap_is_one_of_the_viewers(monkeypatch: pytest.MonkeyPatch) -> None:
    colormaps = pytest.importorskip("napari.utils.colormaps")
    from cvcache.browse.layer_data import COLORMAPS

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in sorted(COLORMAPS):
        colormaps.ensure_colormap(name)


def test_layers_with_and_without_units_stand_side_by_side(tmp_path: Path, viewer: Any) -> None:
    items = [
        ("a.ome.zarr", STACK, {"axes": "zyx", **UM}),
        ("b.ome.zarr", STACK[0], {}),
        ("c.ome.zarr", STACK, {"axes": "tyx", "scale": (1, 0.5, 0.5), "unit": {"t": "s", "y": "nm"}}),
        ("d.points.csv", pd.DataFrame({"y": [1.0], "x": [2.0]}), {"unit": "mm"}),
        ("e.npy", np.ones((3, 4)), {}),
    ]
    node = filled(str(tmp_path / "n"), *items)
    for item in node.items():
        for layer in layers(item):
            shown(viewer, layer)
    assert len(viewer.layers) == 5
    assert viewer.dims.ndim == 3
    viewer.dims.set_current_step(0, 1)
    assert np.isfinite(np.asarray(viewer.layers.extent.world)).all()


def test_a_layer_of_a_bucket_crosses_to_another_process(store_case: StoreCase) -> None:
    node = filled(store_case.child("n"), ("x.ome.zarr", STACK, {}), **store_case.options)
    (layer,) = layers(node["x.ome.zarr"])
    assert np.array_equal(np.asarray(pickle.loads(pickle.dumps(layer[0]))), STACK)  # noqa: S301 - our own bytes


def test_storage_options_belong_to_a_url(tmp_path: Path) -> None:
    node = filled(str(tmp_path / "n"), ("x.ome.zarr", STACK, {}))
    with pytest.raises(UsageError, match="anon"):
        layers(node["x.ome.zarr"], anon=True)


def test_a_handle_of_elsewhere_shows_what_it_found_there(tmp_path: Path) -> None:
    filled(str(tmp_path / "there" / "n"), ("x.ome.zarr", STACK, {}))
    node = (cdir(str(tmp_path / "here"), also=[str(tmp_path / "there")]) / "n").refresh()
    (layer,) = layers(node["x.ome.zarr"])
    assert np.array_equal(np.asarray(layer[0]), STACK)


@pytest.mark.parametrize("name", ["g.toml", "g.xml", ".csv", "no suffix", "g.zarr", ".zarr"])
def test_an_image_of_another_program_may_have_any_name(tmp_path: Path, name: str) -> None:
    place = ItemWrite(LocalStore(), str(tmp_path / name))
    with pytest.raises(FileNotFoundError):
        layers(place.path)
    find_format("a.ome.zarr").write(place, STACK, progress=False)
    ((data, _, kind),) = layers(place.path)
    assert kind == "image"
    np.testing.assert_array_equal(np.asarray(data[0] if isinstance(data, list) else data), STACK)
