"""Inspect functions and classes: their parts, their names and their modules."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import linecache
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

__all__ = [
    "COMPREHENSION",
    "FreeVariables",
    "default_values",
    "definition_name",
    "functions_of",
    "is_installed",
    "module_of",
    "nested_attribute",
    "public_name",
    "qualified_name",
    "unwrap",
]

COMPREHENSION = re.compile(r"<(list|dict|set)comp>\.(<locals>\.)?")  # part of a qualified name before 3.12 only
_STDLIB = sysconfig.get_path("stdlib")


def functions_of(value: Any) -> list[FunctionType]:
    """Return a function, or the functions in the body of a class, without those that a decorator made."""
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


class FreeVariables(Mapping[str, Any]):
    """Free variables of a function, or of the methods of a class: name -> current value."""

    def __init__(self, value: Any) -> None:
        self.cells = {
            name: cell
            for function in functions_of(value)
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        }

    def __getitem__(self, name: str) -> Any:
        try:
            return self.cells[name].cell_contents
        except ValueError:  # not filled yet
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.cells if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def default_values(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield name and default of the arguments that have one."""
    code, values = function.__code__, function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(values) : code.co_argcount], values, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


def unwrap(value: Any) -> Any:
    """Return the innermost function in decorators, partials and methods."""
    wrapped = getattr(value, "__dict__", {}).get("__wrapped__")
    if wrapped is None:
        wrapped = value.func if isinstance(value, functools.partial) else getattr(value, "__func__", None)
    return value if wrapped is None else unwrap(wrapped)


def module_of(value: Any) -> str:
    """Return the module in which a function runs (the wrapper of a decorator claims another), or a class was made."""
    if isinstance(value, (FunctionType, ModuleType)):
        return str(value.__globals__.get("__name__", "__main__") if isinstance(value, FunctionType) else value.__name__)
    return getattr(value, "__module__", None) or type(getattr(value, "__self__", value)).__module__


def qualified_name(value: Any) -> str:
    """Return the qualified name, the same before and after Python 3.12."""
    return COMPREHENSION.sub("", str(getattr(value, "__qualname__", None) or type(value).__qualname__))


def definition_name(value: Any) -> str:
    """Return the name in the definition of a function, even if a decorator has changed its name."""
    return value.__code__.co_qualname if isinstance(value, FunctionType) else qualified_name(value)


def public_name(value: Any) -> str:
    """Return the ``module:name`` from which this object can be imported, or an empty string.

    The module is the outermost package that has the object, as inner modules move between versions of a package.
    """
    owner = type(getattr(value, "__self__", value)).__module__
    for module in (getattr(value, "__module__", None), owner):
        for name in (getattr(value, "__qualname__", None), getattr(value, "__name__", None)):
            if not isinstance(module, str) or not isinstance(name, str):
                continue
            for package in itertools.accumulate(module.split("."), "{}.{}".format):
                if nested_attribute(sys.modules.get(package), name.split(".")) is value:
                    return f"{package}:{name}"
    return ""


def nested_attribute(value: Any, names: Iterable[str]) -> Any:
    """Return an attribute of an attribute and so on; None if there is none."""
    return functools.reduce(lambda part, name: getattr(part, name, None), names, value)


def is_installed(module: str) -> bool:
    """Return whether a module is of the standard library, of an installed package or of cvcache itself."""
    top = module.partition(".")[0]
    loaded_module = sys.modules.get(module) or sys.modules.get(top)
    file = getattr(loaded_module, "__file__", None) or next(iter(getattr(loaded_module, "__path__", ())), None)
    if loaded_module is None:
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top)  # imports nothing
            file = spec and (spec.origin or next(iter(spec.submodule_search_locations or ()), None))
    if top in {"builtins", "cvcache"} or file in {"built-in", "frozen"}:
        return True
    if file is None:  # frozen, or a module made at run time
        return top in sys.stdlib_module_names or (module != top and loaded_module is not None and is_installed(top))
    parts = file.replace("\\", "/").split("/")
    return file.startswith(_STDLIB) or "site-packages" in parts or "dist-packages" in parts
