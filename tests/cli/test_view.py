"""``cvcache view``: it says what is missing instead of ending in Qt, and finds out before a window opens."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from command_line import in_process, own_process

from cvcache import cdir_init
from cvcache.cli import view
from cvcache.errors import ItemNotFound

if TYPE_CHECKING:
    from pathlib import Path

NO_DISPLAY = {"DISPLAY": "", "WAYLAND_DISPLAY": "", "QT_QPA_PLATFORM": ""}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let napari and Qt look installed."""
    monkeypatch.setattr(view, "_missing_package", lambda: "")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":7")


def test_without_napari_it_says_what_brings_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "napari" else find(name))
    done = in_process(capsys, monkeypatch, "view", tmp_path / "x")
    assert done.code == 1
    assert done.err.strip() == (
        "cvcache: napari is not installed; this brings what the window needs: pip install 'cvcache[napari]' PyQt6"
    )


def test_without_a_qt_binding_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = {"napari", "qtpy"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in there else None)
    done = in_process(capsys, monkeypatch, "view", tmp_path / "x")
    assert done.code == 1
    assert "a Qt binding" in done.err
    assert "pip install" in done.err


@pytest.mark.usefixtures("installed")
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")
def test_without_a_display_it_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in NO_DISPLAY.items():
        monkeypatch.setenv(name, value)
    done = in_process(capsys, monkeypatch, "view", tmp_path / "x")
    assert done.code == 1
    assert len(done.err.strip().splitlines()) == 1
    assert f"cvcache tree {tmp_path / 'x'}" in done.err
    assert "ssh -X" in done.err


@pytest.mark.usefixtures("installed", "screen")
@pytest.mark.parametrize("name", ["nothing", "nothing.ome.zarr", "nothing.zarr.zip"])
def test_where_nothing_is_no_window_opens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "napari", None)  # to open one would be an error
    monkeypatch.setattr("cvcache.napari.layers_of_url", _read_without_napari)
    done = in_process(capsys, monkeypatch, "view", tmp_path / name)
    assert done.code == 3, done.err
    assert "there is nothing at" in done.err


def _read_without_napari(url: str, options: dict[str, object]) -> object:
    from cvcache.browse.layer_data import layers

    return layers(url, **options)


@pytest.mark.usefixtures("installed", "screen")
def test_a_misspelt_option_is_a_wrong_call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert in_process(capsys, monkeypatch, "view", tmp_path, "-o", "anon").code == 2


@pytest.mark.usefixtures("installed", "screen")
def test_a_bucket_that_cannot_be_reached_is_one_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["-o", "endpoint_url=http://127.0.0.1:9", "-o", "key=k", "-o", "secret=canary-of-a-secret"]
    done = in_process(capsys, monkeypatch, "view", "s3://bucket/run7", *options)
    assert done.code == 1
    assert len(done.err.strip().splitlines()) == 1
    assert "canary" not in done.err


def test_what_is_there_is_found(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "step", {}) as node:
        node.write("x.ome.zarr", np.ones((9, 9), "u2"), axes="yx")
    view._check_exists(str(tmp_path), {})
    view._check_exists(str(tmp_path / "step"), {})


def test_an_item_is_there_and_beside_it_is_not(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "step", {}) as node:
        node.write("cells.csv", pd.DataFrame({"cell": [1]}))
    view._check_exists(str(tmp_path / "step" / "cells.csv"), {})
    with pytest.raises(ItemNotFound, match=r"the nearest that exists is .*step$"):
        view._check_exists(str(tmp_path / "step" / "cels.csv"), {})


def test_its_help_loads_no_window(tmp_path: Path) -> None:
    done = own_process("view", "--help", env={"HOME": os.fspath(tmp_path)})
    assert done.code == 0
    assert "napari" in done.out
