"""The panel below the tree: each page shows what is selected, read in a worker, below its own title."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from panel_bench import KEY, LOG, MADE, PLOTS, PREVIEW, TABLE, Bench, bench_on, fail, png, write_bytes, write_tree
from qtpy.QtCore import Qt
from qtpy.QtGui import QGuiApplication, QImage

import cvcache
from cvcache.browse import Histogram
from cvcache.napari.panel import HistogramCurves, PictureView
from cvcache.napari.tree import STATE, cell_text, row_tooltip
from cvcache.testing import WrapperStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def small_tree(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("panel") / "tree")
    write_tree(url)
    return url


@pytest.fixture
def bench(qtbot: Any, small_tree: str) -> Iterator[Bench]:
    yield from bench_on(qtbot, small_tree)


@pytest.fixture
def own_bench(qtbot: Any, tmp_path: Path) -> Iterator[Bench]:
    """Give a tree that a test may change."""
    write_tree(str(tmp_path / "tree"))
    yield from bench_on(qtbot, str(tmp_path / "tree"))


def labels_of(page: Any) -> dict[str, str]:
    return dict(page.facts.facts())


def test_an_image_is_seen_with_its_facts_and_histogram(bench: Bench) -> None:
    page = bench.select("image/stack.ome.zarr")
    assert page.pictures[0].view.image.width() == 48
    assert not page.pictures[1].isVisible()
    assert labels_of(page)["shape"] == "3x64x48"
    assert "y 0.5" in labels_of(page)["scale"]
    assert page.histogram.names.texts() == ["dapi", "actin", "tubulin"]
    assert bench.panel.title.text() == "image / stack.ome.zarr \N{EM DASH} committed"


def test_a_node_is_seen_by_its_image(bench: Bench) -> None:
    page = bench.select("left")
    assert page.pictures[0].caption.text() == "nuclei.ome.zarr"
    assert not page.pictures[0].view.image.isNull()
    assert labels_of(page)["state"] == "committed"


def test_a_text_is_shown_as_text(bench: Bench) -> None:
    page = bench.select("image/settings.json")
    assert '"name": "<b>bold</b>"' in page.text.toPlainText()
    assert page.text.isVisible()
    assert not bench.select("image/stack.ome.zarr").text.isVisible()


def test_the_pages_of_a_node(bench: Bench) -> None:
    assert "this is left" in bench.select("left", tab=LOG).text.toPlainText()
    plots = bench.select("left", tab=PLOTS)
    shown = [(view.caption.text(), view.view.image.width()) for view in plots.views if view.isVisible()]
    assert shown == [("drawing.svg", 1000), ("curve.png", 30)]
    table = bench.select("left", tab=TABLE)
    assert table.model.rowCount() == 200
    assert table.model.headerData(1, Qt.Orientation.Horizontal) == "area"
    assert table.note.text() == "cells.csv: first 200 of 300 rows"
    key = bench.select("left", tab=KEY)
    assert key.reasons.facts() == (("computed because", "first run"),)
    assert '"step": 1' in key.text.toPlainText()
    made = bench.select("left", tab=MADE)
    assert labels_of(made)["numpy"] == np.__version__


def test_a_figure_is_seen_whatever_it_was_written_as(qtbot: Any, tmp_path: Path) -> None:
    red = Figure(figsize=(4, 2), facecolor="red")
    with cvcache.cdir_init(tmp_path / "tree" / "node") as node:
        for suffix in ("svg", "pdf"):
            node.write(f"figure.{suffix}", red)
            write_bytes(node, f"theirs.{suffix}", b"%PDF-1.4 <svg/>")
    for bench in bench_on(qtbot, str(tmp_path / "tree")):
        plots = bench.select("node", tab=PLOTS)
        views = {view.caption.text(): view for view in plots.views if view.isVisible()}
        assert sorted(views) == ["figure.pdf", "figure.svg", "theirs.pdf", "theirs.svg"]
        for suffix in ("svg", "pdf"):
            for page in (plots, bench.select(f"node/figure.{suffix}", tab=PREVIEW)):
                view = page.pictures[0].view if page is not plots else views[f"figure.{suffix}"].view
                assert view.image.width() == 1000
                assert view.image.pixelColor(500, 250).name() == "#ff0000"
            theirs = tmp_path / "tree" / "node" / f"theirs.{suffix}"
            page = bench.select(f"node/theirs.{suffix}", tab=PREVIEW)
            for refused in (views[theirs.name].refused, page.pictures[0].refused):
                assert refused.text().endswith(f"open this {suffix.upper()} elsewhere: {theirs}")
            assert page.pictures[0].view.image.isNull()


def test_the_log_and_key_of_an_item_are_those_of_its_node(bench: Bench) -> None:
    assert "this is right" in bench.select("right/nuclei.ome.zarr", tab=LOG).text.toPlainText()
    assert '"step": 2' in bench.select("right/cells.csv", tab=KEY).text.toPlainText()
    assert bench.select("right/drawing.svg", tab=PLOTS).views[0].caption.text() == "drawing.svg"


def test_the_same_page_stays_open_from_step_to_step(bench: Bench) -> None:
    bench.select("left", tab=PLOTS)
    assert bench.select("right") is bench.panel.pages[PLOTS]
    assert bench.select("image") is bench.panel.pages[PREVIEW]  # which has no plots
    assert "Plots" not in bench.enabled()
    assert bench.select("left") is bench.panel.pages[PLOTS]


def test_pages_without_anything_to_show_cannot_be_opened(bench: Bench) -> None:
    bench.select("image")
    assert bench.enabled() == ["Preview", "Log", "Key", "Made with"]
    bench.select("broken")
    assert bench.enabled() == ["Preview", "Log", "Key"], "the tree has read what it left"
    bench.select("left", "right")
    assert bench.enabled() == ["Preview"]
    bench.panel.clear()
    assert bench.panel.page.message.startswith("Select a line of the tree to see what it holds. Double-click")
    assert bench.panel.title.text() == ""


def test_two_rows_are_compared(bench: Bench) -> None:
    page = bench.select("left", "right")
    assert [sight.caption.text() for sight in page.pictures] == ["left", "right"]
    assert all(sight.isVisible() and not sight.view.image.isNull() for sight in page.pictures)
    ((title, told),) = page.facts.facts()
    assert "key: step: 1 -> 2" in told.splitlines()
    assert title.endswith("differences, first to second")
    same = bench.select("left/drawing.svg", "right/drawing.svg")
    assert same.facts.facts()[0][1] == "Nothing that is recorded of them differs."


def test_many_rows_are_listed_with_their_sizes(bench: Bench) -> None:
    page = bench.select("image", "left", "right", "broken")
    assert [label for label, _ in page.facts.facts()] == ["together", "image", "left", "right", "broken"]
    assert page.facts.facts()[0][1].startswith("4 rows, ")
    assert bench.panel.title.text() == "4 rows selected"


def test_of_very_many_rows_the_first_are_listed(bench: Bench) -> None:
    row = bench.row("left")
    rows = [dataclasses.replace(row, path=f"left {i}") for i in range(10_000)]
    started = time.process_time()
    bench.panel.show_rows(bench.tree, rows)
    bench.settle()
    assert time.process_time() - started < 3
    found = bench.panel.page.facts.facts()
    assert len(found) == 52
    assert found[0][1].startswith("10,000 rows, ")
    assert found[-1] == ("", "and 9,950 more")


def test_many_facts_are_shown_at_once(bench: Bench) -> None:
    view = bench.select("left").facts
    started = time.process_time()
    view.show_facts([(f"label {i}", "a value of some length " * 5) for i in range(400)])
    assert time.process_time() - started < 3


def test_no_store_call_comes_from_the_window(qtbot: Any, small_tree: str, store_calls: Any) -> None:
    bench = Bench(qtbot, small_tree)
    bench.read()
    store_calls.gui.clear()  # the test itself read the tree
    for path in ("", "image", "left", "left/cells.csv", "right/curve.png", "broken", "image/run.log"):
        for tab in range(6):
            bench.select(path)
            bench.panel.tabs.setCurrentIndex(tab)
            bench.settle()
    bench.select("left", "right")
    bench.news("left", "broken")
    bench.close()
    assert store_calls.gui == []
    assert store_calls.workers


@pytest.fixture(scope="module")
def demo_tree(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give what ``cvcache demo`` writes."""
    for package in ("matplotlib", "pandas", "skimage", "tifffile"):
        pytest.importorskip(package)
    url = str(tmp_path_factory.mktemp("demo") / "cache")
    subprocess.run([sys.executable, "-m", "cvcache.cli.main", "demo", url], check=True, capture_output=True)
    return url


