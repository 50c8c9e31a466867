"""The dock as a person uses it: open, look, filter, search, add, remove; and when something goes wrong."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtTest import QAbstractItemModelTester
from qtpy.QtWidgets import QApplication, QMainWindow

import cvcache
from cvcache.browse import Tree
from cvcache.napari.dock import CacheTree, question_box
from cvcache.napari.tree import error_sentence, run_search
from cvcache.testing import CountingStore, WrapperStore, instrument, lay_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from conftest import Calls
    from pytestqt.qtbot import QtBot
    from servers.store_cases import BucketCase, LocalCase, StoreCase

    from cvcache.browse import Row
    from cvcache.store import Store


@cvcache.step
def raw(out: cvcache.CacheDir, value: int) -> None:
    out.write("image.ome.zarr", np.full((16, 16), value, "u2"), axes="yx")
    out.write("stats.json", {"value": value})


@cvcache.step
def mask(out: cvcache.CacheDir, image: cvcache.Item) -> None:
    with cvcache.cdir_init(out / "sub") as sub:
        if not sub.committed:
            sub.write("note.txt", "inner")
    out.write("mask.ome.zarr", image.read() > 1, axes="yx", kind="labels")


def pipeline(root: cvcache.CacheDir, value: int = 1) -> None:
    mask(root / "steps" / "mask", raw(root / "steps" / "raw", value)["image.ome.zarr"])


class Desk:
    """A dock, and hands to use it."""

    def __init__(self, dock: CacheTree, qtbot: QtBot) -> None:
        self.dock, self.qtbot = dock, qtbot

    def until(self, wanted: Callable[[], Any]) -> None:
        self.qtbot.waitUntil(lambda: bool(wanted()), timeout=20_000)

    def settle(self) -> None:
        """Wait until nothing is under way or about to begin."""
        quiet = 0
        while quiet < 5:
            self.qtbot.wait(20)
            quiet = quiet + 1 if self.dock.jobs.idle else 0

    def open(self, url: str, **options: Any) -> None:
        with self.qtbot.waitSignal(self.dock.opened, timeout=20_000):
            self.dock.open(url, options)
        self.settle()

    def expand(self, *paths: str) -> None:
        for path in paths:
            self.dock.view.expand_path(path)
            self.until(lambda path=path: self.dock.model.is_loaded(path))
        self.settle()

    def select(self, *paths: str) -> None:
        for number, path in enumerate(paths):
            assert self.dock.view.select(path, alone=number == 0)
        self.settle()

    def state(self, path: str) -> str:
        row = self.dock.model.row_at(path)
        return row.state if row is not None else "not there"

    def shown(self, path: str = "") -> list[str]:
        model = self.dock.model
        parent = model.index_of(path)
        return [model.index(n, 0, parent).data() for n in range(model.rowCount(parent))]

    def key(self, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        self.qtbot.keyClick(self.dock.view, key, modifier)


@pytest.fixture
def make(qtbot: QtBot) -> Iterator[Callable[[], Desk]]:
    made: list[CacheTree] = []

    def one(viewer: Any = None) -> Desk:
        dock = CacheTree(viewer)
        dock.settings = type(dock.settings)(autorefresh=0)
        made.append(dock)
        qtbot.addWidget(dock)
        dock.resize(420, 800)
        dock.show()
        return Desk(dock, qtbot)

    yield one
    for dock in made:
        dock.close()


@pytest.fixture
def desk(make: Callable[[], Desk]) -> Desk:
    return make()


def root_of(case: StoreCase) -> cvcache.CacheDir:
    return cvcache.cdir(case.url, **case.options)


@pytest.mark.parametrize("kind", ["local", "memory", pytest.param("s3", marks=pytest.mark.server)])
def test_a_tree_opens_level_by_level_and_no_store_call_is_made_by_the_window(
    kind: str, request: pytest.FixtureRequest, desk: Desk, store_calls: Calls
) -> None:
    case: StoreCase = request.getfixturevalue(f"{kind}_case")
    pipeline(root_of(case))
    store_calls.gui.clear()
    tester = QAbstractItemModelTester(desk.dock.model)
    desk.open(case.url, **case.options)
    assert desk.dock.tree is not None
    assert desk.dock.address.text() == desk.dock.tree.url == case.url
    desk.expand("", "steps", "steps/mask", "steps/raw")
    assert desk.shown("steps") == ["mask", "raw"]
    assert desk.shown("steps/mask") == ["mask.ome.zarr", "run.log", "sub"]
    assert [desk.state(path) for path in ("steps", "steps/mask", "steps/mask/sub")] == ["folder", *2 * ["committed"]]
    desk.select("steps/mask")
    assert [row.path for row in desk.dock.selected_rows()] == ["steps/mask"]
    desk.dock.search.edit.setText("labels")
    desk.until(lambda: desk.shown("steps") == ["mask"])
    desk.dock.search.edit.clear()
    desk.until(lambda: len(desk.shown("steps")) == 2)
    desk.dock.loader.poll()
    desk.dock.refresh()
    desk.settle()
    desk.dock.remover.question = lambda *_: True
    desk.select("steps/mask/sub")
    desk.dock.commands.actions["remove"].trigger()
    desk.until(lambda: "removed 1 node" in desk.dock.status.text())
    desk.until(lambda: desk.state("steps/mask/sub") != "committed")
    desk.settle()
    assert store_calls.gui == []
    assert len(store_calls.workers) > 20
    del tester


def test_opening_and_expanding_take_few_calls(desk: Desk, memory_case: StoreCase) -> None:
    lay_tree(memory_case.url, 301, fan_out=300)
    counts: list[CountingStore] = []

    def count(store: Store) -> Store:
        counts.append(CountingStore(store))
        return counts[-1]

    with instrument(count):
        desk.open(memory_case.url)
        desk.expand("")
    total = sum(one.total for one in counts)
    seen = len(desk.dock.view.visible_rows())
    assert 10 < seen < 60
    assert total <= 2 + 2 + 2 * seen + 12, "what the panel reads of the top is in it"
    assert desk.shown()[-1].startswith("n")
    assert desk.state(desk.dock.view.visible_rows()[-1].path) == "committed"
    last = desk.shown()[-1]
    assert desk.state(last) == "", "out of sight, so nobody looked"
    desk.dock.view.scrollToBottom()
    desk.until(lambda: desk.state(last) == "committed")


def test_a_cut_level_shows_its_first_page_then_all_that_is_shown_and_says_so(
    desk: Desk, memory_case: StoreCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cvcache.browse.tree", "cvcache.napari.tree.loader"):
        monkeypatch.setattr(f"{module}.MAX_CHILDREN", 60)
    monkeypatch.setattr("cvcache.napari.tree.loader.FIRST_PAGE_SIZE", 40)
    lay_tree(memory_case.url, 101, fan_out=100)
    pages: list[int] = []
    desk.dock.loader.loaded.connect(lambda _: pages.append(len(desk.shown())))
    desk.open(memory_case.url)
    desk.expand("")
    names = desk.shown()
    children = [name for name in names if desk.dock.model.row_at(name) and not desk.dock.model.row_at(name).is_item]
    assert len(children) == 60
    assert names[-1] == f"only the first {len(names) - 1} are shown"
    assert pages[0] < pages[1] == len(names)


def test_the_second_page_keeps_selection_expansion_and_scroll_position(
    desk: Desk, memory_case: StoreCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvcache.napari.tree.loader.FIRST_PAGE_SIZE", 50)
    lay_tree(memory_case.url, 301, fan_out=300)
    gate = threading.Event()
    limits: list[int | None] = []

    class SecondPageHeld(WrapperStore):
        def list(self, path: str, limit: int | None = None) -> Any:
            if self.url(path) == memory_case.url:
                limits.append(limit)
                if limit is not None and limit > 50:
                    gate.wait(30)
            return super().list(path, limit)

    with instrument(SecondPageHeld):
        with desk.qtbot.waitSignal(desk.dock.opened, timeout=20_000):
            desk.dock.open(memory_case.url)
        desk.until(lambda: len(desk.shown()) > 50)
        view = desk.dock.view
        row = desk.dock.model.row_of(desk.dock.model.index(30, 0, desk.dock.model.index_of("")))
        assert row is not None
        assert view.select(row.path)
        view.expand_path(row.path)
        desk.until(lambda: desk.dock.model.is_loaded(row.path))
        desk.qtbot.wait(50)
        position = view.verticalScrollBar().value()
        assert position > 0
        gate.set()
        desk.until(lambda: len(desk.shown()) > 200)
        desk.settle()
    assert [one.path for one in desk.dock.selected_rows()] == [row.path]
    assert view.isExpanded(desk.dock.model.index_of(row.path))
    assert view.verticalScrollBar().value() == position
    assert [limit for limit in limits if limit is not None and limit > 1] == [50, 10_000]


class Gate(WrapperStore):
    """A store that stands still while its gate is closed."""

    open = threading.Event()

    def list(self, path: str, limit: int | None = None) -> Any:
        self.open.wait(30)
        return super().list(path, limit)


def test_a_branch_that_is_closed_again_is_not_waited_for(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    Gate.open.set()
    with instrument(Gate):
        desk.open(memory_case.url)
        desk.expand("")
        Gate.open.clear()
        desk.dock.view.expand_path("steps")
        assert desk.shown("steps") == ["loading…"]
        desk.dock.view.collapse(desk.dock.model.index_of("steps"))
        assert desk.shown("steps") == []
        assert desk.dock.jobs.idle
        Gate.open.set()
        desk.settle()
        assert desk.shown("steps") == []
        desk.expand("steps")
        assert desk.shown("steps") == ["mask", "raw"]


def test_it_closes_at_once_while_jobs_hang(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    Gate.open.set()
    with instrument(Gate):
        desk.open(memory_case.url)
        Gate.open.clear()
        desk.dock.refresh()
        desk.qtbot.wait(50)
        began = time.monotonic()
        desk.dock.close()
        assert time.monotonic() - began < 0.3
        Gate.open.set()
        desk.qtbot.wait(100)


def test_a_process_ends_cleanly_with_a_dock_open(local_case: LocalCase) -> None:
    pipeline(root_of(local_case))
    code = f"""
