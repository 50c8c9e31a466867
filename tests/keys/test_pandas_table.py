"""pandas values in keys: content, dtype, index and names, exactly; equal ones agree, all others differ."""

from __future__ import annotations

import pytest

pd = pytest.importorskip("pandas")

import numpy as np  # noqa: E402 - after the skip

from cvcache.errors import UnkeyableValue  # noqa: E402
from cvcache.keys import canonical_key, digest, register_key  # noqa: E402

DAYS = pd.date_range("2026-01-01", periods=3, freq="D")
TEXTS = [pd.DataFrame({"a": ["x", "y", "z"]}), pd.Index(["a", "b"])] if pd.Series(["x"]).dtype != object else []
"""Text has a type of its own in pandas 3, and is an object before."""
DIFFERENT = [
    pd.DataFrame({"a": [1, 2, 3]}),
    pd.DataFrame({"b": [1, 2, 3]}),
    pd.DataFrame({"a": [1, 2, 4]}),
    pd.DataFrame({"a": [1.0, 2, 3]}),
    pd.DataFrame({"a": [1, 2, 3]}, index=[0, 1, 2]),
    pd.DataFrame({"a": [1, 2, 3]}, index=[2, 1, 0]),
    pd.DataFrame({"a": [1, 2, 3]}, index=pd.Index([0, 1, 2], name="i")),
    pd.DataFrame({"a": [1, 2, 3]}).rename_axis(columns="c"),
    pd.DataFrame({"a": [1, 2, 3], "b": [1, 2, 3]}),
    pd.DataFrame({"b": [1, 2, 3], "a": [1, 2, 3]}),
    pd.DataFrame([[1, 2, 3]]),
    pd.DataFrame({}),
    pd.DataFrame(index=range(3)),
    pd.DataFrame({"a": []}),
    pd.DataFrame({"a": pd.array([1, 2, None], "Int64")}),
    pd.DataFrame({"a": [1.0, 2.0, np.nan]}),
    *TEXTS,
    pd.DataFrame({"a": pd.Series(["x", "y", "z"], dtype=object)}),
    pd.DataFrame({"a": pd.Series(["x", "y", None], dtype=object)}),
    pd.DataFrame({"a": pd.Series(["x", "y", np.nan], dtype=object)}),
    pd.DataFrame({"a": pd.Series(["x", "y", pd.NA], dtype=object)}),
    pd.DataFrame({"a": pd.Series(["x", "y", "None"], dtype=object)}),
    pd.DataFrame({"a": pd.Series([1, True, 1.0], dtype=object)}),
    pd.DataFrame({"a": pd.Series([1, 1, 1.0], dtype=object)}),
    pd.DataFrame({"a": pd.Categorical(["x", "y", "x"])}),
    pd.DataFrame({"a": pd.Categorical(["x", "y", "x"], categories=["y", "x"])}),
    pd.DataFrame({"a": pd.Categorical(["x", "y", "x"], ordered=True)}),
    pd.DataFrame({"a": pd.Categorical(["x", "y", "x"], categories=["x", "y", "z"])}),
    pd.Series([1, 2, 3]),
    pd.Series([1, 2, 3], name="a"),
    pd.Series([1, 2, 3], name="b"),
    pd.Series([1, 2, 3], dtype="u1"),
    pd.Series([0, 1], dtype="boolean"),
    pd.Series([False, True]),
    pd.Series([0.0, np.nan], dtype="Float64"),
    pd.Series([0.0, None], dtype="float64"),
    pd.Index([1, 2, 3]),
    pd.RangeIndex(1, 4),
    pd.RangeIndex(1, 5),
    pd.Index(["a", "b"], dtype=object),
    pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]),
    pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["n", None]),
    pd.MultiIndex.from_tuples([(2, "b"), (1, "a")]),
    DAYS,
    pd.DatetimeIndex(list(DAYS)),
    DAYS.tz_localize("UTC"),
    DAYS.tz_localize("Europe/Berlin"),
    DAYS.as_unit("s"),
    DAYS.to_series(),
    DAYS.to_period("D"),
    DAYS - DAYS[0],
    pd.IntervalIndex.from_breaks([0, 1, 2]),
    pd.IntervalIndex.from_breaks([0, 1, 2], closed="left"),
    pd.arrays.SparseArray([0, 0, 1]),
    pd.arrays.SparseArray([0, 0, 1], fill_value=1),
    pd.Timestamp("2026-01-01"),
    pd.Timestamp("2026-01-01", tz="UTC"),
    pd.Timestamp("2026-01-01").as_unit("ms"),
    pd.Timestamp("2026-01-01 00:00:00.000000001"),
    pd.Timedelta(1, "ns"),
    pd.Timedelta(1, "D"),
    pd.Timedelta(1, "s"),
    pd.Period("2026-01", "M"),
    pd.Period("2026-01-01", "D"),
    pd.Interval(0, 1),
    pd.Interval(0, 1, closed="both"),
    pd.NaT,
    pd.NA,
    None,
    float("nan"),
    pd.CategoricalDtype(["a"]),
    pd.CategoricalDtype(["b"]),
    pd.CategoricalDtype(["a"], ordered=True),
    pd.CategoricalDtype(),
    pd.Int64Dtype(),
    pd.StringDtype("python"),
    pd.DatetimeTZDtype("ns", "UTC"),
    np.array([1, 2, 3]),
    [1, 2, 3],
]


