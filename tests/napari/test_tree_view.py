"""The view: what is in sight, columns that fit, and a place that does not move under one's eyes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt

from cvcache import cdir
from cvcache.browse import Level, Row, unread_row
from cvcache.napari.tree import COLUMNS, NAME, SHAPE, STATE, TYPE, WHEN, Message, TreeModel, TreeView
from cvcache.node import snapshot_of

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def row(name: str) -> Row:
    return dataclasses.replace(unread_row(name, snapshot_of(cdir("memory://box/tree"))), name=name or "top")


def rows(*names: str) -> Level:
    return Level("", tuple(row(name) for name in names))


@pytest.fixture
def view(qtbot: QtBot) -> TreeView:
    made = TreeView(TreeModel())
    qtbot.addWidget(made)
    made.resize(400, 300)
    made.show()
    made._model.reset_to(row(""))
    made.expand_path("")
    made._model.set_level(rows(*(f"n{n:04d}" for n in range(500))))
    qtbot.waitUntil(lambda: bool(made.visible_rows()))
    return made


def test_only_the_rows_in_sight_are_seen(view: TreeView, qtbot: QtBot) -> None:
    first = view.visible_paths()
    assert first[:2] == ["", "n0000"]
    assert 5 < len(first) < 30
    with qtbot.waitSignal(view.visible_changed):
        view.scrollToBottom()
    assert view.visible_paths()[-1] == "n0499"
    assert "n0000" not in view.visible_paths()
    view.hide()
    assert view.visible_paths() == []


def test_many_moves_settle_once(view: TreeView, qtbot: QtBot) -> None:
    qtbot.wait(100)
    settled: list[int] = []
    view.visible_changed.connect(lambda: settled.append(1))
    for position in range(0, 400, 20):
        view.verticalScrollBar().setValue(position)
    qtbot.wait(100)
    assert settled == [1]


def test_rows_that_come_above_do_not_move_what_is_in_sight(view: TreeView, qtbot: QtBot) -> None:
    view.select("n0400")
    qtbot.wait(50)
    index = view._model.index_of("n0400")
    before = view.visualRect(index).top()
    with view.keep_position():
        view._model.set_level(rows(*(f"a{n}" for n in range(50)), *(f"n{n:04d}" for n in range(500))))
    qtbot.wait(50)
    assert view.visualRect(view._model.index_of("n0400")).top() == before
    assert [one.path for one in view.selected_rows()] == ["n0400"]


def test_as_many_columns_as_fit_and_those_that_were_chosen(view: TreeView, qtbot: QtBot) -> None:
    def shown() -> set[int]:
        return {column for column in range(len(COLUMNS)) if not view.isColumnHidden(column)}

    view.resize(200, 300)
    qtbot.waitUntil(lambda: shown() == {NAME})
    view.resize(360, 300)
    qtbot.waitUntil(lambda: shown() == {NAME, STATE, SHAPE})
    view.resize(900, 300)
    qtbot.waitUntil(lambda: len(shown()) == len(COLUMNS))
    action = next(action for action in view.column_menu().actions() if action.text() == COLUMNS[TYPE])
    action.trigger()
    view.resize(901, 300)
    assert shown() == set(range(len(COLUMNS))) - {TYPE}


def test_a_shape_has_the_room_it_needs_and_the_name_gives_it(view: TreeView, qtbot: QtBot) -> None:
    image = dataclasses.replace(row("img"), kind="image", is_item=True, shape=(4, 48, 512, 640), state="committed")
    view._model.set_level(Level("", (image,)))
    view.resize(360, 300)
    qtbot.waitUntil(lambda: view.columnWidth(SHAPE) >= view.sizeHintForColumn(SHAPE) > 0)
    index = view._model.index_of("img").siblingAtColumn(SHAPE)
    assert index.data() == "4×48×512×640"  # noqa: RUF001 - the sign of a product
    assert view.columnWidth(SHAPE) >= view.fontMetrics().horizontalAdvance(index.data())
    view.resize(480, 300)
    qtbot.waitUntil(lambda: view.isColumnHidden(WHEN) and not view.isColumnHidden(TYPE))


def test_what_is_said_cannot_be_selected_or_opened(view: TreeView, qtbot: QtBot) -> None:
    view._model.set_level(rows())
    said = view._model.index(0, 0, view._model.index_of(""))
    assert said.data() == "empty"
    opened: list[object] = []
    view.open_requested.connect(opened.append)
    view.setCurrentIndex(said)
    qtbot.keyClick(view, Qt.Key.Key_Return)
    view.selectAll()
    assert [one.path for one in view.selected_rows()] in ([], [""])
    assert opened == []
    assert isinstance(view._model._line(said).message, Message)  # type: ignore[union-attr]  # it is there


def test_rows_are_selected_from_the_top_down(view: TreeView) -> None:
    view.select("n0003")
    view.select("n0001", alone=False)
    assert [one.path for one in view.selected_rows()] == ["n0001", "n0003"]
