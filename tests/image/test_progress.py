"""What a long write says of itself, and what it takes on the way."""

from __future__ import annotations

import logging
import math
import os
import pty
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from child import child

from cvcache import NotReproducible, UsageError, cdir_init, cdir_query
from cvcache.formats import ItemWrite
from cvcache.image import ome_zarr, pyramid
from cvcache.store import MemoryStore

PIXELS = np.random.default_rng(1).integers(0, 900, (20, 200, 300)).astype("uint16")

SLOW = """
import sys, time
import dask.array as da
from cvcache import cdir_init
def slow(block):
    time.sleep(0.3)
    return block
image = da.ones((16, 3000, 3000), chunks=(1, 3000, 3000), dtype="uint8").map_blocks(slow, dtype="uint8")
cdir_init(sys.argv[1]).write("a.ome.zarr", image, chunks=(1, 3000, 3000), shards=False, levels=1)
"""


def test_the_plan_is_logged_before_the_first_byte(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    node = cdir_init(tmp_path / "node")
    with caplog.at_level(logging.INFO, logger="cvcache"):
        node.write("a.ome.zarr", PIXELS, chunks=(10, 100, 100), shards=(20, 200, 200), levels=2)
    (line,) = [line for line in caplog.messages if "writing" in line]
    assert line.startswith(f"{node.url}/a.ome.zarr: writing uint16 zyx 20x200x300, 2 levels, chunks 10x100x100")
    assert "shards 20x200x200" in line
    assert line.endswith("2.57 MiB uncompressed in 6 files")


def test_too_many_files_are_said_with_the_way_out(caplog: pytest.LogCaptureFixture) -> None:
    class Enough(Exception):
        pass

    class Stopped(ItemWrite):
        def writing(self) -> AbstractContextManager[None]:
            raise Enough

    place = Stopped(MemoryStore(), "many/a.ome.zarr")
    image = da.zeros((400, 16000, 1600), chunks=(400, 1600, 1600), dtype="uint8")
    with pytest.raises(Enough):
        ome_zarr.write(place, image, chunks=(4, 32, 32), shards=False, levels=1)
    (line,) = [line for line in caplog.messages if "files" in line and "shards=(" in line]
    assert "2500000 files" in line
    shards = tuple(map(int, line.partition("shards=(")[2].partition(")")[0].split(",")))
    assert math.prod(-(-n // s) for n, s in zip(image.shape, shards, strict=True)) <= 100_000


def test_progress_is_told_and_only_a_terminal_gets_a_bar(tmp_path: Path) -> None:
    for name, image in (("lazy", da.from_array(PIXELS, chunks=(10, 100, 100))), ("eager", PIXELS)):
        told: list[tuple[int, int]] = []
        cdir_init(tmp_path / name).write("a.ome.zarr", image, progress=lambda *now, told=told: told.append(now))
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert told[0][0] == 0
        assert told[-1][0] == told[-1][1] == told[0][1] > 0
    with pytest.raises(UsageError, match="progress"):
        cdir_init(tmp_path / "b").write("a.ome.zarr", PIXELS, progress="yes")
    piped = subprocess.run([sys.executable, "-c", SLOW, tmp_path / "c"], capture_output=True, check=True)
    assert piped.stdout + piped.stderr == b""
    seen = on_terminal(SLOW, tmp_path / "d", columns=40)
    assert "writing" in seen
    assert "%" in seen
    assert max(map(len, seen.split("\r\x1b[K"))) < 40, "it never breaks the line"
    assert seen.endswith("\r\x1b[K"), "it is taken away again"
    assert on_terminal(SLOW, tmp_path / "e", TERM="dumb") == ""


IN_A_STEP = (
    SLOW
    + """
import cvcache
@cvcache.step
def work(out):
    out.write("a.ome.zarr", image, chunks=(1, 3000, 3000), shards=False, levels=1)
print(repr(work(cvcache.cdir(sys.argv[1] + "-step")).read("run.log")))
"""
)


def test_the_log_of_a_step_keeps_no_bar(tmp_path: Path) -> None:
    seen = on_terminal(IN_A_STEP, tmp_path / "a")
    log = seen.splitlines()[-1]
    assert "16 blocks" in seen
    assert "16 blocks" not in log
    assert "x1b" not in log


def on_terminal(program: str, where: Path, columns: int = 80, **environment: str) -> str:
    """Run a program on a pseudo-terminal and give all it wrote there."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), **environment}
    command = [sys.executable, "-c", program, where]
    with child(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables) as process:
        os.close(theirs)
        seen = b""
        while part := _read(ours):
            seen += part
    os.close(ours)
    assert process.returncode == 0
    return seen.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""


def test_what_is_measured_on_the_way(tmp_path: Path) -> None:
    pixels = np.zeros((2, 300, 600), "float32")
    pixels[0], pixels[1, :, ::2] = np.linspace(-1, 1, 600), np.nan
    pixels[1, :, 1::2] = 5
    with cdir_init(tmp_path / "node") as node:
        node.write("a.ome.zarr", da.from_array(pixels, chunks=(1, 100, 100)), axes="cyx")
        node.write("b.ome.zarr", PIXELS, kind="labels")
    meta = cdir_query(node)["a.ome.zarr"].meta
    assert meta["range"] == [[-1, 1], [5, 5]]
    ramp, flat = meta["histogram"]
    assert sum(ramp["counts"]) == math.prod(meta["shapes"][-1][1:])
    assert flat is None or sum(flat["counts"]) <= math.prod(meta["shapes"][-1][1:])
    assert meta["contrast"][0] == pytest.approx([-1, 1], abs=0.01)
    assert (meta["objects"], meta["bytes"]) == (len(list(files(node.url))), sum(files(node.url)))
    assert "histogram" not in cdir_query(node)["b.ome.zarr"].meta


def files(node: str) -> list[int]:
    found = []
    for directory, _, names in os.walk(f"{node}/a.ome.zarr"):
        found += [Path(directory, name).stat().st_size for name in names]
    return found


def test_settings_of_a_layer_come_back(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "node") as node:
        node.write("a.ome.zarr", PIXELS, layer={"colormap": "magma", "gamma": 0.7})
        with pytest.raises(UsageError, match="layer"):
            node.write("b.ome.zarr", PIXELS, layer={"colormap": object()})
    assert cdir_query(node)["a.ome.zarr"].meta["layer"] == {"colormap": "magma", "gamma": 0.7}


@pytest.mark.parametrize(
    "options",
    [
        {"downsample": "mead"},
        {"kind": "labels", "downsample": "mean"},
        {"factors": 0},
        {"factors": (1.5, 2, 2)},
        {"factors": {"q": 2}},
        {"shards": (3, 64, 64), "chunks": (2, 64, 64)},
        {"shards": (64, 64)},
        {"version": "0.4", "shards": (20, 200, 200)},
        {"version": "0.6"},
        {"compressor": "lz77"},
        {"compressor": {"name": "zstd", "configuration": {"lvl": 3}}},
        {"compressor": 7},
    ],
    ids=str,
)
def test_options_that_make_no_image_are_refused_before_the_first_byte(tmp_path: Path, options: Any) -> None:
    node = cdir_init(tmp_path / "node")
    with pytest.raises(UsageError) as told:
        node.write("a.ome.zarr", PIXELS, **options)
    assert len(str(told.value)) > 30
    assert not (tmp_path / "node" / "a.ome.zarr").exists()


def test_factors_and_methods(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "node") as node:
        meta = node.write("a.ome.zarr", PIXELS, factors=[(1, 2, 4), 5], downsample="max", scale=(2, 1, 1)).meta
        ids = PIXELS.astype("int32")
        node.write("b.ome.zarr", ids, kind="labels", factors={"y": 2}, levels=2, unit="um")
    assert meta["shapes"] == [[20, 200, 300], [20, 100, 75], [4, 20, 15]]
    assert meta["scales"] == [[2, 1, 1], [2, 2, 4], [10, 10, 20]]
    assert meta["translations"][2] == [4, 4.5, 9.5]
    coarse = node.read("a.ome.zarr", level=1)
    np.testing.assert_array_equal(coarse, PIXELS.reshape(20, 100, 2, 75, 4).max((2, 4)))
    assert set(np.unique(node.read("b.ome.zarr", level=1))) <= set(np.unique(ids))


def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path) -> None:
    node = cdir_init(tmp_path / "node")
    for wrong in ([[1, 2]], np.array([{}]), da.from_array(np.array([["a"]])), np.float64(1)):
        for name in ("a.ome.zarr", "a.zarr"):
            with pytest.raises(NotReproducible, match="was not written"):
                node.write(name, wrong)
    assert list((tmp_path / "node").glob("a*")) == []


def value_or_trouble(value: int, block_id: tuple[int, int]) -> np.ndarray:
    if value == 1:
        time.sleep(0.2 if block_id == (0, 0) else 0.8)
        if block_id == (0, 0):
            raise ArithmeticError
    return np.full((64, 64), value, "uint16")


def image_of(value: int) -> da.Array:
    chunks = ((64,) * 4,) * 2
    return da.map_blocks(value_or_trouble, value, chunks=chunks, dtype="uint16", meta=np.empty((0, 0), "uint16"))


def test_a_block_that_comes_late_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write fails while a thread is at another block; the image written next in its place is not touched by it."""
    monkeypatch.setattr(pyramid, "BLOCK_BYTES", 0)
    with cdir_init(tmp_path / "node") as node, dask.config.set(scheduler="threads", num_workers=2):
        with pytest.raises(ArithmeticError):
            node.write("a.ome.zarr", image_of(1), chunks=(64, 64))
        node.write("a.ome.zarr", image_of(2), chunks=(64, 64))
        time.sleep(1)
    assert np.unique(np.asarray(node.read("a.ome.zarr"))).tolist() == [2]


def test_what_failed_is_no_part_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "BLOCK_BYTES", 0)
    with cdir_init(tmp_path / "node") as node:
        node.write("b.json", 1)
        with pytest.raises(ArithmeticError):
            node.write("a.ome.zarr", image_of(1), chunks=(64, 64))
    assert [item.name for item in cdir_query(node).items()] == ["b.json"]
    assert not (tmp_path / "node" / "a.ome.zarr").exists()


def test_an_image_that_failed_elsewhere_is_not_begun_again_in_its_attempt(tmp_path: Path) -> None:
    with cdir_init(tmp_path / "node") as node, dask.config.set(scheduler="processes", num_workers=2):
        with pytest.raises(ArithmeticError):
            node.write("a.ome.zarr", image_of(1), chunks=(64, 64))
        with pytest.raises(UsageError, match="open the node again with cdir_init"):
            node.write("a.ome.zarr", image_of(2), chunks=(64, 64))
        node.write("b.ome.zarr", image_of(2), chunks=(64, 64))
    assert [item.name for item in cdir_query(node).items()] == ["b.ome.zarr"]
