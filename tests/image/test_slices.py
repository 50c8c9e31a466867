"""Slices as text, in a URL and as Python values: what they say, and what numpy makes of the same."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvcache.errors import UsageError
from cvcache.image.read import format_slices, parse_slices, resolve_slices, split_slices

EXTENTS = st.integers(0, 9)
BOUNDS = st.none() | st.integers(-12, 12)
PARTS = st.one_of(
    st.integers(-10, 9),
    st.builds(slice, BOUNDS, BOUNDS, st.none() | st.integers(1, 12)),
    st.just(Ellipsis),
)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[0, :100, ..., ::2]", (0, slice(None, 100), ..., slice(None, None, 2))),
        ("0,:100,...,::2", (0, slice(None, 100), ..., slice(None, None, 2))),
        ("  [ -1 , -20 : -10 : 3 ]\n", (-1, slice(-20, -10, 3))),
        ("[:]", (slice(None),)),
        ("[::]", (slice(None),)),
        ("[...]", (...,)),
        ("[007]", (7,)),
        ("[]", ()),
        ("[ ]", ()),
    ],
)
def test_text_says_what_python_would(text: str, parts: Any) -> None:
    assert parse_slices(text) == parts


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        (3, (3,)),
        (..., (...,)),
        (slice(1, None), (slice(1, None),)),
        ((), ()),
        ([0, slice(None)], (0, slice(None))),
        ((np.int64(2), slice(np.uint8(1), None, np.int8(2)), ...), (2, slice(1, None, 2), ...)),
    ],
)
def test_python_values_are_taken_too(value: Any, parts: Any) -> None:
    found = parse_slices(value)
    assert found == parts
    assert all(type(part) in {int, slice, type(...)} for part in found)


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        ("[0, x, :]", "'x'"),
        ("[0,,1]", "''"),
        ("[0,]", "''"),
        ("[1:2:3:4]", "'1:2:3:4'"),
        ("[:, 1.5]", "'1.5'"),
        ("[- 1]", "'- 1'"),
        ("[+1]", r"'\+1'"),
        ("[1_0]", "'1_0'"),
        ("[\u0661]", "'\u0661'"),
        ("[::0]", "'::0'"),
        ("[::-1]", "'::-1'"),
        ("[None]", "'None'"),
        ("[[0]]", r"'\[0\]'"),
        ("[__import__('os')]", "__import__"),
        ("[" + "9" * 5000 + "]", "999"),
        ("[. . .]", "'. . .'"),
        ((0, None), "None"),
        ((0, True), "True"),
        ((0, "1"), "'1'"),
        ((slice(0.5, 1),), "0.5"),
        ((slice(None, None, -1),), "-1"),
        ((np.arange(3),), "array"),
        (None, "None"),
    ],
)
def test_the_bad_part_is_named(bad: Any, part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        parse_slices(bad)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("[0", "bracket"),
        ("0]", "bracket"),
        ("[..., 0, ...]", "more than one"),
        ((..., ...), "more than one"),
    ],
)
def test_what_is_no_list_of_parts_is_refused(bad: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_slices(bad)


@given(parts=st.lists(PARTS, max_size=5).filter(lambda parts: parts.count(...) < 2), gap=st.sampled_from(["", " "]))
def test_text_and_values_agree(parts: list[Any], gap: str) -> None:
    text = format_slices(parse_slices(parts)).replace(",", f"{gap},{gap}").replace(":", f"{gap}:{gap}")
    assert parse_slices(text) == parse_slices(parts) == tuple(parts)
    for url in (f"s3://b/x.ome.zarr?slices={text}", f"s3://b/x.ome.zarr?{urlencode({'slices': text})}"):
        assert split_slices(url) == ("s3://b/x.ome.zarr", tuple(parts))


def test_slices_are_spelt_as_people_do() -> None:
    parts = (0, slice(None, 100), ..., slice(-3, None, 2), slice(None))
    assert format_slices(parts) == "[0,:100,...,-3::2,:]"
    assert format_slices(()) == "[]"


@given(st.text(alphabet="0123456789-:,.[] x", max_size=30))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        parts = parse_slices(text)
    except UsageError:
        return
    assert parse_slices(format_slices(parts)) == parts


@pytest.mark.parametrize(
    ("url", "left", "parts"),
    [
        ("s3://b/x.ome.zarr?slices=[0,:100]", "s3://b/x.ome.zarr", (0, slice(None, 100))),
        ("s3://b/x.ome.zarr?slices=%5B0%2C%20%3A100%5D", "s3://b/x.ome.zarr", (0, slice(None, 100))),
        ("s3://b/x.ome.zarr?slices=[0,+:100]", "s3://b/x.ome.zarr", (0, slice(None, 100))),
        ("s3://b/x.ome.zarr?slices=0", "s3://b/x.ome.zarr", (0,)),
        ("s3://b/x.ome.zarr?a=1&slices=[0]&b=2", "s3://b/x.ome.zarr?a=1&b=2", (0,)),
        ("s3://b/x.ome.zarr?slices=[0]&b=2", "s3://b/x.ome.zarr?b=2", (0,)),
        ("s3://b/x.ome.zarr?a=1&slices=[0]", "s3://b/x.ome.zarr?a=1", (0,)),
        ("s3://b/x.ome.zarr?a=1", "s3://b/x.ome.zarr?a=1", None),
        ("s3://b/a&slices=[0].zarr", "s3://b/a&slices=[0].zarr", None),
        ("s3://b/what?.zarr?slices=[0]", "s3://b/what?.zarr", (0,)),
        ("s3://b/x.ome.zarr", "s3://b/x.ome.zarr", None),
        ("/d/x.ome.zarr?slices=[0]", "/d/x.ome.zarr", (0,)),
        ("file:///d/x.ome.zarr?slices=%5B0%5D", "file:///d/x.ome.zarr", (0,)),
        ("x.ome.zarr?slices=[...]", "x.ome.zarr", (...,)),
        ("/d/what?.ome.zarr", "/d/what?.ome.zarr", None),
        ("/d/what?a=1&slices=[0]", "/d/what?a=1&slices=[0]", None),
        ("/d/what?.ome.zarr?slices=[0]", "/d/what?.ome.zarr", (0,)),
        ("/d/50%25?slices=[0]", "/d/50%25", (0,)),
    ],
)
def test_a_url_is_split(url: str, left: str, parts: Any) -> None:
    assert split_slices(url) == (left, parts)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("s3://b/x?slices=[0]&slices=[1]", "2 parameters"),
        ("s3://b/x?slices=", "empty"),
        ("/d/x?slices=[0]&a=1", "bracket"),
        (f"s3://b/x?slices={quote('[0, a]')}", "'a'"),
    ],
)
def test_a_bad_parameter_is_refused(url: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        split_slices(url)


@given(shape=st.lists(EXTENTS, max_size=4), data=st.data())
def test_a_window_selects_what_numpy_selects(shape: list[int], data: st.DataObject) -> None:
    pixels = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    parts = data.draw(st.lists(PARTS, max_size=len(shape) + 1).filter(lambda parts: parts.count(...) < 2))
    try:
        expected = pixels[tuple(parts)]
    except IndexError:
        with pytest.raises(UsageError):
            resolve_slices(parse_slices(parts), shape)
        return
    found = resolve_slices(parse_slices(parts), shape)
    assert len(found) == len(shape)
    np.testing.assert_array_equal(pixels[found], expected)
    for part, extent in zip(found, shape, strict=True):
        if isinstance(part, slice):
            assert all(type(bound) is int for bound in (part.start, part.stop, part.step))
            assert 0 <= part.start <= part.stop <= extent
            assert part.step >= 1
            assert resolve_slices((part,), (extent,)) == (part,)
        else:
            assert 0 <= part < extent


def test_equal_selections_have_equal_windows() -> None:
    assert (
        resolve_slices(parse_slices("[::2]"), (9,))
        == resolve_slices(parse_slices("[0:10:2]"), (9,))
        == (slice(0, 9, 2),)
    )
    assert (
        resolve_slices(parse_slices("[]"), (3, 4))
        == resolve_slices(parse_slices("..."), (3, 4))
        == (slice(0, 3, 1), slice(0, 4, 1))
    )


def test_the_axis_and_its_extent_are_named() -> None:
    with pytest.raises(UsageError, match=r"slice 5 lies outside axis 2 .*\(3, 4, 5\).* has 5 planes; give -5 to 4"):
        resolve_slices(parse_slices("[..., 5]"), (3, 4, 5))
    with pytest.raises(UsageError, match=r"name 3 axes, .*\(3, 4\) has 2; leave 1 out"):
        resolve_slices(parse_slices("[0, ..., 0, 0]"), (3, 4))
    with pytest.raises(UsageError, match="axis 0"):
        resolve_slices(parse_slices("[0]"), (0,))
