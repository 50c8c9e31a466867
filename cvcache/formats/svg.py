"""A matplotlib figure as vectors (``.svg``), or SVG text made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvcache.formats import text
from cvcache.formats.common import refusal, stored_bytes, type_name
from cvcache.formats.png import is_figure, render

if TYPE_CHECKING:
    from cvcache.formats.place import Place


def write(place: Place, obj: object, /, *, transparent: bool = False) -> dict[str, Any]:
    """Write a figure, or a str that is SVG already; one PUT.

    Parameters
    ----------
    place : Place
    obj : matplotlib.figure.Figure or str
    transparent : bool
        Leave the ground of a figure and its axes away.

    Raises
    ------
    NotReproducible
        `obj` is neither, or holds lone surrogates.

    Notes
    -----
    The figure is drawn as ``savefig`` does, stays as it is and is not closed. What is read is the text of the SVG, in
    the run that wrote it as in every later one.
    """
    if is_figure(obj):
        data = render(obj, "svg", metadata={"Date": None}, transparent=transparent)
    elif type(obj) is str and "<svg" in obj:
        data = text.encode(place, obj)
    else:
        way_out = "pass a matplotlib Figure (of axes: ax.figure) or a str of SVG"
        raise refusal(place, f"it is a {type_name(obj)} and no SVG", way_out)
    place.put(data)
    return {"kind": "plot", "bytes": len(data)}


def read(place: Place, /) -> str:
    """Return the SVG as text; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are not UTF-8.
    """
    return text.read(place)


def describe(place: Place) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return {"kind": "plot", "bytes": stored_bytes(place)}
