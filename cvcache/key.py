"""Canonical values: what a key is made of, its digest, and what differs between two keys.

The canonical form of a value is plain JSON. ``None``, bools, ints, finite floats, strings, lists and dicts
with string keys stand for themselves; anything else is an object with a name that starts with ``$``, such as
``{"$tuple": [1, 2]}``. A dict of the user's that could be taken for one is written ``{"$dict": [[key, value], ...]}``,
so no two unequal values share a form. The reverse is not promised: ``1``, ``1.0`` and ``True``, ``0.0`` and
``-0.0``, a set and a frozenset all differ, since code can tell them apart.

A text or sequence whose JSON exceeds 1 KiB (a mapping: 16 KiB; the outermost one: 48 KiB) becomes
``{"$long": kind, "len": n, "sha256": ...}``, so that a key stays small enough to be read and to be kept in a record.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
import sys
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from cvcache.errors import UnkeyableValue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Canonical", "Form", "canonical", "digest", "dumps", "register_key", "type_name"]

Form: TypeAlias = "bool | int | float | str | list[Form] | dict[str, Form] | None"
T = TypeVar("T")

LEAF, BRANCH = 1024, 16 * 1024  # bytes of JSON that a text or sequence, and a mapping, may keep
DEPTH = 60  # a deeper value is refused before json or the stack of the interpreter gives up

OPEN = {f"${tag}" for tag in ("around", "code", "defaultdict", "deque", "fields", "mappingproxy", "method")}
OPEN |= {"$namespace", "$partial", "$tuple"}
_hooks: dict[type, Callable[[Any], object]] = {}


class Canonical:
    """A form that is canonical already and passes through `canonical` unchanged.

    Parameters
    ----------
    form : JSON-able
        For example ``{"$item": "raw.ome.zarr", "version": "3f2a"}``, which the hook of an Item returns.
    """

    __slots__ = ("form",)

    def __init__(self, form: Form) -> None:
        self.form = form


def dumps(form: Form) -> str:
    """Return the one JSON text of a canonical form: sorted names, no spaces, no NaN."""
    return json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(form: Form) -> str:
    """Return the first 32 hex digits (128 bits) of the SHA-256 of a canonical form."""
    return hashlib.sha256(dumps(form).encode()).hexdigest()[:32]


def type_name(kind: type) -> str:
    """Return the qualified name of a type; one of a script has the name the script is imported by."""
    module = kind.__module__
    if module == "__main__":
        spec, file = (getattr(sys.modules[module], name, None) for name in ("__spec__", "__file__"))
        module = spec.name if spec else file.replace("\\", "/").split("/")[-1].removesuffix(".py") if file else module
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


def canonical(value: object, where: str = "", code: Callable[[Any], Form] | None = None) -> Form:
    """Return the canonical form of a value: plain JSON that no unequal value shares.

    Parameters
    ----------
    value : object
        Plain values and containers, numpy arrays (dtype, shape and content), dates, paths, enums, dataclasses,
        functions and classes (their code), and whatever has a hook (`register_key`).
    where : str
        What the value is called in an error, such as ``"args"``.
    code : callable, optional
        Gives the form of a function or class; the default digests its code (`cvcache.code`).

    Returns
    -------
    JSON-able
        For plain values equal in every process, for every hash seed and Python version.

    Raises
    ------
    UnkeyableValue
        The value, or one in it, has no canonical form; says which one, where, and the ways out.

    Notes
    -----
    Every byte of an array is read (about 1 GB/s). No store call. Safe in threads.
    """
    return _Walk(where, code or _code).form(value)


def _code(value: object) -> Form:
    from cvcache.code import callable_form  # brings ast and inspect, which few values need

    return callable_form(value)


class _Walk:
    """One pass over one value, which knows the way from the top to where it is."""

    def __init__(self, where: str, code: Callable[[Any], Form]) -> None:
        self.path = [where]
        self.inside: set[int] = set()
        self.code = code
        self.types: dict[type, Form] = {}

    def refusal(self, value: object, why: str) -> UnkeyableValue:
        name, where = type_name(type(value)), "".join(self.path).removeprefix(".") or "this value"
        way_out = f"pass a plain value, leave the argument out with ignore=, or register_key({name}, function)"
        if name.startswith("dask."):
            way_out = "write it as an item first, or pass the Item"
        return UnkeyableValue(f"{where} ({name}) cannot be part of a key: {why}; {way_out}")

    def form(self, value: Any, step: str = "") -> Form:
        kind = type(value)
        if value is None or kind is bool or (kind is int and -(2**63) <= value < 2**63):
            return value  # type: ignore[no-any-return]  # JSON is a Form
        if kind is float:
            return value if math.isfinite(value) else {"$float": str(value)}
        if kind is str:
            return _text(value)
        self.path.append(step)
        if id(value) in self.inside or len(self.path) > DEPTH:
            raise self.refusal(value, "it contains itself" if id(value) in self.inside else "it is nested too deeply")
        self.inside.add(id(value))
        form = self.compound(value, kind)
        self.inside.discard(id(value))
        self.path.pop()
        return form

    def compound(self, value: Any, kind: type) -> Form:
        if kind is Canonical:
            return json.loads(dumps(value.form))  # type: ignore[no-any-return]  # JSON is a Form
        hook = next((_hooks[base] for base in kind.__mro__ if base in _hooks), getattr(kind, "__cvcache_key__", None))
        if hook is not None:
            inner = hook(value)
            form = self.form(inner)
            return form if type(inner) is Canonical else {"$object": type_name(kind), "key": form}
        make = _BY_TYPE.get(f"{kind.__module__}.{kind.__qualname__}")
        form = make(self, value) if make else self.by_kind(value, kind)
        if form is None:
            raise self.refusal(value, "its type has no canonical form")
        return form

    def by_kind(self, value: Any, kind: type) -> Form:
        package = kind.__module__.partition(".")[0]
        if package == "dask":
            raise self.refusal(value, "it is a plan to compute something, not a value")
        if isinstance(value, enum.Enum):
            return {"$enum": value.name, "type": self.type_form(kind), "value": self.form(value.value, ".value")}
        if "__dataclass_fields__" in vars(kind):
            return self.fields(value, value.__dataclass_fields__)
        if "__attrs_attrs__" in vars(kind):
            return self.fields(value, [field.name for field in value.__attrs_attrs__])
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return self.fields(value, kind._fields)
        if package in {"pathlib", "upath"} and hasattr(value, "as_posix"):
            return {"$path": _text(value.as_posix() if package == "pathlib" else str(value))}
        return _numpy(self, value) or (self.code(value) if callable(value) else None)

    def type_form(self, kind: type) -> Form:
        if kind not in self.types:
            self.types[kind] = self.code(kind)
        return self.types[kind]

    def fields(self, value: object, names: Iterable[str]) -> Form:
        missing = [name for name in names if not hasattr(value, name)]
        if missing:
            raise self.refusal(value, f"its field {missing[0]!r} has no value")
        fields = {name: self.form(getattr(value, name), f".{name}") for name in names}
        return _short("object", len(fields), {"$fields": fields, "type": self.type_form(type(value))}, BRANCH)

    def each(self, values: Iterable[object]) -> list[Form]:
        return [self.form(value, f"[{i}]") for i, value in enumerate(values)]

    def sequence(self, tag: str, values: Any, *, ordered: bool = True) -> Form:
        forms = self.each(values)
        forms = forms if ordered else sorted(forms, key=dumps)
        return _short(tag, len(forms), forms if tag == "list" else {f"${tag}": forms})

    def mapping(self, tag: str, value: Mapping[Any, object], *, ordered: bool = False) -> Form:
        limit = BRANCH if len(self.path) > 2 else 3 * BRANCH  # noqa: PLR2004 - 2: the place, and the step to this dict
        if tag == "dict" and all(type(k) is str and not k.startswith("$") and _is_utf8(k) for k in value):
            return _short(tag, len(value), {k: self.form(v, f".{k}") for k, v in value.items()}, limit)
        pairs: list[Form] = [[self.form(k, f"[key {k!r}]"), self.form(v, f"[{k!r}]")] for k, v in value.items()]
        return _short(tag, len(value), {f"${tag}": pairs if ordered else sorted(pairs, key=dumps)}, limit)


def _short(kind: str, length: int, form: Form, limit: int = LEAF) -> Form:
    text = dumps(form).encode()
    return form if len(text) <= limit else {"$long": kind, "len": length, "sha256": hashlib.sha256(text).hexdigest()}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is not UTF-8 has lone surrogates, which JSON readers refuse
        return False
    return True


def _text(text: str) -> Form:
    form: Form = text if _is_utf8(text) else {"$str": text.encode("utf-8", "surrogatepass").hex()}
    return _short("str", len(text), form)


def _hex(tag: str, value: bytes) -> Form:
    return _short(tag, len(value), {f"${tag}": value.hex()})


def _time(tag: str, value: Any) -> Form:
    zone = getattr(getattr(value, "tzinfo", None), "key", "")
    return {f"${tag}": f"{value.isoformat()}{f'[{zone}]' * bool(zone)}{'/fold' * getattr(value, 'fold', 0)}"}


def _simple(tag: str, parts: Callable[[Any], Any]) -> Callable[[_Walk, Any], Form]:
    return lambda walk, value: {f"${tag}": walk.form(parts(value))}


_method = _simple("method", lambda v: [v.__self__, v.__func__])
_BY_TYPE: dict[str, Callable[[_Walk, Any], Form]] = {
    "argparse.Namespace": _simple("Namespace", vars),
    "builtins.int": lambda _, v: _short("int", v.bit_length(), {"$int": hex(v)}),
    "builtins.list": lambda walk, v: walk.sequence("list", v),
    "builtins.tuple": lambda walk, v: walk.sequence("tuple", v),
    "builtins.set": lambda walk, v: walk.sequence("set", v, ordered=False),
    "builtins.frozenset": lambda walk, v: walk.sequence("frozenset", v, ordered=False),
    "builtins.dict": lambda walk, v: walk.mapping("dict", v),
    "builtins.mappingproxy": lambda walk, v: {"$mappingproxy": walk.mapping("dict", v)},
    "builtins.bytes": lambda _, v: _hex("bytes", v),
    "builtins.bytearray": lambda _, v: _hex("bytearray", v),
    "builtins.ellipsis": lambda *_: {"$ellipsis": True},
    "builtins.complex": _simple("complex", lambda v: [v.real, v.imag]),
    "builtins.range": _simple("range", lambda v: [v.start, v.stop, v.step]),
    "builtins.slice": _simple("slice", lambda v: [v.start, v.stop, v.step]),
    "collections.OrderedDict": lambda walk, v: walk.mapping("OrderedDict", v, ordered=True),
    "collections.Counter": lambda walk, v: walk.mapping("Counter", v),
    "collections.defaultdict": _simple("defaultdict", lambda v: [v.default_factory, dict(v)]),
    "collections.deque": _simple("deque", lambda v: [v.maxlen, list(v)]),
    "types.SimpleNamespace": _simple("namespace", vars),
    "datetime.datetime": lambda _, v: _time("datetime", v),
    "datetime.date": lambda _, v: _time("date", v),
    "datetime.time": lambda _, v: _time("time", v),
    "datetime.timedelta": _simple("timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    "decimal.Decimal": _simple("decimal", str),
    "fractions.Fraction": _simple("fraction", lambda v: [v.numerator, v.denominator]),
    "builtins.method": lambda walk, v: walk.code(v) or _method(walk, v),
    "functools.partial": _simple("partial", lambda v: [v.func, list(v.args), v.keywords]),
    "re.Pattern": _simple("pattern", lambda v: [v.pattern, v.flags]),
    "uuid.UUID": _simple("uuid", str),
}


def _numpy(walk: _Walk, value: Any) -> Form:
    numpy = sys.modules.get("numpy")  # whoever has a numpy value has loaded it
    if numpy is None or not isinstance(value, (numpy.dtype, numpy.generic, numpy.ndarray)):
        return None
    if isinstance(value, numpy.dtype):
        return {"$dtype": walk.form(value.descr) if value.names else _dtype(value)}
    if isinstance(value, numpy.generic):
        item = value.tobytes() if value.dtype.kind == "V" or isinstance(value, numpy.longdouble) else value.item()
        whole = walk.form(numpy.asarray(value)) if value.dtype.names else walk.form(item)
        return {"$numpy": whole, "dtype": _dtype(value.dtype)}
    if type(value) not in {numpy.ndarray, numpy.memmap}:
        raise walk.refusal(value, "it is an ndarray with something added, such as a mask or a unit")
    shape: list[Form] = list(value.shape)
    if value.dtype.names:
        columns: list[Form] = [[name, walk.form(value[name], f"[{name!r}]")] for name in value.dtype.names]
        return {"$ndarray": columns, "shape": shape}
    if value.dtype.hasobject or value.dtype.kind == "T":
        raise walk.refusal(value, "its elements are Python objects, of which only the addresses are in the array")
    data = numpy.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
    content = hashlib.sha256(data.reshape(-1).view("u1") if data.nbytes else b"")
    return {"$ndarray": content.hexdigest(), "dtype": _dtype(data.dtype), "shape": shape}


def _dtype(dtype: Any) -> str:
    return str(dtype.name if dtype.isbuiltin == 2 else dtype.str)  # noqa: PLR2004 - 2: from elsewhere, as bfloat16 is
