"""The histogram of an image, one curve for each channel."""

from __future__ import annotations

import math
from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QSizePolicy, QWidget

from cvcache.browse import Histogram, number_text
from cvcache.napari.panel.widgets import PALE_OPACITY, SPACING, column_layout

HEIGHT = 110
_LEAST_CONTRAST = 60
_MAX_NAMES = 6
_STRAY_FRACTION = 0.001
"""Fraction of the pixels at either end of a histogram that is not drawn."""


class HistogramCurves(QWidget):
    """Draws recorded histograms; reads no pixels."""

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
        """Draw other histograms."""
        self.histograms = tuple(histograms)
        self.update()

    def set_logarithmic(self, on: bool) -> None:  # noqa: FBT001 - a slot of a check box
        """Draw the logarithm of the counts, so that rare values are visible."""
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
        area = QRectF(1, 2, self.width() - 2, self.height() - below - 4)
        low, high = self.span()
        painter.setPen(QPen(text, 1))
        painter.setOpacity(PALE_OPACITY)
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        label_area = QRectF(0, area.bottom() + 2, self.width(), below)
        painter.drawText(label_area, Qt.AlignmentFlag.AlignLeft, number_text(low))
        painter.drawText(label_area, Qt.AlignmentFlag.AlignRight, number_text(high))
        painter.setOpacity(1.0)
        for histogram in self.histograms:
            painter.setPen(QPen(self.color(histogram, text), 1.5))
            painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in self.points(histogram, area)]))
        painter.end()

    def span(self) -> tuple[float, float]:
        """Return the smallest and the largest drawn value; rare ones only with logarithmic counts."""
        spans = [_span(histogram, 0.0 if self.logarithmic else _STRAY_FRACTION) for histogram in self.histograms]
        return min(low for low, _ in spans), max(high for _, high in spans)

    def points(self, histogram: Histogram, area: QRectF) -> list[tuple[float, float]]:
        """Return the corners of a step curve through the counts, inside `area`."""
        low, high = self.span()
        wide = (high - low) or 1.0
        heights = [math.log1p(n) if self.logarithmic else float(n) for n in histogram.counts]
        top = max(heights) or 1.0
        found = []
        for i, height in enumerate(heights):
            y = area.bottom() - height / top * area.height()
            for edge in (i, i + 1):
                x = area.left() + (histogram.start + edge * histogram.width - low) / wide * area.width()
                found.append((min(max(x, area.left()), area.right()), y))
        return found

    def color(self, histogram: Histogram, text: QColor) -> QColor:
        """Return the color of a curve; that of texts where the background would hide it."""
        color = QColor(f"#{histogram.color}")
        background = self.palette().color(QPalette.ColorRole.Window)
        return (
            text if not color.isValid() or abs(color.lightness() - background.lightness()) < _LEAST_CONTRAST else color
        )


def _span(histogram: Histogram, stray: float) -> tuple[float, float]:
    """Return the range of a histogram without the fraction `stray` of its pixels at either end."""
    most = sum(histogram.counts) * stray
    first, last = (_skipped(counts, most) for counts in (histogram.counts, histogram.counts[::-1]))
    return histogram.start + first * histogram.width, histogram.start + max(
        len(histogram.counts) - last, first + 1
    ) * histogram.width


def _skipped(counts: Sequence[int], most: float) -> int:
    """Return the number of first bins that have at most `most` pixels together."""
    total = 0
    for i, n in enumerate(counts):
        total += n
        if total > most:
            return i
    return 0


class HistogramView(QWidget):
    """The curves, their legend, and a switch for logarithmic counts."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.curves = HistogramCurves()
        self.names = Legend(self.curves)
        self.log_switch = QCheckBox("log")
        self.log_switch.setToolTip("Show the logarithm of the counts")
        self.log_switch.toggled.connect(self.curves.set_logarithmic)
        below = QHBoxLayout()
        below.setSpacing(SPACING)
        below.addWidget(self.names, 1)
        below.addWidget(self.log_switch)
        layout = column_layout(self)
        layout.addWidget(self.curves)
        layout.addLayout(below)

    def show_histograms(self, histograms: Sequence[Histogram]) -> None:
        """Show other histograms; hidden without one."""
        self.curves.show_histograms(histograms)
        self.names.update()
        self.setVisible(bool(histograms))


class Legend(QWidget):
    """The name of each channel beside a stroke of its colour."""

    def __init__(self, curves: HistogramCurves) -> None:
        super().__init__()
        self._curves = curves
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setMinimumHeight(self.fontMetrics().height() + 2)

    def texts(self) -> list[str]:
        """Return the drawn names; empty for a single curve."""
        if len(self._curves.histograms) == 1:
            return []
        names = [histogram.channel for histogram in self._curves.histograms if histogram.channel]
        left = len(names) - _MAX_NAMES
        return [*names[:_MAX_NAMES], f"and {left} more"] if left > 0 else names

    def paintEvent(self, _event: object) -> None:
        """Draw the names side by side, as far as there is room."""
        painter = QPainter(self)
        metrics, left = self.fontMetrics(), 0
        text = self.palette().color(QPalette.ColorRole.WindowText)
        for name, histogram in zip(self.texts(), self._curves.histograms, strict=False):
            painter.fillRect(QRectF(left, self.height() / 2 - 1.5, 12, 3), self._curves.color(histogram, text))
            area = QRectF(left + 16, 0, max(0, min(140, self.width() - left - 16)), self.height())
            shown = metrics.elidedText(name, Qt.TextElideMode.ElideRight, int(area.width()))
            painter.setPen(text)
            painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, shown)
            left += 16 + min(140, metrics.horizontalAdvance(name)) + 10
        painter.end()
