"""Icons drawn here: a state by its shape as much as by its colour, legible on dark and on light ground."""

from __future__ import annotations

import functools
from collections.abc import Callable

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QBrush, QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

SIZES = (16, 24, 32, 48, 64)

GREEN, BLUE, AMBER, RED, GREY, INK, PAPER = (
    QColor(name) for name in ("#2e9e5b", "#3b8eea", "#e0a100", "#e0524d", "#8a919c", "#262930", "#ffffff")
)
"""Of middle brightness: seen on both."""


def state_icon(state: str) -> QIcon:
    """Return the icon of the state of a row; an empty one while nobody has looked."""
    return _icon(_STATES.get(state, _unseen))


def kind_icon(kind: str, state: str = "") -> QIcon:
    """Return the icon of the kind of an item, with a mark in the corner for one that is not committed."""
    return _icon(_KINDS.get(kind, _file), _STATES[state] if state in {"running", "failed", "stale"} else None)


def action_icon(name: str) -> QIcon:
    """Return the icon of something that can be done."""
    return _icon(_ACTIONS[name])


@functools.cache
def _icon(draw: Callable[[QPainter], None], mark: Callable[[QPainter], None] | None = None) -> QIcon:
    icon = QIcon()
    for size in SIZES:
        pixmap = QPixmap(size, size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.scale(size / 16, size / 16)
        draw(painter)
        if mark is not None:
            painter.translate(8, 8)
            painter.scale(0.5, 0.5)
            mark(painter)
        painter.end()
        for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # else Qt dyes that of a selected row
            icon.addPixmap(pixmap, mode)
    return icon


def _pen(painter: QPainter, color: QColor, width: float = 1.6) -> None:
    pen = QPen(color, width)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)


def _fill(painter: QPainter, color: QColor) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QBrush(color))


def _line(painter: QPainter, *points: tuple[float, float]) -> None:
    painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))


def _shape(painter: QPainter, *points: tuple[float, float]) -> None:
    painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in points]))


def _committed(painter: QPainter) -> None:
    _fill(painter, GREEN)
    painter.drawEllipse(QRectF(1.5, 1.5, 13, 13))
    _pen(painter, PAPER, 1.9)
    _line(painter, (4.8, 8.4), (7.1, 10.7), (11.3, 5.6))


def _running(painter: QPainter) -> None:
    _pen(painter, BLUE, 2.8)
    painter.drawArc(QRectF(2.5, 2.5, 11, 11), 90 * 16, -270 * 16)


def _stale(painter: QPainter) -> None:
    _fill(painter, AMBER)
    _shape(painter, (8, 0.6), (15.4, 8), (8, 15.4), (0.6, 8))
    _pen(painter, INK, 1.9)
    _line(painter, (8, 4.6), (8, 8.8))
    _line(painter, (8, 11.4), (8, 11.5))


def _failed(painter: QPainter) -> None:
    _pen(painter, RED, 3)
    _line(painter, (3.4, 3.4), (12.6, 12.6))
    _line(painter, (12.6, 3.4), (3.4, 12.6))


def _absent(painter: QPainter) -> None:
    _pen(painter, GREY, 1.5)
    painter.drawEllipse(QRectF(3, 3, 10, 10))


def _unseen(painter: QPainter) -> None:
    _fill(painter, GREY)
    for x in (4.0, 8.0, 12.0):
        painter.drawEllipse(QPointF(x, 8), 1.1, 1.1)


def _foreign(painter: QPainter) -> None:
    _fill(painter, GREY)
    painter.drawRect(QRectF(3, 3, 10, 10))


def _folder(painter: QPainter) -> None:
    _pen(painter, GREY, 1.4)
    painter.setBrush(QBrush(QColor(138, 145, 156, 90)))
    _shape(painter, (1.8, 3.4), (6.2, 3.4), (7.6, 5.2), (14.2, 5.2), (14.2, 12.8), (1.8, 12.8))


def _unreadable(painter: QPainter) -> None:
    _pen(painter, RED, 1.4)
    painter.drawRoundedRect(QRectF(1.8, 1.8, 12.4, 12.4), 3, 3)
    _pen(painter, RED, 1.8)
    painter.drawArc(QRectF(5.6, 3.9, 4.8, 4.6), 180 * 16, -250 * 16)
    _line(painter, (8, 8.6), (8, 9.6))
    _line(painter, (8, 12), (8, 12.1))


def _image(painter: QPainter) -> None:
    _pen(painter, GREY, 1.3)
    painter.drawRoundedRect(QRectF(1.6, 2.6, 12.8, 10.8), 1.5, 1.5)
    _fill(painter, AMBER)
    painter.drawEllipse(QPointF(11.2, 5.8), 1.5, 1.5)
    _fill(painter, BLUE)
    _shape(painter, (2.4, 12.6), (6.2, 6.8), (8.8, 10.4), (10.2, 8.8), (13.6, 12.6))


def _labels(painter: QPainter) -> None:
    for color, x, y, radius in ((BLUE, 5.2, 5.4, 3.6), (AMBER, 11.2, 7.6, 2.9), (RED, 6.4, 11.8, 2.6)):
        _fill(painter, color)
        painter.drawEllipse(QPointF(x, y), radius, radius)