from qtpy.QtWidgets import QApplication
from qtpy.QtTest import QTest
from cvcache.napari.dock.dock import CacheTree
app = QApplication([])
dock = CacheTree()
dock.show()
dock.open({local_case.url!r})
QTest.qWait(50)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    said = [
        line for line in done.stderr.splitlines() if "propagateSizeHints" not in line
    ]  # the platform's, of no window
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://no-such-bucket-of-ours/run7", "no-such-bucket-of-ours"),
        ("s3://AKIA:verysecretvalue@bucket/run7", "s3://"),
        ("https://example.org/tree", "web server"),
        ("", ""),
        ("s3:/bucket/x", "one slash too few"),
        ("nosuch://bucket/x", "nosuch://"),
    ],
)
@pytest.mark.server
def test_what_cannot_be_opened_is_told_in_one_sentence_and_the_tree_before_stays(
    url: str, said: str, desk: Desk, memory_case: StoreCase, s3_case: BucketCase
) -> None:
    pipeline(root_of(memory_case))
    desk.open(memory_case.url)
    if not url:
        desk.dock.address.box.setEditText("")
        desk.dock.address.enter()
        desk.settle()
        return
    with desk.qtbot.waitSignal(desk.dock.failed, timeout=60_000) as failed:
        desk.dock.open(url, s3_case.options if url.startswith("s3://no") else None)
    assert said in failed.args[0]
    assert "\n" not in failed.args[0]
    assert "verysecretvalue" not in failed.args[0]
    assert desk.dock.status.text()
    assert desk.dock.status.shows_error
    assert desk.dock.tree is not None
    assert desk.dock.tree.url == memory_case.url
    desk.expand("", "steps")
    assert desk.shown("steps") == ["mask", "raw"]


