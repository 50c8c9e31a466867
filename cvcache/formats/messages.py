"""Errors and checks that several formats share, and imports of optional packages."""

from __future__ import annotations

import contextlib
import importlib
import logging
from typing import TYPE_CHECKING, Any

from cvcache.errors import CvcacheError, ItemDamaged, NotReproducible

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from cvcache.formats.item_path import ItemPath


logger = logging.getLogger("cvcache")


def type_name(obj: object) -> str:
    """Return the full name of the type of `obj`: ``numpy.int64``, ``tuple``."""
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def not_reproducible(item: ItemPath, why: str, hint: str) -> NotReproducible:
    """Return the error for an object that the format of `item` cannot store exactly."""
    return NotReproducible(f"{item.url} was not written: {why}; {hint}")


def item_damaged(item: ItemPath, error: object) -> ItemDamaged:
    """Return the error for an item whose bytes its format cannot read."""
    hint = "compute it again with cdir_init(..., force=True), or look at its bytes with open(name, 'rb')"
    if not item.successor:
        hint = "no commit vouches for it: look at its bytes, and bring a good copy"
    return ItemDamaged(f"{item.url} cannot be read as what its name says ({error}); {hint}")


def import_optional(module: str, extra: str, item: ItemPath) -> Any:
    """Import an optional package; the `ImportError` names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"{item.name} needs {module.partition('.')[0]}: pip install 'cvcache[{extra}]'"
        raise ImportError(msg, name=module) from error


def check_dataframe(item: ItemPath, obj: Any, others: str = "") -> pd.DataFrame:
    """Return `obj` if it is exactly a DataFrame, else raise `NotReproducible`; `others` is text for its hint."""
    pandas = import_optional("pandas", "tables", item)
    if type(obj) is not pandas.DataFrame:
        rows = isinstance(obj, list) and obj and isinstance(obj[0], dict)
        hint = "pass pandas.DataFrame(rows)" if rows else f"pass a pandas.DataFrame{others} (.compute() a lazy one)"
        raise not_reproducible(item, f"it is a {type_name(obj)}, not a pandas.DataFrame", hint)
    frame: pd.DataFrame = obj
    return frame


@contextlib.contextmanager
def drawing_thumbnail(item: ItemPath) -> Iterator[None]:
    """Log an error of drawing the thumbnail of an item that is already written, instead of raising it."""
    try:
        yield
    except CvcacheError:
        raise
    except Exception as error:  # noqa: BLE001 - a thumbnail must not fail a write
        logger.warning("%s has no thumbnail (%s: %s)", item.url, type(error).__name__, error)


def stored_size(item: ItemPath) -> int:
    """Return the size of a file item; one STAT."""
    info = item.store.stat(item.path)
    if info is None:
        raise FileNotFoundError(item.url)
    return info.size
