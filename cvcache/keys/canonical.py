"""Canonical values: what a key is made of, and its digest.

The canonical form of a value is plain JSON. ``None``, bools, ints, finite floats, strings, lists and dicts
with string keys stand for themselves; anything else is an object with a name that starts with ``$``, such as
``{"$tuple": [1, 2]}``. A dict of the user's that could be taken for one is written ``{"$dict": [[key, value], ...]}``,
so no two unequal values share a form. The reverse is not promised: ``1``, ``1.0`` and ``True``, ``0.0`` and
``-0.0``, a set and a frozenset all differ, since code can tell them apart.

A text or sequence whose JSON exceeds 1 KiB (a mapping: 16 KiB; the outermost one: 48 KiB) becomes
``{"$long": kind, "len": n, "sha256": ...}``, so that a key stays small enough to be read and to be kept in a record.

What knows the types of other packages, and the code of functions, is handed in from `cvcache.keys.key`.
"""

from __future__ import annotations

import enum
import functools
import math
import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from cvcache.errors import UnkeyableValue
from cvcache.keys.digest import LEAF, Canonical, CanonicalJson, digest, dumps, is_utf8, short, text_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "Canonical",
    "CanonicalJson",
    "FormMaker",
    "Walk",
    "canonical",
    "digest",
    "dumps",
    "register_key",
    "register_package",
    "short",
    "text_form",
    "type_name",
]

Paths: TypeAlias = Literal["text", "local", "all"]
T = TypeVar("T")

BRANCH = 16 * 1024  # bytes of JSON that a mapping may keep
DEPTH = 60  # a deeper value is refused before json or the stack of the interpreter gives up
NUMBER, LETTER = 26, 6  # bytes of JSON that a number, and a character, have at most
MAX_PATH = 4096

OPEN = {f"${tag}" for tag in ("around", "code", "defaultdict", "deque", "fields", "mappingproxy", "method")}
OPEN |= {"$namespace", "$partial", "$tuple", "$xarray"}
_TEXT = {str}
_hooks: dict[type, Callable[[Any], object]] = {}
FormMaker: TypeAlias = "Callable[[Walk, Any], CanonicalJson]"
_packages: dict[str, Callable[[], FormMaker]] = {}
"""Top-level package of a type, or of one it derives from -> what gives the maker of the forms of its values."""


def type_name(kind: type) -> str:
    """Return the qualified name of a type; one of a script has the name the script is imported by."""
    module = kind.__module__
    if module == "__main__":
        spec, file = (getattr(sys.modules[module], name, None) for name in ("__spec__", "__file__"))
        module = spec.name if spec else file.replace("\\", "/").split("/")[-1].removesuffix(".py") if file else module
    if module.startswith("cvcache."):
        module = "cvcache"  # which of its rooms a class of ours is in says nothing, and what is written must not
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def register_key(kind: type[T], function: Callable[[T], object]) -> None:
    """Say what stands for the values of a type in a key.

    Parameters
    ----------
    kind : type
        Subclasses use the same function unless they have their own.
    function : callable
        Takes a value and returns any keyable value, in which is everything that can change a result.
        The name of the value's type is added to it.

    Notes
    -----
    A class of your own can have a method ``__cvcache_key__`` instead. No store call.
    """
    _hooks[kind] = function


def canonical(
    value: object, where: str = "", code: Callable[[Any], CanonicalJson] | None = None, *, paths: Paths
) -> CanonicalJson:
    """Return the canonical form of a value: plain JSON that no unequal value shares.

    Parameters
    ----------
    value : object
        What `cvcache.keys.canonical_key` takes.
    where : str
        What the value is called in an error, such as ``"args"``.
    code : callable, optional
        Gives the form of a function or class, or None for one without; without it there are none in the value.
    paths : {"all", "local", "text"}
        Which paths and URLs count with size and time, or etag, of what lies there; the others by their text alone.

    Raises
    ------
    UnkeyableValue
        The value, or one in it, has no canonical form; says which one, where, and the ways out.
    """
    return Walk(where, code or (lambda _: None), paths).form(value)


