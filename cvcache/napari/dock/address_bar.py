"""Where the tree lies: a line to type it into, with what was opened before, and how it is opened."""

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
from cvcache.napari.panel import HOW
from cvcache.napari.tree import open_tree, sentence

MOST_KEPT = 20
LONGEST_KEPT = 2000
WAITING = "; waiting for it"
_KEY = "browser/history"


class History:
    """The URLs of the trees that were opened, newest first; nothing else of them is ever written."""

    def __init__(self) -> None:
        self._settings = QSettings("cvcache", "cvcache")

    def urls(self) -> list[str]:
        """Return them; of a file that somebody spoilt what is of use."""
        try:
            kept = json.loads(str(self._settings.value(_KEY, "[]")))
        except (ValueError, RecursionError):
            return []
        texts = [url for url in kept if isinstance(url, str)] if isinstance(kept, list) else []
        return [url for url in texts if url and len(url) <= LONGEST_KEPT][:MOST_KEPT]

    def add(self, url: str) -> None:
        """Remember one as the newest."""
        if url and len(url) <= LONGEST_KEPT:
            urls = [url, *(one for one in self.urls() if one != url)]
            self._settings.setValue(_KEY, json.dumps(urls[:MOST_KEPT]))


class AddressBar(QWidget):
    """A line for a URL or a path, with buttons for a local folder and for storage options.

    Signals
    -------
    entered : the URL that somebody wants to open, and its storage options.
    """

    entered = Signal(str, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.history = History()
        self.remembered = RememberedOptions()
        self.ask_folder: Callable[[], str] = self._ask_folder
        self.ask_options: Callable[[str, Mapping[str, Any]], Mapping[str, Any] | None] = self._ask_options
        self._entering = QTimer(self)
        self._entering.setSingleShot(True)
        self._entering.setInterval(0)
        self._entering.timeout.connect(self._enter)
        self.box = QComboBox()
        self._dress_box()
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
        """Return what is typed in, without what came along when it was copied."""
        return clean_address(str(self.box.currentText()))

    def enter(self) -> None:
        """Ask for what is typed in to be opened; once, also where Qt tells of a key twice."""
        self._entering.start()

    def _enter(self) -> None:
        if url := self.text():
            self.entered.emit(url, self.remembered.of(url))

    def opened(self, url: str, options: Mapping[str, Any], *, remember: bool = True) -> None:
        """Show that this was opened, and remember it; of a place with nothing only its options."""
        self.remembered.keep(url, options)
        if remember:
            self.history.add(url)
        self._fill(url)

    def refill(self) -> None:
        """Show the history as it is now; what is typed stays."""
        self._fill(self.text())

    def show_url(self, url: str) -> None:
        """Put a URL into the line."""
        self.box.setEditText(plain_line(url, LONGEST_KEPT))

    def choose_folder(self) -> None:
        """Let somebody choose a local folder, and ask for it to be opened."""
        if folder := self.ask_folder():
            self.show_url(folder)
            self.enter()

    def choose_options(self) -> None:
        """Let somebody type in the options of the bucket that the line names, and ask for it to be opened."""
        url = self.text()
        options = self.ask_options(url, self.remembered.of(url))
        if options is not None and url:
            self.remembered.keep(url, options)
            self.entered.emit(url, dict(options))

    def _dress_box(self) -> None:
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(8)
        self.box.setMaxVisibleItems(MOST_KEPT)
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
        self.box.addItems([plain_line(one, LONGEST_KEPT) for one in self.history.urls()])
        self.box.setEditText(plain_line(url, LONGEST_KEPT))
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

    def _ask_options(self, url: str, held: Mapping[str, Any]) -> Mapping[str, Any] | None:
        dialog = OptionsDialog(plain_line(url), held, self)
        accepted = dialog.exec() == OptionsDialog.DialogCode.Accepted
        found = dialog.options()
        dialog.deleteLater()
        return found if accepted else None


class Opening(QObject):
    """Opens what an address bar names: a tree, the tree of an item, or a place where something may come.

    Signals
    -------
    landed : a `OpenedUrl`, with the tree that takes the place of the one before.
    opened : the same, once the address bar and the status line say so.
    failed : one sentence, why nothing could be opened.
    """

    landed = Signal(object)
    opened = Signal(object)
    failed = Signal(str)

    def __init__(self, address: AddressBar, status: StatusLine, jobs: Jobs, memory: int) -> None:
        super().__init__(address)
        self._address, self._status, self._jobs, self._memory = address, status, jobs, memory
        self._awaited = ""
        self._said = ""

    def begin(self, url: str, storage_options: Mapping[str, Any] | None) -> None:
        """Open what is at `url` in the background; the tree before stays until then."""
        url = clean_address(url)
        options = self._address.remembered.of(url) if storage_options is None else dict(storage_options)
        self._address.show_url(url)
        self._status.say(f"opening {plain_line(url)}\N{HORIZONTAL ELLIPSIS}")
        self._jobs.start(
            open_tree,
            url,
            options,
            self._memory,
            done=lambda found: self._opened(found, options),
            failed=self._not_opened,
            topic="open",
        )

    def came(self) -> None:
        """Remember the place that was waited for: there is something now."""
        if self._awaited:
            self._address.history.add(self._awaited)
            self._address.refill()
            self._status.take_back(self._said)
            self._awaited = ""

    def _opened(self, found: OpenedUrl, options: Mapping[str, Any]) -> None:
        self.landed.emit(found)
        url = found.tree.url
        self._awaited = url if found.absent else ""
        self._said = not_found_text(plain_line(url), plain_line(found.nearest)) + WAITING if found.absent else HOW
        self._address.opened(url, options, remember=not found.absent)
        self._status.say(self._said)
        self.opened.emit(found)

    def _not_opened(self, error: Exception) -> None:
        self._status.complain(sentence(error))
        self.failed.emit(sentence(error))
