"""The whole thing in a real napari: open, look, add, follow, and live through what goes wrong."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import zarr
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPlainTextEdit
from servers.fault_proxy import Fault, FaultProxy

from cvcache import Policy, cdir, cdir_init
from cvcache.napari import show_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytestqt.qtbot import QtBot
    from servers.object_stores import S3Server
    from servers.store_cases import BucketCase

pytestmark = [pytest.mark.usefixtures("display"), pytest.mark.timeout(300)]

SIDE = 2048


@dataclasses.dataclass
class Napari:
    """A napari with the dock, and what one does with them."""

    viewer: Any
    dock: Any
    qtbot: QtBot

    def until(self, wanted: Callable[[], Any], seconds: float = 60) -> None:
        self.qtbot.waitUntil(lambda: bool(wanted()), timeout=int(seconds * 1000))

    def rest(self) -> None:
        """Wait until nothing is under way, and all is painted."""
        self.qtbot.wait(50)
        self.until(lambda: self.dock.jobs.idle)
        self.qtbot.wait(100)

    def open(self, url: str, options: dict[str, Any] | None = None) -> None:
        with self.qtbot.waitSignal(self.dock.opened, timeout=60_000):
            self.dock.open(url, options)
        self.rest()

    def expand(self, *paths: str) -> None:
        for path in paths:
            self.until(lambda path=path: self.dock.model.row_at(path) is not None)
            self.dock.view.expand_path(path)
            self.rest()

    def select(self, path: str) -> None:
        self.until(lambda: self.dock.model.row_at(path) is not None)
        assert self.dock.view.select(path)
        self.qtbot.wait(50)

    def double_click(self, path: str, *, wait: bool = True) -> None:
        """Click twice on a row, and wait for its layers."""
        self.select(path)
        view = self.dock.view
        view.scrollTo(view.currentIndex())
        place = view.visualRect(view.currentIndex()).center()
        for click in (self.qtbot.mouseClick, self.qtbot.mouseDClick):
            click(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
        if wait:
            self.rest()

    def log(self) -> str:
        """Open the log of what is selected, and return what it says by now."""
        tabs = self.dock.panel.tabs
        tabs.setCurrentIndex(next(i for i in range(tabs.count()) if tabs.tabText(i) == "Log"))
        return "\n".join(edit.toPlainText() for edit in tabs.currentWidget().findChildren(QPlainTextEdit))


@pytest.fixture
def window(make_napari_viewer: Callable[..., Any], qtbot: QtBot) -> Iterator[Napari]:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1300, 850)
    dock, widget = viewer.window.add_plugin_dock_widget("cvcache", "Cache tree")
    dock.show()
    widget.settings = dataclasses.replace(widget.settings, autorefresh=0.3)
    widget.loader.poll_every(0.3)
    yield Napari(viewer, widget, qtbot)
    widget.close_down()


def ramp(*shape: int) -> np.ndarray:
    return (np.arange(np.prod(shape), dtype="u4").reshape(shape) % 4001).astype("u2")


def three_levels(top: Any) -> None:
    """Write a tree of three levels with an image, labels and points in the lowest."""
    with cdir_init(top / "mouse1" / "brain" / "cells", {"sigma": 1}) as node:
        node.write("volume.ome.zarr", ramp(5, 200, 300), axes="zyx", scale=(2, 0.5, 0.5), unit="micrometer")
        node.write("cells.ome.zarr", ramp(5, 200, 300).astype("u4") % 9, axes="zyx", kind="labels", scale=(2, 0.5, 0.5))
        table = pd.DataFrame({"z": [2.0, 4.0], "y": [10.0, 90.0], "x": [20.0, 140.0], "volume": [1, 2]})
        node.write("cells.points.csv", table)
        node.write("notes.json", {"n": 1})


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_tree_of_three_levels_is_opened_and_its_items_are_added(
    window: Napari, kind: str, request: pytest.FixtureRequest, store_calls: Any
) -> None:
    case = request.getfixturevalue(f"{kind}_case")
    three_levels(cdir(case.url, **case.options))
    store_calls.gui.clear()
    window.open(case.url, case.options)
    cells = "mouse1/brain/cells"
    window.expand("mouse1", "mouse1/brain", cells)
    for name in ("volume.ome.zarr", "cells.ome.zarr", "cells.points.csv"):
        window.double_click(f"{cells}/{name}")
    volume, labels, points = window.viewer.layers
    assert [type(layer).__name__ for layer in window.viewer.layers] == ["Image", "Labels", "Points"]
    assert tuple(volume.scale) == tuple(labels.scale) == (2, 0.5, 0.5)
    assert volume.axis_labels == ("z", "y", "x")
    assert [str(unit) for unit in volume.units] == ["micrometer"] * 3
    row = window.dock.tree.row(f"{cells}/volume.ome.zarr")
    assert list(volume.contrast_limits) == row.meta["contrast"][0]
    assert np.array_equal(points.data, [[2, 10, 20], [4, 90, 140]])
    assert list(points.features["volume"]) == [1, 2]
    assert volume.metadata["cvcache"]["node"].endswith(cells)
    assert store_calls.gui == [], "the thread of the window asked the store"
    assert store_calls.workers
    painted = window.viewer.screenshot(canvas_only=True, flash=False)[..., :3]
    assert painted.std() > 5, "something is painted"
    window.viewer.layers.selection.active = volume
    window.dock.reveal(window.dock.adder.url_of_active_layer())
    window.rest()
    assert [one.path for one in window.dock.selected_rows()] == [f"{cells}/volume.ome.zarr"]
    with window.qtbot.waitSignal(window.dock.jobs.finished, timeout=20_000):
        window.viewer.dims.set_current_step(0, 4)
        window.dock.adder.watcher.check_layers()


STEP = """
import logging, sys, time
import dask.array as da
import numpy as np
from cvcache import cdir_init
logging.basicConfig(level="INFO")

