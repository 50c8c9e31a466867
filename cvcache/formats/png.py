"""A rendered matplotlib figure, or a small 2-D image pixel for pixel (``.png``)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError
from cvcache.formats.figure import is_figure, render_figure
from cvcache.formats.messages import import_optional, item_damaged, not_reproducible, stored_size, type_name

if TYPE_CHECKING:
    import numpy as np

    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite

HEADER_BYTES = 64 * 1024
MODE_DTYPES = {"1": "bool", "I;16": "uint16", "I;16B": "uint16", "I": "uint16"}
MODE_CHANNELS = {"RGB": 3, "RGBA": 4, "LA": 2}


def write(item: ItemWrite, obj: object, /, *, dpi: float | None = None, transparent: bool = False) -> dict[str, Any]:
    """Write a figure as it looks, or an array pixel for pixel; one PUT.

    Parameters
    ----------
    item : ItemWrite
    obj : matplotlib.figure.Figure or numpy.ndarray
        An array is gray (rows, columns) of bool, uint8 or uint16, or colour (rows, columns, 3 or 4) of
        uint8, red first, opacity last.
    dpi : float, optional
        Dots per inch of a figure; the figure's own if not given.
    transparent : bool
        Make the background of a figure and of its axes transparent.

    Raises
    ------
    NotReproducible
        A PNG cannot hold `obj`, or it has more pixels than ``PIL.Image.MAX_IMAGE_PIXELS``.
    UsageError
        `dpi` or `transparent` was given with an array.

    Notes
    -----
    A figure is drawn by ``savefig``; it is not changed and not closed. ``read`` returns its pixels, also in the run
    that wrote it.
    """
    if is_figure(obj):
        data = render_figure(obj, "png", dpi=dpi or "figure", transparent=transparent)
    elif dpi is not None or transparent:
        msg = f"{item.url} was not written: dpi= and transparent= are for figures, and it is a {type_name(obj)}"
        raise UsageError(msg)
    else:
        data = _encode(item, obj)
    meta = _metadata(item, data, len(data))
    item.put(data)
    return meta


def read(item: ItemPath, /) -> np.ndarray:
    """Return the pixels: (rows, columns) or (rows, columns, channels), as written; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are no PNG, or cut short.
    PIL.Image.DecompressionBombError
        A foreign image is beyond twice ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    import numpy as np

    image = _open(item, item.get())
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise item_damaged(item, error) from error
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    pixels: np.ndarray = np.array(image)
    return pixels.astype(MODE_DTYPES.get(image.mode, "uint8"), copy=False)


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT and one GET of the header. A figure is recognized by its Software entry."""
    size = stored_size(item)
    try:
        return _metadata(item, item.get("", 0, min(size, HEADER_BYTES)), size)
    except import_optional("PIL.Image", "plots", item).DecompressionBombError:  # of a file that a tool wrote
        return {"kind": "image", "bytes": size}


def _encode(item: ItemPath, obj: object) -> bytes:
    import numpy as np

    if type(obj) is not np.ndarray:
        hint = "pass a matplotlib Figure (of axes: ax.figure) or numpy.asarray(image)"
        raise not_reproducible(item, f"it is a {type_name(obj)}", hint)
    match obj.shape:
        case (_, _):
            fits = obj.dtype in (np.dtype(bool), np.dtype("uint8"), np.dtype("uint16"))
        case (_, _, 3 | 4):
            fits = obj.dtype == np.uint8
        case _:
            fits = False
    if not fits or obj.size == 0:
        reason = f"a PNG cannot hold shape {obj.shape} of {obj.dtype}"
        hint = "bool, uint8 or uint16 (rows, columns) and uint8 (rows, columns, 3 or 4) fit; .ome.zarr takes all"
        raise not_reproducible(item, reason, hint)
    image_module = import_optional("PIL.Image", "plots", item)
    limit = image_module.MAX_IMAGE_PIXELS
    if limit and obj.shape[0] * obj.shape[1] > limit:
        reason = f"{obj.shape[0] * obj.shape[1]} pixels are more than PIL.Image.MAX_IMAGE_PIXELS"
        raise not_reproducible(item, reason, "write it as .ome.zarr")
    buffer = io.BytesIO()
    image_module.fromarray(np.ascontiguousarray(obj)).save(buffer, format="PNG")
    return buffer.getvalue()


def _open(item: ItemPath, data: bytes) -> Any:
    image_module = import_optional("PIL.Image", "plots", item)
    try:
        return image_module.open(io.BytesIO(data), formats=["PNG"])
    except OSError as error:
        raise item_damaged(item, error) from error


def _metadata(item: ItemPath, data: bytes, size: int) -> dict[str, Any]:
    image = _open(item, data)
    channels = [MODE_CHANNELS[image.mode]] if image.mode in MODE_CHANNELS else []
    is_plot = str(image.info.get("Software", "")).lower().startswith("matplotlib")
    return {
        "kind": "plot" if is_plot else "image",
        "shape": [image.height, image.width, *channels],
        "dtype": MODE_DTYPES.get(image.mode, "uint8"),
        "bytes": size,
    }
