"""A check box that stands for napari's own setting, whoever changes that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtWidgets import QCheckBox

if TYPE_CHECKING:
    from qtpy.QtCore import QEvent

    from cvcache.napari.adding import Adder


class BackgroundBox(QCheckBox):
    """Whether napari loads planes in the background."""

    def __init__(self, adder: Adder) -> None:
        super().__init__("Load planes in the background")
        self._adder = adder
        self.setToolTip("napari moves on at once and shows planes as they come; it remembers this")
        if adder.viewer is None:
            self.hide()
        else:
            from napari.settings import get_settings

            self.follow()
            get_settings().experimental.events.async_.connect(self.follow)  # holds it weakly
            self.toggled.connect(adder.set_background_loading)

    def follow(self, _event: object = None) -> None:
        """Show what the setting is now."""
        if isalive(self):
            self.setChecked(self._adder.background_loading())

    def showEvent(self, event: QEvent) -> None:
        """Show what it has become, also where the setting told nobody."""
        super().showEvent(event)
        self.follow()
