"""Adding what is in a tree to a viewer: its layers, once, and what will be seen is read before the window waits."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from napari.settings import get_settings

from cvcache import cdir_init
from cvcache.napari import Jobs, Settings, background_loading, set_background_loading
from cvcache.napari.layers import Adder
from cvcache.node import snapshot_of
from cvcache.testing import WrapperStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytestqt.qtbot import QtBot

SIDE = 2000


def pixels(*shape: int) -> np.ndarray:
    ramp = np.arange(np.prod(shape), dtype="u4").reshape(shape)
    return (ramp % 4001).astype("u2")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("tree")
    with cdir_init(top / "raw", {"a": 1}) as node:
        node.write("plane.ome.zarr", pixels(SIDE, SIDE), axes="yx", scale=(0.5, 0.5), unit="micrometer")
        node.write("volume.ome.zarr", pixels(9, 300, 400), axes="zyx", scale=(2, 1, 1), unit="micrometer")
        node.write("dyes.ome.zarr", pixels(3, 60, 80), axes="cyx", channels=["a", "b", "c"])
        node.write("cells.ome.zarr", pixels(60, 80).astype("u4") % 7, axes="yx", kind="labels")
        node.write("notes.json", {"n": 1})
    with cdir_init(top / "odd", {"a": 1}) as node:
        node.write("saved.ome.zarr", pixels(60, 80), axes="yx", layer={"colormap": "magma", "gamma": 0.5, "opacity": 7})
    return top


def test_what_is_added_has_scale_units_name_and_says_where_it_is_from(window: Any, tree: Path) -> None:
    rows = window.rows(str(tree))
    (layer,) = window.add(rows["raw/plane.ome.zarr"])
    assert layer.multiscale
    assert len(layer.data) > 1
    assert tuple(layer.scale) == (0.5, 0.5)
    assert str(layer.units[0]) == "micrometer"
    assert layer.visible
    assert window.adder.layers_of(rows["raw/plane.ome.zarr"]) == [layer]
    assert window.adder.layers_of(rows["raw"]) == [layer]
    assert window.adder.url_of_active_layer() == str(tree / "raw" / "plane.ome.zarr")
    assert window.failed == []


def test_channels_labels_and_all_of_a_node(window: Any, tree: Path) -> None:
    rows = window.rows(str(tree))
    assert len(window.add(rows["raw/dyes.ome.zarr"])) == 3
    assert [type(layer).__name__ for layer in window.add(rows["raw/cells.ome.zarr"])][3:] == ["Labels"]
    window.viewer.layers.clear()
    assert len(window.add(rows["raw"])) == 6, "three channels, labels, plane and volume"


def test_what_makes_no_layer_says_so(window: Any, tree: Path) -> None:
    assert window.add(window.rows(str(tree))["raw/notes.json"]) == []
    assert "no layer" in window.failed[0]


def test_a_node_is_added_with_its_arrays_and_tables_that_are_layers(window: Any, tmp_path: Path) -> None:
    with cdir_init(tmp_path / "n", {}) as node:
        node.write("flat.npy", pixels(30, 40))
        node.write("curve.npy", pixels(30))
        node.write("cells.csv", pd.DataFrame({"y": [1.0, 5.0], "x": [2.0, 6.0]}))
        node.write("sums.csv", pd.DataFrame({"sum": [1.0, 5.0]}))
        node.write("notes.json", {"n": 1})
    layers = window.add(window.rows(str(tmp_path))["n"])
    assert sorted(type(layer).__name__ for layer in layers) == ["Image", "Points"]
    assert window.failed == []


def test_a_node_without_layers_says_so(window: Any, tmp_path: Path) -> None:
    with cdir_init(tmp_path / "wide", {}) as node:
        node.write("notes.json", {"n": 1})
        node.write("sums.csv", pd.DataFrame({"sum": [1.0, 5.0]}))
    assert window.add(window.rows(str(tmp_path))["wide"]) == []
    assert window.failed == ["wide holds nothing that is shown as a layer"]


def test_the_same_row_twice_is_one_layer_which_is_selected(window: Any, tree: Path) -> None:
    rows = window.rows(str(tree))
    (first,) = window.add(rows["raw/volume.ome.zarr"])
    window.add(rows["raw/cells.ome.zarr"])
    window.add(rows["raw/volume.ome.zarr"])
    assert len(window.viewer.layers) == 2
    assert window.viewer.layers.selection.active is first


def test_toggle_adds_hides_and_shows(window: Any, tree: Path) -> None:
    row = window.rows(str(tree))["raw/volume.ome.zarr"]
    states = []
    for _ in range(3):
        window.adder.toggle([row])
        window.wait()
        states.append([layer.visible for layer in window.viewer.layers])
    assert states == [[True], [False], [True]]


def test_side_by_side_gives_each_item_a_cell_with_all_its_channels(window: Any, tree: Path) -> None:
    rows = window.rows(str(tree))
    window.add(rows["raw/volume.ome.zarr"], rows["raw/cells.ome.zarr"], side_by_side=True)
    assert window.viewer.canvas.grid.enabled
    assert window.viewer.canvas.grid.actual_shape(window.viewer.layers) == (1, 2)
    assert window.viewer.canvas.grid.position(0, window.viewer.layers) == (0, 0), "the first is at the left"
    window.viewer.layers.clear()
    with cdir_init(tree / "raw" / "two", {}) as node:
        node.write("dyes.ome.zarr", pixels(3, 60, 80), axes="cyx", channels=["a", "b", "c"])
    again = dataclasses.replace(rows["raw/dyes.ome.zarr"], node=snapshot_of(node), path="raw/two/dyes.ome.zarr")
    window.add(rows["raw/dyes.ome.zarr"], again, side_by_side=True)
    assert len(window.viewer.layers) == 6
    assert window.viewer.canvas.grid.actual_shape(window.viewer.layers) == (1, 2)


def test_the_grid_goes_with_the_layers_it_was_for_but_one_of_the_user_stays(window: Any, tree: Path) -> None:
    rows = window.rows(str(tree))
    volume, cells, plane = (rows[f"raw/{name}.ome.zarr"] for name in ("volume", "cells", "plane"))
    window.add(volume, cells, side_by_side=True)
    window.add(plane)
    assert window.viewer.canvas.grid.enabled, "two of three are still to be compared"
    window.viewer.layers.clear()
    window.add(plane)
    assert not window.viewer.canvas.grid.enabled
    window.viewer.layers.clear()
    window.viewer.canvas.grid.enabled = True
    window.add(volume, cells, side_by_side=True)
    window.viewer.layers.clear()
    window.add(plane)
    assert window.viewer.canvas.grid.enabled


def test_settings_that_napari_refuses_do_not_keep_a_layer_away(window: Any, tree: Path) -> None:
    row = window.rows(str(tree))["odd/saved.ome.zarr"]
    (layer,) = window.add(row)
    assert layer.colormap.name == "magma"
    window.viewer.layers.clear()

    made = window.adder._add_one
    refused = {"colormap": "no such colormap", "interpolation2d": 5}
    window.adder._add_one = lambda one: made(
        dataclasses.replace(
            one, layers=[(data, {**attributes, **refused}, kind) for data, attributes, kind in one.layers]
        )
    )
    (layer,) = window.add(row)
    assert layer.name == "odd/saved"
    assert any("napari refuses" in text for text in window.said)
    assert window.failed == []


def test_layers_whose_units_have_nothing_in_common_live_together(window: Any, tree: Path) -> None:
    rows = window.rows(str(tree))
    window.add(rows["raw/dyes.ome.zarr"])
    window.add(rows["raw/plane.ome.zarr"])
    window.add(rows["raw/volume.ome.zarr"])
    assert len(window.viewer.layers) == 5
    assert window.failed == []


def test_much_is_read_only_after_a_yes(window: Any, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cvcache.napari.layers import adder as module

    row = window.rows(str(tree))["raw/plane.ome.zarr"]
    monkeypatch.setattr(module, "plugin_settings", lambda: dataclasses.replace(Settings(), ask_above=0))
    asked: list[str] = []
    window.adder.question = lambda text: bool(asked.append(text))
    assert window.add(row) == []
    window.adder.question = lambda text: not asked.append(text)
    window.adder.add([row])
    window.qtbot.waitUntil(lambda: len(window.viewer.layers) == 1, timeout=20_000)
    assert len(asked) == 2
    assert "plane.ome.zarr" in asked[0]
    assert "iB" in asked[0]


def test_no_store_is_asked_by_the_thread_of_the_window(window: Any, tree: Path, store_calls: Any) -> None:
    rows = window.rows(str(tree))
    store_calls.gui.clear()
    for name in ("plane", "volume", "cells", "dyes"):
        window.add(rows[f"raw/{name}.ome.zarr"])
    assert store_calls.gui == []
    assert store_calls.workers


class _Slow(WrapperStore):
    """A bucket that takes its time, and notes what it was asked for."""

    seconds = 0.03
    scheme = "s3"

    def __init__(self, store: Any, read: list[str]) -> None:
        super().__init__(store)
        self.read = read
        self.scheme = "s3"  # in memory, but asked as often as a bucket is

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:
        self.read.append(f"{verb} {path}")
        time.sleep(self.seconds)
        return super().call(verb, path, act, data)


def test_adding_from_a_slow_bucket_does_not_hold_the_window_up(window: Any, tree: Path) -> None:
    read: list[str] = []
    with instrument(lambda store: _Slow(store, read)):
        row = window.rows(str(tree))["raw/plane.ome.zarr"]
        read.clear()
        window.adder.add([row])
        took = []
        insert = window.adder._insert

        def timed(made: Any) -> None:
            begun = time.perf_counter()
            calls = len(read)
            insert(made)
            took.append((time.perf_counter() - begun, len(read) - calls))

        window.adder._insert = timed
        window.wait()
    seconds, calls = took[0]
    assert calls == 0, read
    assert seconds < 0.5, "on a busy machine; alone it is a few hundredths"
    chunks = [call for call in read if call.startswith("get")]
    assert len(chunks) == len(set(chunks)), "no chunk is read twice"


def test_one_row_that_cannot_be_read_does_not_keep_others_away(window: Any, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        with cdir_init(tmp_path / name, {}) as node:
            node.write("x.ome.zarr", pixels(60, 80), axes="yx")
    rows = window.rows(str(tmp_path))
    for chunk in (tmp_path / "bad" / "x.ome.zarr").rglob("c/**/*"):
        if chunk.is_file():
            chunk.unlink()
    (layer,) = window.add(rows["good/x.ome.zarr"], rows["bad/x.ome.zarr"])
    assert layer.name == "good/x"
    assert "missing" in window.failed[0]


def test_a_name_of_a_stranger_is_plain_text(window: Any, tmp_path: Path) -> None:
    with cdir_init(tmp_path / "n", {}) as node:
        node.write("<b>x</b>\x1b[31m.json".replace("\x1b", "").replace("/", ""), {})
    row = next(row for row in window.rows(str(tmp_path)).values() if row.is_item)
    window.add(dataclasses.replace(row, name=f"a\x1b[31m\n{row.name}"))
    assert window.failed
    assert "\x1b" not in window.failed[0]
    assert "\n" not in window.failed[0]


@pytest.mark.usefixtures("window")
def test_background_loading_is_naparis_own_setting() -> None:
    set_background_loading(True)
    assert background_loading()
    assert get_settings().experimental.async_
    set_background_loading(False)
    assert not background_loading()


def test_without_a_viewer_nothing_is_added_and_it_says_so(qtbot: QtBot, tree: Path) -> None:  # noqa: ARG001 - Qt runs
    jobs = Jobs()
    adder = Adder(None, jobs)
    failed: list[str] = []
    adder.failed.connect(failed.append)
    adder.add([])
    assert "no viewer" in failed[0]
    assert adder.url_of_active_layer() == ""
    jobs.close()


def test_what_the_viewer_shows_later_is_read_then(window: Any, tree: Path) -> None:
    (layer,) = window.add(window.rows(str(tree))["raw/volume.ome.zarr"])
    expected = pixels(9, 300, 400)
    for z in (4, 0, 8):
        window.viewer.dims.set_current_step(0, z)
        coarse = np.asarray(layer._data_view)
        assert coarse.shape[0] <= 300
    assert np.array_equal(np.asarray(layer.data[0][3]), expected[3])
    assert np.array_equal(np.asarray(layer.data[0][4, 10:20, 5:9]), expected[4, 10:20, 5:9])