def test_a_place_with_nothing_says_so_and_fills_once_something_comes(desk: Desk, memory_case: StoreCase) -> None:
    desk.open(memory_case.url)
    assert desk.dock.status.text().startswith(f"there is nothing at {memory_case.url}")
    assert desk.dock.status.text().endswith("; waiting for it")
    assert desk.state("") == "absent"
    assert desk.dock.address.history.urls() == []
    assert desk.dock.address.text() == memory_case.url
    pipeline(root_of(memory_case))
    desk.dock.loader.poll()
    desk.until(lambda: desk.shown() == ["steps"])
    assert desk.dock.status.text() == ""
    assert desk.dock.address.history.urls() == [memory_case.url]


def test_a_typo_is_told_with_what_is_nearest_and_quotes_are_no_part_of_an_address(
    desk: Desk, memory_case: StoreCase
) -> None:
    pipeline(root_of(memory_case))
    desk.open(f" '{memory_case.url}/steps/msak/sub' ")
    url = f"{memory_case.url}/steps"
    assert desk.dock.status.text() == (
        f"there is nothing at {url}/msak/sub; the nearest that exists is {url}; waiting for it"
    )
    assert desk.dock.address.history.urls() == []
    with desk.qtbot.waitSignal(desk.dock.failed, timeout=20_000) as failed:
        desk.dock.open(f"{url}/raw/imgae.ome.zarr")
    assert failed.args[0] == f"there is nothing at {url}/raw/imgae.ome.zarr; the nearest that exists is {url}/raw"
    with desk.qtbot.waitSignal(desk.dock.failed, timeout=20_000) as failed:
        desk.dock.open("htp://x")
    assert failed.args[0].startswith("htp:// is an unknown kind of URL; known are s3://")


