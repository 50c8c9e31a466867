"""Pictures of strangers: what is handed to Qt draws, and does nothing else."""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cvcache
from cvcache.browse import png_check
from cvcache.browse.pictures import Picture, Refused, check_png, clean_svg, picture, thumbnail
from cvcache.browse.rows import item_row, node_row
from cvcache.image.thumbnail import png
from cvcache.testing import CountingStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers.store_cases import BucketCase, StoreCase

    from cvcache.browse.rows import Row

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RED = png(np.full((4, 4, 3), (255, 0, 0), "uint8"))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int, depth: int = 8, color: int = 0, *methods: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, *(methods or (0, 0, 0))))


def made(*parts: bytes) -> bytes:
    return SIGNATURE + b"".join(parts)


END = chunk(b"IEND", b"")
GRAY_2X2 = zlib.compress(b"\0ab\0cd")


def inflating_to(size: int) -> bytes:
    """Return about a thousandth of `size` that inflates to that many zeros."""
    squeeze = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join(squeeze.compress(block) for _ in range(size >> 20)) + squeeze.flush()


def text_of(found: Picture | Refused) -> str:
    assert isinstance(found, Refused), found
    assert "\n" not in found.text
    assert len(found.text) < 400
    return found.text


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_of_every_kind_keeps_its_pixels(mode: str) -> None:
    image_module = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 255, (13, 7, 4)).astype("uint8")
    image = image_module.fromarray(pixels)
    image = image_module.fromarray(pixels[..., 0].astype("uint16")) if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=None)
    found = check_png(buffer.getvalue())
    assert isinstance(found, Picture)
    assert (found.format, found.width, found.height) == ("png", 7, 13)
    assert np.array_equal(np.asarray(image_module.open(io.BytesIO(found.data))), np.asarray(image))


def test_interlaced_png_is_counted_pass_by_pass() -> None:
    # Adam7 of 3 x 3 gray pixels: passes of 1, 0, 0, 1, 2, 3, and 3 pixels in rows of their own
    rows = [b"\0a", b"\0c", b"\0gi", b"\0b", b"\0h", b"\0def"]
    found = check_png(made(header(3, 3, 8, 0, 0, 0, 1), chunk(b"IDAT", zlib.compress(b"".join(rows))), END))
    assert isinstance(found, Picture)
    image_module = pytest.importorskip("PIL.Image")
    shown = np.asarray(image_module.open(io.BytesIO(found.data)))
    assert shown.tolist() == [[97, 98, 99], [100, 101, 102], [103, 104, 105]]


def test_what_is_not_drawn_is_left_out_of_a_png() -> None:
    bomb = b"name\0\0" + inflating_to(8 << 20)
    extra = [chunk(kind, bomb) for kind in (b"iCCP", b"zTXt", b"acTL", b"eXIf", b"prVt")]
    found = check_png(made(header(2, 2), *extra, chunk(b"IDAT", GRAY_2X2), END) + b"<script>")
    assert found == Picture("png", made(header(2, 2), chunk(b"IDAT", GRAY_2X2), END), 2, 2)


HOSTILE_PNG = {
    "empty": b"",
    "another kind": b"GIF89a" + bytes(50),
    "signature alone": SIGNATURE,
    "no header": made(chunk(b"IDAT", GRAY_2X2), END),
    "short header": made(chunk(b"IHDR", b"\0\0\0\1"), END),
    "no pixels": made(header(2, 2), END),
    "no width": made(header(0, 2), chunk(b"IDAT", GRAY_2X2), END),
    "too wide": made(header(1 << 31, 1), chunk(b"IDAT", GRAY_2X2), END),
    "too many pixels": made(header(30_000, 30_000), chunk(b"IDAT", GRAY_2X2), END),
    "depth of no PNG": made(header(2, 2, 3), chunk(b"IDAT", GRAY_2X2), END),
    "colour of no PNG": made(header(2, 2, 8, 5), chunk(b"IDAT", GRAY_2X2), END),
    "compression of no PNG": made(header(2, 2, 8, 0, 1, 0, 0), chunk(b"IDAT", GRAY_2X2), END),
    "no palette": made(header(2, 2, 8, 3), chunk(b"IDAT", GRAY_2X2), END),
    "cut": made(header(2, 2), chunk(b"IDAT", GRAY_2X2))[:-6],
    "no end": made(header(2, 2), chunk(b"IDAT", GRAY_2X2)),
    "length beyond the end": made(header(2, 2), struct.pack(">I", 0xFFFFFFF0) + b"IDAT", END),
    "wrong checksum": made(header(2, 2), chunk(b"IDAT", GRAY_2X2)[:-1] + b"\0", END),
    "fewer pixels": made(header(2, 3), chunk(b"IDAT", GRAY_2X2), END),
    "more pixels": made(header(2, 1), chunk(b"IDAT", GRAY_2X2), END),
    "no deflate": made(header(2, 2), chunk(b"IDAT", b"nonsense"), END),
    "many parts": made(header(2, 2), chunk(b"tEXt", b"") * 70_000, chunk(b"IDAT", GRAY_2X2), END),
}


