"""A view of plain text with a find bar: the number of lines and their length are bounded."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtGui import QFontDatabase, QGuiApplication, QKeySequence, QTextCursor, QTextDocument
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPlainTextEdit, QToolButton, QWidget

from cvcache.browse import plain_text
from cvcache.napari.panel.widgets import SPACING

MAX_LINES = 20_000
MAX_CHARACTERS = 512 << 10
"""Characters that are added at a time; of a longer text the end is shown."""
MAX_LINE_LENGTH = 1000
"""A longer line is split: Qt lays out each line as a whole."""


def readable_text(text: str, most: int = MAX_CHARACTERS) -> str:
    """Return text as a terminal shows it, without control characters, cut to its last `most` characters."""
    cut = len(text) > most
    shown = text[-most:].replace("\r\n", "\n")
    kept = [one.rstrip("\r").rpartition("\r")[2] for one in shown.split("\n")]  # a progress bar
    found = "\n".join(_folded(one) for one in plain_text("\n".join(kept)).split("\n"))
    return f"[what comes before is left out]\n{found}" if cut else found


def _folded(text: str) -> str:
    if len(text) <= MAX_LINE_LENGTH:
        return text
    return "\n".join(text[i : i + MAX_LINE_LENGTH] for i in range(0, len(text), MAX_LINE_LENGTH))


class TextView(QPlainTextEdit):
    """A read-only text; it stays at its end while text is added, unless the user scrolled up.

    Signals
    -------
    find_requested : the keys of Find were pressed.
    """

    find_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setUndoRedoEnabled(False)
        self.setMaximumBlockCount(MAX_LINES)
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setMinimumHeight(60)

    def show_text(self, text: str) -> None:
        """Show another text from its beginning; the same text keeps its scroll position."""
        shown = readable_text(text)
        if shown != self.toPlainText():
            self.setPlainText(shown)

    def add(self, text: str) -> None:
        """Append text that `readable_text` returned."""
        bar = self.verticalScrollBar()
        follows = bar.value() >= bar.maximum() - 1
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        cursor.insertText(text)
        if follows:
            self.to_end()

    def to_end(self) -> None:
        """Show the last line."""
        self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())

    def loadResource(self, _kind: int, _name: Any) -> None:
        """Return nothing: no text may load a file or a page."""
        return

    def event(self, event: Any) -> bool:
        """Take the keys of Find before a shortcut of the window does."""
        if event.type() == QEvent.Type.ShortcutOverride and event.matches(QKeySequence.StandardKey.Find):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: Any) -> None:
        """Handle Find."""
        if event.matches(QKeySequence.StandardKey.Find):
            self.find_requested.emit()
        else:
            super().keyPressEvent(event)


class FindBar(QWidget):
    """Finds words in a text: Enter goes forward, Shift+Enter back, and both wrap around."""

    def __init__(self, view: TextView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._view = view
        self.box = QLineEdit()
        self.box.setPlaceholderText("Find in this text")
        self.box.setClearButtonEnabled(True)
        self.box.textEdited.connect(self._typed)
        self.box.returnPressed.connect(self._entered)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACING)
        layout.addWidget(self.box, 1)
        for arrow, label, slot in (
            (Qt.ArrowType.UpArrow, "Previous", self.back),
            (Qt.ArrowType.DownArrow, "Next", self.forward),
        ):
            button = QToolButton()
            button.setArrowType(arrow)
            button.setToolTip(label)
            button.clicked.connect(slot)
            layout.addWidget(button)
        view.find_requested.connect(self.begin)

    def begin(self) -> None:
        """Put the cursor into the box."""
        self.box.setFocus()
        self.box.selectAll()

    def forward(self) -> None:
        """Go to the next match."""
        self.find(back=False)

    def back(self) -> None:
        """Go to the previous match."""
        self.find(back=True)

    def find(self, *, back: bool) -> bool:
        """Select the next or previous match; return whether there is one."""
        words = self.box.text()
        flags = QTextDocument.FindFlag.FindBackward if back else QTextDocument.FindFlag(0)
        found = bool(words) and bool(self._view.find(words, flags))
        if words and not found:
            cursor = self._view.textCursor()
            end = QTextCursor.MoveOperation.End if back else QTextCursor.MoveOperation.Start
            self._view.moveCursor(end)
            found = bool(self._view.find(words, flags))
            if not found:
                self._view.setTextCursor(cursor)
        self.box.setToolTip("" if found or not words else "This is nowhere in the text that is shown")
        font = self.box.font()
        font.setStrikeOut(bool(words) and not found)
        self.box.setFont(font)
        return found

    def _entered(self) -> None:
        self.find(back=bool(QGuiApplication.keyboardModifiers() & Qt.KeyboardModifier.ShiftModifier))

    def _typed(self, _text: str) -> None:
        cursor = self._view.textCursor()
        cursor.setPosition(cursor.selectionStart())
        self._view.setTextCursor(cursor)
        self.find(back=False)
