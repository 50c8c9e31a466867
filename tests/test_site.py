"""The site has all pages and all public names; that it builds without a warning is a step of .ci/run."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
from test_docs import PAGES, TOP, name_of

import cvcache
import cvcache.testing

DOCSTRINGS = sorted((TOP / "docs" / "reference" / "docstrings").glob("*.rst"))


@pytest.fixture(autouse=True)
def extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the extensions of the site."""
    monkeypatch.syspath_prepend(str(TOP / "docs" / "_ext"))


def documented(page: Path) -> list[str]:
    """Give the full names that a page takes from docstrings."""
    names, module = [], ""
    for directive, name in re.findall(r"^\.\. (\w+):: ([\w.]+)", page.read_text(), re.MULTILINE):
        if directive == "currentmodule":
            module = name
        elif directive.startswith("auto") and directive != "automodule":
            names.append(name if name.startswith("cvcache.") else f"{module}.{name}")
    return names


def test_every_public_name_has_its_docstring_on_the_site_once() -> None:
    names = [name for page in DOCSTRINGS for name in documented(page)]
    assert len(names) == len(set(names))
    last = {name.rpartition(".")[2] for name in names if name.startswith("cvcache.testing.")}
    assert last == set(cvcache.testing.__all__)
    assert {name for name in names if name.count(".") == 1} == {f"cvcache.{name}" for name in cvcache.__all__}


@pytest.mark.parametrize("name", [name for page in DOCSTRINGS for name in documented(page)])
def test_what_the_site_documents_is_there(name: str) -> None:
    module, _, last = name.rpartition(".")
    importlib.import_module(module)
    assert hasattr(sys.modules[module], last)  # a face may have a function with the name of the module


def test_what_the_overview_of_browse_names_has_its_docstring() -> None:
    page = (TOP / "docs" / "reference" / "browse.md").read_text()
    rows = " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))
    named = set(re.findall(r"`([A-Za-z]\w*)(?:\([^`]*)?`", rows))
    shown = {name.rpartition(".")[2] for name in documented(TOP / "docs" / "reference" / "docstrings" / "browse.rst")}
    assert named <= shown
    assert shown - named <= {"Picture", "Refused", "Removal"}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name == "README.md" and page.parent != TOP], ids=name_of
)
def test_a_list_of_contents_names_all_that_lies_beside_it(page: Path) -> None:
    beside = {*page.parent.glob("*.md"), *page.parent.glob("*.rst"), *page.parent.glob("*.ipynb")} - {page}
    below = {(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text())}
    assert beside <= below


def test_a_broken_link_of_the_site_is_seen(tmp_path: Path) -> None:
    from inside_links import broken

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.html").write_text('<p id="here"><a href="../c.html#there"><a href="#here"><img src="d.png">')
    (tmp_path / "c.html").write_text('<h1 id="there"><a href="a/b.html#gone"><a href="https://example.org/gone">')
    assert list(broken(tmp_path)) == [
        "a/b.html links to d.png, which is not there",
        "c.html links to a/b.html#gone, and that page has no such place",
    ]
