"""Scripts of users, run as they run them: each in a process of its own, in a folder whose files a test edits."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
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

    def run(self, name: str, *arguments: object) -> list[str]:
        """Run a file as a script and give the lines it prints; it must end well."""
        done = self._run(name, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def run_together(self, count: int, name: str, *arguments: object) -> list[list[str]]:
        """Run a file as several scripts at the same time, and give the lines of each."""
        with ThreadPoolExecutor(count) as pool:
            return [*pool.map(lambda _: self.run(name, *arguments), range(count))]

    def die(self, name: str, *arguments: object) -> int:
        """Run a file as a script and give the exit status, which tells of a signal by a minus."""
        return self._run(name, *arguments).returncode

    def _run(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            # without the files of compiled code, whose time stamps are too coarse for edits within a second
            [sys.executable, "-B", f"{name}.py", *map(str, arguments)],
            cwd=self.folder,
            text=True,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
