"""Encode a value as canonical JSON, of which a key is made.

``None``, bools, ints, finite floats, strings, lists and dicts with string keys are encoded as themselves; anything else
is an object with a tag that starts with ``$``, such as ``{"$tuple": [1, 2]}``. A dict that could be taken for such an
object is encoded as ``{"$dict": [[key, value], ...]}``, so no two unequal values have the same JSON. Equal values may
have different JSON: ``1``, ``1.0`` and ``True``, ``0.0`` and ``-0.0``, a set and a frozenset, since code can tell them
apart.

A text or sequence whose JSON exceeds 1 KiB (a mapping: 16 KiB; the outermost one: 48 KiB) becomes
``{"$long": kind, "len": n, "sha256": ...}``, so that a key stays readable and fits into a record.

The encoders for types of other packages, and for functions, are registered by `cvcache.keys.key`.
"""

from __future__ import annotations

import enum
import functools
import math
import operator
import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from cvcache.errors import UnkeyableValue
from cvcache.keys.digest import (
    MAX_SEQUENCE_BYTES,
    Canonical,
    CanonicalJson,
    canonical_text,
    digest,
    digest_if_long,
    dumps,
    is_utf8,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "Canonical",
    "CanonicalEncoder",
    "CanonicalJson",
    "EncodeFunction",
    "canonical",
    "canonical_text",
    "digest",
    "digest_if_long",
    "dumps",
    "register_key",
    "register_package",
    "type_name",
]

PathMode: TypeAlias = Literal["text", "local", "all"]
Resolve: TypeAlias = "Callable[[str, Mapping[str, Any]], Mapping[str, CanonicalJson] | None]"
T = TypeVar("T")

MAX_MAPPING_BYTES = 16 * 1024  # a mapping with more bytes of JSON is replaced by its digest
MAX_DEPTH = 60  # a deeper value is refused before json or the stack of the interpreter gives up
MAX_NUMBER_BYTES, MAX_CHARACTER_BYTES = 26, 6  # in JSON
MAX_PLAIN_LENGTH = MAX_SEQUENCE_BYTES // MAX_CHARACTER_BYTES  # a shorter text is not too long, whatever is in it
MAX_PATH_LENGTH = 4096

NESTED_TAGS = {f"${tag}" for tag in ("around", "code", "defaultdict", "deque", "fields", "mappingproxy", "method")}
NESTED_TAGS |= {"$namespace", "$partial", "$tuple", "$xarray"}
"""Tags whose content `key_differences` compares part by part."""
_STR_ONLY = {str}
_hooks: dict[type, Callable[[Any], object]] = {}
EncodeFunction: TypeAlias = "Callable[[CanonicalEncoder, Any], CanonicalJson]"
_package_loaders: dict[str, Callable[[], EncodeFunction]] = {}
"""Top-level package of a type or of its base -> function that imports and returns the encoder of its values."""


def type_name(kind: type) -> str:
    """Return the qualified name of a type; for a type of the running script, the name under which it is imported."""
    module = kind.__module__
    if module == "__main__":
        spec, file = (getattr(sys.modules[module], name, None) for name in ("__spec__", "__file__"))
        module = spec.name if spec else file.replace("\\", "/").split("/")[-1].removesuffix(".py") if file else module
    if module.startswith("cvcache."):
        module = "cvcache"  # a key must not change when a class moves to another module of cvcache
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def register_key(kind: type[T], function: Callable[[T], object]) -> None:
    """Register the function that represents the values of a type in a key.

    Parameters
    ----------
    kind : type
        Subclasses use the same function unless they have their own.
    function : callable
        Takes a value and returns any keyable value that contains everything that can change a result.
        The name of the type is added to it.

    Notes
    -----
    A class of your own can have a method ``__cvcache_key__`` instead. No store call.
    """
    _hooks[kind] = function


def canonical(
    value: object, name: str = "", encode_callable: Callable[[Any], CanonicalJson] | None = None, *, paths: PathMode
) -> CanonicalJson:
    """Return a value as canonical JSON, which no unequal value has.

    Parameters
    ----------
    value : object
        What `cvcache.keys.canonical_key` takes.
    name : str
        Name of the value in error messages, such as ``"args"``.
    encode_callable : callable, optional
        Returns the JSON of a function or class, or None if it has none. Default: functions are refused.
    paths : {"all", "local", "text"}
        Which paths and URLs are encoded with size and time, or etag, of the file; the others as text only.

    Raises
    ------
    UnkeyableValue
        The value, or a part of it, cannot be encoded; the message names the part and the ways out.
    """
    return CanonicalEncoder(name, encode_callable or (lambda _: None), paths).encode(value)


def register_package(*packages: str) -> Callable[[Callable[[], EncodeFunction]], Callable[[], EncodeFunction]]:
    """Register the function that imports the encoder for values of these packages; called once, at the first value."""

    def register(load: Callable[[], EncodeFunction]) -> Callable[[], EncodeFunction]:
        _package_loaders.update(dict.fromkeys(packages, load))
        return load

    return register