def register_package(*packages: str) -> Callable[[Callable[[], FormMaker]], Callable[[], FormMaker]]:
    """Say what gives the maker of the forms of a package's values; it is asked once, with the first such value."""

    def register(load: Callable[[], FormMaker]) -> Callable[[], FormMaker]:
        _packages.update(dict.fromkeys(packages, load))
        return load

    return register


@functools.cache
def _form_maker(package: str) -> FormMaker:
    return _packages[package]()


@functools.lru_cache(1024)
def _family(kind: type) -> FormMaker | None:
    """Return what makes the forms of a type of another package, loaded when it is first needed."""
    packages = [base.__module__.partition(".")[0] for base in kind.__mro__]
    packages += ["pathlib"] * hasattr(kind, "__fspath__")
    return next((_form_maker(package) for package in packages if package in _packages), None)


class Walk:
    """One pass over one value, which knows the way from the top to where it is."""

    def __init__(self, where: str, code: Callable[[Any], CanonicalJson], paths: Paths) -> None:
        self.path = [where]
        self.inside: set[int] = set()
        self.code = code
        self.paths = paths
        self.types: dict[type, CanonicalJson] = {}
        self.met: list[Any] = []
        self.size = 0  # bytes of JSON that the forms made so far have at most

    @property
    def place(self) -> str:
        """What an error calls the value being looked at."""
        return "".join(self.path).removeprefix(".") or "this value"

    def refusal(self, value: object, why: str) -> UnkeyableValue:
        """Return the error for a value without a form."""
        name = type_name(type(value))
        way_out = f"pass a plain value, leave the argument out with ignore=, or register_key({name}, function)"
        return UnkeyableValue(f"{self.place} ({name}) cannot be part of a key: {why}; {way_out}")

    def form(self, value: Any, step: str = "") -> CanonicalJson:
        """Return the form of a value that lies `step` further in."""
        kind = type(value)
        if kind is str and len(value) < LEAF // LETTER and value.isascii() and not self._may_be_path(value):
            self.size += LETTER * len(value) + 2
            return value  # type: ignore[no-any-return]  # JSON is a Form
        if value is None or kind is bool or (kind is int and -(2**63) <= value < 2**63):
            self.size += NUMBER
            return value  # type: ignore[no-any-return]  # as above
        if kind is float and math.isfinite(value):
            self.size += NUMBER
            return value  # type: ignore[no-any-return]  # as above
        self.path.append(step)
        if id(value) in self.inside or len(self.path) > DEPTH:
            raise self.refusal(value, "it contains itself" if id(value) in self.inside else "it is nested too deeply")
        self.inside.add(id(value))
        make = _CONTAINERS.get(kind) if kind not in _hooks else None
        if make:
            form = make(self, value)
        elif kind is Canonical:
            form, size = value.copy()
            self.size += size
        else:
            before = self.size
            form = self.compound(value, kind)
            self.size = before + len(dumps(form).encode())
        self.inside.discard(id(value))
        self.path.pop()
        return form

    def _may_be_path(self, text: str) -> bool:
        return self.paths != "text" and ("/" in text or "." in text or "\\" in text) and "\n" not in text

    def compound(self, value: Any, kind: type) -> CanonicalJson:
        """Return the form of what is no plain value and no plain container."""
        if kind is str:
            by_path = self._may_be_path(value) and len(value) < MAX_PATH
            return _form_maker("pathlib")(self, value) if by_path else text_form(value)
        hook = next((_hooks[base] for base in kind.__mro__ if base in _hooks), getattr(kind, "__cvcache_key__", None))
        if hook is not None:
            if hasattr(kind, "__cvcache_input__"):
                self.met.append(value)
            inner = hook(value)
            form = self.form(inner)
            return form if type(inner) is Canonical else {"$object": type_name(kind), "key": form}
        form = _form_maker("stdlib")(self, value)
        form = self.by_kind(value, kind) if form is None else form
        if form is None:
            raise self.refusal(value, "its type has no canonical form")
        return form

    def by_kind(self, value: Any, kind: type) -> CanonicalJson:
        """Return the form of a value by what its type is made of; None for one of no known kind."""
        if isinstance(value, enum.Enum):
            return {"$enum": value.name, "type": self.type_form(kind), "value": self.form(value.value, ".value")}
        if "__dataclass_fields__" in vars(kind):
            return self.fields(value, _fields(value))
        if "__attrs_attrs__" in vars(kind):
            return self.fields(value, [field.name for field in value.__attrs_attrs__])
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return self.fields(value, kind._fields)
        family = _family(kind)
        form = family(self, value) if family else None
        return self.code(value) if form is None and callable(value) else form

    def type_form(self, kind: type) -> CanonicalJson:
        """Return the form of a type, made once a walk."""
        if kind not in self.types:
            self.types[kind] = self.code(kind)
        return self.types[kind]

    def by_text(self, value: object, step: str = "") -> CanonicalJson:
        """Return the form of a value in which paths count by their text, as a name in a table does."""
        before, self.paths = self.paths, "text"
        try:
            return self.form(value, step)
        finally:
            self.paths = before

    def fields(self, value: object, names: Iterable[str]) -> CanonicalJson:
        """Return the form of an object that is known by its type and these attributes."""
        missing = [name for name in names if not hasattr(value, name)]
        if missing:
            raise self.refusal(value, f"its field {missing[0]!r} has no value")
        fields = {name: self.form(getattr(value, name), f".{name}") for name in names}
        return short("object", len(fields), {"$fields": fields, "type": self.type_form(type(value))}, BRANCH)

    def sequence(self, tag: str, values: Any, *, ordered: bool = True) -> CanonicalJson:
        """Return the form of a list, tuple or set."""
        before = self.size
        form = self.form
        forms = [form(value, f"[{i}]") for i, value in enumerate(values)]
        forms = forms if ordered else sorted(forms, key=dumps)
        return self.kept(before, tag, len(forms), forms if tag == "list" else {f"${tag}": forms}, LEAF)

    def mapping(self, tag: str, value: Mapping[Any, object], *, ordered: bool = False) -> CanonicalJson:
        """Return the form of a dict."""
        limit = BRANCH if len(self.path) > 2 else 3 * BRANCH  # noqa: PLR2004 - 2: the place, and the step to this dict
        before, form = self.size, self.form
        if tag == "dict" and {*map(type, value)} <= _TEXT and (letters := _letters(tuple(value))) is not None:
            self.size += letters * LETTER
            return self.kept(before, tag, len(value), {k: form(v, f".{k}") for k, v in value.items()}, limit)
        pairs: list[CanonicalJson] = [[self.by_text(k, f"[key {k!r}]"), form(v, f"[{k!r}]")] for k, v in value.items()]
        pairs = pairs if ordered else sorted(pairs, key=dumps)
        return self.kept(before, tag, len(value), {f"${tag}": list(pairs)}, limit)

    def kept(self, before: int, tag: str, length: int, form: CanonicalJson, limit: int) -> CanonicalJson:
        """Return a form, or its digest if it exceeds `limit`; its size is known without writing it, or nearly so."""
        self.size += 6 * length + len(tag) + 8
        if self.size - before <= limit:
            return form
        form = short(tag, length, form, limit)
        self.size = before + limit
        return form


def _fields(value: Any) -> list[str]:
    """Return the names of what a dataclass holds: its fields, and where it has InitVars all that was made of them."""
    fields = value.__dataclass_fields__
    given = [name for name, field in fields.items() if field._field_type.name == "_FIELD_INITVAR"]  # noqa: SLF001
    names = [name for name in fields if name not in given]
    return [*names, *sorted(vars(value).keys() - names)] if given and hasattr(value, "__dict__") else names


@functools.lru_cache(4096)
def _letters(names: tuple[str, ...]) -> int | None:
    """Return how long these names are together; None if one could be taken for a tag, or is not UTF-8."""
    plain = all(not name.startswith("$") and is_utf8(name) for name in names)
    return sum(map(len, names)) if plain else None


_CONTAINERS: dict[type, Callable[[Walk, Any], CanonicalJson]] = {
    list: lambda walk, v: walk.sequence("list", v),
    tuple: lambda walk, v: walk.sequence("tuple", v),
    dict: lambda walk, v: walk.mapping("dict", v),
}
