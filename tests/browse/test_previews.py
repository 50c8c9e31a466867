"""What a panel shows of a row: right, bounded, plain, and at the cost it says."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cvcache
from cvcache.browse import (
    Row,
    Tree,
    difference,
    error_text,
    facts,
    follow_log,
    histogram,
    item_row,
    key_text,
    log_tail,
    node_row,
    plain_line,
    plain_text,
    stale_because,
    strip_controls,
    table_head,
    text_head,
    unread_row,
    why,
)
from cvcache.browse.pictures import picture, thumbnail
from cvcache.errors import BadRecord
from cvcache.node import Snapshot, item_io, release_node, snapshot_of
from cvcache.testing import CountingStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.store_cases import BucketCase, LocalCase, MemoryCase, StoreCase

    from cvcache.store import Store

NASTY = "\x1b[31mred\x1b[0m \x1b]0;title\x07\u202ebell\x9b2J<b>"

Costs = collections.Counter[str]


def row_of(node: cvcache.CacheDir, item: str | None = None) -> Row:
    """Return the row of a node as it is now, or of one of its items."""
    node = cvcache.cdir_query(node)
    if item is None:
        return node_row("n", snapshot_of(node), snapshot_of(node).state)
    return item_row(
        "n", snapshot_of(node), snapshot_of(node).state, item, item_io.read_rows(snapshot_of(node)).get(item, {})
    )


def dict_of(row: Row, **options: bool) -> dict[str, str]:
    return dict(facts(row, **options))


@pytest.fixture
def full(store_case: StoreCase) -> cvcache.CacheDir:
    """Give a node with an item of most formats."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"y": [1.0, 2.5], "x": [3.0, 4.0], "label": ["a", "b"]})
    place = cvcache.cdir(store_case.child("node"), **store_case.options)
    with cvcache.cdir_init(place, {"sigma": 2.0, "who": NASTY}) as node, node.log():
        print("first", NASTY)  # noqa: T201 - what a step prints is in its log
        pixels = np.arange(2 * 3 * 64 * 64, dtype="uint16").reshape(2, 3, 64, 64)
        node.write(
            "im.ome.zarr",
            pixels,
            axes="czyx",
            scale=(2, 0.5, 0.5),
            unit="um",
            channels=["DAPI", NASTY],
            meta={"by": "me"},
        )
        node.write("t.csv", frame)
        node.write("t.parquet", frame)
        node.write("p.points.parquet", frame, scale=(0.5, 0.25), unit="um")
        node.write("j.json", {"a": [1, 2], "b": "é"})
        node.write("page.html", "<script>alert(1)</script>\n<b>bold</b>")
        node.write("b.bin", b"\0\1\2")
        node.write("z.npz", {"one": np.arange(3)})
        node.meta.update(nuclei=241, note=NASTY)
    return cvcache.cdir_query(node)


def test_facts_of_a_node(full: cvcache.CacheDir) -> None:
    found = dict_of(row_of(full), environment=True)
    assert found["state"] == "committed"
    assert found["URL"] == full.url
    assert found["items"].startswith("9, ")
    assert found["meta nuclei"] == "241"
    assert found["meta note"] == "red 0;titlebell2J<b>"
    assert found["took"].endswith(" s")
    assert found["version"] == full.version
    assert str(full.commit.time.astimezone().year) in found["committed"]  # type: ignore[union-attr]  # it is committed
    assert sys.version.split()[0] in found["python"]
    assert "numpy" in found["python"]
    assert "data in" not in found
    assert found["peak memory of the process"].endswith("iB")


