"""Actions on the selected rows, in the bar, in the menu and by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qtpy.QtCore import QSize
from qtpy.QtGui import QIcon, QKeySequence
from qtpy.QtWidgets import QAction, QHBoxLayout, QMenu, QToolButton, QWidget

from cvcache.browse import Row
from cvcache.napari.icons import action_icon

BAR_ACTIONS = ("add", "beside", "toggle", "reveal", "refresh")
MENU_ACTIONS = (
    ("add", "beside", "toggle", "reveal"),
    ("compare", "copy_url", "copy_python"),
    ("refresh",),
    ("withdraw", "remove"),
)


class Commands:
    """The actions of the dock.

    Parameters
    ----------
    dock : QWidget
        Their parent.
    handlers : mapping of str to callable
        Called when an action is triggered, by its name.

    Attributes
    ----------
    actions : dict of str to QAction
    bar : QWidget
        Buttons for the most used actions, and one that opens the menu.
    """

    def __init__(self, dock: QWidget, handlers: Mapping[str, Callable[[], object]]) -> None:
        self._dock, self._handlers = dock, handlers
        self.actions: dict[str, QAction] = {}
        self._make("add", "Add to the viewer", "Return")
        self._make("beside", "Add side by side")
        self._make("toggle", "Show or hide", "Space")
        self._make("reveal", "Find the active layer in the tree")
        self._make("compare", "Compare the two")
        self._make("copy_url", "Copy URL", "Ctrl+C")
        self._make("copy_python", "Copy as Python")
        self._make("refresh", "Look again", "F5")
        self._make("withdraw", "Recompute at the next run\N{HORIZONTAL ELLIPSIS}")
        self._make("remove", "Remove\N{HORIZONTAL ELLIPSIS}")
        self.bar = self._make_bar()

    def enable_for(self, rows: Sequence[Row], *, has_tree: bool, has_viewer: bool) -> None:
        """Enable the actions that are possible for these rows."""
        any_row, one = bool(rows), rows[0] if len(rows) == 1 else None
        removable = one is not None and not one.is_item and one.kind != "foreign" and one.state not in {"", "absent"}
        possible = {
            "add": any_row and has_viewer,
            "beside": any_row and has_viewer,
            "toggle": any_row and has_viewer,
            "reveal": has_tree and has_viewer,
            "compare": len(rows) == 2,  # noqa: PLR2004 - one beside the other
            "copy_url": any_row,
            "copy_python": any_row,
            "refresh": has_tree,
            "withdraw": removable and one is not None and one.kind == "node",
            "remove": removable,
        }
        for name, action in self.actions.items():
            action.setEnabled(possible[name])

    def menu(self, parent: QWidget) -> QMenu:
        """Return a menu of all actions."""
        menu = QMenu(parent)
        menu.aboutToHide.connect(menu.deleteLater)
        for group in MENU_ACTIONS:
            for name in group:
                menu.addAction(self.actions[name])
            menu.addSeparator()
        return menu

    def _make(self, name: str, text: str, key: str = "") -> None:
        icon, handler = action_icon(name) if name in BAR_ACTIONS else QIcon(), self._handlers[name]
        action = QAction(icon, text, self._dock)
        action.setToolTip(f"{text} ({key})" if key else text)
        action.triggered.connect(lambda *_: handler())
        if key:
            # the focused widget handles the keys; here they are only shown
            action.setText(f"{text}\t{QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText)}")
        self.actions[name] = action

    def _make_bar(self) -> QWidget:
        bar = QWidget()
        layout = QHBoxLayout(bar)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for name in BAR_ACTIONS:
            layout.addWidget(self._button(self.actions[name]))
        layout.addStretch(1)
        more = QToolButton()
        more.setIcon(action_icon("more"))
        more.setToolTip("All that can be done with the selected rows")
        more.setAccessibleName("More")
        more.clicked.connect(lambda: self.menu(more).popup(more.mapToGlobal(more.rect().bottomLeft())))
        more.setAutoRaise(True)
        layout.addWidget(more)
        return bar

    @staticmethod
    def _button(action: QAction) -> QToolButton:
        button = QToolButton()
        button.setDefaultAction(action)
        button.setAccessibleName(action.text().partition("\t")[0])
        button.setAutoRaise(True)
        button.setIconSize(QSize(18, 18))
        return button
