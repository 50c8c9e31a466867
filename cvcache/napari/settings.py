"""What the user chose in napari's preferences: for this plugin, and for planes in the background."""

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
        Seconds between two looks at what is not finished; 0 for never.
    thumbnails : bool
        Whether the tree shows the small picture of an image.
    memory : int
        Megabytes of committed results that stay in memory.
    ask_above : int
        Megabytes that one plane may read without a question.
    """

    autorefresh: float = 5.0
    thumbnails: bool = True
    memory: int = 512
    ask_above: int = 1024


_LIMITS = {"autorefresh": (0.0, 3600.0), "memory": (1, 1 << 20), "ask_above": (1, 1 << 20)}


def settings() -> Settings:
    """Return the preferences; the defaults where there is no napari, or nothing of use in its file."""
    try:
        from napari.settings import get_plugin_settings

        chosen = get_plugin_settings("cvcache").browser
    except Exception:  # noqa: BLE001 - an older napari has no such settings, a file edited by hand raises anything
        return Settings()
    return tolerant({field.name: getattr(chosen, field.name, None) for field in fields(Settings)})


def tolerant(values: dict[str, Any]) -> Settings:
    """Return settings from values that somebody may have written by hand; what makes no sense is the default."""
    found = Settings()
    for name, value in values.items():
        default = getattr(found, name, None)
        if isinstance(default, bool):
            if isinstance(value, bool):
                found = replace(found, **{name: value})
        elif default is not None and isinstance(value, (int, float)) and not isinstance(value, bool):
            low, high = _LIMITS[name]
            if low <= value <= high:  # which no NaN is
                found = replace(found, **{name: type(default)(value)})
    return found


def set_background_loading(on: bool) -> None:  # noqa: FBT001 - as a check box calls it
    """Let napari load planes in the background, or not; it remembers that."""
    from napari.settings import get_settings

    get_settings().experimental.async_ = on


def background_loading() -> bool:
    """Whether napari loads planes in the background."""
    from napari.settings import get_settings

    return bool(get_settings().experimental.async_)


class BackgroundBox(QCheckBox):
    """A check box that stands for napari's own setting, whoever changes that; hidden where there is no viewer."""

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
        """Show what the setting is now."""
        if isalive(self):
            self.setChecked(background_loading())

    def showEvent(self, event: QEvent) -> None:
        """Show what it has become, also where the setting told nobody."""
        super().showEvent(event)
        self.follow()
