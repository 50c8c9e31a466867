"""Canonical JSON: its text, its digest, and the replacement of parts that are too long."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Callable
from typing import TypeAlias

CanonicalJson: TypeAlias = "bool | int | float | str | list[CanonicalJson] | dict[str, CanonicalJson] | None"

MAX_SEQUENCE_BYTES = 1024
"""A text or sequence with more bytes of JSON is replaced by its digest."""


def _make_json_encode() -> Callable[[CanonicalJson], str]:
    """Return ``json.JSONEncoder(...).encode``, with its C encoder made once instead of at each call."""
    encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    c_make_encoder = getattr(json.encoder, "c_make_encoder", None)
    if c_make_encoder is None:
        return encoder.encode
    sort_keys, skipkeys, allow_nan = True, False, False
    escape = json.encoder.encode_basestring
    iterencode = c_make_encoder(None, encoder.default, escape, None, ":", ",", sort_keys, skipkeys, allow_nan)
    return lambda encoded: "".join(iterencode(encoded, 0))


_json_encode = _make_json_encode()


class Canonical:
    """Wraps a value that is canonical JSON already; `canonical` returns it unchanged.

    Parameters
    ----------
    value : JSON-able
        For example ``{"$item": "raw.ome.zarr", "version": "3f2a"}``, which the hook of an Item returns.
    """

    __slots__ = ("_serialized", "value")

    def __init__(self, value: CanonicalJson) -> None:
        self.value = value
        self._serialized: tuple[bytes, int] | None = None

    def copy(self) -> tuple[CanonicalJson, int]:
        """Return a copy of the JSON, which the caller may change, and its size in bytes."""
        if self._serialized is None:
            text = dumps(self.value)
            self._serialized = marshal.dumps(json.loads(text)), len(text.encode())
        data, size = self._serialized
        return marshal.loads(data), size  # noqa: S302 - dumped above


def dumps(encoded: CanonicalJson) -> str:
    """Return the one text of canonical JSON: sorted names, no spaces, no NaN."""
    return _json_encode(encoded)


def digest(encoded: CanonicalJson) -> str:
    """Return the first 32 hex digits (128 bits) of the SHA-256 of canonical JSON."""
    return hashlib.sha256(_json_encode(encoded).encode()).hexdigest()[:32]


def digest_if_long(kind: str, length: int, encoded: CanonicalJson, limit: int = MAX_SEQUENCE_BYTES) -> CanonicalJson:
    """Return `encoded`, or kind, length and digest of it if its text exceeds `limit` bytes."""
    text = dumps(encoded).encode()
    return encoded if len(text) <= limit else {"$long": kind, "len": length, "sha256": hashlib.sha256(text).hexdigest()}


def is_utf8(text: str) -> bool:
    """Whether a text can be encoded; a file name that is not UTF-8 has lone surrogates, which JSON readers refuse."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def canonical_text(text: str) -> CanonicalJson:
    """Return the JSON of a text, whether it is a path or not."""
    encoded: CanonicalJson = text if is_utf8(text) else {"$str": text.encode("utf-8", "surrogatepass").hex()}
    return digest_if_long("str", len(text), encoded)
