"""Run the cells of a notebook as its kernel does: in ``__main__``, which has no file, each from a source of its own.

The kernel of Jupyter would add 30 packages to prove no more.
"""

from __future__ import annotations

import json
import linecache
import shlex
import subprocess
import sys
from pathlib import Path


def cells_of(notebook: Path, kind: str = "code") -> list[str]:
    """Give the sources of the cells of one kind."""
    cells = json.loads(notebook.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == kind]


def run(notebook: str) -> None:
    """Run the cells from top to bottom; one that is a command, ``!cvcache tree run1``, as a process."""
    for number, source in enumerate(cells_of(Path(notebook))):
        if source.startswith("!"):
            subprocess.run(shlex.split(source[1:]), check=True)
            continue
        name = f"<cell {number}>"
        linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
        exec(compile(source, name, "exec"), vars(sys.modules["__main__"]))  # noqa: S102 - as a notebook does