@pytest.mark.parametrize("name", HOSTILE_PNG)
def test_hostile_png_is_refused_in_one_line(name: str) -> None:
    text_of(check_png(HOSTILE_PNG[name]))


@pytest.mark.parametrize("tail", [b"", b"\0" * 100], ids=["at the end", "before more"])
def test_a_bomb_is_refused_before_it_goes_off(tail: bytes) -> None:
    data = made(header(10, 10), chunk(b"IDAT", inflating_to(300 << 20) + tail), END)
    tracemalloc.start()
    started = time.perf_counter()
    text = text_of(check_png(data))
    seconds, (_, peak) = time.perf_counter() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "more than its header says" in text
    assert peak < 8 << 20
    assert seconds < 1


def test_a_png_of_too_many_bytes_is_refused_unread() -> None:
    assert "64.0 MiB" in text_of(check_png(bytes(png_check.MOST_BYTES + 1)))


# --- SVG

NAMES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
GREEN = '<rect width="100" height="100" fill="#00ff00"/>'
INLINE = "data:image/png;base64," + base64.b64encode(RED).decode()


def svg(body: str, attributes: str = 'width="100" height="100"', before: str = "") -> bytes:
    return f"{before}<svg {NAMES} {attributes}>{body}</svg>".encode()


LEADING_OUT = svg('<image width="99" height="99" href="CANARY_FILE"/>')


def uses(depth: int, fan_out: int) -> str:
    """Return parts of which each names the one before `fan_out` times: a drawing of fan_out ** depth shapes."""
    parts = ['<g id="p0"><rect width="9" height="9"/></g>']
    parts += [f'<g id="p{i}">{f"""<use xlink:href="#p{i - 1}"/>""" * fan_out}</g>' for i in range(1, depth)]
    return f"<defs>{''.join(parts)}</defs><use xlink:href='#p{depth - 1}'/>"


def patterns(depth: int) -> str:
    shapes = "".join(f'<rect width="5" height="5" fill="url(#q{{0}})" x="{x}"/>' for x in range(20))
    inner = '<pattern id="q0" width="5" height="5" patternUnits="userSpaceOnUse"><rect width="2" height="2"/></pattern>'
    outer = "".join(
        f'<pattern id="q{i}" width="9" height="9" patternUnits="userSpaceOnUse">{shapes.format(i - 1)}</pattern>'
        for i in range(1, depth)
    )
    return f'<defs>{inner}{outer}</defs><rect width="90" height="90" fill="url(#q{depth - 1})"/>'


LAUGHS = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))

