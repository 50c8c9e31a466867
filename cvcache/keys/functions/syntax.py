"""A syntax tree as JSON, and the names in it, the same in every version of Python."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import Any

from cvcache.keys.canonical import canonical

__all__ = ["MUTATORS", "dotted_name", "dump_tree", "find_attribute_chains", "find_written_names"]

MUTATORS = {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "put", "remove"}
MUTATORS |= {"set", "setdefault", "update"}
_MUTATORS_WITHOUT_RESULT = MUTATORS - {"pop", "popitem", "setdefault"}
"""On containers of Python these return None: a call whose result is used, such as ``table.add``, is no mutation."""

_VALUE_USERS = (
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
_IGNORED_FIELDS = {"annotation", "ctx", "kind", "returns", "type_comment", "type_ignores", "type_params"}


def _children(node: ast.AST, skip: Iterable[ast.AST]) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a node, without docstrings, annotations, positions and fields that not all versions have."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from [("targets", [node.target]), ("value", node.value)]
        return
    for name, value in ast.iter_fields(node):
        if name in _IGNORED_FIELDS or value is None:
            continue
        counted = (
            [part for part in value if part not in skip and not _has_no_effect(node, part)]
            if isinstance(value, list)
            else value
        )
        if counted != []:
            yield name, counted


def _has_no_effect(parent: ast.AST, node: ast.AST) -> bool:
    if isinstance(parent, ast.JoinedStr):  # 3.12 puts empty texts between the parts of an f-string
        return isinstance(node, ast.Constant) and node.value == ""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def dump_tree(node: Any, skip: Iterable[ast.AST]) -> Any:
    """Return a syntax tree as JSON, the same in each version of Python that can parse the source."""
    if isinstance(node, list):
        return [dump_tree(part, skip) for part in node]
    if isinstance(node, ast.Constant):
        return {"Constant": canonical(node.value, paths="text")}
    if not isinstance(node, ast.AST):
        return node
    encoded = {name: dump_tree(part, skip) for name, part in _children(node, skip)}
    if isinstance(node, ast.ClassDef):  # in a class they may be the fields of a dataclass
        encoded["annotations"] = [
            dump_tree(part.annotation, skip) for part in node.body if isinstance(part, ast.AnnAssign)
        ]
    return {"Assign" if isinstance(node, ast.AnnAssign) and node.value else type(node).__name__: encoded}


def find_attribute_chains(node: ast.AST, skip: Iterable[ast.AST]) -> dict[str, set[tuple[str, ...]]]:
    """Return the names in a tree with the attribute chains that follow them: ``a.b.c`` gives ``(b, c)`` for ``a``."""
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


def find_written_names(node: ast.AST) -> set[str]:
    """Return the dotted names that a tree rebinds as global or nonlocal, assigns a part of, or mutates by a call.

    Local names of a function do not count.
    """
    written_names, declared, stored = set(), set(), set()
    for parent, part in _scope_nodes(node):
        if isinstance(part, _FUNCTIONS):
            written_names |= find_written_names(part)
        elif isinstance(part, (ast.Global, ast.Nonlocal)):
            declared.update(part.names)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            stored.add(part.id)
        elif name := _changed_name(part, parent):
            written_names.add(name)
    local_names = stored - declared if isinstance(node, _FUNCTIONS) else set()
    return {name for name in written_names if name.partition(".")[0] not in local_names} | (declared & stored)


def _changed_name(node: ast.AST, parent: ast.AST) -> str:
    """Return the dotted name of what a node assigns a part of, or mutates by a call; an empty string if nothing."""
    match node:
        case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
            return dotted_name(node)
        case ast.Call(func=ast.Attribute(attr=method, value=owner)) if method in MUTATORS:
            is_used = isinstance(parent, _VALUE_USERS)
            return "" if is_used and method in _MUTATORS_WITHOUT_RESULT else dotted_name(owner)
    return ""


def _scope_nodes(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Yield the nodes below one, each after the node around it, without the nodes inside of functions."""
    pending = [node]
    while pending:
        parent = pending.pop()
        for part in ast.iter_child_nodes(parent):
            yield parent, part
            if not isinstance(part, _FUNCTIONS):
                pending.append(part)


def dotted_name(node: ast.AST) -> str:
    """Return a name with the attributes that follow it, such as ``a.b``; of ``a[0].b`` only ``a``."""
    attributes: list[str] = []
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        attributes = [node.attr, *attributes] if isinstance(node, ast.Attribute) else []
        node = node.value
    return ".".join([node.id, *attributes]) if isinstance(node, ast.Name) else ""
