"""One numpy array (``.npy``), any shape and dtype but object."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cvcache.formats.messages import damage, refusal, stored_bytes, type_name

if TYPE_CHECKING:
    import numpy as np

    from cvcache.formats.item_path import ItemPath

HEADER = 64 * 1024


def write(item: ItemPath, obj: object, /) -> dict[str, Any]:
    """Write an array; one PUT.

    Raises
    ------
    NotReproducible
        `obj` is not exactly a ``numpy.ndarray`` (masked, memory-mapped and lazy arrays are not), or
        its dtype would need pickle.
    """
    checked = check(item, obj, "it")
    data = encode(checked)
    item.put(data)
    return {"kind": "array", "shape": list(checked.shape), "dtype": str(checked.dtype), "bytes": len(data)}


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
    size = stored_bytes(item)
    shape, dtype = header(item, item.get("", 0, min(size, HEADER)))
    return {"kind": "array", "shape": list(shape), "dtype": str(dtype), "bytes": size}


def check(item: ItemPath, obj: object, what: str) -> np.ndarray:
    """Return `obj` if a ``.npy`` brings it back as it is, else raise `NotReproducible`."""
    import numpy as np

    if type(obj) is not np.ndarray:
        raise refusal(item, f"{what} is a {type_name(obj)}, not a numpy.ndarray", _cure(type_name(obj)))
    if fault := _fault(obj.dtype):
        way_out = "convert it with .astype(...), or split it into plain arrays in a .npz"
        raise refusal(item, f"{what} has the dtype {obj.dtype!r}, {fault}", way_out)
    return obj


def _cure(kind: str) -> str:
    """Return how to make an array that is kept of an object of this type."""
    if kind == "dask.array.core.Array":
        return "write it as .ome.zarr or .zarr, which compute it block by block, or pass obj.compute()"
    if kind.endswith(".MaskedArray"):
        return "write {'data': obj.data, 'mask': numpy.ma.getmaskarray(obj)} as .npz, or pass obj.filled(...)"
    if kind in {"int", "float", "complex", "bool", "str"}:
        return "write it as .json, or pass numpy.array(obj)"
    return "pass numpy.array(obj)"


def _fault(dtype: np.dtype) -> str:
    """Return what of a dtype would be lost; empty if nothing."""
    import warnings

    from numpy.lib import format as npy_format

    if dtype.hasobject:
        return "which would need pickle"
    with warnings.catch_warnings():
        # numpy warns where it leaves metadata away or would pickle
        warnings.simplefilter("error")
        try:
            back = npy_format.descr_to_dtype(npy_format.dtype_to_descr(dtype))
        except (TypeError, ValueError, UserWarning) as error:
            return f"which has no form in a .npy ({error})"
    same = back == dtype and back.type is dtype.type and back.isalignedstruct == dtype.isalignedstruct
    return "" if same else f"which would come back as {back!r}"


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
        raise damage(item, error) from error
    return array


def header(item: ItemPath, data: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype from the first bytes of a ``.npy``."""
    from numpy.lib import format as npy_format

    stream = io.BytesIO(data)
    try:
        major, _ = npy_format.read_magic(stream)
        parse = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
        shape, _, dtype = parse(stream, max_header_size=HEADER)
    except (ValueError, EOFError) as error:
        raise damage(item, error) from error
    return tuple(shape), dtype
