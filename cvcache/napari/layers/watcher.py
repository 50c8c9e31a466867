"""Keeps layers up to date: shows what the first attempt writes, and the result that stands; hides what is gone."""

from __future__ import annotations

import dataclasses
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal

from cvcache.browse import plain_line
from cvcache.errors import NodeRemoved, NodeReplaced
from cvcache.napari.layers.layer_jobs import ItemKey, LayerResult, owner_url, remake_layers, replaced_urls
from cvcache.napari.settings import plugin_settings

if TYPE_CHECKING:
    from cvcache.napari.jobs import Jobs
    from cvcache.napari.layers.viewport import Viewport
    from cvcache.node import Snapshot

UNCOMMITTED = " (uncommitted)"
FAILED = " (failed)"
REPLACED = " (replaced)"
UNREADABLE = " (cannot be read)"
STATE_MARKS = {"running": UNCOMMITTED, "failed": FAILED}
TICK_SECONDS = 1.0
"""Seconds between two checks of sliced layers."""


@dataclass(slots=True)
class WatchedLayers:
    """The layers of one item.

    Attributes
    ----------
    result : LayerResult
        What they were made from.
    layers : list of weakref
    names, limits : list
        Name and contrast limits that each was given; those that the user changed stay.
    sliced : bool
        Whether pixels were read since the last check.
    checked_at : float
        Time of the last check.
    pending : bool
        Whether a check is running.
    invalid : bool
        Whether their result was replaced or cannot be read.
    """

    result: LayerResult
    layers: list[weakref.ReferenceType[Any]]
    names: list[str]
    limits: list[Any]
    sliced: bool = True
    checked_at: float = field(default_factory=time.monotonic)
    pending: bool = False
    invalid: bool = False

    def rename(self, i: int, name: str | None, mark: str) -> None:
        """Rename a layer to `name` with a mark; a name that the user has given stays, with the mark."""
        layer = self.layers[i]()
        if layer is not None:
            own = layer.name != self.names[i]
            layer.name = _without_mark(layer.name if own or name is None else name) + mark
            self.names[i] = "" if own else layer.name

    def alive(self) -> list[Any]:
        """Return the layers that still exist."""
        return [layer for ref in self.layers if (layer := ref()) is not None]


