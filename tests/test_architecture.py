"""docs/explanation/architecture.md says where things are: it is compared with the package."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import house
import pytest

sys.path.insert(0, str(Path(__file__).parent / "protocol"))

import states

TEXT = states.PAGE.read_text()


def block(mark: str) -> str:
    """Give what the page has between two marks of a name."""
    return TEXT.split(f"<!-- {mark} -->")[1]


def test_the_tree_of_the_page_is_that_of_the_folders() -> None:
    members: dict[str, set[str]] = {}
    for line in block("rooms").splitlines():
        if found := re.match(r"(\w+(?:/\w+)*)/ ", line):
            room = members.setdefault(f"cvcache.{found[1].replace('/', '.')}", set())
        elif line.startswith(" "):
            room |= set(re.findall(r"\w+", line))
    graph = house.imports()
    packages = {*house.packages(graph, "cvcache")} - {"cvcache"}
    known = {package: set(house.rooms(graph, package)) for package in packages}
    inner = {
        package: {name for name in modules if f"{package}.{name}" not in packages} for package, modules in known.items()
    }
    assert members == inner


def test_the_diagram_of_the_page_is_that_of_the_rules() -> None:
    assert block("states") == f"\n{states.diagram()}"


NAMED = sorted(set(re.findall(r"`(\w+(?:/\w+)*\.py)(?::([\w.]+))?`", TEXT)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=lambda part: part or "-")
def test_what_the_page_names_is_there(path: str, name: str) -> None:
    tree = house.modules().get(f"cvcache.{path.removesuffix('.py').replace('/', '.')}")
    assert tree is not None
    scope: list[ast.AST] = [tree]
    for part in filter(None, name.split(".")):
        scope = [node for node in ast.iter_child_nodes(scope[0]) if part in names_of(node)]
        assert scope, f"{path} defines no {part}"


def names_of(node: ast.AST) -> set[str]:
    """Give what a statement defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


SETTLED = {"TypeVar", "re.compile", "logging.getLogger", "lazy_loader.attach", "inspect.signature"}
"""Calls whose result does not change."""


KEPT = re.compile(r"\b(lru_)?cache\b")
CONTAINERS = (ast.Dict, ast.DictComp, ast.List, ast.ListComp, ast.Set, ast.SetComp)


def state_of(tree: ast.Module) -> set[str]:
    """Give the names at the top of a module that hold something else at another time, or keep results of a function."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found |= {node.name} if any(KEPT.search(ast.unparse(mark)) for mark in node.decorator_list) else set()
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            changes = isinstance(node.value, CONTAINERS) or (
                isinstance(node.value, ast.Call) and ast.unparse(node.value.func) not in SETTLED
            )
            found |= {
                name for name in names_of(node) if changes and not name.strip("_").isupper() and name != "__all__"
            }
    rebound = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    return found | rebound


def test_the_page_lists_what_a_process_remembers() -> None:
    listed: dict[str, set[str]] = {}
    for path, names in re.findall(r"^\| `(\S+)\.py` \| (.*?) \|", block("state"), re.MULTILINE):
        listed[path] = set(re.findall(r"`(\w+)`", names))
    found = {
        name.removeprefix("cvcache.").replace(".", "/"): state_of(tree)
        for name, tree in house.modules().items()
        if name != "cvcache" and state_of(tree)
    }
    assert listed == found


def test_the_page_lists_the_context_variables() -> None:
    listed = set(re.findall(r"^\| `(\S+)` \| `(\S+)\.py` \|", block("context"), re.MULTILINE))
    made = {
        (ast.literal_eval(node.args[0]), name.removeprefix("cvcache.").replace(".", "/"))
        for name, tree in house.modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "ContextVar"
    }
    assert listed == made


@pytest.mark.parametrize("text", ["_known = {}", "@functools.cache\ndef known(): ...", "a = 1\ndef f():\n    global a"])
def test_state_is_seen(text: str) -> None:
    assert state_of(ast.parse(text))
