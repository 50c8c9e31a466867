"""png, svg: conformance and what is special about each."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import PIL.Image
import pytest
from cases import FormatTests
from matplotlib.figure import Figure

from cvcache.errors import ItemDamaged, NotReproducible
from cvcache.formats import find_format

if TYPE_CHECKING:
    from cvcache.formats.place import Place


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

    def test_a_figure_is_rendered(self, place: Place) -> None:
        form = find_format(self.name)
        meta = form.write(place, figure())
        assert meta == form.describe(place)
        assert (meta["kind"], meta["shape"]) == ("plot", [50, 100, 4])
        assert form.read(place).shape == (50, 100, 4)  # type: ignore[attr-defined]
        assert form.write(place, figure(), dpi=100)["shape"] == [100, 200, 4]

    def test_what_pillow_would_not_open_is_not_written(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(NotReproducible, match="MAX_IMAGE_PIXELS"):
            find_format(self.name).write(place, pixels("uint8", 11, 10))
        assert place.store.stat(place.path) is None

    def test_a_bomb_is_not_opened(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        find_format(self.name).write(place, pixels("uint8", 20, 20))
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(PIL.Image.DecompressionBombError):
            find_format(self.name).read(place)

    def test_a_palette_is_resolved(self, place: Place) -> None:
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels("uint8", 4, 4, 3)).quantize(4).save(buffer, "PNG")
        place.put(buffer.getvalue())
        assert find_format(self.name).read(place).shape == (4, 4, 3)  # type: ignore[attr-defined]

    def test_a_cut_file_is_damage(self, place: Place) -> None:
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
    }

    def test_a_figure_is_rendered(self, place: Place) -> None:
        form = find_format(self.name)
        assert form.write(place, figure()) == form.describe(place)
        text = form.read(place)
        assert isinstance(text, str)
        assert "<svg" in text