REFUSED_SVG = {
    "nothing": b"",
    "no XML": b"hello",
    "HTML": b"<html><script>alert(1)</script></html>",
    "cut": svg(GREEN)[:-4],
    "compressed": b"\x1f\x8b\x08\x00" + bytes(40),
    "entities": svg("<text>&a11;</text>", before=f'<!DOCTYPE svg [<!ENTITY a0 "ha">{LAUGHS}]>'),
    "outer entity": svg("<text>&x;</text>", before='<!DOCTYPE svg [<!ENTITY x SYSTEM "CANARY_FILE">]>'),
    "outer grammar with an entity": svg("<text>&x;</text>", before='<!DOCTYPE svg SYSTEM "CANARY_FILE">'),
    "parameter entity": svg(GREEN, before='<!DOCTYPE svg [<!ENTITY % x SYSTEM "CANARY_URL"> %x;]>'),
    "bomb of uses": svg(uses(12, 12)),
    "use of itself": svg('<g id="a"><use xlink:href="#a"/></g>'),
    "use in a ring": svg('<g id="a"><use xlink:href="#b"/></g><g id="b"><use xlink:href="#a"/></g>'),
    "bomb of patterns": svg(patterns(8)),
    "pattern of itself": svg(
        '<pattern id="a" width="5" height="5"><rect width="5" height="5" fill="url(#a)"/></pattern>'
        '<rect width="50" height="50" fill="url(#a)"/>'
    ),
    "gradients in a ring": svg(
        '<linearGradient id="a" xlink:href="#b"/><linearGradient id="b" xlink:href="#a"/>'
        '<rect width="50" height="50" fill="url(#a)"/>'
    ),
    "too deep": svg("<g>" * 10_000 + "</g>" * 10_000),
    "too many": svg("<g/>" * 50_001),
    "too many inside what is left out": svg(f"<script>{'<g/>' * 50_001}</script>"),
    "too much text": svg(f"<text>{'x' * 300_000}</text>"),
    "too long": b"<svg " + b" " * (8 << 20) + b"/>",
    "unknown encoding": b'<?xml version="1.0" encoding="no-such"?>' + svg(GREEN),
    "a large path, again and again": svg(
        f'<path id="p" d="M0 0 {"L9 9 " * 50_000}"/>' + '<use xlink:href="#p"/>' * 400
    ),
    "too many strokes": svg(f'<path d="M0 0 {"C9 99 99 9 0 0 " * 50}" stroke="red" stroke-width="9"/>' * 3000),
    "too many letters": svg("<text>x</text>" * 9000),
    "letters too large": svg(f'<g transform="scale(1000)">{"<text>xxxx</text>" * 300}</g>'),
    "too much paint": svg('<ellipse cx="50" cy="50" rx="50" ry="40" stroke-width="9" stroke="red"/>' * 40_000),
    "a pattern in each of many shapes": svg(
        '<pattern id="q" width="900" height="900" patternUnits="userSpaceOnUse"><rect width="9" height="9"/></pattern>'
        + '<rect width="100" height="100" fill="url(#q)"/>' * 2000
    ),
    "large pictures": svg(
        f'<image width="9" height="9" xlink:href="data:image/png;base64,'
        f'{base64.b64encode(png(np.zeros((6000, 8000), "uint8"))).decode()}"/>' * 2
    ),
}