def test_facts_of_an_image(full: cvcache.CacheDir) -> None:
    found = dict_of(row_of(full, "im.ome.zarr"))
    assert found["kind"] == "image"
    assert found["shape"] == "2x3x64x64"
    assert found["axes"] == "c z y x"
    assert found["dtype"] == "uint16"
    assert found["scale"] == "c 1, z 2 micrometer, y 0.5 micrometer, x 0.5 micrometer"
    assert found["translation"].startswith("c 0, z 0 micrometer")
    assert found["levels"].startswith("1; 2x3x64x64")
    assert found["channels"] == "DAPI, red 0;titlebell2J<b>"
    assert found["range"] == "0 to 12287, 12288 to 24575"
    assert found["objects"].isdigit()
    assert found["size"].endswith("KiB")
    assert found["meta by"] == "me"


def test_facts_of_tables(full: cvcache.CacheDir) -> None:
    found = dict_of(row_of(full, "t.parquet"))
    assert found["rows"] == "2"
    assert found["columns"].startswith("y (float64), x (float64), label (")
    points = dict_of(row_of(full, "p.points.parquet"))
    assert points["coordinates"] == "y, x"
    assert points["scale"] == "y 0.5 micrometer, x 0.25 micrometer"
    assert dict_of(row_of(full, "z.npz"))["arrays"] == "one"


def test_histograms_are_those_recorded(full: cvcache.CacheDir) -> None:
    first, second = histogram(row_of(full, "im.ome.zarr"))
    assert (first.channel, first.color, second.channel) == ("DAPI", "00FF00", "red 0;titlebell2J<b>")
    assert sum(first.counts) == sum(second.counts) == 3 * 64 * 64
    assert first.start == 0
    assert second.start <= 12288 <= second.start + second.width
    assert first.contrast is not None
    assert 0 <= first.contrast[0] < first.contrast[1] <= 12287
    assert histogram(row_of(full, "t.csv")) == ()


def test_heads_of_tables(full: cvcache.CacheDir) -> None:
    for name in ("t.csv", "t.parquet", "p.points.parquet"):
        head = table_head(row_of(full, name))
        assert head is not None
        assert head.columns == ("y", "x", "label")
        assert head.rows == (("1.0", "3.0", "a"), ("2.5", "4.0", "b"))
        assert (head.total, head.note) == (2, "")
        head = table_head(row_of(full, name), 1)
        assert head is not None
        assert head.rows == (("1.0", "3.0", "a"),)
        assert head.note == "the first 1 rows of 2"
    assert table_head(row_of(full, "j.json")) is None
    assert table_head(row_of(full)) is None


def test_heads_of_texts(full: cvcache.CacheDir) -> None:
    assert text_head(row_of(full, "j.json")) == '{\n  "a": [\n    1,\n    2\n  ],\n  "b": "é"\n}'
    assert text_head(row_of(full, "page.html")) == "<script>alert(1)</script>\n<b>bold</b>"
    assert text_head(row_of(full, "page.html"), 8) == "<script>\n[… the rest is left out]"
    assert text_head(row_of(full, "b.bin")) == "Not a text: 3 B of another kind, to be opened with a program for it."
    assert "directory" in text_head(row_of(full, "im.ome.zarr"))


def test_log_and_key_are_plain(full: cvcache.CacheDir) -> None:
    log = log_tail(row_of(full))
    assert "first red 0;titlebell2J<b>" in log
    assert log == log_tail(row_of(full, "run.log"))
    key = key_text(row_of(full))
    assert '"who": ' in key
    assert '"sigma": ' in key
    assert not set(log + key) & {"\x1b", "\x07", "\x9b", "\u202e"}
    assert why(row_of(full)) == ("first run",)
    assert error_text(row_of(full)) == ""


# --- what it costs


@pytest.fixture
def costs() -> Iterator[Callable[[Callable[[], object]], Costs]]:
    """Give what says which store calls a function makes."""
    stores: list[CountingStore] = []

    def counting(store: Store) -> CountingStore:
        stores.append(CountingStore(store))
        return stores[-1]

    def cost(act: Callable[[], object]) -> Costs:
        for store in stores:
            store.reset()
        assert act() is not None
        return sum((store.counts for store in stores), start=collections.Counter())

    with instrument(counting):
        yield cost


