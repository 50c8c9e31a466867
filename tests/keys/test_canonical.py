"""Canonical values: unequal values never share a digest, equal ones always do, and a difference can be read."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import fractions
import functools
import json
import math
import os
import pathlib
import random
import subprocess
import tracemalloc
import uuid
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreters import path_of_cvcache, pythons

from cvcache.errors import UnkeyableValue
from cvcache.keys import Canonical, canonical_key, digest, dumps, key_differences, register_key
from cvcache.keys.values import BLAKE3_MIN_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


class Mode(enum.Enum):
    FAST = 1
    GOOD = 2


class Channel(enum.IntFlag):
    RED = 1
    GREEN = 2


@dataclasses.dataclass(frozen=True)
class Params:
    sigma: float
    size: tuple[int, ...] = (3, 3)


@dataclasses.dataclass
class Other:
    sigma: float
    size: tuple[int, ...] = (3, 3)


class Point(NamedTuple):
    x: int
    y: int


Pair = namedtuple("Pair", "x y")  # noqa: PYI024 - the untyped kind is what is tested


class Plain:
    def method(self) -> int:
        return 1


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
LEAVES = PLAIN | st.binary(max_size=4) | st.complex_numbers(allow_nan=False) | st.sampled_from([..., Mode.FAST])
HASHABLE = st.recursive(LEAVES, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
NAMES = st.text(max_size=4) | st.sampled_from(["$tuple", "$set", "$dict", "$long", "$bytes", "$float", "", "$"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(NAMES | HASHABLE, inner, max_size=3)
        | st.sets(HASHABLE, max_size=3)
        | st.frozensets(HASHABLE, max_size=3)
    ),
    max_leaves=10,
)


def same(a: Any, b: Any) -> bool:
    """Return whether two values are equal in value and in type, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (set, frozenset)):
        return len(a) == len(b) and all(any(same(x, y) for y in b) for x in a)
    if isinstance(a, dict):
        return len(a) == len(b) and all(any(same(k, q) and same(v, w) for q, w in b.items()) for k, v in a.items())
    if isinstance(a, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    if isinstance(a, complex):
        return same([a.real, a.imag], [b.real, b.imag])
    return bool(a == b)


@settings(deadline=None)  # the first value with an enum reads the source of its class
@given(VALUES, VALUES)
def test_values_share_a_digest_exactly_if_they_are_the_same(a: object, b: object) -> None:
    assert (digest(canonical_key(a)) == digest(canonical_key(b))) == same(a, b)


@settings(deadline=None)
@given(VALUES)
def test_a_form_is_json_that_comes_back_and_never_changes(value: object) -> None:
    form = canonical_key(value)
    assert dumps(json.loads(dumps(form))) == dumps(form) == dumps(canonical_key(value))
    assert key_differences(form, json.loads(dumps(form))) == []


@settings(deadline=None)
@given(VALUES, VALUES)
def test_a_difference_is_always_told(a: object, b: object) -> None:
    old, new = canonical_key({"args": a}), canonical_key({"args": b})
    lines = key_differences(old, new)
    assert bool(lines) == (dumps(old) != dumps(new))
    assert all(line.startswith("args") and "\n" not in line for line in lines)


def test_a_mapping_with_uses_is_not_taken_for_code() -> None:
    assert key_differences({"args": {"uses": 1}}, {"args": {"uses": 2}}) == ["args.uses: 1 -> 2"]


@settings(deadline=None)
@given(VALUES)
def test_the_form_of_a_value_is_never_mistaken_for_it(value: object) -> None:
    form = canonical_key(value)
    if dumps(canonical_key(form)) == dumps(form):
        assert same(form, value)


@settings(deadline=None)
@given(st.dictionaries(NAMES | st.integers(), PLAIN, max_size=6))
def test_the_order_of_a_dict_does_not_matter(value: dict[Any, object]) -> None:
    assert dumps(canonical_key(value)) == dumps(canonical_key(dict(reversed(value.items()))))


BITS = np.arange(16, dtype="u1")
DIFFERENT: list[object] = [
    *(
        0,
        -1,
        1,
        1.0,
        True,
        "1",
        b"1",
        bytearray(b"1"),
        None,
        "",
        [],
        (),
        {},
        set(),
        frozenset(),
        0.0,
        -0.0,
        1j,
        -1j,
        ...,
    ),
    *(float("nan"), float("inf"), -float("inf"), "nan", 2**63, 2**64, str(2**64), 10**5000, 10**5000 + 1, 10**16, 1e16),
    *(
        "a/b",
        pathlib.PurePosixPath("a/b"),
        ["a/b"],
        Decimal("1.0"),
        Decimal(1),
        fractions.Fraction(1),
        "\ud800",
        "d800",
    ),
    *(dt.date(2026, 1, 2), dt.datetime(2026, 1, 2), dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "2026-01-02"),  # noqa: DTZ001
    *(dt.datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold) for fold in (0, 1)),
    *(
        dt.timedelta(1),
        dt.timedelta(0, 1),
        dt.time(0, 1),
        uuid.UUID(int=1),
        str(uuid.UUID(int=1)),
        range(3),
        range(1, 3),
    ),
    *(slice(3), slice(1, 3), [0, 1, 2], (0, 1, 2), deque([0, 1, 2]), deque([0, 1, 2], 3), {0: 0}, {"0": 0}, {(0,): 0}),
    *({"a": 1}, OrderedDict(a=1), Counter(a=1), defaultdict(None, a=1), defaultdict(int, a=1), [["a", 1]]),
    *(OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), {"a": 1, "b": 2}, {"$tuple": [1]}, (1,), {"$dict": [["a", 1]]}),
    *(Mode.FAST, Mode.GOOD, Channel.RED, Channel.RED | Channel.GREEN, "FAST", Mode, Channel),
    *(Params(1.0), Params(2.0), Params(1.0, (3,)), Other(1.0), {"sigma": 1.0, "size": (3, 3)}, (1.0, (3, 3)), Params),
    *(Point(1, 2), Pair(1, 2), (1, 2), Point(2, 1), functools.partial(max, 1), functools.partial(max, key=1), max, min),
    *(np.float32, np.float64, np.dtype("f4"), np.dtype(">f4"), np.dtype([("a", "f4")]), np.dtype([("b", "f4")]), "<f4"),
    *(
        np.float32(1),
        np.float64(1),
        np.int64(1),
        np.bool_(1),
        np.str_("1"),
        np.datetime64(1, "D"),
        np.datetime64(1, "s"),
    ),
    *(
        np.array(1.0),
        np.array([1.0]),
        np.array([[1.0]]),
        np.array([1]),
        np.array([1], "u1"),
        np.array([True]),
        np.zeros(0),
    ),
    *(
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.zeros(3),
        np.zeros(3, "i8"),
        np.array(["a"]),
        np.array([b"a"]),
        np.longdouble(1),
    ),
    *(
        np.zeros(2, [("a", "f4")]),
        np.zeros(2, [("b", "f4")]),
        np.zeros(2, [("a", "f4"), ("b", "f4")]),
        np.array(1, "M8[s]"),
    ),
    *({"sigma": None}, [None], [1], {"1": 1}, {1: 1}, lambda x: x + 1, lambda x: x + 2),
    *(Params(Params(1.0), Params(2.0)), Params(Params(2.0), Params(1.0))),
    *(BITS, BITS.view("i1"), BITS.reshape(4, 4), BITS.reshape(2, 8), BITS.astype("u2")),
]


