"""Pictures of a row: thumbnails, plots and PNG, checked so that Qt can decode them safely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cvcache.browse.item_bytes import READ_ERRORS, error_line, head, item_path
from cvcache.browse.pictures.png import MAX_BYTES, Picture, Refused, check_png
from cvcache.browse.text import recorded_size, size_text
from cvcache.formats import find_format, kind_of
from cvcache.node import item_io

if TYPE_CHECKING:
    from cvcache.browse.rows import Row

__all__ = ["Picture", "Refused", "check_png", "picture", "thumbnail"]


def has_picture(name: str) -> bool:
    """Whether `picture` returns something for items of this name: a picture, or why there is none."""
    return kind_of(name) in {"picture", "plot"}


def picture(row: Row) -> Picture | Refused | None:
    """Return a PNG item, or the thumbnail of an SVG or PDF figure; or why not. None for all other items.

    A `Picture` holds pixels only, and takes no more memory than its size says. An SVG or PDF itself is never read.

    Notes
    -----
    One GET; one more for an SVG or PDF without a thumbnail. None for a file that is recorded as too large.
    """
    if not row.is_item or not has_picture(row.name):
        return None
    try:
        return _png(row) if kind_of(row.name) == "picture" else _figure(row)
    except READ_ERRORS as error:
        return Refused(error_line(error))


def thumbnail(row: Row) -> Picture | Refused | None:
    """Return the thumbnail that was made while an image was written; None if there is none.

    Of a PNG, SVG or PDF item the result of `picture`.

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
        data = item_io.read_thumbnail(row.node, row.name)
    except READ_ERRORS as error:
        return Refused(error_line(error))
    return None if data is None else check_png(data)


def _png(row: Row) -> Picture | Refused:
    size = recorded_size(row.meta)
    if size is not None and size > MAX_BYTES:
        return Refused(f"{size_text(size)}, more than the {size_text(MAX_BYTES)} that are shown")
    raw = head(row, MAX_BYTES)
    return check_png(raw.data) if raw.whole else Refused(f"more than the {size_text(MAX_BYTES)} that are shown")


def _figure(row: Row) -> Picture | Refused:
    data = item_io.read_thumbnail(row.node, row.name) if row.state != "foreign" else None
    if data is not None:
        return check_png(data)
    item = item_path(row)
    item.raise_if_replaced()
    suffix = find_format(row.name).suffix.upper()
    return Refused(f"only a figure given to write() has a picture; open this {suffix} elsewhere: {item.url}")
