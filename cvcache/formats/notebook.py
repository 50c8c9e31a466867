"""A Jupyter notebook (``.ipynb``), as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError
from cvcache.formats.json_value import plain_difference
from cvcache.formats.messages import damage, refusal, stored_bytes, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath

OLDEST = 4
CELLS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "code": {"outputs": (list,), "execution_count": (int, type(None))},
    "markdown": {},
    "raw": {},
}
"""The types of cells, and what each has beside ``metadata`` and ``source``."""


def write(item: ItemPath, obj: object, /) -> dict[str, Any]:
    """Write a notebook; one PUT.

    Parameters
    ----------
    item : ItemPath
    obj : dict, nbformat.NotebookNode, or str or os.PathLike
        Its content, of nbformat 4 or later, or the path of a local ``.ipynb``, whose bytes are kept as they are.

    Raises
    ------
    NotReproducible
        `obj` is no notebook, or something in it would come back changed.
    UsageError
        There is no file at that path.
    """
    if isinstance(obj, os.PathLike) or (type(obj) is str and obj.endswith(".ipynb")):
        data = _bytes_at(item, os.fspath(obj))
        content = _parsed(data)
    else:
        content, data = _encoded(item, obj)
    if fault := _fault(content):
        raise refusal(item, fault, "pass the content of a notebook of nbformat 4, or its path")
    item.put(data)
    return _meta(content, len(data))


def read(item: ItemPath, /) -> dict[str, Any]:
    """Return the content as plain dicts and lists, whatever it was written from; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are no notebook.
    """
    content = _parsed(item.get())
    if fault := _fault(content):
        raise damage(item, fault)
    notebook: dict[str, Any] = content
    return notebook


def describe(item: ItemPath) -> dict[str, Any]:
    """Return kind, language, number of cells and bytes; one GET of everything and one STAT."""
    return _meta(read(item), stored_bytes(item))


def _bytes_at(item: ItemPath, path: str | bytes) -> bytes:
    path = os.path.expanduser(os.fsdecode(path))
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        msg = f"{item.url} was not written: the notebook {path!r} cannot be read ({error.strerror}); correct the path"
        raise UsageError(msg) from error


def _plain(obj: Any) -> Any:
    """Return the dicts of a NotebookNode as plain ones; anything else as it is."""
    if type_name(obj).startswith("nbformat."):
        obj = dict(obj)
    if type(obj) is dict:
        return {key: _plain(value) for key, value in obj.items()}
    return [_plain(part) for part in obj] if type(obj) is list else obj


def _encoded(item: ItemPath, obj: object) -> tuple[Any, bytes]:
    """Return the content of a notebook as plain values, and as JSON spelled as nbformat does."""
    content, data = None, b""
    try:
        content = _plain(obj)
        text = json.dumps(content, indent=1, ensure_ascii=False, skipkeys=True, default=lambda _: None)
        data = f"{text}\n".encode()
        problem = plain_difference(content, json.loads(data))
    except (ValueError, RecursionError) as error:
        problem = f"$ {error}"
    if problem:
        raise refusal(item, problem, "convert it to plain JSON values first")
    return content, data


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _fault(content: Any) -> str:
    """Return why `content` is no notebook; empty if it is one."""
    if not isinstance(content, dict):
        return f"it is a {type_name(content)}, not the content of a notebook"
    version = content.get("nbformat")
    if type(version) is not int or version < OLDEST:
        return f"its nbformat is {version!r}, not {OLDEST} or later"
    kinds = {"nbformat_minor": int, "metadata": dict, "cells": list}
    wrong = next((name for name, kind in kinds.items() if not isinstance(content.get(name), kind)), None)
    if wrong:
        return f"its {wrong} is no {kinds[wrong].__name__}"
    faults = (f"its cell {i} is no {what}" for i, cell in enumerate(content["cells"]) if (what := _cell_fault(cell)))
    return next(faults, "")


def _cell_fault(cell: Any) -> str:
    """Return what a cell is not, or lacks; empty if it is one."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in CELLS:
        return f"cell of {', '.join(CELLS)}"
    needed = {"metadata": (dict,), "source": (str, list), **CELLS[cell["cell_type"]]}
    lacking = [name for name, kinds in needed.items() if name not in cell or not isinstance(cell[name], kinds)]
    return f"{cell['cell_type']} cell: its {lacking[0]} is missing or odd" if lacking else ""


def _meta(content: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Return the metadata of a notebook."""
    spec = content["metadata"].get("kernelspec")
    language = spec.get("language") if isinstance(spec, dict) else None
    told = {"language": language} if isinstance(language, str) else {}
    return {"kind": "notebook", "cells": len(content["cells"]), **told, "bytes": size}
