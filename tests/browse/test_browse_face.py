"""The names of `cvcache.browse` are right, light, and in the reference."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cvcache.browse

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "browse.md"
ROWS = [line for line in REFERENCE.read_text().splitlines() if line.startswith("| `")]
DOCUMENTED = sorted({name for row in ROWS for name in re.findall(r"`([A-Za-z]\w*)[(`]", row.split("|")[1])})


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_name_of_the_reference_is_importable_and_has_a_docstring(name: str) -> None:
    assert name in cvcache.browse.__all__
    thing = getattr(cvcache.browse, name)
    assert thing.__name__ == name
    assert thing.__doc__


def test_the_reference_names_what_it_should() -> None:
    assert {"Tree", "Row", "layers", "facts", "follow_log", "as_python"} <= {*DOCUMENTED}


def test_modules_do_not_hide_names() -> None:
    code = (
        "import pkgutil, importlib, types, cvcache.browse as b\n"
        "for found in pkgutil.iter_modules(b.__path__): importlib.import_module(f'cvcache.browse.{found.name}')\n"
        "print([name for name in b.__all__ if isinstance(getattr(b, name), types.ModuleType)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_looking_at_trees_needs_no_window_and_nothing_heavy() -> None:
    code = "import json, sys\nfrom cvcache.browse import *\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"dask", "fsspec", "napari", "numpy", "pandas", "qtpy", "PyQt6", "PySide6", "zarr"}
