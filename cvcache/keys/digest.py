"""Canonical forms: plain JSON with one text each, its digest, and what stands for a part that is long."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Callable
from typing import TypeAlias

CanonicalJson: TypeAlias = "bool | int | float | str | list[CanonicalJson] | dict[str, CanonicalJson] | None"

LEAF = 1024
"""Bytes of JSON that a text or a sequence may keep."""


def _encoder() -> Callable[[CanonicalJson], str]:
    """Return what ``json.JSONEncoder(...).encode`` is, with its C part made once and not at each call."""
    known = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return known.encode
    sort_keys, skipkeys, allow_nan = True, False, False
    escape = json.encoder.encode_basestring
    parts = make(None, known.default, escape, None, ":", ",", sort_keys, skipkeys, allow_nan)
    return lambda form: "".join(parts(form, 0))


_encode = _encoder()


class Canonical:
    """A form that is canonical already and passes through `canonical` unchanged.

    Parameters
    ----------
    form : JSON-able
        For example ``{"$item": "raw.ome.zarr", "version": "3f2a"}``, which the hook of an Item returns.
    """

    __slots__ = ("_written", "form")

    def __init__(self, form: CanonicalJson) -> None:
        self.form = form
        self._written: tuple[bytes, int] | None = None

    def copy(self) -> tuple[CanonicalJson, int]:
        """Return the form as JSON gives it back, the caller's own, and its size in bytes."""
        if self._written is None:
            text = dumps(self.form)
            self._written = marshal.dumps(json.loads(text)), len(text.encode())
        kept, size = self._written
        return marshal.loads(kept), size  # noqa: S302 - dumped above


def dumps(form: CanonicalJson) -> str:
    """Return the one JSON text of a canonical form: sorted names, no spaces, no NaN."""
    return _encode(form)


def digest(form: CanonicalJson) -> str:
    """Return the first 32 hex digits (128 bits) of the SHA-256 of a canonical form."""
    return hashlib.sha256(_encode(form).encode()).hexdigest()[:32]


def short(kind: str, length: int, form: CanonicalJson, limit: int = LEAF) -> CanonicalJson:
    """Return a form, or where its JSON exceeds `limit` bytes what it was, its length and its digest."""
    text = dumps(form).encode()
    return form if len(text) <= limit else {"$long": kind, "len": length, "sha256": hashlib.sha256(text).hexdigest()}


def is_utf8(text: str) -> bool:
    """Whether a text can be written; a file name that is not UTF-8 has lone surrogates, which JSON readers refuse."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_form(text: str) -> CanonicalJson:
    """Return the form of a text as such, whether it is a path or not."""
    form: CanonicalJson = text if is_utf8(text) else {"$str": text.encode("utf-8", "surrogatepass").hex()}
    return short("str", len(text), form)
