"""parquet: conformance and what is special about it."""

from __future__ import annotations

import datetime
import decimal
import io
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from format_cases import FormatTests, assert_same, new_place
from hypothesis import given, settings
from hypothesis import strategies as st

from cvcache import cdir_init, cdir_query, cdir_remove
from cvcache.errors import ItemDamaged, NotReproducible, UsageError
from cvcache.formats import ItemPath, find_format
from cvcache.store import instrument
from cvcache.testing import CountingStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cvcache.formats import ItemPath

FORM = find_format("cells.parquet")


def cells() -> pd.DataFrame:
    return pd.DataFrame(
        {"id": [1, 2, 3], "area": [0.1, np.nan, -0.0], "class": ["a", None, "NA"], "ok": [True, False, True]}
    )


def with_attrs(attrs: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = attrs
    return frame


def one(values: Any, **options: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": values}, **options)


def objects(*values: Any) -> pd.DataFrame:
    return one(pd.Series(list(values), dtype=object))


class TestParquet(FormatTests):
    name = "cells.parquet"
    good: ClassVar = {
        "mixed": cells,
        "no rows": lambda: cells().iloc[:0].reset_index(drop=True),
        "named index": lambda: cells().set_index("id"),
        "levels of index": lambda: cells().set_index(["id", "ok"]),
        "unused levels": lambda: cells().set_index(["id", "ok"]).iloc[:1],
        "levels of columns": lambda: pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        "times in levels": lambda: one(
            [1, 2], index=pd.MultiIndex.from_product([["u"], pd.date_range("2026", periods=2, tz="UTC")])
        ),
        "zone": lambda: one(pd.to_datetime(["2026-01-01", None]).tz_localize("Europe/Berlin")),
        "offset": lambda: one(
            pd.to_datetime(["2026-01-01"]).tz_localize(datetime.timezone(datetime.timedelta(hours=2)))
        ),
        **{
            unit: lambda unit=unit: one(np.array(["2026-01-01", "NaT"], f"datetime64[{unit}]"))
            for unit in ("s", "ms", "us", "ns")
        },
        "duration": lambda: one(np.array([1, 2], "timedelta64[s]")),
        "frequency": lambda: one([1, 2], index=pd.date_range("2026-01-01", periods=2)),
        "index of seconds": lambda: one([1], index=pd.Index(np.array(["2026-01-01"], "datetime64[s]"))),
        "nullable index": lambda: one([1, 2], index=pd.Index([None, 2**63 - 1], dtype="Int64")),
        "index of objects": lambda: one([1, 2], index=pd.Index(["a", None], dtype=object)),
        "period": lambda: one(pd.period_range("2026-01", periods=2, freq="M")),
        "interval": lambda: one(pd.interval_range(0, 2)),
        "categories": lambda: one(pd.Categorical(["b", "a", None], categories=["z", "b", "a"], ordered=True)),
        "whole categories": lambda: one(pd.Categorical([3, 1])),
        "categorical index": lambda: one([1, 2], index=pd.CategoricalIndex(["u", "v"])),
        "nullable": lambda: pd.DataFrame(
            {
                "a": pd.array([1, None], "Int64"),
                "b": pd.array([True, None], "boolean"),
                "c": pd.array([1.5, None], "Float32"),
            }
        ),
        "strings": lambda: one(pd.array(["x", None], "string")),
        "arrow": lambda: one(pd.array([1, None], "int16[pyarrow]")),
        "objects of text": lambda: objects("x", None, ""),
        "objects of bytes": lambda: objects(b"x", None),
        "objects of decimals": lambda: objects(decimal.Decimal("1.50")),
        "objects of dates": lambda: objects(datetime.date(2026, 1, 1)),
        "floats": lambda: one(np.array([1, 2], "float16")),
        "large": lambda: one(np.array([0, 2**64 - 1], "uint64")),
        "matrix": lambda: pd.DataFrame(np.eye(2, dtype="float32")),
        "whole labels": lambda: pd.DataFrame({3: [1], 1: [2], 7: [3]}),
        "counting down": lambda: one([1, 2], index=range(4, 0, -2)),
        "named axes": lambda: one([1]).rename_axis(index="row", columns="what"),
        "nothing": pd.DataFrame,
        "no columns": lambda: pd.DataFrame(index=range(3)),
        "only an index": lambda: pd.DataFrame(index=["a", "b"]),
        "attrs": lambda: with_attrs({"k": [1, 2.5, {"z": None}]}),
        "arrow table": lambda: pa.table(
            {
                "a": pa.array([1, None], pa.int8()),
                "d": pa.array(["x", "y"]).dictionary_encode(),
                "l": pa.array([[1.5], None], pa.list_(pa.float16())),
                "n": [float("nan"), 1.0],
            }
        ).replace_schema_metadata({"made by": "me"}),
        "empty arrow table": lambda: pa.table({}),
        "pandas' arrow table": lambda: pa.Table.from_pandas(cells()),
    }
    bad: ClassVar = {
        "rows": lambda: [{"a": 1}],
        "array": lambda: np.zeros((2, 2)),
        "series": lambda: pd.Series([1, 2]),
        "subclass": lambda: type("Mine", (pd.DataFrame,), {})({"a": [1]}),
        "lists": lambda: objects([1, 2], [3]),
        "mixed objects": lambda: objects(1, "b"),
        "nan among objects": lambda: objects("x", np.nan),
        "one and true": lambda: objects(*(1, True)),
        "complex": lambda: one([1j]),
        "sparse": lambda: one(pd.arrays.SparseArray([0, 0, 1])),
        "big-endian": lambda: one(np.array([1], ">i4")),
        "same name twice": lambda: pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "names equal as text": lambda: pd.DataFrame([[1, 2]], columns=pd.Index([1, "1"], dtype=object)),
        "number as name of the index": lambda: one([1], index=pd.Index([5], name=0)),
        "tuple in attrs": lambda: with_attrs({"k": (1, 2)}),
        "array in attrs": lambda: with_attrs({"k": np.zeros(1)}),
        "int key in attrs": lambda: with_attrs({1: 2}),
        "flags": lambda: one([1]).set_flags(allows_duplicate_labels=False),
        "arrow seconds": lambda: pa.table({"t": pa.array([1], pa.timestamp("s"))}),
        "arrow batch": lambda: pa.record_batch({"a": [1]}),
    }

    def test_any_reader_of_parquet_reads_it(self, place: ItemPath) -> None:
        FORM.write(place, cells().set_index("id"))
        frame = pd.read_parquet(io.BytesIO(place.get()))
        pd.testing.assert_frame_equal(frame, cells().set_index("id"))

    def test_a_foreign_table_is_read_as_pandas_does(self, place: ItemPath) -> None:
        sink = io.BytesIO()
        pq.write_table(pa.table({"a": [1, 2], "b": ["x", None]}), sink, row_group_size=1)
        place.put(sink.getvalue())
        meta = FORM.describe(place)
        assert (meta["rows"], meta["columns"], meta["dtypes"], meta["row_groups"]) == (
            2,
            ["a", "b"],
            ["int64", "string"],
            2,
        )
        assert_same(FORM.read(place), pd.read_parquet(io.BytesIO(place.get())))
        assert_same(FORM.read(place, columns=["b"]), pd.read_parquet(io.BytesIO(place.get()), columns=["b"]))

    def test_a_flipped_bit_of_a_page_is_damage_even_where_nobody_vouches_for_it(self, place: ItemPath) -> None:
        FORM.write(place, one(np.random.default_rng(0).random(1000)), compression=None)
        data = bytearray(place.get())
        data[2000] ^= 1
        place.put(bytes(data))
        for options in ({}, {"columns": ["a"]}):
            with pytest.raises(ItemDamaged):
                FORM.read(place, **options)

    @pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "lz4", "brotli", None])
    def test_compressions(self, place: ItemPath, compression: str | None) -> None:
        FORM.write(place, cells(), compression=compression)
        assert_same(FORM.read(place), cells())

    def test_an_unknown_compression_is_told_what_was_meant(self, place: ItemPath) -> None:
        with pytest.raises(UsageError, match="did you mean 'zstd'"):
            FORM.write(place, cells(), compression="zst")
        assert place.store.stat(place.path) is None


