"""Layers stay true: what is being written comes in, a newer result takes the place of the old, no two results mix."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from child import child
from napari.settings import get_settings

import cvcache
from cvcache import NodeReplaced, cdir, cdir_init, cdir_remove
from cvcache.napari import Settings
from cvcache.napari.layers import PrefetchedArray
from cvcache.napari.layers import prefetch as ahead_module
from cvcache.napari.layers import watcher as module
from cvcache.testing import WrapperStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHAPE = (4, 256, 256)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "plugin_settings", lambda: dataclasses.replace(Settings(), autorefresh=0.001))


@dataclasses.dataclass
class Step:
    """A step in a thread of its own, which waits in the middle of its image."""

    folder: Path
    gate: threading.Event
    thread: threading.Thread
    failure: threading.Event

    def write(self, *planes: int) -> None:
        """Write some planes, as one of its processes does."""
        for plane in planes:
            chunk = f"x.ome.zarr/0/c/{plane}/0/0"
            (self.folder / "run" / chunk).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.folder / "twin" / chunk, self.folder / "run" / chunk)

    def finish(self) -> None:
        self.gate.set()
        self.thread.join(30)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Step]:
    """Give a node that is being written, and of which nothing is there so far."""
    gate, begun, failure = threading.Event(), threading.Event(), threading.Event()

    def block(pixels: np.ndarray, block_info: Any = None) -> np.ndarray:
        begun.set()
        assert gate.wait(60)
        if failure.is_set():
            raise ValueError("a bad plane")
        return np.full_like(pixels, 100 + (block_info[0]["chunk-location"][0] if block_info else 0))

    def body() -> None:
        with contextlib.suppress(ValueError), cdir_init(tmp_path / "run", {}) as node:
            array = da.zeros(SHAPE, chunks=(1, 256, 256), dtype="u2").map_blocks(block, meta=np.empty((0, 0, 0), "u2"))
            node.write("x.ome.zarr", array, axes="zyx", chunks=(1, 256, 256), levels=1)

    with cdir_init(tmp_path / "twin", {}) as node:
        values = np.broadcast_to(np.arange(100, 104, dtype="u2")[:, None, None], SHAPE)
        node.write("x.ome.zarr", values, axes="zyx", chunks=(1, 256, 256), levels=1)
    thread = threading.Thread(target=body)
    thread.start()
    assert begun.wait(30)
    while not list((tmp_path / "run").glob("x.ome.zarr")):
        time.sleep(0.01)
    step = Step(tmp_path, gate, thread, failure)
    yield step
    step.finish()


def look(window: Any) -> None:
    """Do what the watcher's timer does, and wait for what comes of it."""
    window.adder.watcher.check_layers()
    window.wait()


def plane(layer: Any, z: int) -> np.ndarray:
    level = layer.data[0] if layer.multiscale else layer.data
    return np.asarray(level[z])


def added(window: Any, tmp_path: Path, name: str = "run") -> Any:
    rows = window.rows(str(tmp_path))
    row = next(row for path, row in rows.items() if path.startswith(f"{name}/"))
    return window.add(row)[-1]


def test_what_is_being_written_is_marked_and_comes_in(window: Any, running: Step, tmp_path: Path) -> None:
    layer = added(window, tmp_path)
    assert layer.name.endswith("(uncommitted)")
    window.viewer.dims.set_current_step(0, 3)
    layer.contrast_limits = (10, 90)
    assert plane(layer, 3).max() == 0
    running.write(0, 1)
    look(window)
    assert plane(layer, 1).max() == 101
    assert plane(layer, 3).max() == 0
    running.finish()
    window.until(lambda: (look(window), "uncommitted" not in layer.name)[1])
    assert [int(plane(layer, z).max()) for z in range(4)] == [100, 101, 102, 103]
    assert window.viewer.dims.current_step[0] == 3
    assert tuple(layer.contrast_limits) == (10, 90)
    assert layer.visible
    assert window.viewer.layers[:] == [layer]
    assert any("is committed" in text for text in window.said)
    assert layer.metadata["cvcache"]["state"] == "committed"
    row = window.rows(str(tmp_path))["run/x.ome.zarr"]
    window.add(row)
    assert window.viewer.layers[:] == [layer], "it shows the result already"


