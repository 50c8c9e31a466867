"""Sample data: the tree of the demo, which is shown while it is computed."""

from __future__ import annotations

import atexit
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from cvcache.browse import plain_text

LAST_LINES = 12
"""Lines of the output of a failed demo that are shown."""
_PACKAGES = ("skimage", "matplotlib", "pandas")


def demo(show_tree: Callable[[str], Any]) -> Any:
    """Run the demo while `show_tree` shows its tree, and return the widget; None if there is no window.

    Nodes that were computed before are not computed again.
    """
    from napari.utils.notifications import show_error

    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        show_error(f"the demo needs {', '.join(missing)}; this brings it: pip install 'cvcache[demo]'")
        return None
    url = os.path.join(cache_directory(), "cvcache", "demo")
    os.makedirs(url, exist_ok=True)
    widget = show_tree(url)
    if widget is not None:
        widget.jobs.start(
            run, url, done=lambda _: widget.refresh(), failed=lambda error: show_error(str(error)), topic="demo"
        )
    return widget


def run(url: str) -> str:
    """Run the demo at `url` in a child process, and return its output.

    Raises
    ------
    ChildProcessError
        The demo failed.
    """
    command = [sys.executable, "-P", "-m", "cvcache.cli.main", "demo", url]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 - our own program
        atexit.register(process.terminate)  # it ends with napari; the next run continues it
        process.wait()
        atexit.unregister(process.terminate)
        output.seek(0)
        printed = plain_text(output.read())
    if process.returncode:
        last = "\n".join(printed.splitlines()[-LAST_LINES:]) or "nothing"
        msg = f"the demo at {url} ended with exit code {process.returncode}; the last it printed is:\n{last}"
        raise ChildProcessError(f"{msg}\nTo see it all, run in a terminal: cvcache demo {url}")
    return printed


def cache_directory() -> str:
    """Return the cache directory of the user."""
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches")
    return os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
