"""Settings in napari's preferences: those of this plugin, and loading planes in the background."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QCheckBox

if TYPE_CHECKING:
    from qtpy.QtCore import QEvent


@dataclass(frozen=True, slots=True)
class Settings:
    """The preferences of the plugin, as its manifest declares them.

    Attributes
    ----------
    autorefresh : float
        Seconds between two polls of unfinished nodes; 0 for never.
    thumbnails : bool
        Whether the tree shows thumbnails.
    memory : int
        Megabytes of committed results to keep in memory.
    ask_above : int
        Megabytes of one plane above which the user is asked.
    """

    autorefresh: float = 5.0
    thumbnails: bool = True
    memory: int = 512
    ask_above: int = 1024


_LIMITS = {"autorefresh": (0.0, 3600.0), "memory": (1, 1 << 20), "ask_above": (1, 1 << 20)}


def plugin_settings() -> Settings:
    """Return the settings of the plugin; the defaults if napari has none or its file is invalid."""
    try:
        from napari.settings import get_plugin_settings

        values = get_plugin_settings("cvcache").browser
    except Exception:  # noqa: BLE001 - an older napari has no such settings, a file edited by hand raises anything
        return Settings()
    return settings_from_values({field.name: getattr(values, field.name, None) for field in fields(Settings)})


def settings_from_values(values: dict[str, Any]) -> Settings:
    """Return settings from untrusted values; invalid values become the defaults."""
    settings = Settings()
    for name, value in values.items():
        default = getattr(settings, name, None)
        if isinstance(default, bool):
            if isinstance(value, bool):
                settings = replace(settings, **{name: value})
        elif default is not None and isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = _LIMITS[name]
            if low <= value <= high:  # which no NaN is
                settings = replace(settings, **{name: type(default)(value)})
    return settings


def set_background_loading(on: bool) -> None:  # noqa: FBT001 - as a check box calls it
    """Set whether napari loads planes in the background; napari saves this."""
    from napari.settings import get_settings

    get_settings().experimental.async_ = on


def background_loading() -> bool:
    """Whether napari loads planes in the background."""
    from napari.settings import get_settings

    return bool(get_settings().experimental.async_)


class BackgroundBox(QCheckBox):
    """A check box for napari's own setting, in sync with it; hidden without a viewer."""

    def __init__(self, viewer: Any) -> None:
        super().__init__("Load planes in the background")
        self.setToolTip("napari moves on at once and shows planes as they come; it remembers this")
        if viewer is None:
            self.hide()
        else:
            from napari.settings import get_settings

            self.follow()
            get_settings().experimental.events.async_.connect(self.follow)  # holds it weakly
            self.toggled.connect(set_background_loading)

    def follow(self, _event: object = None) -> None:
        """Show the current setting."""
        if isalive(self):
            self.setChecked(background_loading())

    def showEvent(self, event: QEvent) -> None:
        """Show the current setting, also after a change without an event."""
        super().showEvent(event)
        self.follow()
