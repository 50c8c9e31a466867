"""A matplotlib figure as a page (``.pdf``), or a PDF made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvcache.formats.common import damage, refusal, stored_bytes, type_name
from cvcache.formats.png import is_figure, render

if TYPE_CHECKING:
    from cvcache.formats.place import Place

MAGIC = b"%PDF-"


def write(place: Place, obj: object, /, *, transparent: bool = False) -> dict[str, Any]:
    """Write a figure, or the bytes of a PDF; one PUT.

    Parameters
    ----------
    place : Place
    obj : matplotlib.figure.Figure or bytes
    transparent : bool
        Leave the ground of a figure and its axes away.

    Raises
    ------
    NotReproducible
        `obj` is neither.

    Notes
    -----
    The figure is drawn as ``savefig`` does, stays as it is and is not closed. What is read are the bytes of the PDF,
    in the run that wrote it as in every later one.
    """
    if is_figure(obj):
        data = render(obj, "pdf", metadata={"CreationDate": None}, transparent=transparent)
    elif type(obj) is bytes and obj.startswith(MAGIC):
        data = obj
    else:
        way_out = "pass a matplotlib Figure (of axes: ax.figure) or the bytes of a PDF"
        raise refusal(place, f"it is a {type_name(obj)} and no PDF", way_out)
    place.put(data)
    return {"kind": "plot", "bytes": len(data)}


def read(place: Place, /) -> bytes:
    """Return the PDF as bytes; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are no PDF.
    """
    data = place.get()
    if not data.startswith(MAGIC):
        raise damage(place, "it does not begin as a PDF does")
    return data


def describe(place: Place) -> dict[str, Any]:
    """Return the metadata; one STAT."""
    return {"kind": "plot", "bytes": stored_bytes(place)}
