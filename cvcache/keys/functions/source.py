"""The source of a function as a tree, believed only if it compiles to what would run; else its bytecode."""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import itertools
import linecache
import re
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from cvcache.keys.canonical import canonical
from cvcache.keys.digest import CanonicalJson, digest
from cvcache.keys.functions.callables import attribute, module_of, real_name
from cvcache.keys.functions.syntax import MUTATORS, chains_of, dotted, dump_tree, written_in

__all__ = ["Read", "find_source", "parse_source", "read_code", "read_tree"]

_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF"}


class Read(NamedTuple):
    """What is read of one function or class, from its syntax tree or its bytecode."""

    form: CanonicalJson
    chains: dict[str, set[tuple[str, ...]]]  # each name, with the attributes that follow it
    written: set[str]  # dotted names it assigns to, or calls a mutating method of
    loads: set[str]  # names it takes from outside
    free: set[str]  # those it takes from an enclosing function
    lenient: set[str]  # those that only a decorator names


def read_tree(node: ast.AST, code: CodeType, scope: Mapping[str, Any]) -> Read:
    """Return what a syntax tree, known to be that of `code`, says and uses."""
    decorators = getattr(node, "decorator_list", [])
    ours = frozenset(part for part in decorators if module_of(_target(part, scope)).partition(".")[0] == "cvcache")
    loads = _loads(code)
    around = [part for part in decorators if part not in ours] + getattr(node, "keywords", [])
    outer = {name for part in around for name in chains_of(part, ours)} - loads
    chains = chains_of(node, ours)
    return Read(dump_tree(node, ours), chains, written_in(node), loads | outer, set(code.co_freevars), outer)


def read_code(code: CodeType | None, doc: str | None) -> Read:
    """Return what bytecode says and uses, for want of a tree."""
    if code is None:
        return Read(None, {}, set(), set(), set(), set())
    written, last = set(), ""
    for step in (step for part in _nested(code) for step in dis.get_instructions(part)):
        if step.opname in {"STORE_GLOBAL", "STORE_DEREF"} or (step.argval in MUTATORS and last):
            written.add(last if step.argval in MUTATORS else step.argval)
        last = step.argval if step.opname in _LOADS | {"LOAD_DEREF"} else ""
    loads, free = _loads(code), set(code.co_freevars)
    return Read(_bytecode(code, doc), {name: {()} for name in loads}, written & (loads | free), loads, free, set())


def find_source(value: Any, functions: list[FunctionType], module: dict[str, Any]) -> tuple[ast.AST | None, Any]:
    """Return the syntax tree and the code of a function or class; no tree if no source compiles to what would run."""
    live = [function.__code__ for function in functions]
    file = live[0].co_filename if live else module.get("__file__") or "<string>"
    line = live[0].co_firstlineno if isinstance(value, FunctionType) else sys.maxsize  # the last of classes named alike
    for refresh in (False, True):  # what linecache holds can be older, or newer, than what was imported
        if refresh:
            linecache.checkcache(file)
        source = parse_source("".join(linecache.getlines(file, module)) or _command_line(file, module))
        fits = [code for code in source.codes.get(real_name(value), ()) if _fits(value, code, live)]
        code = min(fits, key=lambda code: abs(code.co_firstlineno - line), default=None)
        for node in source.nodes.get(code.co_firstlineno, ()) if code else ():
            if _is_of(node, code):
                return node, code
    return None, live[0] if isinstance(value, FunctionType) else None


def _command_line(file: str, module: dict[str, Any]) -> str:
    """Return the program that was given to ``python -c``, which linecache has from 3.13 on."""
    if file != "<string>" or module is not vars(sys.modules["__main__"]):
        return ""
    after = itertools.dropwhile(lambda part: not re.fullmatch("-[A-Za-z]*c", part), sys.orig_argv[1:])
    return next(itertools.islice(after, 1, None), "")


def _fits(value: Any, code: CodeType, live: list[CodeType]) -> bool:
    if isinstance(value, FunctionType):
        return _same(code, live[0])
    parts = [part for part in code.co_consts if isinstance(part, CodeType)]
    is_class = not code.co_flags & inspect.CO_OPTIMIZED
    return is_class and all(any(_same(part, method) for part in parts) for method in live)


def _same(code: CodeType, live: CodeType) -> bool:
    if _code_digest(code) == _code_digest(live):
        return True
    names = {name for part in _nested(live) for name in part.co_names}  # pytest rewrites the asserts in a test module
    return "@pytest_ar" in names and {name for part in _nested(code) for name in part.co_names} <= names


def _is_of(node: ast.AST, code: Any) -> bool:
    if isinstance(node, ast.Lambda):
        body = node.body
        place = (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset)
        return code.co_name == "<lambda>" and place in code.co_positions()
    return bool(getattr(node, "name", "") == code.co_name)


class _Source(NamedTuple):
    tree: ast.Module
    codes: dict[str, list[CodeType]]  # by qualified name
    nodes: dict[int, list[ast.AST]]  # functions, lambdas and classes by first line, that of a decorator if there is one


@functools.lru_cache(maxsize=64)
def parse_source(text: str) -> _Source:
    """Parse one file or notebook cell; what cannot be parsed has no trees."""
    try:
        tree = ast.parse(text)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # as notebooks do
        compiled = compile(tree, "<cvcache>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):  # a cell in another language, or no text at all
        return parse_source("")
    source = _Source(tree, {}, {})
    for code in _nested(compiled):
        source.codes.setdefault(code.co_qualname, []).append(code)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            line = min(part.lineno for part in [node, *getattr(node, "decorator_list", [])])
            source.nodes.setdefault(line, []).append(node)
    return source


@functools.lru_cache(maxsize=1024)
def _code_digest(code: CodeType) -> str:
    return digest(_bytecode(code))


def _bytecode(code: CodeType, doc: str | None = None) -> CanonicalJson:
    """Return the form of a code object without positions, file, future flags and, if `doc` is given, docstring."""
    consts = [None if doc is not None and const == doc and i == 0 else const for i, const in enumerate(code.co_consts)]
    return [
        [code.co_code.hex(), code.co_exceptiontable.hex(), code.co_flags & 0xFFFF],
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount],
        [list(names) for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)],
        [_bytecode(const) if isinstance(const, CodeType) else canonical(const, paths="text") for const in consts],
    ]


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _nested(const)


def _loads(code: CodeType) -> set[str]:
    steps = (step for part in _nested(code) for step in dis.get_instructions(part))
    return {step.argval for step in steps if step.opname in _LOADS} | set(code.co_freevars)


def _target(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    """Return the object a decorator names, as far as it can be told without calling anything."""
    node = node.func if isinstance(node, ast.Call) else node
    root, *attributes = dotted(node).split(".")
    return attribute(scope.get(root), attributes)
