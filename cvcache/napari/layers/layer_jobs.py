"""What workers do for layers: make them, read ahead what will be seen, look whether they are still right."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cvcache.browse import plain_line
from cvcache.errors import CvcacheError, NodeReplaced, UsageError
from cvcache.node import CacheDir
from cvcache.store import layout

if TYPE_CHECKING:
    from cvcache.browse import LayerData, Row
    from cvcache.formats import ItemPath
    from cvcache.napari.layers.viewport import View
    from cvcache.node import Item

Key = tuple[str, str]
"""URL of a node, and the name of one of its items."""
Tell = Callable[["Made", Exception], object]

SHOWN = ("image", "labels", "points", "array", "table")
"""Kinds of items that are added with their node, as far as there are layers of them; others are not tried."""
AT_ONCE = 8
_warming = threading.Lock()


@dataclass(frozen=True, slots=True)
class Order:
    """What somebody wants to see, and what the viewer shows at that time.

    Attributes
    ----------
    rows : tuple of Row
    view : View
    most : int
        Bytes that the first planes of one row may have without a question.
    tell : callable
        Told which layers cannot be read any more, and why; from any thread.
    side_by_side : bool
    """

    rows: tuple[Row, ...]
    view: View
    most: int
    tell: Tell
    side_by_side: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """The layers of one item, or why there are none.

    Attributes
    ----------
    order : Order
        Of which it is a part.
    row : Row
        The item, or the node it was found in.
    node : CacheDir
        Pinned to the record the layers are from.
    item : str
        Its name.
    layers : list
        LayerData tuples of napari.
    cost : int
        Bytes that one plane of each reads.
    others : tuple of ItemPath
        Where pixels lie that another node's commit vouches for: of a link, or of the labels a table goes with.
    read : bool
        Whether what will be seen was read ahead.
    error : Exception or None
    """

    order: Order
    row: Row
    node: CacheDir
    item: str
    layers: list[LayerData] = dataclasses.field(default_factory=list)
    cost: int = 0
    others: tuple[ItemPath, ...] = ()
    read: bool = False
    error: Exception | None = None

    @property
    def key(self) -> Key:
        """What the layers go by."""
        return self.node.url, self.item

    @property
    def path(self) -> str:
        """Path of the row of the node."""
        return self.row.path.rpartition("/")[0] if self.row.is_item else self.row.path


def make(order: Order) -> list[Made]:
    """Make the layers of some rows, at once, and read ahead what of them is not too much.

    Notes
    -----
    No store call for the layers of a committed image; those of the chunks that will be seen.
    """
    _warm_up()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = [part for row in order.rows for part in _parts(row)]
        tried = list(pool.map(lambda part: _make(order, *part), parts))
    made = [one for one in tried if one.row.is_item or one.layers or one.error is not None]
    used = {one.row.path for one in made}
    return [*made, *(_nothing(order, row) for row in order.rows if row.path not in used)]


def _nothing(order: Order, row: Row) -> Made:
    what = row.name or row.node.url
    return Made(
        order, row, row.node, what, error=UsageError(f"{plain_line(what)} holds nothing that is shown as a layer")
    )


def read(made: Made) -> Made:
    """Read ahead what will be seen of an item; an error becomes part of the answer."""
    from cvcache.browse import with_contrast
    from cvcache.napari.layers.prefetch import read_ahead

    trouble = functools.partial(made.order.tell, made)

    def ahead(layer: LayerData) -> LayerData:
        return with_contrast(read_ahead(layer, made.order.view, trouble))

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            layers = list(pool.map(ahead, made.layers))
    except (OSError, CvcacheError) as error:
        return dataclasses.replace(made, layers=[], error=error)
    return dataclasses.replace(made, layers=layers, read=True)


def load_units() -> None:
    """Let pint load its units, 0.1 s, in the window's thread: while it does so other threads find half of them."""
    import pint

    pint.get_application_registry()("pixel")


def _warm_up() -> None:
    """Let napari load the colours it needs for its first layer, 1 s and more, before the window waits."""
    with _warming:
        _first_layer()


@functools.cache
def _first_layer() -> None:
    import numpy as np
    from napari.layers import Layer

    Layer.create(np.zeros((2, 2), "u1"), {"units": ("micrometer", "micrometer")}, "image")


def _parts(row: Row) -> Iterator[tuple[Row, Row | Item, CacheDir, str]]:
    """Yield each item of a row that is to be shown."""
    if row.is_item:
        yield row, row, row.node, row.name
        return
    for name, meta in sorted(row.node.rows().items()):
        if meta.get("kind") in SHOWN or (not meta and name.endswith(".zarr")):
            yield row, row.node[name], row.node, name


