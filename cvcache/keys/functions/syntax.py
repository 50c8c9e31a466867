"""A syntax tree as JSON, and the names in it: what counts of it, alike in every Python version."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

from cvcache.keys.canonical import canonical
from cvcache.keys.digest import CanonicalJson

__all__ = ["MUTATORS", "chains_of", "dotted", "dump_tree", "written_in"]

MUTATORS = {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "put", "remove"}
MUTATORS |= {"set", "setdefault", "update"}
_SILENT = MUTATORS - {"pop", "popitem", "setdefault"}
"""Those of Python's own containers give None: a call whose value is used, as of a table's ``add``, changes nothing."""

_USES = (
    ast.Assign,
    ast.AnnAssign,
    ast.Attribute,
    ast.BinOp,
    ast.Call,
    ast.Compare,
    ast.NamedExpr,
    ast.Return,
    ast.keyword,
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_NOT_CODE = {"annotation", "ctx", "kind", "returns", "type_comment", "type_ignores", "type_params"}


def _children(node: ast.AST, skip: Iterable[ast.AST]) -> Iterator[tuple[str, Any]]:
    """Yield what counts of a node: no docstrings, annotations, positions, nor what some Python versions leave empty."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from [("targets", [node.target]), ("value", node.value)]
        return
    for name, value in ast.iter_fields(node):
        if name in _NOT_CODE or value is None:
            continue
        kept = (
            [part for part in value if part not in skip and not _is_idle(node, part)]
            if isinstance(value, list)
            else value
        )
        if kept != []:
            yield name, kept


def _is_idle(parent: ast.AST, node: ast.AST) -> bool:
    if isinstance(parent, ast.JoinedStr):  # 3.12 puts empty texts between the parts of an f-string
        return isinstance(node, ast.Constant) and node.value == ""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def dump_tree(node: Any, skip: Iterable[ast.AST]) -> CanonicalJson:
    """Return a syntax tree as JSON that is the same for every Python version that can read the source."""
    if isinstance(node, list):
        return [dump_tree(part, skip) for part in node]
    if isinstance(node, ast.Constant):
        return {"Constant": canonical(node.value, paths="text")}
    if not isinstance(node, ast.AST):
        return node  # type: ignore[no-any-return]  # a field of ast
    form = {name: dump_tree(part, skip) for name, part in _children(node, skip)}
    if isinstance(node, ast.ClassDef):  # those of a class are fields of a dataclass, so there they count
        form["annotations"] = [
            dump_tree(part.annotation, skip) for part in node.body if isinstance(part, ast.AnnAssign)
        ]
    return {"Assign" if isinstance(node, ast.AnnAssign) and node.value else type(node).__name__: form}


def chains_of(node: ast.AST, skip: Iterable[ast.AST]) -> dict[str, set[tuple[str, ...]]]:
    """Return the names in a tree, each with the chains of attributes that follow it: ``a.b.c`` gives ``b, c`` for a."""
    chains: dict[str, set[tuple[str, ...]]] = {}
    pending: list[Any] = [node]
    while pending:
        part, attributes = pending.pop(), []
        while isinstance(part, ast.Attribute):
            attributes.append(part.attr)
            part = part.value
        if isinstance(part, ast.Name):
            chains.setdefault(part.id, set()).add(tuple(reversed(attributes)))
        elif isinstance(part, list):
            pending += part
        elif isinstance(part, ast.AST):
            pending += [child for _, child in _children(part, skip)]
    return chains


def written_in(node: ast.AST) -> set[str]:
    """Return the dotted names a tree rebinds as global or nonlocal, assigns a part of, or calls to change.

    A name that one function binds for itself is that function's, and no other's.
    """
    written, declared, stored = set(), set(), set()
    used = {id(value) for part in _scope(node) if isinstance(part, _USES) for value in ast.iter_child_nodes(part)}
    for part in _scope(node):
        if isinstance(part, _FUNCTIONS):
            written |= written_in(part)
        elif isinstance(part, (ast.Attribute, ast.Subscript)) and not isinstance(part.ctx, ast.Load):
            written.add(dotted(part))
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in MUTATORS:
            if part.func.attr not in _SILENT or id(part) not in used:
                written.add(dotted(part.func.value))
        elif isinstance(part, (ast.Global, ast.Nonlocal)):
            declared.update(part.names)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            stored.add(part.id)
    own = stored - declared if isinstance(node, _FUNCTIONS) else set()
    return {name for name in written if name.partition(".")[0] not in own} | (declared & stored)


def _scope(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes below one, functions in it without what they are made of."""
    below = list(ast.iter_child_nodes(node))
    while below:
        part = below.pop()
        yield part
        if not isinstance(part, _FUNCTIONS):
            below += ast.iter_child_nodes(part)


def dotted(node: ast.AST) -> str:
    """Return a name with the attributes that follow it, such as ``a.b``; of ``a[0].b`` only ``a``."""
    attributes: list[str] = []
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        attributes = [node.attr, *attributes] if isinstance(node, ast.Attribute) else []
        node = node.value
    return ".".join([node.id, *attributes]) if isinstance(node, ast.Name) else ""
