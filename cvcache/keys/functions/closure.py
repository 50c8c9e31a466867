"""Canonical JSON of the code of a function: its syntax tree, and that of everything it uses in the same project.

Why so: a result is stale if any code that made it has changed, but not after a change of a comment, a version of Python
or a file name. So a function is encoded by its syntax tree without comments, docstrings, formatting and annotations.
The same holds for each function, class and constant that it uses by a global name, a closure or an import in its body.

* The project is the same top-level package and all code that is not installed: scripts, notebooks, modules beside them.
  Installed packages, the standard library and C functions are encoded by name.
* Not found: what is reached by ``getattr``, a string or an argument.
* A name that the code writes to (``global n``, ``calls.append(1)``, ``CACHE[k] = v``) is state; its type is encoded.
* A syntax tree is used only if it compiles to the bytecode that runs. Without source, or after an edit without a
  reload, the bytecode is encoded, and the JSON says so.
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
from cvcache.keys.canonical import MAX_MAPPING_BYTES, canonical, type_name
from cvcache.keys.digest import CanonicalJson, digest, dumps
from cvcache.keys.functions.callables import (
    COMPREHENSION,
    FreeVariables,
    default_values,
    definition_name,
    functions_of,
    is_installed,
    module_of,
    public_name,
    qualified_name,
    unwrap,
)
from cvcache.keys.functions.memo import MISSING, Dependencies, memoized
from cvcache.keys.functions.source import CodeAnalysis, analyze_bytecode, analyze_tree, find_source, parse_source
from cvcache.keys.functions.syntax import dump_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["canonical_callable", "canonical_code"]

DEMO_MODULES = {"cvcache.cli.demo", "cvcache.cli.demo_image"}  # modules of cvcache that are encoded like a project
_MODULE_ATTRIBUTES = {"__builtins__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__"}
_PLAIN_TYPES = {bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset}
_ENCODED_BY_TYPE = {"_contextvars", "_thread", "contextvars", "logging", "threading", "types", "typing"}
_GENERATED_MEMBERS = {"_field_defaults", "_fields", "_member_map_", "__annotations__"}
"""Of a class that was made by a call, such as a named tuple."""


def canonical_code(function: Any) -> dict[str, CanonicalJson]:
    """Return the code of a function or class as canonical JSON.

    Parameters
    ----------
    function : callable
        A function, lambda, class, method or partial, with or without decorators.

    Returns
    -------
    dict
        ``name`` (without module or file), ``ast`` (a digest of its own code) and ``uses``: for each helper
        ``module:qualname`` a digest, for each constant ``{"value": json}``; without the module if it is that of the
        function. ``source: "bytecode"`` if there is no source.

    Raises
    ------
    UnkeyableValue
        A constant that it uses cannot be encoded.

    Notes
    -----
    Reads source files, and imports the modules of the project that the function would import. Memoized until a
    dependency changes (`cvcache.keys.functions.memo`). No store call.
    """
    encoded: dict[str, Any] = memoized("code", function, _encode_code)
    return {**encoded, "uses": {**encoded["uses"]}}


def _encode_code(function: Any) -> tuple[CanonicalJson, Dependencies]:
    home_module = module_of(unwrap(function))
    encoder = _CodeEncoder(home_module, home_module.partition(".")[0])
    return encoder.encode(function), encoder.dependencies


def canonical_callable(value: Any) -> CanonicalJson:
    """Return the JSON of a callable: its name if it is installed, else its code; None if it has neither."""
    encoded: CanonicalJson = memoized("callable", value, _encode_callable)
    return copy.deepcopy(encoded)  # the caller must not change the memoized JSON


def _encode_callable(value: Any) -> tuple[CanonicalJson, Dependencies]:
    home_module, name = module_of(unwrap(value)), qualified_name(value)
    # an installed function without a public name was replaced by a decorator
    by_name = is_installed(home_module) and (public_name(value) or "<locals>" in name)
    encoder = _CodeEncoder(home_module, "" if by_name else home_module.partition(".")[0])
    encoded = encoder.encode_reference(value)
    return ({"$code": encoder.encode(value)} if encoder.labels else encoded), encoder.dependencies


def _written_parts(name: str, written_names: Iterable[str]) -> set[str]:
    """Return which parts of a name are written to: the name itself, or attributes of it."""
    return {write.removeprefix(f"{name}.") for write in written_names if write == name or write.startswith(f"{name}.")}


class _EmptyObject:
    """An object without any content, like a sentinel."""


class _CodeEncoder:
    """Encodes one function and everything it uses, by following the names in it."""

    def __init__(self, home_module: str, project: str) -> None:
        self.home_module, self.project = home_module, project
        self.labels: dict[int, str] = {}
        self.definitions: list[tuple[str, Any]] = []  # (label, object); a living object keeps its id
        self.uses: dict[str, CanonicalJson] = {}
        self.written_names: set[tuple[int, str]] = set()
        self.sourceless: set[str] = set()
        self.name_counts: Counter[str] = Counter()
        self.dependencies = Dependencies()

    def encode(self, value: Any) -> dict[str, CanonicalJson]:
        root = self.encode_reference(value)
        if root is None:
            root = canonical(value, "function", self.encode_reference, paths="text")
        for label, target in self.definitions:  # grows during the loop
            text = digest(self.encode_definition(label, target))
            self.uses[label] = f"bytecode {text}" if label in self.sourceless else text
        label = self.labels.get(id(value), "")
        own_digest = self.uses.pop(label, digest(root))
        uses = self.uses if len(dumps(self.uses)) <= MAX_MAPPING_BYTES else self.digests_by_module()
        source = {"source": "bytecode"} if label in self.sourceless else {}
        return {"name": qualified_name(unwrap(value)), "ast": own_digest, "uses": uses, **source}

    def digests_by_module(self) -> dict[str, CanonicalJson]:
        """Return one digest for each module, for a function with too many helpers for a record."""
        modules: dict[str, dict[str, CanonicalJson]] = {}
        for name, encoded in self.uses.items():
            modules.setdefault(name.rpartition(":")[0], {})[name] = encoded
        return {f"{module}:*": digest(json_by_name) for module, json_by_name in modules.items()}

    def in_project(self, module: str) -> bool:
        if self.project == "cvcache":
            return module in DEMO_MODULES
        return module.partition(".")[0] == self.project or not is_installed(module)

    def encode_reference(self, value: Any) -> CanonicalJson:
        """Return the label of a callable of the project, or the name of an installed one; None for other values."""
        modules = (module_of(value), getattr(value, "__module__", None) or "builtins")
        public, is_project_code = public_name(value), any(map(self.in_project, modules))
        if not is_project_code and (public or isinstance(value, type)):
            return {"$name": public or type_name(value)}
        if isinstance(value, (FunctionType, type)):
            return {"$use": self.label(value)}
        if isinstance(value, MethodType):
            return None  # canonical() encodes its function and its object
        if hasattr(type(value), "__cvcache_code__") or "__wrapped__" in getattr(value, "__dict__", {}):
            return self.encode_wrapper(value)
        if type(value).__module__ == "builtins" and hasattr(value, "__qualname__"):  # such as the `append` of one list
            bound = getattr(value, "__self__", None)
            bound = None if isinstance(bound, ModuleType) else self.encode_value(bound, qualified_name(value))
            return {"$name": f"{module_of(value)}:{qualified_name(value)}", "self": bound}
        return {"$name": public} if public else None

    def encode_wrapper(self, value: Any) -> CanonicalJson:
        """Return the JSON of an object around a function: what is inside of it, and its type."""
        kind, state = type(value), getattr(value, "__dict__", {})
        self.dependencies.add_namespace(state)
        if hasattr(kind, "__cvcache_code__"):
            inside = self.encode_value(value.__cvcache_code__(), qualified_name(value))
            return {"$around": inside, "type": type_name(kind)}
        type_in_project = self.in_project(kind.__module__)
        parts = {
            name: part
            for name, part in state.items()
            if name == "__wrapped__" or (type_in_project and name[:2] != "__")
        }
        return {"$around": self.encode_value(parts, qualified_name(value)), "type": self.encode_reference(kind)}

    def label(self, value: Any) -> str:
        if id(value) not in self.labels:
            module, name = module_of(value), COMPREHENSION.sub("", definition_name(value))
            base = name if module == self.home_module else f"{module}:{name}"
            self.name_counts[base] += 1
            label = base if self.name_counts[base] == 1 else f"{base}#{self.name_counts[base]}"
            self.labels[id(value)] = label
            self.definitions.append((label, value))
        return self.labels[id(value)]

    def encode_value(self, value: object, use: str) -> CanonicalJson:
        self.dependencies.add_value(value)
        try:
            return canonical(value, use, self.encode_reference, paths="text")
        except UnkeyableValue as error:
            name = type_name(type(value))
            if type(value) is object or (
                name.partition(".")[0] in _ENCODED_BY_TYPE and name != "types.SimpleNamespace"
            ):
                return {"$type": name}
            sentinel = type(value).__new__ is object.__new__ and type(value).__basicsize__ == _EmptyObject.__basicsize__
            if sentinel and getattr(value, "__dict__", None) == {}:
                return {"$type": self.encode_reference(type(value))}
            way_out = f"give the step a version= (and depends=), make it an argument, or register_key({name}, function)"
            raise UnkeyableValue(f"the code uses {use} ({name}), which has no canonical form; {way_out}") from error

    def encode_definition(self, label: str, value: Any) -> CanonicalJson:
        """Return the code of one function or class, and the meaning of each name in it."""
        functions, free_variables = functions_of(value), cast("Any", FreeVariables(value))
        self.add_dependencies(value, functions)
        if not self.in_project(module_of(value)):
            made_with = self.made_with(value, free_variables)
            cells = {name: self.encode_value(part, f"{label}.{name}") for name, part in made_with.items()}
            return {"name": label, "cells": cells}
        module = functions[0].__globals__ if functions else vars(sys.modules.get(value.__module__, builtins))
        node, code = find_source(value, functions, module)
        if node is None:
            self.sourceless.add(label)
            analysis = analyze_bytecode(code, value.__doc__)
        else:
            analysis = analyze_tree(node, code, ChainMap(free_variables, module))
        scope = ChainMap(self.imported_names(node, module), free_variables, module)
        encoded: dict[str, CanonicalJson] = {
            "code": analysis.encoded,
            "names": self.encode_names(label, analysis, scope),
            "defaults": [
                {"$state": type_name(type(part))}
                if name in analysis.written_names
                else self.encode_value(part, f"{label}: default of {name}")
                for function in functions
                for name, part in default_values(function)
            ],
        }
        if isinstance(value, type):
            encoded["bases"] = [self.encode_value(base, f"a base of {label}") for base in value.__bases__]
        encoded["live"] = self.encode_members(value, label, all_of_it=node is None and isinstance(value, type))
        return encoded

    def made_with(self, value: Any, free_variables: Any) -> dict[str, Any]:
        """Return what an installed package made a function with, as its own code says nothing about it."""
        for name in free_variables.cells:
            self.dependencies.add_lookup(free_variables, name)
        attributes = vars(value)
        parts = {"__wrapped__": value.__wrapped__} if "__wrapped__" in attributes else dict(free_variables)
        if isinstance(registry := attributes.get("registry"), Mapping):  # of functools.singledispatch
            self.dependencies.add_namespace(registry)
            parts |= {f"for {type_name(kind)}": part for kind, part in registry.items()}
        return parts

    def encode_names(self, label: str, analysis: CodeAnalysis, scope: ChainMap[str, Any]) -> CanonicalJson:
        """Return the meaning of each name in a piece of code, with the attributes that lead through modules."""
        imports, free_variables, _ = scope.maps
        names: dict[str, CanonicalJson] = {}
        for root in sorted(analysis.loaded_names | {"__class__"} & free_variables.keys() | imports.keys()):
            for chain in sorted(analysis.attribute_chains.get(root, {()} if root == "__class__" else ())):
                name, target = self.resolve_chain(root, chain, scope, analysis.written_names)
                if root not in _MODULE_ATTRIBUTES and not (target is MISSING and hasattr(builtins, root)):
                    names[name] = self.encode_name(label, name, target, analysis)
        return names

    def add_dependencies(self, value: Any, functions: list[FunctionType]) -> None:
        for function in functions:
            self.dependencies.add_function(function)
        if isinstance(value, type):
            self.dependencies.add_namespace(vars(value))
            self.dependencies.add_lookup(value, "__bases__")

    def resolve_chain(
        self, root: str, chain: Iterable[str], scope: ChainMap[str, Any], written_names: set[str]
    ) -> tuple[str, Any]:
        """Return the part of an attribute chain that leads through modules of the project, and the object it names."""
        maps: list[Any] = scope.maps
        imports, free_variables, module = maps
        owner = imports if root in imports else free_variables if root in free_variables.cells else module
        name, part, target = root, root, scope.get(root, MISSING)
        for attribute in chain:
            if not isinstance(target, ModuleType) or not self.in_project(target.__name__):
                break
            self.dependencies.add_lookup(owner, part)
            owner, part, name = target, attribute, f"{name}.{attribute}"
            target = getattr(target, attribute, MISSING)
        is_state = not isinstance(target, (type, FunctionType)) and _written_parts(name, written_names)
        self.dependencies.add_lookup(owner, part, by_type=bool(is_state))
        return name, target

    def encode_name(self, label: str, name: str, target: Any, analysis: CodeAnalysis) -> CanonicalJson:
        writes = _written_parts(name, analysis.written_names)
        if target is MISSING:
            return "?"
        if isinstance(target, ModuleType):
            return self.encode_module(target)
        if isinstance(target, (type, FunctionType)):
            self.written_names |= {(id(target), write) for write in writes}
        elif writes:
            return {"$state": type_name(type(target))}
        elif hasattr(type(target), "__cvcache_is_address__") and target.__cvcache_is_address__():
            return {"$type": type_name(type(target))}  # the address of a node is not code
        try:
            encoded = self.encode_value(target, f"{label}: {name}")
        except UnkeyableValue:
            if name.partition(".")[0] not in analysis.decorator_names:
                raise
            return {"$type": type_name(type(target))}
        if isinstance(encoded, dict) and encoded.keys() & {"$around", "$name", "$type", "$use"}:
            return encoded
        module = label.rpartition(":")[0]
        use, constant = f"{module}:{name}" if module else name, {"value": encoded}
        # two functions can use one name for two things
        if name in analysis.free_names or self.uses.get(use, constant) != constant:
            use = f"{label}.{name}"
        self.uses[use] = constant
        return {"$use": use}

    def encode_module(self, module: ModuleType) -> CanonicalJson:
        """Return the name of a module, and add the digest of its whole text if it is one of the project."""
        file = getattr(module, "__file__", None)
        if file and self.in_project(module.__name__):
            self.dependencies.add_file(file)
            linecache.checkcache(file)
            text = "".join(linecache.getlines(file))
            self.uses[f"{module.__name__}:*"] = digest(dump_tree(parse_source(text).tree, ()))
        return {"$name": module.__name__}

    def imported_names(self, node: ast.AST | None, module: dict[str, Any]) -> dict[str, Any]:
        """Return the names that the imports in a body bind to objects of the project."""
        bound: dict[str, Any] = {}
        for statement in ast.walk(node) if node else ():
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    name, target = alias.asname or alias.name.partition(".")[0], self.import_project_module(alias.name)
                    bound[name] = target if alias.asname or target is MISSING else sys.modules[name]
            elif isinstance(statement, ast.ImportFrom):
                package = "." * statement.level + (statement.module or "")
                with contextlib.suppress(ImportError):  # no known parent package: the function cannot import it either
                    package = importlib.util.resolve_name(package, module.get("__package__") or "")
                for alias in statement.names:
                    bound[alias.asname or alias.name] = self.import_from(package, alias.name)
        return {name: target for name, target in bound.items() if target is not MISSING}

    def import_from(self, package: str, name: str) -> Any:
        """Return the object or module that one name in a ``from package import`` binds."""
        part = getattr(self.import_project_module(package), name, MISSING)
        if package in sys.modules:
            self.dependencies.add_lookup(sys.modules[package], name)
        return part if part is not MISSING else self.import_project_module(f"{package}.{name}")

    def import_project_module(self, name: str) -> Any:
        if not self.in_project(name):
            return MISSING
        try:
            importlib.import_module(name)
            return sys.modules[name]
        except Exception:  # noqa: BLE001 - the function will raise the same error, or handles it
            return MISSING
        finally:
            self.dependencies.add_lookup(sys.modules, name)

    def encode_members(self, kind: Any, label: str, *, all_of_it: bool) -> CanonicalJson:
        """Return the current plain attributes of a class or function, which its source may not show."""
        json_by_name: dict[str, CanonicalJson] = {}
        for name, member in sorted(vars(kind).items()):
            is_internal = name.startswith("__") or (name[0] == name[-1] == "_")  # of Python, or of enum
            is_plain = type(member) in _PLAIN_TYPES and not is_internal
            function = (
                isinstance(member, FunctionType)
                and self.in_project(module_of(member))
                and member.__code__.co_filename != "<string>"
            )
            assigned_later = (
                function and member.__code__.co_qualname != f"{kind.__qualname__}.{member.__code__.co_name}"
            )
            is_counted = is_plain or assigned_later or (all_of_it and (function or name in _GENERATED_MEMBERS))
            if (id(kind), name) in self.written_names or not is_counted:
                continue
            try:
                json_by_name[name] = self.encode_value(member, f"{label}.{name}")
            except UnkeyableValue:
                json_by_name[name] = {"$type": type_name(type(member))}
        return json_by_name
