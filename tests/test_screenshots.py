"""The picture of a terminal is what a terminal shows today, and each notebook has its picture."""

from __future__ import annotations

import html
import re
import runpy
import sys
import tempfile
from pathlib import Path

import pytest
from test_docs import TOP

from cvcache.cli import demo

SCREENSHOTS = TOP / "docs" / "screenshots"
COMMITTED = SCREENSHOTS / "terminal.svg"


def lines_of(picture: str) -> list[str]:
    """Give the lines of text in a picture of a terminal."""
    lines: dict[float, str] = {}
    for y, text in re.findall(r'<text [^>]*\by="([\d.]+)"[^>]*>(.*?)</text>', picture):
        lines[float(y)] = lines.get(float(y), "") + html.unescape(text).replace("\xa0", " ")
    return [lines[y] for y in sorted(lines)]


def words_of(picture: str) -> set[str]:
    """Give the words that are the same in each run: no times, sizes, counts, versions and places."""
    return {
        word for word in " ".join(lines_of(picture)).split() if re.fullmatch(r"[(]?[a-z][a-z_.-]*[a-z][,:;)]*", word)
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the picture as it is made now."""
    for name in ("skimage", "matplotlib", "pandas"):
        pytest.importorskip(name)
    place = tmp_path_factory.mktemp("terminal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(place))
        patch.setattr(sys, "argv", ["terminal.py", str(place)])
        runpy.run_path(str(SCREENSHOTS / "terminal.py"), run_name="__main__")
    assert [path.name for path in place.iterdir()] == ["terminal.svg"]
    return (place / "terminal.svg").read_text(encoding="utf-8")


def test_the_picture_of_a_terminal_says_what_a_terminal_says(fresh: str) -> None:
    committed = COMMITTED.read_text(encoding="utf-8")
    assert words_of(fresh) == words_of(committed), "python docs/screenshots/terminal.py makes it anew"


def test_the_picture_of_a_terminal_names_the_nodes_of_the_demo() -> None:
    nodes = re.findall(r'root / "(\w+)"', Path(demo.__file__).read_text())
    lines = [line.split() for line in lines_of(COMMITTED.read_text(encoding="utf-8"))]
    assert len(nodes) == 6
    for node in nodes:
        assert [[node, "committed"]] * 2 == [line[:2] for line in lines if line[0] == node]
    assert lines.count(["node", "state", "items", "shape", "size", "time"]) == 2


def test_the_picture_of_a_terminal_fetches_nothing_and_names_no_machine() -> None:
    committed = COMMITTED.read_text(encoding="utf-8")
    assert not re.search(r"href|src|@import|@font-face|url\((?!#)", committed)
    paths = re.findall(r"(?<![\w/:<])/\w[\w/-]*", " ".join(lines_of(committed)))
    assert set(paths) == {"/tmp/lab/cvcache-demo"}
    assert len(committed) < 60_000


@pytest.mark.parametrize("notebook", sorted((TOP / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_has_its_picture_in_the_list(notebook: Path) -> None:
    text = (TOP / "notebooks" / "README.md").read_text()
    assert f"](../docs/screenshots/{notebook.stem}.png)]({notebook.name})" in text


def test_pictures_are_small() -> None:
    pictures = sorted(SCREENSHOTS.glob("*.png"))
    assert len(pictures) >= 6
    assert {path.name: path.stat().st_size for path in pictures if path.stat().st_size > 250_000} == {}
