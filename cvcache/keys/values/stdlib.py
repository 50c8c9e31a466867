"""Canonical JSON of values of the standard library, by their exact type; a subclass is not encoded here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cvcache.keys.canonical import CanonicalEncoder, digest_if_long
from cvcache.keys.digest import CanonicalJson

__all__ = ["canonical_stdlib"]


def canonical_stdlib(encoder: CanonicalEncoder, value: Any) -> CanonicalJson:
    """Return the JSON of a value of one of the types below; None for any other."""
    kind = type(value)
    encode = _ENCODE_FUNCTIONS.get(f"{kind.__module__}.{kind.__qualname__}")
    return encode(encoder, value) if encode else None


def _encode_bytes(tag: str, value: bytes) -> CanonicalJson:
    return digest_if_long(tag, len(value), {f"${tag}": value.hex()})


def _encode_time(tag: str, value: Any) -> CanonicalJson:
    zone = getattr(getattr(value, "tzinfo", None), "key", "")
    return {f"${tag}": f"{value.isoformat()}{f'[{zone}]' * bool(zone)}{'/fold' * getattr(value, 'fold', 0)}"}


def _encode_parts(tag: str, parts: Callable[[Any], Any]) -> Callable[[CanonicalEncoder, Any], CanonicalJson]:
    return lambda encoder, value: {f"${tag}": encoder.encode(parts(value))}


_encode_method = _encode_parts("method", lambda v: [v.__self__, v.__func__])
_ENCODE_FUNCTIONS: dict[str, Callable[[CanonicalEncoder, Any], CanonicalJson]] = {
    "argparse.Namespace": _encode_parts("Namespace", vars),
    "builtins.int": lambda _, v: digest_if_long("int", v.bit_length(), {"$int": hex(v)}),
    "builtins.float": lambda _, v: {"$float": str(v)},
    "builtins.set": lambda encoder, v: encoder.encode_sequence("set", v, ordered=False),
    "builtins.frozenset": lambda encoder, v: encoder.encode_sequence("frozenset", v, ordered=False),
    "builtins.mappingproxy": lambda encoder, v: {"$mappingproxy": encoder.encode_mapping("dict", v)},
    "builtins.bytes": lambda _, v: _encode_bytes("bytes", v),
    "builtins.bytearray": lambda _, v: _encode_bytes("bytearray", v),
    "builtins.ellipsis": lambda *_: {"$ellipsis": True},
    "builtins.complex": _encode_parts("complex", lambda v: [v.real, v.imag]),
    "builtins.range": _encode_parts("range", lambda v: [v.start, v.stop, v.step]),
    "builtins.slice": _encode_parts("slice", lambda v: [v.start, v.stop, v.step]),
    "collections.OrderedDict": lambda encoder, v: encoder.encode_mapping("OrderedDict", v, ordered=True),
    "collections.Counter": lambda encoder, v: encoder.encode_mapping("Counter", v),
    "collections.defaultdict": _encode_parts("defaultdict", lambda v: [v.default_factory, dict(v)]),
    "collections.deque": _encode_parts("deque", lambda v: [v.maxlen, list(v)]),
    "types.SimpleNamespace": _encode_parts("namespace", vars),
    "datetime.datetime": lambda _, v: _encode_time("datetime", v),
    "datetime.date": lambda _, v: _encode_time("date", v),
    "datetime.time": lambda _, v: _encode_time("time", v),
    "datetime.timedelta": _encode_parts("timedelta", lambda v: [v.days, v.seconds, v.microseconds]),
    "decimal.Decimal": lambda _, v: {"$decimal": str(v)},
    "fractions.Fraction": _encode_parts("fraction", lambda v: [v.numerator, v.denominator]),
    "builtins.method": lambda encoder, v: encoder.encode_callable(v) or _encode_method(encoder, v),
    "functools.partial": _encode_parts("partial", lambda v: [v.func, list(v.args), v.keywords]),
    "re.Pattern": lambda encoder, v: {"$pattern": [encoder.encode_paths_as_text(v.pattern), v.flags]},
    "uuid.UUID": lambda _, v: {"$uuid": str(v)},
}
