"""The icons in the folder svg: a state by its shape as much as by its colour, visible on dark and light backgrounds."""

from __future__ import annotations

import functools
from importlib.resources import files

from qtpy.QtCore import QByteArray, QRectF, Qt
from qtpy.QtGui import QIcon, QPainter, QPixmap
from qtpy.QtSvg import QSvgRenderer

SIZES = (16, 24, 32, 48, 64)

STATES = ("committed", "running", "stale", "failed", "absent", "foreign", "folder", "unreadable")
MARKS = ("running", "failed", "stale")
"""States that an item is marked with."""
KINDS = {
    **{kind: kind for kind in ("image", "labels", "points", "table", "plot", "text", "array", "foreign")},
    "log": "text",
    "json": "text",
    "directory": "folder",
}


def state_icon(state: str) -> QIcon:
    """Return the icon of the state of a row; three dots for a row that was not read."""
    return _icon(state if state in STATES else "unseen")


def kind_icon(kind: str, state: str = "") -> QIcon:
    """Return the icon of the kind of an item, with a mark in the corner for one that is not committed."""
    return _icon(KINDS.get(kind, "file"), state if state in MARKS else "")


def action_icon(name: str) -> QIcon:
    """Return the icon of something that can be done."""
    return _icon(name)


@functools.cache
def _icon(name: str, mark: str = "") -> QIcon:
    icon = QIcon()
    for size in SIZES:
        pixmap = QPixmap(size, size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        _drawing(name).render(painter, QRectF(0, 0, size, size))
        if mark:
            _drawing(mark).render(painter, QRectF(size / 2, size / 2, size / 2, size / 2))
        painter.end()
        for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # else Qt dyes that of a selected row
            icon.addPixmap(pixmap, mode)
    return icon


def _drawing(name: str) -> QSvgRenderer:
    return QSvgRenderer(QByteArray(files("cvcache.napari").joinpath("svg", f"{name}.svg").read_bytes()))