DRAWN_SVG = {
    "script": svg(f"<script>alert('CANARY_URL')</script>{GREEN}"),
    "script by reference": svg(f'<script xlink:href="CANARY_URL"/>{GREEN}'),
    "handlers": svg(
        f'<g onload="fetch(\'CANARY_URL\')" onclick="x()">{GREEN}</g>', 'width="100" height="100" onload="alert(1)"'
    ),
    "foreign object": svg(
        f"{GREEN}<foreignObject width='99' height='99'><body xmlns='http://www.w3.org/1999/xhtml'>"
        "<img src='CANARY_URL'/></body></foreignObject>"
    ),
    "picture of a file": svg(f'{GREEN}<image width="99" height="99" xlink:href="CANARY_FILE"/>'),
    "picture of a file URL": svg(f'{GREEN}<image width="99" height="99" href="file://CANARY_FILE"/>'),
    "picture of a web page": svg(f'{GREEN}<image width="99" height="99" href="CANARY_URL"/>'),
    "picture of another drawing": svg(
        f'{GREEN}<image width="99" height="99" href="data:image/svg+xml;base64,'
        f'{base64.b64encode(LEADING_OUT).decode()}"/>'
    ),
    "picture that is a bomb": svg(
        f'{GREEN}<image width="99" height="99" href="data:image/png;base64,'
        f'{base64.b64encode(made(header(9, 9), chunk(b"IDAT", inflating_to(64 << 20)), END)).decode()}"/>'
    ),
    "picture that is none": svg(f'{GREEN}<image width="99" height="99" href="data:image/png;base64,!!!"/>'),
    "use of another file": svg(f'{GREEN}<use xlink:href="CANARY_FILE#a"/><use href="CANARY_URL#a"/>'),
    "style sheet": svg(f"<style>@import url(CANARY_URL); rect{{fill:url(CANARY_URL)}}</style>{GREEN}"),
    "style sheet with an escape": svg(f"<style>@imp\\6frt 'CANARY_URL'; * {{fill:red}}</style>{GREEN}"),
    "style sheet closed early": svg(f"<style>a{{}}&lt;/style&gt;&lt;image href='CANARY_FILE'/&gt;</style>{GREEN}"),
    "font of another file": svg(
        f"<defs><font-face><font-face-src><font-face-uri xlink:href='CANARY_URL'/></font-face-src></font-face></defs>"
        f"<style>@font-face{{font-family:x;src:url(CANARY_URL)}}</style>{GREEN}"
    ),
    "fill of another file": svg(f'<g style="fill: url(CANARY_URL#a); stroke: url(CANARY_FILE)">{GREEN}</g>'),
    "filter": svg(
        f'<filter id="f"><feImage href="CANARY_FILE"/><feGaussianBlur stdDeviation="99999"/></filter>'
        f'<g filter="url(#f)">{GREEN}</g>'
    ),
    "link": svg(f'<a xlink:href="javascript:alert(1)">{GREEN}</a>'),
    "animation": svg(
        f'{GREEN}<image width="99" height="99"><set attributeName="href" to="CANARY_FILE"/></image>'
        '<rect><animate attributeName="fill" from="red" to="blue" dur="1s"/></rect>'
    ),
    "style sheet by instruction": svg(GREEN, before='<?xml-stylesheet href="CANARY_URL" type="text/css"?>'),
    "outer grammar": svg(GREEN, before='<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "CANARY_URL">'),
    "base": svg(GREEN, 'width="100" height="100" xml:base="CANARY_URL"'),
    "names in other words": (
        b'<s:svg xmlns:s="http://www.w3.org/2000/svg" xmlns:l="http://www.w3.org/1999/xlink" width="100" height="100">'
        b'<s:rect width="100" height="100" fill="#0f0"/><s:image width="99" height="99" l:href="CANARY_FILE"/>'
        b"<s:script>x</s:script></s:svg>"
    ),
    "UTF-16": svg(f'{GREEN}<image width="99" height="99" href="CANARY_FILE"/>').decode().encode("utf-16"),
    "dashes without end": svg(
        f'{GREEN}<path d="M0 0 {"L90 90 L0 0 " * 300}" stroke="#00ff00" stroke-dasharray="0.001 0.001"/>'
    ),
    "dashes that lead far out": svg(f'{GREEN}<path d="M0 0 L50000 50000" stroke="#00ff00" stroke-dasharray="1 1"/>'),
    "far out": svg(f'{GREEN}<path d="M0 0 L1e300 1e300 L-1e300 5 Z" stroke="red" stroke-width="1e300"/>'),
    "letters as high as the moon": svg(f'{GREEN}<text font-size="1000000000">x</text>'),
    "a thousand fonts": svg(
        GREEN + "".join(f'<text font-family="none-{i}" fill="#00ff00">x</text>' for i in range(1000))
    ),
    "a thousand rules": svg(f"<style>{'g rect {fill: #00ff00} ' * 2000}</style>{GREEN}"),
    "size of a continent": svg(GREEN, 'width="1e30" height="1e9" viewBox="0 0 100 100"'),
    "no size": svg(GREEN, 'viewBox="0 0 100 100"'),
}


def with_canaries(data: bytes, file: Path | str, url: str) -> bytes:
    for encoding in ("utf-8", "utf-16-le"):
        data = data.replace("CANARY_FILE".encode(encoding), str(file).encode(encoding))
        data = data.replace("CANARY_URL".encode(encoding), url.encode(encoding))
    return data


@pytest.mark.parametrize("name", REFUSED_SVG)
def test_hostile_svg_is_refused_in_one_line(name: str) -> None:
    started = time.perf_counter()
    text_of(clean_svg(with_canaries(REFUSED_SVG[name], "/dev/zero", "http://127.0.0.1:9/")))
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize("name", DRAWN_SVG)
def test_hostile_svg_loses_all_that_leads_out_of_it(name: str) -> None:
    found = clean_svg(with_canaries(DRAWN_SVG[name], "/canary", "http://canary/"))
    assert isinstance(found, Picture), found
    text = found.data.decode()
    for word in ("canary", "script", "@", "<!", "<?", "filter", "animate", " on", "<image", "file:", "javascript"):
        assert word not in text.replace('version="1.1"', ""), (word, text[:500])
    assert clean_svg(found.data) == found
    assert 1 <= found.width <= 8192
    assert 1 <= found.height <= 8192


