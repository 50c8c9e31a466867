"""The canonical form of numpy's values: an array by dtype, shape and content, however it lies in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cvcache.keys.canonical import Walk
from cvcache.keys.digest import CanonicalJson

if TYPE_CHECKING:
    import numpy as np

__all__ = ["canonical_array"]

LARGE = 1 << 20
"""Bytes from which BLAKE3 on all cores is faster than SHA-256; digests depend on it."""
SLAB = 1 << 20
"""Bytes of an array that are copied at a time, where it is not contiguous or not little endian."""


def canonical_array(walk: Walk, value: Any) -> CanonicalJson:
    """Return the form of an array, scalar or dtype; None for anything else of numpy's."""
    import numpy

    if isinstance(value, numpy.dtype):
        return {"$dtype": walk.by_text(value.descr) if value.names else _dtype(value)}
    if isinstance(value, numpy.generic):
        item = value.tobytes() if value.dtype.kind == "V" or isinstance(value, numpy.longdouble) else value.item()
        whole = walk.form(numpy.asarray(value)) if value.dtype.names else walk.by_text(item)
        return {"$numpy": whole, "dtype": _dtype(value.dtype)}
    if not isinstance(value, numpy.ndarray):
        return None
    if type(value) not in {numpy.ndarray, numpy.memmap}:
        raise walk.refusal(value, "it is an ndarray with something added, such as a mask or a unit")
    shape: list[CanonicalJson] = list(value.shape)
    if value.dtype.names:
        columns: list[CanonicalJson] = [[name, walk.form(value[name], f"[{name!r}]")] for name in value.dtype.names]
        return {"$ndarray": columns, "shape": shape}
    if value.dtype.hasobject or value.dtype.kind == "T":
        raise walk.refusal(value, "its elements are Python objects, of which only the addresses are in the array")
    little = value.dtype.newbyteorder("<")
    return {"$ndarray": _content(value, little), "dtype": _dtype(little), "shape": shape}


def _dtype(dtype: Any) -> str:
    return str(dtype.name if dtype.isbuiltin == 2 else dtype.str)  # noqa: PLR2004 - 2: from elsewhere, as bfloat16 is


def _content(array: np.ndarray, dtype: np.dtype) -> str:
    """Return the digest of the elements in C order and little endian."""
    import numpy

    if array.nbytes >= LARGE:
        from blake3 import blake3

        content: Any = blake3(max_threads=blake3.AUTO)
    else:
        content = hashlib.sha256()
    for slab in _slabs(array, dtype):
        content.update(numpy.ascontiguousarray(slab, dtype=dtype).reshape(-1).view("u1") if slab.nbytes else b"")
    return str(content.hexdigest())


def _slabs(array: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Yield the array in parts, in C order, of which none that has to be copied is large."""
    if array.nbytes <= SLAB or (array.flags.c_contiguous and array.dtype == dtype):
        yield array
    elif len(array) == 1:
        yield from _slabs(array[0], dtype)
    else:
        step = max(1, SLAB * len(array) // array.nbytes)
        for start in range(0, len(array), step):
            yield from _slabs(array[start : start + step], dtype)