def test_no_two_of_many_kinds_share_a_digest() -> None:
    seen: dict[str, object] = {}
    for value in DIFFERENT:
        other = seen.setdefault(digest(canonical_key(value)), value)
        assert other is value, f"{value!r} and {other!r}"


def test_an_array_counts_by_content_not_by_memory_layout_or_byte_order() -> None:
    a = np.arange(12, dtype="<i4").reshape(3, 4)
    forms = [canonical_key(b) for b in (a, np.asfortranarray(a), a.astype(">i4"), np.repeat(a, 2, axis=1)[:, ::2])]
    assert all(form == forms[0] for form in forms)
    assert canonical_key(a.T.copy()) != canonical_key(a.reshape(4, 3))


@pytest.mark.parametrize(
    "count", [BLAKE3_MIN_BYTES // 8 - 1, BLAKE3_MIN_BYTES // 8, BLAKE3_MIN_BYTES // 8 + 1, 3 * BLAKE3_MIN_BYTES]
)
def test_a_large_array_counts_by_content_not_by_memory_layout_or_byte_order(count: int) -> None:
    a = np.arange(count * 2.0).reshape(2, -1)
    wide = np.repeat(a, 2, axis=1)
    others = (np.asfortranarray(a), a.astype(">f8"), wide[:, ::2], a[::-1].copy()[::-1], a.T.copy().T)
    form = canonical_key(a)
    assert all(canonical_key(b) == form for b in others)
    assert canonical_key(a.reshape(-1, 2)) != form != canonical_key(a.T)
    a[1, -1] += 1
    assert canonical_key(a) != form
    a[1, -1] -= 1
    a[1, 0] += 1
    assert canonical_key(a) != form, "in the middle, where what is printed says nothing"


@pytest.mark.parametrize("turn", [lambda a: a[:, ::2], lambda a: a.T, lambda a: a.astype(">u2"), lambda a: a[None, 0]])
def test_an_array_is_not_copied_as_a_whole(turn: Callable[[np.ndarray], np.ndarray]) -> None:
    array = turn(np.zeros((64, 1024, 1024), "u2"))
    canonical_key(np.zeros((2, BLAKE3_MIN_BYTES)))  # loads what it needs
    tracemalloc.start()
    canonical_key(array)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 24 << 20


def test_a_memmap_is_the_array_in_the_file(tmp_path: pathlib.Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0))
    assert canonical_key(np.load(tmp_path / "a.npy", mmap_mode="r")) == canonical_key(np.arange(6.0))


