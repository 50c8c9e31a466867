"""Rows become lines as Qt wants them, change in place, and are filtered quickly."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qtpy.QtCore import QModelIndex, QPersistentModelIndex, Qt, qInstallMessageHandler
from qtpy.QtGui import QTextDocument
from qtpy.QtTest import QAbstractItemModelTester

from cvcache import cdir
from cvcache.browse import Level, Row, matches, tooltip_html, unread_row
from cvcache.napari import KINDS, SIZES, action_icon, kind_icon, state_icon
from cvcache.napari.dock import BAR_ACTIONS
from cvcache.napari.tree import (
    COLUMNS,
    MIME,
    NAME,
    STATE,
    TreeLine,
    TreeModel,
    age_text,
    cell_text,
    changed_spans,
    row_tooltip,
)
from cvcache.node import snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytestqt.qtbot import QtBot

HOSTILE = [
    "<b>bold</b><img src='http://127.0.0.1:9/x.png'>",
    "two\nlines\r\nand\tmore",
    "\x1b[31mred\x1b[0m\x07",
    "\u202egnp.exe\u2066",
    "n" * 10_000,
    "&lt;i&gt; &amp;",
]


@contextlib.contextmanager
def no_fault_of(model: TreeModel) -> Iterator[TreeModel]:
    """Have Qt check after every change that all is consistent, and raise for what it finds."""
    faults: list[str] = []
    before = qInstallMessageHandler(lambda kind, context, text: faults.append(text))  # noqa: ARG005 - Qt's arguments
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Warning)
    try:
        yield model
    finally:
        qInstallMessageHandler(before)
        del tester
    assert faults == []


@pytest.fixture
def model(qtbot: QtBot) -> Iterator[TreeModel]:  # noqa: ARG001 - brings the application
    with no_fault_of(TreeModel()) as made:
        yield made


def row(path: str, **facts: object) -> Row:
    made = unread_row(path, snapshot_of(cdir("memory://box/tree") / "x"))
    return dataclasses.replace(made, **{"name": path.rpartition("/")[2] or "top", **facts})  # type: ignore[arg-type]  # as given


def level(path: str, *names: str, more: bool = False) -> Level:
    return Level(path, tuple(row(f"{path}/{name}" if path else name) for name in names), more)


def shown(model: TreeModel, path: str = "") -> list[str]:
    parent = model.index_of(path)
    return [model.index(n, 0, parent).data() for n in range(model.rowCount(parent))]


def test_a_branch_says_that_it_is_under_way_and_asks_once(model: TreeModel) -> None:
    asked: list[str] = []
    model.level_requested.connect(asked.append)
    model.reset_to(row(""))
    asked.clear()
    model.forget_level("")
    top = model.index_of("")
    assert model.hasChildren(top)
    assert model.canFetchMore(top)
    model.fetchMore(top)
    model.fetchMore(top)
    assert asked == [""]
    model.show_message_below("")
    assert shown(model) == ["loading…"]
    model.set_level(level("", "a", "b"))
    assert shown(model) == ["a", "b"]
    assert not model.canFetchMore(top)
    assert model.row_of(model.index_of("b")) == row("b")


def test_what_stands_in_place_of_rows(model: TreeModel) -> None:
    model.reset_to(row(""))
    model.set_error("", "no <b>bucket</b> like it")
    assert shown(model) == ["no <b>bucket</b> like it; press F5 to try again"]
    model.set_level(level(""))
    assert shown(model) == ["empty"]
    model.set_level(level("", "a", "b", more=True))
    assert shown(model) == ["a", "b", "only the first 2 are shown"]
    said = model.index(2, 0, model.index_of(""))
    assert model.row_of(said) is None
    assert not said.flags() & Qt.ItemFlag.ItemIsSelectable
    model.set_error("", "later")
    assert shown(model) == ["a", "b", "only the first 2 are shown"]


def test_a_level_that_comes_again_keeps_what_is_there(model: TreeModel) -> None:
    model.reset_to(row(""))
    model.set_level(level("", "b", "d"))
    model.set_level(level("b", "inner"))
    held = QPersistentModelIndex(model.index_of("b/inner"))
    model.set_level(level("", "a", "b", "c", "d", "e"))
    assert shown(model) == ["a", "b", "c", "d", "e"]
    assert QModelIndex(held).data() == "inner"
    assert model.index_of("b").row() == 1
    model.set_level(level("", "c", "e"))
    assert shown(model) == ["c", "e"]
    assert not held.isValid()
    assert model.row_at("b/inner") is None


@given(old=st.lists(st.integers(0, 12), unique=True), new=st.lists(st.integers(0, 12), unique=True))
def test_any_level_follows_any_other(old: list[int], new: list[int]) -> None:
    lines = [TreeLine(n, None, None) for n in range(13)]
    now = [lines[n] for n in old]
    wanted = [lines[n] for n in new]
    gone, come = changed_spans(now, wanted)
    for start, stop in reversed(gone):
        del now[start:stop]
    for start, stop in come:
        now[start:start] = wanted[start:stop]
    assert now == wanted


MOVES = st.tuples(st.lists(st.integers(0, 6), unique=True), st.sampled_from(["", "1", "n", "state:failed"]))


@settings(deadline=None, max_examples=40)
@given(moves=st.lists(MOVES))
def test_qt_finds_no_fault_whatever_comes(moves: list[tuple[list[int], str]]) -> None:
    with no_fault_of(TreeModel()) as model:
        model.reset_to(row(""))
        follow(model, moves)


def follow(model: TreeModel, moves: list[tuple[list[int], str]]) -> None:
    known: dict[str, list[str]] = {}
    for numbers, query in moves:
        model.set_query(query)
        names = [f"n{n}" for n in numbers]
        model.set_level(level("", *names))
        known = {name: known.get(name, []) for name in names}
        if names:
            known[names[0]] = ["1", "x"]
            model.set_level(level(names[0], "1", "x"))
            model.update_rows([row(names[0], state="failed")])
        model.update_rows([row(name) for name in names[1:]])
        for name, below in known.items():
            hit = matches(row(name, state="failed" if name == names[0] else ""), query)
            kept = [one for one in below if hit or matches(row(one), query)]
            assert (name in shown(model)) == bool(hit or kept)
            assert not kept or shown(model, name) == kept
        assert set(shown(model)) <= {*names, "empty"}


def test_news_change_a_row_in_place(model: TreeModel, qtbot: QtBot) -> None:
    model.reset_to(row(""))
    model.set_level(level("", "a", "b", "c"))
    with qtbot.waitSignal(model.dataChanged) as told:
        changed = model.update_rows([row("b", state="running"), row("c"), row("nobody", state="failed")])
    assert [one.path for one in changed] == ["b"]
    assert (told.args[0].row(), told.args[1].row()) == (1, 1)
    assert model.index(1, STATE, model.index_of("")).data() == "running"


def test_the_filter_shows_what_matches_what_it_is_below_and_what_is_below_it(model: TreeModel) -> None:
    model.reset_to(row("", name="top"))
    model.set_level(level("", "mask", "raw"))
    model.set_level(level("mask", "x.csv", "y.png"))
    model.set_level(level("raw", "z.csv", "deep"))
    model.set_query("csv")
    assert (shown(model), shown(model, "mask"), shown(model, "raw")) == (["mask", "raw"], ["x.csv"], ["z.csv"])
    model.set_query("mask")
    assert (shown(model), shown(model, "mask")) == (["mask"], ["x.csv", "y.png"])
    model.set_level(level("raw", "z.csv", "masked"))
    assert (shown(model), shown(model, "raw")) == (["mask", "raw"], ["masked"])
    model.set_query("state:failed")
    assert shown(model) == []
    model.update_rows([row("raw/z.csv", state="failed")])
    assert (shown(model), shown(model, "raw")) == (["raw"], ["z.csv"])
    model.set_query("top")
    assert shown(model) == []
    model.set_query("")
    assert (shown(model), shown(model, "raw")) == (["mask", "raw"], ["z.csv", "masked"])


@pytest.mark.parametrize("name", HOSTILE)
def test_foreign_names_are_plain_and_short(model: TreeModel, name: str) -> None:
    model.reset_to(row(""))
    model.set_level(Level("", (row("a", name=name, note=name, dtype=name, kind=name, is_item=True, state="failed"),)))
    for column in range(len(COLUMNS)):
        text = model.index(0, column, model.index_of("")).data()
        assert len(text) <= 401
        assert not set(text) & set("\x1b\n\r\t\x07\u202e\u2066")
    tooltip = model.index(0, 0, model.index_of("")).data(Qt.ItemDataRole.ToolTipRole)
    document = QTextDocument()
    document.setHtml(tooltip)
    plain = document.toPlainText()
    assert plain.split("\n")[0] == cell_text(row("a", name=name), NAME) or len(name) > 400
    assert "<img" not in tooltip
    assert len(tooltip) < 20_000


def test_a_tooltip_says_when_exactly() -> None:
    time = datetime.datetime(2026, 3, 1, 12, 0, 5, tzinfo=datetime.UTC)
    told = row_tooltip(row("a", state="committed", time=time, duration=1.25, note="first run"))
    assert f"{time.astimezone():%Y-%m-%d %H:%M:%S}" in told
    assert "computed in 1.25 s" in told
    assert "first run" in told
    assert tooltip_html("") == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "now"), (0.5, "now"), (59, "59 s ago"), (60, "1 min ago"), (7199, "119 min ago"), (7200, "2 h ago"),
     (172_800, "2 d ago"), (86_400 * 4000, "4,000 d ago")],
)  # fmt: skip
def test_the_age_of_a_result(seconds: float, text: str) -> None:
    now = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    assert age_text(now - datetime.timedelta(seconds=seconds), now) == text


def test_what_is_dragged_names_rows_and_no_files(model: TreeModel) -> None:
    model.reset_to(row(""))
    model.set_level(level("", "a", "b"))
    parent = model.index_of("")
    data = model.mimeData([model.index(n, column, parent) for n in (0, 1) for column in (0, 1)])
    assert bytes(data.data(MIME)) == b"a\nb"
    assert data.text().count("memory://box/tree") == 2
    assert not data.hasUrls()


def test_states_differ_in_shape_not_only_in_colour(model: TreeModel) -> None:  # noqa: ARG001 - brings the application
    states = ("committed", "running", "stale", "failed", "absent", "foreign", "folder", "unreadable", "")
    outlines = set()
    for state in states:
        image = state_icon(state).pixmap(SIZES[-1], SIZES[-1]).toImage()
        side = range(0, image.width(), 2)
        outlines.add(tuple(image.pixelColor(x, y).alpha() > 100 for x in side for y in side))
    assert len(outlines) == len(states)


@pytest.mark.usefixtures("qapp")
def test_every_icon_is_drawn_and_tells_a_committed_item_from_others() -> None:
    kinds = [kind_icon(kind) for kind in (*KINDS, "of another version")]
    actions = [action_icon(name) for name in (*BAR_ACTIONS, "more", "stop", "folder")]
    for icon in [*kinds, *actions]:
        image = icon.pixmap(SIZES[0], SIZES[0]).toImage()
        assert any(image.pixelColor(x, y).alpha() for x in range(image.width()) for y in range(image.height()))
    images = [
        kind_icon("image", state).pixmap(48, 48).toImage() for state in ("committed", "running", "stale", "failed")
    ]
    assert all(one != other for one, other in itertools.combinations(images, 2))
