"""The canonical form of the types of the standard library, of each type by itself: what derives from one is another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cvcache.keys.canonical import Walk, short
from cvcache.keys.digest import CanonicalJson

__all__ = ["canonical_stdlib"]


def canonical_stdlib(walk: Walk, value: Any) -> CanonicalJson:
    """Return the form of a value of one of the types below; None for any other."""
    kind = type(value)
    make = _BY_TYPE.get(f"{kind.__module__}.{kind.__qualname__}")
    return make(walk, value) if make else None


def _hex(tag: str, value: bytes) -> CanonicalJson:
    return short(tag, len(value), {f"${tag}": value.hex()})


def _time(tag: str, value: Any) -> CanonicalJson:
    zone = getattr(getattr(value, "tzinfo", None), "key", "")
    return {f"${tag}": f"{value.isoformat()}{f'[{zone}]' * bool(zone)}{'/fold' * getattr(value, 'fold', 0)}"}


def _simple(tag: str, parts: Callable[[Any], Any]) -> Callable[[Walk, Any], CanonicalJson]:
    return lambda walk, value: {f"${tag}": walk.form(parts(value))}


_method = _simple("method", lambda v: [v.__self__, v.__func__])
_BY_TYPE: dict[str, Callable[[Walk, Any], CanonicalJson]] = {
    "argparse.Namespace": _simple("Namespace", vars),
    "builtins.int": lambda _, v: short("int", v.bit_length(), {"$int": hex(v)}),
    "builtins.float": lambda _, v: {"$float": str(v)},
    "builtins.set": lambda walk, v: walk.sequence("set", v, ordered=False),
    "builtins.frozenset": lambda walk, v: walk.sequence("frozenset", v, ordered=False),
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
    "decimal.Decimal": lambda _, v: {"$decimal": str(v)},
    "fractions.Fraction": _simple("fraction", lambda v: [v.numerator, v.denominator]),
    "builtins.method": lambda walk, v: walk.code(v) or _method(walk, v),
    "functools.partial": _simple("partial", lambda v: [v.func, list(v.args), v.keywords]),
    "re.Pattern": lambda walk, v: {"$pattern": [walk.by_text(v.pattern), v.flags]},
    "uuid.UUID": lambda _, v: {"$uuid": str(v)},
}