def _points(painter: QPainter) -> None:
    _fill(painter, BLUE)
    for x, y in ((4.0, 4.4), (11.4, 3.6), (8.0, 8.4), (3.6, 12.2), (12.4, 11.8)):
        painter.drawEllipse(QPointF(x, y), 1.7, 1.7)


def _table(painter: QPainter) -> None:
    _fill(painter, BLUE)
    painter.drawRect(QRectF(2, 2.6, 12, 3.2))
    _pen(painter, GREY, 1.2)
    painter.drawRect(QRectF(2, 2.6, 12, 10.8))
    _line(painter, (2, 9.6), (14, 9.6))
    _line(painter, (8, 5.8), (8, 13.4))


def _plot(painter: QPainter) -> None:
    _pen(painter, GREY, 1.3)
    _line(painter, (2.2, 2), (2.2, 13.8), (14, 13.8))
    _pen(painter, BLUE, 1.7)
    _line(painter, (4.2, 11), (7, 6.6), (9.6, 9), (13.2, 3.4))


def _text(painter: QPainter) -> None:
    _sheet(painter)
    _pen(painter, GREY, 1.1)
    for y, end in ((6.4, 10.6), (8.8, 10.6), (11.2, 8.6)):
        _line(painter, (5.2, y), (end, y))


def _array(painter: QPainter) -> None:
    _fill(painter, BLUE)
    for x in range(3):
        for y in range(3):
            painter.setOpacity(0.45 + 0.18 * ((x + 2 * y) % 4))
            painter.drawRect(QRectF(2.2 + 4 * x, 2.2 + 4 * y, 3.4, 3.4))
    painter.setOpacity(1)


def _file(painter: QPainter) -> None:
    _sheet(painter)


def _sheet(painter: QPainter) -> None:
    _pen(painter, GREY, 1.3)
    _shape(painter, (3.4, 1.6), (9.4, 1.6), (12.6, 4.8), (12.6, 14.4), (3.4, 14.4))


def _add(painter: QPainter) -> None:
    _pen(painter, GREEN, 2.4)
    _line(painter, (8, 2.6), (8, 13.4))
    _line(painter, (2.6, 8), (13.4, 8))


def _grid(painter: QPainter) -> None:
    _pen(painter, GREY, 1.4)
    painter.drawRect(QRectF(1.8, 3.4, 5.4, 9.2))
    painter.drawRect(QRectF(8.8, 3.4, 5.4, 9.2))


def _eye(painter: QPainter) -> None:
    _pen(painter, GREY, 1.4)
    outline = QPainterPath(QPointF(0.9, 8))
    outline.quadTo(QPointF(8, -0.4), QPointF(15.1, 8))
    outline.quadTo(QPointF(8, 16.4), QPointF(0.9, 8))
    painter.drawPath(outline)
    _fill(painter, BLUE)
    painter.drawEllipse(QPointF(8, 8), 2.4, 2.4)


def _reveal(painter: QPainter) -> None:
    _pen(painter, BLUE, 1.5)
    painter.drawEllipse(QPointF(8, 8), 4.4, 4.4)
    for a, b in (((8, 1.2), (8, 4.4)), ((8, 11.6), (8, 14.8)), ((1.2, 8), (4.4, 8)), ((11.6, 8), (14.8, 8))):
        _line(painter, a, b)


def _refresh(painter: QPainter) -> None:
    _pen(painter, BLUE, 1.8)
    painter.drawArc(QRectF(2.8, 2.8, 10.4, 10.4), 60 * 16, 280 * 16)
    _fill(painter, BLUE)
    _shape(painter, (8.4, 0.8), (14, 3.2), (9.2, 7))


def _more(painter: QPainter) -> None:
    _pen(painter, GREY, 1.8)
    for y in (4.2, 8.0, 11.8):
        _line(painter, (2.8, y), (13.2, y))


def _stop(painter: QPainter) -> None:
    _fill(painter, RED)
    painter.drawRoundedRect(QRectF(3.4, 3.4, 9.2, 9.2), 1.5, 1.5)


_STATES: dict[str, Callable[[QPainter], None]] = {
    "committed": _committed,
    "running": _running,
    "stale": _stale,
    "failed": _failed,
    "absent": _absent,
    "foreign": _foreign,
    "folder": _folder,
    "unreadable": _unreadable,
}
_KINDS: dict[str, Callable[[QPainter], None]] = {
    "image": _image,
    "labels": _labels,
    "points": _points,
    "table": _table,
    "plot": _plot,
    "log": _text,
    "json": _text,
    "text": _text,
    "array": _array,
    "directory": _folder,
    "foreign": _foreign,
}
_ACTIONS: dict[str, Callable[[QPainter], None]] = {
    "add": _add,
    "beside": _grid,
    "toggle": _eye,
    "reveal": _reveal,
    "refresh": _refresh,
    "more": _more,
    "stop": _stop,
    "folder": _folder,
}
