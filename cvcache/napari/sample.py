"""Sample data: the tree of the demo, which fills while one looks."""

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
"""Of what a demo that failed has printed."""
_PACKAGES = ("skimage", "matplotlib", "pandas")


def demo(show_tree: Callable[[str], Any]) -> Any:
    """Run the demo while `show_tree` shows its tree, and return the widget that does.

    What was computed before is found again. Nothing where there is no window.
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
    """Run the demo at `url` in a process of its own, and return what it printed.

    Raises
    ------
    ChildProcessError
        It did not come to its end.
    """
    command = [sys.executable, "-P", "-m", "cvcache.cli.main", "demo", url]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 - our own program
        atexit.register(process.terminate)  # it ends with the window: the next run goes on from there
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
    """Return where this user's programs keep what they can make again."""
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches")
    return os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
