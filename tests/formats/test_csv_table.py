"""csv: conformance and what is special about it."""

from __future__ import annotations

import sys
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from format_cases import FormatTests, assert_same
from hypothesis import given, settings
from hypothesis import strategies as st

from cvcache.errors import ItemDamaged, NotReproducible
from cvcache.formats import ItemPath, ItemWrite, find_format


def cells() -> pd.DataFrame:
    return pd.DataFrame(
        {"id": [1, 2, 3], "area": [0.1, np.nan, 1e300], "class": ["a", 'b,\n"c"', "NA"], "ok": [True, False, True]}
    )


def indexed() -> pd.DataFrame:
    return cells().set_index("id")


class TestCsv(FormatTests):
    name = "cells.csv"
    good: ClassVar = {
        "mixed": cells,
        "no rows": lambda: cells().iloc[:0].reset_index(drop=True),
    }
    bad: ClassVar = {
        "rows": lambda: [{"a": 1}],
        "array": lambda: np.zeros((2, 2)),
        "series": lambda: pd.Series([1, 2]),
        "objects": lambda: pd.DataFrame({"a": pd.Series([1, "b"], dtype=object)}),
        "none among objects": lambda: pd.DataFrame({"a": pd.Series(["b", None], dtype=object)}),
        "empty and missing text": lambda: pd.DataFrame({"a": ["", None, "x"]}),
        "unsorted categories": lambda: pd.DataFrame({"a": pd.Categorical(["b"], categories=["z", "b"])}),
        "levels of index": lambda: cells().set_index(["id", "class"]),
        "levels of columns": lambda: pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])),
        "same name twice": lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "float as name": lambda: pd.DataFrame({1.5: [1]}),
        "attrs": lambda: cells().assign(a=1).pipe(with_attrs),
        "surrogate": lambda: pd.DataFrame({"a": pd.Series(["\ud800"], dtype=object)}),
        "freq": lambda: pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2026-01-01", periods=2)),
    }
    untold = frozenset({"dtypes", "index", "labels", "missing"})

    @pytest.mark.parametrize(
        "frame",
        [
            indexed(),
            pd.DataFrame(),
            pd.DataFrame(index=range(3)),
            pd.DataFrame(np.eye(2, dtype="float32")),
            pd.DataFrame({3: [1], 1: [2]}),
            pd.DataFrame({"a": ["", "x"]}),
            pd.DataFrame({"a": [np.nan, np.nan]}),
            pd.DataFrame({"a": [1, 2]}, index=["x", "y"]),
            pd.DataFrame({"a": [1, 2]}, index=[5, 7]),
            pd.DataFrame({"a": [1, 2]}, index=range(4, 0, -2)),
            pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": pd.array([True, None], dtype="boolean")}),
            pd.DataFrame({"t": pd.to_datetime(["2026-01-01 12:00:00.5", None])}),
            pd.DataFrame({"t": pd.to_datetime(["2026-01-01 12:00"], utc=True)}),
            pd.DataFrame({"a": pd.Categorical(["b", "a"])}),
            pd.DataFrame({"a": np.array([0, 2**64 - 1], "uint64"), "b": np.array([1, -1], "int8")}),
            pd.DataFrame({"a": [-0.0, np.inf]}),
            pd.DataFrame({"a": ["x\r\ny", "\n", " x "], "b": ["\\", '"', "'"]}),
            pd.DataFrame({"a": [1]}).rename_axis(index="row", columns="what"),
        ],
        ids=lambda frame: f"{frame.shape}",
    )
    def test_more_tables_come_back(self, place: ItemPath, frame: pd.DataFrame) -> None:
        meta = find_format(self.name).write(place, frame)
        assert_same(frame, find_format(self.name).read(ItemWrite(place.store, place.path, meta)))

    def test_a_carriage_return_is_quoted_or_refused(self, place: ItemPath) -> None:
        frame = pd.DataFrame({"a": ["\r"]})  # Python's csv, which pandas writes with, quotes it from 3.13 on
        if sys.version_info < (3, 13):
            with pytest.raises(NotReproducible, match="a"):
                find_format(self.name).write(place, frame)
        else:
            meta = find_format(self.name).write(place, frame)
            assert_same(frame, find_format(self.name).read(ItemWrite(place.store, place.path, meta)))

    def test_a_list_of_rows_is_told_what_to_do(self, place: ItemPath) -> None:
        with pytest.raises(NotReproducible, match=r"pandas\.DataFrame\(rows\)"):
            find_format(self.name).write(place, [{"a": 1}])

    def test_a_foreign_table_is_read_as_pandas_does(self, place: ItemPath) -> None:
        place.put(b"a,b\n1,x\n2,y\n")
        form = find_format(self.name)
        meta = form.describe(place)
        assert meta == {"kind": "table", "rows": 2, "columns": ["a", "b"], "bytes": 12}
        assert_same(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), form.read(ItemWrite(place.store, place.path, meta)))

    def test_a_changed_table_is_damage(self, place: ItemPath) -> None:
        form = find_format(self.name)
        meta = form.write(place, cells())
        place.put(b"id,area,class,ok\nx,y,z,True\n")
        with pytest.raises(ItemDamaged):
            form.read(ItemWrite(place.store, place.path, meta))


def with_attrs(frame: pd.DataFrame) -> pd.DataFrame:
    frame.attrs["unit"] = "um"
    return frame


COLUMNS = st.one_of(
    st.lists(st.floats(), min_size=3, max_size=3),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)


@given(st.lists(COLUMNS, max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_table_comes_back_equal_or_is_refused(columns: list[list[object]]) -> None:
    from format_cases import new_place

    frame = pd.DataFrame({f"c{i}": column for i, column in enumerate(columns)})
    place = new_place("t.csv")
    form = find_format("t.csv")
    try:
        meta = form.write(place, frame)
    except NotReproducible:
        return
    assert_same(frame, form.read(ItemWrite(place.store, place.path, meta)))
    place.store.delete([place.path])
