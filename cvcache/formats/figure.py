"""A matplotlib figure as vectors (``.svg``) or as a page (``.pdf``), or an SVG or PDF that another tool made.

A thumbnail is drawn while the figure is in memory, because an SVG or PDF is never parsed.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cvcache.formats import text
from cvcache.formats.messages import drawing_thumbnail, item_damaged, not_reproducible, stored_size, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite

PDF_MAGIC = b"%PDF-"
THUMBNAIL_SIDE = 1000
"""Pixels of the longer side of a thumbnail."""
MAX_DPI = 1000
"""Limit for figures of less than an inch, whose thumbnail would need too much memory."""


def write(item: ItemWrite, obj: object, /, *, transparent: bool = False) -> dict[str, Any]:
    """Write a figure, or a ready SVG or PDF; one PUT, and for a figure one more for its thumbnail.

    Parameters
    ----------
    item : ItemWrite
    obj : matplotlib.figure.Figure, or str of SVG, or bytes of a PDF
    transparent : bool
        Make the background of a figure and of its axes transparent.

    Raises
    ------
    NotReproducible
        `obj` is none of these, or holds lone surrogates.

    Notes
    -----
    The figure is drawn by ``savefig``; it is not changed and not closed. ``read`` returns the text of the SVG or the
    bytes of the PDF, also in the run that wrote it.
    """
    svg = _is_svg(item)
    if is_figure(obj):
        format_name, date = ("svg", "Date") if svg else ("pdf", "CreationDate")
        data = render_figure(obj, format_name, metadata={date: None}, transparent=transparent)
    elif svg and type(obj) is str and "<svg" in obj:
        data = text.encode(item, obj)
    elif not svg and type(obj) is bytes and obj.startswith(PDF_MAGIC):
        data = obj
    else:
        format_name, expected = ("SVG", "a str of SVG") if svg else ("PDF", "the bytes of a PDF")
        hint = f"pass a matplotlib Figure (of axes: ax.figure) or {expected}"
        raise not_reproducible(item, f"it is a {type_name(obj)} and no {format_name}", hint)
    item.put(data)
    if is_figure(obj):
        with drawing_thumbnail(item):
            item.thumbnail(_thumbnail(obj, transparent=transparent))
    return {"kind": "plot", "bytes": len(data)}


def read(item: ItemPath, /) -> str | bytes:
    """Return the SVG as text, the PDF as bytes; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are not UTF-8, or no PDF.
    """
    if _is_svg(item):
        return text.read(item)
    data = item.get()
    if not data.startswith(PDF_MAGIC):
        raise item_damaged(item, "it does not begin as a PDF does")
    return data


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return {"kind": "plot", "bytes": stored_size(item)}


def is_figure(obj: object) -> bool:
    """Whether `obj` is a matplotlib figure, without importing matplotlib."""
    return any(kind.__module__ == "matplotlib.figure" and kind.__name__ == "Figure" for kind in type(obj).__mro__)


def render_figure(figure: Any, file_format: str, **options: object) -> bytes:
    """Return a matplotlib figure rendered as the bytes of a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, **options)
    return buffer.getvalue()


def _thumbnail(figure: Any, *, transparent: bool) -> bytes:
    """Return a small PNG of a figure that was already drawn, without running its layout engine again."""
    import matplotlib as mpl

    layout = figure.get_layout_engine()
    if layout is not None:
        figure.set_layout_engine("none")
    try:
        tight = mpl.rcParams["savefig.bbox"] == "tight"  # so the figure is as large as what is drawn, however far out
        inches = figure.get_tightbbox().size if tight else figure.get_size_inches()
        return render_figure(figure, "png", dpi=min(THUMBNAIL_SIDE / max(inches), MAX_DPI), transparent=transparent)
    finally:
        if layout is not None:
            figure.set_layout_engine(layout)


def _is_svg(item: ItemPath) -> bool:
    return item.name.endswith(".svg")