def test_a_long_value_is_replaced_by_its_size_and_digest() -> None:
    form = canonical_key({"args": {"ids": list(range(400)), "text": "x" * 2000, "few": [1, 2]}})
    assert form["args"]["few"] == [1, 2]
    assert form["args"]["ids"]["$long"] == "list"
    assert form["args"]["ids"]["len"] == 400
    assert len(dumps(form)) < 500
    assert form != canonical_key({"args": {"ids": [*range(399), 0], "text": "x" * 2000, "few": [1, 2]}})


def test_a_dict_is_kept_until_it_is_much_longer() -> None:
    assert "$long" not in dumps(canonical_key({"args": {f"name{i}": i for i in range(500)}}))
    assert canonical_key({"args": {f"name{i}": i for i in range(2000)}})["args"]["$long"] == "dict"
    assert len(dumps(canonical_key({f"name{i}": "x" * 900 for i in range(1000)}))) < 200


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"args": {"roi": [1, 2, {"crop": Plain()}]}}, "args.roi[2].crop (test_canonical.Plain)"),
        ({"args": {"a b": object()}}, "args.a b (object)"),
        ({"args": {1: object()}}, "args[1] (object)"),
        ({"args": Params(object())}, "args.sigma (object)"),
        ({"args": np.array([object()])}, "args (numpy.ndarray)"),
        ({"args": np.ma.masked_array([1, 2], [0, 1])}, "args (numpy.ma.MaskedArray)"),
        ({"rng": np.random.default_rng(1)}, "rng (numpy.random._generator.Generator)"),
        (iter([1]), "this value (list_iterator)"),
    ],
)
def test_a_type_without_a_form_is_refused_with_its_place_and_the_ways_out(value: object, place: str) -> None:
    with pytest.raises(UnkeyableValue) as caught:
        canonical_key(value)
    message = str(caught.value)
    assert message.startswith(place)
    assert "register_key(" in message
    assert "ignore=" in message


