"""Finding a row by its URL: level by level, as they arrive."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from cvcache.browse.words import line
from cvcache.napari.tree_model import TreeModel
from cvcache.napari.tree_view import TreeView


class Revealer(QObject):
    """Opens what a row lies below, and selects it.

    Signals
    -------
    hidden : the row is there, but the filter leaves it out; it is selected once nothing is left out any more.
    missing : one sentence, that there is no such row.
    """

    hidden = Signal()
    missing = Signal(str)

    def __init__(self, model: TreeModel, view: TreeView, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._model, self._view = model, view
        self._path: str | None = None

    def reveal(self, url: str, top: str) -> bool:
        """Begin to look for the row of `url` in the tree at `top`; say whether it can be in it."""
        if url != top and not url.startswith(f"{top}/"):
            return False
        self._path = url.removeprefix(top).lstrip("/")
        self.go_on()
        return True

    def give_up(self) -> None:
        """Look for nothing any more."""
        self._path = None

    def go_on(self) -> None:
        """Open one more level towards the row that is looked for, or select it."""
        path = self._path
        if path is None:
            return
        if self._model.row_at(path) is None:
            if self._open_next(path.split("/")):
                return
            self.missing.emit(f"{line(path)} is not in this tree any more; F5 looks again")
        elif not self._view.select(path):
            self.hidden.emit()
            self._view.select(path)
        self._path = None

    def _open_next(self, parts: list[str]) -> bool:
        """Open the first level on the way that is not there; say whether there is one to wait for."""
        for above in ["", *("/".join(parts[:n]) for n in range(1, len(parts)))]:
            if self._model.row_at(above) is None:
                return False
            self._view.expand_path(above)
            if not self._model.is_loaded(above):
                return True
        return False