class Watcher(QObject):
    """Watches the layers of one viewer.

    Signals
    -------
    message : one plain sentence on layers that changed.
    node_changed : path of a row whose node has changed since the tree read it.
    """

    message = Signal(str)
    node_changed = Signal(str)
    _read_failed = Signal(object, object)

    def __init__(self, viewer: Any, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._jobs = jobs
        self._watched: dict[ItemKey, WatchedLayers] = {}
        self._stopped = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.check_layers)
        # queued: it may be emitted in a worker, or while napari is drawing
        self._read_failed.connect(self._on_read_failed, Qt.ConnectionType.QueuedConnection)

    def view(self) -> Viewport:
        """Return the current state of the viewer."""
        from cvcache.napari.layers.viewport import Viewport

        return Viewport.of(self._viewer)

    def report_error(self, result: LayerResult, error: Exception) -> None:
        """Report that pixels cannot be read; from any thread. Raise `error` if this object was deleted."""
        try:
            self._read_failed.emit(result, error)
        except RuntimeError:  # Qt has deleted this
            raise error from None

    def watch(self, result: LayerResult, layers: list[Any]) -> None:
        """Watch these layers from now on."""
        if not layers:
            return
        names, limits = [layer.name for layer in layers], [*map(_limits, layers)]
        watched = WatchedLayers(result, [weakref.ref(layer) for layer in layers], names, limits)
        self._watched[result.key] = watched
        for layer in layers:
            layer.events.set_data.connect(lambda _=None, watched=watched: setattr(watched, "sliced", True))
        self._start()

    def stop(self) -> None:
        """Stop checking; layers that napari cannot read are still hidden."""
        self._stopped = True
        self._timer.stop()

    def results_of(self, layers: list[Any]) -> list[LayerResult]:
        """Return the results that these layers were made from, each item once."""
        return [
            watched.result for watched in self._watched.values() if any(layer in layers for layer in watched.alive())
        ]

    def is_current(self, layer: Any, node: Snapshot) -> bool:
        """Whether a layer shows the complete result of `node`."""
        origin = origin_of(layer)
        watched = self._watched.get((str(origin.get("node")), str(origin.get("item"))))
        if watched is None or watched.invalid or layer not in watched.alive():
            return False
        old, new = watched.result.node.record, node.record
        if old is None or new is None:
            return old is new
        same = (old.seq, old.attempt) == (new.seq, new.attempt)
        return old.state == "committed" and (same or old.seq > new.seq)  # the tree may be the older one

    def check_layers(self) -> None:
        """Check layers that may have changed, in workers: at once after pixels were read, else at regular intervals."""
        if self._viewer is None or self._stopped:
            return
        present = set(map(id, self._viewer.layers))
        for key, watched in list(self._watched.items()):
            watched.layers = [ref for ref in watched.layers if id(ref()) in present]
            if not watched.layers:
                del self._watched[key]
        now, pause = time.monotonic(), plugin_settings().autorefresh
        due = []
        for watched in [watched for watched in self._watched.values() if not watched.invalid and not watched.pending]:
            late, record = bool(pause and now - watched.checked_at >= pause), watched.result.node.record
            if late and _unfinished(watched.result.node):
                self._read_again(watched)
            elif (late or watched.sliced) and record is not None and record.state != "claimed":
                due.append(watched)
        if due:
            self._check_commits(due)
        self._start()

    def _start(self) -> None:
        if self._watched and not self._stopped and not self._timer.isActive():
            self._timer.start(int(TICK_SECONDS * 1000))

    def _check_commits(self, due: list[WatchedLayers]) -> None:
        """Check that the commits of layers still stand, and show those that replaced them."""
        for watched in due:
            watched.sliced, watched.pending, watched.checked_at = False, True, time.monotonic()

        def on_answer(replaced: list[str]) -> None:
            _clear_pending(due)
            for watched, url in zip(due, replaced, strict=True):
                if url == watched.result.node.url:
                    self._read_again(watched)
                elif url:
                    self._invalidate(watched, REPLACED, f"{plain_line(url)} was replaced or removed")

        self._jobs.start(
            replaced_urls, [watched.result for watched in due], done=on_answer, failed=lambda _: _clear_pending(due)
        )

    def _read_again(self, watched: WatchedLayers) -> None:
        watched.pending, watched.checked_at = True, time.monotonic()

        def on_answer(new: LayerResult | None) -> None:
            watched.pending = False
            if self._watched.get(watched.result.key) is watched:
                self._apply_result(watched, new)

        self._jobs.start(
            remake_layers, watched.result, self.view(), done=on_answer, failed=lambda _: _clear_pending([watched])
        )

    def _apply_result(self, watched: WatchedLayers, new: LayerResult | None) -> None:
        """Show the result that stands by now, or what an attempt has written."""
        if new is None:
            self._invalidate(watched, REPLACED, f"{plain_line(watched.result.node.url)} was removed")
            return
        if new.error is not None or not new.prefetched:
            self._on_no_result(watched, new)
            return
        layers, state = watched.alive(), new.node.items_state
        fits = len(layers) == len(new.layers) and all(
            type(layer).__name__.lower() == kind and _ndim(data, attributes, kind) == layer.ndim
            for layer, (data, attributes, kind) in zip(layers, new.layers, strict=True)
        )
        if not fits:
            self._invalidate(
                watched,
                REPLACED,
                f"{plain_line(watched.result.node.url)}/{plain_line(watched.result.item)} has another shape by now",
            )
            return
        for i, (layer, (data, attributes, _)) in enumerate(zip(layers, new.layers, strict=True)):
            watched.limits[i] = _set_data(layer, data, attributes, watched.limits[i])
            watched.rename(i, _without_mark(str(attributes.get("name", layer.name))), STATE_MARKS.get(state, ""))
        watched.result, watched.sliced = new, True
        if state != "running":
            self.node_changed.emit(new.path)
            outcome = "failed; its layers show what was written until then" if state == "failed" else f"is {state}"
            self.message.emit(f"{plain_line(new.node.url)} {outcome}")

    def _on_no_result(self, watched: WatchedLayers, new: LayerResult) -> None:
        """Handle a result without layers: while the first attempt runs, the next check may find some."""
        state = new.node.items_state
        if state == "running" and _unfinished(watched.result.node):
            return
        if state == "running":
            self._invalidate(watched, REPLACED, f"{plain_line(new.node.url)} is computed anew")
            return
        if state == "committed":
            self._invalidate(
                watched, REPLACED, f"{plain_line(new.node.url)} is committed without {plain_line(watched.result.item)}"
            )
            return
        for i in range(len(watched.layers)):
            watched.rename(i, None, FAILED)
        watched.result = dataclasses.replace(watched.result, node=new.node)
        self.message.emit(f"{plain_line(new.node.url)} failed; its layers show what was read until then")

    def _on_read_failed(self, result: LayerResult, error: Exception) -> None:
        watched = self._watched.get(result.key)
        if watched is None or watched.result.request is not result.request:  # the layers have other pixels by now
            return
        if watched.invalid:
            for layer in watched.alive():  # the user made it visible again
                layer.visible = False
            return
        if isinstance(error, NodeReplaced) and (_unfinished(watched.result.node) or not result.upstream):
            if not watched.pending:
                self._read_again(watched)  # another result stands, or another attempt writes the first one
        elif isinstance(error, NodeReplaced):
            what = "was removed" if isinstance(error, NodeRemoved) else "was replaced or removed"
            self._invalidate(watched, REPLACED, f"{plain_line(owner_url(result.upstream[0]))} {what}")
        else:
            where = f"{plain_line(result.key[0])}/{plain_line(result.item)}"
            self._invalidate(
                watched, UNREADABLE, f"{where} cannot be read: {plain_line(str(error), 300) or type(error).__name__}"
            )

    def _invalidate(self, watched: WatchedLayers, mark: str, why: str) -> None:
        """Hide layers whose pixels are no longer valid, and say so."""
        watched.invalid = True
        for layer in watched.alive():
            layer.visible = False
            layer.name = _without_mark(layer.name) + mark
        self.message.emit(f"{why}, so its layers are hidden; add it again to see what is there now")
        self.node_changed.emit(watched.result.path)