def _make(order: Order, row: Row, item: Row | Item, node: CacheDir, name: str) -> Made:
    """Make the layers of an item; of one that was replaced since the tree saw it, those of what is there now."""
    made = _make_of(order, row, item, node, name)
    if not isinstance(made.error, NodeReplaced):
        return made
    fresh = node.snapshot()
    return _make_of(order, row, fresh[name], fresh, name) if fresh.own_state != "absent" else made


def _make_of(order: Order, row: Row, item: Row | Item, node: CacheDir, name: str) -> Made:
    from cvcache.browse import cost, layers

    made = Made(order, row, node, name)
    try:
        found = [(data, dict(attributes), kind) for data, attributes, kind in layers(item)]
    except (OSError, CvcacheError, ValueError, ImportError) as error:
        return dataclasses.replace(made, error=error)
    others = tuple(_others(found, node))
    made = dataclasses.replace(made, layers=_marked(found, made.key), cost=sum(map(cost, found)), others=others)
    return read(made) if made.cost <= order.most else made


def _others(layers: list[LayerData], node: CacheDir) -> Iterator[ItemPath]:
    """Yield where pixels of other nodes lie."""
    from cvcache.browse import layer_item_path

    for layer in layers:
        owner = (layer[1].get("metadata") or {}).get("cvcache", {}).get("node")
        place = layer_item_path(layer) if owner != node.url else None
        if place is not None and place.next_record:
            yield place


def _marked(layers: list[LayerData], key: Key) -> list[LayerData]:
    """Return the layers with what they go by in their metadata."""
    marked = []
    for part, (data, attributes, kind) in enumerate(layers):
        metadata = dict(attributes.get("metadata") or {})
        mark = {**metadata.get("cvcache", {}), "node": key[0], "item": key[1], "part": part}
        marked.append((data, {**attributes, "metadata": {**metadata, "cvcache": mark}}, kind))
    return marked


def remake(made: Made, view: View) -> Made | None:
    """Look at the node again, and make its layers anew: of what is there by now, or of its result.

    Returns
    -------
    Made or None
        None if the node is gone.

    Notes
    -----
    One LIST and one GET, and what `make` costs.
    """
    node = made.node.snapshot()
    if node.own_state == "absent":
        return None
    if node.own_state == "failed" and made.node.own_state == "failed" and node.record() == made.node.record():
        return made  # of one that died nothing more comes
    row = made.row if not made.row.is_item else dataclasses.replace(made.row, node=node)
    order = dataclasses.replace(made.order, view=view)
    new = _make(order, row, node[made.item], node, made.item)
    return new if new.read or new.error else read(new)


def replaced(made: Sequence[Made]) -> list[str]:
    """Return for each the URL of a node of its pixels that was replaced or removed, or "".

    Notes
    -----
    Two STATs a node, at once: of its record and of the one that can follow. One for a node that others vouch for.
    """
    nodes: dict[str, CacheDir | ItemPath] = {one.node.url: one.node for one in made}
    asked = {**nodes, **{_record_url(place): place for one in made for place in one.others}}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        gone = {url for url, newest in zip(asked, pool.map(_is_newest, asked.values()), strict=True) if not newest}
    return [_gone_of(one, gone) for one in made]


def _gone_of(one: Made, gone: set[str]) -> str:
    others = (owner_of(place) for place in one.others if _record_url(place) in gone)
    return one.node.url if one.node.url in gone else next(others, "")


def _record_url(place: ItemPath) -> str:
    return place.store.url(place.next_record)


def owner_of(place: ItemPath) -> str:
    """Return the URL of the node whose commit vouches for the pixels there."""
    return str(place.origin.get("node") or place.url)


def _is_newest(source: CacheDir | ItemPath) -> bool:
    try:
        if isinstance(source, CacheDir):
            return source.is_newest() and _is_recorded(source)
        source.check_pin(now=True)
    except NodeReplaced:
        return False
    except OSError:  # what cannot be reached may still be as it was; its pixels say what is wrong
        pass
    return True


def _is_recorded(node: CacheDir) -> bool:
    """Whether the record that a handle goes by is there; it goes without a successor where somebody deletes a tree."""
    record, there = node.record(), node._result_node  # noqa: SLF001 - where the bytes are
    return record is None or there.store.stat(layout.record_path(there.location, record)) is not None