def test_the_place_starts_with_what_the_caller_calls_it() -> None:
    with pytest.raises(UnkeyableValue, match=r"^args\.roi\[0\] \(object\)"):
        canonical_key({"roi": [object()]}, "args")


def test_a_value_that_contains_itself_or_is_nested_without_end_is_refused() -> None:
    loop: list[object] = [1]
    loop.append({"again": loop})
    with pytest.raises(UnkeyableValue, match=r"\[1\]\.again .*contains itself"):
        canonical_key(loop)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnkeyableValue, match="nested too deeply"):
        canonical_key(deep)
    twice = [1]
    assert canonical_key([twice, twice]) == [[1], [1]]


def test_a_class_says_with_a_method_what_stands_for_it() -> None:
    class Item:
        def __cvcache_key__(self) -> Canonical:
            return Canonical({"$item": "raw.ome.zarr", "version": "3f2a"})

    class Lens:
        def __init__(self, zoom: int) -> None:
            self.zoom = zoom

        def __cvcache_key__(self) -> object:
            return (self.zoom,)

    assert canonical_key([Item()]) == [{"$item": "raw.ome.zarr", "version": "3f2a"}]
    assert canonical_key(Lens(3)) == canonical_key(Lens(3)) != canonical_key(Lens(4))
    assert canonical_key(Lens(3)) != canonical_key((3,))
    assert canonical_key({"$item": "raw.ome.zarr", "version": "3f2a"}) != canonical_key(Item())


def test_register_key_serves_a_type_and_its_subclasses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvcache.keys.canonical._hooks", {})

    class Base:
        def __init__(self, size: int) -> None:
            self.size = size

    class Derived(Base):
        pass

    register_key(Base, lambda value: {"size": value.size})
    assert canonical_key(Base(1)) == canonical_key(Base(1)) != canonical_key(Base(2))
    assert canonical_key(Derived(1)) != canonical_key(Base(1)) != canonical_key({"size": 1})
    register_key(Base, lambda value: [value])
    with pytest.raises(UnkeyableValue, match="contains itself"):
        canonical_key(Base(1))


def test_a_method_counts_with_what_it_is_bound_to() -> None:
    assert canonical_key("a".join) != canonical_key("b".join)
    assert canonical_key([1].index) != canonical_key([2].index)
    assert canonical_key(Params(1.0).__repr__) != canonical_key(Params(2.0).__repr__)
    with pytest.raises(UnkeyableValue, match="Plain"):
        canonical_key(Plain().method)


SCRIPT = """
import sys
sys.path[:0] = {path!r}
from cvcache.keys import canonical_key, digest
print(digest(canonical_key({value})), *sorted({heavy!r} & sys.modules.keys()))
"""
VALUE = """{"b": {"x", "y", "zz", (1, "q")}, "a": [1, 1.5, None, True, b"x", "é", 1e300, 5e-324, -0.0,
            float("nan")], 1: frozenset("abcdef"), "c": {"list": list(range(999)), "f": 2**70, "t": (1, (2,))},
            "d": 1 + 2j, "e": ...}"""
HEAVY = {"numpy", "dask", "zarr", "pandas", "ast", "inspect", "textwrap", "fsspec"}