def origin_of(layer: Any) -> dict[str, Any]:
    """Return ``metadata["cvcache"]`` of a layer; empty for layers of others."""
    origin = layer.metadata.get("cvcache") if isinstance(layer.metadata, dict) else None
    return origin if isinstance(origin, dict) else {}


def _unfinished(node: Snapshot) -> bool:
    record = node.record
    return record is not None and record.state == "claimed"


def _clear_pending(due: list[WatchedLayers]) -> None:
    """Allow the next check."""
    for watched in due:
        watched.pending = False


def _set_data(layer: Any, data: Any, attributes: dict[str, Any], limits: Any) -> Any:
    """Replace the data of a layer, and return its contrast limits; those that the user has set stay."""
    untouched = limits is not None and _limits(layer) == limits
    layer.data = data
    for name in ("scale", "translate", "features"):
        if name in attributes:
            setattr(layer, name, attributes[name])
    if untouched and "contrast_limits" in attributes:
        layer.contrast_limits = attributes["contrast_limits"]
    layer.metadata = {**layer.metadata, **attributes.get("metadata", {})}
    return _limits(layer) if untouched else None


def _limits(layer: Any) -> Any:
    limits = getattr(layer, "contrast_limits", None)
    return None if limits is None else tuple(limits)


def _ndim(data: Any, attributes: dict[str, Any], kind: str) -> int:
    shape = data[0].shape if attributes.get("multiscale") else data.shape
    return int(shape[1]) if kind == "points" else len(shape) - bool(attributes.get("rgb"))


def _without_mark(name: str) -> str:
    for mark in (UNCOMMITTED, FAILED, REPLACED, UNREADABLE):
        name = name.replace(mark, "")
    return name