def slow(pixels):
    time.sleep(float(sys.argv[2]))
    return pixels + 7

with cdir_init(sys.argv[1], {"by": "another process"}) as node, node.log():
    print("begun", flush=True)
    array = da.zeros((4, 64, 64), chunks=(1, 64, 64), dtype="u2").map_blocks(slow, dtype="u2")
    node.write("x.ome.zarr", array, axes="zyx", chunks=(1, 64, 64), levels=1)
    print("ended", flush=True)
"""


def test_a_step_of_another_process_appears_is_followed_and_is_committed(window: Napari, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    window.open(str(tmp_path / "tree"))
    assert window.dock.tree.row("").state == "absent"
    step = subprocess.Popen([sys.executable, "-c", STEP, str(tmp_path / "tree" / "step"), "3"])
    try:
        window.until(lambda: (row := window.dock.tree.row("step")) is not None and row.state == "running")
        window.select("step")
        window.until(lambda: "begun" in window.log())
        assert "ended" not in window.log()
        window.expand("step")
        window.until(lambda: (row := window.dock.tree.row("step/x.ome.zarr")) is not None and row.kind == "image")
        window.double_click("step/x.ome.zarr")
        (layer,) = window.viewer.layers
        assert layer.name.endswith("(uncommitted)")
        window.dock.adder.watcher._timer.stop()
        window.until(lambda: (window.dock.adder.watcher.check_layers(), "uncommitted" not in layer.name)[1])
        assert step.wait(60) == 0
    finally:
        step.kill()
        step.wait()
    assert layer.name == "step/x"
    assert np.unique(np.asarray(layer.data if not layer.multiscale else layer.data[0])).tolist() == [7]
    window.until(lambda: window.dock.tree.row("step").state == "committed")
    window.select("step")
    window.until(lambda: "ended" in window.log())


def test_a_node_that_runs_again_while_its_layer_is_open_is_seen_to_run_and_the_layer_becomes_the_new_result(
    window: Napari, tmp_path: Path
) -> None:
    def state() -> str:
        return str(window.dock.model.row_at("step").state)

    def fill(node: Any, value: int) -> None:
        node.write("x.ome.zarr", np.full((9, 64, 64), value, "u2"), axes="zyx", chunks=(1, 64, 64), levels=1)

    with cdir_init(tmp_path / "tree" / "step", {"value": 1}) as node:
        fill(node, 1)
    window.open(str(tmp_path / "tree"))
    window.expand("step")
    window.double_click("step/x.ome.zarr")
    (layer,) = window.viewer.layers
    assert state() == "committed"
    with cdir_init(tmp_path / "tree" / "step", {"value": 2}) as node:
        window.dock.loader.poll()
        window.until(lambda: state() == "running")
        window.viewer.dims.set_current_step(0, 4)
        window.until(lambda: np.unique(layer._data_view).tolist() == [1])
        assert layer.visible
        fill(node, 2)
    window.viewer.dims.set_current_step(0, 8)
    window.until(lambda: np.unique(layer._data_view).tolist() == [2])
    window.until(lambda: state() == "committed")
    assert (layer.visible, layer.name) == (True, "step/x")
    window.double_click("step/x.ome.zarr")
    assert window.viewer.layers[:] == [layer], "it shows the newest result"


def test_a_bucket_that_fails_is_an_error_in_a_window_that_lives(
    window: Napari, s3_server: S3Server, s3_case: BucketCase
) -> None:
    three_levels(cdir(s3_case.url, **s3_case.options))
    down: list[bool] = []
    with FaultProxy(s3_server.port, lambda _: Fault.UNAVAILABLE if down else None) as proxy:
        impatient = {"config_kwargs": {"retries": {"max_attempts": 1}}, "policy": Policy(retries=0)}
        options = {**s3_server.options_for(proxy.endpoint), **impatient}
        window.open(s3_case.url, options)
        window.expand("mouse1", "mouse1/brain", "mouse1/brain/cells")
        down.append(True)
        failed: list[str] = []
        window.dock.adder.failed.connect(failed.append)
        window.double_click("mouse1/brain/cells/volume.ome.zarr", wait=False)
        window.until(lambda: failed, 120)
        assert len(window.viewer.layers) == 0
        assert "\n" not in failed[0]
        with window.qtbot.waitSignal(window.dock.failed, timeout=120_000):
            window.dock.open(f"{s3_case.url}/other", options)
        assert window.dock.tree.url == s3_case.url, "the tree that was open stays"
        down.clear()
        window.double_click("mouse1/brain/cells/volume.ome.zarr", wait=False)
        window.until(lambda: len(window.viewer.layers) == 1, 120)


def test_a_remote_image_is_painted_with_hardly_more_requests_than_zarr_needs(
    window: Napari, s3_server: S3Server, s3_case: BucketCase
) -> None:
    top = cdir(s3_case.url, **s3_case.options)
    with cdir_init(top / "step", {}) as node:
        node.write("x.ome.zarr", ramp(SIDE, SIDE), axes="yx", chunks=(128, 128), levels=5)
    with FaultProxy(s3_server.port, lambda _: None) as proxy:
        options = s3_server.options_for(proxy.endpoint)
        window.open(s3_case.url, options)
        window.expand("step")
        window.rest()
        window.dock.loader.poll_every(0)
        window.rest()
        before = len(proxy.log)
        window.double_click("step/x.ome.zarr")
        (layer,) = window.viewer.layers
        assert len(layer.data) == 5
        window.viewer.screenshot(canvas_only=True, flash=False)
        window.rest()
        ours = proxy.log[before:]
        level, (begin, end) = layer.data_level, layer.corner_pixels
        assert level < 4
        before = len(proxy.log)
        url = f"{s3_case.url}/step/x.ome.zarr"
        group = zarr.open_group(url, mode="r", storage_options=options, use_consolidated=False)
        levels = [group[str(number)] for number in range(5)]
        seen = levels[level][begin[0] : end[0] + 1, begin[1] : end[1] + 1]
        theirs = proxy.log[before:]
    assert np.array_equal(seen, layer._data_view)
    chunks = (-(-seen.shape[0] // 128)) * (-(-seen.shape[1] // 128))
    least = min(len(theirs), 6 + chunks)  # a document of the group, one of each level, each chunk once
    assert len(ours) <= 1.2 * least, [request.target for request, _ in ours]


COMMAND = """
import sys
import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