@pytest.mark.parametrize(
    "name", ["mixed", "named index", "levels of index", "s", "objects of text", "matrix", "whole labels"]
)
def test_some_columns_are_those_of_the_whole(name: str) -> None:
    place, frame = new_place("cells.parquet"), TestParquet.good[name]()
    FORM.write(place, frame)
    for wanted in ([], [frame.columns[-1]], list(frame.columns[::-1])):
        assert_same(FORM.read(place, columns=wanted), frame[wanted])


def test_some_columns_of_an_arrow_table() -> None:
    place, table = new_place("cells.parquet"), TestParquet.good["arrow table"]()
    FORM.write(place, table)
    assert_same(FORM.read(place, columns=["n", "a"]), table.select(["n", "a"]))


def test_a_column_that_is_not_there_is_told_what_was_meant() -> None:
    place = new_place("cells.parquet")
    FORM.write(place, cells())
    with pytest.raises(UsageError, match=r"no column 'aera'; did you mean 'area'.*it has: id, area, class, ok"):
        FORM.read(place, columns=["aera"])
    with pytest.raises(UsageError, match=r"columns=\['area'\]"):
        FORM.read(place, columns="area")


@pytest.fixture
def url() -> Iterator[str]:
    url = f"memory://tables/{uuid.uuid4().hex}"
    yield url
    cdir_remove(url)


