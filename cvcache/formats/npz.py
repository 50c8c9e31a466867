"""A dict of numpy arrays (``.npz``)."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

from cvcache.formats import npy
from cvcache.formats.messages import item_damaged, not_reproducible, stored_size, type_name

if TYPE_CHECKING:
    import numpy as np

    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def write(item: ItemWrite, obj: object, /, *, compress: bool = False) -> dict[str, Any]:
    """Write a dict of arrays, in its order; one PUT. Equal dicts give equal bytes.

    Parameters
    ----------
    item : ItemWrite
    obj : dict of str to numpy.ndarray
    compress : bool
        Deflate each array.

    Raises
    ------
    NotReproducible
        `obj` is no dict, a key is no str that a zip can store, or a value is no plain array.
    """
    if type(obj) is not dict:
        raise not_reproducible(item, f"it is a {type_name(obj)}, not a dict of arrays", "pass {'name': array}")
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for key, value in obj.items():
            if type(key) is not str or not _is_member_name(key):
                raise not_reproducible(
                    item, f"the key {key!r} would not come back", "use plain str keys without odd letters"
                )
            info = zipfile.ZipInfo(f"{key}.npy", ZIP_EPOCH)
            info.compress_type = method
            archive.writestr(info, npy.encode(npy.check_plain_array(item, value, f"[{key!r}]")))
    data = buffer.getvalue()
    item.put(data)
    arrays = {key: {"shape": list(value.shape), "dtype": str(value.dtype)} for key, value in obj.items()}
    return {"kind": "array", "arrays": arrays, "bytes": len(data)}


def read(item: ItemPath, /) -> dict[str, np.ndarray]:
    """Return the arrays by name, all in memory; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are no ``.npz``, damaged, or hold pickled objects.
    """
    data = item.get()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name.removesuffix(".npy"): npy.decode(item, archive.read(name)) for name in archive.namelist()}
    except zipfile.BadZipFile as error:
        raise item_damaged(item, error) from error


def describe(item: ItemPath) -> dict[str, Any]:
    """Return the metadata; one STAT and one GET of everything."""
    arrays = {}
    data = item.get()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    shape, dtype = npy.read_header(item, member.read(npy.HEADER_BYTES))
                arrays[name.removesuffix(".npy")] = {"shape": list(shape), "dtype": str(dtype)}
    except zipfile.BadZipFile as error:
        raise item_damaged(item, error) from error
    return {"kind": "array", "arrays": arrays, "bytes": stored_size(item)}


def _is_member_name(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return zipfile.ZipInfo(f"{key}.npy", ZIP_EPOCH).filename == f"{key}.npy"
