"""Make the pictures of the napari browser that the documentation shows: with the real window, from a real tree.

    xvfb-run -a -s "-screen 0 1600x1000x24" python docs/screenshots/make.py [FOLDER]

FOLDER is where the pictures go, by default the one this file lies in. Needs ``pip install ".[all,napari]" PyQt6``.
``terminal.py`` makes the picture of a terminal, ``notebooks.py`` those of the notebooks; both do without a display.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import napari
import numpy as np
from PIL import Image
from qtpy.QtWidgets import QApplication
from terminal import lab

import cvcache
from cvcache.napari.dock import CacheTree

SIZE = (1500, 900)
PATIENCE = 60.0
DOCK_WIDTH = 640


def main() -> None:
    """Make all pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    with lab() as place:
        root = cvcache.cdir(place / "plaques")
        pipeline(root)
        viewer, dock = window()
        wait_until(lambda: open_at(dock, str(root.url)))
        look_at_labels(viewer, dock, folder)
        compare(viewer, dock, folder)
        run_on(root, viewer, dock, folder)
        dock.close_down()
        viewer.close()


# -- a tree that looks like one of a lab ------------------------------------------------------------------------------


@cvcache.step
def volume(out: cvcache.CacheDir, seed: int) -> None:
    """Make a light-sheet volume: background that bends, and bright plaques of some size."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    shape = (48, 640, 512)
    spots = np.zeros(shape, "f4")
    spots[tuple(rng.integers(4, n - 4, 420) for n in shape)] = rng.uniform(2000, 9000, 420)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    background = 260 + 120 * np.sin(x / 160) * np.cos(y / 130) + 2.0 * z
    pixels = background + gaussian_filter(spots, (1.5, 4, 4)) * 90 + rng.normal(0, 18, shape)
    out.write(
        "brain.ome.zarr",
        da.from_array(pixels.clip(0, 65535).astype("u2"), chunks=(16, 256, 256)),
        axes="zyx",
        scale=(4.0, 1.0, 1.0),
        unit="micrometer",
        channels=["plaques"],
    )


@cvcache.step
def smooth(out: cvcache.CacheDir, image: cvcache.Item, *, sigma: float) -> None:
    """Take the noise away."""
    from scipy.ndimage import gaussian_filter

    print(f"sigma {sigma}: {image.meta['shape']} pixels")
    out.write("smooth.ome.zarr", gaussian_filter(image.read().compute().astype("f4"), (sigma / 2, sigma, sigma)))


@cvcache.step
def label(out: cvcache.CacheDir, image: cvcache.Item, *, level: float) -> None:
    """Give each plaque a number, and draw how bright they are."""
    import pandas as pd
    from matplotlib.figure import Figure
    from scipy import ndimage

    pixels = image.read()
    print(f"threshold {level}")
    labels, count = ndimage.label(pixels > level)
    print(f"{count} plaques")
    out.write("plaques.ome.zarr", labels.astype("u2"), kind="labels")
    index = np.arange(1, count + 1)
    centers = np.array(ndimage.center_of_mass(pixels, labels, index))
    sizes = ndimage.sum_labels(labels > 0, labels, index)
    brightness = ndimage.mean(pixels, labels, index)
    table = pd.DataFrame({"z": centers[:, 0], "y": centers[:, 1], "x": centers[:, 2], "size": sizes})
    out.write("centers.points.csv", table.assign(brightness=brightness))
    axes = Figure(figsize=(5, 3), layout="tight").subplots()
    axes.scatter(sizes, brightness, s=8)
    axes.set(xlabel="size in voxels", ylabel="mean brightness", title=f"{count} plaques")
    out.write("sizes.svg", axes.figure)


@cvcache.step
def report(out: cvcache.CacheDir, centers: cvcache.Item) -> None:
    """Fail, as steps do."""
    table = centers.read()
    print(f"{len(table)} rows")
    out.write("summary.json", {"plaques": len(table), "per slice": float(len(table) / table["slice"].nunique())})


def pipeline(root: cvcache.CacheDir) -> None:
    """Run all steps; one branch is made stale, and one fails."""
    raw = volume(root / "input", 1)
    smoothed = smooth(root / "smooth", raw["brain.ome.zarr"], sigma=2.0)
    labels = label(root / "plaques", smoothed["smooth.ome.zarr"], level=520.0)
    label(root / "plaques-low", smoothed["smooth.ome.zarr"], level=420.0)
    with contextlib.suppress(KeyError):
        report(root / "report", labels["centers.points.csv"])
    label(
        root / "plaques-wide",
        smooth(root / "smooth-wide", raw["brain.ome.zarr"], sigma=4.0)["smooth.ome.zarr"],
        level=500.0,
    )
    smooth(root / "smooth-wide", raw["brain.ome.zarr"], sigma=5.0)


# -- the window -------------------------------------------------------------------------------------------------------


def window() -> tuple[Any, CacheTree]:
    """Open napari with the browser."""
    viewer = napari.Viewer(show=True)
    viewer.theme = "dark"
    viewer.window.resize(*SIZE)
    _, dock = viewer.window.add_plugin_dock_widget("cvcache", "Cache tree")
    settle(1.0)
    main_window = dock.window()
    holder = next(one for one in main_window.children() if getattr(one, "widget", None) and dock in ancestors(one))
    main_window.resizeDocks([holder], [DOCK_WIDTH], orientation())
    return viewer, dock


def ancestors(holder: Any) -> list[Any]:
    """Return what a dock holds."""
    return [holder.widget(), *holder.findChildren(CacheTree)] if callable(holder.widget) else []


def orientation() -> Any:
    """Return Qt's word for side by side."""
    from qtpy.QtCore import Qt

    return Qt.Orientation.Horizontal


