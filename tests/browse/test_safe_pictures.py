"""Pictures of strangers: what is handed to Qt draws, and does nothing else."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import cvcache
from cvcache.browse import item_row, node_row
from cvcache.browse.pictures import MAX_BYTES, Picture, Refused, check_png, picture, thumbnail
from cvcache.image.write import encode_png
from cvcache.node import item_io, snapshot_of
from cvcache.testing import CountingStore, instrument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.store_cases import BucketCase, StoreCase

    from cvcache.browse import Row
    from cvcache.store import Store

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RED = encode_png(np.full((4, 4, 3), (255, 0, 0), "uint8"))


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
    assert (found.width, found.height) == (7, 13)
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
    assert found == Picture(made(header(2, 2), chunk(b"IDAT", GRAY_2X2), END), 2, 2)


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
    "no end of deflate": made(header(2, 2), chunk(b"IDAT", GRAY_2X2[:-4]), END),
    "header in second place": made(chunk(b"tEXt", b"a\0b"), header(2, 2), chunk(b"IDAT", GRAY_2X2), END),
    "wrong checksum of the end": made(header(2, 2), chunk(b"IDAT", GRAY_2X2), END[:-1] + b"\0"),
    "fewer pixels, interlaced": made(header(3, 3, 8, 0, 0, 0, 1), chunk(b"IDAT", zlib.compress(b"\0a")), END),
    "more pixels, interlaced": made(header(3, 3, 8, 0, 0, 0, 1), chunk(b"IDAT", inflating_to(1 << 20)), END),
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
    assert "64.0 MiB" in text_of(check_png(bytes(MAX_BYTES + 1)))


# --- rows

HOSTILE_SVG = (
    '<?xml-stylesheet href="http://127.0.0.1:9/a.css"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///dev/zero">]>'
    '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script>'
    '<image href="http://127.0.0.1:9/a.png" width="9" height="9"/><text>&x;</text></svg>'
)
HOSTILE_PDF = b"%PDF-1.4 <</OpenAction <</S /JavaScript /JS (app.alert(1))>>>>"


def drawing() -> Any:
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(4, 3))
    figure.subplots().plot([1, 3, 2])
    return figure


def rows_of(node: cvcache.CacheDir) -> dict[str, Row]:
    node = cvcache.cdir_query(node)
    return {
        name: item_row("n", snapshot_of(node), snapshot_of(node).state, name, row)
        for name, row in item_io.read_rows(snapshot_of(node)).items()
    }


def write_pictures(node: cvcache.CacheDir) -> None:
    """Write pictures of each kind."""
    node.write("plain.png", np.arange(60, dtype="uint8").reshape(6, 10))
    node.write("figure.svg", drawing())
    node.write("figure.pdf", drawing())
    node.write("text.svg", HOSTILE_SVG)
    node.write("im.ome.zarr", np.arange(64 * 64, dtype="uint16").reshape(64, 64))
    node.write("note.txt", "no picture")
    with node.open("own.svg", "wb") as file:
        file.write(HOSTILE_SVG.encode())


def test_the_pictures_of_a_node(store_case: StoreCase) -> None:
    with cvcache.cdir_init(cvcache.cdir(store_case.child("node"), **store_case.options), {"n": 1}) as node:
        write_pictures(node)
        running = picture(rows_of(cvcache.cdir(node.url, **store_case.options))["figure.svg"])
    rows = rows_of(node)
    shown = {name: picture(row) for name, row in rows.items()}
    sizes = {name: (found.width, found.height) for name, found in shown.items() if isinstance(found, Picture)}
    assert sizes == {"plain.png": (10, 6), "figure.svg": (1000, 750), "figure.pdf": (1000, 750)}
    assert running == shown["figure.svg"]
    for name in ("text.svg", "own.svg"):
        assert text_of(shown[name]).endswith(f"open this SVG elsewhere: {node[name].url}")
    assert shown["im.ome.zarr"] is shown["note.txt"] is None
    small = thumbnail(rows["im.ome.zarr"])
    assert isinstance(small, Picture)
    assert (small.width, small.height) == (64, 64)
    assert {name: thumbnail(rows[name]) for name in sizes} == {name: shown[name] for name in sizes}
    assert thumbnail(rows["note.txt"]) is None
    snapshot = cvcache.cdir_query(node)
    assert picture(node_row("n", snapshot_of(snapshot), "committed")) is None


@pytest.fixture
def stores() -> Iterator[list[CountingStore]]:
    """Give the stores that are opened, each of which notes its calls."""
    opened: list[CountingStore] = []

    def counting(store: Store) -> CountingStore:
        opened.append(CountingStore(store))
        return opened[-1]

    with instrument(counting):
        yield opened


@pytest.mark.server
def test_what_pictures_cost(s3_case: BucketCase, stores: list[CountingStore]) -> None:
    with cvcache.cdir_init(cvcache.cdir(s3_case.child("node"), **s3_case.options), {"n": 1}) as node:
        write_pictures(node)
        with node.open("own.png", "wb") as file:
            file.write(RED)
    rows = rows_of(cvcache.cdir(s3_case.child("node"), **s3_case.options))
    costs = {}
    for name, row in rows.items():
        for store in stores:
            store.reset()
        found = (picture if name.endswith(("png", "svg", "pdf")) else thumbnail)(row)
        assert name == "note.txt" or found is not None
        costs[name] = sum((store.counts for store in stores), start=stores[0].counts.__class__())
    once = {"get": 1}
    assert costs == {
        "plain.png": once,
        "own.png": once,
        "figure.svg": once,
        "figure.pdf": once,
        "text.svg": {"get": 2},
        "own.svg": {"get": 2},
        "im.ome.zarr": once,
        "note.txt": {},
    }


def test_an_svg_or_pdf_itself_is_never_read(local_case: StoreCase, stores: list[CountingStore]) -> None:
    with cvcache.cdir_init(local_case.child("node")) as node:
        write_pictures(node)
        node.write("text.pdf", HOSTILE_PDF)
    local_case.put("folder/theirs.svg", HOSTILE_SVG.encode())
    local_case.put("folder/theirs.pdf", HOSTILE_PDF)
    folder = cvcache.cdir(local_case.child("folder"))
    foreign = [item_row("folder", snapshot_of(folder), "foreign", name, {}) for name in ("theirs.svg", "theirs.pdf")]
    rows = [row for row in [*rows_of(node).values(), *foreign] if row.name.endswith((".svg", ".pdf"))]
    for store in stores:
        store.reset()
    for row in rows:
        drawn = isinstance(picture(row), Picture)
        assert drawn == (row.name in {"figure.svg", "figure.pdf"})
        assert thumbnail(row) == (None if row.state == "foreign" else picture(row))
    read = [path for store in stores for verb, path in store.log if verb in {"get", "open"}]
    assert len(read) > len(rows)
    assert all("/_cvcache/thumb/" in path or "/_cvcache/log/" in path for path in read)
    assert text_of(picture(foreign[0])).endswith(f"open this SVG elsewhere: {local_case.child('folder/theirs.svg')}")
    assert text_of(picture(foreign[1])).endswith(f"open this PDF elsewhere: {local_case.child('folder/theirs.pdf')}")


def test_what_became_of_a_picture_is_said(memory_case: StoreCase) -> None:
    pixels = np.arange(60, dtype="uint8").reshape(6, 10)
    with cvcache.cdir_init(memory_case.child("node"), {"n": 1}) as node:
        node.write("a.png", pixels)
        node.write("b.png", pixels)
        node.write("c.svg", drawing())
    rows = rows_of(node)
    memory_case.put("node/a.png", b"another")
    memory_case.delete("node/b.png")
    assert "its commit vouched for" in text_of(picture(rows["a.png"]))
    assert "is gone" in text_of(picture(rows["b.png"]))
    with cvcache.cdir_init(memory_case.child("node"), {"n": 2}) as node:
        node.write("a.png", pixels + 1)
        node.write("c.svg", drawing())
    assert isinstance(picture(rows_of(node)["a.png"]), Picture)
    assert isinstance(picture(rows_of(node)["c.svg"]), Picture)
    for name in ("a.png", "b.png"):
        assert "replaced" in text_of(picture(rows[name])) or "vouched" in text_of(picture(rows[name]))
    assert "replaced" in text_of(picture(rows["c.svg"]))
    cvcache.cdir_remove(node)
    assert "removed" in text_of(picture(rows["b.png"]))
    assert "removed" in text_of(picture(rows["c.svg"]))


def test_a_file_recorded_as_too_large_is_not_read(memory_case: StoreCase) -> None:
    with cvcache.cdir_init(memory_case.child("node")) as node:
        node.write("a.png", np.zeros((6, 10), "uint8"))
    row = item_row("n", snapshot_of(node), "committed", "a.png", {"kind": "plot", "size": 1 << 40})
    memory_case.delete("node/a.png")
    assert "1.0 TiB" in text_of(picture(row))


@pytest.mark.parametrize("name", ["im.ome.zarr", "a.svg"])
def test_a_bad_thumbnail_is_refused(memory_case: StoreCase, name: str) -> None:
    with cvcache.cdir_init(memory_case.child("node")) as node:
        node.write(name, np.zeros((64, 64), "uint16") if name == "im.ome.zarr" else drawing())
    attempt = snapshot_of(node).record.attempt  # type: ignore[union-attr]  # it was computed
    memory_case.put(f"node/_cvcache/thumb/{attempt}/{name}.png", HOSTILE_PNG["too many pixels"])
    assert "pixels" in text_of(thumbnail(rows_of(node)[name]))
    memory_case.delete(f"node/_cvcache/thumb/{attempt}/{name}.png")
    assert not isinstance(thumbnail(rows_of(node)[name]), Picture)


def test_a_file_of_a_stranger_is_shown_too(local_case: StoreCase) -> None:
    local_case.put("folder/theirs.png", RED)
    row = item_row("folder", snapshot_of(cvcache.cdir(local_case.child("folder"))), "foreign", "theirs.png", {})
    found = picture(row)
    assert isinstance(found, Picture)
    local_case.delete("folder/theirs.png")
    assert "not there any more" in text_of(picture(row))
