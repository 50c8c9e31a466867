"""The address bar with its history, and the opening of URLs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from qtpy.QtCore import QObject, QSettings, Qt, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QCompleter, QFileDialog, QHBoxLayout, QSizePolicy, QToolButton, QWidget

from cvcache.browse import OpenedUrl, clean_address, not_found_text, plain_line
from cvcache.napari.dock.status import StatusLine
from cvcache.napari.dock.storage_options import OptionsDialog, RememberedOptions, bucket_of
from cvcache.napari.icons import action_icon
from cvcache.napari.jobs import Jobs
from cvcache.napari.panel import USAGE_HINT
from cvcache.napari.tree import error_sentence, open_tree

MAX_HISTORY = 20
MAX_URL_LENGTH = 2000
WAITING_TEXT = "; waiting for it"
_KEY = "browser/history"


class History:
    """The URLs of opened trees, newest first, in Qt's settings; nothing else is saved."""

    def __init__(self) -> None:
        self._settings = QSettings("cvcache", "cvcache")

    def urls(self) -> list[str]:
        """Return the URLs; invalid entries of the settings file are ignored."""
        try:
            urls = json.loads(str(self._settings.value(_KEY, "[]")))
        except (ValueError, RecursionError):
            return []
        texts = [url for url in urls if isinstance(url, str)] if isinstance(urls, list) else []
        return [url for url in texts if url and len(url) <= MAX_URL_LENGTH][:MAX_HISTORY]

    def add(self, url: str) -> None:
        """Add a URL as the newest."""
        if url and len(url) <= MAX_URL_LENGTH:
            urls = [url, *(one for one in self.urls() if one != url)]
            self._settings.setValue(_KEY, json.dumps(urls[:MAX_HISTORY]))


