"""The status line of the dock: one sentence of plain text, a message or an error."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from cvcache.browse import plain_line, tooltip_html
from cvcache.napari.icons import state_icon

MAX_LENGTH = 600
_SIDE = 14


class StatusLine(QWidget):
    """Shows one sentence at a time."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QLabel()
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setWordWrap(True)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.mark = QLabel()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.setSpacing(4)
        layout.addWidget(self.mark, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self.label, 1)
        self.show_message("")

    def text(self) -> str:
        """Return the shown text."""
        return str(self.label.text())

    @property
    def shows_error(self) -> bool:
        """Whether it shows an error."""
        return not self.mark.isHidden()

    def show_message(self, text: str) -> None:
        """Show a message; an empty text clears the line."""
        self._show(text, QIcon())

    def clear_message(self, text: str) -> None:
        """Clear the line, if it shows this message."""
        if self.text() == plain_line(text, MAX_LENGTH):
            self.show_message("")

    def show_error(self, text: str) -> None:
        """Show an error."""
        self._show(text, state_icon("failed"))

    def _show(self, text: str, icon: QIcon) -> None:
        self.label.setText(plain_line(text, MAX_LENGTH))
        self.label.setToolTip(tooltip_html(text))
        self.mark.setPixmap(icon.pixmap(_SIDE, _SIDE))
        self.mark.setVisible(not icon.isNull())
