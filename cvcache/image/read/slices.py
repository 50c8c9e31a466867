"""Which part of an image is asked for: ``[0, :100, ..., ::2]`` as text, in a URL, or as Python values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import EllipsisType
from urllib.parse import unquote_plus

from cvcache.errors import UsageError
from cvcache.store import parse_url

Slices = tuple[int | slice | EllipsisType, ...]
"""What `parse_slices` returns: one entry per axis, with at most one ``...`` for the axes left out."""

_NUMBER = re.compile(r"-?[0-9]{1,18}")
_REMOTE = re.compile(r"[?&]slices=([^&]*)")
_BOUNDS = 3
_SHOWN = 80
_EXAMPLE = "write one part per axis, as in [0, :100, ..., ::2]"


def parse_slices(given: object) -> Slices:
    """Return slices as a tuple of int, slice and at most one ``...``.

    Parameters
    ----------
    given : str, int, slice, Ellipsis, or a tuple or list of the last three
        As text: what numpy takes between brackets, with or without them; spaces are ignored. An int
        counts from the end where it is negative, and so do the bounds of a slice.

    Raises
    ------
    UsageError
        Names the part that is no int, slice or ``...``, or has a step that is not positive.

    Notes
    -----
    Text is matched, never evaluated. Touches no store.
    """
    if isinstance(given, str):
        parts = tuple(_parse_part(part, given) for part in _split(given))
    else:
        several = given if isinstance(given, (tuple, list)) else (given,)
        parts = tuple(_check_part(part, given) for part in several)
    if sum(part is Ellipsis for part in parts) > 1:
        msg = f"slices {_shown(given)} have more than one '...', so that nobody knows which axes each stands for"
        raise UsageError(f"{msg}; keep one")
    return parts


def format_slices(slices: Slices) -> str:
    """Return the text that `parse_slices` reads as `slices`, without spaces."""
    return f"[{','.join(map(_spelt, slices))}]"


def _spelt(part: int | slice | EllipsisType) -> str:
    if not isinstance(part, slice):
        return "..." if part is Ellipsis else str(part)
    start, stop = ("" if bound is None else str(bound) for bound in (part.start, part.stop))
    return f"{start}:{stop}" + ("" if part.step is None else f":{part.step}")


def split_slices(url: str) -> tuple[str, Slices | None]:
    """Return `url` without its ``slices=`` parameter, and what that says; None where there is none.

    Parameters
    ----------
    url : str
        As in ``s3://bucket/x.ome.zarr?slices=[0,:100]``, with or without percent-encoding. Other
        parameters stay. In a local path only ``?slices=`` begins a parameter, which is the rest of
        it; any other ``?`` is a part of the name.

    Raises
    ------
    UsageError
        The parameter is there twice, or is no slices.
    """
    if parse_url(url).scheme == "file":
        path, found, text = url.partition("?slices=")
        return (path, parse_slices(unquote_plus(text))) if found else (url, None)
    address, mark, query = url.partition("?")
    texts = _REMOTE.findall(mark + query)
    if not texts:
        return url, None
    if len(texts) > 1:
        msg = f"the URL has {len(texts)} parameters slices= ({', '.join(map(_shown, texts))}); keep one"
        raise UsageError(msg)
    rest = _REMOTE.sub("", mark + query)
    return address + ("?" + rest[1:] if rest else ""), parse_slices(unquote_plus(texts[0]))


def window(slices: Slices, shape: Sequence[int]) -> tuple[int | slice, ...]:
    """Return what `slices` select of an array, axis by axis.

    Parameters
    ----------
    slices : tuple of int, slice or Ellipsis
        As `parse_slices` returns them. Axes they do not name are taken whole.
    shape : sequence of int
        Extent of each axis, in pixels.

    Returns
    -------
    tuple of int or slice
        One per axis: the plane, counted from 0, of an axis that is gone, or a slice whose start, stop
        and positive step are ints in the axis. Equal selections of several pixels have equal slices.

    Raises
    ------
    UsageError
        There are more parts than axes, or an int lies outside its axis; a slice is clipped, as numpy does.
    """
    named = sum(part is not Ellipsis for part in slices)
    if named > len(shape):
        msg = f"slices {_shown(slices)} name {named} axes, the image of shape {tuple(shape)} has {len(shape)}"
        raise UsageError(f"{msg}; leave {named - len(shape)} out")
    rest: list[int | slice | EllipsisType] = [slice(None)] * (len(shape) - named)
    at = slices.index(Ellipsis) if Ellipsis in slices else len(slices)
    parts = [*slices[:at], *rest, *slices[at + 1 :]]
    return tuple(_fit(part, axis, shape) for axis, part in enumerate(parts))


def _fit(part: int | slice | EllipsisType, axis: int, shape: Sequence[int]) -> int | slice:
    """Return one part of a selection with its bounds counted from 0."""
    pixels = range(shape[axis])
    if isinstance(part, slice):
        picked = pixels[part]
        return slice(picked.start, picked[-1] + 1 if picked else picked.start, picked.step)
    if isinstance(part, int) and -len(pixels) <= part < len(pixels):
        return pixels[part]
    msg = (
        f"slice {part} lies outside axis {axis} of the image of shape {tuple(shape)}, which has {len(pixels)} planes; "
        f"give {-len(pixels)} to {len(pixels) - 1}"
    )
    raise UsageError(msg)


def _split(text: str) -> list[str]:
    """Return the parts between the commas of `text`, without the brackets around them."""
    body = text.strip()
    if body.startswith("[") != body.endswith("]") or not body:
        msg = f"slices {_shown(text)} are " + ("cut off: a bracket is missing" if body else "empty")
        raise UsageError(f"{msg}; {_EXAMPLE}")
    body = body.removeprefix("[").removesuffix("]").strip()
    return [part.strip() for part in body.split(",")] if body else []


def _parse_part(part: str, text: str) -> int | slice | EllipsisType:
    if part == "...":
        return Ellipsis
    bounds = [bound.strip() for bound in part.split(":")]
    if len(bounds) > _BOUNDS or not all(_NUMBER.fullmatch(bound) for bound in bounds if bound) or not part:
        raise _refused(part, text, "is no int, no start:stop:step and no '...'")
    if len(bounds) == 1:
        return int(part)
    return _check_step(slice(*(int(bound) if bound else None for bound in bounds)), part, text)


def _check_part(part: object, given: object) -> int | slice | EllipsisType:
    """Return a Python value as a part made of plain ints."""
    if part is Ellipsis:
        return Ellipsis
    if isinstance(part, slice):
        bounds = (part.start, part.stop, part.step)
        if all(bound is None or _is_int(bound) for bound in bounds):
            return _check_step(slice(*(None if bound is None else int(bound) for bound in bounds)), part, given)
    elif _is_int(part):
        return int(part)  # type: ignore[call-overload,no-any-return]  # it has __index__
    raise _refused(part, given, "is no int, no slice of ints and no Ellipsis")


def _is_int(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and not getattr(value, "ndim", 0)


def _check_step(part: slice, said: object, given: object) -> slice:
    if part.step is not None and part.step < 1:
        raise _refused(said, given, "has a step that is not positive; read it forward and turn the result round")
    return part


def _refused(part: object, given: object, why: str) -> UsageError:
    return UsageError(f"the part {_shown(part)} of the slices {_shown(given)} {why}; {_EXAMPLE}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