@pytest.mark.parametrize("kind", ["local", "memory", pytest.param("s3", marks=pytest.mark.server)])
@pytest.mark.parametrize("name", ["image.ome.zarr", "stats.json"])
def test_the_url_of_an_item_opens_its_directory_and_selects_it(
    kind: str, name: str, request: pytest.FixtureRequest, desk: Desk
) -> None:
    case: StoreCase = request.getfixturevalue(f"{kind}_case")
    pipeline(root_of(case))
    desk.open(case.url, **case.options)
    desk.expand("", "steps", "steps/raw")
    desk.select(f"steps/raw/{name}")
    desk.key(Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    desk.open(QApplication.clipboard().text(), **case.options)
    desk.until(lambda: [row.path for row in desk.dock.selected_rows()] == [name])
    assert desk.dock.tree is not None
    assert desk.dock.tree.url == f"{case.url}/steps/raw"


def test_what_can_be_no_layer_shows_its_page(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    desk.open(memory_case.url)
    desk.expand("", "steps", "steps/raw")
    for name, title in (("run.log", "Log"), ("stats.json", "Preview")):
        desk.select(f"steps/raw/{name}")
        desk.key(Qt.Key.Key_Return)
        desk.until(lambda title=title: desk.dock.panel.page.title == title)
        assert not desk.dock.status.shows_error


def test_a_table_without_coordinates_shows_its_rows(make: Callable[..., Desk], memory_case: StoreCase) -> None:
    from napari.components import ViewerModel

    with cvcache.cdir_init(root_of(memory_case) / "node") as node:
        node.write("sizes.csv", pd.DataFrame({"cell": [1], "size": [2.5]}))
    desk = make(ViewerModel())
    desk.open(memory_case.url)
    desk.expand("", "node")
    desk.select("node/sizes.csv")
    desk.key(Qt.Key.Key_Return)
    desk.until(lambda: desk.dock.panel.page.title == "Table")
    assert "its page Table is shown" in desk.dock.status.text()
    assert not desk.dock.status.shows_error


def test_the_check_box_follows_naparis_setting(make: Callable[..., Desk]) -> None:
    from napari.components import ViewerModel
    from napari.settings import get_settings

    desk = make(ViewerModel())
    for on in (True, False):
        get_settings().experimental.async_ = on
        assert desk.dock.background.isChecked() is on
        desk.dock.background.click()
        assert get_settings().experimental.async_ is not on
    get_settings().reset()


def test_a_filter_without_a_match_says_so_and_the_selection_comes_back(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    desk.open(memory_case.url)
    desk.expand("", "steps")
    desk.select("steps/raw")
    desk.dock.search.edit.setText("raw")
    desk.until(lambda: desk.shown("steps") == ["raw"])
    assert [row.path for row in desk.dock.selected_rows()] == ["steps/raw"]
    assert desk.dock.view.placeholder_text() == ""
    desk.dock.search.edit.setText("nothinglikethis")
    desk.until(lambda: desk.dock.model.rowCount() == 0)
    assert "Enter searches the whole tree" in desk.dock.view.placeholder_text()
    desk.qtbot.keyClick(desk.dock.search.edit, Qt.Key.Key_Escape)
    desk.until(lambda: len(desk.shown("steps")) == 2)
    assert desk.dock.view.placeholder_text() == ""
    assert [row.path for row in desk.dock.selected_rows()] == ["steps/raw"]


def test_a_search_that_finds_nothing_yet_tells_how_much_it_has_read(
    memory_case: StoreCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(root_of(memory_case))
    monkeypatch.setattr("cvcache.napari.tree.search._REPORT_SECONDS", 0)
    tree = Tree(memory_case.url)
    tree.open()
    told: list[int] = []
    assert run_search(tree, "nothinglikethis", report=lambda part: told.append(part.read)) == 0
    assert told == [1, 2, 3, 4, 5]
    tree.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            PermissionError("s3://b/x/_cvcache/log: the store refused (NoCredentialsError: none)"),
            "no credentials for s3://b:",
        ),
        (
            PermissionError("s3://b/x/_cvcache/log: the store refused (PermissionError: no)"),
            "no right to read s3://b/x:",
        ),
        (FileNotFoundError("s3://b/x: there is no bucket 'b'; create it"), "there is no bucket 'b'"),
        (PermissionError(13, "Permission denied", "/a/x/_cvcache/log"), "no right to read /a/x: Permission denied"),
        (ConnectionError("no server answers at http://127.0.0.1:9; start it"), "no server answers at http://127"),
    ],
)
def test_an_error_begins_with_its_reason(error: OSError, said: str) -> None:
    assert error_sentence(error).startswith(said)


def test_polling_shows_what_others_commit_and_keeps_selection_and_expansion(desk: Desk, memory_case: StoreCase) -> None:
    root = root_of(memory_case)
    with cvcache.cdir_init(root / "a") as first:
        first.write("x.json", 1)
    desk.open(memory_case.url)
    desk.expand("", "a")
    desk.select("a/x.json")
    news: list[Row] = []
    desk.dock.rows_changed.connect(news.extend)
    with cvcache.cdir_init(root / "b") as second:
        desk.dock.loader.poll()
        desk.until(lambda: desk.state("b") == "running")
        second.write("y.json", 2)
    desk.dock.loader.poll()
    desk.until(lambda: desk.state("b") == "committed")
    assert desk.shown() == ["a", "b"]
    assert [row.path for row in desk.dock.selected_rows()] == ["a/x.json"]
    assert "b" in {row.path for row in news}


def test_the_clock_polls_only_while_the_dock_can_be_seen(desk: Desk, memory_case: StoreCase) -> None:
    with cvcache.cdir_init(root_of(memory_case) / "a") as first:
        first.write("x.json", 1)
    desk.open(memory_case.url)
    polls: list[int] = []
    found = desk.dock.tree.poll  # type: ignore[union-attr]  # just opened

    def counted(*given: Any) -> Any:
        polls.append(1)
        return found(*given)

    desk.dock.tree.poll = counted  # type: ignore[method-assign,union-attr]  # the real one runs
    desk.dock.settings = type(desk.dock.settings)(autorefresh=0.02)
    desk.dock.hide()
    desk.qtbot.wait(100)
    assert polls == []
    desk.dock.show()
    desk.until(lambda: len(polls) > 3)
    desk.dock.hide()
    desk.settle()
    polls.clear()
    desk.qtbot.wait(100)
    assert polls == []


def test_selecting_a_committed_node_shows_that_it_is_stale(desk: Desk, memory_case: StoreCase) -> None:
    root = root_of(memory_case)
    pipeline(root)
    raw(root / "steps" / "raw", 2)
    desk.open(f"{memory_case.url}/steps/mask")
    desk.until(lambda: desk.state("") == "stale")


def test_a_level_that_fails_says_why_and_f5_tries_again(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))

    class Broken(WrapperStore):
        broken = False

        def list(self, path: str, limit: int | None = None) -> Any:
            if self.broken:
                msg = "<b>no</b>\nroute"
                raise OSError(msg)
            return super().list(path, limit)

    with instrument(Broken):
        desk.open(memory_case.url)
        desk.expand("")
        Broken.broken = True
        desk.dock.view.expand_path("steps")
        desk.until(lambda: "press F5" in desk.shown("steps")[0])
        assert "<b>no</b> route" in desk.shown("steps")[0]
        Broken.broken = False
        desk.select("steps")
        desk.qtbot.keyClick(desk.dock.view, Qt.Key.Key_F5)
        desk.until(lambda: desk.shown("steps") == ["mask", "raw"])


