"""Layers stay true: what is being written comes in, what was replaced is no longer shown."""

from __future__ import annotations

import dataclasses
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, QTimer, Signal

from cvcache.browse import plain_line
from cvcache.errors import NodeRemoved, NodeReplaced
from cvcache.napari.layers.layer_jobs import Key, Made, owner_of, remake, replaced
from cvcache.napari.settings import settings

if TYPE_CHECKING:
    from cvcache.napari.jobs import Jobs
    from cvcache.napari.layers.viewport import View
    from cvcache.node import CacheDir

UNCOMMITTED = " (uncommitted)"
FAILED = " (failed)"
REPLACED = " (replaced)"
UNREADABLE = " (cannot be read)"
MARKS = {"running": UNCOMMITTED, "failed": FAILED}
TICK = 1.0
"""Seconds between two looks at what was sliced."""


@dataclass(slots=True)
class Watched:
    """The layers of one item.

    Attributes
    ----------
    made : Made
        What they are from.
    layers : list of weakref
    names, limits : list
        Given to each; a user's own stay.
    sliced : bool
        Whether pixels were asked for since the last look.
    looked : float
        When that was.
    over : bool
        Whether they show nothing that stands any more.
    """

    made: Made
    layers: list[weakref.ReferenceType[Any]]
    names: list[str]
    limits: list[Any]
    sliced: bool = True
    looked: float = field(default_factory=time.monotonic)
    asked: bool = False
    over: bool = False

    def rename(self, i: int, name: str | None, mark: str) -> None:
        """Call a layer `name` and mark it, unless the user has given it another name, which is marked then."""
        layer = self.layers[i]()
        if layer is not None:
            own = layer.name != self.names[i]
            layer.name = _bare(layer.name if own or name is None else name) + mark
            self.names[i] = "" if own else layer.name

    def alive(self) -> list[Any]:
        """Return the layers that nobody has thrown away."""
        return [layer for ref in self.layers if (layer := ref()) is not None]