def test_pixels_asked_for_after_the_commit_are_those_of_the_result(
    window: Any, running: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "plugin_settings", lambda: dataclasses.replace(Settings(), autorefresh=0)
    )  # nobody looks
    layer = added(window, tmp_path)
    old = layer.data
    running.finish()
    with pytest.raises(NodeReplaced):
        np.asarray(old[3])
    window.viewer.dims.set_current_step(0, 3)  # napari asks for a plane that is not at hand
    window.until(lambda: "uncommitted" not in layer.name)
    np.testing.assert_array_equal(layer._data_view, 103)
    with pytest.raises(NodeReplaced):
        np.asarray(old[2])  # as one that is still drawn in the background does
    window.wait()
    look(window)
    assert layer.visible
    assert any("is committed" in text for text in window.said)
    assert not any("hidden" in text for text in window.said)


KILLED = """
import sys
import numpy as np
from cvcache import cdir_init
with cdir_init(sys.argv[1], 1) as node:
    node.write("x.ome.zarr", np.full((4, 256, 256), 1, "u2"), axes="zyx", chunks=(1, 256, 256), levels=1)
    print("written", flush=True)
    sys.stdin.read()
"""


def test_an_attempt_that_was_killed_is_not_mixed_with_the_next(
    window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "plugin_settings", lambda: dataclasses.replace(Settings(), autorefresh=0))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "n")]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        layer = added(window, tmp_path, "n")
        old = layer.data
        assert np.unique(old[1]) == [1]
        process.kill()
    made(tmp_path, 2)
    with pytest.raises(NodeReplaced):
        np.asarray(old[2])
    window.viewer.dims.set_current_step(0, 3)
    window.until(lambda: "uncommitted" not in layer.name)
    assert layer.visible
    assert np.unique(layer.data[0]) == [2]


@pytest.mark.parametrize("asked", [False, True])
def test_labels_of_a_table_are_hidden_once_their_own_node_is_replaced(
    window: Any, tmp_path: Path, *, asked: bool
) -> None:
    def segment(value: int) -> None:
        with cdir_init(tmp_path / "seg", value) as node:
            labels = np.full(SHAPE, value, "i4")
            node.write("l.ome.zarr", labels, kind="labels", axes="zyx", chunks=(1, 256, 256), levels=1)

    segment(1)
    with cdir_init(tmp_path / "cells", {"labels": cvcache.cdir_query(cdir(tmp_path / "seg"))["l.ome.zarr"]}) as node:
        node.write("t.csv", pd.DataFrame({"label": [1], "z": [0.0], "y": [5.0], "x": [6.0]}))
    row = window.rows(str(tmp_path))["cells/t.csv"]
    labels, points = window.add(row)
    labels.visible = True
    if asked:
        look(window)
        assert labels.visible
    segment(2)
    if asked:
        window.viewer.dims.set_current_step(0, 3)
        window.until(lambda: not labels.visible)
    look(window)
    assert not labels.visible
    assert not points.visible, "its table was made from what is gone"
    assert "seg was replaced" in window.said[-1]
    assert not window.adder.watcher.is_current(labels, row.node)


def test_an_attempt_that_fails_says_so_in_the_name(window: Any, running: Step, tmp_path: Path) -> None:
    layer = added(window, tmp_path)
    running.failure.set()
    running.finish()
    window.until(lambda: (look(window), "(failed)" in layer.name)[1])
    assert "uncommitted" not in layer.name
    assert any("failed" in text for text in window.said)


def test_a_name_and_a_contrast_of_the_user_stay(window: Any, running: Step, tmp_path: Path) -> None:
    layer = added(window, tmp_path)
    layer.name = "mine (uncommitted)"
    running.finish()
    window.until(lambda: (look(window), "uncommitted" not in layer.name)[1])
    assert layer.name == "mine"
    assert layer.contrast_limits[1] >= 103


def made(tmp_path: Path, value: int, **options: Any) -> None:
    with cdir_init(tmp_path / "n", {"value": value}, **options) as node:
        node.write("x.ome.zarr", np.full(SHAPE, value, "u2"), axes="zyx", chunks=(1, 256, 256), levels=1)


def shown(layer: Any) -> list[int]:
    """Give the values of the plane that is drawn."""
    return [int(value) for value in np.unique(layer._data_view)]


