"""What a dask collection would compute, as part of a key: read off its graph, nothing is computed.

The identity of a task is a digest of its function (by its code), its arguments (by their canonical form), and in
place of the keys it refers to the identities of those tasks. So the names dask gives its keys do not count: they change
with a comment above a lambda, a file name or a notebook kernel, and stay when an imported function is edited. Layers
that are a rule (``Blockwise``, overlap) count by the rule and are not expanded. Tasks that the result does not need do
not count. This package alone knows how dask's graphs are made.

A text or path in the graph that is the name of a file or image on this machine counts with its size and time. Not seen:
what a task reads by a URL (the text of it counts), what a function captured by name, and that a delayed call is impure
(``pure=False`` changes its name and not its graph, so two draws by it have one lineage: pass a seed).
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from cvcache.errors import UnkeyableValue
from cvcache.keys.canonical import Walk, canonical, type_name
from cvcache.keys.digest import CanonicalJson, digest
from cvcache.keys.functions import Cells, canonical_callable, public_name
from cvcache.keys.graphs.graph import Graph, label_of
from cvcache.keys.graphs.tokens import quote
from cvcache.keys.values import canonical_local_path

__all__ = ["canonical_collection", "lineage", "sources"]

KEPT = 32  # layers with a digest of their own; a record has room for about 600 of them


def canonical_collection(walk: Walk, collection: Any) -> CanonicalJson:
    """Return the lineage of a dask collection that is a value in a key; None for anything else of dask's."""
    if not hasattr(collection, "__dask_graph__"):
        return None
    walk.met.append(collection)
    try:
        return lineage(collection)
    except UnkeyableValue as error:
        name = type_name(type(collection))
        raise UnkeyableValue(f"{walk.place} ({name}) cannot be part of a key: {error}") from error


def lineage(collection: Any) -> CanonicalJson:
    """Return the canonical form of what a dask collection would compute.

    Parameters
    ----------
    collection : dask collection
        An array, or anything else of dask's own. An xarray object has parts beside its graph: pass its ``.data``.

    Returns
    -------
    JSON-able
        ``{"$dask": digest, "layers": [[label, digest], ...]}``. Equal digests mean equal results. The layers are in an
        order in which each comes after those it reads; all but the last 32 are folded into one. The label is the name
        of the layer without its token, and says nothing that the digest does not.

    Raises
    ------
    UnkeyableValue
        A function or value in the graph has no reproducible form, or the result is held by a cluster; names the layer.

    Notes
    -----
    About 5 to 10 us a task, 0.1 ms a layer that is a rule, 1 ms a function, 1 s a GB of numpy arrays. No store call.
    """
    if not any(base.__module__.partition(".")[0] == "dask" for base in type(collection).__mro__):
        name = type_name(type(collection))
        raise UnkeyableValue(f"{name} has parts beside its dask graph; pass the dask array in it, such as its .data")
    graph = Graph(collection, _Leaves())
    try:
        own: list[CanonicalJson] = [type(collection).__name__, graph.result(graph.keys)]
        if hasattr(type(collection), "chunks"):  # they decide where the blocks of a written image end
            own.append(graph.text((collection.chunks, collection.dtype)))
    except UnkeyableValue as error:
        where = f"layer {label_of(graph.layer_of(graph.at))!r} of this dask graph"
        way_out = "or write the array as an item first and pass the Item; what draws random numbers wants a seed"
        raise UnkeyableValue(f"{where}: {error}; {way_out}") from error
    return {"$dask": digest(own), "layers": _fold(graph.layer_digests())}


def sources(collection: Any) -> list[Any]:
    """Return the objects a dask collection reads from that say by themselves what stands for them in a key.

    Parameters
    ----------
    collection : dask collection

    Returns
    -------
    list
        Each object in the graph once whose type has ``__cvcache_key__``, as far as the result needs it; in the order
        of the arguments, so it is the same in every process.

    Notes
    -----
    About as long as `lineage`. Nothing is computed. No store call.
    """
    found = _Sources()
    if collection.__dask_graph__() is not None:  # as an xarray object without dask arrays has it
        graph = Graph(collection, found)
        graph.result(graph.keys)
    return list(found.found.values())


class _Leaves:
    """The text of a value that is no part of a graph: a digest of its canonical form, made once."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[object, str]] = {}  # keeps the objects alive, so that an id stays theirs
        self.codes: dict[int, tuple[object, CanonicalJson]] = {}

    def word(self, value: str) -> str:
        if "/" not in value and "." not in value and "\\" not in value:
            return quote(value)
        form = canonical_local_path(value)
        return quote(value) if type(form) is str else f"#{digest(form)}"

    def text(self, value: object) -> str:
        known = self.known.get(id(value))
        if known is None:
            known = self.known[id(value)] = value, "#" + digest(canonical(value, code=self.code, paths="local"))
        return known[1]

    def code(self, value: object) -> CanonicalJson:
        known = self.codes.get(id(value))
        if known is None:
            known = self.codes[id(value)] = value, _name(value) or canonical_callable(value)
        return known[1]

    def absent(self, key: object) -> str:
        """Return the identity of a key that has no task, if there can be one."""
        msg = f"the graph does not say how {key!r} is made: it was persisted on a cluster, or is a future"
        raise UnkeyableValue(msg)


def _name(value: Any) -> CanonicalJson:
    """Return the name of a function of dask or numpy, also of one that a decorator has hidden from an import."""
    if not isinstance(value, FunctionType) or "<" in value.__qualname__:
        return None
    module = str(value.__globals__.get("__name__"))
    around: list[CanonicalJson] = [public_name(part) for part in Cells(value).values()]
    if module.partition(".")[0] not in {"dask", "numpy"} or not all(around):
        return None
    return {"$name": f"{module}:{value.__qualname__}", "around": around}


class _Sources(_Leaves):
    """No text, but a list of the values that have a key of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, object] = {}

    def word(self, value: str) -> str:  # noqa: ARG002 - a text reads nothing
        return "#"

    def text(self, value: object) -> str:
        if getattr(type(value), "__cvcache_key__", None) is not None:
            self.found[id(value)] = value
        return "#"

    def absent(self, key: object) -> str:  # noqa: ARG002 - a future reads nothing here
        return "@"


def _fold(rows: list[list[CanonicalJson]]) -> CanonicalJson:
    if len(rows) > KEPT:
        early = rows[: 1 - KEPT]
        rows = [[f"{len(early)} earlier layers", digest(list(early))], *rows[1 - KEPT :]]
    return list(rows)
