"""Memoize the JSON of a function, together with the dependencies it was made from.

A result is reused only if all its dependencies are still valid. Names are looked up again and must give the same
object; code, defaults, attributes and closures are compared by identity; mutable values are encoded again. All objects
that are compared are kept alive, so that no other object gets their id.
"""

from __future__ import annotations

import functools
import operator
import os
import threading
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

from cvcache.errors import UnkeyableValue
from cvcache.keys.canonical import canonical
from cvcache.keys.digest import dumps

__all__ = ["MISSING", "Dependencies", "memoized"]

MISSING = object()
MAX_MEMOIZED = 512
"""Number of functions whose JSON is memoized."""
_IMMUTABLE_TYPES = {type(None), bool, int, float, complex, str, bytes, type(...)}
_lock = threading.Lock()
_memo: dict[tuple[str, int], tuple[object, Dependencies, Any]] = {}


def memoized(kind: str, value: Any, make: Callable[[Any], tuple[Any, Dependencies]]) -> Any:
    """Return the result of `make` for a function or class; it runs again only if a dependency has changed."""
    is_memoizable = isinstance(value, (FunctionType, type)) and "<" not in value.__qualname__
    if not is_memoizable:  # a local function is short-lived; the memo would keep it and its closure alive
        return make(value)[0]
    entry = _memo.get((kind, id(value)))
    if entry is not None and entry[1].still_valid():
        return entry[2]
    result, dependencies = make(value)
    with _lock:
        if len(_memo) >= MAX_MEMOIZED:
            del _memo[next(iter(_memo))]
        _memo[kind, id(value)] = value, dependencies, result
    return result


class Dependencies:
    """All names, objects and files that one result was made from."""

    def __init__(self) -> None:
        self._lookups: list[tuple[Callable[..., object], str, object]] = []
        self._functions: list[tuple[FunctionType, tuple[object, ...], bool]] = []
        self._namespaces: list[tuple[Mapping[str, Any], dict[str, Any]]] = []
        self._lookup_types: list[tuple[Callable[..., object], str, type]] = []
        self._values: list[tuple[object, str, list[object]]] = []
        self._files: list[tuple[str, object]] = []

    def add_lookup(self, owner: Any, name: str, *, by_type: bool = False) -> None:
        """Add a name in a mapping, or an attribute of another object, with its value, or with its type only."""
        get = owner.get if isinstance(owner, Mapping) else functools.partial(getattr, owner)
        result = get(name, MISSING)
        if by_type:
            self._lookup_types.append((get, name, type(result)))
        else:
            self._lookups.append((get, name, result))

    def add_function(self, function: FunctionType) -> None:
        """Add code, defaults and attributes of a function."""
        self._functions.append((function, _function_parts(function), bool(vars(function))))
        for namespace in (function.__kwdefaults__, vars(function)):
            if namespace:
                self.add_namespace(namespace)

    def add_namespace(self, namespace: Mapping[str, Any]) -> None:
        """Add all attributes of a class or object."""
        self._namespaces.append((namespace, dict(namespace)))

    def add_value(self, value: object) -> None:
        """Add a value, if it is mutable."""
        if not _is_immutable(value):
            self._values.append((value, *_fingerprint(value)))

    def add_file(self, path: str) -> None:
        """Add size and time of a source file."""
        self._files.append((path, _file_stamp(path)))

    def still_valid(self) -> bool:
        """Return whether no dependency has changed."""
        for get, name, result in self._lookups:
            if get(name, MISSING) is not result:
                return False
        for function, parts, has_attributes in self._functions:
            if (
                function.__code__ is not parts[0]
                or function.__defaults__ is not parts[1]
                or function.__kwdefaults__ is not parts[2]
                or bool(vars(function)) is not has_attributes
            ):
                return False
        return (
            all(_same_items(namespace, before) for namespace, before in self._namespaces)
            and all(type(get(name, MISSING)) is kind for get, name, kind in self._lookup_types)
            and all(_file_stamp(path) == before for path, before in self._files)
            and all(_fingerprint(value)[0] == before for value, before, _ in self._values)
        )


def _function_parts(function: FunctionType) -> tuple[object, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _same_items(namespace: Mapping[str, Any], before: dict[str, Any]) -> bool:
    items = dict(namespace)
    return (
        len(items) == len(before) and all(map(operator.is_, items.values(), before.values())) and [*items] == [*before]
    )


def _is_immutable(value: Any) -> bool:
    """Whether a value cannot change, or is compared in another way."""
    if type(value) in {tuple, frozenset}:
        return all(map(_is_immutable, value))
    return type(value) in _IMMUTABLE_TYPES or isinstance(value, (FunctionType, ModuleType, type))


def _fingerprint(value: object) -> tuple[str, list[object]]:
    """Return a text that changes with a value, and the functions and classes in it, which the text has by their id."""
    parts: list[object] = []

    def code(part: object) -> Any:
        parts.append(part)
        return None if isinstance(part, MethodType) else {"$is": id(part)}

    try:
        return dumps(canonical(value, "", code, paths="text")), parts
    except UnkeyableValue:
        return f"{type(value)} {getattr(value, '__dict__', None) == {}}", parts


def _file_stamp(path: str) -> object:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size