@pytest.mark.server
def test_what_previews_cost(costs: Callable[[Callable[[], object]], Costs], s3_case: BucketCase) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    place = cvcache.cdir(s3_case.child("node"), **s3_case.options)
    with cvcache.cdir_init(cvcache.cdir(s3_case.child("up"), **s3_case.options), {"n": 1}) as upstream:
        upstream.write("v.json", 1)
        upstream.write("w.json", 1)
    with cvcache.cdir_init(place, {"v": upstream["v.json"], "w": upstream["w.json"]}) as node, node.log():
        print("x" * 300_000)  # noqa: T201 - what a step prints is in its log
        node.write("im.ome.zarr", np.zeros((64, 64), "uint16"))
        node.write("t.csv", pandas.DataFrame({"n": range(100)}))
        node.write("long.csv", pandas.DataFrame({"n": range(100_000)}))
        node.write("t.parquet", pandas.DataFrame({"n": range(100)}))
        node.write("t.txt", "x" * 1000)
    whole = row_of(node)
    items = {name: row_of(node, name) for name in item_io.read_rows(snapshot_of(node))}
    image = items["im.ome.zarr"]
    assert costs(lambda: facts(whole)) == {}
    assert costs(lambda: facts(whole, environment=True)) == {"get": 1}
    assert costs(lambda: facts(image)) == {}
    assert costs(lambda: histogram(image)) == {}
    assert costs(lambda: (why(whole), error_text(whole), key_text(whole))) == {}
    assert costs(lambda: stale_because(whole)) == {"list": 1, "get": 1}
    assert costs(lambda: table_head(items["t.csv"])) == {"get": 1}
    assert costs(lambda: table_head(items["long.csv"])) == {"get": 1}
    assert costs(lambda: text_head(items["t.txt"])) == {"get": 1}
    assert costs(lambda: text_head(items["t.txt"], 10)) == {"get": 1}
    assert costs(lambda: log_tail(whole)) == {"get": 1}
    assert costs(lambda: log_tail(whole, 400_000)) == {"get": 1}
    parquet = costs(lambda: table_head(items["t.parquet"]))
    assert parquet.pop("stat") == 1
    assert parquet.pop("get") <= 3
    assert not parquet


