"""The log of a node, what it failed with on top; it follows while the node is computed and somebody looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QSizePolicy, QWidget

from cvcache.browse import READ_ERRORS, error_line, error_text, follow_log, log_tail, plain_line
from cvcache.logs import MAX_POLL_SECONDS, MIN_POLL_SECONDS, Tail
from cvcache.napari.panel.page import Page, Shown, has_record, items_of
from cvcache.napari.panel.text_view import FindBar, TextView, readable
from cvcache.napari.panel.widgets import GAP, SMALL, Sentence, column

if TYPE_CHECKING:
    from cvcache.browse import Row
    from cvcache.napari.jobs import Jobs

RUN_LOG = "run.log"
MOST_LOGS = 200
_ERROR_LINES = 9
_ENDS = {"committed": "It is committed.", "failed": "It failed.", "absent": "The node was removed."}


@dataclass(frozen=True, slots=True)
class Attempt:
    """Whose log is followed: a later attempt at the same node is another one."""

    location: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class LogFound:
    """What was read of a log; `tail` goes on with one that is being written, `same` says that somebody does already."""

    names: tuple[str, ...]
    name: str
    error: str
    text: str
    attempt: Attempt | None = None
    tail: Tail | None = None
    same: bool = False


class Follower(QObject):
    """Looks at a log again and again, in a worker; each look begins after the one before has come back.

    Signals
    -------
    came : text that is new, ready to be shown.
    said : a sentence on how it stands.
    """

    came = Signal(str)
    said = Signal(str)

    def __init__(self, jobs: Jobs, tail: Tail, attempt: Attempt, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.attempt = attempt
        self._jobs, self._tail = jobs, tail
        self._pause = MIN_POLL_SECONDS
        self._looking = False
        self._wanted = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._look)

    @property
    def active(self) -> bool:
        """Whether another look is to come."""
        return self._wanted and not self._tail.ended

    def resume(self) -> None:
        """Go on looking."""
        self._wanted = True
        self._next()

    def pause(self) -> None:
        """Look no more for now; what a look under way brings is still told, for it is read but once."""
        self._wanted = False
        self._timer.stop()

    def _next(self) -> None:
        if self._tail.ended:
            self.said.emit(_ENDS.get(self._tail.state, ""))
        elif self._wanted and not self._looking:
            self.said.emit("Follows while it is written.")
            self._timer.start(round(1000 * self._pause))

    def _look(self) -> None:
        self._looking = True
        self._jobs.start(lambda: readable(self._tail.look()), done=self._came, failed=self._failed)

    def _came(self, text: str) -> None:
        self._looking = False
        self._pause = MIN_POLL_SECONDS if text else min(self._pause * 1.5, MAX_POLL_SECONDS)
        if text:
            self.came.emit(text)
        self._next()

    def _failed(self, error: Exception) -> None:
        self._looking = False
        self._pause = MAX_POLL_SECONDS
        self._next()
        self.said.emit(plain_line(f"Cannot be read, trying again: {error_line(error)}", 300))


class LogPage(Page):
    """The log, a choice where a node has several, and a box to find words."""

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
        self.choice.activated.connect(self._chose)
        self.status = Sentence()
        self.follower: Follower | None = None
        self._wished = RUN_LOG
        top = QHBoxLayout()
        top.setSpacing(GAP)
        top.addWidget(self.choice)
        top.addWidget(self.find, 1)
        layout = column(self.content, SMALL)
        layout.addLayout(top)
        layout.addWidget(self.error)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.status)
        self.status.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def offers(self, shown: Shown) -> bool:
        """Whether there was a computation, or the item is itself a log."""
        row = shown.one
        return row is not None and ((row.is_item and row.kind == "log") or has_record(shown.node))

    def nothing(self, shown: Shown) -> str:
        """Say why there is no log."""
        return "Nothing was computed here, so there is no log." if shown.one else "Select one line to read its log."

    def collect(self, shown: Shown) -> LogFound:
        """Read the end of the log; of one that is being written all that there is."""
        row, node = shown.one, shown.node
        if row is None or node is None:
            return LogFound((), "", "", "")
        if row.is_item and row.kind == "log" and (row.state == "foreign" or not has_record(node)):
            return LogFound((row.name,), row.name, "", readable(log_tail(row)))
        names, trouble = _log_names(node)
        name = row.name if row.is_item and row.kind == "log" else self._wished if self._wished in names else names[0]
        error = readable(error_text(node))
        attempt = _attempt(node, name)
        if self.follower is not None and self.follower.attempt == attempt:
            return LogFound(names, name, error, "", attempt, same=True)
        if node.state == "running":
            tail = follow_log(node.node, name)
            return LogFound(names, name, error, readable(tail.look()), attempt, tail)
        return LogFound(names, name, error, readable(log_tail(node, name=name)) or trouble, attempt)

    def present(self, shown: Shown, found: LogFound) -> str:
        """Show it, its end first."""
        if found.same and self.holds != shown.paths:
            self.text.to_end()
        self._show_choice(found)
        if not found.same:
            self._follow(found)
            self._show_text(shown, found.text)
        self._show_error(found.error)
        if not (found.text or found.error or self.follower is not None):
            return "No log was kept."
        if self.follower is not None and self.isVisible():
            self.follower.resume()
        return ""

    def leave(self) -> None:
        """Look no more."""
        if self.follower is not None:
            self.follower.pause()

    def showEvent(self, event: object) -> None:
        """Go on following."""
        super().showEvent(event)
        if self.follower is not None and self.asked is not None and self.holds == self.asked.paths:
            self.follower.resume()

    def forget(self) -> None:
        """Show nothing any more, follow nothing."""
        super().forget()
        self._drop_follower()

    def _show_text(self, shown: Shown, text: str) -> None:
        bar = self.text.verticalScrollBar()
        place = None if self.holds != shown.paths or bar.value() >= bar.maximum() - 1 else bar.value()
        self.text.show_text(text)
        if place is None:
            self.text.to_end()
        else:
            bar.setValue(place)

    def _show_choice(self, found: LogFound) -> None:
        if [self.choice.itemData(i) for i in range(self.choice.count())] != list(found.names):
            self.choice.clear()
            for name in found.names:
                self.choice.addItem(plain_line(name, 80), name)
        self.choice.setCurrentIndex(found.names.index(found.name) if found.name in found.names else -1)
        self.choice.setVisible(len(found.names) > 1)

    def _show_error(self, text: str) -> None:
        self.error.show_text(text)
        last = text.rstrip().rpartition("\n")[2]
        self.error.setVisible(bool(last) and not self.text.toPlainText().rstrip().endswith(last))
        count = min(text.count("\n") + 1, _ERROR_LINES)
        self.error.setFixedHeight(self.error.fontMetrics().lineSpacing() * count + 4 * SMALL)

    def _follow(self, found: LogFound) -> None:
        self._drop_follower()
        self.status.set_text("")
        if found.tail is not None and found.attempt is not None:
            self.follower = Follower(self.jobs, found.tail, found.attempt, self)
            self.follower.came.connect(self.text.add)
            self.follower.said.connect(self._say_status)

    def _drop_follower(self) -> None:
        if self.follower is not None:
            self.follower.pause()
            self.follower.came.disconnect()
            self.follower.said.disconnect()
            self.follower.deleteLater()
            self.follower = None

    def _say_status(self, text: str) -> None:
        self.status.set_text(text)

    def _chose(self, index: int) -> None:
        self._wished = self.choice.itemData(index)
        self._drop_follower()
        if self.asked is not None:
            self.load()


def _log_names(node: Row) -> tuple[tuple[str, ...], str]:
    """Return the logs of a node, that of the run first; and what went wrong while they were looked for."""
    try:
        names = [item.name for item in items_of(node) if item.kind == "log" or item.name.endswith(".log")]
    except READ_ERRORS as error:
        return (RUN_LOG,), f"[{error_line(error)}]"
    first = [RUN_LOG] if RUN_LOG in names or node.state in {"running", "failed"} or not names else []
    return (*first, *[name for name in names[:MOST_LOGS] if name != RUN_LOG]), ""


def _attempt(node: Row, name: str) -> Attempt:
    record: Any = node.node.record()
    return Attempt(node.node.location, record.attempt if record is not None else "", name)
