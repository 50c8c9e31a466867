"""Jobs of workers for layers: make them, prefetch their first planes, check that they are still valid."""

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
from cvcache.formats import kind_of
from cvcache.node import CacheDir, Snapshot, item_io, read_snapshot, snapshot_of
from cvcache.protocol import raise_if_replaced

if TYPE_CHECKING:
    from cvcache.browse import LayerData, Row
    from cvcache.formats import ItemPath
    from cvcache.napari.layers.viewport import Viewport
    from cvcache.node import Item

ItemKey = tuple[str, str]
"""URL of a node, and the name of one of its items."""
OnError = Callable[["LayerResult", Exception], object]

SHOWN_KINDS = ("image", "labels", "points", "array", "table")
"""Kinds of items that are added with their node, if they have layers; other kinds are not tried."""
CONCURRENCY = 8
_warm_up_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class LayerRequest:
    """The rows to make layers of, and the state of the viewer at that time.

    Attributes
    ----------
    rows : tuple of Row
    view : Viewport
    max_bytes : int
        Bytes of the first planes of one row, above which the user is asked first.
    on_error : callable
        Called with a result and an error when its pixels cannot be read; from any thread.
    side_by_side : bool
    """

    rows: tuple[Row, ...]
    view: Viewport
    max_bytes: int
    on_error: OnError
    side_by_side: bool = False


@dataclass(frozen=True, slots=True)
class LayerResult:
    """The layers of one item, or why there are none.

    Attributes
    ----------
    request : LayerRequest
        The request that it belongs to.
    row : Row
        The row of the item or of its node.
    node : Snapshot
        The node as it was when the layers were made.
    item : str
        Name of the item.
    layers : list
        LayerData tuples of napari.
    cost : int
        Bytes that are read for one plane of each layer.
    upstream : tuple of ItemPath
        Items of other nodes that have the pixels: the target of a link, or the labels of a table.
    prefetched : bool
        Whether the first planes were prefetched.
    error : Exception or None
    """

    request: LayerRequest
    row: Row
    node: Snapshot
    item: str
    layers: list[LayerData] = dataclasses.field(default_factory=list)
    cost: int = 0
    upstream: tuple[ItemPath, ...] = ()
    prefetched: bool = False
    error: Exception | None = None

    @property
    def key(self) -> ItemKey:
        """URL of the node and name of the item."""
        return self.node.url, self.item

    @property
    def path(self) -> str:
        """Path of the row of the node."""
        return self.row.path.rpartition("/")[0] if self.row.is_item else self.row.path


def make_layers(request: LayerRequest) -> list[LayerResult]:
    """Return the layers of rows, made in parallel, with their first planes prefetched where that is cheap.

    Notes
    -----
    No store call for the layers of a committed image, but those of the prefetched chunks.
    """
    _warm_up()
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        shown = [(row, item) for row in request.rows for item in _shown_items(row)]
        tried = list(pool.map(lambda part: _make_item(request, *part), shown))
    results = [one for one in tried if one.row.is_item or one.layers or one.error is not None]
    used = {one.row.path for one in results}
    return [*results, *(_no_layers(request, row) for row in request.rows if row.path not in used)]


def _no_layers(request: LayerRequest, row: Row) -> LayerResult:
    what = row.name or row.node.url
    return LayerResult(
        request, row, row.node, what, error=UsageError(f"{plain_line(what)} holds nothing that is shown as a layer")
    )


def prefetch_result(result: LayerResult) -> LayerResult:
    """Return a result with its first planes prefetched, or with the error of the read."""
    from cvcache.browse import with_contrast
    from cvcache.napari.layers.prefetch import prefetch_planes

    on_error = functools.partial(result.request.on_error, result)

    def prefetch(layer: LayerData) -> LayerData:
        return with_contrast(prefetch_planes(layer, result.request.view, on_error))

    try:
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            layers = list(pool.map(prefetch, result.layers))
    except (OSError, CvcacheError) as error:
        return dataclasses.replace(result, layers=[], error=error)
    return dataclasses.replace(result, layers=layers, prefetched=True)


def load_units() -> None:
    """Let pint load its units in the GUI thread, 0.1 s: meanwhile other threads would find half of them."""
    import pint

    pint.get_application_registry()("pixel")


def _warm_up() -> None:
    """Let napari load the colormaps of its first layer in a worker, which takes 1 s or more."""
    with _warm_up_lock:
        _first_layer()


@functools.cache
def _first_layer() -> None:
    import numpy as np
    from napari.layers import Layer

    Layer.create(np.zeros((2, 2), "u1"), {"units": ("micrometer", "micrometer")}, "image")


