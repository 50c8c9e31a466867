"""The last line of the dock: one sentence on what goes on or went wrong, always plain."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QWidget

from cvcache.browse import plain_line, tooltip_html
from cvcache.napari.icons import state_icon

LONGEST = 600
_SIDE = 14


class StatusLine(QWidget):
    """Says one sentence at a time."""

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
        self.say("")

    def text(self) -> str:
        """Return what it says."""
        return str(self.label.text())

    @property
    def complains(self) -> bool:
        """Whether what it says is that something went wrong."""
        return not self.mark.isHidden()

    def say(self, text: str) -> None:
        """Say what goes on; nothing leaves the line empty."""
        self._show(text, QIcon())

    def take_back(self, text: str) -> None:
        """Say nothing any more, if this is what is said."""
        if self.text() == plain_line(text, LONGEST):
            self.say("")

    def complain(self, text: str) -> None:
        """Say what went wrong."""
        self._show(text, state_icon("failed"))

    def _show(self, text: str, icon: QIcon) -> None:
        self.label.setText(plain_line(text, LONGEST))
        self.label.setToolTip(tooltip_html(text))
        self.mark.setPixmap(icon.pixmap(_SIDE, _SIDE))
        self.mark.setVisible(not icon.isNull())