@pytest.mark.parametrize("background", [False, True])
def test_a_layer_stays_while_its_node_runs_again_and_becomes_the_new_result(
    window: Any, tmp_path: Path, *, background: bool
) -> None:
    made(tmp_path, 1)
    get_settings().experimental.async_ = background
    row = window.rows(str(tmp_path))["n/x.ome.zarr"]
    (layer,) = window.add(row)
    layer.colormap, layer.opacity, layer.contrast_limits = "magma", 0.5, (0, 7)
    moved: list[str] = []
    window.adder.node_changed.connect(moved.append)
    with cdir_init(tmp_path / "n", {"value": 2}) as node:
        look(window)
        window.viewer.dims.set_current_step(0, 2)
        node.write("x.ome.zarr", np.full(SHAPE, 2, "u2"), axes="zyx", chunks=(1, 256, 256), levels=1)
        look(window)
        assert (layer.visible, moved) == (True, [])
        assert np.unique(plane(layer, 2)) == [1]
    window.viewer.dims.set_current_step(0, 3)  # napari asks for a plane that is not at hand
    window.until(lambda: moved)
    window.wait()
    assert background or shown(layer) == [2]
    assert np.unique(plane(layer, 3)) == [2]
    assert (layer.visible, layer.name) == (True, "n/x")
    assert (layer.colormap.name, layer.opacity, tuple(layer.contrast_limits)) == ("magma", 0.5, (0, 7))
    assert moved == ["n"], "the tree is told to look again"
    assert any("is committed" in text for text in window.said)
    assert np.unique(plane(layer, 0)) == [2], "of no plane that was read before anything is left"
    assert window.add(row) == [layer], "it shows the newest result, though the tree has seen the one before"


def test_a_layer_stays_after_its_node_has_failed(window: Any, tmp_path: Path) -> None:
    made(tmp_path, 1)
    layer = added(window, tmp_path, "n")
    with contextlib.suppress(ZeroDivisionError), cdir_init(tmp_path / "n", {"value": 2}):
        _ = 1 / 0
    window.viewer.dims.set_current_step(0, 3)
    look(window)
    window.until(lambda: shown(layer) == [1])
    assert (layer.visible, layer.name) == (True, "n/x")
    assert not any("hidden" in text or "failed" in text for text in window.said)
    row = window.rows(str(tmp_path))["n/x.ome.zarr"]
    assert window.add(row) == [layer]


def test_a_layer_of_a_node_that_runs_again_can_be_added(window: Any, tmp_path: Path) -> None:
    made(tmp_path, 1)
    with cdir_init(tmp_path / "n", {"value": 2}) as node:
        layer = added(window, tmp_path, "n")
        assert (layer.name, layer.metadata["cvcache"]["state"]) == ("n/x", "committed")
        node.write("x.ome.zarr", np.full(SHAPE, 2, "u2"), axes="zyx", chunks=(1, 256, 256), levels=1)
    look(window)
    assert np.unique(plane(layer, 3)) == [2]


@pytest.mark.parametrize(
    ("name", "shape", "why"),
    [("x.ome.zarr", (256, 256), "has another shape"), ("y.ome.zarr", SHAPE, "is committed without x.ome.zarr")],
)
def test_a_new_result_that_fits_no_layer_hides_it(
    window: Any, tmp_path: Path, name: str, shape: tuple[int, ...], why: str
) -> None:
    made(tmp_path, 1)
    row = window.rows(str(tmp_path))["n/x.ome.zarr"]
    (layer,) = window.add(row)
    with cdir_init(tmp_path / "n", {"value": 2}) as node:
        node.write(name, np.full(shape, 2, "u2"), axes="zyx"[-len(shape) :], levels=1)
    look(window)
    assert not layer.visible
    assert layer.name.endswith(" (replaced)")
    assert why in window.said[-1]
    assert "add it again" in window.said[-1]
    layer.visible = True  # by the eye in napari's list
    window.viewer.dims.set_current_step(0, 3)
    window.until(lambda: not layer.visible)


def test_a_node_that_was_removed_and_runs_anew_hides_its_layer(window: Any, tmp_path: Path) -> None:
    made(tmp_path, 1)
    layer = added(window, tmp_path, "n")
    cdir_remove(tmp_path / "n")
    cdir_init(tmp_path / "n", {"value": 2})
    look(window)
    assert not layer.visible
    assert "computed anew" in window.said[-1]


def test_a_removed_node_is_hidden_too(window: Any, tmp_path: Path) -> None:
    made(tmp_path, 1)
    layer = added(window, tmp_path, "n")
    cdir_remove(tmp_path / "n")
    look(window)
    assert not layer.visible
    assert "removed" in window.said[-1]