def settle(seconds: float = 0.5) -> None:
    """Let the window do what it has to."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.02)


def wait_until(true: Callable[[], object], what: str = "the window") -> None:
    """Let the window work until something is so."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(what)
        settle(0.05)


def open_at(dock: CacheTree, url: str) -> bool:
    """Open a tree once, and say whether it is there."""
    if dock.tree is None or dock.tree.url != url:
        if dock.address.text() != url:
            dock.open(url)
        return False
    return dock.model.row_at("report") is not None and dock.jobs.idle


def choose(dock: CacheTree, *paths: str) -> None:
    """Select rows, opening what they lie below."""
    for path in paths:
        dock.reveal(f"{dock.tree.url}/{path}")
        wait_until(lambda path=path: dock.model.row_at(path) is not None and dock.jobs.idle, path)
    dock.view.clearSelection()
    for path in paths:
        dock.view.select(path, alone=False)
    settle(0.3)
    wait_until(lambda: dock.jobs.idle, "the panel")
    settle(0.7)


def shoot(viewer: Any, path: Path) -> None:
    """Keep a picture of the whole window."""
    settle(0.7)
    shown = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
    in_few_colors(shown).save(path, optimize=True)
    print(path)


def in_few_colors(picture: Image.Image) -> Image.Image:
    """Return a picture in 192 colours of its own and 64 grays: a third of the bytes, and no difference one sees."""
    colors = picture.quantize(192, Image.Quantize.MAXCOVERAGE, kmeans=1).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette(colors[: 192 * 3] + [level for level in np.linspace(0, 255, 64, dtype=int) for _ in "rgb"])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


# -- the pictures -----------------------------------------------------------------------------------------------------


def look_at_labels(viewer: Any, dock: CacheTree, folder: Path) -> None:
    """Show a volume, its labels and their centres."""
    for path in ("input/brain.ome.zarr", "plaques/plaques.ome.zarr", "plaques/centers.points.csv"):
        choose(dock, path)
        count = len(viewer.layers)
        dock.add(dock.selected_rows())
        wait_until(lambda count=count: len(viewer.layers) > count, path)
    viewer.dims.set_point(0, 4.0 * 24)
    viewer.canvas.overlays.scale_bar.visible = True
    viewer.reset_view()
    choose(dock, "plaques/plaques.ome.zarr")
    shoot(viewer, folder / "browser.png")


def compare(viewer: Any, dock: CacheTree, folder: Path) -> None:
    """Show two thresholds side by side, and what differs."""
    viewer.layers.clear()
    viewer.canvas.overlays.scale_bar.visible = False
    choose(dock, "plaques/plaques.ome.zarr", "plaques-low/plaques.ome.zarr")
    dock.add(dock.selected_rows(), side_by_side=True)
    wait_until(lambda: len(viewer.layers) == 2, "two layers")
    viewer.dims.set_point(0, 4.0 * 24)
    settle(0.5)
    viewer.reset_view()
    choose(dock, "plaques", "plaques-low")
    shoot(viewer, folder / "compare.png")
    viewer.canvas.grid.enabled = False


def run_on(root: cvcache.CacheDir, viewer: Any, dock: CacheTree, folder: Path) -> None:
    """Show a tree while a step runs in it and writes an image."""
    go_on = threading.Event()

    def slowly(block: np.ndarray, block_info: Any = None) -> np.ndarray:
        if block_info and block_info[0]["chunk-location"][1:] == (2, 1):
            go_on.wait(PATIENCE)
        return block

    @cvcache.step(version=1)
    def denoise(out: cvcache.CacheDir, image: cvcache.Item) -> None:
        volume = image.read()
        print(f"denoising {volume.npartitions} blocks")
        with dask.config.set(num_workers=volume.npartitions):
            out.write("denoised.ome.zarr", volume.map_blocks(slowly, dtype="u2"))

    source = cvcache.cdir_query(root / "input")["brain.ome.zarr"]
    worker = threading.Thread(target=denoise, args=(root / "denoise", source))
    worker.start()
    try:
        viewer.layers.clear()
        dock.refresh()
        wait_until(lambda: dock.model.row_at("denoise") is not None, "denoise")
        settle(3.0)
        choose(dock, "denoise/denoised.ome.zarr")
        dock.add(dock.selected_rows())
        wait_until(lambda: len(viewer.layers) == 1, "denoised")
        viewer.dims.set_point(0, 4.0 * 24)
        viewer.reset_view()
        choose(dock, "denoise")
        wait_until(lambda: dock.model.row_at("denoise").state == "running", "denoise to run")
        dock.panel.tabs.setCurrentIndex(1)
        settle(6.0)  # a log on a disk comes in parts of 5 s
        shoot(viewer, folder / "running.png")
    finally:
        go_on.set()
        worker.join()


if __name__ == "__main__":
    main()
