"""json, text, log, bin: conformance and what is special about each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pytest
from format_cases import FormatTests, assert_same, new_place
from hypothesis import given, settings
from hypothesis import strategies as st

from cvcache.errors import ItemDamaged, NotReproducible
from cvcache.formats import ItemPath, find_format

if TYPE_CHECKING:
    from cvcache.formats import ItemPath


class TestJson(FormatTests):
    name = "stats.json"
    good: ClassVar = {
        "nested": lambda: {"b": [1, 2.5, True, None, "µ"], "a": {}, "": []},
        "number": lambda: 0.1,
        "none": lambda: None,
        "large": lambda: 2**80,
        "not finite": lambda: [math.nan, math.inf, -math.inf, -0.0],
        "controls": lambda: "\0\n\r\u2028\x7f",
    }
    bad: ClassVar = {
        "tuple": lambda: {"a": [1, 2, (3,)]},
        "int key": lambda: {"a": {1: 2}},
        "tuple key": lambda: {(1, 2): 3},
        "numpy scalar": lambda: [np.float64(1)],
        "numpy int": lambda: [np.int64(1)],
        "array": lambda: np.zeros(3),
        "set": lambda: {1},
        "surrogate": lambda: "\ud800",
        "ring": lambda: (ring := [], ring.append(ring))[0],
        "deep": lambda: deep(100_000),
        "huge": lambda: 10**5000,
        "subclass": lambda: type("Sub", (dict,), {})(a=1),
    }

    @pytest.mark.parametrize(
        ("value", "path"),
        [
            ({"a": [1, 2, (3,)]}, "$.a[2] is a tuple, which would come back as list"),
            ({"a b": {"c": np.int64(1)}}, '$["a b"].c is a numpy.int64, which has no form in JSON'),
            ([{1: 2}], "$[0] has the key 1, a int"),
        ],
    )
    def test_the_message_has_the_path(self, place: ItemPath, value: object, path: str) -> None:
        with pytest.raises(NotReproducible) as caught:
            find_format(self.name).write(place, value)
        assert path in str(caught.value)

    def test_it_is_readable(self, place: ItemPath) -> None:
        find_format(self.name).write(place, {"scale": "µm"})
        assert place.get() == '{\n  "scale": "µm"\n}\n'.encode()
        find_format(self.name).write(place, [1, 2], indent=None)
        assert place.get() == b"[1, 2]\n"

    def test_broken_json_is_damage(self, place: ItemPath) -> None:
        place.put(b'{"a": ')
        with pytest.raises(ItemDamaged, match=r"stats\.json"):
            find_format(self.name).read(place)


def deep(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=8,
)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_any_value_comes_back_equal_or_is_refused(value: object) -> None:
    place = new_place("v.json")
    form = find_format("v.json")
    try:
        form.write(place, value)
    except NotReproducible:
        return
    assert_same(value, form.read(place))
    place.store.delete([place.path])


class TestText(FormatTests):
    name = "notes.md"
    good: ClassVar = {"lines": lambda: "a\r\nµ\n\0", "empty": str}
    bad: ClassVar = {
        "bytes": lambda: b"a",
        "number": lambda: 1,
        "numpy": lambda: np.str_("a"),
        "surrogate": lambda: "\ud800",
    }

    def test_other_encodings_are_damage(self, place: ItemPath) -> None:
        place.put("µ".encode("latin1"))
        with pytest.raises(ItemDamaged, match="look at its bytes"):
            find_format(self.name).read(place)


class TestTxt(TestText):
    name = "notes.txt"


class TestHtml(TestText):
    name = "report.html"


class TestYaml(TestText):
    name = "settings.yaml"


class TestBinary(FormatTests):
    name = "model.bin"
    good: ClassVar = {"bytes": lambda: b"\0\xff", "empty": bytes}
    bad: ClassVar = {
        "text": lambda: "a",
        "bytearray": lambda: bytearray(b"a"),
        "view": lambda: memoryview(b"a"),
        "array": lambda: np.zeros(2, "uint8"),
        "subclass": lambda: type("Sub", (bytes,), {})(b"a"),
    }


class TestLog(FormatTests):
    name = "run.log"
    good: ClassVar = {"lines": lambda: "INFO a\nWARNING µ\n"}
    bad: ClassVar = {"list": lambda: ["a"]}

    def test_a_log_is_always_readable(self, place: ItemPath) -> None:
        place.put(b"ok \xff\n")
        assert find_format(self.name).read(place) == "ok \ufffd\n"
        assert find_format(self.name).describe(place) == {"kind": "log", "bytes": 5}
