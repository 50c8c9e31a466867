"""The rooms stand on floors: imports point downward, and one module spells the layout on disk."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import house
import pytest

from cvcache.formats import kind_of, registry

PROJECT = house.PACKAGE.parent
LINT_IMPORTS = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the contracts of pyproject.toml on the package in a folder."""
    assert LINT_IMPORTS is not None, "pip install --group lint"
    return subprocess.run([LINT_IMPORTS, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the package with its contracts."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(house.PACKAGE, folder / "cvcache", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", folder)
    return folder


def test_the_contracts_hold(copied: Path) -> None:
    done = lint(copied)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


IN_A_FUNCTION = "\n\ndef climb() -> None:\n    import {}\n"
FOR_TYPES = "\n\nif TYPE_CHECKING:\n    import {}\n"


@pytest.mark.parametrize("how", [IN_A_FUNCTION, FOR_TYPES], ids=["in a function", "for types"])
@pytest.mark.parametrize(
    ("module", "above"),
    [
        ("store/base.py", "cvcache.store.open"),
        ("keys/canonical.py", "cvcache.keys.graphs.lineage"),
        ("protocol/record.py", "cvcache.keys.digest"),
        ("node/item_io.py", "cvcache.tree.walk"),
        ("napari/jobs.py", "cvcache.napari.dock.dock"),
        ("image/write/task.py", "distributed"),
    ],
)
def test_an_import_that_climbs_is_seen(copied: Path, module: str, above: str, how: str) -> None:
    path = copied / "cvcache" / module
    text = path.read_text()
    try:
        path.write_text(text + how.format(above))
        done = lint(copied)
    finally:
        path.write_text(text)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout
    assert above in done.stdout


def test_a_module_without_a_floor_is_seen(copied: Path) -> None:
    path = copied / "cvcache" / "protocol" / "stray.py"
    path.write_text('"""On no floor."""\n')
    try:
        done = lint(copied)
    finally:
        path.unlink()
    assert done.returncode == 1
    assert "stray" in done.stdout


def test_there_are_few_rooms_on_few_floors_and_no_circles() -> None:
    graph = house.imports()
    top = house.rooms(graph, "cvcache")
    assert len(top) <= 14
    assert max(house.floors(top).values()) <= 9
    assert sum(map(len, top.values())) <= 70
    assert house.circles(graph) == []
    for package in house.packages(graph, "cvcache"):
        assert house.circles(house.rooms(graph, package)) == [], package


def test_a_circle_and_its_floor_are_counted() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set[str]()}
    assert house.circles(graph) == [["b", "c"]]
    assert house.floors(graph) == {"a": 3, "b": 2, "c": 2, "d": 1}


# -- what is imported by a name in a string ---------------------------------------------------------

BY_NAME = {
    "cvcache": "the face",
    "cvcache.formats.messages": "an optional package",
    "cvcache.formats.registry": "the table of formats, and those of others",
    "cvcache.image.write.progress": "distributed, where the script has loaded it",
    "cvcache.keys.canonical": "the name of the script that runs",
    "cvcache.keys.functions.callables": "modules of the user",
    "cvcache.keys.functions.closure": "modules of the user, and the demo among them",
    "cvcache.keys.functions.source": "the script that runs",
    "cvcache.logs.cluster": "distributed, where the script has loaded it",
    "cvcache.logs.route": "the same",
    "cvcache.napari.sample": "the demo, which is a process of its own",
    "cvcache.node.provenance": "what was loaded",
    "cvcache.protocol.claim": "multiprocessing, where the script has loaded it",
    "cvcache.protocol.opener": "asyncio, where the script has loaded it",
}
"""Modules that reach another one by its name in a string, and which."""


