"""The key page: reasons of a computation and its key; and the page of its environment."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from cvcache.napari.panel.page import Page, Selection, has_record
from cvcache.napari.panel.text_view import FindBar, TextView
from cvcache.napari.panel.widgets import MARGIN, column_layout, scroll_area
from cvcache.node import item_io

if TYPE_CHECKING:
    from cvcache.napari.jobs import Jobs

MAX_PACKAGES = 1000
MAX_HEIGHT = 140
"""Largest height in pixels of the reasons; more are scrolled."""


@dataclass(frozen=True, slots=True)
class KeyContent:
    """The reasons of the result and of a newer attempt, the inputs that changed since, and the key."""

    why: tuple[str, ...] = ()
    attempt: str = ""
    newer: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    key: str = ""


class KeyPage(Page):
    """The page with the reasons and the key."""

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
        area = scroll_area(self.reasons)
        self.reasons.height_changed.connect(lambda height: area.setFixedHeight(min(height + 2, MAX_HEIGHT)))
        self._area = area
        layout = column_layout(self.content, MARGIN)
        layout.addWidget(area)
        layout.addLayout(bar)
        layout.addWidget(self.text, 1)

    def has_content(self, selection: Selection) -> bool:
        """Whether there was a computation."""
        return has_record(selection.node)

    def empty_text(self, selection: Selection) -> str:
        """Return why there is no key."""
        return (
            "Nothing was computed here, so there is no key." if selection.single else "Select one line to see its key."
        )

    def read_content(self, selection: Selection) -> KeyContent:
        """Read reasons and key from the record; for a stale node, read its sources."""
        node = selection.node
        if node is None:
            return KeyContent()
        stale = stale_because(node) if node.state == "stale" else ()
        result = replace(node, node=node.node._replace(later=None))
        newer = () if node.node.later is None else why(node)
        return KeyContent(why(result), node.state_text, newer, stale, key_text(node))

    def show_content(self, selection: Selection, content: KeyContent) -> str:  # noqa: ARG002 - the same for all
        """Show reasons and key."""
        lines = {"computed because": content.why, content.attempt: content.newer, "stale because": content.stale}
        reasons = [(label, "\n".join(reasons)) for label, reasons in lines.items()]
        facts = [(label, text) for label, text in reasons if text]
        self.reasons.show_facts(facts)
        self._area.setVisible(bool(facts))
        self.text.show_text(content.key or "It was computed without a key.")
        self.copy.setEnabled(bool(content.key))
        return ""

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())


class EnvironmentPage(Page):
    """The page with Python, packages, git and memory of the computation."""

    title = "Made with"

    def __init__(self, jobs: Jobs, parent: QWidget | None = None) -> None:
        super().__init__(jobs, parent)
        self.facts = FactsView()
        body = QWidget()
        layout = column_layout(body, MARGIN)
        layout.addWidget(self.facts)
        layout.addStretch(1)
        column_layout(self.content).addWidget(scroll_area(body))

    def has_content(self, selection: Selection) -> bool:
        """Whether there is a commit."""
        node = selection.node
        return node is not None and has_record(node) and node.node.committed

    def empty_text(self, selection: Selection) -> str:
        """Return why there is no environment."""
        return (
            "This is recorded when a node is committed." if selection.single else "Select one line to see what made it."
        )

    def read_content(self, selection: Selection) -> tuple[tuple[str, str], ...] | str:
        """Read the environment; one GET."""
        node = selection.node
        if node is None:
            return self.empty_text(selection)
        try:
            environment = item_io.read_environment(node.node)
        except READ_ERRORS as error:
            return error_line(error)
        packages = recorded_mapping(environment.get("packages"))
        lines = environment_lines({**environment, "packages": {}})
        versions = [(value_text(name, 60), value_text(packages[name], 60)) for name in list(packages)[:MAX_PACKAGES]]
        return (*[(label, plain_line(text)) for label, text in lines if text], *sorted(versions))

    def show_content(self, selection: Selection, content: tuple[tuple[str, str], ...] | str) -> str:  # noqa: ARG002 - the same for all
        """Show the environment."""
        if isinstance(content, str):
            return content
        self.facts.show_facts(content)
        return "" if content else "Nothing is recorded of what it was made with."