def _shown_items(row: Row) -> Sequence[Row | Item]:
    """Return the row of an item, or the items of a node that may have layers."""
    if row.is_item:
        return [row]
    kinds = {name: meta.get("kind") if meta else kind_of(name) for name, meta in item_io.read_rows(row.node).items()}
    return [_item(row.node, name) for name in sorted(kinds) if kinds[name] in SHOWN_KINDS]


def _item(node: Snapshot, name: str) -> Item:
    return CacheDir(node.address, node)[name]


def _make_item(request: LayerRequest, row: Row, item: Row | Item) -> LayerResult:
    """Return the layers of an item; if it was replaced since the tree read it, those of the new result."""
    result = _make_item_once(request, row, item)
    if not isinstance(result.error, NodeReplaced):
        return result
    fresh = read_snapshot(result.node.address)
    return _make_item_once(request, row, _item(fresh, result.item)) if fresh.state != "absent" else result


def _make_item_once(request: LayerRequest, row: Row, item: Row | Item) -> LayerResult:
    from cvcache.browse import cost, layers

    result = LayerResult(request, row, snapshot_of(item.node), item.name)
    try:
        found = layers(item)
    except (OSError, CvcacheError, ValueError, ImportError) as error:
        return dataclasses.replace(result, error=error)
    upstream = tuple(_upstream_items(found, result.node))
    result = dataclasses.replace(
        result, layers=_with_origin(found, result.key), cost=sum(map(cost, found)), upstream=upstream
    )
    return prefetch_result(result) if result.cost <= request.max_bytes else result


def _upstream_items(layers: list[LayerData], node: Snapshot) -> Iterator[ItemPath]:
    """Yield the items of other nodes whose pixels the layers read."""
    from cvcache.browse import layer_item_path

    for layer in layers:
        owner = (layer[1].get("metadata") or {}).get("cvcache", {}).get("node")
        item_path = layer_item_path(layer) if owner != node.url else None
        if item_path is not None and item_path.pin:
            yield item_path


def _with_origin(layers: list[LayerData], key: ItemKey) -> list[LayerData]:
    """Return the layers with node, item and part in ``metadata["cvcache"]``."""
    marked = []
    for part, (data, attributes, kind) in enumerate(layers):
        metadata = dict(attributes.get("metadata") or {})
        origin = {**metadata.get("cvcache", {}), "node": key[0], "item": key[1], "part": part}
        marked.append((data, {**attributes, "metadata": {**metadata, "cvcache": origin}}, kind))
    return marked


def remake_layers(result: LayerResult, view: Viewport) -> LayerResult | None:
    """Read the node again, and make its layers again: of the result that stands, or of what is written by now.

    Returns
    -------
    LayerResult or None
        None if the node is gone.

    Notes
    -----
    One LIST and one GET, and the cost of `make_layers`.
    """
    node = read_snapshot(result.node.address)
    if node.state == "absent":
        return None
    if node.state == "failed" and result.node.state == "failed" and node.record == result.node.record:
        return result  # a dead attempt writes no more
    row = result.row if not result.row.is_item else dataclasses.replace(result.row, node=node)
    request = dataclasses.replace(result.request, view=view)
    new = _make_item(request, row, _item(node, result.item))
    return new if new.prefetched or new.error else prefetch_result(new)


def replaced_urls(results: Sequence[LayerResult]) -> list[str]:
    """Return for each result the URL of a node of its pixels whose commit does not stand any more, or "".

    Notes
    -----
    Two STAT for each node, in parallel: of its record and of the next one; where that is there, as while it is computed
    again, a LIST and a GET. For each upstream item a GET of the next record, and of all that follow.
    """
    nodes: dict[str, Snapshot | ItemPath] = {one.node.url: one.node for one in results}
    asked = {**nodes, **{_pin_url(item_path): item_path for one in results for item_path in one.upstream}}
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        replaced = {url for url, stands in zip(asked, pool.map(_stands, asked.values()), strict=True) if not stands}
    return [_replaced_url(one, replaced) for one in results]


def _replaced_url(one: LayerResult, replaced: set[str]) -> str:
    upstream = (owner_url(item_path) for item_path in one.upstream if _pin_url(item_path) in replaced)
    return one.node.url if one.node.url in replaced else next(upstream, "")


def _pin_url(item_path: ItemPath) -> str:
    return item_path.store.url(item_path.pin)


def owner_url(item_path: ItemPath) -> str:
    """Return the URL of the node that an item belongs to."""
    return item_path.origin["node"] if item_path.origin else item_path.url


def _stands(source: Snapshot | ItemPath) -> bool:
    try:
        if isinstance(source, Snapshot):
            if source.record is not None:
                raise_if_replaced(source.store, source.path, source.record)
            # the record of a tree that was deleted as a whole has no successor either
            return item_io.is_recorded(source)
        source.raise_if_replaced()
    except NodeReplaced:
        return False
    except OSError:  # an unreachable node may be unchanged; reading its pixels shows the error
        pass
    return True
