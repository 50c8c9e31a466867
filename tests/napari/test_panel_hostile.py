"""Nodes of strangers in the panel: nothing of them runs, is fetched, is taken for markup, or holds the window up."""

from __future__ import annotations

import dataclasses
import http.server
import json
import struct
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from panel_bench import KEY, LOG, MADE, PLOTS, TABLE, Bench, bench_on, fail, png, write_bytes
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QFont, QImage
from qtpy.QtWidgets import QLabel, QPlainTextEdit, QTextEdit, QWidget

import cvcache
from cvcache.browse import tooltip_html
from cvcache.browse.pictures import Picture, Refused
from cvcache.napari import MAX_SIDE_LENGTH, decode_picture
from cvcache.napari.panel import FactsView, PictureWindow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 5
"""What a busy machine may hold the window up; what hangs takes longer."""
MARKUP = "<b>bold</b><img src='{canary}'><a href='{canary}'>x</a><script>alert(1)</script>"


@pytest.fixture
def canary() -> Iterator[tuple[str, list[str]]]:
    """Give the address of a server, and the list of what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/canary", asked
    server.shutdown()
    server.server_close()
    thread.join(5)


def svg(body: str, head: str = "") -> bytes:
    text = f'{head}<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
    return f'{text}width="60" height="40">{body}</svg>'.encode()


def hostile_drawings(canary: str, file: str) -> dict[str, bytes]:
    bomb = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10 if i else "ha"}">' for i in range(12))
    red = '<rect width="60" height="40" fill="#f00"/>'
    return {
        "script.svg": svg(f"<script>fetch('{canary}')</script><g onload=\"fetch('{canary}')\">{red}</g>"),
        "image.svg": svg(f'<image xlink:href="{canary}" width="9" height="9"/><image href="file://{file}"/>{red}'),
        "style.svg": svg(f'<style>@import url("{canary}"); rect {{ fill: url({canary}#a) }}</style>{red}'),
        "foreign.svg": svg(f'<foreignObject><img src="{canary}"/></foreignObject>{red}'),
        "sheet.svg": svg(red, f'<?xml-stylesheet href="{canary}"?>'),
        "bomb.svg": svg("<text>&a11;</text>", f"<!DOCTYPE svg [{bomb}]>"),
        "outside.svg": svg("<text>&x;</text>", f'<!DOCTYPE svg [<!ENTITY x SYSTEM "{canary}">]>'),
        "none.svg": b"\xff\xfe not a drawing",
    }


def huge_png() -> bytes:
    """Return a PNG of a few bytes that says it has 50,000 x 50,000 pixels."""
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 6, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def test_drawings_of_strangers_fetch_nothing(qtbot: Any, tmp_path: Path, canary: tuple[str, list[str]]) -> None:
    address, asked = canary
    with cvcache.cdir_init(tmp_path / "tree" / "node") as node:
        for name, data in hostile_drawings(address, str(tmp_path / "secret.png")).items():
            write_bytes(node, name, data)
    for bench in bench_on(qtbot, str(tmp_path / "tree")):
        page = bench.select("node", tab=PLOTS)
        shown = {view.caption.text(): (view.view.image, view.refused.text()) for view in page.views}
        assert sorted(shown) == sorted(hostile_drawings("", ""))
        for name, (image, refused) in shown.items():
            assert image.isNull(), name
            assert refused.endswith(f"open this SVG elsewhere: {tmp_path / 'tree' / 'node' / name}")
        qtbot.wait(200)
    assert asked == []


def test_a_png_of_50000_by_50000_is_refused(qtbot: Any, tmp_path: Path) -> None:
    folder = tmp_path / "tree" / "foreign"  # which no commit of ours would take
    folder.mkdir(parents=True)
    (folder / "huge.png").write_bytes(huge_png())
    (folder / "torn.png").write_bytes(png(30, 30)[:40])
    for bench in bench_on(qtbot, str(tmp_path / "tree")):
        for name, says in (("huge.png", "50000 x 50000"), ("torn.png", "cut short")):
            page = bench.select(f"foreign/{name}", tab=PLOTS)
            assert page.views[0].refused.text().startswith("Not shown: ")
            assert says in page.views[0].refused.text()
            assert says in bench.select(f"foreign/{name}", tab=0).pictures[0].refused.text()


def test_what_is_decoded_is_bounded_whatever_was_promised() -> None:
    assert isinstance(decode_picture(Picture(huge_png(), 10, 10)), Refused)
    for data in (b"\x89PNG nothing", b"<nothing>", svg('<rect width="60" height="40"/>')):
        assert isinstance(decode_picture(Picture(data, 10, 10)), Refused)
    drawn = decode_picture(Picture(png(8000, 10), 10, 10), MAX_SIDE_LENGTH)
    assert isinstance(drawn, QImage)
    assert drawn.width() == MAX_SIDE_LENGTH
    assert decode_picture(None) is None


def visit(bench: Bench, paths: list[str]) -> None:
    """Open every page of every row, and look for text that was taken for markup."""
    for path in paths:
        for tab in range(6):
            bench.select(path)
            bench.panel.tabs.setCurrentIndex(tab)
            bench.settle()
            assert_plain(bench.panel)


def assert_plain(panel: QWidget) -> None:
    for label in panel.findChildren(QLabel):
        assert label.textFormat() == Qt.TextFormat.PlainText or not label.text()
    for view in panel.findChildren(QTextEdit):
        assert isinstance(view, FactsView)
        for form in view.document().allFormats():
            assert not form.isImageFormat()
            if form.isCharFormat():
                assert not form.toCharFormat().isAnchor()
                assert form.toCharFormat().fontWeight() in {0, QFont.Weight.Normal, QFont.Weight.Normal.value}
    for widget in panel.findChildren(QWidget):
        text = widget.toolTip()
        assert "<b>" not in text
        assert "<img" not in text


def test_markup_is_shown_as_it_is_written(qtbot: Any, tmp_path: Path, canary: tuple[str, list[str]]) -> None:
    address, asked = canary
    markup = MARKUP.format(canary=address)
    url = str(tmp_path / "tree")
    with cvcache.cdir_init(f"{url}/node", {"step": markup}) as node:
        node.meta[markup] = markup
        with node.log():
            print(markup, "\x1b[31mred\x1b]0;title\x07")  # noqa: T201 - what a step says is its log
        node.write("settings.json", {"a": markup}, meta={"note": markup})
        write_bytes(node, "cells.csv", f'"{markup}",b\n"{markup}",2\n'.encode())
        write_bytes(node, "<b>bold<b>.svg", svg(""))
    fail(cvcache.cdir(url) / "broken", markup)
    (tmp_path / "tree" / "foreign").mkdir()
    (tmp_path / "tree" / "foreign" / "<b>bold<b>.txt").write_text(markup)
    for bench in bench_on(qtbot, url):
        visit(bench, ["", "node", "node/cells.csv", "node/settings.json", "broken", "foreign/<b>bold<b>.txt"])
        assert markup in bench.select("node", tab=LOG).text.toPlainText()
        assert "\x1b" not in bench.select("node", tab=LOG).text.toPlainText()
        assert "<b>bold</b>" in bench.select("node", tab=KEY).text.toPlainText()
        table = bench.select("node/cells.csv", tab=TABLE)
        assert table.model.head.columns[0].startswith("<b>bold</b>")
        shown = table.model.headerData(0, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
        assert "<b>" not in shown
        assert "&lt;b&gt;bold" in shown
        assert "<b>" not in table.model.index(0, 0).data(Qt.ItemDataRole.ToolTipRole)
        bench.select("node", "broken")
        assert_plain(bench.panel)
        bench.select("broken", tab=LOG)
        assert markup[:30] in bench.panel.log.error.toPlainText()
        qtbot.wait(100)
    assert asked == []


def test_no_text_fetches_anything(qtbot: Any) -> None:
    view = FactsView()
    qtbot.addWidget(view)
    assert view.loadResource(2, "file:///etc/hostname") is None
    view.show_facts([("<b>label</b>", "a\u2028b\x1b[1m <img src='x'>"), ("", "\N{BULLET}" * 3)])
    assert view.toPlainText().strip().startswith("<b>label</b>")
    assert "\x1b" not in view.toPlainText()
    view.show_facts([])
    assert view.toPlainText() == ""


def test_a_table_of_100000_columns(qtbot: Any, tmp_path: Path) -> None:
    row = ",".join(map(str, range(100_000))) + "\n"
    with cvcache.cdir_init(tmp_path / "tree" / "node") as node:
        write_bytes(node, "wide.csv", (row * 3).encode())
    for bench in bench_on(qtbot, str(tmp_path / "tree")):
        longest = Heartbeat()
        page = bench.select("node/wide.csv", tab=TABLE)
        assert longest.stop() < SECONDS
        assert page.message or 0 < page.model.columnCount() <= 1000
        bench.select("node", tab=0)


def test_a_long_key_and_a_line_without_an_end(qtbot: Any, tmp_path: Path) -> None:
    url = str(tmp_path / "tree")
    with cvcache.cdir_init(f"{url}/long", {"step": 1}) as node:
        node.meta["text"] = "y" * 5_000
        write_bytes(node, "line.txt", b"z" * (1 << 20))
    for bench in bench_on(qtbot, url):
        longest = Heartbeat()
        row = bench.row("long")
        record = dataclasses.replace(row.node.record, key={"values": [f"xxx{i}" for i in range(100_000)]})
        bench.select("long", tab=KEY)
        bench.panel.show_rows(bench.tree, [dataclasses.replace(row, node=row.node._replace(record=record))])
        bench.settle()
        shown = bench.panel.page.text.toPlainText()
        assert "xxx" in shown
        assert len(shown) < 80_000
        assert "zzz" in bench.select("long/line.txt", tab=0).text.toPlainText()
        bench.select("long", tab=0)
        assert longest.stop() < SECONDS
        assert bench.panel.width() == 360
        assert bench.panel.page.facts.width() <= 360


class Heartbeat:
    """Beats every 5 ms in the thread of the window, and tells the longest pause."""

    def __init__(self) -> None:
        self._longest, self._last = 0.0, time.monotonic()
        self._timer = QTimer()
        self._timer.timeout.connect(self._beat)
        self._timer.start(5)

    def _beat(self) -> None:
        now = time.monotonic()
        self._longest, self._last = max(self._longest, now - self._last), now

    def stop(self) -> float:
        self._timer.stop()
        return self._longest


def test_names_in_titles_are_plain(qtbot: Any) -> None:
    window = PictureWindow("<b>a</b>\n\x1b[1m[*]" + "x" * 5000, QImage(4, 4, QImage.Format.Format_RGB32))
    qtbot.addWidget(window)
    assert window.windowTitle().startswith("<b>a</b> [ *]x")
    assert len(window.windowTitle()) <= 202
    assert tooltip_html("<b>a</b>\nb") == "<qt>&lt;b&gt;a&lt;/b&gt;<br>b</qt>"
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    assert not window.isVisible()


def test_rows_of_hostile_records(qtbot: Any, tmp_path: Path) -> None:
    url = str(tmp_path / "tree")
    with cvcache.cdir_init(f"{url}/node", {"step": 1}) as node:
        node.write("n.json", 1)
    (log,) = (tmp_path / "tree" / "node" / "_cvcache" / "log").glob("000002-*.json")
    text = log.read_text()
    image = {"kind": "image", "histogram": "<b>", "channels": 7, "shape": ["x", None], "levels": []}
    items = '"items":' + json.dumps({"a.ome.zarr": image, "p.svg": {"kind": [1]}})
    assert '"items":{' in text
    start = text.index('"items":{')
    _, length = json.JSONDecoder().raw_decode(text[start + len('"items":') :])
    log.chmod(0o644)
    log.write_text(text[:start] + items + text[start + len('"items":') + length :])
    for bench in bench_on(qtbot, url):
        visit(bench, ["node", *[row.path for row in bench.tree.expand("node").rows]])
        bench.select("node", tab=MADE)
        assert isinstance(bench.panel.log.text, QPlainTextEdit)
