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


@pytest.mark.parametrize("name", cvcache.browse.__all__)
def test_a_name_is_importable_told_and_in_the_reference(name: str) -> None:
    thing = getattr(cvcache.browse, name)
    assert thing.__name__ == name
    assert thing.__doc__
    assert re.search(rf"`{name}\b", REFERENCE.read_text())


def test_the_names_are_sorted_and_a_misspelt_one_is_told_the_right_one() -> None:
    assert sorted(cvcache.browse.__all__) == cvcache.browse.__all__ == dir(cvcache.browse)
    with pytest.raises(AttributeError, match="did you mean 'layers'"):
        _ = cvcache.browse.layer


def test_modules_do_not_hide_names() -> None:
    code = (
        "import pkgutil, importlib, cvcache.browse as b\n"
        "for found in pkgutil.iter_modules(b.__path__): importlib.import_module(f'cvcache.browse.{found.name}')\n"
        "print([name for name in b.__all__ if not callable(getattr(b, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_looking_at_trees_needs_no_window_and_nothing_heavy() -> None:
    code = "import json, sys\nfrom cvcache.browse import *\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"dask", "fsspec", "napari", "numpy", "pandas", "qtpy", "PyQt6", "PySide6", "zarr"}
