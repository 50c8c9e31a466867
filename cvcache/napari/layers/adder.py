"""Layers of what is in the tree: made in workers, added to the viewer, shown, hidden and found again."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QMessageBox

from cvcache.browse import plain_line, size_text
from cvcache.errors import CvcacheError, NodeReplaced
from cvcache.napari.jobs import Jobs, window_of
from cvcache.napari.layers.layer_jobs import Made, Order, load_units, make, read, remake, replaced
from cvcache.napari.layers.watcher import Watcher, mark_of
from cvcache.napari.settings import settings

if TYPE_CHECKING:
    from cvcache.browse import Row

OURS = {
    *("name", "metadata", "scale", "translate", "multiscale", "rgb", "visible", "features", "axis_labels", "units"),
}
"""Settings without which a layer shows something else; the others may be as somebody saved them."""


class Adder(QObject):
    """Adds layers to a viewer and knows which are of which row.

    Attributes
    ----------
    question : callable
        Asked with one sentence before much is read for one plane; tells whether to go on.

    Signals
    -------
    added : the list of layers that were added or selected.
    failed : one plain sentence, why something was not added.
    without : row of which there is no layer, after `failed`.
    said : one plain sentence on layers that are there.
    moved : path of a row whose node is another one by now than the tree may show.
    """

    added = Signal(object)
    failed = Signal(str)
    without = Signal(object)
    said = Signal(str)
    moved = Signal(str)

    def __init__(self, viewer: Any, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        # napari gives plugins a proxy, whose layers are proxies too: never the same ones twice
        self.viewer = getattr(viewer, "__wrapped__", viewer)
        self.jobs = jobs
        self.question: Callable[[str], bool] = self._ask
        self._beside: list[weakref.ReferenceType[Any]] = []  # layers for which the grid was switched on
        self.watcher = Watcher(self.viewer, jobs, self)
        if viewer is not None:
            load_units()
        self.watcher.said.connect(self.said)
        self.watcher.moved.connect(self.moved)

    def add(self, rows: Sequence[Row], *, side_by_side: bool = False) -> None:
        """Add the layers of these rows; of a row that has current ones already, select those.

        The images of a node are added together; with `side_by_side` each row has its own cell of the grid.
        """
        if self.viewer is None:
            self.failed.emit("there is no viewer to add a layer to")
            return
        made = {row.path: self.watcher.made_of(self.layers_of(row)) for row in rows if self._is_current(row)}
        asked = [one for of_row in made.values() for one in of_row]

        def looked(gone: list[str]) -> None:
            over = {one.key for one, url in zip(asked, gone, strict=True) if url}
            stale = {path for path, of_row in made.items() if any(one.key in over for one in of_row)}
            self._add(rows, made.keys() - stale, side_by_side=side_by_side)

        if asked:
            self.jobs.start(replaced, asked, done=looked, failed=self._refused)
        else:
            self._add(rows, set(), side_by_side=side_by_side)

    def _add(self, rows: Sequence[Row], current: set[str], *, side_by_side: bool) -> None:
        """Select what is there and stands, and read the others."""
        there = [layers for row in rows if row.path in current and (layers := self.layers_of(row))]
        missing = tuple(row for row in rows if row.path not in current or not self.layers_of(row))
        if there:
            layers = [layer for group in there for layer in group]
            self._select(layers)
            self.added.emit(layers)
        if missing:
            self.said.emit(f"reading {', '.join(plain_line(row.name, 60) for row in missing[:5])} ...")
            order = Order(missing, self.watcher.view(), settings().ask_above * 10**6, self.watcher.tell, side_by_side)
            self.jobs.start(make, order, done=self._made, failed=self._refused)
        elif there and side_by_side:
            self._arrange(there)

    def toggle(self, rows: Sequence[Row]) -> None:
        """Hide the layers of these rows if one of them can be seen, else show them; add where there are none."""
        known = [layer for row in rows for layer in self.layers_of(row)]
        if any(layer.visible for layer in known):
            for layer in known:
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
        marks = [(layer, mark_of(layer)) for layer in self.viewer.layers]
        return [layer for layer, mark in marks if mark.get("node") == node and item in {None, mark.get("item")}]

    def url_of_active_layer(self) -> str:
        """Return where the item lies that the active layer shows; empty if it is not one of ours."""
        layer = self.viewer.layers.selection.active if self.viewer is not None else None
        mark = mark_of(layer) if layer is not None else {}
        node, item = mark.get("node"), mark.get("item")
        return f"{node}/{item}" if node and item else str(mark.get("url", ""))

    def close_down(self) -> None:
        """Look at the layers that are there no more."""
        self.watcher.stop()

    def _is_current(self, row: Row) -> bool:
        """Whether the layers of a row are there and show what the row stands for."""
        known = self.layers_of(row)
        return bool(known) and all(self.watcher.is_current(layer, row.node) for layer in known)

    def _made(self, made: list[Made]) -> None:
        """Add what was read; ask before what would be much."""
        for one in made:
            if one.error is not None:
                self._refused(one.error)
            elif not one.layers:
                self.failed.emit(f"{plain_line(one.item)} has no pixels and no coordinates, so there is no layer of it")
                self.without.emit(one.row)
        ready = [one for one in made if one.layers]
        costly = [one for one in ready if not one.read]
        self._insert([one for one in ready if one.read])
        if costly:
            text = size_text(sum(one.cost for one in costly))
            names = ", ".join(plain_line(one.item, 60) for one in costly[:5])
            if self.question(f"To show one plane of {names} reads {text}. Go on?"):
                self.jobs.start(_read_all, costly, done=self._made, failed=self._refused)

    def _insert(self, made: list[Made]) -> None:
        groups = []
        for one in made:
            for layer in [layer for layer in self.viewer.layers if _is_of(layer, one)]:
                self.viewer.layers.remove(layer)
            if layers := self._add_one(one):
                groups.append(layers)
            if one.node.record() != one.row.node.record():
                self.moved.emit(one.path)
        if not groups:
            return
        if any(one.order.side_by_side for one in made):
            self._arrange(groups)
        else:
            self._end_grid()
        layers = [layer for group in groups for layer in group]
        self._select(layers)
        self.said.emit(f"added {', '.join(plain_line(one.item, 60) for one in made[:5])}")
        self.added.emit(layers)

    def _add_one(self, one: Made) -> list[Any]:
        layers = []
        for data, attributes, kind in one.layers:
            layer = self._layer(one, data, attributes, kind)
            if layer is not None:
                layers.append(layer)
        self.watcher.follow(one, layers)
        return layers

    def _layer(self, one: Made, data: Any, attributes: dict[str, Any], kind: str) -> Any:
        """Return a new layer in the viewer; what somebody saved for it in vain is left out."""
        ours = {name: value for name, value in attributes.items() if name in OURS}
        bare = {name: value for name, value in ours.items() if name not in {"units", "axis_labels"}}
        refused: Exception | None = None
        for tried in (attributes, ours, bare):
            before = list(self.viewer.layers)
            try:
                layer = _created(self.viewer, data, tried, kind)
            except Exception as error:  # noqa: BLE001 - a layer checks its settings in many ways
                refused = refused or error
                for layer in [layer for layer in self.viewer.layers if layer not in before]:
                    self.viewer.layers.remove(layer)
                continue
            if refused is not None:
                why = plain_line(str(refused), 200)
                self.said.emit(
                    f"{plain_line(one.item)}: some settings of its layer are left out, napari refuses them ({why})"
                )
            return layer
        self.failed.emit(f"{plain_line(one.item)} cannot be a layer of napari: {plain_line(str(refused), 300)}")
        return None

    def _select(self, layers: list[Any]) -> None:
        for layer in layers:
            if not any(other.visible for other in layers):
                layer.visible = True
        self.viewer.layers.selection.active = layers[-1]

    def _arrange(self, groups: list[list[Any]]) -> None:
        """Give each group a cell of the grid, from the top left; of different sizes each layer, as napari has it."""
        counts = {len(group) for group in groups}
        grid = self.viewer.canvas.grid
        if not grid.enabled or self._beside:
            self._beside += [weakref.ref(layer) for group in groups for layer in group]
        grid.stride = counts.pop() if len(counts) == 1 else 1
        grid.enabled = True
        self.viewer.fit_to_view()

    def _end_grid(self) -> None:
        """Switch the grid off that was switched on for layers of which none is left."""
        there = set(map(id, self.viewer.layers))
        if self._beside and not any(id(ref()) in there for ref in self._beside):
            self._beside = []
            if self.viewer.canvas.grid.enabled:
                self.viewer.canvas.grid.enabled = False
                self.viewer.fit_to_view()

    def _refused(self, error: Exception) -> None:
        text = str(error) if isinstance(error, (CvcacheError, OSError)) else f"{type(error).__name__}: {error}"
        self.failed.emit(plain_line(text, 600) or type(error).__name__)

    def _ask(self, text: str) -> bool:
        box = QMessageBox(QMessageBox.Icon.Question, "Much to read", text, parent=window_of(self.viewer))
        box.setTextFormat(Qt.TextFormat.PlainText)
        box.setStandardButtons(QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No)
        box.setDefaultButton(QMessageBox.StandardButton.No)
        return bool(box.exec() == QMessageBox.StandardButton.Yes)


def _created(viewer: Any, data: Any, attributes: dict[str, Any], kind: str) -> Any:
    """Add a layer; shown only once the viewer knows which plane it shows, or another would be read before."""
    from napari.layers import Layer

    layer = viewer.add_layer(Layer.create(data, {**attributes, "visible": False}, kind))
    layer.visible = bool(attributes.get("visible", True))
    return layer


def _read_all(made: list[Made]) -> list[Made]:
    """Read what was asked for; of a node that went on during the question what is there now."""
    tried = [(one, read(one)) for one in made]
    return [(isinstance(new.error, NodeReplaced) and remake(one, one.order.view)) or new for one, new in tried]


def _is_of(layer: Any, one: Made) -> bool:
    mark = mark_of(layer)
    return (mark.get("node"), mark.get("item")) == one.key
