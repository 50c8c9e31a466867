"""Small parts that the pages of the panel are made of."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from cvcache.browse import tooltip_html

SMALL, GAP = 6, 4
"""Pixels around things, and between them."""
PALE = 0.65
_WRAPPED = int(Qt.AlignmentFlag.AlignTop.value | Qt.AlignmentFlag.AlignLeft.value | Qt.TextFlag.TextWordWrap.value)


class Sentence(QWidget):
    """A few words, paler than the rest whatever the theme, wrapped where they do not fit."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""

    def text(self) -> str:
        """Return what it says."""
        return self._text

    def set_text(self, text: str) -> None:
        """Say something else."""
        self._text = text
        self.setAccessibleName(text)
        self.updateGeometry()
        self.update()

    def hasHeightForWidth(self) -> bool:
        """Whether it grows when it becomes narrow."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height of the wrapped text."""
        room = QRect(0, 0, max(width - 2 * SMALL, 1), 1 << 16)
        return self.fontMetrics().boundingRect(room, _WRAPPED, self._text).height() + 2 * SMALL if self._text else 0

    def sizeHint(self) -> QSize:
        """Return some size."""
        return QSize(200, self.heightForWidth(200))

    def minimumSizeHint(self) -> QSize:
        """Return the size below which nothing could be read."""
        return QSize(60, 0)

    def paintEvent(self, _event: object) -> None:
        """Draw the words."""
        painter = QPainter(self)
        painter.setOpacity(PALE)
        painter.drawText(self.rect().adjusted(SMALL, SMALL, -SMALL, -SMALL), _WRAPPED, self._text)
        painter.end()


class ElidedLabel(QWidget):
    """One line that is cut in the middle where it does not fit.

    Notes
    -----
    Not `superqt.QElidingLabel`: it takes names for HTML, has no room for margins, and is as wide as what it says.
    """

    def __init__(self, align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignLeft, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text, self._align = "", align
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def text(self) -> str:
        """Return the whole text."""
        return self._text

    def set_text(self, text: str) -> None:
        """Show another text; all of it is in the tooltip."""
        self._text = text
        self.setToolTip(tooltip_html(text))
        self.update()

    def sizeHint(self) -> QSize:
        """Return the size of one line."""
        return QSize(100, self.fontMetrics().height() + GAP)

    def paintEvent(self, _event: object) -> None:
        """Draw the text."""
        painter = QPainter(self)
        room = self.contentsRect()
        text = self.fontMetrics().elidedText(self._text, Qt.TextElideMode.ElideMiddle, room.width())
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | self._align, text)
        painter.end()


def column(
    widget: QWidget, margin: int = 0, *, parts: Sequence[QWidget] = (), grows: QWidget | None = None
) -> QVBoxLayout:
    """Give a widget a layout from top to bottom, with these parts, one of which takes all room that is left."""
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(GAP)
    for part in parts:
        layout.addWidget(part, int(part is grows))
    return layout


def scrolled(body: QWidget) -> QScrollArea:
    """Return a scroll area without a frame around a widget that is as wide as it."""
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(body)
    return area
