"""What the formats share: their messages, and imports that may be missing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from cvcache.errors import ItemDamaged, NotReproducible

if TYPE_CHECKING:
    import pandas as pd

    from cvcache.formats.item_path import ItemPath


def type_name(obj: object) -> str:
    """Return the type of `obj` as a user knows it: ``numpy.int64``, ``tuple``."""
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def refusal(item: ItemPath, why: str, way_out: str) -> NotReproducible:
    """Return the error for an object that `item` cannot keep."""
    return NotReproducible(f"{item.url} was not written: {why}; {way_out}")


def damage(item: ItemPath, error: object) -> ItemDamaged:
    """Return the error for bytes at `item` that its format cannot read."""
    way_out = "compute it again with cdir_init(..., force=True), or look at its bytes with open(name, 'rb')"
    if not (item.pin or item.until):
        way_out = "no commit vouches for it: look at its bytes, and bring a good copy"
    return ItemDamaged(f"{item.url} cannot be read as what its name says ({error}); {way_out}")


def need(module: str, extra: str, item: ItemPath) -> Any:
    """Import an optional package, or say how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"{item.name} needs {module.partition('.')[0]}: pip install 'cvcache[{extra}]'"
        raise ImportError(msg, name=module) from error


def check_frame(item: ItemPath, obj: Any, others: str = "") -> pd.DataFrame:
    """Return `obj` if it is exactly a DataFrame, else raise `NotReproducible`; `others` may be passed too."""
    pandas = need("pandas", "tables", item)
    if type(obj) is not pandas.DataFrame:
        rows = isinstance(obj, list) and obj and isinstance(obj[0], dict)
        way_out = "pass pandas.DataFrame(rows)" if rows else f"pass a pandas.DataFrame{others} (.compute() a lazy one)"
        raise refusal(item, f"it is a {type_name(obj)}, not a pandas.DataFrame", way_out)
    frame: pd.DataFrame = obj
    return frame


def stored_bytes(item: ItemPath) -> int:
    """Return the size of a file item; one STAT."""
    info = item.store.stat(item.path)
    if info is None:
        raise FileNotFoundError(item.url)
    return info.size
