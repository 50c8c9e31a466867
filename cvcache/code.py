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
import linecache
import sys
import sysconfig
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from cvcache.errors import UnkeyableValue
from cvcache.key import BRANCH, Form, canonical, digest, dumps, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["callable_form", "code_of"]

_LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_FROM_DICT_OR_DEREF"}
_MUTATORS = set("add append appendleft clear discard extend insert pop popitem put remove set setdefault update".split())
_NOT_CODE = {"annotation", "ctx", "kind", "returns", "type_comment", "type_ignores", "type_params"}
_OF_THE_FILE = {"__builtins__", "__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__"}
_PLAIN = {bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset}
_PLUMBING = {"_contextvars", "_thread", "contextvars", "logging", "threading", "types", "typing"}
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
    home = _module(_innermost(value))
    closure = _Closure(home, "" if _installed(home) else home.partition(".")[0])
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

    def record(self, value: Any) -> dict[str, Form]:
        root = self.reference(value)
        if root is None:
            root = canonical(value, "function", self.reference)
        for label, found in self.found:  # grows on the way
            text = digest(self.entity(label, found))
            self.uses[label] = f"bytecode {text}" if label in self.sourceless else text
        label = self.labels.get(id(value), "")
        own = self.uses.pop(label, digest(root))
        uses = self.uses
        if len(dumps(uses)) > BRANCH:
            modules = {name: name.rpartition(":")[0] for name in uses}
            uses = {f"{m}:*": digest({n: uses[n] for n in uses if modules[n] == m}) for m in modules.values()}
        source = {"source": "bytecode"} if label in self.sourceless else {}
        return {"name": _qualname(value), "ast": own, "uses": uses, **source}

    def own(self, module: str) -> bool:
        return module.partition(".")[0] == self.project or not _installed(module)

    def reference(self, value: Any) -> Form:
        """Return the label of a callable of the project, the name of an installed one, or None."""
        ours = self.own(_module(value)) or self.own(getattr(value, "__module__", None) or "builtins")
        if isinstance(value, FunctionType) or (isinstance(value, type) and ours):
            return {"$name": _public(value)} if not ours and _public(value) else {"$use": self.label(value)}
        if isinstance(value, type) or (_public(value) and not ours):
            return {"$name": _public(value) or type_name(value)}
        state = getattr(value, "__dict__", {})
        if "__wrapped__" in state and self.own(type(value).__module__):
            return {"$object": self.reference(type(value)), "state": self.value(dict(state), _qualname(value))}
        if "__wrapped__" in state:
            return {"$name": type_name(type(value)), "around": self.value(state["__wrapped__"], _qualname(value))}
        if type(value).__module__ == "builtins" and not isinstance(value, MethodType) and hasattr(value, "__qualname__"):
            bound = getattr(value, "__self__", None)
            bound = None if isinstance(bound, ModuleType) else self.value(bound, _qualname(value))
            return {"$name": f"{_module(value)}:{_qualname(value)}", "self": bound}
        return {"$name": _public(value)} if _public(value) else None

    def label(self, value: Any) -> str:
        if id(value) not in self.labels:
            module, name = _module(value), _real_name(value)
            label = base = name if module == self.home else f"{module}:{name}"
            taken, n = set(self.labels.values()), 1
            while label in taken:
                label = f"{base}#{(n := n + 1)}"
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
            msg = (f"the code uses {place} ({name}), which has no canonical form; give the step a version= (and depends=), "
                   f"make it an argument, or register_key({name}, function)")
            raise UnkeyableValue(msg) from error

    def entity(self, label: str, value: Any) -> Form:
        """Return the form of the own code of one function or class, with what its names mean."""
        functions = _functions(value)
        cells = {name: cell for f in functions for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)}
        scope: dict[str, Any] = {}
        for name, cell in cells.items():
            with contextlib.suppress(ValueError):  # an empty cell
                scope[name] = cell.cell_contents
        if not self.own(_module(value)):  # made by an installed package: by name, with what it encloses
            inside = {name: self.value(part, f"{label}.{name}") for name, part in sorted(scope.items())}
            return {"name": label, "cells": inside}
        names = functions[0].__globals__ if functions else vars(sys.modules.get(value.__module__, builtins))
        ...
