"""The notebooks run from top to bottom in an empty folder, each in a process of its own, and without a warning."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from notebook_cells import cells_of
from test_docs import TOP, code_of, name_of, promised

NOTEBOOKS = sorted((TOP / "notebooks").glob("*.ipynb"))
RUN = "import sys, notebook_cells; notebook_cells.run(sys.argv[1])"


def needs(notebook: Path) -> None:
    """Skip where what the notebook imports is not installed."""
    for name in re.findall(r"^(?:import|from) (\w+(?:\.distributed)?)", "\n".join(cells_of(notebook)), re.MULTILINE):
        pytest.importorskip(name)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_a_notebook_runs_and_prints_what_it_says(notebook: Path, tmp_path: Path) -> None:
    needs(notebook)
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, str(notebook)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(TOP / "tests"), "MPLBACKEND": "agg"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        check=False,
    )
    assert not done.returncode, done.stdout
    assert "Warning" not in done.stdout, done.stdout
    lines, expected = done.stdout.splitlines(), promised("\n".join(cells_of(notebook)))
    assert [line for line in lines if line in expected] == expected, done.stdout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_a_notebook_is_kept_without_outputs(notebook: Path) -> None:
    cells = json.loads(notebook.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code), "clear the outputs"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_links_of_a_notebook_lead_somewhere(notebook: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", "\n".join(cells_of(notebook, "markdown"))):
        assert "://" in target or (notebook.parent / target).exists(), f"{name_of(notebook)} links to {target}"


def test_the_tutorial_has_its_notebook() -> None:
    source = "\n".join(cells_of(TOP / "notebooks" / "first_pipeline.ipynb"))
    page = code_of(TOP / "docs" / "tutorial" / "first-pipeline.md")
    assert [line for line in source.splitlines() if line] == [line for line in page.splitlines() if line]
