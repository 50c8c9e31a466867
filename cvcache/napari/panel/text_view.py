"""Plain text to read, search and copy: bounded in lines and in their length, never markup."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, Qt, Signal
from qtpy.QtGui import QFontDatabase, QGuiApplication, QKeySequence, QTextCursor, QTextDocument
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPlainTextEdit, QToolButton, QWidget

from cvcache.browse import plain_text
from cvcache.napari.panel.widgets import GAP

MOST_LINES = 20_000
MOST_CHARACTERS = 512 << 10
"""Of text that is added at once; its end is shown."""
LONGEST_LINE = 1000
"""A longer line goes on in the next one: Qt lays out a line as a whole."""


def readable(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return text as a terminal would have left it, without what drives one, cut to its last `most` characters."""
    cut = len(text) > most
    shown = text[-most:].replace("\r\n", "\n")
    kept = [one.rstrip("\r").rpartition("\r")[2] for one in shown.split("\n")]  # a bar that was drawn again and again
    found = "\n".join(_folded(one) for one in plain_text("\n".join(kept)).split("\n"))
    return f"[what comes before is left out]\n{found}" if cut else found


def _folded(text: str) -> str:
    if len(text) <= LONGEST_LINE:
        return text
    return "\n".join(text[i : i + LONGEST_LINE] for i in range(0, len(text), LONGEST_LINE))


class TextView(QPlainTextEdit):
    """Text that can be read and copied only; it stays at its end while it grows, unless somebody scrolled up.

    Signals
    -------
    find_asked : somebody pressed the keys for searching.
    """

    find_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setReadOnly(True)
        self.setUndoRedoEnabled(False)
        self.setMaximumBlockCount(MOST_LINES)
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setMinimumHeight(60)

    def show_text(self, text: str) -> None:
        """Show another text, from its beginning; one that is there already stays as it was scrolled."""
        shown = readable(text)
        if shown != self.toPlainText():
            self.setPlainText(shown)

    def add(self, text: str) -> None:
        """Add text that `readable` has gone over at the end."""
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
        """Give nothing: no text may fetch a file or a page."""
        return

    def event(self, event: Any) -> bool:
        """Take the keys for searching before a shortcut of the window does."""
        if event.type() == QEvent.Type.ShortcutOverride and event.matches(QKeySequence.StandardKey.Find):
            event.accept()
            return True
        return bool(super().event(event))

    def keyPressEvent(self, event: Any) -> None:
        """Ask for the find box."""
        if event.matches(QKeySequence.StandardKey.Find):
            self.find_asked.emit()
        else:
            super().keyPressEvent(event)


class FindBar(QWidget):
    """Looks for words in a text: Enter goes on, Shift+Enter goes back, and both begin anew at the other end."""

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
        layout.setSpacing(GAP)
        layout.addWidget(self.box, 1)
        for arrow, says, act in (
            (Qt.ArrowType.UpArrow, "Previous", self.back),
            (Qt.ArrowType.DownArrow, "Next", self.forward),
        ):
            button = QToolButton()
            button.setArrowType(arrow)
            button.setToolTip(says)
            button.clicked.connect(act)
            layout.addWidget(button)
        view.find_asked.connect(self.begin)

    def begin(self) -> None:
        """Put the cursor into the box."""
        self.box.setFocus()
        self.box.selectAll()

    def forward(self) -> None:
        """Go to the next place."""
        self.find(back=False)

    def back(self) -> None:
        """Go to the previous place."""
        self.find(back=True)

    def find(self, *, back: bool) -> bool:
        """Select the next place, or the previous one; return whether there is any."""
        wanted = self.box.text()
        flags = QTextDocument.FindFlag.FindBackward if back else QTextDocument.FindFlag(0)
        found = bool(wanted) and bool(self._view.find(wanted, flags))
        if wanted and not found:
            here = self._view.textCursor()
            end = QTextCursor.MoveOperation.End if back else QTextCursor.MoveOperation.Start
            self._view.moveCursor(end)
            found = bool(self._view.find(wanted, flags))
            if not found:
                self._view.setTextCursor(here)
        self.box.setToolTip("" if found or not wanted else "This is nowhere in the text that is shown")
        font = self.box.font()
        font.setStrikeOut(bool(wanted) and not found)
        self.box.setFont(font)
        return found

    def _entered(self) -> None:
        self.find(back=bool(QGuiApplication.keyboardModifiers() & Qt.KeyboardModifier.ShiftModifier))

    def _typed(self, _text: str) -> None:
        cursor = self._view.textCursor()
        cursor.setPosition(cursor.selectionStart())
        self._view.setTextCursor(cursor)
        self.find(back=False)
