"""Widgets below each other."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget


def column(whole: QWidget, *parts: QWidget, grows: QWidget, margin: int = 0) -> QWidget:
    """Put widgets below each other, one of which takes all room that is left."""
    layout = QVBoxLayout(whole)
    layout.setContentsMargins(margin, margin, margin, margin)
    layout.setSpacing(4)
    for part in parts:
        layout.addWidget(part, int(part is grows))
    return whole
