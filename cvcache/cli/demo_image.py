"""The image of the demo: one that scikit-image ships, or the user's own."""

from __future__ import annotations

import os
from typing import Any

from cvcache.errors import UsageError
from cvcache.image import is_zarr
from cvcache.node import Handle, address_of
from cvcache.protocol import standing_path
from cvcache.store import Store, open_store, open_store_from, parse_url

RGB_DISPLAY: dict[str, Any] = {
    "channels": [
        {"label": label, "color": color}
        for label, color in (("red", "FF0000"), ("green", "00FF00"), ("blue", "0000FF"))
    ],
    "contrast": (0, 255),
}
"""Settings that show an RGB image in its own colours."""
RGB_CHANNEL_COUNTS = (3, 4)
STORE_SCHEMES = {"s3", "gs", "memory"}


def image_version(image: str | None, node: Handle) -> str | None:
    """Return a version of the file or object at `image`, without reading it; None for the built-in image.

    In the bucket of `node` it is read with the storage options of that.

    Raises
    ------
    UsageError
        If there is no such image.
    """
    if image is None:
        return None
    parts = ("zarr.json", ".zattrs") if is_zarr(image.rstrip("/")) else ("",)
    for part in parts:
        if version := _object_version(f"{image.rstrip('/')}/{part}".rstrip("/"), node):
            return version
    msg = f"there is no image at {image}"
    raise UsageError(msg)


def _object_version(image: str, node: Handle) -> str | None:
    """Return etag, or time and size, of one file or object; None if it does not exist."""
    if store_path := _locate(image, node):
        info = store_path[0].stat(store_path[1])
        return f"{info.etag}-{info.size}" if info else None
    import fsspec

    try:
        info = fsspec.open(image).fs.info(image)
    except FileNotFoundError:
        return None
    return "-".join(str(info[name]) for name in ("ETag", "Last-Modified", "size") if info.get(name))


def _locate(image: str, node: Handle) -> tuple[Store, str] | None:
    """Return the store and the full key of an image, of one in a node that of its result; None for one on the web."""
    scheme, path, _ = parse_url(image.rstrip("/"))
    if scheme not in {"file", *STORE_SCHEMES}:
        return None
    path = os.path.abspath(os.path.expanduser(path)) if scheme == "file" else path
    store = open_store("file", "", {}) if scheme == "file" else open_store_from(address_of(node), scheme, path, {})
    return store, standing_path(store, path)


def read_image(image: str | None, node: Handle) -> tuple[Any, str, tuple[float, ...], dict[str, Any]]:
    """Return pixels, axes and scale of a TIFF, PNG, JPEG or OME-Zarr at a path or URL, and how to show them.

    In the bucket of `node` it is read with the storage options of that.

    Returns
    -------
    numpy.ndarray, str, tuple of float, dict
        A colour image as (c, y, x), any other as (y, x).

    Raises
    ------
    UsageError
        For an image that is not one plane; says what the demo takes.
    """
    import numpy as np

    if image is None:
        from skimage import data

        return np.moveaxis(data.immunohistochemistry(), -1, 0), "cyx", (1.0, 1.0, 1.0), RGB_DISPLAY
    pixels, scale = _read_ome_zarr(image, node) if is_zarr(image.rstrip("/")) else (_read_file(image, node), (1.0, 1.0))
    while pixels.ndim > 2 and pixels.shape[0] == 1:  # noqa: PLR2004 - rows and columns
        pixels = pixels[0]
    if pixels.ndim == 3 and pixels.shape[-1] in RGB_CHANNEL_COUNTS:  # noqa: PLR2004 - rows, columns, colours
        pixels = np.moveaxis(pixels, -1, 0)
    if pixels.ndim == 3 and pixels.shape[0] in RGB_CHANNEL_COUNTS:  # noqa: PLR2004 - colours, rows, columns
        display = RGB_DISPLAY if pixels.dtype == np.uint8 else {"channels": RGB_DISPLAY["channels"]}
        return np.ascontiguousarray(pixels[:3]), "cyx", (1.0, *scale[-2:]), display
    if pixels.ndim != 2:  # noqa: PLR2004 - rows and columns
        msg = f"{image} has shape {pixels.shape}; the demo takes one plane, gray or RGB"
        raise UsageError(msg)
    return pixels, "yx", scale[-2:], {}


def _read_file(image: str, node: Handle) -> Any:
    import io

    if store_path := _locate(image, node):
        data = store_path[0].get(store_path[1])
    else:
        import fsspec

        with fsspec.open(image, "rb") as file:
            data = file.read()
    try:
        if image.lower().endswith((".tif", ".tiff")):
            import tifffile

            return tifffile.imread(io.BytesIO(data))
        from skimage.io import imread

        return imread(io.BytesIO(data))
    except ImportError:
        raise
    except Exception as error:
        msg = f"{image} is no picture the demo can read ({type(error).__name__}); it takes TIFF, PNG, JPEG and OME-Zarr"
        raise UsageError(msg) from error


def _read_ome_zarr(image: str, node: Handle) -> tuple[Any, tuple[float, ...]]:
    from cvcache.formats import ItemPath
    from cvcache.image import ome_zarr

    if (store_path := _locate(image, node)) is None:
        msg = f"{image}: an OME-Zarr is read from a disk or a bucket; copy it there first"
        raise UsageError(msg)
    item = ItemPath(*store_path)
    meta = ome_zarr.describe(item)
    return ome_zarr.read(item), tuple(meta.get("scale", (1.0, 1.0)))