def test_every_page_of_every_row_of_the_demo(qtbot: Any, demo_tree: str, store_calls: Any) -> None:
    bench = Bench(qtbot, demo_tree).read()
    store_calls.gui.clear()
    paths = [path for path in bench.tree._rows if path]
    assert len(paths) > 20
    for path in paths:
        for tab in (PREVIEW,) if bench.row(path).is_item else range(6):
            bench.panel.show_rows(bench.tree, [bench.row(path)])
            bench.panel.tabs.setCurrentIndex(tab)
            bench.settle()
            page = bench.panel.page
            assert page.shown_paths == (path,)
            assert page.message != "reading \N{HORIZONTAL ELLIPSIS}"
    assert len([view for view in bench.select("measurements", tab=PLOTS).views if view.isVisible()]) == 1
    assert bench.select("measurements/nuclei.csv", tab=TABLE).note.text() == "nuclei.csv: first 200 of 241 rows"
    bench.close()
    assert store_calls.gui == []


@pytest.mark.parametrize("where", ["memory", "s3"])
def test_all_pages_on_another_store(qtbot: Any, request: pytest.FixtureRequest, where: str) -> None:
    case = request.getfixturevalue(f"{where}_case")
    write_tree(case.url, **case.options)
    for bench in bench_on(qtbot, case.url, case.options):
        assert labels_of(bench.select("image/stack.ome.zarr"))["shape"] == "3x64x48"
        assert "this is left" in bench.select("left", tab=LOG).text.toPlainText()
        assert bench.select("left", tab=PLOTS).views[1].view.image.width() == 30
        assert bench.select("left/cells.csv", tab=TABLE).model.rowCount() == 200
        assert "numpy" in labels_of(bench.select("left", tab=MADE))


