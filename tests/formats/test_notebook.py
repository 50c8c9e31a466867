"""ipynb: conformance and what is special about it."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from format_cases import FormatTests, new_place

from cvcache.errors import ItemDamaged, UsageError
from cvcache.formats import find_format

if TYPE_CHECKING:
    from pathlib import Path

FORM = find_format("analysis.ipynb")
CODE = {"cell_type": "code", "metadata": {}, "source": ["a = 1\n", "a"], "outputs": [], "execution_count": 1}
TEXT = {"cell_type": "markdown", "metadata": {}, "source": "# µ"}


def notebook(*cells: dict[str, Any], **changed: Any) -> dict[str, Any]:
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 5, **changed}
    return copy.deepcopy({name: value for name, value in content.items() if value is not None})


def ring() -> dict[str, Any]:
    content = notebook()
    content["metadata"]["self"] = content
    return content


class TestNotebook(FormatTests):
    name = "analysis.ipynb"
    good: ClassVar = {
        "two cells": lambda: notebook(CODE, TEXT),
        "none": notebook,
        "raw": lambda: notebook({"cell_type": "raw", "metadata": {}, "source": ""}),
        "later": lambda: notebook(nbformat=5, more={"a": 1.5}),
        "no kernel": lambda: notebook(metadata={}),
    }
    bad: ClassVar = {
        "list": list,
        "text": lambda: "a = 1",
        "dict": lambda: {"a": 1},
        "old": lambda: notebook(nbformat=3),
        "true as version": lambda: notebook(nbformat=True),
        "no minor": lambda: notebook(nbformat_minor=None),
        "no cells": lambda: notebook(cells=None),
        "cells of text": lambda: notebook(cells=["a"]),
        "other cell": lambda: notebook({**TEXT, "cell_type": "heading"}),
        "no source": lambda: notebook({"cell_type": "raw", "metadata": {}}),
        "no outputs": lambda: notebook({**CODE, "outputs": None}),
        "tuple": lambda: notebook(metadata={"a": (1, 2)}),
        "int key": lambda: notebook(metadata={"a": {1: 2}}),
        "ring": ring,
    }


def test_a_file_is_kept_byte_for_byte(tmp_path: Path) -> None:
    place = new_place("analysis.ipynb")
    spelled = json.dumps(notebook(CODE), indent=3).encode()
    (tmp_path / "made.ipynb").write_bytes(spelled)
    for given in (tmp_path / "made.ipynb", str(tmp_path / "made.ipynb")):
        meta = FORM.write(place, given)
        assert place.get() == spelled
        assert FORM.read(place) == notebook(CODE)
        assert (
            meta
            == FORM.describe(place)
            == {"kind": "notebook", "cells": 1, "language": "python", "bytes": len(spelled)}
        )


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    place = new_place("analysis.ipynb")
    with pytest.raises(UsageError, match=r"cannot be read \(No such file.*correct the path"):
        FORM.write(place, tmp_path / "none.ipynb")
    assert place.store.stat(place.path) is None


def test_the_nodes_of_nbformat_come_back_as_dicts() -> None:
    class NotebookNode(dict[str, Any]):
        pass

    NotebookNode.__module__ = "nbformat.notebooknode"
    content = notebook(CODE)
    cells = [NotebookNode(cell, metadata=NotebookNode(tags=["a"])) for cell in content["cells"]]
    place = new_place("analysis.ipynb")
    FORM.write(place, NotebookNode({**content, "cells": cells}))
    read: Any = FORM.read(place)
    assert read == notebook({**CODE, "metadata": {"tags": ["a"]}})
    assert {type(read), type(read["cells"][0]), type(read["cells"][0]["metadata"])} == {dict}


def test_json_that_is_no_notebook_is_damage() -> None:
    place = new_place("analysis.ipynb")
    for data in (b"", b"[]", b'{"nbformat": 3}', b'{"nbformat": 4'):
        place.put(data)
        for act in (FORM.read, FORM.describe):
            with pytest.raises(ItemDamaged, match="analysis"):
                act(place)
