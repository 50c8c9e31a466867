"""Find the syntax tree of a function and analyze it, or its bytecode if there is no such tree.

Why so: `linecache` and a file may be older or newer than the code that was imported, and a decorator or a notebook may
hide the source. So a tree is used only if it compiles to the very bytecode that runs.
"""

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
from cvcache.keys.functions.callables import definition_name, module_of, nested_attribute
from cvcache.keys.functions.syntax import MUTATORS, dotted_name, dump_tree, find_attribute_chains, find_written_names

__all__ = ["CodeAnalysis", "analyze_bytecode", "analyze_tree", "find_source", "parse_source"]

_LOAD_INSTRUCTIONS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF"}
_LOAD_INSTRUCTIONS |= {"LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF"}


class CodeAnalysis(NamedTuple):
    """JSON and names of one function or class, from its syntax tree or its bytecode."""

    encoded: CanonicalJson
    attribute_chains: dict[str, set[tuple[str, ...]]]  # name -> the attributes that follow it
    written_names: set[str]  # dotted names that are assigned to, or have a mutating method called
    loaded_names: set[str]  # names from outside of the function
    free_names: set[str]  # of these, names of an enclosing function
    decorator_names: set[str]  # of these, names that only a decorator uses


def analyze_tree(node: ast.AST, code: CodeType, scope: Mapping[str, Any]) -> CodeAnalysis:
    """Analyze the syntax tree of `code`."""
    decorators = getattr(node, "decorator_list", [])
    own_decorators = frozenset(
        part for part in decorators if module_of(_decorator_object(part, scope)).partition(".")[0] == "cvcache"
    )
    loaded_names = _loaded_names(code)
    other_decorators = [part for part in decorators if part not in own_decorators] + getattr(node, "keywords", [])
    decorator_names = {
        name for part in other_decorators for name in find_attribute_chains(part, own_decorators)
    } - loaded_names
    attribute_chains = find_attribute_chains(node, own_decorators)
    return CodeAnalysis(
        dump_tree(node, own_decorators),
        attribute_chains,
        find_written_names(node),
        loaded_names | decorator_names,
        set(code.co_freevars),
        decorator_names,
    )


def analyze_bytecode(code: CodeType | None, doc: str | None) -> CodeAnalysis:
    """Analyze bytecode that has no syntax tree."""
    if code is None:
        return CodeAnalysis(None, {}, set(), set(), set(), set())
    written_names, last_loaded_name = set(), ""
    for step in (step for part in _nested_codes(code) for step in dis.get_instructions(part)):
        if step.opname in {"STORE_GLOBAL", "STORE_DEREF"} or (step.argval in MUTATORS and last_loaded_name):
            written_names.add(last_loaded_name if step.argval in MUTATORS else step.argval)
        last_loaded_name = step.argval if step.opname in _LOAD_INSTRUCTIONS | {"LOAD_DEREF"} else ""
    loaded_names, free_names = _loaded_names(code), set(code.co_freevars)
    return CodeAnalysis(
        _bytecode(code, doc),
        {name: {()} for name in loaded_names},
        written_names & (loaded_names | free_names),
        loaded_names,
        free_names,
        set(),
    )


def find_source(value: Any, functions: list[FunctionType], module: dict[str, Any]) -> tuple[ast.AST | None, Any]:
    """Return syntax tree and code of a function or class; no tree if no source compiles to the code that runs."""
    live_codes = [function.__code__ for function in functions]
    file = live_codes[0].co_filename if live_codes else module.get("__file__") or "<string>"
    # of several classes with one name the last one
    line = live_codes[0].co_firstlineno if isinstance(value, FunctionType) else sys.maxsize
    for refresh in (False, True):  # the cached source may be older or newer than the imported code
        if refresh:
            linecache.checkcache(file)
        source = parse_source("".join(linecache.getlines(file, module)) or _command_line_program(file, module))
        candidates = [
            code for code in source.codes.get(definition_name(value), ()) if _matches(value, code, live_codes)
        ]
        code = min(candidates, key=lambda code: abs(code.co_firstlineno - line), default=None)
        for node in source.nodes.get(code.co_firstlineno, ()) if code else ():
            if _is_node_of(node, code):
                return node, code
    return None, live_codes[0] if isinstance(value, FunctionType) else None


def _command_line_program(file: str, module: dict[str, Any]) -> str:
    """Return the program of ``python -c``, which linecache has since Python 3.13."""
    if file != "<string>" or module is not vars(sys.modules["__main__"]):
        return ""
    after = itertools.dropwhile(lambda part: not re.fullmatch("-[A-Za-z]*c", part), sys.orig_argv[1:])
    return next(itertools.islice(after, 1, None), "")


def _matches(value: Any, code: CodeType, live_codes: list[CodeType]) -> bool:
    if isinstance(value, FunctionType):
        return _same_bytecode(code, live_codes[0])
    parts = [part for part in code.co_consts if isinstance(part, CodeType)]
    is_class = not code.co_flags & inspect.CO_OPTIMIZED
    return is_class and all(any(_same_bytecode(part, method) for part in parts) for method in live_codes)


def _same_bytecode(code: CodeType, live_code: CodeType) -> bool:
    if _code_digest(code) == _code_digest(live_code):
        return True
    # pytest rewrites the asserts in a test module
    names = {name for part in _nested_codes(live_code) for name in part.co_names}
    return "@pytest_ar" in names and {name for part in _nested_codes(code) for name in part.co_names} <= names


def _is_node_of(node: ast.AST, code: Any) -> bool:
    if isinstance(node, ast.Lambda):
        body = node.body
        position = (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset)
        return code.co_name == "<lambda>" and position in code.co_positions()
    return bool(getattr(node, "name", "") == code.co_name)


class _ParsedSource(NamedTuple):
    tree: ast.Module
    codes: dict[str, list[CodeType]]  # by qualified name
    nodes: dict[int, list[ast.AST]]  # functions, lambdas and classes by their first line, decorators included


@functools.lru_cache(maxsize=64)
def parse_source(text: str) -> _ParsedSource:
    """Parse one file or notebook cell; the result is empty if that fails."""
    try:
        tree = ast.parse(text)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # as notebooks do
        compiled = compile(tree, "<cvcache>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):  # a cell in another language
        return parse_source("")
    source = _ParsedSource(tree, {}, {})
    for code in _nested_codes(compiled):
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
    """Return the JSON of a code object, without positions, file, future flags and the docstring `doc`."""
    consts = [None if doc is not None and const == doc and i == 0 else const for i, const in enumerate(code.co_consts)]
    return [
        [code.co_code.hex(), code.co_exceptiontable.hex(), code.co_flags & 0xFFFF],
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount],
        [list(names) for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)],
        [_bytecode(const) if isinstance(const, CodeType) else canonical(const, paths="text") for const in consts],
    ]


def _nested_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _nested_codes(const)


def _loaded_names(code: CodeType) -> set[str]:
    steps = (step for part in _nested_codes(code) for step in dis.get_instructions(part))
    return {step.argval for step in steps if step.opname in _LOAD_INSTRUCTIONS} | set(code.co_freevars)


def _decorator_object(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    """Return the object that a decorator names; None if it can only be found by a call."""
    node = node.func if isinstance(node, ast.Call) else node
    root, *attributes = dotted_name(node).split(".")
    return nested_attribute(scope.get(root), attributes)
