"""The pipeline of ``cvcache demo``: count the nuclei of a stained tissue section, each step a node of one tree.

Copy it. A step takes its node first, writes what it made, and returns nothing; a later step is given the
items of the earlier ones, so a changed argument runs again what depends on it, and only that.
"""

from collections.abc import Iterator

from cvcache import CacheDir, Item, step


@step
def load(out: CacheDir, image: str | None) -> None:
    from cvcache.demo_image import read_image

    pixels, axes, scale = read_image(image)
    print(f"{image or 'the section scikit-image ships'}: {pixels.shape} {pixels.dtype}")
    out.write("image.ome.zarr", pixels, axes=axes, scale=scale)


@step
def separate_stains(out: CacheDir, image: Item) -> None:
    import numpy as np
    from skimage.color import rgb2hed

    pixels = image.read()
    stains = np.moveaxis(rgb2hed(pixels, channel_axis=0), -1, 0) if pixels.ndim == 3 else 1.0 - pixels[None] / pixels.max()
    names = ["hematoxylin", "eosin", "DAB"][: len(stains)]
    out.write("stains.ome.zarr", stains.astype("float32"), axes="cyx", scale=(1, *image.meta["scale"][-2:]), channels=names)


@step
def smooth(out: CacheDir, stains: Item, *, sigma: float) -> None:
    from skimage.filters import gaussian

    nuclei = gaussian(stains.read()[0], sigma, preserve_range=True)
    out.write("smooth.ome.zarr", nuclei.astype("float32"), axes="yx", scale=stains.meta["scale"][-2:])


@step
def threshold(out: CacheDir, smoothed: Item) -> None:
    from matplotlib.figure import Figure
    from skimage.filters import threshold_otsu

    pixels = smoothed.read()
    level = float(threshold_otsu(pixels))
    print(f"Otsu's level is {level:.4f}")
    plot = Figure(figsize=(5, 3)).subplots()
    plot.hist(pixels.ravel(), bins=128)
    plot.axvline(level, color="red")
    out.write("histogram.png", plot.figure)
    out.write("level.json", level)
    out.write("mask.ome.zarr", pixels > level, axes="yx", scale=smoothed.meta["scale"], kind="labels")


@step
def label_nuclei(out: CacheDir, mask: Item, image: Item, *, smallest: int) -> None:
    import numpy as np
    from skimage import measure, segmentation

    labels = measure.label(mask.read())
    labels[np.bincount(labels.ravel())[labels] < smallest] = 0
    labels, _, _ = segmentation.relabel_sequential(labels)
    pixels = image.read()
    picture = np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels / pixels.max()
    out.write("overlay.png", (segmentation.mark_boundaries(picture, labels) * 255).astype("uint8"))
    out.write("nuclei.ome.zarr", labels.astype("uint32"), axes="yx", scale=mask.meta["scale"], kind="labels")


@step
def measure_nuclei(out: CacheDir, nuclei: Item, stains: Item) -> None:
    import pandas as pd
    from matplotlib.figure import Figure
    from skimage.measure import regionprops_table

    columns = ("label", "centroid", "area", "eccentricity", "intensity_mean")
    table = pd.DataFrame(regionprops_table(nuclei.read(), stains.read()[0], properties=columns))
    print(f"{len(table)} nuclei")
    plot = Figure(figsize=(5, 3)).subplots()
    plot.hist(table["area"], bins=40)
    plot.set_xlabel("area (pixels)")
    out.write("sizes.png", plot.figure)
    out.write("nuclei.csv", table)
    out.write("count.json", len(table))


def pipeline(root: CacheDir, image: str | None = None, sigma: float = 1.0, smallest: int = 30) -> Iterator[CacheDir]:
    """Run the steps below `root`; yield each node once it is committed, computed or read."""
    yield (raw := load(root / "input", image))
    yield (stains := separate_stains(root / "stains", raw["image.ome.zarr"]))
    yield (smoothed := smooth(root / "smooth", stains["stains.ome.zarr"], sigma=sigma))
    yield (mask := threshold(root / "threshold", smoothed["smooth.ome.zarr"]))
    yield (nuclei := label_nuclei(root / "labels", mask["mask.ome.zarr"], raw["image.ome.zarr"], smallest=smallest))
    yield measure_nuclei(root / "measurements", nuclei["nuclei.ome.zarr"], stains["stains.ome.zarr"])
