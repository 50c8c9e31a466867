"""One numpy array (``.npy``), any shape and dtype but object."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cvcache.formats.common import damage, refusal, stored_bytes, type_name

if TYPE_CHECKING:
    import numpy as np

    from cvcache.formats.place import Place

HEADER = 64 * 1024


def write(place: Place, obj: object, /) -> dict[str, Any]:
    """Write an array; one PUT.

    Raises
    ------
    NotReproducible
        `obj` is not exactly a ``numpy.ndarray`` (masked, memory-mapped and lazy arrays are not), or
        its dtype would need pickle.
    """
    checked = check(place, obj, "it")
    data = encode(checked)
    place.put(data)
    return {"kind": "array", "shape": list(checked.shape), "dtype": str(checked.dtype), "bytes": len(data)}


def read(place: Place, /) -> np.ndarray:
    """Return the array, writable and in memory; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are no ``.npy``, cut short, or hold pickled objects.
    """
    return decode(place, place.get())


def describe(place: Place) -> dict[str, Any]:
    """Return the metadata; one STAT and one GET of the header."""
    size = stored_bytes(place)
    shape, dtype = header(place, place.get("", 0, min(size, HEADER)))
    return {"kind": "array", "shape": list(shape), "dtype": str(dtype), "bytes": size}


def check(place: Place, obj: object, what: str) -> np.ndarray:
    """Return `obj` if a ``.npy`` brings it back as it is, else raise `NotReproducible`."""
    import numpy as np

    if type(obj) is not np.ndarray:
        way_out = "write a dask array as .ome.zarr, and anything else as numpy.asarray(obj)"
        raise refusal(place, f"{what} is a {type_name(obj)}, not a numpy.ndarray", way_out)
    if not _plain(obj.dtype):
        way_out = "convert it with .astype(...), or split it into plain arrays in a .npz"
        raise refusal(place, f"{what} has the dtype {obj.dtype!r}, which would need pickle", way_out)
    return obj


def _plain(dtype: np.dtype) -> bool:
    import warnings

    from numpy.lib import format as npy_format

    if dtype.hasobject:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            back = npy_format.descr_to_dtype(npy_format.dtype_to_descr(dtype))
        except (TypeError, ValueError):
            return False
    return bool(back == dtype)


def encode(array: np.ndarray) -> bytes:
    """Return the array as the bytes of a ``.npy``."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def decode(place: Place, data: bytes) -> np.ndarray:
    """Return the array in the bytes of a ``.npy``."""
    import numpy as np

    try:
        array: np.ndarray = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise damage(place, error) from error
    return array


def header(place: Place, data: bytes) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype from the first bytes of a ``.npy``."""
    from numpy.lib import format as npy_format

    stream = io.BytesIO(data)
    try:
        major, _ = npy_format.read_magic(stream)
        parse = npy_format.read_array_header_1_0 if major == 1 else npy_format.read_array_header_2_0
        shape, _, dtype = parse(stream, max_header_size=HEADER)
    except (ValueError, EOFError) as error:
        raise damage(place, error) from error
    return tuple(shape), dtype
