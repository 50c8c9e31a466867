"""Slices of an image: ``[0, :100, ..., ::2]`` as text, in a URL, or as Python values."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from types import EllipsisType
from typing import SupportsIndex, TypeGuard
from urllib.parse import unquote_plus

from cvcache.errors import UsageError
from cvcache.store import parse_url

Slices = tuple[int | slice | EllipsisType, ...]
"""What `parse_slices` returns: one entry per axis, with at most one ``...`` for all other axes."""

_NUMBER = re.compile(r"-?[0-9]{1,18}")
_QUERY_PARAMETER = re.compile(r"[?&]slices=([^&]*)")
_MAX_BOUNDS = 3
_MAX_SHOWN = 80
_EXAMPLE = "write one part per axis, as in [0, :100, ..., ::2]"


def parse_slices(slices: object) -> Slices:
    """Return slices as a tuple of int, slice and at most one ``...``.

    Parameters
    ----------
    slices : str, int, slice, Ellipsis, or a tuple or list of the last three
        As text: an index as in numpy, with or without brackets; spaces are ignored. A negative int or
        bound counts from the end.

    Raises
    ------
    UsageError
        A part is no int, slice or ``...``, or its step is not positive.

    Notes
    -----
    Text is matched, never evaluated. Touches no store.
    """
    if isinstance(slices, str):
        parts = tuple(_parse_part(part, slices) for part in _split_parts(slices))
    else:
        values = slices if isinstance(slices, (tuple, list)) else (slices,)
        parts = tuple(_check_part(part, slices) for part in values)
    if sum(part is Ellipsis for part in parts) > 1:
        msg = f"slices {_shortened(slices)} have more than one '...', so that nobody knows which axes each stands for"
        raise UsageError(f"{msg}; keep one")
    return parts


def format_slices(slices: Slices) -> str:
    """Return the text that `parse_slices` reads as `slices`, without spaces."""
    return f"[{','.join(map(_format_part, slices))}]"


def _format_part(part: int | slice | EllipsisType) -> str:
    if not isinstance(part, slice):
        return "..." if part is Ellipsis else str(part)
    start, stop = ("" if bound is None else str(bound) for bound in (part.start, part.stop))
    return f"{start}:{stop}" + ("" if part.step is None else f":{part.step}")


def split_slices(url: str) -> tuple[str, Slices | None]:
    """Return `url` without its ``slices=`` parameter, and the parsed slices; None if it has none.

    Parameters
    ----------
    url : str
        As in ``s3://bucket/x.ome.zarr?slices=[0,:100]``, with or without percent-encoding. Other
        parameters stay. In a local path the parameter is all after ``?slices=``; any other ``?`` is
        part of the name.

    Raises
    ------
    UsageError
        The parameter occurs twice, or its value is not valid.
    """
    if parse_url(url).scheme == "file":
        path, separator, text = url.partition("?slices=")
        return (path, parse_slices(unquote_plus(text))) if separator else (url, None)
    base, separator, query = url.partition("?")
    texts = _QUERY_PARAMETER.findall(separator + query)
    if not texts:
        return url, None
    if len(texts) > 1:
        msg = f"the URL has {len(texts)} parameters slices= ({', '.join(map(_shortened, texts))}); keep one"
        raise UsageError(msg)
    rest = _QUERY_PARAMETER.sub("", separator + query)
    return base + ("?" + rest[1:] if rest else ""), parse_slices(unquote_plus(texts[0]))


def resolve_slices(slices: Slices, shape: Sequence[int]) -> tuple[int | slice, ...]:
    """Return the selection of `slices` in an array of this shape, per axis.

    Parameters
    ----------
    slices : tuple of int, slice or Ellipsis
        As `parse_slices` returns them. All other axes are selected whole.
    shape : sequence of int
        Extent of each axis, in pixels.

    Returns
    -------
    tuple of int or slice
        One per axis: an index counted from 0, for a dropped axis, or a slice with start, stop and
        positive step inside the axis. Equal selections of several pixels have equal slices.

    Raises
    ------
    UsageError
        There are more parts than axes, or an int is out of range; a slice is clipped, as in numpy.
    """
    named = sum(part is not Ellipsis for part in slices)
    if named > len(shape):
        msg = f"slices {_shortened(slices)} name {named} axes, the image of shape {tuple(shape)} has {len(shape)}"
        raise UsageError(f"{msg}; leave {named - len(shape)} out")
    missing: list[int | slice | EllipsisType] = [slice(None)] * (len(shape) - named)
    position = slices.index(Ellipsis) if Ellipsis in slices else len(slices)
    parts = [*slices[:position], *missing, *slices[position + 1 :]]
    return tuple(_resolve_part(part, axis, shape) for axis, part in enumerate(parts))


def _resolve_part(part: int | slice | EllipsisType, axis: int, shape: Sequence[int]) -> int | slice:
    """Return one part of a selection with its bounds counted from 0."""
    pixels = range(shape[axis])
    if isinstance(part, slice):
        selected = pixels[part]
        return slice(selected.start, selected[-1] + 1 if selected else selected.start, selected.step)
    if isinstance(part, int) and -len(pixels) <= part < len(pixels):
        return pixels[part]
    msg = (
        f"slice {part} lies outside axis {axis} of the image of shape {tuple(shape)}, which has {len(pixels)} planes; "
        f"give {-len(pixels)} to {len(pixels) - 1}"
    )
    raise UsageError(msg)


def _split_parts(text: str) -> list[str]:
    """Return the parts of `text` between commas, without the brackets."""
    body = text.strip()
    if body.startswith("[") != body.endswith("]") or not body:
        msg = f"slices {_shortened(text)} are " + ("cut off: a bracket is missing" if body else "empty")
        raise UsageError(f"{msg}; {_EXAMPLE}")
    body = body.removeprefix("[").removesuffix("]").strip()
    return [part.strip() for part in body.split(",")] if body else []


def _parse_part(part: str, text: str) -> int | slice | EllipsisType:
    if part == "...":
        return Ellipsis
    bounds = [bound.strip() for bound in part.split(":")]
    if len(bounds) > _MAX_BOUNDS or not all(_NUMBER.fullmatch(bound) for bound in bounds if bound) or not part:
        raise _error(part, text, "is no int, no start:stop:step and no '...'")
    if len(bounds) == 1:
        return int(part)
    return _check_step(slice(*(int(bound) if bound else None for bound in bounds)), part, text)


def _check_part(part: object, slices: object) -> int | slice | EllipsisType:
    """Return a Python value as an int, or a slice of ints."""
    if part is Ellipsis:
        return Ellipsis
    if isinstance(part, slice):
        bounds = (part.start, part.stop, part.step)
        if all(bound is None or _is_int(bound) for bound in bounds):
            return _check_step(slice(*(None if bound is None else int(bound) for bound in bounds)), part, slices)
    elif _is_int(part):
        return operator.index(part)
    raise _error(part, slices, "is no int, no slice of ints and no Ellipsis")


def _is_int(value: object) -> TypeGuard[SupportsIndex]:
    return hasattr(value, "__index__") and not isinstance(value, bool) and not getattr(value, "ndim", 0)


def _check_step(part: slice, original: object, slices: object) -> slice:
    if part.step is not None and part.step < 1:
        raise _error(original, slices, "has a step that is not positive; read it forward and turn the result round")
    return part


def _error(part: object, slices: object, problem: str) -> UsageError:
    return UsageError(f"the part {_shortened(part)} of the slices {_shortened(slices)} {problem}; {_EXAMPLE}")


def _shortened(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
