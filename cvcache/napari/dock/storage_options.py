"""Storage options that the user types: kept in memory until the process ends, never saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from cvcache.errors import CvcacheError
from cvcache.store import parse_storage_option, parse_url

EMPTY_LINES = 4
"""Lines of a new dialog."""
COMMON_NAMES = ("key", "secret", "endpoint_url", "anon")
"""Common names, shown as placeholders."""


class RememberedOptions:
    """The options of each bucket; never saved, never shown."""

    def __init__(self) -> None:
        self._options: dict[tuple[str, str], dict[str, Any]] = {}

    def __repr__(self) -> str:
        """Return the number of buckets, never their options."""
        return f"<storage options of {len(self._options)} buckets>"

    def set(self, url: str, options: Mapping[str, Any]) -> None:
        """Keep the options of the bucket of `url`; an empty mapping removes them."""
        if bucket := bucket_of(url):
            self._options.pop(bucket, None)
            if options:
                self._options[bucket] = dict(options)

    def get(self, url: str) -> dict[str, Any]:
        """Return the options of the bucket of `url`."""
        bucket = bucket_of(url)
        return dict(self._options.get(bucket, {})) if bucket else {}


def bucket_of(url: str) -> tuple[str, str] | None:
    """Return scheme and bucket of a URL; None for a local path, which takes no options, and for an invalid URL."""
    try:
        location = parse_url(url).checked()
    except CvcacheError:
        return None
    return None if location.scheme == "file" else (location.scheme, location.bucket)


class OptionsDialog(QDialog):
    """A dialog for names and values; a value is visible only while it is typed."""

    def __init__(self, where: str, options: Mapping[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Storage options")
        self._options = dict(options)
        self._lines: list[tuple[QLineEdit, QLineEdit]] = []
        self._grid = QGridLayout()
        layout = QVBoxLayout(self)
        layout.addWidget(_plain_label(f"What the store at {where or 'this place'} takes: credentials, endpoint."))
        layout.addLayout(self._grid)
        for column, title in enumerate(("Name", "Value: text, or JSON such as true or 3")):
            self._grid.addWidget(_plain_label(title), 0, column)
        more = QPushButton("One more")
        more.clicked.connect(lambda *_: self.add_line())
        layout.addWidget(more, alignment=Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(_plain_label("Kept in memory until this window is closed; never written anywhere."))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)
        for name in self._options:
            self.add_line(name)
        for _ in range(EMPTY_LINES - len(self._options)):
            self.add_line()

    def add_line(self, name: str = "") -> tuple[QLineEdit, QLineEdit]:
        """Add a line for one option; the value of an existing option is not shown."""
        row = len(self._lines) + 1
        name_edit, value = QLineEdit(name), QLineEdit()
        name_edit.setPlaceholderText(COMMON_NAMES[row - 1] if row <= len(COMMON_NAMES) else "")
        value.setEchoMode(QLineEdit.EchoMode.PasswordEchoOnEdit)
        value.setPlaceholderText("kept as it is" if name else "")
        self._grid.addWidget(name_edit, row, 0)
        self._grid.addWidget(value, row, 1)
        self._lines.append((name_edit, value))
        return name_edit, value

    def options(self) -> dict[str, Any]:
        """Return the options; an existing option whose value was left empty keeps its value."""
        options = {}
        for name_edit, value in self._lines:
            name = name_edit.text().strip()
            if name and value.text():
                options[name] = parse_storage_option(value.text())
            elif name in self._options:
                options[name] = self._options[name]
        return options


def _plain_label(text: str) -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setText(text)
    return label
