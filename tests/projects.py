"""Scripts of users, run as they run them: each in a process of its own, in a folder whose files a test edits."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Project"]

PATIENCE = 60


class Project:
    """A folder with Python files.

    Parameters
    ----------
    folder
        Where they lie; it need not exist yet.
    **files
        Their names, without ``.py``, and their text, indented as the test likes.
    """

    def __init__(self, folder: Path, **files: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Create a file, or write it anew."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(text))

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a piece of a file, which must be there."""
        path = self.folder / f"{name}.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def start(self, name: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a file as a script."""
        return subprocess.Popen(
            # without the files of compiled code, whose time stamps are too coarse for edits within a second
            [sys.executable, "-B", f"{name}.py", *map(str, arguments)],
            cwd=self.folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, name: str, *arguments: object) -> list[str]:
        """Run a file as a script and give the lines it prints; it must end well."""
        return self.output(self.start(name, *arguments))

    def die(self, name: str, *arguments: object) -> int:
        """Run a file as a script and give the exit status, which tells of a signal by a minus."""
        process = self.start(name, *arguments)
        process.communicate(timeout=PATIENCE)
        return process.returncode

    @staticmethod
    def output(process: subprocess.Popen[str]) -> list[str]:
        """Wait for a script and give the lines it printed; it must end well."""
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        return out.splitlines()
