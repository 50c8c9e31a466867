"""One numpy array (``.npy``), any shape and dtype but object."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cvcache.formats.messages import item_damaged, not_reproducible, stored_size, type_name

if TYPE_CHECKING:
    import numpy as np

    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite

HEADER_BYTES = 64 * 1024


def write(item: ItemWrite, obj: object, /) -> dict[str, Any]:
    """Write an array; one PUT.

    Raises
    ------
    NotReproducible
        `obj` is not exactly a ``numpy.ndarray`` (masked, memory-mapped and lazy arrays are not), or
        its dtype would need pickle.
    """
    array = check_plain_array(item, obj, "it")
    data = encode(array)
    item.put(data)
    return {"kind": "array", "shape": list(array.shape), "dtype": str(array.dtype), "bytes": len(data)}


def read(item: ItemPath, /) -> np.ndarray:
    """Return the array, writable and in memory; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are no ``.npy``, cut short, or hold pickled objects.
    """
    return decode(item, item.get())


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT and one GET of the header."""
    size = stored_size(item)
    shape, dtype = read_header(item, item.get("", 0, min(size, HEADER_BYTES)))
    return {"kind": "array", "shape": list(shape), "dtype": str(dtype), "bytes": size}


def check_plain_array(item: ItemPath, obj: object, label: str) -> np.ndarray:
    """Return `obj` if a ``.npy`` stores it exactly, else raise `NotReproducible`; `label` is for its message."""
    import numpy as np

    if type(obj) is not np.ndarray:
        raise not_reproducible(
            item, f"{label} is a {type_name(obj)}, not a numpy.ndarray", _conversion_hint(type_name(obj))
        )
    if problem := _dtype_problem(obj.dtype):
        hint = "convert it with .astype(...), or split it into plain arrays in a .npz"
        raise not_reproducible(item, f"{label} has the dtype {obj.dtype!r}, {problem}", hint)
    return obj


def _conversion_hint(kind: str) -> str:
    """Return how to convert an object of this type to an array that can be stored."""
    if kind == "dask.array.core.Array":
        return "write it as .ome.zarr or .zarr, which compute it block by block, or pass obj.compute()"
    if kind.endswith(".MaskedArray"):
        return "write {'data': obj.data, 'mask': numpy.ma.getmaskarray(obj)} as .npz, or pass obj.filled(...)"
    if kind in {"int", "float", "complex", "bool", "str"}:
        return "write it as .json, or pass numpy.array(obj)"
    return "pass numpy.array(obj)"


def _dtype_problem(dtype: np.dtype) -> str:
    """Return why a dtype cannot be stored exactly; empty if it can."""
    import warnings

    from numpy.lib import format as npy_format

    if dtype.hasobject:
        return "which would need pickle"
    with warnings.catch_warnings():
        # numpy warns if it drops metadata or would pickle
        warnings.simplefilter("error")
        try:
            decoded = npy_format.descr_to_dtype(npy_format.dtype_to_descr(dtype))
        except (TypeError, ValueError, UserWarning) as error:
            return f"which has no form in a .npy ({error})"
    same = decoded == dtype and decoded.type is dtype.type and decoded.isalignedstruct == dtype.isalignedstruct
    return "" if same else f"which would come back as {decoded!r}"


def encode(array: np.ndarray) -> bytes:
    """Return the array as the bytes of a ``.npy``."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def decode(item: ItemPath, data: bytes) -> np.ndarray:
    """Return the array in the bytes of a ``.npy``."""
    import numpy as np

    try:
        array: np.ndarray = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise item_damaged(item, error) from error
    return array


def read_header(item: ItemPath, data: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype from the first bytes of a ``.npy``."""
    from numpy.lib import format as npy_format

    stream = io.BytesIO(data)
    try:
        major, _ = npy_format.read_magic(stream)
        parse = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
        shape, _, dtype = parse(stream, max_header_size=HEADER_BYTES)
    except (ValueError, EOFError) as error:
        raise item_damaged(item, error) from error
    return tuple(shape), dtype
