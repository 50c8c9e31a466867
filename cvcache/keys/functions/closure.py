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
import copy
import importlib
import importlib.util
import linecache
import sys
from collections import ChainMap, Counter
from collections.abc import Mapping
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from cvcache.errors import UnkeyableValue
from cvcache.keys.canonical import BRANCH, canonical, type_name
from cvcache.keys.digest import CanonicalJson, digest, dumps
from cvcache.keys.functions.callables import (
    COMPREHENSION,
    Cells,
    default_values,
    functions_of,
    innermost,
    is_installed,
    module_of,
    public_name,
    qualified_name,
    real_name,
)
from cvcache.keys.functions.memo import MISSING, Witnesses, remembered
from cvcache.keys.functions.source import Read, find_source, parse_source, read_code, read_tree
from cvcache.keys.functions.syntax import dump_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["canonical_callable", "code_of"]

EXAMPLES = {"cvcache.cli.demo", "cvcache.cli.demo_image"}  # what of cvcache itself counts as a project
_OF_THE_FILE = {"__builtins__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__"}
_PLAIN = {bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset}
_PLUMBING = {"_contextvars", "_thread", "contextvars", "logging", "threading", "types", "typing"}
_SHAPE = {"_field_defaults", "_fields", "_member_map_", "__annotations__"}  # what a class made by a call consists of


