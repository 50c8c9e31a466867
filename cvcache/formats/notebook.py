"""A Jupyter notebook (``.ipynb``), unchanged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvcache.errors import UsageError
from cvcache.formats.json_value import json_difference
from cvcache.formats.messages import item_damaged, not_reproducible, stored_size, type_name

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite

MIN_NBFORMAT = 4
CELL_FIELDS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "code": {"outputs": (list,), "execution_count": (int, type(None))},
    "markdown": {},
    "raw": {},
}
"""Cell type -> its required fields and their types, besides ``metadata`` and ``source``."""


def write(item: ItemWrite, obj: object, /) -> dict[str, Any]:
    """Write a notebook; one PUT.

    Parameters
    ----------
    item : ItemWrite
    obj : dict, nbformat.NotebookNode, or str or os.PathLike
        Its content, of nbformat 4 or later, or the path of a local ``.ipynb``, whose bytes are copied.

    Raises
    ------
    NotReproducible
        `obj` is no notebook, or something in it would come back changed.
    UsageError
        There is no file at that path.
    """
    if isinstance(obj, os.PathLike) or (type(obj) is str and obj.endswith(".ipynb")):
        data = _read_file(item, os.fspath(obj))
        content = _parse(data)
    else:
        content, data = _encode(item, obj)
    if problem := _find_problem(content):
        raise not_reproducible(item, problem, "pass the content of a notebook of nbformat 4, or its path")
    item.put(data)
    return _metadata(content, len(data))


def read(item: ItemPath, /) -> dict[str, Any]:
    """Return the content as plain dicts and lists; one GET.

    Raises
    ------
    ItemDamaged
        The bytes are no notebook.
    """
    content = _parse(item.get())
    if problem := _find_problem(content):
        raise item_damaged(item, problem)
    notebook: dict[str, Any] = content
    return notebook


def describe(item: ItemPath) -> dict[str, Any]:
    """Return kind, language, number of cells and bytes; one GET of everything and one STAT."""
    return _metadata(read(item), stored_size(item))


def _read_file(item: ItemPath, path: str | bytes) -> bytes:
    path = os.path.expanduser(os.fsdecode(path))
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        msg = f"{item.url} was not written: the notebook {path!r} cannot be read ({error.strerror}); correct the path"
        raise UsageError(msg) from error


def _plain_dicts(obj: Any) -> Any:
    """Return `obj` with each NotebookNode in it replaced by a plain dict."""
    if type_name(obj).startswith("nbformat."):
        obj = dict(obj)
    if type(obj) is dict:
        return {key: _plain_dicts(value) for key, value in obj.items()}
    return [_plain_dicts(part) for part in obj] if type(obj) is list else obj


def _encode(item: ItemPath, obj: object) -> tuple[Any, bytes]:
    """Return the content of a notebook as plain values, and as JSON in the layout of nbformat."""
    content, data = None, b""
    try:
        content = _plain_dicts(obj)
        text = json.dumps(content, indent=1, ensure_ascii=False, skipkeys=True, default=lambda _: None)
        data = f"{text}\n".encode()
        problem = json_difference(content, json.loads(data))
    except (ValueError, RecursionError) as error:
        problem = f"$ {error}"
    if problem:
        raise not_reproducible(item, problem, "convert it to plain JSON values first")
    return content, data


def _parse(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _find_problem(content: Any) -> str:
    """Return why `content` is no notebook; empty if it is one."""
    if not isinstance(content, dict):
        return f"it is a {type_name(content)}, not the content of a notebook"
    version = content.get("nbformat")
    if type(version) is not int or version < MIN_NBFORMAT:
        return f"its nbformat is {version!r}, not {MIN_NBFORMAT} or later"
    kinds = {"nbformat_minor": int, "metadata": dict, "cells": list}
    field = next((name for name, kind in kinds.items() if not isinstance(content.get(name), kind)), None)
    if field:
        return f"its {field} is no {kinds[field].__name__}"
    cell_problems = (
        f"its cell {i} is no {cell_problem}"
        for i, cell in enumerate(content["cells"])
        if (cell_problem := _cell_problem(cell))
    )
    return next(cell_problems, "")


def _cell_problem(cell: Any) -> str:
    """Return why `cell` is no valid cell; empty if it is one."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in CELL_FIELDS:
        return f"cell of {', '.join(CELL_FIELDS)}"
    required = {"metadata": (dict,), "source": (str, list), **CELL_FIELDS[cell["cell_type"]]}
    bad = [name for name, kinds in required.items() if name not in cell or not isinstance(cell[name], kinds)]
    return f"{cell['cell_type']} cell: its {bad[0]} is missing or odd" if bad else ""


def _metadata(content: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Return the metadata of a notebook."""
    kernel = content["metadata"].get("kernelspec")
    language = kernel.get("language") if isinstance(kernel, dict) else None
    optional = {"language": language} if isinstance(language, str) else {}
    return {"kind": "notebook", "cells": len(content["cells"]), **optional, "bytes": size}