def test_one_column_of_many_is_not_the_whole_file(url: str) -> None:
    table = pd.DataFrame(np.random.default_rng(0).random((20_000, 20)), columns=[f"c{i}" for i in range(20)])
    with cdir_init(url) as node:
        node.write("wide.parquet", table)
    read: list[int] = []

    class Measured(CountingStore):
        def open(self, path: str, mode: str, *args: Any) -> Any:
            file = super().open(path, mode, *args)
            whole = file.read

            def counted(*size: int) -> bytes:
                data = whole(*size)
                read.append(len(data))
                return data

            file.read = counted  # type: ignore[method-assign]
            return file

    with instrument(Measured):
        assert_same(cdir_query(url).read("wide.parquet", columns=["c7"]), table[["c7"]])
    assert 0 < sum(read) < cdir_query(url)["wide.parquet"].meta["bytes"] / 4


def test_a_file_of_another_commit_is_not_read_in_part(url: str) -> None:
    with cdir_init(url) as node:
        node.write("cells.parquet", cells())
    old = cdir_query(url)
    assert old.committed
    with cdir_init(url, force=True) as node:
        node.write("cells.parquet", cells().assign(area=1.0))
    with pytest.raises(Exception, match="replaced"):
        old.read("cells.parquet", columns=["area"])


VALUES = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float64": st.floats(width=64),
    "bool": st.booleans(),
    "str": st.text(),
    "object": st.none() | st.text() | st.booleans() | st.integers() | st.binary() | st.floats(),
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "category": st.none() | st.text(max_size=2) | st.integers(),
    "datetime64[ns]": st.datetimes(pd.Timestamp("1700").to_pydatetime(), pd.Timestamp("2200").to_pydatetime()),
}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), max_size=4))
    labels = draw(st.lists(st.text() | st.integers(0, 9), min_size=len(kinds), max_size=len(kinds)))
    columns = [pd.Series(draw(st.lists(VALUES[kind], min_size=rows, max_size=rows)), dtype=kind) for kind in kinds]
    frame = pd.DataFrame(dict(enumerate(columns)), index=range(rows))
    frame.columns = pd.Index(labels)
    by = draw(st.integers(0, min(2, len(kinds))))
    return frame.set_index(list(frame.columns[:by])) if by and frame.columns.is_unique else frame


@given(tables())
@settings(max_examples=300, deadline=None)
def test_any_table_comes_back_or_is_refused(frame: pd.DataFrame) -> None:
    place = new_place("cells.parquet")
    before = frame.copy(deep=True)
    try:
        meta = FORM.write(place, frame)
    except NotReproducible:
        assert place.store.stat(place.path) is None
        return
    assert_same(FORM.read(place), before)
    assert FORM.describe(place) == meta
    place.store.delete([place.path])
