"""The code of a function as part of a key: its syntax tree, and that of all it uses in the same project.

A function counts by its syntax tree without comments, docstrings, formatting and annotations. So does, in turn, every
function, class and constant it names by global, closure or an import in its body. Followed are the modules of the same
top-level package and whatever else is not installed: scripts, notebooks, modules beside them. Installed packages, the
standard library and C functions count by name. Not seen: what is reached by ``getattr``, a string or an argument.

* A name the code writes to (``global n``, ``calls.append(1)``, ``CACHE[k] = v``) is state and counts by its type.
* A tree is believed only if it compiles to the bytecode that would run. Without source, or after an edit without a
  reload, the bytecode counts, and the record says so.
"""

from __future__ import annotations

import ast
import builtins
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
from collections import ChainMap, Counter
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from cvcache.errors import UnkeyableValue
from cvcache.key import BRANCH, Form, canonical, digest, dumps, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["callable_form", "code_of"]

_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF"}
_MUTATORS = {"add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "put", "remove"}
_MUTATORS |= {"set", "setdefault", "update"}
_NOT_CODE = {"annotation", "ctx", "kind", "returns", "type_comment", "type_ignores", "type_params"}
_OF_THE_FILE = {"__builtins__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__"}
_PLAIN = {bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset}
_PLUMBING = {"_contextvars", "_thread", "contextvars", "logging", "threading", "types", "typing"}
_SHAPE = {"_field_defaults", "_fields", "_member_map_", "__annotations__"}  # what a class made by a call consists of
_COMPREHENSION = re.compile(r"<(list|dict|set)comp>\.(<locals>\.)?")  # part of a qualified name before 3.12 only
_MISSING = object()
_STDLIB = sysconfig.get_path("stdlib")


def code_of(function: Any) -> dict[str, Form]:
    """Return the canonical form of the code of a function or class.

    Parameters
    ----------
    function : callable
        A function, lambda, class, method or partial, or what a decorator made of one.

    Returns
    -------
    dict
        ``name`` (without module or file), ``ast`` (a digest of its own code) and ``uses``: for each helper
        ``module:qualname`` a digest, for each constant ``{"value": form}``; the module is left out where it is that of
        the function. ``source: "bytecode"`` where there is no source.

    Raises
    ------
    UnkeyableValue
        A constant it uses has no canonical form.

    Notes
    -----
    Reads source files, and imports those modules of the project that the function would import. No store call.
    """
    home = _module(_innermost(function))
    return _Closure(home, home.partition(".")[0]).record(function)


def callable_form(value: Any) -> Form:
    """Return what stands for a callable in a key: a name if it is installed, else its code; None if it is neither."""
    home, name = _module(_innermost(value)), _qualname(value)
    by_name = _installed(home) and (_public(value) or "<locals>" in name)  # else a decorator took its place there
    closure = _Closure(home, "" if by_name else home.partition(".")[0])
    form = closure.reference(value)
    return {"$code": closure.record(value)} if closure.labels else form


class _Closure:
    """What one function uses, found by following the names in it."""

    def __init__(self, home: str, project: str) -> None:
        self.home, self.project = home, project
        self.labels: dict[int, str] = {}
        self.found: list[tuple[str, Any]] = []  # keeps the objects alive, so that an id stays theirs
        self.uses: dict[str, Form] = {}
        self.written: set[tuple[int, str]] = set()
        self.sourceless: set[str] = set()
        self.times: Counter[str] = Counter()

    def record(self, value: Any) -> dict[str, Form]:
        root = self.reference(value)
        if root is None:
            root = canonical(value, "function", self.reference)
        for label, found in self.found:  # grows on the way
            text = digest(self.entity(label, found))
            self.uses[label] = f"bytecode {text}" if label in self.sourceless else text
        label = self.labels.get(id(value), "")
        own = self.uses.pop(label, digest(root))
        uses = self.uses if len(dumps(self.uses)) <= BRANCH else self.by_module()
        source = {"source": "bytecode"} if label in self.sourceless else {}
        return {"name": _qualname(_innermost(value)), "ast": own, "uses": uses, **source}

    def by_module(self) -> dict[str, Form]:
        """Return one digest per module, where naming each helper would fill a record."""
        modules: dict[str, dict[str, Form]] = {}
        for name, form in self.uses.items():
            modules.setdefault(name.rpartition(":")[0], {})[name] = form
        return {f"{module}:*": digest(forms) for module, forms in modules.items()}

    def own(self, module: str) -> bool:
        return module.partition(".")[0] == self.project or not _installed(module)

    def reference(self, value: Any) -> Form:
        """Return the label of a callable of the project, the name of an installed one, or None for anything else."""
        ours = self.own(_module(value)) or self.own(getattr(value, "__module__", None) or "builtins")
        public, state = _public(value), getattr(value, "__dict__", {})
        if isinstance(value, (FunctionType, type)) and (ours or not (public or isinstance(value, type))):
            return {"$use": self.label(value)}
        if not ours and (public or isinstance(value, type)):
            return {"$name": public or type_name(value)}
        if isinstance(value, MethodType):
            return None  # canonical() makes one of its function and what it is bound to
        if "__wrapped__" in state:
            inside = dict(state) if self.own(type(value).__module__) else state["__wrapped__"]
            return {"$around": self.value(inside, _qualname(value)), "type": self.reference(type(value))}
        if type(value).__module__ == "builtins" and hasattr(value, "__qualname__"):  # such as the append of one list
            bound = getattr(value, "__self__", None)
            bound = None if isinstance(bound, ModuleType) else self.value(bound, _qualname(value))
            return {"$name": f"{_module(value)}:{_qualname(value)}", "self": bound}
        return {"$name": public} if public else None

    def label(self, value: Any) -> str:
        if id(value) not in self.labels:
            module, name = _module(value), _COMPREHENSION.sub("", _real_name(value))
            base = name if module == self.home else f"{module}:{name}"
            self.times[base] += 1
            label = base if self.times[base] == 1 else f"{base}#{self.times[base]}"
            self.labels[id(value)] = label
            self.found.append((label, value))
        return self.labels[id(value)]

    def value(self, value: object, place: str) -> Form:
        try:
            return canonical(value, place, self.reference)
        except UnkeyableValue as error:
            name = type_name(type(value))
            if type(value) is object or name.partition(".")[0] in _PLUMBING:
                return {"$type": name}
            if type(value).__new__ is object.__new__ and getattr(value, "__dict__", None) == {}:  # such as a sentinel
                return {"$type": self.reference(type(value))}
            msg = (
                f"the code uses {place} ({name}), which has no canonical form; "
                f"give the step a version= (and depends=), "
                f"make it an argument, or register_key({name}, function)"
            )
            raise UnkeyableValue(msg) from error

    def entity(self, label: str, value: Any) -> Form:
        """Return the own code of one function or class, together with what the names in it mean."""
        functions, cells = _functions(value), _cells(value)
        if not self.own(_module(value)):  # made by an installed package: its name, and what it was made with
            cells = {"__wrapped__": value.__wrapped__} if "__wrapped__" in vars(value) else cells
            return {"name": label, "cells": {name: self.value(part, f"{label}.{name}") for name, part in cells.items()}}
        module = functions[0].__globals__ if functions else vars(sys.modules.get(value.__module__, builtins))
        node, code = _find(value, functions, module)
        read = _read_code(code, value.__doc__) if node is None else _read_tree(node, code, ChainMap(cells, module))
        if node is None:
            self.sourceless.add(label)
        scope = ChainMap(self.imports(node, module), cells, module)
        names: dict[str, Form] = {}
        for root in sorted(read.loads | {"__class__"} & cells.keys() | scope.maps[0].keys()):
            for chain in sorted(read.chains.get(root, {()} if root == "__class__" else ())):
                name, found = self.follow(root, chain, scope)
                if root not in _OF_THE_FILE and not (found is _MISSING and hasattr(builtins, root)):
                    names[name] = self.named(label, name, found, read)
        form: dict[str, Form] = {"code": read.form, "names": names}
        form["defaults"] = [
            {"$state": type_name(type(part))}
            if name in read.written
            else self.value(part, f"{label}: default of {name}")
            for function in functions
            for name, part in _defaults(function)
        ]
        if isinstance(value, type):
            form["bases"] = [self.value(base, f"a base of {label}") for base in value.__bases__]
            form["live"] = self.members(value, label, all_of_it=node is None)
        return form

    def follow(self, root: str, chain: Iterable[str], scope: Mapping[str, Any]) -> tuple[str, Any]:
        """Return what a name means and how much of a chain of attributes it took: through modules of the project."""
        name, found = root, scope.get(root, _MISSING)
        for attribute in chain:
            if not isinstance(found, ModuleType) or not self.own(found.__name__):
                break
            name, found = f"{name}.{attribute}", getattr(found, attribute, _MISSING)
        return name, found

    def named(self, label: str, name: str, found: Any, read: _Read) -> Form:
        writes = {
            write.removeprefix(f"{name}.") for write in read.written if write == name or write.startswith(f"{name}.")
        }
        if found is _MISSING:
            return "?"
        if isinstance(found, ModuleType):
            return self.module(found)
        if isinstance(found, type):
            self.written |= {(id(found), write) for write in writes}
        elif writes and not isinstance(found, FunctionType):
            return {"$state": type_name(type(found))}
        try:
            form = self.value(found, f"{label}: {name}")
        except UnkeyableValue:
            if name.partition(".")[0] not in read.lenient:
                raise
            return {"$type": type_name(type(found))}
        if isinstance(form, dict) and form.keys() & {"$around", "$name", "$type", "$use"}:
            return form
        place = f"{label}.{name}" if name in read.free else ":".join(filter(None, [label.rpartition(":")[0], name]))
        self.uses[place] = {"value": form}
        return {"$use": place}

    def module(self, module: ModuleType) -> Form:
        """Return the name of a module; one of the project that is used as a whole counts with all its text."""
        file = getattr(module, "__file__", None)
        if file and self.own(module.__name__):
            linecache.checkcache(file)
            text = "".join(linecache.getlines(file))
            self.uses[f"{module.__name__}:*"] = digest(_dump(_parse(text).tree, ()))
        return {"$name": module.__name__}

    def imports(self, node: ast.AST | None, module: dict[str, Any]) -> dict[str, Any]:
        """Return what the imports in a body bind, as far as it is of the project."""
        bound: dict[str, Any] = {}
        for statement in ast.walk(node) if node else ():
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    found = self.imported(alias.name)
                    bound[alias.asname or alias.name.partition(".")[0]] = (
                        found if alias.asname or found is _MISSING else sys.modules[alias.name.partition(".")[0]]
                    )
            elif isinstance(statement, ast.ImportFrom):
                package = "." * statement.level + (statement.module or "")
                with contextlib.suppress(ImportError):  # no known parent package: the function cannot import it either
                    package = importlib.util.resolve_name(package, module.get("__package__") or "")
                for alias in statement.names:
                    part = getattr(self.imported(package), alias.name, _MISSING)
                    bound[alias.asname or alias.name] = (
                        part if part is not _MISSING else self.imported(f"{package}.{alias.name}")
                    )
        return {name: found for name, found in bound.items() if found is not _MISSING}

    def imported(self, name: str) -> Any:
        if not self.own(name):
            return _MISSING
        try:
            return importlib.import_module(name)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the function will meet it too, or guards against it
            return _MISSING

    def members(self, kind: type, label: str, *, all_of_it: bool) -> Form:
        """Return the plain values a class has now, which may have been set after its body ran."""
        forms: dict[str, Form] = {}
        for name, member in sorted(vars(kind).items()):
            plain = type(member) in _PLAIN and not name.startswith("_")
            function = (
                isinstance(member, FunctionType)
                and self.own(_module(member))
                and member.__code__.co_filename != "<string>"
            )
            if (id(kind), name) in self.written or not (plain or (all_of_it and (function or name in _SHAPE))):
                continue
            try:
                forms[name] = self.value(member, f"{label}.{name}")
            except UnkeyableValue:
                forms[name] = {"$type": type_name(type(member))}
        return forms


class _Read(NamedTuple):
    """What is read of one function or class, from its syntax tree or its bytecode."""

    form: Form
    chains: dict[str, set[tuple[str, ...]]]  # each name, with the attributes that follow it
    written: set[str]  # dotted names it assigns to, or calls a mutating method of
    loads: set[str]  # names it takes from outside
    free: set[str]  # those it takes from an enclosing function
    lenient: set[str]  # those that only a decorator names


def _read_tree(node: ast.AST, code: CodeType, scope: Mapping[str, Any]) -> _Read:
    decorators = getattr(node, "decorator_list", [])
    ours = frozenset(part for part in decorators if _module(_target(part, scope)).partition(".")[0] == "cvcache")
    loads = _loads(code)
    around = [part for part in decorators if part not in ours] + getattr(node, "keywords", [])
    outer = {name for part in around for name in _chains(part, ours)} - loads
    chains = _chains(node, ours)
    return _Read(_dump(node, ours), chains, _written(node), loads | outer, set(code.co_freevars), outer)


def _read_code(code: CodeType | None, doc: str | None) -> _Read:
    if code is None:
        return _Read(None, {}, set(), set(), set(), set())
    written, last = set(), ""
    for step in (step for part in _nested(code) for step in dis.get_instructions(part)):
        if step.opname in {"STORE_GLOBAL", "STORE_DEREF"} or (step.argval in _MUTATORS and last):
            written.add(last if step.argval in _MUTATORS else step.argval)
        last = step.argval if step.opname in _LOADS | {"LOAD_DEREF"} else ""
    loads, free = _loads(code), set(code.co_freevars)
    return _Read(_bytecode(code, doc), {name: {()} for name in loads}, written & (loads | free), loads, free, set())


def _find(value: Any, functions: list[FunctionType], module: dict[str, Any]) -> tuple[ast.AST | None, Any]:
    """Return the syntax tree and the code of a function or class; no tree if no source compiles to what would run."""
    live = [function.__code__ for function in functions]
    file = live[0].co_filename if live else module.get("__file__") or ""
    line = live[0].co_firstlineno if isinstance(value, FunctionType) else sys.maxsize  # the last of classes named alike
    for refresh in (False, True):  # what linecache holds can be older, or newer, than what was imported
        if refresh:
            linecache.checkcache(file)
        source = _parse("".join(linecache.getlines(file, module)))
        fits = [code for code in source.codes.get(_real_name(value), ()) if _fits(value, code, live)]
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
def _parse(text: str) -> _Source:
    try:
        tree = ast.parse(text)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # as notebooks do
        compiled = compile(tree, "<cvcache>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):  # a cell in another language, or no text at all
        return _parse("")
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


def _dump(node: Any, skip: Iterable[ast.AST]) -> Form:
    """Return a syntax tree as JSON that is the same for every Python version that can read the source."""
    if isinstance(node, list):
        return [_dump(part, skip) for part in node]
    if isinstance(node, ast.Constant):
        return {"Constant": canonical(node.value)}
    if not isinstance(node, ast.AST):
        return node  # type: ignore[no-any-return]
    form = {name: _dump(part, skip) for name, part in _children(node, skip)}
    if isinstance(node, ast.ClassDef):  # those of a class are fields of a dataclass, so there they count
        form["annotations"] = [_dump(part.annotation, skip) for part in node.body if isinstance(part, ast.AnnAssign)]
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


def _functions(value: Any) -> list[FunctionType]:
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


def _cells(value: Any) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for function in _functions(value):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # not filled yet
                cells[name] = cell.cell_contents
    return cells


def _defaults(function: FunctionType) -> Iterator[tuple[str, Any]]:
    code, values = function.__code__, function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(values) : code.co_argcount], values, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def _innermost(value: Any) -> Any:
    """Return the function inside decorators, partials and methods."""
    inner = getattr(value, "__dict__", {}).get("__wrapped__")
    if inner is None:
        inner = value.func if isinstance(value, functools.partial) else getattr(value, "__func__", None)
    return value if inner is None else _innermost(inner)


def _module(value: Any) -> str:
    """Return the module a function runs in (a decorator's wrapper claims another), or a class was made in."""
    if isinstance(value, (FunctionType, ModuleType)):
        return str(value.__globals__.get("__name__", "__main__") if isinstance(value, FunctionType) else value.__name__)
    return getattr(value, "__module__", None) or type(getattr(value, "__self__", value)).__module__


def _qualname(value: Any) -> str:
    return _COMPREHENSION.sub("", str(getattr(value, "__qualname__", None) or type(value).__qualname__))


def _real_name(value: Any) -> str:
    return value.__code__.co_qualname if isinstance(value, FunctionType) else _qualname(value)


def _public(value: Any) -> str:
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


def _installed(module: str) -> bool:
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
        return top in sys.stdlib_module_names or (module != top and loaded is not None and _installed(top))
    parts = file.replace("\\", "/").split("/")
    return file.startswith(_STDLIB) or "site-packages" in parts or "dist-packages" in parts