def names_modules(tree: ast.AST) -> bool:
    """Whether a module imports by a name, looks into what is loaded, or has the name of one of ours in a string."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    ours = house.modules().keys() - house.packages(house.imports(), "cvcache")
    texts = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
    }
    code = ast.unparse(tree)
    return bool(texts & ours or re.search(r"\b(import_module|__import__)\(|\bsys\.modules\b", code))


def test_nothing_else_is_reached_by_a_name_in_a_string() -> None:
    assert {name for name, tree in house.modules().items() if names_modules(tree)} == set(BY_NAME)


@pytest.mark.parametrize(
    "text",
    [
        "importlib.import_module(name)",
        "client = sys.modules['distributed']",
        "command = ['-m', 'cvcache.cli.main']",
    ],
)
def test_another_name_in_a_string_is_seen(text: str) -> None:
    assert names_modules(ast.parse(text))


def test_the_table_of_formats_names_modules_that_are_there() -> None:
    there = {name for name in house.modules() if name.startswith(("cvcache.formats.", "cvcache.image."))}
    named = {form.target for form in registry._formats.values() if isinstance(form.target, str)}
    assert named <= there
    verbs = ("write", "read", "describe")
    formats = {name for name in there if all(hasattr(importlib.import_module(name), verb) for verb in verbs)}
    assert named == formats, "each module with the three verbs has a suffix"


SUFFIX_READERS = {"cvcache.image.ome_zarr_zip", "cvcache.image.points", "cvcache.protocol.sweep"}
"""Formats look at their own suffixes; the protocol knows no formats."""


@pytest.mark.parametrize("name", sorted(house.modules()))
def test_the_registry_alone_reads_the_suffixes_of_formats(name: str) -> None:
    if name.startswith(("cvcache.formats.", "cvcache.store.")) or name in SUFFIX_READERS:
        return
    calls = [node for node in ast.walk(house.modules()[name]) if isinstance(node, ast.Call)]
    asked = [call for call in calls if ast.unparse(call.func).endswith((".endswith", ".removesuffix"))]
    texts = [part.value for call in asked for part in ast.walk(call) if isinstance(part, ast.Constant)]
    assert not [text for text in texts if isinstance(text, str) and kind_of(f"x{text}")]


# -- faces ------------------------------------------------------------------------------------------

INNER = house.modules().keys() - {*house.packages(house.imports(), "cvcache"), "cvcache.errors"}
"""Modules that are behind a face."""

FACES = {name: importlib.import_module(name) for name in house.packages(house.imports(), "cvcache")}


def told_to_type_checkers(face: str) -> dict[str, str]:
    """Give the names that a face imports at once, or for type checkers, and whence."""
    tree = house.modules()[face]
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    nodes = [node for part in (tree, *blocks) for node in part.body if isinstance(node, ast.ImportFrom)]
    ours = [node for node in nodes if str(node.module).split(".")[0] == "cvcache"]
    return {alias.name: str(node.module) for node in ours for alias in node.names}


@pytest.mark.parametrize("face", sorted(FACES))
def test_a_lazy_face_says_to_type_checkers_what_it_does(face: str) -> None:
    if face.startswith("cvcache.napari"):
        pytest.importorskip("qtpy")
        pytest.importorskip("napari")
    homes = told_to_type_checkers(face)
    assert sorted(FACES[face].__all__) == sorted(homes)
    for name, home in homes.items():
        module = importlib.import_module(home)
        assert getattr(FACES[face], name) is (sys.modules[f"{face}.{name}"] if home == face else getattr(module, name))


def past_a_face(tree: ast.AST, package: str = "") -> list[str]:
    """Give what a module of a package, or a test, imports that no face names.

    A module sees the modules of each package that it is in, and of another one the face: of the outermost that it is
    not in. A test sees the face of every package.
    """
    found = []
    faces = {
        name.asname or name.name: FACES[f"{node.module}.{name.name}"]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
        if f"{node.module}.{name.name}" in FACES
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in faces:
            face = faces[node.value.id]
            found += [] if node.attr in face.__all__ else [f"{face.__name__}.{node.attr}"]
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.startswith("cvcache.") and name.name not in FACES]
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in INNER:
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("cvcache."):
            source = str(node.module)
            home = source if source in FACES else source.rpartition(".")[0]
            if home == "cvcache" or f"{package}.".startswith(f"{home}."):
                continue
            ways = [name for name in sorted(FACES) if f"{home}.".startswith(f"{name}.")]
            face = next(name for name in ways if not f"{package}.".startswith(f"{name}.")) if package else home
            found += [
                f"{source}.{name.name}" for name in node.names if source != face or name.name not in FACES[face].__all__
            ]
    return found


def test_nobody_imports_past_a_face() -> None:
    inside = {
        name: past_a_face(tree, name if name in FACES else name.rpartition(".")[0])
        for name, tree in house.modules().items()
        if name not in FACES
    }
    tests = {
        str(path.relative_to(PROJECT)): past_a_face(ast.parse(path.read_text()))
        for folder in ("tests", "docs")
        for path in sorted((PROJECT / folder).rglob("*.py"))
    }
    assert {name: found for name, found in (inside | tests).items() if found} == {}


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("from cvcache.protocol.rules import decide", "cvcache.node"),
        ("import cvcache.protocol.rules", "cvcache.node"),
        ("def late():\n    from cvcache.image.read import StoredArray", "cvcache.node"),
        ("from cvcache.image.read.open import open_image", "cvcache.image.write"),
        ("from cvcache.protocol import _private", "cvcache.node"),
        ("from cvcache.protocol.rules import decide", ""),
        ("from cvcache.protocol import strict_json", ""),
        ("import cvcache\ncvcache.protocol.rules.decide", ""),
        ("from cvcache import protocol\nprotocol.strict_json", "cvcache.node"),
    ],
)
def test_an_import_past_a_face_is_seen(text: str, package: str) -> None:
    assert past_a_face(ast.parse(text), package)


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("from cvcache.protocol import decide", "cvcache.node"),
        ("from cvcache import protocol\nprotocol.decide", "cvcache.node"),
        ("from cvcache.protocol.rules import decide", "cvcache.protocol"),
        ("from cvcache.image.pyramid import grid", "cvcache.image.write"),
        ("from cvcache.image.read import open_image", "cvcache.image.write"),
        ("from cvcache.image.read import open_image", ""),
        ("from cvcache.errors import CvcacheError", ""),
    ],
)
def test_an_import_by_a_face_is_not(text: str, package: str) -> None:
    assert past_a_face(ast.parse(text), package) == []


# -- the layout on disk -----------------------------------------------------------------------------


def spellings(tree: ast.AST) -> list[str]:
    """Give what a module says of the layout: the name, or a text with it that is no docstring."""
    found: list[str] = []
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)) and "RESERVED" in ast.unparse(node):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.alias) and node.name == "RESERVED":
            found.append(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            found += re.findall(
                r"(?<!_)_cvcache(?!_)|^log/$|^/?(?:beat|writing|inventory|thumb|attempts|probe)/", node.value
            )
    return found


def test_one_module_spells_the_layout() -> None:
    assert {name for name, tree in house.modules().items() if spellings(tree)} == {"cvcache.store.layout"}


@pytest.mark.parametrize(
    "text",
    [
        "from cvcache.store.layout import RESERVED",
        "from cvcache.store import layout\nwhere = layout.RESERVED",
        "log = f'{path}/_cvcache/log'",
        "own = '_cvcache'",
        "name.removeprefix('log/')",
        "f'{own}/beat/{attempt}'",
    ],
)
def test_a_second_spelling_is_seen(text: str) -> None:
    assert spellings(ast.parse(text))
