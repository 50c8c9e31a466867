"""Storage options that somebody types in: kept in memory while the window lives, and nowhere else."""

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

LINES = 4
"""Empty lines to begin with."""
NAMES = ("key", "secret", "endpoint_url", "anon")
"""What one types most often, as a hint."""


class RememberedOptions:
    """The options of each bucket, until the process ends; never written, never shown."""

    def __init__(self) -> None:
        self._options: dict[tuple[str, str], dict[str, Any]] = {}

    def __repr__(self) -> str:
        """Say how many, never which."""
        return f"<storage options of {len(self._options)} buckets>"

    def keep(self, url: str, options: Mapping[str, Any]) -> None:
        """Remember the options of the bucket of `url`; none forgets them."""
        if place := bucket_of(url):
            self._options.pop(place, None)
            if options:
                self._options[place] = dict(options)

    def of(self, url: str) -> dict[str, Any]:
        """Return the options that were given for the bucket of `url`."""
        place = bucket_of(url)
        return dict(self._options.get(place, {})) if place else {}


def bucket_of(url: str) -> tuple[str, str] | None:
    """Return scheme and bucket of a URL; None for a local path, which takes no options, and for what is no URL."""
    try:
        location = parse_url(url).checked()
    except CvcacheError:
        return None
    return None if location.scheme == "file" else (location.scheme, location.bucket)


class OptionsDialog(QDialog):
    """Asks for names and values; a value can be read only while it is typed."""

    def __init__(self, where: str, options: Mapping[str, Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Storage options")
        self._held = dict(options)
        self._lines: list[tuple[QLineEdit, QLineEdit]] = []
        self._grid = QGridLayout()
        layout = QVBoxLayout(self)
        layout.addWidget(_plain(f"What the store at {where or 'this place'} takes: credentials, endpoint."))
        layout.addLayout(self._grid)
        for column, title in enumerate(("Name", "Value: text, or JSON such as true or 3")):
            self._grid.addWidget(_plain(title), 0, column)
        more = QPushButton("One more")
        more.clicked.connect(lambda *_: self.add_line())
        layout.addWidget(more, alignment=Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(_plain("Kept in memory until this window is closed; never written anywhere."))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout.addWidget(buttons)
        for name in self._held:
            self.add_line(name)
        for _ in range(LINES - len(self._held)):
            self.add_line()

    def add_line(self, name: str = "") -> tuple[QLineEdit, QLineEdit]:
        """Add a line for one option; of one that is held the value is not shown, only that there is one."""
        row = len(self._lines) + 1
        named, value = QLineEdit(name), QLineEdit()
        named.setPlaceholderText(NAMES[row - 1] if row <= len(NAMES) else "")
        value.setEchoMode(QLineEdit.EchoMode.PasswordEchoOnEdit)
        value.setPlaceholderText("kept as it is" if name else "")
        self._grid.addWidget(named, row, 0)
        self._grid.addWidget(value, row, 1)
        self._lines.append((named, value))
        return named, value

    def options(self) -> dict[str, Any]:
        """Return the options as they are now; one that was held and whose value was left empty is still what it was."""
        found = {}
        for named, value in self._lines:
            name = named.text().strip()
            if name and value.text():
                found[name] = parse_storage_option(value.text())
            elif name in self._held:
                found[name] = self._held[name]
        return found


def _plain(text: str) -> QLabel:
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setText(text)
    return label