class AddressBar(QWidget):
    """A line edit for a URL or path, with buttons for a local folder and for storage options.

    Signals
    -------
    entered : the URL to open, and its storage options.
    """

    entered = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.history = History()
        self.remembered = RememberedOptions()
        self.ask_folder: Callable[[], str] = self._ask_folder
        self.ask_options: Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None] = self._ask_options
        self._enter_timer = QTimer(self)
        self._enter_timer.setSingleShot(True)
        self._enter_timer.setInterval(0)
        self._enter_timer.timeout.connect(self._enter)
        self.box = QComboBox()
        self._set_up_box()
        self.folder = self._button("Open a folder of this computer", self.choose_folder)
        self.folder.setIcon(action_icon("folder"))
        self.options = self._button("Storage options, such as credentials and endpoint", self.choose_options)
        self.options.setText("Options\N{HORIZONTAL ELLIPSIS}")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.box, self.folder, self.options):
            layout.addWidget(widget)

    def text(self) -> str:
        """Return the typed address, without surrounding spaces and quotes."""
        return clean_address(str(self.box.currentText()))

    def enter(self) -> None:
        """Emit `entered` for the typed address; once, also if Qt signals a key twice."""
        self._enter_timer.start()

    def _enter(self) -> None:
        if url := self.text():
            self.entered.emit(url, self.remembered.get(url))

    def show_opened(self, url: str, options: Mapping[str, Any], *, remember: bool = True) -> None:
        """Show the opened URL and keep its options; with `remember` add it to the history."""
        self.remembered.set(url, options)
        if remember:
            self.history.add(url)
        self._fill(url)

    def refill(self) -> None:
        """Show the current history; the typed text stays."""
        self._fill(self.text())

    def show_url(self, url: str) -> None:
        """Put a URL into the line edit."""
        self.box.setEditText(plain_line(url, MAX_URL_LENGTH))

    def choose_folder(self) -> None:
        """Let the user choose a local folder, and open it."""
        if folder := self.ask_folder():
            self.show_url(folder)
            self.enter()

    def choose_options(self) -> None:
        """Let the user type the options of the bucket of the typed URL, and open the URL."""
        url = self.text()
        options = self.ask_options(url, self.remembered.get(url))
        if options is not None and url:
            self.remembered.set(url, options)
            self.entered.emit(url, dict(options))

    def _set_up_box(self) -> None:
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(8)
        self.box.setMaxVisibleItems(MAX_HISTORY)
        edit = self.box.lineEdit()
        edit.setPlaceholderText("folder, s3://bucket/run7 or gs://bucket/run7")
        edit.setAccessibleName("Address of the tree")
        edit.returnPressed.connect(self.enter)
        self.box.activated.connect(lambda _: self.enter())
        completer = QCompleter(self.box.model(), self.box)
        completer.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.box.setCompleter(completer)
        self._fill("")

    def _fill(self, url: str) -> None:
        self.box.blockSignals(True)  # noqa: FBT003 - Qt's argument
        self.box.clear()
        self.box.addItems([plain_line(one, MAX_URL_LENGTH) for one in self.history.urls()])
        self.box.setEditText(plain_line(url, MAX_URL_LENGTH))
        self.box.blockSignals(False)  # noqa: FBT003 - Qt's argument

    def _button(self, tip: str, act: Callable[[], None]) -> QToolButton:
        button = QToolButton()
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.clicked.connect(lambda *_: act())
        return button

    def _ask_folder(self) -> str:
        local = self.text() if bucket_of(self.text()) is None else ""
        return str(QFileDialog.getExistingDirectory(self, "Open a tree", local))

    def _ask_options(self, url: str, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        dialog = OptionsDialog(plain_line(url), options, self)
        accepted = dialog.exec() == OptionsDialog.DialogCode.Accepted
        new_options = dialog.options()
        dialog.deleteLater()
        return new_options if accepted else None


class UrlOpener(QObject):
    """Opens the URL of the address bar: a tree, the tree of an item, or an empty URL that is then polled.

    Signals
    -------
    tree_opened : an `OpenedUrl`, with the tree that replaces the one before.
    opened : the same, once the address bar and the status line show it.
    failed : one sentence on why nothing could be opened.
    """

    tree_opened = Signal(object)
    opened = Signal(object)
    failed = Signal(str)

    def __init__(self, address: AddressBar, status: StatusLine, jobs: Jobs, memory: int) -> None:
        super().__init__(address)
        self._address, self._status, self._jobs, self._memory = address, status, jobs, memory
        self._awaited_url = ""
        self._message = ""

    def begin(self, url: str, storage_options: Mapping[str, Any] | None) -> None:
        """Open `url` in the background; the tree before stays until then."""
        url = clean_address(url)
        options = self._address.remembered.get(url) if storage_options is None else dict(storage_options)
        self._address.show_url(url)
        self._status.show_message(f"opening {plain_line(url)}\N{HORIZONTAL ELLIPSIS}")
        self._jobs.start(
            open_tree,
            url,
            options,
            self._memory,
            done=lambda opened_url: self._opened(opened_url, options),
            failed=self._on_error,
            topic="open",
        )

    def mark_found(self) -> None:
        """Add a URL that was empty when it was opened to the history: there is something now."""
        if self._awaited_url:
            self._address.history.add(self._awaited_url)
            self._address.refill()
            self._status.clear_message(self._message)
            self._awaited_url = ""

    def _opened(self, opened_url: OpenedUrl, options: Mapping[str, Any]) -> None:
        self.tree_opened.emit(opened_url)
        url = opened_url.tree.url
        self._awaited_url = url if opened_url.absent else ""
        self._message = (
            not_found_text(plain_line(url), plain_line(opened_url.nearest)) + WAITING_TEXT
            if opened_url.absent
            else USAGE_HINT
        )
        self._address.show_opened(url, options, remember=not opened_url.absent)
        self._status.show_message(self._message)
        self.opened.emit(opened_url)

    def _on_error(self, error: Exception) -> None:
        self._status.show_error(error_sentence(error))
        self.failed.emit(error_sentence(error))
