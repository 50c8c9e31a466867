"""The pictures of a row: thumbnails, plots and PNG, each one safe to hand to Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cvcache.browse.item_bytes import TROUBLE, head, place_of, told
from cvcache.browse.pictures.png import MOST_BYTES, Picture, Refused, check_png
from cvcache.browse.text import recorded_size, size_text

if TYPE_CHECKING:
    from cvcache.browse.rows import Row

__all__ = ["Picture", "Refused", "check_png", "picture", "thumbnail"]


def has_picture(name: str) -> bool:
    """Whether `picture` shows items of this name, or says why not."""
    return name.endswith((".png", ".svg", ".pdf"))


def picture(row: Row) -> Picture | Refused | None:
    """Return what a PNG shows, or an SVG or PDF by the thumbnail of its figure; or why not. None for all other items.

    What comes back as a `Picture` runs nothing, reads nothing, and takes no more memory than its size says. An SVG or
    PDF itself is never read.

    Notes
    -----
    One GET; one STAT more of what was not written through cvcache. None of a file recorded as too large.
    """
    if not row.is_item or not has_picture(row.name):
        return None
    try:
        return _png(row) if row.name.endswith(".png") else _figure(row)
    except TROUBLE as error:
        return Refused(told(error))


def thumbnail(row: Row) -> Picture | Refused | None:
    """Return the small picture that was made of an image while it was written; None where there is none.

    Of a PNG, SVG or PDF item that is what `picture` gives.

    Notes
    -----
    One GET.
    """
    if not row.is_item or row.state == "foreign":
        return None
    if has_picture(row.name):
        return picture(row)
    if row.kind not in {"image", "labels", "array"}:
        return None
    try:
        data = row.node.thumbnail(row.name)
    except TROUBLE as error:
        return Refused(told(error))
    return None if data is None else check_png(data)


def _png(row: Row) -> Picture | Refused:
    size = recorded_size(row.meta)
    if size is not None and size > MOST_BYTES:
        return Refused(f"{size_text(size)}, more than the {size_text(MOST_BYTES)} that are shown")
    raw = head(row, MOST_BYTES)
    return check_png(raw.data) if raw.whole else Refused(f"more than the {size_text(MOST_BYTES)} that are shown")


def _figure(row: Row) -> Picture | Refused:
    data = row.node.thumbnail(row.name) if row.state != "foreign" else None
    if data is not None:
        return check_png(data)
    place = place_of(row)
    place.check_pin(now=True)
    form = row.name.rpartition(".")[2].upper()
    return Refused(f"only a figure given to write() has a picture; open this {form} elsewhere: {place.url}")