class _Canary(http.server.BaseHTTPRequestHandler):
    heard: list[str]

    def do_GET(self) -> None:
        self.heard.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def canary() -> Iterator[tuple[str, list[str]]]:
    """Give the URL of a server, and the list of what it was asked for."""
    heard: list[str] = []
    handler = type("Handler", (_Canary,), {"heard": heard})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/canary.png", heard
    server.shutdown()
    thread.join()
    server.server_close()


DRAW = """
import json, pathlib, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
from qtpy.QtCore import QByteArray
from qtpy.QtGui import QGuiApplication, QImage, QPainter
from qtpy.QtSvg import QSvgRenderer
app = QGuiApplication([])
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.svg")):
    image = QImage(100, 100, QImage.Format.Format_RGB32)
    image.fill(0xFFFFFFFF)
    drawing = QSvgRenderer(QByteArray(path.read_bytes()))
    painter = QPainter(image)
    drawing.render(painter)
    painter.end()
    app.processEvents()
    colors = {}
    for y in range(2, 98, 5):
        for x in range(2, 98, 5):
            color = f"{image.pixel(x, y) & 0xFFFFFF:06x}"
            colors[color] = colors.get(color, 0) + 1
    # of this process alone: what getrusage tells begins with the peak of the one that started it
    peak = int(pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) >> 10
    print(json.dumps([path.stem, drawing.isValid(), max(colors, key=colors.get), peak]))
"""
"""Draws each drawing of a directory with Qt; says whether it is one, its commonest colour and the peak in MiB."""


def drawn_by_qt(folder: Path) -> dict[str, tuple[bool, str, int]]:
    pytest.importorskip("qtpy.QtSvg")
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", DRAW, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {name: (valid, color, peak) for name, valid, color, peak in rows}


def test_qt_draws_what_is_left_and_reads_nothing(tmp_path: Path, canary: tuple[str, list[str]]) -> None:
    url, heard = canary
    red = tmp_path / "red.png"
    red.write_bytes(RED)
    folder = tmp_path / "drawings"
    folder.mkdir()
    (folder / "control.svg").write_bytes(with_canaries(DRAWN_SVG["picture of a file"], red, url))
    for name, data in DRAWN_SVG.items():
        found = clean_svg(with_canaries(data, red, url))
        assert isinstance(found, Picture)
        (folder / f"{name}.svg").write_bytes(found.data)
    drawn = drawn_by_qt(folder)
    assert drawn.pop("control")[1] == "ff0000", "Qt reads files by itself, so this test would see it"
    assert {name: color for name, (_, color, _) in drawn.items()} == dict.fromkeys(DRAWN_SVG, "00ff00")
    assert all(valid for valid, *_ in drawn.values())
    assert max(peak for *_, peak in drawn.values()) < 600
    assert heard == []


def test_a_picture_inside_a_drawing_is_drawn(tmp_path: Path) -> None:
    found = clean_svg(svg(f'{GREEN}<image width="100" height="100" xlink:href="{INLINE}"/>'))
    assert isinstance(found, Picture)
    (tmp_path / "inside.svg").write_bytes(found.data)
    assert drawn_by_qt(tmp_path)["inside"][1] == "ff0000"


def test_references_inside_a_drawing_are_kept() -> None:
    body = (
        '<defs><linearGradient id="g" x1="0" x2="1"><stop offset="0" stop-color="red"/></linearGradient>'
        '<clipPath id="c"><rect width="5" height="5"/></clipPath><path id="m" d="M0 0h9"/></defs>'
        '<g clip-path="url(#c)"><use xlink:href="#m" x="3" style="fill: url(\'#g\'); stroke: #123456"/></g>'
        '<rect width="1" fill="url(#nowhere)" stroke="url(#m)"/><use href="#nowhere"/>'
    )
    found = clean_svg(svg(body))
    assert isinstance(found, Picture)
    text = found.data.decode()
    assert text.count("url(#g)") == text.count("url(#c)") == text.count('href="#m"') == 1
    assert "stroke: #123456" in text
    assert "nowhere" not in text
    assert "url(#m)" not in text


