"""png, svg, pdf: conformance and what is special about each."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, ClassVar

import matplotlib
import numpy as np
import PIL.Image
import pytest
from format_cases import FormatTests, new_place
from matplotlib.figure import Figure

from cvcache import cdir_init, cdir_query
from cvcache.errors import ItemDamaged, NotReproducible, UsageError
from cvcache.formats import ItemPath, find_format
from cvcache.node import snapshot_of
from cvcache.testing import WrapperStore, instrument, values_equal

if TYPE_CHECKING:
    from pathlib import Path

    from cvcache.formats import ItemPath


def pixels(dtype: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


def figure() -> Figure:
    plot = Figure(figsize=(2, 1), dpi=50)
    plot.subplots().hist([1, 2, 2, 3])
    return plot


class TestPng(FormatTests):
    name = "slice.png"
    good: ClassVar = {
        "gray": lambda: pixels("uint8", 5, 7),
        "deep": lambda: pixels("uint16", 5, 7),
        "mask": lambda: pixels("uint8", 5, 9) > 99,
        "color": lambda: pixels("uint8", 5, 7, 3),
        "alpha": lambda: pixels("uint8", 5, 7, 4),
        "one": lambda: pixels("uint8", 1, 1),
        "strided": lambda: pixels("uint16", 10, 14)[::2, ::-2],
    }
    bad: ClassVar = {
        "float": lambda: np.zeros((3, 3)),
        "int16": lambda: np.zeros((3, 3), "int16"),
        "big-endian": lambda: np.zeros((3, 3), ">u2"),
        "volume": lambda: np.zeros((3, 3, 3, 3), "uint8"),
        "two channels": lambda: np.zeros((3, 3, 2), "uint8"),
        "deep color": lambda: np.zeros((3, 3, 3), "uint16"),
        "empty": lambda: np.zeros((0, 3), "uint8"),
        "axes": lambda: figure().axes[0],
        "path": lambda: "a.png",
    }

    def test_a_figure_is_rendered(self, place: ItemPath) -> None:
        form = find_format(self.name)
        meta = form.write(place, figure())
        assert meta == form.describe(place)
        assert (meta["kind"], meta["shape"]) == ("plot", [50, 100, 4])
        assert form.read(place).shape == (50, 100, 4)  # type: ignore[attr-defined]
        assert form.write(place, figure(), dpi=100)["shape"] == [100, 200, 4]

    def test_what_pillow_would_not_open_is_not_written(self, place: ItemPath, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(NotReproducible, match="MAX_IMAGE_PIXELS"):
            find_format(self.name).write(place, pixels("uint8", 11, 10))
        assert place.store.stat(place.path) is None

    def test_a_bomb_is_not_opened(self, place: ItemPath, monkeypatch: pytest.MonkeyPatch) -> None:
        find_format(self.name).write(place, pixels("uint8", 20, 20))
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(PIL.Image.DecompressionBombError):
            find_format(self.name).read(place)

    def test_a_palette_is_resolved(self, place: ItemPath) -> None:
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels("uint8", 4, 4, 3)).quantize(4).save(buffer, "PNG")
        place.put(buffer.getvalue())
        assert find_format(self.name).read(place).shape == (4, 4, 3)  # type: ignore[attr-defined]

    def test_a_cut_file_is_damage(self, place: ItemPath) -> None:
        find_format(self.name).write(place, pixels("uint8", 50, 50))
        place.put(place.get()[:500])
        with pytest.raises(ItemDamaged):
            find_format(self.name).read(place)
        place.put(b"GIF89a")
        with pytest.raises(ItemDamaged):
            find_format(self.name).describe(place)


class TestSvg(FormatTests):
    name = "hist.svg"
    good: ClassVar = {"text": lambda: '<svg xmlns="http://www.w3.org/2000/svg"><text>µ</text></svg>'}
    bad: ClassVar = {
        "text": lambda: "hello",
        "array": lambda: np.zeros((2, 2), "uint8"),
        "axes": lambda: figure().axes[0],
        "surrogate": lambda: "<svg>\ud800</svg>",
    }

    def test_a_figure_is_rendered(self, place: ItemPath) -> None:
        form = find_format(self.name)
        assert form.write(place, figure()) == form.describe(place)
        text = form.read(place)
        assert isinstance(text, str)
        assert "<svg" in text


class TestPdf(FormatTests):
    name = "hist.pdf"
    good: ClassVar = {"made elsewhere": lambda: b"%PDF-1.4 and so on"}
    bad: ClassVar = {
        "text": lambda: "%PDF-1.4",
        "other bytes": lambda: b"hello",
        "array": lambda: np.zeros((2, 2), "uint8"),
        "axes": lambda: figure().axes[0],
    }

    def test_a_figure_is_a_page(self, place: ItemPath) -> None:
        form = find_format(self.name)
        assert form.write(place, figure()) == form.describe(place)
        first = form.read(place)
        assert isinstance(first, bytes)
        assert first.startswith(b"%PDF-")
        form.write(place, figure())
        assert form.read(place) == first


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
def test_a_figure_stays_as_it_was_and_is_not_closed(suffix: str, layout: str | None) -> None:
    plot = Figure(figsize=(2, 1), dpi=50, layout=layout)
    plot.subplots().hist([1, 2, 2, 3])
    canvas, ground = plot.canvas, plot.get_facecolor()
    place = new_place(f"hist.{suffix}")
    form = find_format(place.name)
    form.write(place, plot, transparent=True)
    see_through = form.read(place)
    assert (plot.dpi, plot.canvas, plot.get_facecolor(), len(plot.axes)) == (50, canvas, ground, 1)
    form.write(place, plot)
    opaque = form.read(place)
    assert len(see_through) != len(opaque) or not np.array_equal(see_through, opaque)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_what_is_read_of_a_figure_is_the_same_first_and_later(suffix: str, tmp_path: Path) -> None:
    with cdir_init(tmp_path / "node") as node:
        first = node.write(f"hist.{suffix}", figure()).read()
    assert values_equal(first, cdir_query(tmp_path / "node").read(f"hist.{suffix}"))
    assert cdir_query(tmp_path / "node")[f"hist.{suffix}"].meta["kind"] == "plot"


def size_of(png: bytes | None) -> tuple[int, int] | None:
    return PIL.Image.open(io.BytesIO(png)).size if png else None


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_a_thumbnail_is_kept_of_a_figure_and_of_nothing_else(suffix: str, tmp_path: Path) -> None:
    other: Any = "<svg/>" if suffix == "svg" else b"%PDF-1.4"
    calls: list[str] = []

    class Puts(WrapperStore):
        def call(self, verb: str, path: str, act: Any, data: bytes | None = None) -> Any:
            if verb == "put":
                calls.append(path.removeprefix(f"{tmp_path}/node/"))
            return super().call(verb, path, act, data)

    with instrument(Puts), cdir_init(tmp_path / "node") as node:
        attempt = snapshot_of(node).record.attempt  # type: ignore[union-attr]  # it was computed
        calls.clear()
        node.write(f"hist.{suffix}", figure())
        assert calls == [
            f"_cvcache/writing/{attempt}/hist.{suffix}.json",
            f"hist.{suffix}",
            f"_cvcache/thumb/{attempt}/hist.{suffix}.png",
        ]
        node.write(f"other.{suffix}", other)
        for name in ("again", "opened", "for a tool"):
            node.write(f"{name}.{suffix}", figure())
        node.write(f"again.{suffix}", other)
        with node.open(f"opened.{suffix}", "wb") as file:
            file.write(b"theirs")
        node.path(f"for a tool.{suffix}")
    pictured = {
        item.name.partition(".")[0]: size_of(item.thumbnail()) for item in cdir_query(tmp_path / "node").items()
    }
    assert pictured == {"hist": (1000, 500), "other": None, "again": None, "opened": None, "for a tool": None}


def test_a_figure_whose_thumbnail_cannot_be_drawn_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    draw = Figure.savefig

    def savefig(self: Figure, *args: Any, **options: Any) -> None:
        if options["format"] == "png":
            raise RuntimeError("no font")
        draw(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    plot = Figure(layout="constrained")
    layout = plot.get_layout_engine()
    with cdir_init(tmp_path / "node") as node:
        node.write("hist.svg", plot)
    item = cdir_query(tmp_path / "node")["hist.svg"]
    assert "<svg" in item.read()
    assert item.thumbnail() is None
    assert "hist.svg has no thumbnail (RuntimeError: no font)" in caplog.text
    assert plot.get_layout_engine() is layout


def test_a_thumbnail_is_bounded_in_pixels_and_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plot = figure()
    plot.axes[0].text(20, 1, "far out")
    with cdir_init(tmp_path / "node") as node:
        with matplotlib.rc_context({"savefig.bbox": "tight"}):
            node.write("far.svg", plot)
        monkeypatch.setattr("cvcache.node.item_write.MAX_THUMBNAIL_BYTES", 100)
        node.write("large.svg", plot)
        monkeypatch.undo()
    node = cdir_query(tmp_path / "node")
    assert 1000 <= max(size_of(node["far.svg"].thumbnail()) or ()) <= 1100
    assert node["large.svg"].thumbnail() is None
    assert "large.svg has no thumbnail" in caplog.text


@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
def test_a_thumbnail_leaves_the_layout_as_the_figure_was_written(layout: str | None) -> None:
    plot, same = (Figure(figsize=(6, 4), layout=layout) for _ in range(2))
    for axes in [*plot.subplots(2, 2).flat, *same.subplots(2, 2).flat]:
        axes.set(xlabel="size in voxels", ylabel="mean brightness", title="cells")
    for name, date in (("hist.svg", "Date"), ("hist.pdf", "CreationDate")):
        place, page = new_place(name), io.BytesIO()
        find_format(name).write(place, plot)
        same.savefig(page, format=name[-3:], metadata={date: None}, transparent=False)
    assert page.getvalue() == place.get()


@pytest.mark.parametrize("options", [{"dpi": 100}, {"transparent": True}])
def test_pixels_have_no_dots_per_inch(options: dict[str, Any]) -> None:
    place = new_place("a.png")
    with pytest.raises(UsageError, match="for figures"):
        find_format("a.png").write(place, pixels("uint8", 5, 7), **options)
    assert place.store.stat(place.path) is None


def test_a_picture_that_a_tool_made_larger_than_any_we_open_is_committed_all_the_same(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b""))
    )
    with cdir_init(tmp_path / "node") as node, node.open("overlay.png", "wb") as file:
        file.write(data)
    item = cdir_query(tmp_path / "node")["overlay.png"]
    assert (item.meta["kind"], item.meta["size"]) == ("image", len(data))