def test_of_a_large_parquet_only_the_beginning_is_read(
    memory_case: MemoryCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    with cvcache.cdir_init(memory_case.child("node")) as node:
        random = np.random.default_rng(0)
        node.write("t.parquet", pandas.DataFrame(random.random((1_000_000, 4)), columns=list("abcd")))
    row = row_of(node, "t.parquet")
    read: list[int] = []
    get = type(row.node.store).get

    def counted(store: Any, path: str, start: int | None = None, end: int | None = None) -> bytes:
        data = get(store, path, start, end)
        read.append(len(data))
        return data

    monkeypatch.setattr(type(row.node.store), "get", counted)
    head = table_head(row)
    assert head is not None
    assert (len(head.rows), head.total, head.note) == (200, 1_000_000, "the first 200 rows of 1000000")
    assert row.size is not None
    assert row.size > 24 << 20
    assert sum(read) < 12 << 20
    monkeypatch.setattr("cvcache.browse.table_preview.MAX_PARQUET_BYTES", 3 << 20)
    head = table_head(row)
    assert head is not None
    assert head.rows == ()
    assert "more than 3.0 MiB to read" in head.note


# --- states other than committed


@cvcache.step
def fails(out: cvcache.CacheDir) -> None:
    print("before the end", NASTY)  # noqa: T201 - what a step prints is in its log
    out.write("half.json", 1)
    msg = f"no nuclei {NASTY}"
    raise ValueError(msg)


def test_a_failed_node_says_why(memory_case: MemoryCase) -> None:
    node = cvcache.cdir(memory_case.child("node"))
    with pytest.raises(ValueError, match="no nuclei"):
        fails(node)
    row = row_of(node)
    assert dict_of(row)["error"] == "ValueError: no nuclei red 0;titlebell2J<b>"
    text = error_text(row)
    assert text.startswith("ValueError: no nuclei red 0;titlebell2J<b>\n\nTraceback")
    assert "\x1b" not in text
    assert "before the end" in log_tail(row)


def test_the_log_of_a_running_node_is_followed_from_its_first_line(
    memory_case: MemoryCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvcache.logs.spool.PART_SECONDS", 0.05)
    with cvcache.cdir_init(memory_case.child("node"), {"n": 1}) as node:
        with node.log():
            print("line one")  # noqa: T201 - what a step prints is in its log
            watching = follow_log(snapshot_of(cvcache.cdir(node.url)))
            text = ""
            while "line one" not in text:
                text += watching.look()
            assert watching.state == "running"
            row = row_of(cvcache.cdir(node.url))
            assert dict_of(row)["state"] == "running"
            assert "pid" in dict_of(row)["written by"]
            assert log_tail(row) == text
            assert log_tail(row, 10).endswith("ine one\n")
            print("line two")  # noqa: T201 - the same
        node.write("done.json", 1)
    while not watching.ended:
        text += watching.look()
    assert text == log_tail(row_of(node))
    assert text.count("line one") == text.count("line two") == 1


KILLED = """
import os, sys, time, cvcache, cvcache.logs.spool
cvcache.logs.spool.PART_SECONDS = 0.05
node = cvcache.cdir_init(sys.argv[1], {"n": 1})
with node.log():
    print("its last words", flush=True)
    sys.stdout.flush()
    time.sleep(1)
    os._exit(9)
"""


def test_a_process_that_was_killed_leaves_its_words(local_case: LocalCase) -> None:
    subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), local_case.child("node")], check=False)
    row = row_of(cvcache.cdir(local_case.child("node")))
    assert row.state == "failed"
    assert "its last words" in log_tail(row)
    assert "died before its commit" in error_text(row)


ASKED = (
    *(facts, why, error_text, key_text, stale_because, histogram, text_head, log_tail, table_head),
    *(picture, thumbnail),
)
ODD = ("a.txt", "t.csv", "t.parquet", "p.png", "d.svg", "run.log", "im.ome.zarr/x")


def rows_in_every_state(case: LocalCase) -> list[Row]:
    """Return rows in every state, and what lies in them; of what is no node the top of a tree too."""
    with cvcache.cdir_init(case.child("committed"), {"n": 1}) as node:
        node.write("a.txt", "text")
    with pytest.raises(ValueError, match="no nuclei"):
        fails(cvcache.cdir(case.child("failed")))
    cvcache.cdir_init(case.child("running")).write("a.txt", "text")
    case.put("broken/_cvcache/log/000001-root.json", b"torn")
    for name in ("broken", "foreign", "folder/in"):
        for item in ODD:
            case.put(f"{name}/{item}", b"1")
    rows = []
    for name in ("", "committed", "failed", "running", "broken", "foreign", "folder", "nowhere"):
        tree = Tree(case.child(name) if name else case.url)
        with contextlib.suppress(BadRecord):
            tree.open()
        try:
            rows += [tree.open(), *tree.expand("").rows]
        except BadRecord as error:
            node = Snapshot(tree.top)
            rows.append(Row("", name, "node", "unreadable", node, branch=True, note=str(error)))
            rows += [item_row("", node, state, item, {}) for item in ODD for state in ("foreign", "unreadable")]
        rows.append(unread_row("n", Snapshot(tree.top)))
        tree.close()
    return rows


