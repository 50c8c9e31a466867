"""The main job: ``cvcache demo``, on each kind of store, twice, changed, killed, and with pictures of one's own."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from child import child
from command_line import HEAVY, Done, in_process, loaded_by, options_of

import cvcache
from cvcache.cli import demo
from cvcache.node import item_io, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import StoreCase

    Run = Callable[..., Done]

NODES = ["input", "stains", "smooth", "threshold", "labels", "measurements"]
ITEMS = {
    "input": {"image.ome.zarr", "run.log"},
    "stains": {"stains.ome.zarr", "run.log"},
    "smooth": {"smooth.ome.zarr", "run.log"},
    "threshold": {"histogram.png", "mask.ome.zarr", "run.log"},
    "labels": {"nuclei.ome.zarr", "overlay.png", "run.log"},
    "measurements": {"nuclei.csv", "sizes.png", "run.log"},
}
# the computing of these has no fork in it; what their libraries grumble about is not the subject here
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda *words: in_process(capsys, monkeypatch, "demo", *words)


def told(done: Done) -> dict[str, str]:
    """Give what was said of each node."""
    lines = (line.partition(": ") for line in done.err.splitlines())
    return {name: said for name, _, said in lines if name in NODES}


def blobs(shape: tuple[int, ...] = (96, 96), seed: int = 0) -> np.ndarray:
    """Give a gray picture with round spots: 8 bits, rows by columns."""
    y, x = np.indices(shape[-2:])
    picture = np.full(shape[-2:], 220.0)
    for cy, cx in np.random.default_rng(seed).integers(10, shape[-1] - 10, (12, 2)):
        picture -= 120 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 30)
    return np.broadcast_to(picture.clip(0, 255).astype("u1"), shape).copy()


def test_the_source_is_short_enough_to_copy() -> None:
    assert len(Path(demo.__file__).read_text().splitlines()) <= 80


def test_the_first_run_computes_the_second_nothing_and_a_change_what_follows_it(
    run: Run, store_case: StoreCase, tmp_path: Path
) -> None:
    words = (store_case.url, *options_of(store_case.options))
    first = run(*words)
    assert first.code == 0, first.err
    assert told(first) == dict.fromkeys(NODES, "computed (first run)")
    assert "6 of 6 nodes computed" in first.out
    for node, items in ITEMS.items():
        found = cvcache.cdir_query(f"{store_case.url}/{node}", **store_case.options)
        assert found.state == "committed"
        assert set(item_io.read_rows(snapshot_of(found))) == items
        assert "computing (first run)" in found.read("run.log")
    assert "nuclei of" in cvcache.cdir_query(f"{store_case.url}/measurements", **store_case.options).read("run.log")

    second, loaded = (run(*words), set()) if store_case.kind == "memory" else loaded_by(tmp_path, "demo", *words)
    assert (second.code, told(second)) == (0, dict.fromkeys(NODES, "read"))
    assert "nothing to compute: 6 nodes read" in second.out
    bucket = {"fsspec"} if store_case.kind in {"s3", "gcs"} else set()
    # gcsfs itself imports numpy, if only by way of its own dependencies
    assert not loaded & (HEAVY - bucket - ({"numpy"} if store_case.kind == "gcs" else set()))

    changed = run(*words, "--sigma", 3)
    versions = r"version [0-9a-f]{8} -> [0-9a-f]{8}"
    said = told(changed)
    assert [said["input"], said["stains"]] == ["read", "read"]
    assert said["smooth"] == "computed (args.sigma: 1.5 -> 3.0)"
    for node, source in (
        ("threshold", "args.smoothed: smooth.ome.zarr"),
        ("labels", "args.mask: mask.ome.zarr"),
        ("measurements", "args.nuclei: nuclei.ome.zarr"),
    ):
        assert said[node].startswith(f"computed ({source}: version "), versions
    assert "4 of 6 nodes computed" in changed.out


def test_every_image_is_valid(run: Run, tmp_path: Path) -> None:
    import ome_zarr_models
    import yaozarrs

    write_tiff(tmp_path / "picture.tif", blobs())
    assert run(tmp_path / "tree", "--image", tmp_path / "picture.tif").code == 0
    images = sorted((tmp_path / "tree").glob("*/*.ome.zarr"))
    assert len(images) == 5
    for path in images:
        yaozarrs.validate_zarr_store(str(path))
        with warnings.catch_warnings(action="error", category=ome_zarr_models.exceptions.ValidationWarning):
            model = ome_zarr_models.open_ome_zarr(str(path), version="0.5")
        assert type(model).__name__ == ("ImageLabel" if path.parent.name in {"threshold", "labels"} else "Image")


def test_a_killed_run_is_continued(run: Run, tmp_path: Path) -> None:
    tree, picture = tmp_path / "tree", tmp_path / "picture.tif"
    write_tiff(picture, blobs())
    command = [sys.executable, "-m", "cvcache.cli.main", "demo", str(tree), "--image", str(picture)]
    with child(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("stains: computed"):
                break
        time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    done = run(tree, "--image", picture)
    assert done.code == 0
    said = told(done)
    assert [said["input"], said["stains"]] == ["read", "read"]
    assert all(said[node].startswith("computed") for node in NODES[3:])
    assert "0 bytes" not in done.err


def write_tiff(path: Path, pixels: np.ndarray, **options: Any) -> None:
    import tifffile

    tifffile.imwrite(path, pixels, **options)


def write_png(path: Path, pixels: np.ndarray) -> None:
    import PIL.Image

    PIL.Image.fromarray(pixels).save(path)


def test_a_picture_of_ones_own_and_a_change_of_it(run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "gray.tif"
    write_tiff(picture, blobs(seed=1))
    words = (tmp_path / "tree", "--image", picture, "--json")
    first, second = run(*words).json, run(*words).json
    assert (first["computed"], second["computed"], second["read"]) == (6, 0, 6)
    assert first["tree"]["children"][-1]["name"] == "threshold"
    write_tiff(picture, blobs(seed=2))
    assert run(*words).json["computed"] == 6
    assert "args.version" in " ".join(cvcache.cdir_query(tmp_path / "tree" / "input").reason)


def test_kinds_of_pictures(run: Run, tmp_path: Path) -> None:
    color = np.stack([blobs(seed=1), blobs(seed=2), blobs(seed=3)], axis=-1)
    write_png(tmp_path / "color.png", color)
    write_tiff(tmp_path / "pages.tif", blobs((1, 1, 96, 96)))
    with cvcache.cdir_init(tmp_path / "node") as node:
        node.write("mine.ome.zarr", np.moveaxis(color, -1, 0), axes="cyx", scale=(1, 0.5, 0.25))
    for name in ("color.png", "pages.tif", "node/mine.ome.zarr"):
        done = run(tmp_path / f"tree-{name[:4]}", "--image", tmp_path / name)
        assert done.code == 0, done.err
    kept = cvcache.cdir_query(tmp_path / "tree-node" / "labels")["nuclei.ome.zarr"]
    assert kept.meta["scale"] == [0.5, 0.25]
    assert cvcache.cdir_query(tmp_path / "tree-colo" / "input").read("image.ome.zarr").shape == (3, 96, 96)


def test_an_ome_zarr_in_a_bucket_and_a_change_of_it(run: Run, s3_case: StoreCase) -> None:
    words = (s3_case.child("tree"), "--image", s3_case.child("node/mine.ome.zarr"), *options_of(s3_case.options))
    for seed in (1, 2):
        with cvcache.cdir_init(cvcache.cdir(s3_case.child("node"), **s3_case.options), {"seed": seed}) as node:
            node.write("mine.ome.zarr", blobs(seed=seed))
        done = run(*words)
        assert done.code == 0, done.err
        assert told(done)["input"].startswith("computed")


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("volume.tif", 2, "has shape (5, 40, 40); the demo takes one plane, gray or RGB"),
        ("nothing.tif", 2, "there is no image at"),
        ("nothing.ome.zarr", 2, "there is no image at"),
        ("broken.png", 2, "broken.png is no picture the demo can read"),
    ],
)
def test_a_picture_the_demo_cannot_take(run: Run, tmp_path: Path, name: str, code: int, message: str) -> None:
    write_tiff(tmp_path / "volume.tif", np.zeros((5, 40, 40), "u1"))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    done = run(tmp_path / "tree", "--image", tmp_path / name)
    assert done.code == code
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_web_page_as_a_picture(tmp_path: Path) -> None:
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    from cvcache.cli import image_version, read_image

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_: object) -> None:
            pass

    root = cvcache.cdir(tmp_path / "tree")
    write_png(tmp_path / "gray.png", blobs())
    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/gray.png"
        before = image_version(url, root)
        pixels, axes, scale, _ = read_image(url, root)
        write_png(tmp_path / "gray.png", blobs((80, 80)))
        after = image_version(url, root)
        with pytest.raises(cvcache.UsageError, match="no image"):
            image_version(f"{url}.nothing", root)
        server.shutdown()
    np.testing.assert_array_equal(pixels, blobs())
    assert (axes, scale) == ("yx", (1.0, 1.0))
    assert before
    assert before != after


def test_a_step_that_fails_is_told_in_one_sentence(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @cvcache.step
    def fails(out: cvcache.CacheDir) -> None:
        msg = f"cannot count in {out.name}"
        raise ValueError(msg)

    monkeypatch.setattr(demo, "pipeline", lambda root, *_: iter([fails(root / "count")]))
    done = run(tmp_path / "tree")
    assert (done.code, done.out) == (1, "")
    log = f"its log has the traceback: cvcache logs {tmp_path}/tree/count"
    assert done.err == f"cvcache: ValueError: cannot count in count\ncvcache: {tmp_path}/tree/count failed; {log}\n"


def test_a_full_disk_is_told_with_the_way_out(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @cvcache.step
    def fills(out: cvcache.CacheDir) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), out.name)

    monkeypatch.setattr(demo, "pipeline", lambda root, *_: iter([fills(root / "count")]))
    done = run(tmp_path / "tree")
    assert done.code == 1
    assert done.err.startswith(f"cvcache: {tmp_path}/tree: No space left on device; free some and run the same")


def test_a_missing_package_is_told_with_the_extra_that_brings_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    done = run(tmp_path / "tree")
    assert done.code == 1
    assert "pip install 'cvcache[demo]'" in done.err


def test_the_pipeline_runs_without_a_cache(tmp_path: Path) -> None:
    write_tiff(tmp_path / "gray.tif", blobs())
    nodes = list(demo.pipeline(cvcache.cdir(None), str(tmp_path / "gray.tif"), None, 1.5, 5))
    again = list(demo.pipeline(cvcache.cdir(tmp_path / "tree"), str(tmp_path / "gray.tif"), None, 1.5, 5))
    assert [node.name for node in nodes] == NODES
    assert nodes[-1].read("nuclei.csv").equals(again[-1].read("nuclei.csv"))
    assert nodes[1]["stains.ome.zarr"].meta["scale"] == again[1]["stains.ome.zarr"].meta["scale"]
