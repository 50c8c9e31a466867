"""Views of decoded pictures."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter
from qtpy.QtWidgets import QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from cvcache.browse import plain_line

_MAX_SCALE = 4
"""Largest scale of a small picture."""
_PIXELATED_SCALE = 2


class PictureView(QWidget):
    """Draws a picture as large as fits, with its aspect ratio and a largest scale.

    Signals
    -------
    clicked : a mouse click, or Enter.
    """

    clicked = Signal()

    def __init__(self, max_height: int = 1 << 14, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.image = QImage()
        self._max_height = max_height
        self._grow = _MAX_SCALE
        self._scaled = QImage()
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.setMinimumWidth(40)

    def show_image(self, image: QImage, *, grow: int = _MAX_SCALE) -> None:
        """Draw another picture, at most `grow` times its own size."""
        self.image, self._scaled, self._grow = image, QImage(), grow
        self.setVisible(not image.isNull())
        self.updateGeometry()
        self.update()

    def set_max_height(self, max_height: int) -> None:
        """Draw the picture no taller than this."""
        if max_height != self._max_height:
            self._max_height = max_height
            self.updateGeometry()

    def hasHeightForWidth(self) -> bool:
        """Whether its height follows from its width."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Return the height of the picture at this width."""
        height: int = self._fitted(width, self._max_height).height()
        return height

    def sizeHint(self) -> QSize:
        """Return the size at an ordinary width."""
        return self._fitted(300, self._max_height)

    def minimumSizeHint(self) -> QSize:
        """Return the smallest useful size."""
        return QSize(40, 0)

    def paintEvent(self, _event: object) -> None:
        """Draw the picture in the middle."""
        if self.image.isNull():
            return
        ratio = self.devicePixelRatioF()
        size = self._fitted(self.width(), min(self.height(), self._max_height))
        pixels = QSize(max(1, round(size.width() * ratio)), max(1, round(size.height() * ratio)))
        if self._scaled.size() != pixels:
            large = pixels.width() > _PIXELATED_SCALE * self.image.width()
            mode = Qt.TransformationMode.FastTransformation if large else Qt.TransformationMode.SmoothTransformation
            self._scaled = self.image.scaled(pixels, Qt.AspectRatioMode.IgnoreAspectRatio, mode)
            self._scaled.setDevicePixelRatio(ratio)
        left, top = (self.width() - size.width()) / 2, (self.height() - size.height()) / 2
        target = QRectF(left, top, size.width(), size.height())
        painter = QPainter(self)
        if self.image.hasAlphaChannel():
            painter.fillRect(target, QColor("white"))  # what plots are drawn for
        painter.drawImage(target.topLeft(), self._scaled)
        painter.end()

    def mouseReleaseEvent(self, event: Any) -> None:
        """Emit `clicked` for a mouse click."""
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.clicked.emit()

    def keyPressEvent(self, event: Any) -> None:
        """Emit `clicked` for Enter."""
        if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self.clicked.emit()
        else:
            super().keyPressEvent(event)

    def _fitted(self, width: int, height: int) -> QSize:
        if self.image.isNull():
            return QSize(0, 0)
        most = QSize(min(width, self.image.width() * self._grow), min(height, self.image.height() * self._grow))
        return self.image.size().scaled(most, Qt.AspectRatioMode.KeepAspectRatio)


class PictureWindow(QWidget):
    """A window of its own that shows one picture in full; Escape closes it."""

    def __init__(self, title: str, image: QImage, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(plain_line(title, 200).replace("[*]", "[ *]"))  # Qt's mark for a document that was changed
        self.view = PictureView(parent=self)
        self.view.show_image(image, grow=1)
        self.view.setMinimumSize(image.size())
        area = QScrollArea(self)
        area.setWidget(self.view)
        area.setWidgetResizable(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area)
        room = self.screen().availableGeometry().size() * 0.9
        self.resize((image.size() + QSize(24, 24)).boundedTo(room))

    def keyPressEvent(self, event: Any) -> None:
        """Close on Escape."""
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)
