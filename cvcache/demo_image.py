"""The picture the demo works on: the one scikit-image ships, or the user's own."""

from __future__ import annotations

import os
from typing import Any

from cvcache.errors import UsageError

RGB = (3, 4)


def image_version(image: str | None) -> str | None:
    """Return what changes when the file or object at `image` does, without reading it; None for the built-in picture."""
    if image is None:
        return None
    if "://" not in image:
        found = os.stat(os.path.expanduser(image))
        return f"{found.st_mtime_ns}-{found.st_size}"
    import fsspec

    fs, path = fsspec.core.url_to_fs(image)
    marker = f"{path.rstrip('/')}/zarr.json" if image.rstrip("/").endswith(".zarr") else path
    return str(fs.ukey(marker))


def read_image(image: str | None) -> tuple[Any, str, tuple[float, ...]]:
    """Return pixels, axes and scale of a TIFF, PNG, JPEG or OME-Zarr at a path or URL.

    Returns
    -------
    numpy.ndarray, str, tuple of float
        A colour image as (c, y, x), any other as (y, x).

    Raises
    ------
    UsageError
        For an image that is not one plane; says what the demo takes.
    """
    import numpy as np

    if image is None:
        from skimage import data

        return np.moveaxis(data.immunohistochemistry(), -1, 0), "cyx", (1.0, 1.0, 1.0)
    if image.rstrip("/").endswith(".zarr"):
        pixels, scale = _read_ome_zarr(image)
    else:
        pixels, scale = _read_file(image), (1.0, 1.0)
    if pixels.ndim == 3 and pixels.shape[-1] in RGB:  # noqa: PLR2004 - rows, columns, colours
        pixels = np.moveaxis(pixels, -1, 0)
    if pixels.ndim == 3 and pixels.shape[0] in RGB:  # noqa: PLR2004 - colours, rows, columns
        return np.ascontiguousarray(pixels[:3]), "cyx", (1.0, *scale[-2:])
    if pixels.ndim != 2:  # noqa: PLR2004 - rows and columns
        msg = f"{image} has shape {pixels.shape}; the demo takes one plane, gray or RGB"
        raise UsageError(msg)
    return pixels, "yx", scale[-2:]


def _read_file(image: str) -> Any:
    import io

    import fsspec

    with fsspec.open(image, "rb") as file:
        data = io.BytesIO(file.read())
    if image.lower().endswith((".tif", ".tiff")):
        import tifffile

        return tifffile.imread(data)
    from skimage.io import imread

    return imread(data)


def _read_ome_zarr(image: str) -> tuple[Any, tuple[float, ...]]:
    from cvcache.formats import ome_zarr
    from cvcache.formats.place import Place
    from cvcache.names import parse_url
    from cvcache.store import open_store

    scheme, path = parse_url(image) if "://" in image else ("file", os.path.abspath(os.path.expanduser(image)))
    place = Place(open_store(scheme, path, {}), path)
    meta = ome_zarr.describe(place)
    return ome_zarr.read(place), tuple(meta.get("scale", (1.0, 1.0)))
