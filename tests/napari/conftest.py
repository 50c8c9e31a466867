"""What tests of the plugin share: a machine that can show windows, settings of nobody, and who asked the store."""

from __future__ import annotations

import atexit
import dataclasses
import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import windows

from cvcache.testing import WrapperStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot

    from cvcache.browse import Row
    from cvcache.napari import Jobs
    from cvcache.napari.layers import Adder

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def _isolate() -> None:
    """Keep napari and Qt away from the settings and caches of whoever runs the tests; before either is imported."""
    home = Path(tempfile.mkdtemp(prefix="cvcache-napari-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        os.environ[name] = str(home / name.lower())
    os.environ["NAPARI_CONFIG"] = str(home / "napari.yaml")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _DISPLAYS):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # Qt ends the process where it finds no display


_isolate()
MISSING = windows.missing("pytestqt")
if MISSING and os.environ.get("CVCACHE_CI"):
    raise RuntimeError(MISSING)


class _Skipped(pytest.Module):
    """A module of tests that cannot even be imported here."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(MISSING, allow_module_level=True)


if MISSING:

    def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
        return _Skipped.from_parent(parent, path=module_path)


@pytest.fixture(autouse=True)
def _no_history() -> Iterator[None]:
    """Forget what the plugin kept in Qt's settings."""
    from qtpy.QtCore import QSettings

    yield
    QSettings("cvcache", "cvcache").clear()


@dataclasses.dataclass
class Calls:
    """Which calls of stores came from which thread."""

    gui: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    workers: list[tuple[str, str]] = dataclasses.field(default_factory=list)


class _ThreadStore(WrapperStore):
    """A store that notes who asks it."""

    def __init__(self, store: Any, calls: Calls) -> None:
        super().__init__(store)
        self._calls = calls

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:
        of_gui = threading.current_thread() is threading.main_thread()
        (self._calls.gui if of_gui else self._calls.workers).append((verb, path))
        return super().call(verb, path, act, data)


@pytest.fixture
def store_calls() -> Iterator[Calls]:
    """Record every call of a store that is opened from now on, by the thread it comes from."""
    calls = Calls()
    with instrument(lambda store: _ThreadStore(store, calls)):
        yield calls


@dataclasses.dataclass
class Window:
    """A viewer without a window, an adder, and the rows of a tree."""

    viewer: Any
    adder: Adder
    jobs: Jobs
    qtbot: QtBot
    failed: list[str]
    said: list[str]

    def rows(self, url: str, **options: Any) -> dict[str, Row]:
        """Read all rows of a tree of one level."""
        from cvcache.browse import Tree

        tree = Tree(url, **options)
        tree.open()
        rows = {row.path: row for row in tree.expand("").rows}
        for path in list(rows):
            rows |= {row.path: row for row in tree.look([path])}
            if rows[path].branch:
                rows |= {row.path: row for row in tree.expand(path).rows}
        tree.close()
        return rows

    def wait(self) -> None:
        """Let workers end, and what they say arrive."""
        self.qtbot.waitUntil(lambda: self.jobs.idle, timeout=20_000)

    def until(self, wanted: Callable[[], Any]) -> None:
        """Wait until something holds."""
        self.qtbot.waitUntil(lambda: bool(wanted()), timeout=30_000)

    def add(self, *rows: Row, **options: Any) -> list[Any]:
        """Add rows, and return the layers of the viewer then."""
        self.adder.add(rows, **options)
        self.wait()
        return list(self.viewer.layers)


@pytest.fixture
def window(qtbot: QtBot) -> Iterator[Window]:
    from napari.components import ViewerModel
    from napari.settings import get_settings

    from cvcache.napari import Jobs
    from cvcache.napari.layers import Adder

    viewer, jobs = ViewerModel(), Jobs()
    adder = Adder(viewer, jobs)
    failed: list[str] = []
    said: list[str] = []
    adder.failed.connect(failed.append)
    adder.message.connect(said.append)
    yield Window(viewer, adder, jobs, qtbot, failed, said)
    adder.close_down()
    jobs.close()
    get_settings().reset()


@pytest.fixture
def display() -> None:
    """Skip where there is no display with OpenGL, which napari's canvas needs."""
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _DISPLAYS):
        text = "there is no display; run it with: xvfb-run -a -s '-screen 0 1400x900x24' pytest tests/napari"
        if os.environ.get("CVCACHE_CI"):
            pytest.fail(text)
        pytest.skip(text)