@functools.cache
def _package_encoder(package: str) -> EncodeFunction:
    return _package_loaders[package]()


@functools.lru_cache(1024)
def _encoder_of_type(kind: type) -> EncodeFunction | None:
    """Return the encoder for a type of another package, imported at its first use; None if there is none."""
    packages = [base.__module__.partition(".")[0] for base in kind.__mro__]
    packages += ["pathlib"] * hasattr(kind, "__fspath__")
    return next((_package_encoder(package) for package in packages if package in _package_loaders), None)


class CanonicalEncoder:
    """Encodes one value and its parts; keeps the path to the current part for error messages."""

    def __init__(
        self,
        name: str,
        encode_callable: Callable[[Any], CanonicalJson],
        paths: PathMode,
        resolve: Resolve | None = None,
    ) -> None:
        self.accessors = [name]  # such as ["args", ".sigma", "[0]"]
        self.ancestor_ids: set[int] = set()
        self.encode_callable = encode_callable
        self.paths = paths
        self.resolve = resolve  # what lies at a URL, given its storage options
        self.encoded_types: dict[type, CanonicalJson] = {}
        self.inputs: list[Any] = []
        self.max_bytes = 0  # upper bound for the JSON so far

    @property
    def value_path(self) -> str:
        """Path to the current part, for error messages, such as ``args.sigma[0]``."""
        return "".join(self.accessors).removeprefix(".") or "this value"

    def unkeyable_error(self, value: object, why: str) -> UnkeyableValue:
        """Return the error for a value that cannot be encoded."""
        name = type_name(type(value))
        way_out = f"pass a plain value, leave the argument out with ignore=, or register_key({name}, function)"
        return UnkeyableValue(f"{self.value_path} ({name}) cannot be part of a key: {why}; {way_out}")

    def nesting_error(self, value: object) -> UnkeyableValue:
        """Return the error for a value that is inside of itself, or too deep inside of others."""
        contains_itself = id(value) in self.ancestor_ids
        return self.unkeyable_error(value, "it contains itself" if contains_itself else "it is nested too deeply")

    def encode(self, value: Any, accessor: str = "") -> CanonicalJson:
        """Return the JSON of a value; `accessor` leads to it from the value around it."""
        kind = type(value)
        plain: CanonicalJson = value
        if kind is str and len(value) < MAX_PLAIN_LENGTH and value.isascii() and not self._may_be_path(value):
            self.max_bytes += MAX_CHARACTER_BYTES * len(value) + 2
            return plain
        if value is None or kind is bool or (kind is int and -(2**63) <= value < 2**63):
            self.max_bytes += MAX_NUMBER_BYTES
            return plain
        if kind is float and math.isfinite(value):
            self.max_bytes += MAX_NUMBER_BYTES
            return plain
        self.accessors.append(accessor)
        if id(value) in self.ancestor_ids or len(self.accessors) > MAX_DEPTH:
            raise self.nesting_error(value)
        self.ancestor_ids.add(id(value))
        encode = _encode_object if kind in _hooks else _ENCODE_FUNCTIONS.get(kind, _encode_object)
        encoded = encode(self, value)
        self.ancestor_ids.discard(id(value))
        self.accessors.pop()
        return encoded

    def _may_be_path(self, text: str) -> bool:
        return self.paths != "text" and ("/" in text or "." in text or "\\" in text) and "\n" not in text

    def encode_object(self, value: Any, kind: type) -> CanonicalJson:
        """Return the JSON of a value that is neither plain nor a list, tuple or dict."""
        if kind is str:
            by_path = self._may_be_path(value) and len(value) < MAX_PATH_LENGTH
            return _package_encoder("pathlib")(self, value) if by_path else canonical_text(value)
        hook = next((_hooks[base] for base in kind.__mro__ if base in _hooks), getattr(kind, "__cvcache_key__", None))
        if hook is not None:
            if hasattr(kind, "__cvcache_input__"):
                self.inputs.append(value)
            hooked = hook(value)
            encoded = self.encode(hooked)
            return encoded if type(hooked) is Canonical else {"$object": type_name(kind), "key": encoded}
        encoded = _package_encoder("stdlib")(self, value)
        encoded = self.encode_by_kind(value, kind) if encoded is None else encoded
        if encoded is None:
            raise self.unkeyable_error(value, "its type has no canonical form")
        return encoded

    def encode_by_kind(self, value: Any, kind: type) -> CanonicalJson:
        """Return the JSON of an enum, dataclass, named tuple, callable or value of another package; None for others."""
        if isinstance(value, enum.Enum):
            return {"$enum": value.name, "type": self.encode_type(kind), "value": self.encode(value.value, ".value")}
        if "__dataclass_fields__" in vars(kind):
            return self.encode_fields(value, _dataclass_fields(value))
        if "__attrs_attrs__" in vars(kind):
            return self.encode_fields(value, [field.name for field in value.__attrs_attrs__])
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return self.encode_fields(value, kind._fields)
        encode_package_type = _encoder_of_type(kind)
        encoded = encode_package_type(self, value) if encode_package_type else None
        return self.encode_callable(value) if encoded is None and callable(value) else encoded

    def encode_type(self, kind: type) -> CanonicalJson:
        """Return the JSON of a type; cached for this encoder."""
        if kind not in self.encoded_types:
            self.encoded_types[kind] = self.encode_callable(kind)
        return self.encoded_types[kind]

    def encode_paths_as_text(self, value: object, accessor: str = "") -> CanonicalJson:
        """Return the JSON of a value with its paths as text only, such as the names in a table."""
        before, self.paths = self.paths, "text"
        try:
            return self.encode(value, accessor)
        finally:
            self.paths = before

    def encode_fields(self, value: object, names: Iterable[str]) -> CanonicalJson:
        """Return the JSON of an object that is defined by its type and these attributes."""
        missing = [name for name in names if not hasattr(value, name)]
        if missing:
            raise self.unkeyable_error(value, f"its field {missing[0]!r} has no value")
        fields = {name: self.encode(getattr(value, name), f".{name}") for name in names}
        return digest_if_long(
            "object", len(fields), {"$fields": fields, "type": self.encode_type(type(value))}, MAX_MAPPING_BYTES
        )

    def encode_sequence(self, tag: str, values: Any, *, ordered: bool = True) -> CanonicalJson:
        """Return the JSON of a list, tuple or set."""
        before = self.max_bytes
        encode = self.encode
        parts = [encode(value, f"[{i}]") for i, value in enumerate(values)]
        parts = parts if ordered else sorted(parts, key=dumps)
        encoded: CanonicalJson = parts if tag == "list" else {f"${tag}": parts}
        return self.digest_if_long(before, tag, len(parts), encoded, MAX_SEQUENCE_BYTES)

    def encode_mapping(self, tag: str, value: Mapping[Any, object], *, ordered: bool = False) -> CanonicalJson:
        """Return the JSON of a dict."""
        limit = MAX_MAPPING_BYTES if len(self.accessors) > 2 else 3 * MAX_MAPPING_BYTES  # noqa: PLR2004 - 2: the name, and the accessor of this dict
        before, encode = self.max_bytes, self.encode
        length = _untagged_length(tuple(value)) if tag == "dict" and {*map(type, value)} <= _STR_ONLY else None
        if length is not None:
            self.max_bytes += length * MAX_CHARACTER_BYTES
            fields: CanonicalJson = {k: encode(v, f".{k}") for k, v in value.items()}
            return self.digest_if_long(before, tag, len(value), fields, limit)
        pairs: list[CanonicalJson] = [
            [self.encode_paths_as_text(k, f"[key {k!r}]"), encode(v, f"[{k!r}]")] for k, v in value.items()
        ]
        pairs = pairs if ordered else sorted(pairs, key=dumps)
        return self.digest_if_long(before, tag, len(value), {f"${tag}": list(pairs)}, limit)

    def digest_if_long(self, before: int, tag: str, length: int, encoded: CanonicalJson, limit: int) -> CanonicalJson:
        """Return `encoded`, or its digest if it exceeds `limit`; JSON is written only if the upper bound exceeds it."""
        self.max_bytes += 6 * length + len(tag) + 8
        if self.max_bytes - before <= limit:
            return encoded
        encoded = digest_if_long(tag, length, encoded, limit)
        self.max_bytes = before + limit
        return encoded


