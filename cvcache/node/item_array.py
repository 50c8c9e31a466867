"""An item that is one array, for numpy and dask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvcache import keys
from cvcache.node.item_io import item_row, item_url, read_item
from cvcache.node.snapshot import Snapshot

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np


def array_row(node: Snapshot, name: str) -> Mapping[str, Any]:
    """Return the row of an item that is one array, with its shape and dtype; `TypeError` if it is none.

    No store call more than for `read_rows`.
    """
    if node.uncached is not None and (array := node.uncached.array(name)) is not None:
        return {"shape": array.shape, "dtype": array.dtype}
    row = item_row(node, name)
    if not isinstance(row.get("shape"), list) or "dtype" not in row:
        msg = f"{node.url}/{name} is not one array (its kind is {row.get('kind', 'file')}); read() returns what it is"
        raise TypeError(msg)
    return row


def read_array(node: Snapshot, name: str) -> np.ndarray:
    """Return the whole array; `TypeError` if the item is none."""
    import numpy as np

    array_row(node, name)
    return np.asarray(read_item(node, name, {}))


def read_part(node: Snapshot, name: str, selection: Any) -> np.ndarray:
    """Return a part of the array; of an image or zarr array only the chunks with it are read."""
    import numpy as np

    lazily = bool(array_row(node, name).get("stored"))
    return np.asarray(read_item(node, name, {}, lazily=lazily)[selection])


def lazy_array(node: Snapshot, name: str, options: dict[str, Any], item: object) -> da.Array:
    """Return the array lazily, in its own chunks; if its format knows none, in one that reads `item` when computed."""
    import dask.array as da

    lazy: da.Array
    row = array_row(node, name)
    if options or node.uncached is not None or row.get("stored") or row.get("kind") in {"image", "labels"}:
        lazy = da.asarray(read_item(node, name, options, lazily=True))
    else:
        graph_name = f"cvcache-item-{keys.digest([item_url(node, name), node.version])}"
        lazy = da.from_array(item, chunks=tuple(row["shape"]), name=graph_name, asarray=False)
    return lazy