def test_nothing_raises_for_a_row_in_whatever_state(local_case: LocalCase) -> None:
    rows = rows_in_every_state(local_case)
    states = {"", "absent", "running", "committed", "failed", "foreign", "folder", "unreadable"}
    assert {row.state for row in rows} == states
    for gone in (False, True):
        if gone:
            shutil.rmtree(local_case.path)
        for row in rows:
            for ask in ASKED:
                ask(row)
            facts(row, environment=True)
            for other in rows[::5]:
                difference(row, other)
    for row in rows:
        assert (error_text(row) != "") == (row.state == "failed" or (row.note != "" and row.state == "unreadable"))
    (broken,) = [row for row in rows if row.state == "unreadable" and not row.is_item]
    assert error_text(broken) == broken.note
    missing = [text_head(row) for row in rows if row.state == "foreign" and row.name == "a.txt"]
    assert len(missing) == 2
    assert all("not there any more" in text for text in missing), missing


def test_what_is_not_there_has_few_facts(memory_case: MemoryCase) -> None:
    nothing = row_of(cvcache.cdir(memory_case.child("nothing")))
    assert dict(facts(nothing))["state"] == "absent"
    for row in (nothing, unread_row("n", nothing.node)):
        assert (why(row), error_text(row), key_text(row), stale_because(row)) == ((), "", "", ())
        assert log_tail(row) == ""


def test_stale_because(memory_case: MemoryCase) -> None:
    up, other = (cvcache.cdir_init(memory_case.child(name), {"n": 1}) for name in ("up", "other"))
    for node in (up, other):
        with node:
            node.write("v.json", 1)
    with cvcache.cdir_init(memory_case.child("down"), {"a": up["v.json"], "b": other["v.json"]}) as down:
        down.write("v.json", 2)
    assert stale_because(row_of(down)) == ()
    before = cvcache.cdir_query(up).version
    with cvcache.cdir_init(up, {"n": 2}) as again:
        again.write("v.json", 2)
    after = cvcache.cdir_query(up).version
    assert stale_because(row_of(down)) == (f"../up/v.json: version {before[:8]} -> {after[:8]}",)
    cvcache.cdir_remove(up)
    assert stale_because(row_of(down)) == ("../up/v.json: was removed",)
    running = cvcache.cdir_init(other, {"n": 2})
    assert stale_because(row_of(down)) == ("../up/v.json: was removed",), "the version in its key stands meanwhile"
    release_node(snapshot_of(running))
    cvcache.cdir_remove(other)
    cvcache.cdir_init(other, {"n": 2})
    assert "../other/v.json: is being computed again" in stale_because(row_of(down))


# --- what breaks


def test_what_became_of_an_item_is_said(memory_case: MemoryCase) -> None:
    with cvcache.cdir_init(memory_case.child("node"), {"n": 1}) as node, node.log():
        node.write("t.csv", pytest.importorskip("pandas").DataFrame({"n": [1]}))
        node.write("t.parquet", pytest.importorskip("pandas").DataFrame({"n": [1]}))
        node.write("t.txt", "text")
    whole = row_of(node)
    items = {name: row_of(node, name) for name in item_io.read_rows(snapshot_of(node))}
    memory_case.put("node/t.csv", b"a\n1\n2\n")
    memory_case.delete("node/t.parquet")
    memory_case.delete("node/t.txt")
    memory_case.delete("node/run.log")
    assert "its commit vouched for" in note(items["t.csv"])
    assert "is gone" in note(items["t.parquet"])
    assert "is gone" in text_head(items["t.txt"])
    assert "is gone" in log_tail(whole)
    cvcache.cdir_remove(node)
    assert "was removed" in note(items["t.parquet"])
    assert "was removed" in text_head(items["t.txt"])
    assert dict_of(whole)["state"] == "committed"


def note(row: Row) -> str:
    head = table_head(row)
    assert head is not None
    assert head.rows == ()
    return head.note


