"""A list of labels and values that can be selected and copied; plain text only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QPalette, QTextCharFormat, QTextCursor, QTextLength, QTextOption, QTextTableFormat
from qtpy.QtWidgets import QFrame, QSizePolicy, QTextEdit, QWidget

from cvcache.browse import plain_text
from cvcache.napari.panel.widgets import PALE_OPACITY


class FactsView(QTextEdit):
    """Pairs of label and value, as tall as its content.

    Text is inserted with a cursor, so that it is never read as markup; no other resource is loaded.

    Signals
    -------
    height_changed : the new height in pixels.
    """

    height_changed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        self._facts: tuple[tuple[str, str], ...] = ()
        self._columns = True
        super().__init__(parent)
        self.setReadOnly(True)
        self.setAcceptRichText(False)
        self.setUndoRedoEnabled(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setTabChangesFocus(True)
        self.viewport().setAutoFillBackground(False)
        # themes give text fields a background; this one is part of its page
        self.setStyleSheet("QTextEdit { background: transparent; border: none; padding: 0px; }")
        self.document().setDocumentMargin(2)

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Return the shown pairs."""
        return self._facts

    def show_facts(self, facts: Sequence[tuple[str, str]], *, columns: bool = True) -> None:
        """Show these pairs; without `columns` each value is below its label, and an empty label takes no line."""
        self._facts, self._columns = tuple(facts), columns
        self._write()
        self.setVisible(bool(facts))

    def loadResource(self, _kind: int, _name: Any) -> None:
        """Return nothing: no text may load a file or a page."""
        return

    def wheelEvent(self, event: Any) -> None:
        """Leave scrolling to the page."""
        event.ignore()

    def resizeEvent(self, event: Any) -> None:
        """Fit the height to the text at this width."""
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event: Any) -> None:
        """Apply the colours of another theme."""
        super().changeEvent(event)
        if event.type() in {event.Type.PaletteChange, event.Type.StyleChange, event.Type.FontChange} and self._facts:
            self._write()

    def sizeHint(self) -> QSize:
        """Return the size of the text."""
        return QSize(200, self.height())

    def _write(self) -> None:
        self.setPlainText("")
        if self._facts and self._columns:
            self._write_columns()
        elif self._facts:
            self._write_lines()
        self._fit()

    def _write_columns(self) -> None:
        text_format = QTextTableFormat()
        text_format.setBorder(0)
        text_format.setCellPadding(1)
        text_format.setCellSpacing(0)
        widest = max(self.fontMetrics().horizontalAdvance(label) for label, _ in self._facts) + 8
        widths = [QTextLength(QTextLength.Type.FixedLength, min(widest, 130)), QTextLength()]
        text_format.setColumnWidthConstraints(widths)
        cursor = QTextCursor(self.document())
        cursor.beginEditBlock()  # laid out once, not after each cell
        table = cursor.insertTable(len(self._facts), 2, text_format)
        pale = self._pale()
        for i, (label, value) in enumerate(self._facts):
            table.cellAt(i, 0).firstCursorPosition().insertText(plain_text(label), pale)
            table.cellAt(i, 1).firstCursorPosition().insertText(plain_text(value))
        cursor.endEditBlock()

    def _write_lines(self) -> None:
        cursor = QTextCursor(self.document())
        pale, normal = self._pale(), QTextCharFormat()
        for i, (label, value) in enumerate(self._facts):
            cursor.insertText("\n" if i else "", normal)
            cursor.insertText(f"{plain_text(label)}\n" if label else "", pale)
            cursor.insertText(plain_text(value), normal)

    def _pale(self) -> QTextCharFormat:
        color = QColor(self.palette().color(QPalette.ColorRole.Text))
        color.setAlphaF(PALE_OPACITY)
        text_format = QTextCharFormat()
        text_format.setForeground(color)
        return text_format

    def _fit(self) -> None:
        self.document().setTextWidth(self.viewport().width())
        height = round(self.document().size().height()) + 2
        if height != self.height():
            self.setFixedHeight(height)
            self.height_changed.emit(height)
