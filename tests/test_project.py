"""pyproject.toml and what repeats it: hooks, citation, changelog, CI, and the install commands that are printed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"]
TOX = PYPROJECT["tool"]["tox"]
GROUPS = PYPROJECT["dependency-groups"]
HOOKS = yaml.safe_load((TOP / ".pre-commit-config.yaml").read_text())["repos"]
CHANGELOG = (TOP / "CHANGELOG.md").read_text()


def requirements() -> set[str]:
    """Give each requirement of the project, of its extras and of its groups, as it is written."""
    lists = [PROJECT["dependencies"], *EXTRAS.values(), *GROUPS.values()]
    return {entry for entries in lists for entry in entries if isinstance(entry, str)}


def test_hooks_and_lint_group_have_the_same_versions() -> None:
    pinned = {name: f"v{version}" for name, version in (entry.split("==") for entry in GROUPS["lint"])}
    local = [hook["id"] for repo in HOOKS if repo["repo"] == "local" for hook in repo["hooks"]]
    assert local == ["lint-imports"]
    del pinned["import-linter"]
    versions = {repo["repo"].rpartition("/")[2]: repo["rev"] for repo in HOOKS if repo["repo"] != "local"}
    for no_tool in ("pre-commit-hooks", "pygrep-hooks"):
        del versions[no_tool]
    names = {re.sub(r"^mirrors-|-pre-commit$", "", name): version for name, version in versions.items()}
    assert names == pinned


def test_what_the_hook_of_mypy_installs_is_what_the_project_asks_for() -> None:
    hooks = {hook["id"]: hook for repo in HOOKS for hook in repo["hooks"]}
    assert set(hooks["mypy"]["additional_dependencies"]) <= requirements()


def test_the_guide_names_what_tox_calls_lint() -> None:
    commands = {" ".join(command) for command in TOX["env"]["lint"]["commands"]}
    assert commands <= set((TOP / "CONTRIBUTING.md").read_text().splitlines())


def test_ci_runs_every_environment_of_tox() -> None:
    run = re.findall(r"\btox run.* -e ([\w,-]+)", (TOP / ".ci/run").read_text())
    assert {name for names in run for name in names.split(",")} == set(TOX["env"])
    assert set(TOX["env_list"]) <= set(TOX["env"])


def test_both_ends_are_those_of_the_classifiers() -> None:
    minors = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert TOX["env"]["lowest"]["base_python"][0]["default"] == minors[0]
    ci = (TOP / ".ci/run").read_text()
    assert re.findall(r"for version in (.*); do", ci) == [" ".join(minors[::-1])]
    assert re.findall(r'"(3\.\d+) \$(newest|lowest)"', ci) == [(minors[-1], "newest"), (minors[0], "lowest")]


def test_the_citation_is_of_this_project_and_version() -> None:
    citation = yaml.safe_load((TOP / "CITATION.cff").read_text())
    assert citation["title"] == PROJECT["name"]
    assert citation["abstract"] == f"{PROJECT['description']}."
    assert citation["license"] == PROJECT["license"]
    assert citation["keywords"] == PROJECT["keywords"]
    assert citation["repository-code"] == PROJECT["urls"]["Homepage"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]
    assert citation["version"] == re.findall(r"^## \[(\d[^]]*)\]", CHANGELOG, re.MULTILINE)[0]
    assert citation["version"] == PYPROJECT["tool"]["hatch"]["version"]["fallback-version"].removesuffix(".dev0")


def test_the_first_python_of_the_classifiers_is_the_one_that_is_required() -> None:
    first = next(name for name in PROJECT["classifiers"] if re.search(r"Python :: 3\.", name))
    assert PROJECT["requires-python"] == f">={first.rpartition(' ')[2]}"


def test_what_the_sdist_includes_is_there() -> None:
    for path in PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]:
        assert (TOP / path[1:]).exists(), path


TEXTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "docs/**/*.py", "notebooks/*.ipynb", "cvcache/**/*.py", "tests/**/*.py")
    for path in TOP.glob(pattern)
    if path != Path(__file__)
)
INSTALL = re.compile(r"(?<!uv )pip install ([^`\n&#{]*)")


def installs() -> list[tuple[str, str]]:
    """Give (file, arguments) of each ``pip install`` that is printed or documented; of a notebook in its text."""
    found = []
    for path in TEXTS:
        text = path.read_text()
        if path.suffix == ".ipynb":
            text = "".join(line for cell in json.loads(text)["cells"] for line in cell["source"])
        found += [(str(path.relative_to(TOP)), arguments) for arguments in INSTALL.findall(text)]
    return found


def test_install_commands_name_extras_and_groups_that_exist() -> None:
    commands = installs()
    assert len(commands) > 20
    for file, arguments in commands:
        extras = [extra for names in re.findall(r"\[([\w,-]+)\\*\]", arguments) for extra in names.split(",")]
        assert set(extras) <= set(EXTRAS), f"{file}: {arguments}"
        assert set(re.findall(r"--group ([\w-]+)", arguments)) <= set(GROUPS), f"{file}: {arguments}"


def test_pages_install_from_a_clone_until_there_is_a_release() -> None:
    if "unreleased" not in CHANGELOG:
        pytest.skip("the index has it")
    for file, arguments in installs():
        assert file.startswith(("cvcache/", "tests/")) or "cvcache[" not in arguments, f"{file}: {arguments}"


def test_what_is_printed_adds_an_extra_to_the_cvcache_that_is_installed() -> None:
    try:
        importlib.metadata.version("cvcache")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("cvcache is not installed")
    if importlib.util.find_spec("pip") is None:
        pytest.skip("pip is not installed")
    command = "-m pip install --dry-run --no-deps --no-index --disable-pip-version-check cvcache[demo]"
    done = subprocess.run([sys.executable, *command.split()], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr  # without an index there is no other one


def test_all_is_every_extra_but_those_for_a_person_at_a_screen() -> None:
    brought = {name for entry in EXTRAS["all"] for name in re.findall(r"\w+", entry.partition("[")[2])}
    assert brought == set(EXTRAS) - {"all", "napari", "notebooks"}