def test_a_store_that_refuses_is_quoted(memory_case: MemoryCase, monkeypatch: pytest.MonkeyPatch) -> None:
    with cvcache.cdir_init(memory_case.child("node")) as node:
        node.write("t.txt", "text")
    row = row_of(node, "t.txt")

    def refuse(*_: object) -> bytes:
        raise PermissionError(13, f"Access denied {NASTY}")

    monkeypatch.setattr(type(row.node.store), "get", refuse)
    assert "Access denied red 0;titlebell2J<b>" in text_head(row)
    assert "\x1b" not in text_head(row)


HOSTILE_TEXT = {
    "nested.json": b"[" * 60_000,
    "long.json": b"[" + b"1," * 100_000 + b"1]",
    "number.json": b"1" * 50_000,
    "surrogate.json": b'"\\ud800"',
    "latin.txt": b"caf\xe9\n",
    "nested.ipynb": b"[" * 100_000,
    "cells.ipynb": json.dumps({"cells": [1, None, {"source": [1, "x"]}, {"cell_type": [], "source": {}}]}).encode(),
    "links.ref": json.dumps({"url": "s3://me:secret@bucket/x?X-Amz-Signature=secret", "kind": "file"}).encode(),
    "escape.log": f"{NASTY}\r\n50%\r100%\n".encode(),
}


@pytest.mark.parametrize("name", HOSTILE_TEXT)
def test_any_text_is_shown_plain(memory_case: MemoryCase, name: str) -> None:
    memory_case.put(f"folder/{name}", HOSTILE_TEXT[name])
    row = item_row("f", snapshot_of(cvcache.cdir(memory_case.child("folder"))), "foreign", name, {})
    text = text_head(row)
    assert 0 < len(text) <= 66_000
    text.encode()
    assert not set(text) & {"\x1b", "\x07", "\r", "\u202e"}
    assert "secret" not in text


