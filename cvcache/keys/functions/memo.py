"""What the form of a function was made from, so that it need not be made again while all of that is the same.

Nothing is believed for being old: each name looked up is looked up again, and must give the very object it gave; code,
defaults, attributes and closures are compared by identity; a value that can change under the same identity is written
once more. All that is compared is kept alive, so that an identity stays what it was.
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

__all__ = ["MISSING", "Witnesses", "remembered"]

MISSING = object()
KEPT = 512
"""Functions whose form is remembered."""
_ATOMS = {type(None), bool, int, float, complex, str, bytes, type(...)}
_lock = threading.Lock()
_known: dict[tuple[str, int], tuple[object, Witnesses, Any]] = {}


def remembered(kind: str, value: Any, make: Callable[[Any], tuple[Any, Witnesses]]) -> Any:
    """Return what `make` gives for a function or class, which runs again only if something it looked at has changed."""
    plain = isinstance(value, (FunctionType, type)) and "<" not in value.__qualname__
    if not plain:  # one made in a function comes and goes, and would be kept alive with all it holds
        return make(value)[0]
    known = _known.get((kind, id(value)))
    if known is not None and known[1].agree():
        return known[2]
    made, witnesses = make(value)
    with _lock:
        if len(_known) >= KEPT:
            del _known[next(iter(_known))]
        _known[kind, id(value)] = value, witnesses, made
    return made


class Witnesses:
    """All that was looked at on the way to one form."""

    def __init__(self) -> None:
        self._names: list[tuple[Callable[..., object], str, object]] = []
        self._functions: list[tuple[FunctionType, tuple[object, ...], bool]] = []
        self._spaces: list[tuple[Mapping[str, Any], dict[str, Any]]] = []
        self._types: list[tuple[Callable[..., object], str, type]] = []
        self._values: list[tuple[object, str, list[object]]] = []
        self._files: list[tuple[str, object]] = []

    def look(self, owner: Any, name: str, *, by_type: bool = False) -> None:
        """Note what a name in a mapping, or an attribute of anything else, gives; of state only the type."""
        get = owner.get if isinstance(owner, Mapping) else functools.partial(getattr, owner)
        found = get(name, MISSING)
        if by_type:
            self._types.append((get, name, type(found)))
        else:
            self._names.append((get, name, found))

    def function(self, function: FunctionType) -> None:
        """Note code, defaults and attributes of a function."""
        self._functions.append((function, _parts(function), bool(vars(function))))
        for space in (function.__kwdefaults__, vars(function)):
            if space:
                self.space(space)

    def space(self, space: Mapping[str, Any]) -> None:
        """Note all that a class or object holds."""
        self._spaces.append((space, dict(space)))

    def value(self, value: object) -> None:
        """Note what a value is, where that can change."""
        if not _is_fixed(value):
            self._values.append((value, *_stamp(value)))

    def file(self, path: str) -> None:
        """Note size and time of a source file."""
        self._files.append((path, _changed(path)))

    def agree(self) -> bool:
        """Return whether all is as it was."""
        for get, name, found in self._names:
            if get(name, MISSING) is not found:
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
            all(_is_same(space, was) for space, was in self._spaces)
            and all(type(get(name, MISSING)) is kind for get, name, kind in self._types)
            and all(_changed(path) == was for path, was in self._files)
            and all(_stamp(value)[0] == was for value, was, _ in self._values)
        )


def _parts(function: FunctionType) -> tuple[object, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _is_same(space: Mapping[str, Any], was: dict[str, Any]) -> bool:
    now = dict(space)
    return len(now) == len(was) and all(map(operator.is_, now.values(), was.values())) and [*now] == [*was]


def _is_fixed(value: object) -> bool:
    """Whether a value is what it is for as long as it lives, or is witnessed in other ways."""
    if type(value) in {tuple, frozenset}:
        return all(map(_is_fixed, value))  # type: ignore[call-overload]  # by its type
    return type(value) in _ATOMS or isinstance(value, (FunctionType, ModuleType, type))


def _stamp(value: object) -> tuple[str, list[object]]:
    """Return a text that changes with a value, in which functions and classes are themselves; and those."""
    kept: list[object] = []

    def code(part: object) -> Any:
        kept.append(part)
        return None if isinstance(part, MethodType) else {"$is": id(part)}

    try:
        return dumps(canonical(value, "", code, paths="text")), kept
    except UnkeyableValue:
        return f"{type(value)} {getattr(value, '__dict__', None) == {}}", kept


def _changed(path: str) -> object:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_mtime_ns, info.st_size