def test_no_two_of_many_tables_columns_and_scalars_share_a_key() -> None:
    seen: dict[str, object] = {}
    for value in DIFFERENT:
        other = seen.setdefault(digest(canonical_key(value)), value)
        assert other is value, f"{value!r} and {other!r}"


@pytest.mark.parametrize(
    "value", [value for value in DIFFERENT if hasattr(value, "copy")], ids=lambda v: type(v).__name__
)
def test_a_copy_has_the_same_key(value: object) -> None:
    assert canonical_key(value.copy()) == canonical_key(value)  # type: ignore[attr-defined]  # asked for above


def test_a_table_counts_by_content_however_it_was_made() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    joined = pd.concat([table[["a"]], table[["b"]]], axis=1)
    assert (
        canonical_key(joined)
        == canonical_key(table)
        == canonical_key(pd.DataFrame(np.array([[1.0, 3], [2, 4]]), columns=["a", "b"]))
    )
    unused = pd.MultiIndex.from_product([[1, 2, 3], ["a", "b"]])[:2]
    assert canonical_key(unused) == canonical_key(pd.MultiIndex.from_tuples([(1, "a"), (1, "b")]))
    masked = pd.array([1, 2, 3], "Int64")
    masked[1] = None
    assert canonical_key(masked) == canonical_key(pd.array([1, None, 3], "Int64"))


def test_a_large_table_leaves_a_short_key() -> None:
    table = pd.DataFrame({"x": np.arange(1e5), "name": [f"cell {n}" for n in range(100_000)]})
    form = canonical_key({"table": table})
    assert len(str(form)) < 2000
    table.loc[99_999, "name"] = "another"
    assert canonical_key({"table": table}) != form


def test_attributes_of_a_table_count() -> None:
    table = pd.DataFrame({"a": [1]})
    plain = canonical_key(table)
    table.attrs["scale"] = 2
    assert canonical_key(table) != plain


def test_what_derives_from_a_table_is_refused_until_it_has_a_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvcache.keys.canonical._hooks", {})

    class Geo(pd.DataFrame):
        pass

    with pytest.raises(UnkeyableValue, match=r"args\.t \(.*Geo\).*register_key"):
        canonical_key({"args": {"t": Geo({"a": [1]})}})
    register_key(Geo, pd.DataFrame)
    assert canonical_key(Geo({"a": [1]})) == canonical_key(Geo({"a": [1]})) != canonical_key(Geo({"a": [2]}))


def test_an_object_without_a_form_in_a_column_is_named() -> None:
    with pytest.raises(UnkeyableValue, match=r"args\.t\[1\]\[0\] \(object\)"):
        canonical_key({"args": {"t": pd.DataFrame({"a": [1], "b": [object()]})}})