def run(**_):
    found, tries = [], []
    def look():
        tries.append(1)
        viewer = napari.current_viewer()
        docks = [one for name, one in viewer.window.dock_widgets.items() if "Cache tree" in name]
        ready = bool(viewer.layers) or (docks and docks[0].tree is not None and docks[0].jobs.idle)
        if ready or len(tries) > 300:
            tree = docks[0].tree.url if docks and docks[0].tree is not None else None
            print("LAYERS", [layer.name for layer in viewer.layers], "TREE", tree, flush=True)
            timer.stop()
            viewer.close()
            QApplication.instance().quit()
    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(100)
    QApplication.instance().exec()

napari.run = run
import napari._qt.qt_event_loop
napari._qt.qt_event_loop.run = run
"""
NAPARI = f"{COMMAND}\nfrom napari._main import main\nsys.argv[0] = 'napari'\nmain()"
OURS = f"{COMMAND}\nfrom cvcache.cli.main import main\nsys.argv[0] = 'cvcache'\nmain()"


def command(program: str, *words: str, **env: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **env},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("LAYERS")]
    assert lines, done.stdout + done.stderr
    return lines[0]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    with cdir_init(tmp_path / "cache" / "node", {}) as node:
        node.write("x.ome.zarr", ramp(40, 60), axes="yx")
    return tmp_path


def test_the_command_napari_opens_a_tree(small: Path) -> None:
    shown = command(NAPARI, "--plugin", "cvcache", str(small / "cache"))
    assert shown == f"LAYERS [] TREE {small / 'cache'}"


def test_the_command_napari_opens_a_layer(small: Path) -> None:
    assert command(NAPARI, str(small / "cache" / "node" / "x.ome.zarr"), "--plugin", "cvcache") == (
        "LAYERS ['node/x'] TREE None"
    )


def test_the_command_napari_opens_a_tree_in_a_bucket(s3_case: BucketCase) -> None:
    three_levels(cdir(s3_case.url, **s3_case.options))
    options = s3_case.options
    env = {
        "AWS_ENDPOINT_URL": options["endpoint_url"],
        "AWS_ACCESS_KEY_ID": options["key"],
        "AWS_SECRET_ACCESS_KEY": options["secret"],
    }
    assert command(NAPARI, "--plugin", "cvcache", s3_case.url, **env) == f"LAYERS [] TREE {s3_case.url}"


def test_the_command_view_opens_a_tree_with_options_and_a_layer(small: Path, s3_case: BucketCase) -> None:
    from command_line import options_of

    three_levels(cdir(s3_case.url, **s3_case.options))
    shown = command(OURS, "view", s3_case.url, *options_of(s3_case.options))
    assert shown == f"LAYERS [] TREE {s3_case.url}"
    assert command(OURS, "view", str(small / "cache" / "node" / "x.ome.zarr")) == "LAYERS ['node/x'] TREE None"


def test_a_second_tree_opens_in_the_dock_that_is_there(window: Napari, small: Path) -> None:
    window.viewer.open(str(small / "cache"), plugin="cvcache")
    window.until(lambda: window.dock.tree is not None)
    assert show_tree(str(small / "cache" / "node")) is window.dock
    window.until(lambda: window.dock.tree.url == str(small / "cache" / "node"))
    window.rest()
    window.viewer.open(str(small / "cache" / "node" / "x.ome.zarr"), plugin="cvcache")
    assert [layer.name for layer in window.viewer.layers] == ["node/x"]
    window.rest()


ENDS = """
import sys
import napari
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from cvcache.napari.dock.dock import CacheTree

viewer = napari.Viewer(show=True)
if sys.argv[2] == "docked":
    _, dock = viewer.window.add_plugin_dock_widget("cvcache", "Cache tree")
else:
    dock = CacheTree(viewer)  # a window of its own
    dock.show()
dock.open(sys.argv[1])
while dock.tree is None or not dock.jobs.idle:
    QApplication.processEvents()
for row in dock.tree.expand("").rows:
    dock.add([row])
if sys.argv[2] == "exit":
    sys.exit(0)
QTimer.singleShot(0, viewer.window._qt_window.close)
napari.run()
print("closed", dock._closed, dock.jobs.idle, len(viewer.layers), flush=True)
"""


@pytest.mark.parametrize(
    ("how", "told"), [("exit", ""), ("close", "closed True True 0"), ("docked", "closed True True 0")]
)
def test_a_dock_ends_with_napari_while_it_loads(small: Path, how: str, told: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", ENDS, str(small / "cache"), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, told), done.stderr
    assert "cvcache" not in done.stderr
