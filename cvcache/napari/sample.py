"""Sample data: the tree of the demo, which fills while one looks."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

from cvcache.napari.docking import show_tree

_PACKAGES = ("skimage", "matplotlib", "pandas")


def demo() -> Any:
    """Run the demo in a worker of the dock that shows its tree, and return the dock's widget.

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
        widget.jobs.start(run, url, done=lambda _: widget.refresh(), topic="demo")
    return widget


def run(url: str) -> int:
    """Run the demo at `url`, and return how many nodes it computed."""
    from cvcache.api import cdir
    from cvcache.demo import pipeline
    from cvcache.demo_image import image_version

    return sum(node.computed for node in pipeline(cdir(url), None, image_version(None), sigma=1.5, smallest=30))


def cache_directory() -> str:
    """Return where this user's programs keep what they can make again."""
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches")
    return os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
