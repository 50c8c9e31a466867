"""Importing cvcache is cheap, its names are right, and its modules import downward only."""

from __future__ import annotations

import ast
import graphlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import cvcache

PACKAGE = Path(cvcache.__file__).parent
HEAVY = {"dask", "fsspec", "numpy", "zarr"}

LAYERS: tuple[set[str], ...] = (
    {"errors"},
    {"store"},
    {"formats", "keys", "protocol"},
    {"image", "logs"},
    {"node"},
    {"tree"},
    {"browse"},
    {"cli", "napari", "testing"},
)
"""The rooms of docs: a module imports from its own layer and from those before it."""

MUTUAL: set[tuple[str, str]] = set()
"""Imported inside a function, since the other one imports this one."""


def modules() -> dict[str, ast.Module]:
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if name != "__init__":
            names[name] = ast.parse(path.read_text())
    return names


def imports(tree: ast.Module) -> set[str]:
    """Give what a module imports when it runs, also inside functions; not what it only takes types from."""
    types_only = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for line in test.body
        for node in ast.walk(line)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in types_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide their layer"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def inner_imports(tree: ast.Module, known: dict[str, ast.Module]) -> set[str]:
    """Give the modules of cvcache that a module imports, by their names below it."""
    found = set()
    for name in imports(tree):
        inside = name.removeprefix("cvcache.")
        if inside != name:
            found.add(inside if inside in known else inside.rpartition(".")[0])
    return found - {""}


def layer_of(module: str) -> int:
    room = module.partition(".")[0]
    return next(number for number, rooms in enumerate(LAYERS) if room in rooms)


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


def test_every_module_is_in_a_layer() -> None:
    rooms = {name.partition(".")[0] for name in modules()}
    assert rooms == set().union(*LAYERS)


def test_imports_point_downward() -> None:
    known = modules()
    graph = {}
    for name, tree in known.items():
        graph[name] = {other for other in inner_imports(tree, known) - {name} if (name, other) not in MUTUAL}
        upward = {other for other in graph[name] if layer_of(other) > layer_of(name)}
        assert not upward, f"{name} imports {upward}, which stand above it"
    graphlib.TopologicalSorter(graph).prepare()


def test_the_store_alone_knows_file_systems() -> None:
    for name, tree in modules().items():
        used = {imported.partition(".")[0] for imported in imports(tree)} & {"fsspec", "s3fs", "gcsfs", "adlfs"}
        assert not used or name.partition(".")[0] == "store" or name == "cli.demo_image", (
            name
        )  # the demo reads web pages


def test_the_core_has_never_heard_of_the_adapters() -> None:
    for name, tree in modules().items():
        strangers = {imported.partition(".")[0] for imported in imports(tree)} & {"argparse", "napari", "qtpy", "click"}
        assert not strangers or layer_of(name) == len(LAYERS) - 1, name