def test_text_that_looks_like_markup_stays_text() -> None:
    found = clean_svg(svg('<text id="a" class="&quot;&gt;&lt;image/&gt;">&lt;image href="x"/&gt;\u202e</text>'))
    assert isinstance(found, Picture)
    assert b'<text id="a">&lt;image href="x"/&gt;</text>' in found.data


@pytest.mark.parametrize("fonttype", ["path", "none"])
def test_a_figure_of_matplotlib_looks_the_same(tmp_path: Path, fonttype: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    figure_module = pytest.importorskip("matplotlib.figure")
    figure = figure_module.Figure(figsize=(4, 3))
    axes = figure.subplots(2, 2)
    axes[0, 0].plot(np.sin(np.arange(50) / 5), "--o", label="sine & <x>")
    axes[0, 0].legend(title="a legend")
    axes[0, 1].imshow(np.arange(400).reshape(20, 20))
    axes[1, 0].scatter(np.arange(9), np.arange(9) ** 2, c=np.arange(9), alpha=0.5)
    axes[1, 1].bar([1, 2, 3], [3, 2, 1], hatch="//")
    axes[1, 1].set_ylim(0, 2)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": fonttype}):
        figure.savefig(buffer, format="svg")
    found = clean_svg(buffer.getvalue())
    assert isinstance(found, Picture)
    assert (found.width, found.height) == (384, 288)
    for word in (b"<use", b"clip-path", b"data:image/png", b"<pattern", b"stroke-dasharray"):
        assert found.data.count(word) == buffer.getvalue().count(word) > 0, word
    assert_alike_in_qt(tmp_path, buffer.getvalue(), found.data)


COMPARE = """
import pathlib, sys
from qtpy.QtCore import QByteArray
from qtpy.QtGui import QGuiApplication, QImage, QPainter
from qtpy.QtSvg import QSvgRenderer
app, images = QGuiApplication([]), []
for name in ("before", "after"):
    image = QImage(768, 576, QImage.Format.Format_RGB32)
    image.fill(0xFFFFFFFF)
    painter = QPainter(image)
    QSvgRenderer(QByteArray((pathlib.Path(sys.argv[1]) / name).read_bytes())).render(painter)
    painter.end()
    images.append(image)
dark = sum(image.pixel(x, y) & 0xFFFFFF != 0xFFFFFF for x in range(0, 768, 3) for y in range(0, 576, 3))
assert dark > 500, "there is nothing to compare"
assert images[0] == images[1]
"""
"""Draws two drawings with Qt; fails unless both show the same, and something."""


def assert_alike_in_qt(folder: Path, before: bytes, after: bytes) -> None:
    pytest.importorskip("qtpy.QtSvg")
    (folder / "before").write_bytes(before)
    (folder / "after").write_bytes(after)
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", COMPARE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


LINES = '<path {0}d="M10 10 L90 80"/><path {0}d="M10 80 L90 10"/>'
BROAD = {
    "group": f'<g stroke="black" stroke-width="8" fill="none">{LINES.format("")}</g>',
    "group within a group": f'<g style="stroke-width: 9px"><g stroke="black" fill="none">{LINES.format("")}</g></g>',
    "class": "<style>.a {stroke: red; stroke-width: 6; fill: none}</style>" + LINES.format('class="a" '),
    "use": '<defs><path id="p" d="M10 10 L90 80"/></defs><use xlink:href="#p" stroke="red" stroke-width="7"/>',
    "letters": '<g font-size="60"><text x="5" y="70">cells</text></g>',
}


@pytest.mark.parametrize("name", BROAD)
def test_broad_lines_and_large_letters_of_a_group_stay(tmp_path: Path, name: str) -> None:
    before = svg(BROAD[name], 'width="100" height="100" viewBox="0 0 100 100"')
    found = clean_svg(before)
    assert isinstance(found, Picture)
    assert_alike_in_qt(tmp_path, before, found.data)


SHORT = '<line {}x2="9" y2="9"/>'
TANGLE = f'<path d="M0 0 {"L90 71 L7 80 L60 3 " * 12_000}"/>'
TOO_BROAD = {
    "letters of a group": f'<g font-size="9000">{"<text>xxxx</text>" * 300}</g>',
    "letters of a part of a text": f'<text font-size="9000">{"<tspan>xxxx</tspan>" * 300}</text>',
    "letters of a class": f"<style>text {{font-size: 9000px}}</style>{'<text>xxxx</text>' * 300}",
    "lines of a group": f'<g stroke="red" stroke-width="9000">{SHORT.format("") * 40_000}</g>',
    "lines of a class": "<style>.a {stroke-width: 9000}</style>" + SHORT.format('class="a" ') * 40_000,
    "lines of a use": '<line id="l" x2="9" y2="9"/>' + '<use xlink:href="#l" style="stroke-width: 90in"/>' * 40_000,
    "a tangle": TANGLE,
}


@pytest.mark.parametrize("name", TOO_BROAD)
def test_what_is_broad_or_high_by_what_it_is_in_is_counted_so(name: str) -> None:
    assert "takes too long" in text_of(clean_svg(svg(TOO_BROAD[name], 'width="500" height="500" viewBox="0 0 90 90"')))


FIGURES: dict[str, tuple[tuple[float, float], Callable[[Any, Any], object]]] = {
    "pcolormesh": ((5, 4), lambda axes, random: axes.pcolormesh(random.random((200, 200)))),
    "scatter": ((5, 4), lambda axes, random: axes.scatter(*random.random((2, 10_000)), c=random.random(10_000))),
    "scatter of many": ((6, 4), lambda axes, random: axes.scatter(*random.random((2, 30_000)), s=4)),
    "contours": ((5, 4), lambda axes, random: axes.contourf(random.random((30, 30)))),
    "large": ((20, 15), lambda axes, random: axes.plot(random.random((200, 5)), lw=4)),
    "far out of its axes": ((5, 4), lambda axes, _: axes.set_ylim(0, 4) and axes.plot([0, 1, 2], [0, 1e9, 3])),
    "histogram": ((5, 4), lambda axes, random: axes.hist(random.normal(size=1000), bins=50)),
    "bars with errors": ((5, 4), lambda axes, random: axes.bar(range(20), random.random(20), yerr=0.1, hatch="//")),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures_that_people_make_are_drawn_and_look_the_same(tmp_path: Path, name: str) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    size, draw = FIGURES[name]
    figure = figure_module.Figure(figsize=size)
    draw(figure.subplots(), np.random.default_rng(0))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    found = clean_svg(buffer.getvalue())
    assert isinstance(found, Picture), found
    assert_alike_in_qt(tmp_path, buffer.getvalue(), found.data)


# --- rows


def rows_of(node: cvcache.CacheDir) -> dict[str, Row]:
    node = node.snapshot()
    return {name: item_row("n", node, node.own_state, name, row) for name, row in node.rows().items()}


@pytest.fixture
def pictured(store_case: StoreCase) -> cvcache.CacheDir:
    """Give a node with pictures of each kind."""
    pytest.importorskip("PIL")
    with cvcache.cdir(store_case.child("node"), **store_case.options).init({"n": 1}) as node:
        node.write("plain.png", np.arange(60, dtype="uint8").reshape(6, 10))
        node.write("drawing.svg", svg(f"<script>x</script>{GREEN}").decode())
        node.write("im.ome.zarr", np.arange(64 * 64, dtype="uint16").reshape(64, 64))
        node.write("note.txt", "no picture")
        with node.open("own.svg", "wb") as file:
            file.write(svg(GREEN))
    return node


def test_the_pictures_of_a_node(pictured: cvcache.CacheDir) -> None:
    rows = rows_of(pictured)
    shown = {name: picture(row) for name, row in rows.items()}
    assert {name: found and (found.format, found.width, found.height) for name, found in shown.items()} == {
        "plain.png": ("png", 10, 6),
        "drawing.svg": ("svg", 100, 100),
        "own.svg": ("svg", 100, 100),
        "im.ome.zarr": None,
        "note.txt": None,
    }
    small = thumbnail(rows["im.ome.zarr"])
    assert isinstance(small, Picture)
    assert (small.width, small.height) == (64, 64)
    assert thumbnail(rows["plain.png"]) == shown["plain.png"]
    assert thumbnail(rows["note.txt"]) is None
    snapshot = pictured.snapshot()
    assert picture(node_row("n", snapshot, "committed")) is None


@pytest.mark.server
def test_what_pictures_cost(s3_case: BucketCase) -> None:
    pytest.importorskip("PIL")
    with cvcache.cdir(s3_case.child("node"), **s3_case.options).init({"n": 1}) as node:
        node.write("plain.png", np.zeros((6, 10), "uint8"))
        node.write("drawing.svg", svg(GREEN).decode())
        node.write("im.ome.zarr", np.zeros((64, 64), "uint16"))
        with node.open("own.svg", "wb") as file:
            file.write(svg(GREEN))
    stores: list[CountingStore] = []

    def counting(store: cvcache.testing.stores.Store) -> CountingStore:
        stores.append(CountingStore(store))
        return stores[-1]

    with instrument(counting):
        node = cvcache.cdir(s3_case.child("node"), **s3_case.options)
        rows = rows_of(node)
        costs = {}
        for name, ask in [*((name, picture) for name in rows if name.endswith("g")), ("im.ome.zarr", thumbnail)]:
            for store in stores:
                store.reset()
            assert isinstance(ask(rows[name]), Picture)
            costs[name] = sum((store.counts for store in stores), start=stores[0].counts.__class__())
    assert costs == {
        "plain.png": {"get": 1},
        "drawing.svg": {"get": 1},
        "own.svg": {"get": 1, "stat": 1},
        "im.ome.zarr": {"get": 1},
    }


def test_what_became_of_a_picture_is_said(memory_case: StoreCase) -> None:
    with cvcache.cdir_init(memory_case.child("node"), {"n": 1}) as node:
        node.write("a.svg", svg(GREEN).decode())
        node.write("b.svg", svg(GREEN).decode())
        node.write("im.ome.zarr", np.zeros((64, 64), "uint16"))
    rows = rows_of(node)
    memory_case.put("node/a.svg", b"another")
    memory_case.delete("node/b.svg")
    assert "its commit vouched for" in text_of(picture(rows["a.svg"]))
    assert "is gone" in text_of(picture(rows["b.svg"]))
    with cvcache.cdir_init(memory_case.child("node"), {"n": 2}) as node:
        node.write("a.svg", svg("<circle r='3'/>").decode())
    assert isinstance(picture(rows_of(node)["a.svg"]), Picture)
    for name in ("a.svg", "b.svg"):
        assert "replaced" in text_of(picture(rows[name])) or "vouched" in text_of(picture(rows[name]))
    cvcache.cdir_remove(node)
    assert "removed" in text_of(picture(rows["a.svg"]))


def test_a_file_recorded_as_too_large_is_not_read(memory_case: StoreCase) -> None:
    with cvcache.cdir_init(memory_case.child("node")) as node:
        node.write("a.svg", svg(GREEN).decode())
    row = item_row("n", node, "committed", "a.svg", {"kind": "plot", "size": 1 << 40})
    memory_case.delete("node/a.svg")
    assert "1.0 TiB" in text_of(picture(row))


def test_a_bad_thumbnail_is_refused(memory_case: StoreCase) -> None:
    with cvcache.cdir_init(memory_case.child("node")) as node:
        node.write("im.ome.zarr", np.zeros((64, 64), "uint16"))
    attempt = node.record().attempt  # type: ignore[union-attr]
    memory_case.put(f"node/_cvcache/thumb/{attempt}/im.ome.zarr.png", HOSTILE_PNG["too many pixels"])
    assert "pixels" in text_of(thumbnail(rows_of(node)["im.ome.zarr"]))
    memory_case.delete(f"node/_cvcache/thumb/{attempt}/im.ome.zarr.png")
    assert thumbnail(rows_of(node)["im.ome.zarr"]) is None


def test_a_file_of_a_stranger_is_shown_too(local_case: StoreCase) -> None:
    local_case.put("folder/theirs.svg", svg(GREEN))
    row = item_row("folder", cvcache.cdir(local_case.child("folder")), "foreign", "theirs.svg", {})
    found = picture(row)
    assert isinstance(found, Picture)
    local_case.delete("folder/theirs.svg")
    assert "not there any more" in text_of(picture(row))
