"""The structure of the package, counted from its imports: also those in functions and under TYPE_CHECKING.

``python tests/house.py [FOLDER]`` prints the figures of the package in a folder, by default of this one.
"""

from __future__ import annotations

import ast
import functools
import graphlib
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cvcache"

Graph = dict[str, set[str]]


@functools.cache
def modules(package: Path = PACKAGE) -> dict[str, ast.Module]:
    """Give each module of a package by its whole name; of packages the text of their ``__init__``."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join([package.name, *path.relative_to(package).with_suffix("").parts])
        found[name.removesuffix(".__init__")] = ast.parse(path.read_text())
    return found


def imported(tree: ast.AST) -> set[str]:
    """Give what a module imports; for ``from a import b`` it is ``a.b``."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide their floor"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@functools.cache
def imports(package: Path = PACKAGE) -> Graph:
    """Give which modules of the package each one imports."""
    known = modules(package)
    graph = {}
    for name, tree in known.items():
        found = {other if other in known else other.rpartition(".")[0] for other in imported(tree)}
        graph[name] = (found & known.keys()) - {name}
    return graph


def rooms(graph: Graph, package: str) -> Graph:
    """Give which members of a package import which: modules, and packages as one. Its face is none of them."""
    found: Graph = {}
    for name, others in graph.items():
        if name.startswith(f"{package}."):
            room = _room(name, package)
            mine = {_room(other, package) for other in others if other.startswith(f"{package}.")}
            found.setdefault(room, set()).update(mine - {room})
    return found


def _room(name: str, package: str) -> str:
    return name.removeprefix(f"{package}.").partition(".")[0]


def circles(graph: Graph) -> list[list[str]]:
    """Give the sets of members that import each other, straight or through others."""
    reach = {name: _reach(graph, name) for name in graph}
    found = {tuple(sorted(n for n in reach[name] if name in reach[n])) for name in graph if name in reach[name]}
    return [list(circle) for circle in sorted(found)]


def _reach(graph: Graph, name: str) -> set[str]:
    seen: set[str] = set()
    pending = [*graph[name]]
    while pending:
        other = pending.pop()
        if other not in seen:
            seen.add(other)
            pending += graph[other]
    return seen


def floors(graph: Graph) -> dict[str, int]:
    """Give the floor of each member: it stands above all that it imports, but for those it is in a circle with."""
    together = {name: frozenset(circle) for circle in circles(graph) for name in circle}
    of = {name: together.get(name, frozenset({name})) for name in graph}
    groups: dict[frozenset[str], set[frozenset[str]]] = {group: set() for group in of.values()}
    for name, others in graph.items():
        groups[of[name]] |= {of[other] for other in others} - {of[name]}
    floor: dict[frozenset[str], int] = {}
    for group in graphlib.TopologicalSorter(groups).static_order():
        floor[group] = 1 + max((floor[below] for below in groups[group]), default=0)
    return {name: floor[of[name]] for name in graph}


def packages(graph: Graph, top: str) -> list[str]:
    """Give the packages below one, itself first."""
    return [top, *sorted(name for name in graph if name != top and any(n.startswith(f"{name}.") for n in graph))]


def figures(package: Path = PACKAGE) -> list[str]:
    """Give the figures of a package, a line each."""
    graph = imports(package)
    top = rooms(graph, package.name)
    inside = [(one, circle) for one in packages(graph, package.name) for circle in circles(rooms(graph, one))]
    size = sum(len(path.read_text().splitlines()) for path in package.rglob("*.py"))
    return [
        f"{len(graph)} modules, {size} lines",
        f"{len(top)} rooms at the top on {max(floors(top).values())} floors, {sum(map(len, top.values()))} arrows",
        f"{len(circles(graph))} circles of modules, {len(inside)} of members of a package",
        *(f"circle in {one}: {', '.join(circle)}" for one, circle in inside),
    ]


if __name__ == "__main__":
    chosen = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PACKAGE
    sys.stdout.write("\n".join([*figures(chosen), ""]))
