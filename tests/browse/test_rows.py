"""A row says what was recorded, whatever was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cvcache
from cvcache.browse import item_row
from cvcache.node import snapshot_of

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ("kind", "shape", "rows", "columns", "dtype", "size", "bytes", "levels")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_a_row_stands_whatever_was_recorded(recorded: Mapping[str, Any]) -> None:
    row = item_row("a", snapshot_of(cvcache.cdir("memory://rows/a")), "committed", "x.json", recorded)
    assert all(type(n) is int for n in row.shape)
    assert row.size is None or type(row.size) is int
    assert isinstance(row.kind, str)
    assert row.kind
    assert isinstance(row.dtype, str)


@pytest.mark.parametrize(
    ("recorded", "shape"),
    [
        ({"kind": "image", "shape": [3, 4]}, (3, 4)),
        ({"kind": "table", "rows": 7, "columns": ["a", "b"]}, (7, 2)),
        ({"kind": "table", "rows": 7}, (7,)),
        ({"kind": "json"}, ()),
    ],
)
def test_the_shape_of_an_item(recorded: Mapping[str, Any], shape: tuple[int, ...]) -> None:
    assert item_row("", snapshot_of(cvcache.cdir("memory://rows/a")), "committed", "x", recorded).shape == shape


def test_an_item_nobody_has_described_is_told_by_its_name() -> None:
    node = cvcache.cdir("memory://rows/a")
    kinds = [
        item_row("a", snapshot_of(node), "running", name, {}).kind for name in ("x.ome.zarr", "parts.dir", "x.csv")
    ]
    assert kinds == ["image", "directory", "file"]