def test_a_notebook_is_shown_by_its_cells(memory_case: MemoryCase) -> None:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# A <title>\n", "text"]},
        {
            "cell_type": "code",
            "metadata": {},
            "source": "print(1)",
            "execution_count": 1,
            "outputs": [{"output_type": "display_data", "data": {"text/html": "<script>" * 50_000}, "metadata": {}}],
        },
    ]
    with cvcache.cdir_init(memory_case.child("node")) as node:
        node.write("n.ipynb", {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
    assert text_head(row_of(node, "n.ipynb")) == "[markdown]\n# A <title>\ntext\n\n[code]\nprint(1)"


HOSTILE_TABLES = {
    "empty.csv": b"",
    "names.csv": b"a,b\n",
    "ragged.csv": b"a,b\n1\n1,2,3\n\n",
    "wide.csv": b"," * 250_000 + b"\n" + b"1\n" * 1000,
    "open.csv": b'a\n"' + b"x" * 250_000,
    "zeros.csv": b"a\0,b\n\0,\0\n",
    "latin.csv": b"\xff\xfe,\xe9\n",
    "nasty.csv": f"{NASTY},b\n{NASTY},{'x' * 5000}\n".encode(),
    "cut.csv": b"a,b\n" + b"1,2\n" * 100_000,
    "nothing.parquet": b"",
    "text.parquet": b"PAR1 and then nothing",
    "footer.parquet": b"PAR1" + b"\xff" * 5000 + b"\x88\x13\0\0PAR1",
    "footer too long.parquet": b"PAR1" + b"\xff" * 100 + b"\xff\xff\xff\x7fPAR1",
}


@pytest.mark.parametrize("name", HOSTILE_TABLES)
def test_any_table_has_a_head(memory_case: MemoryCase, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    memory_case.put(f"folder/{name}", HOSTILE_TABLES[name])
    head = table_head(
        item_row("f", snapshot_of(cvcache.cdir(memory_case.child("folder"))), "foreign", name, {"rows": "many"})
    )
    assert head is not None
    assert len(head.columns) <= 200
    assert len(head.rows) <= 200
    assert all(len(row) == len(head.columns) for row in head.rows)
    assert all(len(cell) <= 200 and not set(cell) & {"\x1b", "\n", "\0"} for row in head.rows for cell in row)
    assert name.endswith(".csv") or head.note


def test_a_table_of_no_rows_and_one_of_strange_cells(memory_case: MemoryCase) -> None:
    arrow = pytest.importorskip("pyarrow")
    nested = arrow.table(
        {
            "list": [[1, 2], None],
            "struct": [{"a": NASTY}, {"a": "x" * 5000}],
            "time": arrow.array([-(1 << 62), 1 << 62], arrow.timestamp("ns", "UTC")),
            "bytes": [b"\0\xff", b""],
            "a.b": [1, 2],
        }
    )
    with cvcache.cdir_init(memory_case.child("node")) as node:
        node.write("none.parquet", arrow.table({"a": arrow.array([], "int64")}))
        node.write("nested.parquet", nested)
    none, some = (table_head(row_of(node, name)) for name in ("none.parquet", "nested.parquet"))
    assert none is not None
    assert some is not None
    assert (none.columns, none.rows, none.total, none.note) == (("a",), (), 0, "")
    assert some.columns == ("list", "struct", "time", "bytes", "a.b")
    assert some.rows[0][0] == "[1, 2]"
    assert some.rows[1][0] == ""
    assert "\x1b" not in some.rows[0][1]
    assert len(some.rows[1][1]) == 200
    assert some.note == ""


def test_columns_that_decode_to_too_much_are_left_out(memory_case: MemoryCase, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = pytest.importorskip("pyarrow")
    with cvcache.cdir_init(memory_case.child("node")) as node:
        node.write("t.parquet", arrow.table({"small": [1], "large": ["x" * 2_000_000]}))
        node.write("large.parquet", arrow.table({"large": ["x" * 2_000_000]}))
    monkeypatch.setattr("cvcache.browse.table_preview.MAX_DECODED_BYTES", 1 << 20)
    head = table_head(row_of(node, "t.parquet"))
    assert head is not None
    assert (head.columns, head.rows, head.note) == (("small",), (("1",),), "1 of 2 columns are left out")
    assert "a column takes more than 1.0 MiB once it is decoded" in note(row_of(node, "large.parquet"))


def test_a_header_that_is_cut_is_told_as_such(memory_case: MemoryCase) -> None:
    wide = ",".join(f"column {i}" for i in range(100_000))
    memory_case.put("folder/wide.csv", f"{wide}\n1\n".encode())
    said = note(item_row("f", snapshot_of(cvcache.cdir(memory_case.child("folder"))), "foreign", "wide.csv", {}))
    assert re.search(r"^at least \d+ of at least \d+ columns are left out", said)


def test_blank_lines_are_no_rows(memory_case: MemoryCase) -> None:
    memory_case.put("folder/blank.csv", b'\na\n\n1\n\n\n2\n""\n\n')
    head = table_head(item_row("f", snapshot_of(cvcache.cdir(memory_case.child("folder"))), "foreign", "blank.csv", {}))
    assert head is not None
    assert (head.columns, head.rows, head.total, head.note) == (("a",), (("1",), ("2",), ("",)), 3, "")


TURNING = ("\u061c", "\u200e", "\u200f", "\u2028", "\u2029", "\u202e", "\u2066", "\u2069")


@pytest.mark.parametrize("sign", TURNING)
def test_what_turns_text_around_or_breaks_it_unseen_is_shown_nowhere(sign: str) -> None:
    assert strip_controls(f"a{sign}b\tc\n") == "ab\tc\n"
    assert plain_line(f"a{sign}b") == plain_text(f"a{sign}b") == "ab"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in directories")
def test_a_pipe_in_a_directory_is_told_and_not_waited_for(local_case: LocalCase) -> None:
    local_case.put("folder/a.txt", b"1")
    node = cvcache.cdir(local_case.child("folder"))
    for name in ("fifo.log", "fifo.csv", "fifo.png"):
        os.mkfifo(local_case.path / "folder" / name)
        row = item_row("f", snapshot_of(node), "foreign", name, {})
        said = [text_head(row), log_tail(row), str(table_head(row) or picture(row) or "")]
        assert all("pipe, socket or device" in text for text in said if text)
        assert said[0]


def test_many_columns_are_cut(memory_case: MemoryCase) -> None:
    arrow = pytest.importorskip("pyarrow")
    with cvcache.cdir_init(memory_case.child("node")) as node:
        node.write("wide.parquet", arrow.table({f"c{i}": [i] for i in range(1000)}))
    head = table_head(row_of(node, "wide.parquet"))
    assert head is not None
    assert len(head.columns) == 200
    assert head.note == "800 of 1000 columns are left out"
    assert len(dict_of(row_of(node, "wide.parquet"))["columns"]) <= 300


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.just(10**400)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
)
NAMES = (
    *("kind", "shape", "dtype", "axes", "scale", "translation", "unit", "levels", "shapes", "chunks", "shards", "url"),
    *(
        "channels",
        "contrast",
        "range",
        "histogram",
        "rows",
        "columns",
        "dtypes",
        "coordinates",
        "arrays",
        "user",
        "size",
    ),
    *("bytes", "objects", "track", "complete", "sha256"),
)
ROWS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8)
BINS = st.fixed_dictionaries({}, optional={"start": JSON, "width": JSON, "counts": st.lists(LEAVES, max_size=5) | JSON})


@settings(max_examples=200, deadline=None)
@given(ROWS, st.text(max_size=20))
def test_facts_of_any_record(recorded: dict[str, Any], name: str) -> None:
    row = Row("p", name, "file", "committed", None, is_item=True, meta=recorded)  # type: ignore[arg-type]  # no node is asked
    for label, text in facts(row):
        assert label
        assert text
        assert len(text) <= 2000
        assert not set(label + text) & {"\x1b", "\n", "\r", "\u202e"}
        (label + text).encode()
    dict_of(item_row("p", snapshot_of(cvcache.cdir("memory://none")), "committed", name, recorded))


@settings(max_examples=200, deadline=None)
@given(st.lists(BINS | JSON, max_size=3) | JSON, JSON, JSON)
def test_histogram_of_any_record(bins: object, channels: object, contrast: object) -> None:
    recorded = {"histogram": bins, "channels": channels, "contrast": contrast}
    row = Row("p", "i", "image", "committed", None, is_item=True, meta=recorded)  # type: ignore[arg-type]  # no node is asked
    for found in histogram(row):
        assert found.counts
        assert all(type(n) is int and n >= 0 for n in found.counts)
        assert found.width > 0
        assert abs(found.start) < 1e41
        assert "\x1b" not in found.channel


def test_records_of_a_million_columns_stay_short() -> None:
    wide = {name: ["x" * 10] * 1_000_000 for name in ("columns", "dtypes", "channels", "axes", "scale", "shape")}
    row = Row("p", "t.csv", "table", "committed", None, is_item=True, meta=wide)  # type: ignore[arg-type]  # no node is asked
    assert sum(len(text) for _, text in facts(row)) < 5000
    assert (
        len(facts(Row("p", "t", "t", "", None, is_item=True, meta={"user": dict.fromkeys(map(str, range(9999)), 1)})))
        < 500
    )  # type: ignore[arg-type]  # the same


def test_a_log_that_is_long_is_cut_at_a_line(memory_case: MemoryCase) -> None:
    with cvcache.cdir_init(memory_case.child("node"), {"n": 1}) as node, node.log():
        for i in range(2000):
            print("line", i)  # noqa: T201 - what a step prints is in its log
    text = log_tail(row_of(node), 1000)
    head, *lines = text.splitlines()
    assert head == "[… what comes before is left out]"
    assert lines[0].startswith("line ")
    assert lines == log_tail(row_of(node)).splitlines()[-len(lines) :]
    assert os.linesep not in head
