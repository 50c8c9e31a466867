"""A matplotlib figure as vectors (``.svg``) or as a page (``.pdf``), or one that was made elsewhere.

While the figure is at hand, a small PNG of it is drawn too: what others made as SVG or PDF is never parsed.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cvcache.formats import text
from cvcache.formats.messages import damage, refusal, stored_bytes, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath

PDF_MAGIC = b"%PDF-"
SIDE = 1000
"""Pixels of the longer side of a thumbnail."""
MOST_DPI = 1000
"""A figure of less than an inch is not drawn as large: its lines and letters would need memory without end."""


def write(item: ItemPath, obj: object, /, *, transparent: bool = False) -> dict[str, Any]:
    """Write a figure, or what is such a file already; one PUT, and of a figure one more for its thumbnail.

    Parameters
    ----------
    item : ItemPath
    obj : matplotlib.figure.Figure, or str of SVG, or bytes of a PDF
    transparent : bool
        Leave the ground of a figure and its axes away.

    Raises
    ------
    NotReproducible
        `obj` is neither, or holds lone surrogates.

    Notes
    -----
    The figure is drawn as ``savefig`` does, stays as it is and is not closed. What is read is the text of the SVG or
    the bytes of the PDF, in the run that wrote it as in every later one.
    """
    svg = _is_svg(item)
    if is_figure(obj):
        form, date = ("svg", "Date") if svg else ("pdf", "CreationDate")
        data = render(obj, form, metadata={date: None}, transparent=transparent)
    elif svg and type(obj) is str and "<svg" in obj:
        data = text.encode(item, obj)
    elif not svg and type(obj) is bytes and obj.startswith(PDF_MAGIC):
        data = obj
    else:
        form, made = ("SVG", "a str of SVG") if svg else ("PDF", "the bytes of a PDF")
        way_out = f"pass a matplotlib Figure (of axes: ax.figure) or {made}"
        raise refusal(item, f"it is a {type_name(obj)} and no {form}", way_out)
    item.put(data)
    if is_figure(obj):
        item.illustrate(lambda: _thumbnail(obj, transparent=transparent))
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
        raise damage(item, "it does not begin as a PDF does")
    return data


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return {"kind": "plot", "bytes": stored_bytes(item)}


def is_figure(obj: object) -> bool:
    """Whether `obj` is a matplotlib figure, without importing matplotlib."""
    return any(kind.__module__ == "matplotlib.figure" and kind.__name__ == "Figure" for kind in type(obj).__mro__)


def render(figure: Any, form: str, **options: object) -> bytes:
    """Return a matplotlib figure as the bytes of a picture."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, **options)
    return buffer.getvalue()


def _thumbnail(figure: Any, *, transparent: bool) -> bytes:
    """Return a small PNG of a figure that was drawn before, and leave its layout as that has made it."""
    import matplotlib as mpl

    layout = figure.get_layout_engine()
    if layout is not None:
        figure.set_layout_engine("none")
    try:
        tight = mpl.rcParams["savefig.bbox"] == "tight"  # so the figure is as large as what is drawn, however far out
        inches = figure.get_tightbbox().size if tight else figure.get_size_inches()
        return render(figure, "png", dpi=min(SIDE / max(inches), MOST_DPI), transparent=transparent)
    finally:
        if layout is not None:
            figure.set_layout_engine(layout)


def _is_svg(item: ItemPath) -> bool:
    return item.name.endswith(".svg")