def test_nothing_is_asked_while_nothing_is_drawn(
    window: Any, tmp_path: Path, store_calls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "plugin_settings", lambda: dataclasses.replace(Settings(), autorefresh=3600.0))
    made(tmp_path, 1)
    store_calls.gui.clear()
    added(window, tmp_path, "n")
    store_calls.gui.clear()  # this test reads the rows here
    look(window)
    look(window)
    store_calls.workers.clear()
    for _ in range(3):
        look(window)
    assert store_calls.workers == []
    window.viewer.dims.set_current_step(0, 3)
    store_calls.workers.clear()
    look(window)
    assert [verb for verb, _ in store_calls.workers] == ["stat", "stat"]
    assert store_calls.gui == []


def test_a_layer_that_stands_still_is_looked_at_every_so_often(window: Any, tmp_path: Path) -> None:
    made(tmp_path, 1)
    layer = added(window, tmp_path, "n")
    look(window)
    look(window)
    assert layer.visible
    made(tmp_path, 2)  # no plane is asked for any more
    look(window)
    assert layer.visible
    assert shown(layer) == [2]


def test_a_tree_that_was_deleted_under_a_layer_is_noticed(window: Any, tmp_path: Path) -> None:
    made(tmp_path, 1)
    layer = added(window, tmp_path, "n")
    look(window)
    assert layer.visible
    shutil.rmtree(tmp_path / "n")
    look(window)
    assert not layer.visible
    assert "removed" in window.said[-1]


def test_adding_again_looks_whether_the_layer_still_shows_the_newest(window: Any, tmp_path: Path) -> None:
    made(tmp_path, 1)
    row = window.rows(str(tmp_path))["n/x.ome.zarr"]
    (layer,) = window.add(row)
    assert window.add(row) == [layer]
    made(tmp_path, 2)  # nobody has looked since, and no plane is asked for
    (new,) = window.add(row)
    assert new is not layer
    assert np.unique(plane(new, 3)) == [2]


def test_a_chunk_that_cannot_be_read_hides_the_layer_and_the_window_lives(window: Any, tmp_path: Path) -> None:
    made(tmp_path, 1)
    layer = added(window, tmp_path, "n")
    for chunk in (tmp_path / "n" / "x.ome.zarr").rglob("c/**/*"):
        if chunk.is_file():
            chunk.unlink()
    window.viewer.dims.set_current_step(0, 3)
    window.until(lambda: not layer.visible)
    assert layer.name.endswith("(cannot be read)")
    assert "missing" in window.said[-1]


class _Hanging(WrapperStore):
    """A bucket that gives no answer for a while."""

    def __init__(self, store: Any, open_: threading.Event) -> None:
        super().__init__(store)
        self._open = open_

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:
        assert self._open.wait(60)
        return super().call(verb, path, act, data)


def test_a_store_that_hangs_holds_the_window_up_only_for_a_while(
    window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead_module, "MAX_WAIT_SECONDS", 0.3)
    made(tmp_path, 1)
    answers = threading.Event()
    answers.set()
    with instrument(lambda store: _Hanging(store, answers)):
        layer = added(window, tmp_path, "n")
        window.adder.watcher._timer.stop()
        answers.clear()
        begun = time.monotonic()
        try:
            window.viewer.dims.set_current_step(0, 3)  # napari asks for a plane that is not at hand
            took = time.monotonic() - begun
            window.until(lambda: not layer.visible)
        finally:
            answers.set()
    assert took < 20
    assert "Load planes in the background" in window.said[-1]


def test_only_napari_gets_zeros_for_what_cannot_be_read(tmp_path: Path) -> None:
    made(tmp_path, 1)
    array = cdir(tmp_path / "n").read("x.ome.zarr")
    told: list[Exception] = []

    def refuse(_: np.ndarray) -> np.ndarray:
        raise NodeReplaced("another one")

    lazy = da.from_array(np.asarray(array), chunks=(1, 256, 256)).map_blocks(refuse, meta=np.empty((0, 0, 0), "u2"))
    ahead = PrefetchedArray.of(lazy, (), told.append)
    with pytest.raises(NodeReplaced):
        np.asarray(ahead[0])
    assert len(told) == 1


def test_layers_that_were_thrown_away_are_forgotten(window: Any, running: Step, tmp_path: Path) -> None:
    added(window, tmp_path)
    window.viewer.layers.clear()
    look(window)
    assert window.adder.watcher._watched == {}
    running.finish()