def code_of(function: Any) -> dict[str, CanonicalJson]:
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
    Reads source files, and imports those modules of the project that the function would import: again only once
    something it looked at has changed (`cvcache.keys.functions.memo`). No store call.
    """
    form: dict[str, Any] = remembered("code", function, _code)
    return {**form, "uses": {**form["uses"]}}


def _code(function: Any) -> tuple[CanonicalJson, Witnesses]:
    home = module_of(innermost(function))
    closure = _Closure(home, home.partition(".")[0])
    return closure.record(function), closure.seen


def canonical_callable(value: Any) -> CanonicalJson:
    """Return what stands for a callable in a key: a name if it is installed, else its code; None if it is neither."""
    form: CanonicalJson = copy.deepcopy(
        remembered("callable", value, _callable)
    )  # what is remembered is nobody's to change
    return form


def _callable(value: Any) -> tuple[CanonicalJson, Witnesses]:
    home, name = module_of(innermost(value)), qualified_name(value)
    by_name = is_installed(home) and (public_name(value) or "<locals>" in name)  # else a decorator took its place there
    closure = _Closure(home, "" if by_name else home.partition(".")[0])
    form = closure.reference(value)
    return ({"$code": closure.record(value)} if closure.labels else form), closure.seen


def _writes(name: str, written: Iterable[str]) -> set[str]:
    """Return what of a name is written to: itself, or by their names attributes of it."""
    return {write.removeprefix(f"{name}.") for write in written if write == name or write.startswith(f"{name}.")}


class _Bare:
    """An object with nothing in it, as a sentinel is."""


class _Closure:
    """What one function uses, found by following the names in it."""

    def __init__(self, home: str, project: str) -> None:
        self.home, self.project = home, project
        self.labels: dict[int, str] = {}
        self.found: list[tuple[str, Any]] = []  # keeps the objects alive, so that an id stays theirs
        self.uses: dict[str, CanonicalJson] = {}
        self.written: set[tuple[int, str]] = set()
        self.sourceless: set[str] = set()
        self.times: Counter[str] = Counter()
        self.seen = Witnesses()

    def record(self, value: Any) -> dict[str, CanonicalJson]:
        root = self.reference(value)
        if root is None:
            root = canonical(value, "function", self.reference, paths="text")
        for label, found in self.found:  # grows on the way
            text = digest(self.entity(label, found))
            self.uses[label] = f"bytecode {text}" if label in self.sourceless else text
        label = self.labels.get(id(value), "")
        own = self.uses.pop(label, digest(root))
        uses = self.uses if len(dumps(self.uses)) <= BRANCH else self.by_module()
        source = {"source": "bytecode"} if label in self.sourceless else {}
        return {"name": qualified_name(innermost(value)), "ast": own, "uses": uses, **source}

    def by_module(self) -> dict[str, CanonicalJson]:
        """Return one digest per module, where naming each helper would fill a record."""
        modules: dict[str, dict[str, CanonicalJson]] = {}
        for name, form in self.uses.items():
            modules.setdefault(name.rpartition(":")[0], {})[name] = form
        return {f"{module}:*": digest(forms) for module, forms in modules.items()}

    def own(self, module: str) -> bool:
        if self.project == "cvcache":
            return module in EXAMPLES
        return module.partition(".")[0] == self.project or not is_installed(module)

    def reference(self, value: Any) -> CanonicalJson:
        """Return the label of a callable of the project, the name of an installed one, or None for anything else."""
        ours = self.own(module_of(value)) or self.own(getattr(value, "__module__", None) or "builtins")
        public, state = public_name(value), getattr(value, "__dict__", {})
        if isinstance(value, (FunctionType, type)) and (ours or not (public or isinstance(value, type))):
            return {"$use": self.label(value)}
        if not ours and (public or isinstance(value, type)):
            return {"$name": public or type_name(value)}
        if isinstance(value, MethodType):
            return None  # canonical() makes one of its function and what it is bound to
        if hasattr(type(value), "__cvcache_code__"):
            self.seen.space(state)
            inside = self.value(value.__cvcache_code__(), qualified_name(value))
            return {"$around": inside, "type": type_name(type(value))}
        if "__wrapped__" in state:
            self.seen.space(state)
            mine = self.own(type(value).__module__)
            parts = {name: part for name, part in state.items() if name == "__wrapped__" or (mine and name[:2] != "__")}
            return {"$around": self.value(parts, qualified_name(value)), "type": self.reference(type(value))}
        if type(value).__module__ == "builtins" and hasattr(value, "__qualname__"):  # such as the append of one list
            bound = getattr(value, "__self__", None)
            bound = None if isinstance(bound, ModuleType) else self.value(bound, qualified_name(value))
            return {"$name": f"{module_of(value)}:{qualified_name(value)}", "self": bound}
        return {"$name": public} if public else None

    def label(self, value: Any) -> str:
        if id(value) not in self.labels:
            module, name = module_of(value), COMPREHENSION.sub("", real_name(value))
            base = name if module == self.home else f"{module}:{name}"
            self.times[base] += 1
            label = base if self.times[base] == 1 else f"{base}#{self.times[base]}"
            self.labels[id(value)] = label
            self.found.append((label, value))
        return self.labels[id(value)]

    def value(self, value: object, place: str) -> CanonicalJson:
        self.seen.value(value)
        try:
            return canonical(value, place, self.reference, paths="text")
        except UnkeyableValue as error:
            name = type_name(type(value))
            if type(value) is object or (name.partition(".")[0] in _PLUMBING and name != "types.SimpleNamespace"):
                return {"$type": name}
            sentinel = type(value).__new__ is object.__new__ and type(value).__basicsize__ == _Bare.__basicsize__
            if sentinel and getattr(value, "__dict__", None) == {}:
                return {"$type": self.reference(type(value))}
            msg = (
                f"the code uses {place} ({name}), which has no canonical form; "
                f"give the step a version= (and depends=), "
                f"make it an argument, or register_key({name}, function)"
            )
            raise UnkeyableValue(msg) from error

    def entity(self, label: str, value: Any) -> CanonicalJson:
        """Return the own code of one function or class, together with what the names in it mean."""
        functions, cells = functions_of(value), cast("Any", Cells(value))
        self.watch(value, functions)
        if not self.own(module_of(value)):  # made by an installed package: its name, and what it was made with
            made_with = {"__wrapped__": value.__wrapped__} if "__wrapped__" in vars(value) else cells
            if isinstance(registry := vars(value).get("registry"), Mapping):  # of functools.singledispatch
                self.seen.space(registry)
                made_with = {**made_with, **{f"for {type_name(kind)}": part for kind, part in registry.items()}}
            for name in cells.all:
                self.seen.look(cells, name)
            parts: dict[str, CanonicalJson] = {
                name: self.value(part, f"{label}.{name}") for name, part in made_with.items()
            }
            return {"name": label, "cells": parts}
        module = functions[0].__globals__ if functions else vars(sys.modules.get(value.__module__, builtins))
        node, code = find_source(value, functions, module)
        read = read_code(code, value.__doc__) if node is None else read_tree(node, code, ChainMap(cells, module))
        if node is None:
            self.sourceless.add(label)
        scope = ChainMap(self.imports(node, module), cells, module)
        names: dict[str, CanonicalJson] = {}
        for root in sorted(read.loads | {"__class__"} & cells.keys() | scope.maps[0].keys()):
            for chain in sorted(read.chains.get(root, {()} if root == "__class__" else ())):
                name, found = self.follow(root, chain, scope, read.written)
                if root not in _OF_THE_FILE and not (found is MISSING and hasattr(builtins, root)):
                    names[name] = self.named(label, name, found, read)
        form: dict[str, CanonicalJson] = {"code": read.form, "names": names}
        form["defaults"] = [
            {"$state": type_name(type(part))}
            if name in read.written
            else self.value(part, f"{label}: default of {name}")
            for function in functions
            for name, part in default_values(function)
        ]
        if isinstance(value, type):
            form["bases"] = [self.value(base, f"a base of {label}") for base in value.__bases__]
        form["live"] = self.members(value, label, all_of_it=node is None and isinstance(value, type))
        return form

    def watch(self, value: Any, functions: list[FunctionType]) -> None:
        for function in functions:
            self.seen.function(function)
        if isinstance(value, type):
            self.seen.space(vars(value))
            self.seen.look(value, "__bases__")

    def follow(self, root: str, chain: Iterable[str], scope: ChainMap[str, Any], written: set[str]) -> tuple[str, Any]:
        """Return what a name means and how much of a chain of attributes it took: through modules of the project."""
        imports, cells, module = scope.maps
        owner: Any = imports if root in imports else cells if root in cells.all else module  # type: ignore[attr-defined]  # Cells
        name, part, found = root, root, scope.get(root, MISSING)
        for attribute in chain:
            if not isinstance(found, ModuleType) or not self.own(found.__name__):
                break
            self.seen.look(owner, part)
            owner, part, name = found, attribute, f"{name}.{attribute}"
            found = getattr(found, attribute, MISSING)
        is_state = not isinstance(found, (type, FunctionType)) and _writes(name, written)
        self.seen.look(owner, part, by_type=bool(is_state))
        return name, found

    def named(self, label: str, name: str, found: Any, read: Read) -> CanonicalJson:
        writes = _writes(name, read.written)
        if found is MISSING:
            return "?"
        if isinstance(found, ModuleType):
            return self.module(found)
        if isinstance(found, (type, FunctionType)):
            self.written |= {(id(found), write) for write in writes}
        elif writes:
            return {"$state": type_name(type(found))}
        elif hasattr(type(found), "is_address") and found.is_address:  # of the type: a Delayed has every attribute
            return {"$type": type_name(type(found))}  # where a node lies is no code
        try:
            form = self.value(found, f"{label}: {name}")
        except UnkeyableValue:
            if name.partition(".")[0] not in read.lenient:
                raise
            return {"$type": type_name(type(found))}
        if isinstance(form, dict) and form.keys() & {"$around", "$name", "$type", "$use"}:
            return form
        place = f"{label}.{name}" if name in read.free else ":".join(filter(None, [label.rpartition(":")[0], name]))
        if self.uses.get(place, {"value": form}) != {"value": form}:  # two functions import two things by one name
            place = f"{label}.{name}"
        self.uses[place] = {"value": form}
        return {"$use": place}

    def module(self, module: ModuleType) -> CanonicalJson:
        """Return the name of a module; one of the project that is used as a whole counts with all its text."""
        file = getattr(module, "__file__", None)
        if file and self.own(module.__name__):
            self.seen.file(file)
            linecache.checkcache(file)
            text = "".join(linecache.getlines(file))
            self.uses[f"{module.__name__}:*"] = digest(dump_tree(parse_source(text).tree, ()))
        return {"$name": module.__name__}

    def imports(self, node: ast.AST | None, module: dict[str, Any]) -> dict[str, Any]:
        """Return what the imports in a body bind, as far as it is of the project."""
        bound: dict[str, Any] = {}
        for statement in ast.walk(node) if node else ():
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    found = self.imported(alias.name)
                    bound[alias.asname or alias.name.partition(".")[0]] = (
                        found if alias.asname or found is MISSING else sys.modules[alias.name.partition(".")[0]]
                    )
            elif isinstance(statement, ast.ImportFrom):
                package = "." * statement.level + (statement.module or "")
                with contextlib.suppress(ImportError):  # no known parent package: the function cannot import it either
                    package = importlib.util.resolve_name(package, module.get("__package__") or "")
                for alias in statement.names:
                    part = getattr(self.imported(package), alias.name, MISSING)
                    if package in sys.modules:
                        self.seen.look(sys.modules[package], alias.name)
                    bound[alias.asname or alias.name] = (
                        part if part is not MISSING else self.imported(f"{package}.{alias.name}")
                    )
        return {name: found for name, found in bound.items() if found is not MISSING}

    def imported(self, name: str) -> Any:
        if not self.own(name):
            return MISSING
        try:
            importlib.import_module(name)
            return sys.modules[name]
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the function will meet it too, or guards against it
            return MISSING
        finally:
            self.seen.look(sys.modules, name)

    def members(self, kind: Any, label: str, *, all_of_it: bool) -> CanonicalJson:
        """Return the plain values a class or function has now as attributes, which its text need not show."""
        forms: dict[str, CanonicalJson] = {}
        for name, member in sorted(vars(kind).items()):
            machinery = name.startswith("__") or (name[0] == name[-1] == "_")  # of Python, or of enum
            plain = type(member) in _PLAIN and not machinery
            function = (
                isinstance(member, FunctionType)
                and self.own(module_of(member))
                and member.__code__.co_filename != "<string>"
            )
            put_there = function and member.__code__.co_qualname != f"{kind.__qualname__}.{member.__code__.co_name}"
            counts = plain or put_there or (all_of_it and (function or name in _SHAPE))
            if (id(kind), name) in self.written or not counts:
                continue
            try:
                forms[name] = self.value(member, f"{label}.{name}")
            except UnkeyableValue:
                forms[name] = {"$type": type_name(type(member))}
        return forms
