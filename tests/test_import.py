"""Importing cvcache is cheap, and its names are right."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import cvcache

HEAVY = {"dask", "fsspec", "numpy", "zarr"}


def in_fresh_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout or done.stderr


@pytest.mark.parametrize("line", ["import cvcache", "from cvcache import cdir_init", "from cvcache import step, Item"])
def test_an_import_loads_nothing_heavy(line: str) -> None:
    loaded = json.loads(in_fresh_process(f"{line}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"))
    assert not HEAVY & {name.partition(".")[0] for name in loaded}


def test_importing_the_package_alone_loads_no_module_of_it() -> None:
    code = "import cvcache, sys; print([name for name in sys.modules if name.startswith('cvcache.')])"
    assert in_fresh_process(code).strip() == "[]"


def test_a_handle_and_a_key_need_nothing_heavy() -> None:
    code = """
import sys, tempfile
import cvcache
with tempfile.TemporaryDirectory() as folder, cvcache.cdir_init(folder + "/node", {"sigma": 2.0}) as node:
    node.write("stats.json", {"n": 1})
print(sorted({name.partition(".")[0] for name in sys.modules} & {"dask", "fsspec", "numpy", "zarr"}))
"""
    assert in_fresh_process(code).strip() == "[]"


def test_a_handle_takes_its_url_apart_without_urllib() -> None:
    code = "import cvcache, sys; cvcache.cdir('a/b'); cvcache.cdir('s3://a/b'); print('urllib' in sys.modules)"
    assert in_fresh_process(code).strip() == "False"


def test_all_names_are_sorted_importable_and_listed() -> None:
    assert cvcache.__all__ == sorted(cvcache.__all__)
    assert dir(cvcache) == cvcache.__all__
    for name in cvcache.__all__:
        thing = getattr(cvcache, name)
        assert thing.__name__ == name
        assert thing.__doc__
    assert set(importlib.import_module("cvcache.errors").__all__) <= set(cvcache.__all__)
    assert cvcache.__version__.split(".")[0].isdigit()


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("from cvcache import cidr_commit", "cdir_commit"),
        ("from cvcache import cidr_init", "cdir_init"),
        ("import cvcache; cvcache.cdir_querry", "cdir_query"),
        ("import cvcache; cvcache.Polcy", "Policy"),
    ],
)
def test_a_misspelt_name_is_told_the_right_one(line: str, meant: str) -> None:
    last = in_fresh_process(line).strip().splitlines()[-1]
    assert f"did you mean '{meant}'" in last


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(cvcache, "nothing_like_it")
