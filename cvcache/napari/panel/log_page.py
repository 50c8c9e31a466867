"""The log page: the log of a node below its error; follows a running log while the page is visible."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QWidget

from cvcache.browse import READ_ERRORS, error_line, error_text, follow_log, log_tail, plain_line
from cvcache.formats import kind_of
from cvcache.logs import MAX_POLL_SECONDS, MIN_POLL_SECONDS, Tail
from cvcache.napari.panel.page import Page, Selection, has_record, items_of
from cvcache.napari.panel.text_view import FindBar, TextView, readable_text
from cvcache.napari.panel.widgets import MARGIN, SPACING, MessageLabel, column_layout

if TYPE_CHECKING:
    from cvcache.browse import Row
    from cvcache.napari.jobs import Jobs

RUN_LOG = "run.log"
MAX_LOGS = 200
_MAX_ERROR_LINES = 9
_END_TEXTS = {"committed": "It is committed.", "failed": "It failed.", "absent": "The node was removed."}


@dataclass(frozen=True, slots=True)
class FollowedLog:
    """Identity of a followed log: node, attempt and name of the log."""

    location: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class LogContent:
    """The content of the page; `tail` continues a running log, `same` says that it is already followed."""

    names: tuple[str, ...]
    name: str
    error: str
    text: str
    attempt: FollowedLog | None = None
    tail: Tail | None = None
    same: bool = False


class LogFollower(QObject):
    """Polls a log in a worker; each read starts after the one before has ended.

    Signals
    -------
    text_read : new text, ready to be shown.
    status_changed : one sentence on the state of the attempt.
    """

    text_read = Signal(str)
    status_changed = Signal(str)

    def __init__(self, jobs: Jobs, tail: Tail, attempt: FollowedLog, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.attempt = attempt
        self._jobs, self._tail = jobs, tail
        self._pause = MIN_POLL_SECONDS
        self._reading = False
        self._resumed = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._read)

    @property
    def active(self) -> bool:
        """Whether the log will be read again."""
        return self._resumed and not self._tail.ended

    def resume(self) -> None:
        """Poll the log."""
        self._resumed = True
        self._next()

    def pause(self) -> None:
        """Stop polling; the text of a running read is still emitted, since it is read only once."""
        self._resumed = False
        self._timer.stop()

    def _next(self) -> None:
        if self._tail.ended:
            self.status_changed.emit(_END_TEXTS.get(self._tail.state, ""))
        elif self._resumed and not self._reading:
            self.status_changed.emit("Follows while it is written.")
            self._timer.start(round(1000 * self._pause))

    def _read(self) -> None:
        self._reading = True
        self._jobs.start(lambda: readable_text(self._tail.look()), done=self._on_text, failed=self._on_error)

    def _on_text(self, text: str) -> None:
        self._reading = False
        self._pause = MIN_POLL_SECONDS if text else min(self._pause * 1.5, MAX_POLL_SECONDS)
        if text:
            self.text_read.emit(text)
        self._next()

    def _on_error(self, error: Exception) -> None:
        self._reading = False
        self._pause = MAX_POLL_SECONDS
        self._next()
        self.status_changed.emit(plain_line(f"Cannot be read, trying again: {error_line(error)}", 300))


class LogPage(Page):
    """The page with the log, a choice of logs, and a find bar."""

    title = "Log"

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(jobs, parent)
        self.error = TextView()
        self.error.setStyleSheet("QPlainTextEdit { border: none; border-left: 3px solid rgb(200, 75, 65); }")
        self.text = TextView()
        self.find = FindBar(self.text)
        self.choice = QComboBox()
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.setMinimumContentsLength(8)
        self.choice.activated.connect(self._on_chosen)
        self.status = MessageLabel()
        self.follower: LogFollower | None = None
        self._chosen_name = RUN_LOG
        top = QHBoxLayout()
        top.setSpacing(SPACING)
        top.addWidget(self.choice)
        top.addWidget(self.find, 1)
        layout = column_layout(self.content, MARGIN)
        layout.addLayout(top)
        layout.addWidget(self.error)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.status)
        self.status.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def has_content(self, selection: Selection) -> bool:
        """Whether there was a computation, or the item is a log."""
        row = selection.single
        return row is not None and ((row.is_item and row.kind == "log") or has_record(selection.node))

    def empty_text(self, selection: Selection) -> str:
        """Return why there is no log."""
        return (
            "Nothing was computed here, so there is no log." if selection.single else "Select one line to read its log."
        )

    def read_content(self, selection: Selection) -> LogContent:
        """Read the end of the log of the newest attempt, or of a log that was selected; of a running one all so far."""
        row, node = selection.single, selection.node
        if row is None or node is None:
            return LogContent((), "", "", "")
        is_log = row.is_item and row.kind == "log"
        if is_log and (row.state == "foreign" or not has_record(node) or row.node.newest_attempt != row.node):
            return LogContent((row.name,), row.name, "", readable_text(log_tail(row)))
        node = replace(node, node=node.node.newest_attempt)
        names, trouble = _log_names(node)
        name = row.name if is_log else self._chosen_name if self._chosen_name in names else names[0]
        error = readable_text(error_text(node))
        attempt = _attempt(node, name)
        if self.follower is not None and self.follower.attempt == attempt:
            return LogContent(names, name, error, "", attempt, same=True)
        if node.state == "running":
            tail = follow_log(node.node, name)
            return LogContent(names, name, error, readable_text(tail.look()), attempt, tail)
        return LogContent(names, name, error, readable_text(log_tail(node, name=name)) or trouble, attempt)

    def show_content(self, selection: Selection, content: LogContent) -> str:
        """Show the end of the log."""
        if content.same and self.shown_paths != selection.paths:
            self.text.to_end()
        self._show_choice(content)
        if not content.same:
            self._follow(content)
            self._show_text(selection, content.text)
        self._show_error(content.error)
        if not (content.text or content.error or self.follower is not None):
            return "No log was kept."
        if self.follower is not None and self.isVisible():
            self.follower.resume()
        return ""

    def stop(self) -> None:
        """Stop following the log."""
        if self.follower is not None:
            self.follower.pause()

    def showEvent(self, event: object) -> None:
        """Continue to follow the log."""
        super().showEvent(event)
        if self.follower is not None and self.requested is not None and self.shown_paths == self.requested.paths:
            self.follower.resume()

    def clear(self) -> None:
        """Show nothing, and stop following."""
        super().clear()
        self._drop_follower()

    def _show_text(self, selection: Selection, text: str) -> None:
        bar = self.text.verticalScrollBar()
        place = None if self.shown_paths != selection.paths or bar.value() >= bar.maximum() - 1 else bar.value()
        self.text.show_text(text)
        if place is None:
            self.text.to_end()
        else:
            bar.setValue(place)

    def _show_choice(self, content: LogContent) -> None:
        if [self.choice.itemData(i) for i in range(self.choice.count())] != list(content.names):
            self.choice.clear()
            for name in content.names:
                self.choice.addItem(plain_line(name, 80), name)
        self.choice.setCurrentIndex(content.names.index(content.name) if content.name in content.names else -1)
        self.choice.setVisible(len(content.names) > 1)

    def _show_error(self, text: str) -> None:
        self.error.show_text(text)
        last = text.rstrip().rpartition("\n")[2]
        self.error.setVisible(bool(last) and not self.text.toPlainText().rstrip().endswith(last))
        count = min(text.count("\n") + 1, _MAX_ERROR_LINES)
        self.error.setFixedHeight(self.error.fontMetrics().lineSpacing() * count + 4 * MARGIN)

    def _follow(self, content: LogContent) -> None:
        self._drop_follower()
        self.status.set_text("")
        if content.tail is not None and content.attempt is not None:
            self.follower = LogFollower(self.jobs, content.tail, content.attempt, self)
            self.follower.text_read.connect(self.text.add)
            self.follower.status_changed.connect(self._show_status)

    def _drop_follower(self) -> None:
        if self.follower is not None:
            self.follower.pause()
            self.follower.text_read.disconnect()
            self.follower.status_changed.disconnect()
            self.follower.deleteLater()
            self.follower = None

    def _show_status(self, text: str) -> None:
        self.status.set_text(text)

    def _on_chosen(self, index: int) -> None:
        self._chosen_name = self.choice.itemData(index)
        self._drop_follower()
        if self.requested is not None:
            self.load()


def _log_names(node: Row) -> tuple[tuple[str, ...], str]:
    """Return the names of the logs of a node, ``run.log`` first; and the error of the read, if any."""
    try:
        names = [item.name for item in items_of(node) if item.kind == "log" or kind_of(item.name) == "log"]
    except READ_ERRORS as error:
        return (RUN_LOG,), f"[{error_line(error)}]"
    first = [RUN_LOG] if RUN_LOG in names or node.state in {"running", "failed"} or not names else []
    return (*first, *[name for name in names[:MAX_LOGS] if name != RUN_LOG]), ""


def _attempt(node: Row, name: str) -> FollowedLog:
    record: Any = node.node.record
    return FollowedLog(node.node.path, record.attempt if record is not None else "", name)