def test_keys(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    desk.open(memory_case.url)
    desk.expand("", "steps", "steps/raw")
    added: list[Sequence[Row]] = []
    toggled: list[Sequence[Row]] = []
    desk.dock.view.open_requested.connect(added.append)
    desk.dock.view.toggle_requested.connect(toggled.append)
    desk.select("steps/raw/image.ome.zarr")
    desk.key(Qt.Key.Key_Return)
    assert [row.name for row in added[0]] == ["image.ome.zarr"]
    desk.key(Qt.Key.Key_Space)
    assert [row.name for row in toggled[0]] == ["image.ome.zarr"]
    desk.key(Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QApplication.clipboard().text() == f"{memory_case.url}/steps/raw/image.ome.zarr"
    desk.key(Qt.Key.Key_Up)
    assert [row.name for row in desk.dock.selected_rows()] == ["raw"]
    desk.key(Qt.Key.Key_Return)
    assert not desk.dock.view.isExpanded(desk.dock.model.index_of("steps/raw"))
    desk.key(Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    assert desk.dock.search.edit.hasFocus() or not QApplication.focusWidget()
    desk.qtbot.keyClicks(desk.dock.search.edit, "mask")
    desk.until(lambda: desk.dock.model.query == "mask")
    desk.qtbot.keyClick(desk.dock.search.edit, Qt.Key.Key_Escape)
    desk.until(lambda: desk.dock.model.query == "")


def test_two_clicks_add_an_item_and_unfold_a_node(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    desk.open(memory_case.url)
    desk.expand("", "steps")
    added: list[Sequence[Row]] = []
    desk.dock.view.open_requested.connect(added.append)

    def click_twice(path: str) -> None:
        where = desk.dock.view.visualRect(desk.dock.model.index_of(path)).center()
        desk.qtbot.mouseClick(desk.dock.view.viewport(), Qt.MouseButton.LeftButton, pos=where)
        desk.qtbot.mouseDClick(desk.dock.view.viewport(), Qt.MouseButton.LeftButton, pos=where)

    click_twice("steps/raw")
    desk.until(lambda: "stats.json" in desk.shown("steps/raw"))
    click_twice("steps/raw/stats.json")
    assert [[row.name for row in rows] for rows in added] == [["stats.json"]]


def test_a_search_goes_through_what_nobody_opened(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    desk.open(memory_case.url)
    desk.dock.search.edit.setText("note")
    with desk.qtbot.waitSignal(desk.dock.search.ended, timeout=10_000) as ended:
        desk.qtbot.keyClick(desk.dock.search.edit, Qt.Key.Key_Return)
    assert ended.args[0] == "1 found"
    desk.settle()
    assert desk.shown("steps/mask/sub") == ["note.txt"]
    assert desk.shown("steps") == ["mask"]
    assert desk.dock.view.isExpanded(desk.dock.model.index_of("steps/mask/sub"))
    assert desk.dock.search.stop_button.isHidden()
    assert desk.dock.status.text() == "1 found"
    desk.dock.search.edit.setText("other")
    assert desk.dock.status.text() == ""


def test_a_search_can_be_stopped(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    Gate.open.set()
    with instrument(Gate):
        desk.open(memory_case.url)
        Gate.open.clear()
        desk.dock.search.edit.setText("note")
        desk.dock.search.search()
        assert desk.dock.search.progress.text().startswith("searching")
        desk.dock.search.stop_button.click()
        assert desk.dock.search.stop_button.isHidden()
        Gate.open.set()
        desk.settle()
    assert desk.dock.status.text() == "search stopped, 0 found"


def test_reveal_opens_what_a_row_lies_below(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    desk.open(memory_case.url)
    desk.dock.reveal(f"{memory_case.url}/steps/mask/sub/note.txt")
    desk.until(lambda: [row.path for row in desk.dock.selected_rows()] == ["steps/mask/sub/note.txt"])
    desk.dock.search.edit.setText("raw")
    desk.until(lambda: desk.shown("steps") == ["raw"])
    desk.dock.reveal(f"{memory_case.url}/steps/mask")
    desk.until(lambda: [row.path for row in desk.dock.selected_rows()] == ["steps/mask"])
    desk.dock.reveal("memory://elsewhere/x")
    assert "not in this tree" in desk.dock.status.text()
    desk.dock.reveal(f"{memory_case.url}/steps/gone/x")
    desk.until(lambda: "not in this tree any more" in desk.dock.status.text())


def test_removing_asks_first_and_no_does_nothing(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    desk.open(memory_case.url)
    desk.expand("", "steps", "steps/mask")
    before = memory_case.snapshot()
    asked: list[tuple[str, str]] = []

    def no(title: str, text: str) -> bool:
        asked.append((title, text))
        return False

    desk.dock.remover.question = no
    desk.select("steps/mask")
    for verb in ("remove", "withdraw"):
        desk.dock.commands.actions[verb].trigger()
        desk.until(lambda: desk.dock.status.text() == "nothing was removed")
        desk.dock.status.show_message("")
    assert memory_case.snapshot() == before
    assert f"{memory_case.url}/steps/mask/sub" in asked[0][1]
    assert f"{memory_case.url}/steps/mask/sub" not in asked[1][1]
    desk.dock.remover.question = lambda *_: True
    desk.dock.commands.actions["withdraw"].trigger()
    desk.until(lambda: desk.dock.status.text() == "removed 1 node")
    desk.until(lambda: desk.state("steps/mask") == "absent")
    assert desk.state("steps/mask/sub") == "committed"
    pipeline(root_of(memory_case))
    desk.select("steps")
    desk.dock.commands.actions["remove"].trigger()
    desk.until(lambda: desk.dock.status.text() == "removed 3 nodes")


def test_a_node_that_is_being_written_is_refused(desk: Desk, memory_case: StoreCase) -> None:
    root = root_of(memory_case)
    desk.dock.remover.question = lambda *_: True
    with cvcache.cdir_init(root / "busy") as node:
        node.write("x.json", 1)
        desk.open(memory_case.url)
        desk.expand("")
        desk.select("busy")
        for verb in ("remove", "withdraw"):
            desk.dock.status.show_message("")
            desk.dock.commands.actions[verb].trigger()
            desk.until(lambda: desk.dock.status.text().startswith("nothing was removed, or not all: "))
            assert "busy" in desk.dock.status.text()
    assert cvcache.cdir_query(root / "busy").read("x.json") == 1


def test_the_question_is_plain_and_its_answer_no(desk: Desk) -> None:
    box = question_box(desk.dock, "Remove <b>x</b>?", "a\n<img src=x>\x1b[31m")
    assert box.textFormat() == Qt.TextFormat.PlainText
    assert box.defaultButton() is box.button(box.StandardButton.No)
    assert "\x1b" not in box.informativeText()
    box.deleteLater()


def test_only_what_can_be_done_is_offered(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    memory_case.put("steps/foreign/x.txt", b"1")

    def offered() -> set[str]:
        return {name for name, action in desk.dock.commands.actions.items() if action.isEnabled()}

    assert offered() == set()
    desk.open(memory_case.url)
    desk.expand("", "steps", "steps/mask")
    desk.select("steps/mask")
    assert offered() == {"copy_url", "copy_python", "refresh", "withdraw", "remove"}
    desk.select("steps/mask/mask.ome.zarr", "steps/mask/run.log")
    assert offered() == {"copy_url", "copy_python", "refresh", "compare"}
    desk.select("steps/foreign")
    assert offered() == {"copy_url", "copy_python", "refresh"}
    desk.dock.commands.actions["copy_python"].trigger()
    assert "steps/foreign" in QApplication.clipboard().text()
    assert desk.dock.commands.menu(desk.dock).actions()


def test_rows_dropped_on_the_main_window_are_added(desk: Desk, memory_case: StoreCase) -> None:
    pipeline(root_of(memory_case))
    window = QMainWindow()
    desk.qtbot.addWidget(window)
    window.setCentralWidget(desk.dock)
    window.show()
    desk.open(memory_case.url)
    desk.expand("", "steps")
    added: list[str] = []
    desk.dock.adder.add = lambda rows, **_: added.extend(row.path for row in rows)
    data = desk.dock.model.mimeData([desk.dock.model.index_of("steps/raw"), desk.dock.model.index_of("steps/mask")])

    def drop(what: QMimeData) -> bool:
        left, no_key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, what, left, no_key)
        enter.ignore()
        QApplication.sendEvent(window, enter)
        if not enter.isAccepted():
            return False
        dropped = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, what, left, no_key)
        QApplication.sendEvent(window, dropped)
        return True

    assert drop(data)
    assert added == ["steps/raw", "steps/mask"]
    other = QMimeData()
    other.setText("x")
    assert not drop(other)
    assert len(added) == 2
    window.takeCentralWidget()


def test_hostile_names_on_disk_are_shown_plainly(desk: Desk, tmp_path: Path) -> None:
    names = ["<b>bold<script>x", "two\nlines", "\x1b[31mred", "\u202egnp.exe", "n" * 250]
    for name in names:
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "file.txt").write_text("x")
    desk.open(str(tmp_path / "tree"))
    desk.expand("")
    shown = desk.shown()
    assert len(shown) == len(names)
    assert "<b>bold<script>x" in shown
    assert not set("".join(shown)) & set("\x1b\n\u202e")
    for path in [row.path for row in desk.dock.view.visible_rows()]:
        desk.select(path)
        desk.dock.commands.actions["copy_url"].trigger()


def test_another_tree_takes_the_place_of_the_one_before(desk: Desk, memory_case: StoreCase, tmp_path: Path) -> None:
    pipeline(root_of(memory_case))
    with cvcache.cdir_init(tmp_path / "other" / "node") as node:
        node.write("x.json", 1)
    desk.open(memory_case.url)
    desk.expand("", "steps")
    first = desk.dock.tree
    desk.open(str(tmp_path / "other"))
    assert desk.dock.tree is not first
    assert desk.shown() == ["node"]
    assert desk.dock.model.row_at("steps") is None
