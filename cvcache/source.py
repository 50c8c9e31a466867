"""What the interpreter knows of a function: its source as a tree, its bytecode, its names, where it lives."""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import importlib
import importlib.util
import inspect
import itertools
import linecache
import re
import sys
import sysconfig
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from cvcache.key import Form, canonical, digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF"}
_MUTATORS = {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "put", "remove"}
_MUTATORS |= {"set", "setdefault", "update"}
_NOT_CODE = {"annotation", "ctx", "kind", "returns", "type_comment", "type_ignores", "type_params"}
COMPREHENSION = re.compile(r"<(list|dict|set)comp>\.(<locals>\.)?")  # part of a qualified name before 3.12 only
_STDLIB = sysconfig.get_path("stdlib")


class Read(NamedTuple):
    """What is read of one function or class, from its syntax tree or its bytecode."""

    form: Form
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
    outer = {name for part in around for name in _chains(part, ours)} - loads
    chains = _chains(node, ours)
    return Read(dump_tree(node, ours), chains, _written(node), loads | outer, set(code.co_freevars), outer)


def read_code(code: CodeType | None, doc: str | None) -> Read:
    """Return what bytecode says and uses, for want of a tree."""
    if code is None:
        return Read(None, {}, set(), set(), set(), set())
    written, last = set(), ""
    for step in (step for part in _nested(code) for step in dis.get_instructions(part)):
        if step.opname in {"STORE_GLOBAL", "STORE_DEREF"} or (step.argval in _MUTATORS and last):
            written.add(last if step.argval in _MUTATORS else step.argval)
        last = step.argval if step.opname in _LOADS | {"LOAD_DEREF"} else ""
    loads, free = _loads(code), set(code.co_freevars)
    return Read(_bytecode(code, doc), {name: {()} for name in loads}, written & (loads | free), loads, free, set())


def find_source(value: Any, functions: list[FunctionType], module: dict[str, Any]) -> tuple[ast.AST | None, Any]:
    """Return the syntax tree and the code of a function or class; no tree if no source compiles to what would run."""
    live = [function.__code__ for function in functions]
    file = live[0].co_filename if live else module.get("__file__") or ""
    line = live[0].co_firstlineno if isinstance(value, FunctionType) else sys.maxsize  # the last of classes named alike
    for refresh in (False, True):  # what linecache holds can be older, or newer, than what was imported
        if refresh:
            linecache.checkcache(file)
        source = parse_source("".join(linecache.getlines(file, module)))
        fits = [code for code in source.codes.get(real_name(value), ()) if _fits(value, code, live)]
        code = min(fits, key=lambda code: abs(code.co_firstlineno - line), default=None)
        for node in source.nodes.get(code.co_firstlineno, ()) if code else ():
            if _is_of(node, code):
                return node, code
    return None, live[0] if isinstance(value, FunctionType) else None


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


def _bytecode(code: CodeType, doc: str | None = None) -> Form:
    """Return the form of a code object without positions, file, future flags and, if `doc` is given, docstring."""
    consts = [None if doc is not None and const == doc and i == 0 else const for i, const in enumerate(code.co_consts)]
    return [
        [code.co_code.hex(), code.co_exceptiontable.hex(), code.co_flags & 0xFFFF],
        [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount],
        [list(names) for names in (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)],
        [_bytecode(const) if isinstance(const, CodeType) else canonical(const) for const in consts],
    ]


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _nested(const)


def _loads(code: CodeType) -> set[str]:
    steps = (step for part in _nested(code) for step in dis.get_instructions(part))
    return {step.argval for step in steps if step.opname in _LOADS} | set(code.co_freevars)


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


def dump_tree(node: Any, skip: Iterable[ast.AST]) -> Form:
    """Return a syntax tree as JSON that is the same for every Python version that can read the source."""
    if isinstance(node, list):
        return [dump_tree(part, skip) for part in node]
    if isinstance(node, ast.Constant):
        return {"Constant": canonical(node.value)}
    if not isinstance(node, ast.AST):
        return node  # type: ignore[no-any-return]
    form = {name: dump_tree(part, skip) for name, part in _children(node, skip)}
    if isinstance(node, ast.ClassDef):  # those of a class are fields of a dataclass, so there they count
        form["annotations"] = [
            dump_tree(part.annotation, skip) for part in node.body if isinstance(part, ast.AnnAssign)
        ]
    return {"Assign" if isinstance(node, ast.AnnAssign) and node.value else type(node).__name__: form}


def _chains(node: ast.AST, skip: Iterable[ast.AST]) -> dict[str, set[tuple[str, ...]]]:
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


