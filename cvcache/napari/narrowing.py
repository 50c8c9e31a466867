"""What is typed into the filter narrows the tree; what a search finds is opened in it."""

from __future__ import annotations

from qtpy.QtCore import QObject

from cvcache.napari.loading import Loader
from cvcache.napari.searching import Found, SearchBar
from cvcache.napari.tree_model import TreeModel
from cvcache.napari.tree_view import TreeView


class Narrowing(QObject):
    """Leads a filter and a search into the tree."""

    def __init__(self, search: SearchBar, model: TreeModel, view: TreeView, loader: Loader) -> None:
        super().__init__(search)
        self._search, self._model, self._view, self._loader = search, model, view, loader
        self._kept: list[str] = []
        search.filtered.connect(self._filter)
        search.found.connect(self._take)

    def clear(self) -> None:
        """Leave nothing out any more."""
        self._search.edit.clear()
        self._filter("")

    def _filter(self, query: str) -> None:
        if query == self._model.query:
            return
        kept = [row.path for row in self._view.rows_selected()] or self._kept
        self._model.set_query(query)
        for path in list(self._loader.expanded):
            self._view.expand_path(path)  # what was left out comes back closed
        self._keep(kept)
        self._kept = kept if query else []

    def _keep(self, paths: list[str]) -> None:
        """Select again what was selected, as far as it is shown."""
        shown = [path for path in paths if self._model.index_of(path).isValid()]
        if {row.path for row in self._view.rows_selected()} != set(shown):
            for number, path in enumerate(shown):
                self._view.select(path, alone=number == 0)

    def _take(self, part: Found) -> None:
        for level in part.levels:
            self._loader.take_level(level)
        self._loader.take(part.rows)
        for level in part.levels:
            self._view.expand_path(level.path)
