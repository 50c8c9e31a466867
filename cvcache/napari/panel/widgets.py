"""Small widgets of the pages."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from cvcache.browse import tooltip_html

MARGIN, SPACING = 6, 4
"""Pixels around widgets, and between them."""
PALE_OPACITY = 0.65
_WRAPPED = int(Qt.AlignmentFlag.AlignTop.value | Qt.AlignmentFlag.AlignLeft.value | Qt.TextFlag.TextWordWrap.value)


class MessageLabel(QWidget):
    """A short text, paler than the rest in any theme, wrapped to the width."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""

    def text(self) -> str:
        """Return the text."""
        return self._text

    def set_text(self, text: str) -> None:
        """Show another text."""
        self._text = text
        self.setAccessibleName(text)
        self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        """Whether the height depends on the width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height of the wrapped text."""
        room = QRect(0, 0, max(width - 2 * MARGIN, 1), 1 << 16)
        return self.fontMetrics().boundingRect(room, _WRAPPED, self._text).height() + 2 * MARGIN if self._text else 0

    def sizeHint(self) -> QSize:
        """Return the size at an ordinary width."""
        return QSize(200, self.heightForWidth(200))

    def minimumSizeHint(self) -> QSize:
        """Return the smallest readable size."""
        return QSize(60, 0)

    def paintEvent(self, _event: object) -> None:
        """Draw the text."""
        painter = QPainter(self)
        painter.setOpacity(PALE_OPACITY)
        painter.drawText(self.rect().adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN), _WRAPPED, self._text)
        painter.end()


class ElidedLabel(QWidget):
    """One line of text, elided in the middle if it does not fit.

    Notes
    -----
    Not `superqt.QElidingLabel`: it reads names as HTML, ignores margins, and is as wide as its text.
    """

    def __init__(self, align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text, self._align = "", align
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def text(self) -> str:
        """Return the whole text."""
        return self._text

    def set_text(self, text: str) -> None:
        """Show another text; the tooltip has the whole text."""
        self._text = text
        self.setToolTip(tooltip_html(text))
        self.update()

    def sizeHint(self) -> QSize:
        """Return the size of one line."""
        return QSize(100, self.fontMetrics().height() + SPACING)

    def paintEvent(self, _event: object) -> None:
        """Draw the text."""
        painter = QPainter(self)
        room = self.contentsRect()
        text = self.fontMetrics().elidedText(self._text, Qt.TextElideMode.ElideMiddle, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | self._align, text)
        painter.end()


def column_layout(
    widget: QWidget, margin: int = 0, *, widgets: Sequence[QWidget] = (), stretched: QWidget | None = None
) -> QVBoxLayout:
    """Give a widget a vertical layout of these widgets, one of which takes the remaining height."""
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(SPACING)
    for part in widgets:
        layout.addWidget(part, int(part is stretched))
    return layout


def scroll_area(body: QWidget) -> QScrollArea:
    """Return a scroll area without frame around a widget of the same width."""
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(body)
    return area
