"""The pipeline of ``cvcache demo``: count the nuclei of a stained section, each step a node of one tree. Copy it."""

from collections.abc import Iterator

from cvcache import CacheDir, Item, step


@step(version=2, ignore=["path"])  # version: stands for the code, here that of the image readers
def load(out: CacheDir, path: str | None, version: str | None) -> None:  # noqa: ARG001 - part of the key
    from cvcache.cli.demo_image import read_image

    pixels, axes, scale, display = read_image(path, out)
    out.write("image.ome.zarr", pixels, axes=axes, scale=scale, **display)


@step
def separate_stains(out: CacheDir, image: Item) -> None:
    from skimage.color import rgb2hed

    pixels = image.read()
    stains = rgb2hed(pixels, channel_axis=0) if pixels.ndim == 3 else 1.0 - pixels[None] / pixels.max()
    names = ["hematoxylin", "eosin", "DAB"][: len(stains)]
    out.write("stains.ome.zarr", stains.astype("f4"), axes="cyx", scale=(1, *image.meta["scale"][-2:]), channels=names)


@step
def smooth(out: CacheDir, stains: Item, *, sigma: float) -> None:
    from skimage.filters import gaussian

    smoothed = gaussian(stains.read()[0], sigma, preserve_range=True)
    out.write("smooth.ome.zarr", smoothed.astype("f4"), axes="yx", scale=stains.meta["scale"][-2:])


@step
def threshold(out: CacheDir, smoothed: Item, *, window: int = 75) -> None:
    from matplotlib.figure import Figure
    from skimage.filters import threshold_local, threshold_otsu

    contrast = (pixels := smoothed.read()) - threshold_local(pixels, window)
    level = float(threshold_otsu(contrast))
    plot = Figure(figsize=(5, 3), layout="tight").subplots(subplot_kw={"xlabel": "local contrast", "ylabel": "pixels"})
    plot.hist(contrast.ravel(), bins=128)
    plot.axvline(level, color="red")
    out.write("histogram.png", plot.figure)
    out.write("mask.ome.zarr", contrast > level, axes="yx", scale=smoothed.meta["scale"], kind="labels")


@step
def label_nuclei(out: CacheDir, mask: Item, image: Item, *, smallest: int) -> None:
    from skimage import measure, morphology, segmentation

    labels = measure.label(morphology.remove_small_objects(mask.read().astype(bool), max_size=smallest - 1))
    picture = pixels.transpose(1, 2, 0) if (pixels := image.read()).ndim == 3 else pixels / pixels.max()
    out.write("overlay.png", (segmentation.mark_boundaries(picture, labels) * 255).astype("u1"))
    out.write("nuclei.ome.zarr", labels.astype("u4"), axes="yx", scale=mask.meta["scale"], kind="labels")


@step
def measure_nuclei(out: CacheDir, nuclei: Item, stains: Item) -> None:
    import pandas as pd
    from matplotlib.figure import Figure
    from skimage.measure import regionprops_table

    columns = ("label", "centroid", "area", "eccentricity", "intensity_mean")
    table = pd.DataFrame(regionprops_table(nuclei.read(), stains.read()[0], properties=columns))
    print(f"{len(table)} nuclei of {table['area'].mean():.0f} pixels on average")
    plot = Figure(figsize=(5, 3), layout="tight").subplots(subplot_kw={"xlabel": "area in pixels", "ylabel": "nuclei"})
    plot.hist(table["area"], bins=40)
    out.write("sizes.png", plot.figure)
    out.write("nuclei.csv", table)


def pipeline(root: CacheDir, path: str | None, version: str | None, sigma: float, smallest: int) -> Iterator[CacheDir]:
    """Yield each node once it is committed, computed or read; a changed argument runs again what depends on it."""
    yield (raw := load(root / "input", path, version))
    yield (stains := separate_stains(root / "stains", raw["image.ome.zarr"]))
    yield (smoothed := smooth(root / "smooth", stains["stains.ome.zarr"], sigma=sigma))
    yield (mask := threshold(root / "threshold", smoothed["smooth.ome.zarr"]))
    yield (nuclei := label_nuclei(root / "labels", mask["mask.ome.zarr"], raw["image.ome.zarr"], smallest=smallest))
    yield measure_nuclei(root / "measurements", nuclei["nuclei.ome.zarr"], stains["stains.ome.zarr"])