class Watcher(QObject):
    """Watches the layers of one viewer.

    Signals
    -------
    said : one plain sentence on what happened to layers.
    moved : path of a row whose node is another one by now than the tree may show.
    """

    said = Signal(str)
    moved = Signal(str)
    _troubled = Signal(object, object)

    def __init__(self, viewer: Any, jobs: Jobs, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._jobs = jobs
        self._watched: dict[Key, Watched] = {}
        self._stopped = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.look)
        # queued: it may come from a worker, or from napari in the middle of drawing
        self._troubled.connect(self._trouble, Qt.ConnectionType.QueuedConnection)

    def view(self) -> View:
        """Return what the viewer shows now."""
        from cvcache.napari.layers.viewport import View

        return View.of(self._viewer)

    def tell(self, made: Made, error: Exception) -> None:
        """Say that pixels cannot be read; from any thread. Raise `error` where nobody is left to be told."""
        try:
            self._troubled.emit(made, error)
        except RuntimeError:  # Qt has deleted this
            raise error from None

    def follow(self, made: Made, layers: list[Any]) -> None:
        """Watch these layers from now on."""
        if not layers:
            return
        names, limits = [layer.name for layer in layers], [*map(_limits, layers)]
        watched = Watched(made, [weakref.ref(layer) for layer in layers], names, limits)
        self._watched[made.key] = watched
        for layer in layers:
            layer.events.set_data.connect(lambda _=None, watched=watched: setattr(watched, "sliced", True))
        self._start()

    def stop(self) -> None:
        """Look no more; what napari cannot read is hidden all the same."""
        self._stopped = True
        self._timer.stop()

    def made_of(self, layers: list[Any]) -> list[Made]:
        """Return what these layers are from, each item once."""
        return [one.made for one in self._watched.values() if any(layer in layers for layer in one.alive())]

    def is_current(self, layer: Any, node: CacheDir) -> bool:
        """Whether a layer shows what `node` stands for, whole."""
        mark = mark_of(layer)
        watched = self._watched.get((str(mark.get("node")), str(mark.get("item"))))
        if watched is None or watched.over or layer not in watched.alive():
            return False
        old, new = watched.made.node.record(), node.record()
        if old is None or new is None:
            return old is new
        same = (old.seq, old.attempt) == (new.seq, new.attempt)
        return old.state == "committed" and (same or old.seq > new.seq)  # the tree may be the older one

    def look(self) -> None:
        """Look for news where there may be some, in workers: at once where pixels were shown, else every so often."""
        if self._viewer is None or self._stopped:
            return
        present = set(map(id, self._viewer.layers))
        for key, watched in list(self._watched.items()):
            watched.layers = [ref for ref in watched.layers if id(ref()) in present]
            if not watched.layers:
                del self._watched[key]
        now, pause = time.monotonic(), settings().autorefresh
        due = []
        for one in [one for one in self._watched.values() if not one.over and not one.asked]:
            late, record = bool(pause and now - one.looked >= pause), one.made.node.record()
            if late and _unfinished(one.made.node):
                self._remake(one)
            elif (late or one.sliced) and record is not None and record.state != "claimed":
                due.append(one)
        if due:
            self._check(due)
        self._start()

    def _start(self) -> None:
        if self._watched and not self._stopped and not self._timer.isActive():
            self._timer.start(int(TICK * 1000))

    def _check(self, due: list[Watched]) -> None:
        """Ask whether the commits still stand of which pixels were shown."""
        for one in due:
            one.sliced, one.asked, one.looked = False, True, time.monotonic()

        def answered(gone: list[str]) -> None:
            _let(due)
            for one, url in zip(due, gone, strict=True):
                if url:
                    self._is_over(one, REPLACED, f"{plain_line(url)} was replaced or removed")

        self._jobs.start(replaced, [one.made for one in due], done=answered, failed=lambda _: _let(due))

    def _remake(self, one: Watched) -> None:
        one.asked, one.looked = True, time.monotonic()

        def answered(new: Made | None) -> None:
            one.asked = False
            if self._watched.get(one.made.key) is one:
                self._renew(one, new)

        self._jobs.start(remake, one.made, self.view(), done=answered, failed=lambda _: _let([one]))

    def _renew(self, one: Watched, new: Made | None) -> None:
        """Show what an attempt has written by now, or its result."""
        if new is None:
            self._is_over(one, REPLACED, f"{plain_line(one.made.node.url)} was removed")
            return
        if new.error is not None or not new.read:
            self._found_nothing(one, new)
            return
        layers, state = one.alive(), new.node.own_state
        fits = len(layers) == len(new.layers) and all(
            type(layer).__name__.lower() == kind and _ndim(data, attributes, kind) == layer.ndim
            for layer, (data, attributes, kind) in zip(layers, new.layers, strict=True)
        )
        if not fits:
            self._is_over(
                one, REPLACED, f"{plain_line(one.made.node.url)}/{plain_line(one.made.item)} has another shape by now"
            )
            return
        for i, (layer, (data, attributes, _)) in enumerate(zip(layers, new.layers, strict=True)):
            one.limits[i] = _put(layer, data, attributes, one.limits[i])
            one.rename(i, _bare(str(attributes.get("name", layer.name))), MARKS.get(state, ""))
        one.made, one.sliced = new, True
        if state != "running":
            self.moved.emit(new.path)
            told = "failed; its layers show what was written until then" if state == "failed" else f"is {state}"
            self.said.emit(f"{plain_line(new.node.url)} {told}")

    def _found_nothing(self, one: Watched, new: Made) -> None:
        """Go on without news: while it runs the next look may find some."""
        state = new.node.own_state
        if state == "running":
            return
        if state == "committed":
            self._is_over(one, REPLACED, f"{plain_line(new.node.url)} is committed without {plain_line(one.made.item)}")
            return
        for i in range(len(one.layers)):
            one.rename(i, None, FAILED)
        one.made = dataclasses.replace(one.made, node=new.node)
        self.said.emit(f"{plain_line(new.node.url)} failed; its layers show what was read until then")

    def _trouble(self, made: Made, error: Exception) -> None:
        one = self._watched.get(made.key)
        if one is None or one.made.order is not made.order:  # the layers have other pixels by now
            return
        if one.over:
            for layer in one.alive():  # somebody made it visible again
                layer.visible = False
            return
        if isinstance(error, NodeReplaced) and _unfinished(one.made.node):
            if not one.asked:
                self._remake(one)  # it is committed, or another attempt writes it
        elif isinstance(error, NodeReplaced):
            what = "was removed" if isinstance(error, NodeRemoved) else "was replaced or removed"
            self._is_over(one, REPLACED, f"{plain_line(next(map(owner_of, made.others), made.key[0]))} {what}")
        else:
            where = f"{plain_line(made.key[0])}/{plain_line(made.item)}"
            self._is_over(
                one, UNREADABLE, f"{where} cannot be read: {plain_line(str(error), 300) or type(error).__name__}"
            )

    def _is_over(self, one: Watched, mark: str, why: str) -> None:
        """Hide layers that show nothing that stands any more, and say so."""
        one.over = True
        for layer in one.alive():
            layer.visible = False
            layer.name = _bare(layer.name) + mark
        self.said.emit(f"{why}, so its layers are hidden; add it again to see what is there now")
        self.moved.emit(one.made.path)


def mark_of(layer: Any) -> dict[str, Any]:
    """Return what a layer of ours goes by; nothing for another one."""
    mark = layer.metadata.get("cvcache") if isinstance(layer.metadata, dict) else None
    return mark if isinstance(mark, dict) else {}


def _unfinished(node: CacheDir) -> bool:
    record = node.record()
    return record is not None and record.state == "claimed"


def _let(due: list[Watched]) -> None:
    """Let these be asked again after a look that failed."""
    for one in due:
        one.asked = False


def _put(layer: Any, data: Any, attributes: dict[str, Any], limits: Any) -> Any:
    """Give a layer new data in its place, and return the contrast it was given; one that the user has set stays."""
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


def _bare(name: str) -> str:
    for mark in (UNCOMMITTED, FAILED, REPLACED, UNREADABLE):
        name = name.replace(mark, "")
    return name