@pytest.mark.parametrize("python", pythons())
def test_a_digest_is_equal_in_every_process_and_python_and_needs_nothing_heavy(
    python: str, tmp_path: pathlib.Path
) -> None:
    script = SCRIPT.format(path=path_of_cvcache(tmp_path).split(os.pathsep), value=VALUE, heavy=HEAVY)
    seed = str(random.Random(python).randrange(2**32))
    run = subprocess.run(
        [python, "-S", "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == [digest(canonical_key(eval(VALUE)))]  # noqa: S307 - the text above


RECORD = {"name": "step", "ast": "a" * 32, "uses": {"pipeline:smooth_edges": "b" * 32, "SIGMA": {"value": 3}}}
ITEM = {"$item": "raw.ome.zarr", "version": "3f2a0000" * 4}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"sigma": 4.0}, {"sigma": 6.0}, ["args.sigma: 4.0 -> 6.0"]),
        ({"sigma": 4}, {"sigma": 4.0}, ["args.sigma: 4 -> 4.0"]),
        ({}, {"mask": 1}, ["args.mask: added"]),
        ({"mask": None}, {}, ["args.mask: removed"]),
        ({"mode": "a"}, {"mode": "b"}, ['args.mode: "a" -> "b"']),
        ({"roi": (1, [2, 3])}, {"roi": (1, [2, 4, 5])}, ["args.roi[1][1]: 3 -> 4", "args.roi[1][2]: added"]),
        ({"roi": [1]}, {"roi": (1,)}, ["args.roi: [1] -> (1,)"]),
        ({"p": Params(1.0)}, {"p": Params(2.0)}, ["args.p.sigma: 1.0 -> 2.0"]),
        ({"m": {1: "a"}}, {"m": {1: "b"}}, ['args.m[1]: "a" -> "b"']),
        ({"x": float("nan")}, {"x": float("inf")}, ['args.x: "nan" -> "inf"']),
        (
            {"i": [Canonical(ITEM)]},
            {"i": [Canonical({**ITEM, "version": "91bc"})]},
            ["args.i[0]: raw.ome.zarr: version 3f2a0000 -> 91bc"],
        ),
        (
            {"f": Canonical({"$code": RECORD})},
            {"f": Canonical({"$code": {**RECORD, "ast": "c"}})},
            ["args.f: changed (body)"],
        ),
        ({"a": 1, "b": 2, "c": 3}, {"a": 2, "b": 2, "c": 4}, ["args.a: 1 -> 2", "args.c: 3 -> 4"]),
    ],
)
def test_explain_says_each_difference_in_a_line(old: object, new: object, lines: list[str]) -> None:
    assert key_differences(canonical_key({"args": old}), canonical_key({"args": new})) == lines


def test_explain_names_the_helper_and_the_constant_that_changed() -> None:
    uses: dict[str, object] = {"pipeline:smooth_edges": "d" * 32, "SIGMA": {"value": 4}, "helper": "e" * 32}
    assert key_differences({"code": RECORD}, {"code": {**RECORD, "uses": uses}}) == [
        "code: changed (constant SIGMA: 3 -> 4)",
        "code: changed (helper helper added)",
        "code: changed (helper smooth_edges in pipeline)",
    ]
    other = {**RECORD, "name": "other"}
    assert key_differences({"code": RECORD}, {"code": other}) == ['code: changed (name "step" -> "other")']


def test_explain_cuts_what_is_long() -> None:
    (line,) = key_differences(canonical_key({"a": np.zeros((3, 4))}), canonical_key({"a": list(range(999))}))
    assert line.startswith("a: array <f8 [3, 4] (")
    assert " -> list of 999 (" in line
    (line,) = key_differences(canonical_key({"a": "x" * 900}), canonical_key({"a": "y"}))
    assert len(line) < 100


def test_explain_of_no_key_before_and_of_a_plain_key() -> None:
    assert key_differences(None, canonical_key({"a": 1})) == ["no key before"]
    assert key_differences(canonical_key(3), canonical_key(4)) == ["key: 3 -> 4"]
    assert key_differences(canonical_key([3]), canonical_key([4])) == ["[0]: 3 -> 4"]
    assert key_differences(canonical_key({"a": 1}), None) == ['key: {"a":1} -> null']
    assert key_differences(None, None) == []
