"""Layers of rows: made in workers, added to the viewer, shown and hidden."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QMessageBox

from cvcache.browse import plain_line, size_text
from cvcache.errors import CvcacheError, NodeReplaced
from cvcache.napari.jobs import Jobs, window_of_viewer
from cvcache.napari.layers.layer_jobs import (
    LayerRequest,
    LayerResult,
    load_units,
    make_layers,
    prefetch_result,
    remake_layers,
    replaced_urls,
)
from cvcache.napari.layers.watcher import Watcher, origin_of
from cvcache.napari.settings import plugin_settings

if TYPE_CHECKING:
    from cvcache.browse import Row

REQUIRED_SETTINGS = {
    *("name", "metadata", "scale", "translate", "multiscale", "rgb", "visible", "features", "axis_labels", "units"),
}
"""Settings that a layer needs to be right; the others may be saved ones, which napari can refuse."""


class Adder(QObject):
    """Adds layers to a viewer, and finds the layers of a row.

    Attributes
    ----------
    question : callable
        Called with one sentence before much is read for one plane; returns whether to go on.

    Signals
    -------
    added : the list of layers that were added or selected.
    failed : one plain sentence on why something was not added.
    no_layer : row that has no layer, after `failed`.
    message : one plain sentence on layers.
    node_changed : path of a row whose node has changed since the tree read it.
    """

    added = Signal(object)
    failed = Signal(str)
    no_layer = Signal(object)
    message = Signal(str)
    node_changed = Signal(str)

    def __init__(self, viewer: Any, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        # napari gives plugins a proxy, whose layers are proxies too, and never the same objects twice
        self.viewer = getattr(viewer, "__wrapped__", viewer)
        self.jobs = jobs
        self.question: Callable[[str], bool] = self._ask
        self._grid_layers: list[weakref.ReferenceType[Any]] = []  # layers that the grid was switched on for
        self.watcher = Watcher(self.viewer, jobs, self)
        if viewer is not None:
            load_units()
        self.watcher.message.connect(self.message)
        self.watcher.node_changed.connect(self.node_changed)

    def add(self, rows: Sequence[Row], *, side_by_side: bool = False) -> None:
        """Add the layers of these rows; if a row has current layers already, select those.

        The images of a node are added together; with `side_by_side` each row gets its own cell of the grid.
        """
        if self.viewer is None:
            self.failed.emit("there is no viewer to add a layer to")
            return
        results = {row.path: self.watcher.results_of(self.layers_of(row)) for row in rows if self._is_current(row)}
        current = [result for of_row in results.values() for result in of_row]

        def checked(urls: list[str]) -> None:
            replaced = {result.key for result, url in zip(current, urls, strict=True) if url}
            stale = {path for path, of_row in results.items() if any(result.key in replaced for result in of_row)}
            self._add(rows, results.keys() - stale, side_by_side=side_by_side)

        if current:
            self.jobs.start(replaced_urls, current, done=checked, failed=self._on_error)
        else:
            self._add(rows, set(), side_by_side=side_by_side)

    def _add(self, rows: Sequence[Row], current: set[str], *, side_by_side: bool) -> None:
        """Select the layers of rows that are current, and make those of the others."""
        existing = [layers for row in rows if row.path in current and (layers := self.layers_of(row))]
        missing = tuple(row for row in rows if row.path not in current or not self.layers_of(row))
        if existing:
            layers = [layer for group in existing for layer in group]
            self._select(layers)
            self.added.emit(layers)
        if missing:
            self.message.emit(f"reading {', '.join(plain_line(row.name, 60) for row in missing[:5])} ...")
            request = LayerRequest(
                missing,
                self.watcher.view(),
                plugin_settings().ask_above * 10**6,
                self.watcher.report_error,
                side_by_side,
            )
            self.jobs.start(make_layers, request, done=self._on_results, failed=self._on_error)
        elif existing and side_by_side:
            self._arrange(existing)

    def toggle(self, rows: Sequence[Row]) -> None:
        """Hide the layers of these rows if one is visible, else show them; add those that are missing."""
        layers = [layer for row in rows for layer in self.layers_of(row)]
        if any(layer.visible for layer in layers):
            for layer in layers:
                layer.visible = False
            return
        for row in rows:
            if self._is_current(row):
                for layer in self.layers_of(row):
                    layer.visible = True
        if missing := [row for row in rows if not self._is_current(row)]:
            self.add(missing)

    def layers_of(self, row: Row) -> list[Any]:
        """Return the layers in the viewer that show this item, or an item of this node."""
        if self.viewer is None:
            return []
        node, item = row.node.url, row.name if row.is_item else None
        origins = [(layer, origin_of(layer)) for layer in self.viewer.layers]
        return [layer for layer, origin in origins if origin.get("node") == node and item in {None, origin.get("item")}]

    def url_of_active_layer(self) -> str:
        """Return the URL of the item of the active layer; empty for a layer of others."""
        layer = self.viewer.layers.selection.active if self.viewer is not None else None
        origin = origin_of(layer) if layer is not None else {}
        node, item = origin.get("node"), origin.get("item")
        return f"{node}/{item}" if node and item else str(origin.get("url", ""))

    def close_down(self) -> None:
        """Stop watching layers."""
        self.watcher.stop()

    def _is_current(self, row: Row) -> bool:
        """Whether a row has layers, and they show its current result."""
        layers = self.layers_of(row)
        return bool(layers) and all(self.watcher.is_current(layer, row.node) for layer in layers)

    def _on_results(self, results: list[LayerResult]) -> None:
        """Add the layers that were prefetched; ask before reading the expensive ones."""
        for one in results:
            if one.error is not None:
                self._on_error(one.error)
            elif not one.layers:
                self.failed.emit(f"{plain_line(one.item)} has no pixels and no coordinates, so there is no layer of it")
                self.no_layer.emit(one.row)
        ready = [one for one in results if one.layers]
        costly = [one for one in ready if not one.prefetched]
        self._insert([one for one in ready if one.prefetched])
        if costly:
            text = size_text(sum(one.cost for one in costly))
            names = ", ".join(plain_line(one.item, 60) for one in costly[:5])
            if self.question(f"To show one plane of {names} reads {text}. Go on?"):
                self.jobs.start(_read_all, costly, done=self._on_results, failed=self._on_error)

    def _insert(self, results: list[LayerResult]) -> None:
        groups = []
        for one in results:
            for layer in [layer for layer in self.viewer.layers if _is_of(layer, one)]:
                self.viewer.layers.remove(layer)
            if layers := self._add_one(one):
                groups.append(layers)
            if one.node.record != one.row.node.record:
                self.node_changed.emit(one.path)
        if not groups:
            return
        if any(one.request.side_by_side for one in results):
            self._arrange(groups)
        else:
            self._end_grid()
        layers = [layer for group in groups for layer in group]
        self._select(layers)
        self.message.emit(f"added {', '.join(plain_line(one.item, 60) for one in results[:5])}")
        self.added.emit(layers)

    def _add_one(self, one: LayerResult) -> list[Any]:
        layers = []
        for data, attributes, kind in one.layers:
            layer = self._layer(one, data, attributes, kind)
            if layer is not None:
                layers.append(layer)
        self.watcher.watch(one, layers)
        return layers

    def _layer(self, one: LayerResult, data: Any, attributes: dict[str, Any], kind: str) -> Any:
        """Add one layer to the viewer and return it; saved settings that napari refuses are left out."""
        required = {name: value for name, value in attributes.items() if name in REQUIRED_SETTINGS}
        bare = {name: value for name, value in required.items() if name not in {"units", "axis_labels"}}
        first_error: Exception | None = None
        for tried in (attributes, required, bare):
            before = list(self.viewer.layers)
            try:
                layer = _created(self.viewer, data, tried, kind)
            except Exception as error:  # noqa: BLE001 - a layer checks its settings in many ways
                first_error = first_error or error
                for layer in [layer for layer in self.viewer.layers if layer not in before]:
                    self.viewer.layers.remove(layer)
                continue
            if first_error is not None:
                why = plain_line(str(first_error), 200)
                self.message.emit(
                    f"{plain_line(one.item)}: some settings of its layer are left out, napari refuses them ({why})"
                )
            return layer
        self.failed.emit(f"{plain_line(one.item)} cannot be a layer of napari: {plain_line(str(first_error), 300)}")
        return None

    def _select(self, layers: list[Any]) -> None:
        for layer in layers:
            if not any(other.visible for other in layers):
                layer.visible = True
        self.viewer.layers.selection.active = layers[-1]

    def _arrange(self, groups: list[list[Any]]) -> None:
        """Give each group a cell of the grid, from the top left; if the groups differ in size, each layer."""
        counts = {len(group) for group in groups}
        grid = self.viewer.canvas.grid
        if not grid.enabled or self._grid_layers:
            self._grid_layers += [weakref.ref(layer) for group in groups for layer in group]
        grid.stride = counts.pop() if len(counts) == 1 else 1
        grid.enabled = True
        self.viewer.fit_to_view()

    def _end_grid(self) -> None:
        """Switch the grid off if none of the layers is left that it was switched on for."""
        present = set(map(id, self.viewer.layers))
        if self._grid_layers and not any(id(ref()) in present for ref in self._grid_layers):
            self._grid_layers = []
            if self.viewer.canvas.grid.enabled:
                self.viewer.canvas.grid.enabled = False
                self.viewer.fit_to_view()

    def _on_error(self, error: Exception) -> None:
        text = str(error) if isinstance(error, (CvcacheError, OSError)) else f"{type(error).__name__}: {error}"
        self.failed.emit(plain_line(text, 600) or type(error).__name__)

    def _ask(self, text: str) -> bool:
        box = QMessageBox(QMessageBox.Icon.Question, "Much to read", text, parent=window_of_viewer(self.viewer))
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setStandardButtons(QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No)
        box.setDefaultButton(QMessageBox.StandardButton.No)
        return bool(box.exec() == QMessageBox.StandardButton.Yes)


def _created(viewer: Any, data: Any, attributes: dict[str, Any], kind: str) -> Any:
    """Add a hidden layer and show it then: only then napari knows which plane to read."""
    from napari.layers import Layer

    layer = viewer.add_layer(Layer.create(data, {**attributes, "visible": False}, kind))
    layer.visible = bool(attributes.get("visible", True))
    return layer


def _read_all(results: list[LayerResult]) -> list[LayerResult]:
    """Prefetch results after the question; for a node that was replaced meanwhile make the layers again."""
    tried = [(one, prefetch_result(one)) for one in results]
    return [(isinstance(new.error, NodeReplaced) and remake_layers(one, one.request.view)) or new for one, new in tried]


def _is_of(layer: Any, one: LayerResult) -> bool:
    origin = origin_of(layer)
    return (origin.get("node"), origin.get("item")) == one.key
