"""How often which value occurs in an image, one line for each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QSizePolicy, QWidget

from cvcache.browse import Histogram, number_text
from cvcache.napari.panel.widgets import GAP, PALE, column

HEIGHT = 110
_LEAST_CONTRAST = 60
_NAMED = 6
_STRAY = 0.001
"""Part of the pixels at either end that are too few to be seen."""


class Curves(QWidget):
    """Draws the histograms; no pixel is read for it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.histograms: tuple[Histogram, ...] = ()
        self.logarithmic = False
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumHeight(HEIGHT)

    def sizeHint(self) -> QSize:
        """Return the usual size."""
        return QSize(240, HEIGHT)

    def show_histograms(self, histograms: Sequence[Histogram]) -> None:
        """Draw others."""
        self.histograms = tuple(histograms)
        self.update()

    def set_logarithmic(self, on: bool) -> None:  # noqa: FBT001 - a slot of a check box
        """Draw the logarithm of the counts, so that rare values can be seen."""
        self.logarithmic = on
        self.update()

    def paintEvent(self, _event: object) -> None:
        """Draw axis, lines and the range of values."""
        if not self.histograms:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        below = self.fontMetrics().height() + 2
        room = QRectF(1, 2, self.width() - 2, self.height() - below - 4)
        low, high = self.span()
        painter.setPen(QPen(text, 1))
        painter.setOpacity(PALE)
        painter.drawLine(room.bottomLeft(), room.bottomRight())
        words = QRectF(0, room.bottom() + 2, self.width(), below)
        painter.drawText(words, Qt.AlignmentFlag.AlignLeft, number_text(low))
        painter.drawText(words, Qt.AlignmentFlag.AlignRight, number_text(high))
        painter.setOpacity(1.0)
        for one in self.histograms:
            painter.setPen(QPen(self._color(one, text), 1.5))
            painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in self.points(one, room)]))
        painter.end()

    def span(self) -> tuple[float, float]:
        """Return the least and the greatest value that is drawn; stray ones only with logarithmic counts."""
        spans = [_span(one, 0.0 if self.logarithmic else _STRAY) for one in self.histograms]
        return min(low for low, _ in spans), max(high for _, high in spans)

    def points(self, one: Histogram, room: QRectF) -> list[tuple[float, float]]:
        """Return the corners of a stairway through the counts, inside `room`."""
        low, high = self.span()
        wide = (high - low) or 1.0
        heights = [math.log1p(n) if self.logarithmic else float(n) for n in one.counts]
        top = max(heights) or 1.0
        found = []
        for i, height in enumerate(heights):
            y = room.bottom() - height / top * room.height()
            for edge in (i, i + 1):
                x = room.left() + (one.start + edge * one.width - low) / wide * room.width()
                found.append((min(max(x, room.left()), room.right()), y))
        return found

    def _color(self, one: Histogram, text: QColor) -> QColor:
        color = QColor(f"#{one.color}")
        background = self.palette().color(QPalette.ColorRole.Window)
        return (
            text if not color.isValid() or abs(color.lightness() - background.lightness()) < _LEAST_CONTRAST else color
        )


def _span(one: Histogram, stray: float) -> tuple[float, float]:
    """Return from where to where a histogram goes without so many of its pixels at either end."""
    most = sum(one.counts) * stray
    first, last = (_skipped(counts, most) for counts in (one.counts, one.counts[::-1]))
    return one.start + first * one.width, one.start + max(len(one.counts) - last, first + 1) * one.width


def _skipped(counts: Sequence[int], most: float) -> int:
    """Return how many bins hold no more than `most` pixels together."""
    total = 0
    for i, n in enumerate(counts):
        total += n
        if total > most:
            return i
    return 0


class HistogramView(QWidget):
    """The curves, the names of their channels, and a switch."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curves = Curves()
        self.names = Legend(self.curves)
        self.log_switch = QCheckBox("log")
        self.log_switch.setToolTip("Show the logarithm of the counts")
        self.log_switch.toggled.connect(self.curves.set_logarithmic)
        below = QHBoxLayout()
        below.setSpacing(GAP)
        below.addWidget(self.names, 1)
        below.addWidget(self.log_switch)
        layout = column(self)
        layout.addWidget(self.curves)
        layout.addLayout(below)

    def show_histograms(self, histograms: Sequence[Histogram]) -> None:
        """Show others; hidden while there is none."""
        self.curves.show_histograms(histograms)
        self.names.update()
        self.setVisible(bool(histograms))


class Legend(QWidget):
    """The name of each channel beside a stroke of its colour."""

    def __init__(self, curves: Curves) -> None:
        super().__init__()
        self._curves = curves
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumHeight(self.fontMetrics().height() + 2)

    def texts(self) -> list[str]:
        """Return the names that are drawn; a single line needs none."""
        if len(self._curves.histograms) == 1:
            return []
        names = [one.channel for one in self._curves.histograms if one.channel]
        left = len(names) - _NAMED
        return [*names[:_NAMED], f"and {left} more"] if left > 0 else names

    def paintEvent(self, _event: object) -> None:
        """Draw the names one after the other, as far as there is room."""
        painter = QPainter(self)
        metrics, left = self.fontMetrics(), 0
        text = self.palette().color(QPalette.ColorRole.WindowText)
        for name, one in zip(self.texts(), self._curves.histograms, strict=False):
            painter.fillRect(QRectF(left, self.height() / 2 - 1.5, 12, 3), self._curves._color(one, text))  # noqa: SLF001 - the same drawing
            room = QRectF(left + 16, 0, max(0, min(140, self.width() - left - 16)), self.height())
            shown = metrics.elidedText(name, Qt.TextElideMode.ElideRight, int(room.width()))
            painter.setPen(text)
            painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, shown)
            left += 16 + min(140, metrics.horizontalAdvance(name)) + 10
        painter.end()