class Gate(WrapperStore):
    """A store that answers nothing while it is shut."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.open_ = threading.Event()
        self.open_.set()
        self.asked = 0

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:
        self.asked += 1
        assert self.open_.wait(20)
        return super().call(verb, path, act, data)


@pytest.fixture
def gated(qtbot: Any, small_tree: str) -> Iterator[tuple[Bench, Gate]]:
    gates: list[Gate] = []

    def gate(store: Any) -> Gate:
        gates.append(Gate(store))
        return gates[-1]

    with instrument(gate):
        for bench in bench_on(qtbot, small_tree):
            yield bench, gates[0]
            for one in gates:
                one.open_.set()


def test_what_was_shown_stays_below_its_own_title_until_the_new_is_there(gated: tuple[Bench, Gate]) -> None:
    bench, gate = gated
    page = bench.select("left/curve.png")
    gate.open_.clear()
    bench.panel.show_rows(bench.tree, [bench.row("right/curve.png")])
    bench.qtbot.waitUntil(lambda: not bench.jobs.idle)
    assert bench.panel.title.text().startswith("left / curve.png")
    assert page.pictures[0].view.image.width() == 30
    assert not page.message
    bench.qtbot.waitUntil(lambda: page.message == "reading \N{HORIZONTAL ELLIPSIS}")
    assert bench.panel.title.text().startswith("right / curve.png")
    gate.open_.set()
    bench.settle()
    assert page.pictures[0].view.image.width() == 60
    assert not page.message


def test_a_page_opened_later_never_shows_the_row_before(gated: tuple[Bench, Gate]) -> None:
    bench, gate = gated
    log = bench.select("left", tab=LOG)
    bench.panel.tabs.setCurrentIndex(PREVIEW)
    bench.select("right")
    gate.open_.clear()
    bench.panel.tabs.setCurrentIndex(LOG)
    assert not log.text.isVisible()
    gate.open_.set()
    bench.settle()
    assert "this is right" in log.text.toPlainText()
    assert log.text.isVisible()


def test_held_arrow_keys_read_only_where_they_stop(gated: tuple[Bench, Gate]) -> None:
    bench, gate = gated
    bench.select("image/stack.ome.zarr")
    gate.asked = 0
    for _ in range(50):
        for path in ("left/curve.png", "right/curve.png", "left/drawing.svg"):
            bench.panel.show_rows(bench.tree, [bench.row(path)])
    bench.settle()
    assert bench.panel.title.text().startswith("left / drawing.svg")
    assert gate.asked <= 3


def test_only_the_page_that_can_be_seen_is_read(gated: tuple[Bench, Gate]) -> None:
    bench, gate = gated
    gate.asked = 0
    bench.select("image/stack.ome.zarr")
    assert gate.asked == 1  # its thumbnail
    bench.select("left", tab=KEY)
    gate.asked = 0
    bench.select("right")
    assert gate.asked == 0  # a key is in the record
    bench.panel.hide()
    bench.select("left", tab=MADE)
    assert gate.asked == 0
    bench.panel.show()
    bench.settle()
    assert gate.asked == 1


def test_a_stale_node_says_what_is_other_by_now(own_bench: Bench) -> None:
    bench = own_bench
    with cvcache.cdir_init(bench.row("image").url, {"step": "load", "sigma": 3}) as node:
        node.write("stack.ome.zarr", np.ones((3, 8, 8), "uint8"), axes="cyx")
    bench.tree.look(["image"])
    assert bench.row("left").state == "stale"
    page = bench.select("left", tab=KEY)
    told = dict(page.reasons.facts())
    assert told["stale because"].startswith("../image/stack.ome.zarr: version ")


def test_a_failure_is_shown_beside_the_result_that_stands(own_bench: Bench) -> None:
    bench = own_bench
    fail(cvcache.cdir(bench.row("left").url))
    bench.tree.look(["left"])
    bench.tree.expand("left")
    both = re.compile(r"failed . result of \d+ \w+ stands$")
    preview = bench.select("left", tab=PREVIEW)
    assert both.search(bench.panel.title.text())
    assert both.match(labels_of(preview)["state"])
    assert labels_of(preview)["error"].startswith("ValueError")
    assert preview.pictures[0].view.image.width() == 48
    assert both.match(cell_text(bench.row("left"), STATE))
    assert both.match(row_tooltip(bench.row("left")).split("<br>")[2].partition(":")[0])
    key = bench.select("left", tab=KEY)
    newest = next(text for label, text in key.reasons.facts() if both.match(label))
    assert newest != dict(key.reasons.facts())["computed because"] == "first run"
    assert '"step": 1' in key.text.toPlainText(), "the key is that of the result"
    assert bench.select("left", tab=MADE).facts.facts()
    log = bench.select("left", tab=LOG)
    assert log.error.toPlainText().startswith("ValueError")
    assert "counting" in log.text.toPlainText()
    item = bench.select("left/run.log", tab=LOG)
    assert "this is left" in item.text.toPlainText()
    assert not item.error.toPlainText()
    assert bench.panel.title.text().endswith("committed")


def test_news_of_a_shown_row_are_shown(own_bench: Bench) -> None:
    bench = own_bench
    key = bench.select("left", tab=KEY)
    with cvcache.cdir_init(bench.row("left").url, {"step": "other"}) as node:
        node.write("n.json", 1)
    bench.news("right")
    assert '"step": 1' in key.text.toPlainText()
    bench.news("left")
    assert '"other"' in key.text.toPlainText()
    assert any("step" in text for _, text in key.reasons.facts())


@pytest.mark.parametrize("tab", range(6))
def test_a_node_removed_while_it_is_shown_gives_a_sentence(own_bench: Bench, tab: int) -> None:
    bench = own_bench
    row = bench.row("left")
    cvcache.cdir_remove(row.url)
    page = bench.select("left", tab=tab)
    bench.news("left")
    assert bench.row("left").state == "absent"
    assert bench.panel.page is bench.panel.pages[PREVIEW]
    assert dict(bench.panel.page.facts.facts())["state"] == "absent"
    assert bench.enabled() == ["Preview"]
    if tab in {LOG, KEY}:  # the row that was selected goes by the record that it knew
        assert page is bench.panel.pages[tab]


def test_an_item_whose_node_is_gone_gives_a_sentence(own_bench: Bench) -> None:
    bench = own_bench
    cvcache.cdir_remove(bench.row("left").url)
    sights = bench.select("left/curve.png").pictures
    assert sights[0].refused.text().startswith("No picture: ")
    assert "left" in bench.select("left/cells.csv", tab=TABLE).message
    assert bench.select("left/run.log", tab=LOG).text.toPlainText().startswith("[")


def test_the_window_of_a_plot_shows_it_in_full(own_bench: Bench) -> None:
    bench = own_bench
    with cvcache.cdir_init(bench.row("left").url, {"large": True}) as node:
        write_bytes(node, "large.png", png(3000, 100))
    bench.tree.look(["left"])
    page = bench.select("left", tab=PLOTS)
    assert page.views[0].view.image.width() == 1600
    bench.qtbot.mouseClick(page.views[0].view, Qt.MouseButton.LeftButton)
    bench.settle()
    (window,) = page.windows
    assert window.view.image.width() == 3000
    assert window.isVisible()
    bench.panel.close_down()
    bench.qtbot.waitUntil(lambda: not page.windows)


def test_the_key_is_copied(bench: Bench) -> None:
    page = bench.select("left", tab=KEY)
    page.copy.click()
    assert QGuiApplication.clipboard().text() == page.text.toPlainText()


def test_cells_are_copied_as_a_spreadsheet_takes_them(bench: Bench) -> None:
    page = bench.select("left/cells.csv", tab=TABLE)
    page.cells.selectRow(1)
    bench.qtbot.keyClick(page.cells, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == "1\t1.5"


def test_words_are_found_in_a_text(bench: Bench) -> None:
    page = bench.select("left", tab=KEY)
    bench.qtbot.keyClick(page.text, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    find = next(page.content.layout().itemAt(1).layout().itemAt(i).widget() for i in range(1))
    bench.qtbot.keyClicks(find.box, "step")
    assert page.text.textCursor().selectedText() == "step"
    first = page.text.textCursor().position()
    bench.qtbot.keyClick(find.box, Qt.Key.Key_Return)
    bench.qtbot.keyClick(find.box, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert page.text.textCursor().position() == first
    bench.qtbot.keyClicks(find.box, "nowhere")
    assert find.box.font().strikeOut()


def test_a_picture_keeps_its_aspect_and_grows_a_little_only(qtbot: Any) -> None:
    view = PictureView(300)
    qtbot.addWidget(view)
    view.show_image(QImage(200, 100, QImage.Format.Format_RGB32))
    assert view.heightForWidth(350) == 175
    assert view.heightForWidth(5000) == 300
    view.show_image(QImage(10, 10, QImage.Format.Format_RGB32))
    assert view.heightForWidth(350) == 40


def test_the_lines_of_a_histogram_stay_inside(qtbot: Any) -> None:
    curves = HistogramCurves()
    qtbot.addWidget(curves)
    curves.resize(200, 110)
    stray = Histogram("a", "00FF00", 0.0, 1.0, (5000, 3000, *[0] * 60, 1))
    curves.show_histograms([stray, Histogram("b", "FF0000", -5.0, 0.5, (1, 2, 3))])
    assert curves.span() == (-5.0, 2.0)
    curves.set_logarithmic(True)
    assert curves.span() == (-5.0, 63.0)
    from qtpy.QtCore import QRectF

    room = QRectF(1, 2, 198, 90)
    corners = curves.points(stray, room)
    assert len(corners) == 2 * 63
    assert all(room.contains(x, y) or y == room.bottom() or x == room.right() for x, y in corners)
    flat = Histogram("", "FFFFFF", 0.0, 1.0, (0, 0))
    curves.show_histograms([flat])
    assert curves.span()[0] < curves.span()[1]
    assert not curves.grab().isNull()
