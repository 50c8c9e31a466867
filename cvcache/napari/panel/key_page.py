"""Why a node was computed, the key it was computed with, and what it was made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from cvcache.browse import (
    READ_ERRORS,
    environment_lines,
    error_line,
    key_text,
    plain_line,
    recorded_mapping,
    stale_because,
    value_text,
    why,
)
from cvcache.napari.panel.facts_view import FactsView
from cvcache.napari.panel.page import Page, Shown, has_record
from cvcache.napari.panel.text_view import FindBar, TextView
from cvcache.napari.panel.widgets import SMALL, column, scrolled

if TYPE_CHECKING:
    from cvcache.napari.jobs import Jobs

MOST_PACKAGES = 1000
TALLEST = 140
"""Pixels that the reasons take, at most; more are scrolled."""


@dataclass(frozen=True, slots=True)
class KeyFound:
    """The reasons of the newest computation, what is other by now, and the key."""

    why: tuple[str, ...]
    stale: tuple[str, ...]
    key: str


class KeyPage(Page):
    """Reasons on top, the key below them."""

    title = "Key"

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(jobs, parent)
        self.reasons = FactsView()
        self.text = TextView()
        self.copy = QPushButton("Copy")
        self.copy.setToolTip("Copy the key as JSON")
        self.copy.clicked.connect(self._copy)
        bar = QHBoxLayout()
        bar.addWidget(FindBar(self.text), 1)
        bar.addWidget(self.copy)
        area = scrolled(self.reasons)
        self.reasons.grown.connect(lambda height: area.setFixedHeight(min(height + 2, TALLEST)))
        self._area = area
        layout = column(self.content, SMALL)
        layout.addWidget(area)
        layout.addLayout(bar)
        layout.addWidget(self.text, 1)

    def offers(self, shown: Shown) -> bool:
        """Whether there was a computation."""
        return has_record(shown.node)

    def nothing(self, shown: Shown) -> str:
        """Say why there is no key."""
        return "Nothing was computed here, so there is no key." if shown.one else "Select one line to see its key."

    def collect(self, shown: Shown) -> KeyFound:
        """Take them from the record; of a stale node, look at what it was made from."""
        node = shown.node
        if node is None:
            return KeyFound((), (), "")
        stale = stale_because(node) if node.state == "stale" else ()
        return KeyFound(why(node), stale, key_text(node))

    def present(self, shown: Shown, found: KeyFound) -> str:  # noqa: ARG002 - the same for all
        """Show them."""
        reasons = [("computed because", "\n".join(found.why)), ("stale because", "\n".join(found.stale))]
        told_of = [(label, text) for label, text in reasons if text]
        self.reasons.show_facts(told_of)
        self._area.setVisible(bool(told_of))
        self.text.show_text(found.key or "It was computed without a key.")
        self.copy.setEnabled(bool(found.key))
        return ""

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())


class MadePage(Page):
    """Python, packages, git and memory of the computation."""

    title = "Made with"

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(jobs, parent)
        self.facts = FactsView()
        body = QWidget()
        layout = column(body, SMALL)
        layout.addWidget(self.facts)
        layout.addStretch(1)
        column(self.content).addWidget(scrolled(body))

    def offers(self, shown: Shown) -> bool:
        """Whether there is a commit."""
        node = shown.node
        return node is not None and has_record(node) and node.state in {"committed", "stale"}

    def nothing(self, shown: Shown) -> str:
        """Say why there is nothing."""
        return "This is recorded when a node is committed." if shown.one else "Select one line to see what made it."

    def collect(self, shown: Shown) -> tuple[tuple[str, str], ...] | str:
        """Read it; one GET."""
        node = shown.node
        if node is None:
            return self.nothing(shown)
        try:
            made = node.node.environment()
        except READ_ERRORS as error:
            return error_line(error)
        packages = recorded_mapping(made.get("packages"))
        lines = environment_lines({**made, "packages": {}})
        versions = [(value_text(name, 60), value_text(packages[name], 60)) for name in list(packages)[:MOST_PACKAGES]]
        return (*[(label, plain_line(text)) for label, text in lines if text], *sorted(versions))

    def present(self, shown: Shown, found: tuple[tuple[str, str], ...] | str) -> str:  # noqa: ARG002 - the same for all
        """Show it."""
        if isinstance(found, str):
            return found
        self.facts.show_facts(found)
        return "" if found else "Nothing is recorded of what it was made with."
