"""Canonical JSON of numpy values: an array by dtype, shape and content, whatever its memory layout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cvcache.keys.canonical import CanonicalEncoder
from cvcache.keys.digest import CanonicalJson

if TYPE_CHECKING:
    import numpy as np

__all__ = ["canonical_array"]

BLAKE3_MIN_BYTES = 1 << 20
"""Size from which BLAKE3 on all cores is faster than SHA-256; the digests depend on this number."""
SLAB_BYTES = 1 << 20
"""Bytes copied at a time from an array that is not contiguous or not little endian."""


def canonical_array(encoder: CanonicalEncoder, value: Any) -> CanonicalJson:
    """Return the JSON of an array, scalar or dtype; None for other values of numpy."""
    import numpy

    if isinstance(value, numpy.dtype):
        return {"$dtype": encoder.encode_paths_as_text(value.descr) if value.names else _dtype_name(value)}
    if isinstance(value, numpy.generic):
        item = value.tobytes() if value.dtype.kind == "V" or isinstance(value, numpy.longdouble) else value.item()
        encoded = encoder.encode(numpy.asarray(value)) if value.dtype.names else encoder.encode_paths_as_text(item)
        return {"$numpy": encoded, "dtype": _dtype_name(value.dtype)}
    if not isinstance(value, numpy.ndarray):
        return None
    if type(value) not in {numpy.ndarray, numpy.memmap}:
        raise encoder.unkeyable_error(value, "it is an ndarray with something added, such as a mask or a unit")
    shape: list[CanonicalJson] = list(value.shape)
    if value.dtype.names:
        columns: list[CanonicalJson] = [
            [name, encoder.encode(value[name], f"[{name!r}]")] for name in value.dtype.names
        ]
        return {"$ndarray": columns, "shape": shape}
    if value.dtype.hasobject or value.dtype.kind == "T":
        raise encoder.unkeyable_error(
            value, "its elements are Python objects, of which only the addresses are in the array"
        )
    little_endian = value.dtype.newbyteorder("<")
    return {"$ndarray": _content_digest(value, little_endian), "dtype": _dtype_name(little_endian), "shape": shape}


def _dtype_name(dtype: Any) -> str:
    return str(dtype.name if dtype.isbuiltin == 2 else dtype.str)  # noqa: PLR2004 - 2: of another package, such as bfloat16


def _content_digest(array: np.ndarray, dtype: np.dtype) -> str:
    """Return the digest of the elements in C order and little endian."""
    import numpy

    if array.nbytes >= BLAKE3_MIN_BYTES:
        from blake3 import blake3

        hasher: Any = blake3(max_threads=blake3.AUTO)
    else:
        hasher = hashlib.sha256()
    for slab in _slabs(array, dtype):
        hasher.update(numpy.ascontiguousarray(slab, dtype=dtype).reshape(-1).view("u1") if slab.nbytes else b"")
    return str(hasher.hexdigest())


def _slabs(array: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yield the array in C order, in slabs that are small where they have to be copied."""
    if array.nbytes <= SLAB_BYTES or (array.flags.c_contiguous and array.dtype == dtype):
        yield array
    elif len(array) == 1:
        yield from _slabs(array[0], dtype)
    else:
        rows = max(1, SLAB_BYTES * len(array) // array.nbytes)
        for start in range(0, len(array), rows):
            yield from _slabs(array[start : start + rows], dtype)
