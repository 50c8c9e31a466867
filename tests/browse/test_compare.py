"""What differs between two rows, from what is recorded alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cvcache
from cvcache.browse import Row, difference, item_row, node_row
from cvcache.node import Address, Snapshot, TreeContext, item_io, snapshot_of
from cvcache.protocol import Record
from cvcache.testing import CountingStore, instrument

if TYPE_CHECKING:
    from servers.store_cases import MemoryCase, StoreCase

    from cvcache.store import Store

NASTY = "\x1b[31mred\x1b[0m\n"


def row_of(node: cvcache.CacheDir, item: str | None = None) -> Row:
    """Return the row of a node as it is now, or of one of its items."""
    node = cvcache.cdir_query(node)
    if item is None:
        return node_row("n", snapshot_of(node), snapshot_of(node).state)
    return item_row(
        "n", snapshot_of(node), snapshot_of(node).state, item, item_io.read_rows(snapshot_of(node)).get(item, {})
    )


def two(case: StoreCase) -> tuple[cvcache.CacheDir, cvcache.CacheDir]:
    """Return two nodes that differ in key and items."""
    nodes = []
    for name, size, sigma in (("a", 32, 2.0), ("b", 48, 3.0)):
        place = cvcache.cdir(case.child(name), **case.options)
        with cvcache.cdir_init(place, {"sigma": sigma, "who": "me"}) as node:
            node.write("im.ome.zarr", np.full((size, size), size, "uint16"), scale=(size / 16, 1))
            node.write("same.json", {"n": 1})
            node.write("other.json", {"n": size})
            node.write(f"only_{name}.txt", "text")
        nodes.append(node)
    return nodes[0], nodes[1]


def test_difference_of_nodes(store_case: StoreCase) -> None:
    a, b = two(store_case)
    stores: list[CountingStore] = []

    def counting(store: Store) -> CountingStore:
        stores.append(CountingStore(store))
        return stores[-1]

    with instrument(counting):
        rows = [row_of(cvcache.cdir(node.url, **store_case.options)) for node in (a, b)]
        for store in stores:
            store.reset()
        lines = difference(*rows)
        assert sum(store.total for store in stores) == 0
    lines = tuple(line for line in lines if not line.startswith("duration"))
    assert lines[:4] == (
        "key: sigma: 2.0 -> 3.0",
        "only_a.txt: only in the first",
        "only_b.txt: only in the second",
        "im.ome.zarr: shape 32x32 -> 48x48",
    )
    assert "im.ome.zarr: scale [2.0, 1.0] -> [3.0, 1.0]" in lines
    assert "im.ome.zarr: range [[32, 32]] -> [[48, 48]]" in lines
    assert "other.json: other content of the same size" in lines
    assert not any("same.json" in line for line in lines)


def test_difference_of_items(memory_case: MemoryCase) -> None:
    a, b = two(memory_case)
    found = difference(row_of(a, "im.ome.zarr"), row_of(b, "im.ome.zarr"))
    assert found[0] == "shape 32x32 -> 48x48"
    assert difference(row_of(a, "same.json"), row_of(b, "same.json")) == ()
    assert difference(row_of(a, "other.json"), row_of(b, "other.json")) == ("other content of the same size",)
    found = difference(row_of(a, "im.ome.zarr"), row_of(a, "same.json"))
    assert "kind image -> json" in found
    assert "dtype uint16 -> none" in found
    assert "nothing of them can be compared" in difference(row_of(a), row_of(a, "same.json"))[0]


def test_a_row_does_not_differ_from_itself(memory_case: MemoryCase) -> None:
    a, _ = two(memory_case)
    assert difference(row_of(a), row_of(a)) == ()


def test_difference_of_states(memory_case: MemoryCase) -> None:
    a, _ = two(memory_case)
    committed = row_of(a)
    nothing = row_of(cvcache.cdir(memory_case.child("nothing")))
    found = difference(committed, nothing)
    assert found[0] == "state: committed -> absent"
    assert "same.json: only in the first" in found
    failed = cvcache.cdir_init(memory_case.child("failed"), {"sigma": 2.0})
    with pytest.raises(ZeroDivisionError), failed:
        1 / 0  # noqa: B018 - the failure is the point
    found = difference(committed, row_of(cvcache.cdir(memory_case.child("failed"))))
    assert "state: committed -> failed" in found
    assert "key: who: removed" in found


def test_a_node_removed_meanwhile_is_said(memory_case: MemoryCase) -> None:
    with cvcache.cdir_init(memory_case.child("many"), {"n": 1}) as many:
        for i in range(700):
            many.write(f"{i:04}{'x' * 60}.json", i)
    row = row_of(many)
    assert row.node.record.items is None, "the rows are in the inventory"  # type: ignore[union-attr]  # it is committed
    other = row_of(cvcache.cdir(memory_case.child("nothing")))
    lines = difference(row, other)
    assert len(lines) == 501
    assert lines[-1] == "… there are more differences than are shown"
    cvcache.cdir_remove(many)
    assert any("was removed" in line for line in difference(row, other))


def node_with(key: Any, rows: dict[str, Any]) -> Snapshot:
    """Give a node whose record says anything."""
    record = Record(seq=1, after="root", state="committed", attempt="a", nonce="n", time="", key=key, items=rows)
    return Snapshot(Address(TreeContext("memory"), "bucket/node"), record)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(NASTY)
TAGS = st.sampled_from(
    ["$item", "version", "$dask", "layers", "uses", "ast", "$file", "$path", "$dict", "$ndarray", "a"]
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TAGS | st.text(max_size=5), inner, max_size=4)
)
NAMES = st.sampled_from(
    ["kind", "shape", "dtype", "scale", "rows", "columns", "range", "size", "bytes", "sha256", "user"]
)
ROWS = st.dictionaries(st.text(max_size=5), st.dictionaries(NAMES, JSON, max_size=4), max_size=3)


@settings(max_examples=300, deadline=None)
@given(JSON, JSON, ROWS, ROWS)
def test_difference_of_any_records(key: object, other: object, rows: dict[str, Any], others: dict[str, Any]) -> None:
    a, b = (Row("n", "n", "node", "committed", node_with(*said)) for said in ((key, rows), (other, others)))
    lines = [*difference(a, b), *difference(a, a)]
    for name, recorded in rows.items():
        meta = [Row("i", name, "file", "committed", a.node, is_item=True, meta=m) for m in (recorded, {})]
        lines += difference(*meta)
    for line in lines:
        assert line
        assert len(line) <= 1000
        assert not set(line) & {"\x1b", "\n"}
        line.encode()
