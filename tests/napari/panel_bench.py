"""A panel on a tree, driven as a person drives it; and the small tree that most of its tests look at."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

import cvcache
from cvcache.browse import Tree
from cvcache.napari import Jobs
from cvcache.napari.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cvcache.browse import Row
    from cvcache.napari.panel import Page

PREVIEW, LOG, PLOTS, TABLE, KEY, MADE = range(6)


def png(width: int, height: int, gray: int = 200) -> bytes:
    """Return a PNG of one shade."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + bytes([gray]) * width) * height)
    parts = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def write_tree(url: str, **options: Any) -> None:
    """Write a tree with one of each kind, two steps alike, and one that failed."""
    top = cvcache.cdir(url, **options)
    pixels = np.arange(3 * 64 * 48, dtype="uint16").reshape(3, 64, 48)
    with cvcache.cdir_init((top / "image"), {"step": "load", "sigma": 1.5}) as node, node.log():
        print("loading the image")  # noqa: T201 - what a step says is its log
        node.write("stack.ome.zarr", pixels, axes="cyx", scale=(1, 0.5, 0.5), channels=["dapi", "actin", "tubulin"])
        node.write("settings.json", {"gain": 2, "name": "<b>bold</b>"})
    image = cvcache.cdir_query(top / "image")
    for name, step in (("left", 1), ("right", 2)):
        with cvcache.cdir_init((top / name), {"image": image["stack.ome.zarr"], "step": step}) as node:
            with node.log():
                print(f"this is {name}")  # noqa: T201 - the same
            node.write("nuclei.ome.zarr", (pixels[0] % 7).astype("uint8"), axes="yx", kind="labels")
            write_bytes(node, "curve.png", png(30 * step, 20))
            node.write("drawing.svg", Figure(figsize=(4, 2)))
            write_bytes(node, "cells.csv", b"label,area\n" + b"".join(b"%d,%d.5\n" % (i, step * i) for i in range(300)))
    fail(top / "broken")


def write_bytes(node: cvcache.CacheDir, name: str, data: bytes) -> None:
    """Write a file as a tool does."""
    with node.open(name, "wb") as file:
        file.write(data)


def fail(node: cvcache.CacheDir, text: str = "no <i>cells</i> found") -> None:
    """Let a step fail at this node."""
    try:
        with cvcache.cdir_init(node, {"step": "count"}) as running, running.log():
            print("counting")  # noqa: T201 - what a step says is its log
            raise ValueError(text)  # noqa: TRY301 - a step that fails
    except ValueError:
        pass


class Bench:
    """A panel that is shown, and the tree it looks at."""

    def __init__(self, qtbot: Any, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.qtbot = qtbot
        self.tree = Tree(url, **(options or {}))
        self.jobs = Jobs()
        self.panel = Panel(self.jobs)
        self.panel.resize(360, 480)
        qtbot.addWidget(self.panel)
        self.panel.show()
        qtbot.waitExposed(self.panel)

    def read(self) -> Bench:
        """Read the whole tree, as the browser does before anything is selected; not part of what is tested."""
        todo = [self.tree.open().path]
        while todo:
            level = self.tree.expand(todo.pop())
            self.tree.look([row.path for row in level.rows if not row.state])
            todo += [row.path for row in level.rows if not row.is_item and row.branch]
        return self

    def row(self, path: str) -> Row:
        found = self.tree.row(path)
        assert found is not None, path
        return found

    def select(self, *paths: str, tab: int | None = None) -> Page:
        """Select rows, open a tab, wait until it is filled; return its page."""
        self.panel.show_rows(self.tree, [self.row(path) for path in paths])
        self.settle()
        if tab is not None:
            self.panel.tabs.setCurrentIndex(tab)
            self.settle()
            assert self.panel.tabs.currentIndex() == tab
        return self.panel.page

    def settle(self) -> None:
        """Wait until everything that was asked for is shown."""
        waiting = (self.panel._settle_timer, self.panel._patience_timer)
        self.qtbot.waitUntil(lambda: self.jobs.idle and not any(timer.isActive() for timer in waiting), timeout=20_000)

    def news(self, *paths: str) -> None:
        """Look at rows again, and tell the panel as the browser does."""
        self.panel.update_rows(self.tree.look(paths))
        self.settle()

    def enabled(self) -> list[str]:
        tabs = self.panel.tabs
        return [tabs.tabText(i) for i in range(tabs.count()) if tabs.isTabEnabled(i)]

    def close(self) -> None:
        self.panel.close_down()
        self.jobs.close()
        self.tree.close()


def bench_on(qtbot: Any, url: str, options: Mapping[str, Any] | None = None) -> Iterator[Bench]:
    """Give a bench whose tree was read, and close it."""
    bench = Bench(qtbot, url, options).read()
    yield bench
    bench.close()