def _dataclass_fields(value: Any) -> list[str]:
    """Return the fields of a dataclass; if it has InitVars, also the attributes that were made from them."""
    fields = value.__dataclass_fields__
    kind_of = operator.attrgetter("_field_type.name")  # no public name tells
    init_vars = [name for name, field in fields.items() if kind_of(field) == "_FIELD_INITVAR"]
    names = [name for name in fields if name not in init_vars]
    return [*names, *sorted(vars(value).keys() - names)] if init_vars and hasattr(value, "__dict__") else names


@functools.lru_cache(4096)
def _untagged_length(names: tuple[str, ...]) -> int | None:
    """Return the total length of these names; None if one could be taken for a tag, or is not UTF-8."""
    untagged = all(not name.startswith("$") and is_utf8(name) for name in names)
    return sum(map(len, names)) if untagged else None


def _encode_copy(encoder: CanonicalEncoder, value: Canonical) -> CanonicalJson:
    encoded, size = value.copy()
    encoder.max_bytes += size
    return encoded


def _encode_object(encoder: CanonicalEncoder, value: object) -> CanonicalJson:
    before = encoder.max_bytes
    encoded = encoder.encode_object(value, type(value))
    encoder.max_bytes = before + len(dumps(encoded).encode())
    return encoded


_ENCODE_FUNCTIONS: dict[type, EncodeFunction] = {
    Canonical: _encode_copy,
    list: lambda encoder, v: encoder.encode_sequence("list", v),
    tuple: lambda encoder, v: encoder.encode_sequence("tuple", v),
    dict: lambda encoder, v: encoder.encode_mapping("dict", v),
}