def _written(node: ast.AST) -> set[str]:
    """Return the dotted names a tree rebinds as global or nonlocal, assigns a part of, or calls to change."""
    written, declared, stored = set(), set(), set()
    for part in ast.walk(node):
        if isinstance(part, (ast.Attribute, ast.Subscript)) and not isinstance(part.ctx, ast.Load):
            written.add(_dotted(part))
        elif isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr in _MUTATORS:
            written.add(_dotted(part.func.value))
        elif isinstance(part, (ast.Global, ast.Nonlocal)):
            declared.update(part.names)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            stored.add(part.id)
    return written | (declared & stored)


def _dotted(node: ast.AST) -> str:
    attributes: list[str] = []
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        attributes = [node.attr, *attributes] if isinstance(node, ast.Attribute) else []
        node = node.value
    return ".".join([node.id, *attributes]) if isinstance(node, ast.Name) else ""


def _target(node: ast.AST, scope: Mapping[str, Any]) -> Any:
    """Return the object a decorator names, as far as it can be told without calling anything."""
    node = node.func if isinstance(node, ast.Call) else node
    root, *attributes = _dotted(node).split(".")
    return _attribute(scope.get(root), attributes)


def functions_of(value: Any) -> list[FunctionType]:
    """Return a function, or those a class was written with (not those a decorator made)."""
    if isinstance(value, FunctionType):
        return [value]
    members = [getattr(part, "__func__", None) or getattr(part, "fget", None) or part for part in vars(value).values()]
    functions = [part for part in members if isinstance(part, FunctionType)]
    return [
        part
        for part in functions
        if part.__code__.co_qualname == f"{value.__qualname__}.{part.__code__.co_name}"
        and linecache.getlines(part.__code__.co_filename, part.__globals__)
    ]


def closure_cells(value: Any) -> dict[str, Any]:
    """Return name -> value of the free variables of a function or of the methods of a class."""
    cells: dict[str, Any] = {}
    for function in functions_of(value):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # not filled yet
                cells[name] = cell.cell_contents
    return cells


def default_values(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield name and default of the arguments that have one."""
    code, values = function.__code__, function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(values) : code.co_argcount], values, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def innermost(value: Any) -> Any:
    """Return the function inside decorators, partials and methods."""
    inner = getattr(value, "__dict__", {}).get("__wrapped__")
    if inner is None:
        inner = value.func if isinstance(value, functools.partial) else getattr(value, "__func__", None)
    return value if inner is None else innermost(inner)


def module_of(value: Any) -> str:
    """Return the module a function runs in (a decorator's wrapper claims another), or a class was made in."""
    if isinstance(value, (FunctionType, ModuleType)):
        return str(value.__globals__.get("__name__", "__main__") if isinstance(value, FunctionType) else value.__name__)
    return getattr(value, "__module__", None) or type(getattr(value, "__self__", value)).__module__


def qualified_name(value: Any) -> str:
    """Return the qualified name, the same one before and after Python 3.12."""
    return COMPREHENSION.sub("", str(getattr(value, "__qualname__", None) or type(value).__qualname__))


def real_name(value: Any) -> str:
    """Return the name a function was defined by, whatever a decorator calls it."""
    return value.__code__.co_qualname if isinstance(value, FunctionType) else qualified_name(value)


def public_name(value: Any) -> str:
    """Return the ``module:name`` under which an import finds this very object, or an empty string.

    The outermost package that has it is taken, for the inner modules of a package move between its versions.
    """
    owner = type(getattr(value, "__self__", value)).__module__
    for module in (getattr(value, "__module__", None), owner):
        for name in (getattr(value, "__qualname__", None), getattr(value, "__name__", None)):
            if not isinstance(module, str) or not isinstance(name, str):
                continue
            for package in itertools.accumulate(module.split("."), "{}.{}".format):
                if _attribute(sys.modules.get(package), name.split(".")) is value:
                    return f"{package}:{name}"
    return ""


def _attribute(found: Any, names: Iterable[str]) -> Any:
    return functools.reduce(lambda part, name: getattr(part, name, None), names, found)


def is_installed(module: str) -> bool:
    """Return whether a module is of the standard library, of an installed package or of cvcache itself."""
    top = module.partition(".")[0]
    loaded = sys.modules.get(module) or sys.modules.get(top)
    file = getattr(loaded, "__file__", None) or next(iter(getattr(loaded, "__path__", ())), None)
    if loaded is None:
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top)  # only looks; imports nothing
            file = spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), None))
    if top in {"builtins", "cvcache"} or file in {"built-in", "frozen"}:
        return True
    if file is None:  # frozen, or made by its package
        return top in sys.stdlib_module_names or (module != top and loaded is not None and is_installed(top))
    parts = file.replace("\\", "/").split("/")
    return file.startswith(_STDLIB) or "site-packages" in parts or "dist-packages" in parts
