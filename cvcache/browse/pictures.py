"""The pictures of a row: thumbnails, plots, PNG and SVG, each one safe to hand to Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cvcache.browse import png_check, svg_clean
from cvcache.browse.png_check import Picture, Refused, check_png
from cvcache.browse.raw import TROUBLE, head, told
from cvcache.browse.svg_clean import clean_svg
from cvcache.show import row_bytes, size_text

if TYPE_CHECKING:
    from cvcache.browse.rows import Row

__all__ = ["Picture", "Refused", "check_png", "clean_svg", "picture", "thumbnail"]

_DRAWN = {".png": (png_check.MOST_BYTES, check_png), ".svg": (svg_clean.MOST_BYTES, clean_svg)}


def has_picture(name: str) -> bool:
    """Whether `picture` shows items of this name."""
    return name.endswith(tuple(_DRAWN))


def picture(row: Row) -> Picture | Refused | None:
    """Return what a PNG or SVG item shows, or why that is not shown; None for every other item.

    What comes back as a `Picture` runs nothing, reads nothing, and takes no more memory than its size says.

    Notes
    -----
    One GET; one STAT more of a file that was not written through cvcache. None of a file recorded as too large.
    """
    if not row.is_item or not has_picture(row.name):
        return None
    most, check = next(how for suffix, how in _DRAWN.items() if row.name.endswith(suffix))
    size = row_bytes(row.meta)
    if size is not None and size > most:
        return Refused(f"{size_text(size)}, more than the {size_text(most)} that are shown")
    try:
        raw = head(row, most)
    except TROUBLE as error:
        return Refused(told(error))
    return check(raw.data) if raw.whole else Refused(f"more than the {size_text(most)} that are shown")


def thumbnail(row: Row) -> Picture | Refused | None:
    """Return the small picture that was made of an image while it was written; None where there is none.

    Of a PNG item that is the picture itself.

    Notes
    -----
    One GET.
    """
    if not row.is_item or row.state == "foreign":
        return None
    if row.name.endswith(".png"):
        return picture(row)
    if row.kind not in {"image", "labels", "array"}:
        return None
    try:
        data = row.node.thumbnail(row.name)
    except TROUBLE as error:
        return Refused(told(error))
    return None if data is None else check_png(data)
