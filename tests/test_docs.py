"""The documentation is true: its code runs, its commands and names exist, its links lead somewhere."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import inspect
import io
import re
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import house
import pytest
import windows

import cvcache
from cvcache.cli import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parent.parent
PAGES = [*sorted(TOP.glob("*.md")), *sorted((TOP / "docs").rglob("*.md")), *sorted((TOP / "notebooks").glob("*.md"))]
API = TOP / "docs" / "reference" / "api.md"


def name_of(path: Path) -> str:
    return str(path.relative_to(TOP))


def code_of(page: Path) -> str:
    """Give the Python of a page as one script, each line where it stands in the page."""
    lines, inside = [], False
    for line in page.read_text().splitlines():
        if line.strip().startswith("```"):
            inside = line.strip() == "```python"
            lines.append("")
        else:
            lines.append(line if inside else "")
    return "\n".join(lines) + "\n"


def promised(code: str) -> list[str]:
    """Give what the lines that print say they print, in a comment behind them."""
    return [found[1] for line in code.splitlines() if (found := re.match(r"print\(.*\) +# (.*)", line))]


def run(path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """Run a script in an empty folder and give the lines it prints."""
    monkeypatch.chdir(folder)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(path), run_name="page")
    return printed.getvalue().splitlines()


@pytest.mark.parametrize("page", [page for page in PAGES if code_of(page).strip()], ids=name_of)
def test_the_code_of_a_page_runs_and_prints_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "page.py"
    script.write_text(code_of(page))
    (tmp_path / "empty").mkdir()
    lines = run(script, monkeypatch, tmp_path / "empty")
    expected = promised(script.read_text())
    assert [line for line in lines if line in expected] == expected, lines


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_anchors_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", page.read_text()):
        text = ((page.parent / target) if target else page).read_text()
        titles = [
            re.sub(r"[^\w\- ]", "", title).strip().lower() for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        ]
        assert anchor in [title.replace(" ", "-") for title in titles], f"{name_of(page)}: #{anchor}"


def commands_in(page: Path) -> Iterator[tuple[str, str]]:
    """Give (command, rest of the line) of what stands in code on a page."""
    text = page.read_text()
    for block in re.findall(r"```(?:sh|text|console)\n(.*?)```|`([^`\n]+)`", text, re.DOTALL):
        for line in "\n".join(block).splitlines():
            yield from re.findall(r"(?<!from )\bcvcache ([a-z]\w*)(.*)", line)


def test_every_command_in_the_docs_exists_with_its_options() -> None:
    for page in PAGES:
        for command, rest in commands_in(page):
            assert command in cli.commands, f"{name_of(page)}: cvcache {command}"
            known = {word for option in cli.commands[command].params for word in option.opts} | {"--help"}
            for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", rest.partition("   ")[0]):
                assert option in known, f"{name_of(page)}: cvcache {command} {option}"


def test_every_command_and_option_is_in_the_docs() -> None:
    text = (TOP / "docs" / "reference" / "cli.md").read_text()
    readme = (TOP / "README.md").read_text()
    for name, command in cli.commands.items():
        assert f"`cvcache {name} " in text
        assert f"cvcache {name} " in readme
        for option in command.params:
            for word in option.opts:
                assert not word.startswith("--") or word in text or word == "--option", f"cvcache {name} {word}"


def test_every_name_is_in_the_reference() -> None:
    text = API.read_text()
    for name in cvcache.__all__:
        assert re.search(rf"`{name}\b", text), f"{name} is not in {name_of(API)}"


def public_members(kind: type) -> set[str]:
    """Give the names of the attributes of the objects of a class."""
    return {name for name in {*dir(kind), *getattr(kind, "__dataclass_fields__", ())} if not name.startswith("_")}


@pytest.mark.parametrize("kind", [cvcache.CacheDir, cvcache.Item, cvcache.Commit, cvcache.Policy])
def test_every_public_member_is_in_the_reference(kind: type) -> None:
    text = API.read_text()
    for name in public_members(kind) - {"of"}:
        assert re.search(rf"`{name}\b", text), f"{kind.__name__}.{name} is not in {name_of(API)}"


def test_signatures_in_the_reference_are_the_real_ones() -> None:
    for name, shown in re.findall(r"^\| `((?:cdir|register)\w*)\((.*?)\)` \|", API.read_text(), re.MULTILINE):
        parameters = inspect.signature(getattr(cvcache, name)).parameters.values()
        real = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        assert re.findall(r"(?:^|, )(\w+)", shown) == real, name


MODULES = ["cvcache", *sorted(house.modules().keys() - {"cvcache", "cvcache.testing.store_tests"})]
WINDOWS = [name for name in MODULES if name.startswith("cvcache.napari")]


def run_examples(names: list[str]) -> int:
    """Import modules, run the examples in their docstrings, and give how many there are."""
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    modules = [importlib.import_module(name) for name in names]
    examples = [example for module in modules for example in finder.find(module) if example.examples]
    for example in examples:
        with io.StringIO() as report:
            failed, _ = runner.run(example, out=report.write)
            assert not failed, report.getvalue()
    return len(examples)


def test_examples_in_docstrings_run() -> None:
    assert run_examples([name for name in MODULES if name not in WINDOWS])


@pytest.mark.skipif(bool(windows.missing()), reason=windows.missing())
def test_examples_in_docstrings_of_windows_run() -> None:
    run_examples(WINDOWS)
    assert "qtpy" in sys.modules


def test_every_public_function_says_what_it_raises_and_costs() -> None:
    for name in ("cdir_init", "cdir_commit", "cdir_query", "cdir_remove"):
        assert "Notes" in (inspect.getdoc(getattr(cvcache, name)) or ""), name
