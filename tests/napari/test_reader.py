"""napari's reader: it takes what is ours and nothing else, at a glance; trees open in the dock, images as layers."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import napari
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel

import cvcache
from cvcache import cdir, cdir_init, cdir_remove
from cvcache.errors import CvcacheError
from cvcache.napari import get_reader, read_paths
from cvcache.napari import reader as module

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    with cdir_init(tmp_path / "cache" / "step", {}) as node:
        node.write("x.ome.zarr", np.arange(6000, dtype="u2").reshape(60, 100), axes="yx", scale=(0.5, 0.5))
        node.write("sharp.ome.zarr.zip", np.ones((60, 100), "u2"), axes="yx")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "folder").mkdir(parents=True)
    (tmp_path / "other" / "file.txt").write_text("x")
    (tmp_path / "fake.zarr").mkdir()
    zarr.create_array(tmp_path / "plain.zarr", data=np.ones((9, 9)))
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        *("cache", "cache/", "cache/step", "cache/step/x.ome.zarr", "cache/step/x.ome.zarr/"),
        *("cache/step/x.ome.zarr?slices=[0:9]", "cache/step/sharp.ome.zarr.zip", "plain.zarr"),
    ],
)
def test_what_is_ours_is_taken(tree: Path, name: str) -> None:
    assert get_reader(f"{tree}/{name}") is read_paths


@pytest.mark.parametrize(
    "name", ["empty", "other", "other/file.txt", "fake.zarr", "nothing", "nothing.zarr", "a\0b", "no.zarr.zip"]
)
def test_what_is_not_ours_is_left_to_others(tree: Path, name: str) -> None:
    assert get_reader(f"{tree}/{name}") is None


@pytest.mark.parametrize(
    "url", ["s3://b/run7", "S3://b/x.ome.zarr", "gs://b", "gcs://b/c", "memory://x", "cvcache://demo"]
)
def test_a_url_is_taken_by_its_spelling(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert get_reader(url) is read_paths


@pytest.mark.parametrize("url", ["https://a.org/x.zarr", "http://a.org/x", "file2://x", "cvcache://x", ""])
def test_other_urls_are_not(url: str) -> None:
    assert get_reader(url) is None


def test_of_several_all_or_none(tree: Path) -> None:
    ours = [str(tree / "cache"), str(tree / "plain.zarr")]
    assert get_reader(ours) is read_paths
    assert get_reader([*ours, str(tree / "other")]) is None
    assert get_reader([]) is None


def test_a_glance_at_a_large_directory_is_short(tmp_path: Path) -> None:
    for i in range(5000):
        (tmp_path / f"d{i}").mkdir()
    begun = time.perf_counter()
    assert get_reader(str(tmp_path)) is None
    assert time.perf_counter() - begun < 1


def test_an_image_of_a_node_is_pinned_to_it(tree: Path) -> None:
    layers = read_paths(str(tree / "cache" / "step" / "x.ome.zarr"))
    ((data, attributes, kind),) = layers
    assert kind == "image"
    assert attributes["scale"] == (0.5, 0.5)
    assert attributes["metadata"]["cvcache"]["node"] == str(tree / "cache" / "step")
    viewer = ViewerModel()
    (layer,) = viewer._add_layer_from_data(data, attributes, kind)
    assert layer._data_view.shape == (60, 100)
    cdir_remove(tree / "cache" / "step")
    level = data[0] if attributes["multiscale"] else data
    with pytest.raises((CvcacheError, OSError)):
        np.asarray(level[5:9] + 0)


def test_slices_zip_and_plain_zarr_become_layers(tree: Path) -> None:
    sliced = read_paths(f"{tree}/cache/step/x.ome.zarr?slices=[0:9]")[0][0]
    assert (sliced[0] if isinstance(sliced, list) else sliced).shape == (9, 100)
    several = read_paths([str(tree / "cache" / "step" / "sharp.ome.zarr.zip"), str(tree / "plain.zarr")])
    assert [kind for *_, kind in several] == ["image", "image"]


def test_a_tree_without_a_window_is_said_and_no_error(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert napari.current_viewer() is None
    with caplog.at_level(logging.WARNING, "cvcache"):
        assert read_paths(str(tree / "cache")) == [(None,)]
    assert "no window" in caplog.text


def test_the_demo_fills_the_tree_that_is_shown(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage")
    from cvcache.napari import sample
    from cvcache.napari.dock import CacheTree

    dock = CacheTree()
    qtbot.addWidget(dock)
    dock.show()

    def shown(url: str) -> Any:
        dock.open(url)
        return dock

    monkeypatch.setattr(module, "show_tree", shown)
    assert read_paths(module.DEMO_URL) == [(None,)]
    qtbot.waitUntil(lambda: dock.tree is not None and len(dock.tree.expand("").rows) == 6, timeout=120_000)
    qtbot.waitUntil(lambda: dock.jobs.idle, timeout=120_000)
    top = cdir(dock.tree.url)
    assert [cvcache.cdir_query(child).state for child in top.children()] == ["committed"] * 6
    assert "nothing to compute: 6 nodes read" in sample.run(top.url), "it is there the second time"
    dock.close()


def test_a_demo_that_fails_is_told_with_what_it_printed_last(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("skimage")
    from napari.utils import notifications

    from cvcache.napari import sample
    from cvcache.napari.dock import CacheTree

    place = tmp_path / "cvcache" / "demo"
    place.mkdir(parents=True)
    (place / "input").write_text("in the way")
    told: list[str] = []
    monkeypatch.setattr(notifications, "show_error", told.append)
    monkeypatch.setattr(sample, "cache_directory", lambda: str(tmp_path))
    dock = CacheTree()
    qtbot.addWidget(dock)
    sample.demo(lambda _: dock)
    qtbot.waitUntil(lambda: bool(told), timeout=60_000)
    assert told[0].startswith(f"the demo at {place} ended with exit code 1")
    assert "input holds data that cvcache did not write" in told[0]
    assert told[0].endswith(f"cvcache demo {place}")
    dock.close()


def test_a_demo_without_its_packages_says_what_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari.utils import notifications

    from cvcache.napari import sample

    told: list[str] = []
    monkeypatch.setattr(notifications, "show_error", told.append)
    monkeypatch.setattr(sample, "_PACKAGES", ("no_such_package",))
    assert read_paths(module.DEMO_URL) == [(None,)]
    assert told == ["the demo needs no_such_package; this brings it: pip install 'cvcache[demo]'"]


CLOSES = """
import sys, threading, time
from pathlib import Path
from cvcache.napari import sample
started, sample.sys.executable = Path(sys.argv[1]), sys.argv[2]
threading.Thread(target=sample.run, args=("nowhere",), daemon=True).start()
while not started.exists():
    time.sleep(0.01)
"""


def test_a_demo_ends_with_its_window(tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\ntrap 'touch {ended}; exit' TERM\ntouch {started}\nwhile :; do sleep 0.1; done\n")
    program.chmod(0o755)
    subprocess.run([sys.executable, "-c", CLOSES, started, program], check=True, timeout=60)
    for _ in range(100):
        if ended.exists():
            break
        time.sleep(0.05)
    assert ended.exists()
