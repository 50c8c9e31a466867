"""Lineage of a dask collection: what it would compute, as canonical JSON, found in its graph without computing it.

The digest of a task covers its function (by its code), its arguments (by their canonical JSON) and the digests of the
tasks it refers to; see `cvcache.keys.graphs.graph`. Only this package knows how dask builds its graphs.

A text or path in the graph that names a file or image on this machine is encoded with size and time. Not found: what a
task reads from a URL (only its text is encoded), what a function captures by name, and that a delayed call is impure
(``pure=False`` changes its name but not its graph, so two random draws have one lineage: pass a seed).
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

from cvcache.errors import UnkeyableValue
from cvcache.keys.canonical import CanonicalEncoder, canonical, type_name
from cvcache.keys.digest import CanonicalJson, digest
from cvcache.keys.functions import FreeVariables, canonical_callable, public_name
from cvcache.keys.graphs.graph import TaskGraph, layer_label
from cvcache.keys.graphs.tokens import quote
from cvcache.keys.values import canonical_local_path

__all__ = ["canonical_collection", "lineage", "lineage_sources"]

MAX_LAYERS = 32  # layers with a digest of their own; a record has room for about 600 of them


def canonical_collection(encoder: CanonicalEncoder, collection: Any) -> CanonicalJson:
    """Return the lineage of a dask collection in a key; None for other values of dask."""
    if not hasattr(collection, "__dask_graph__"):
        return None
    encoder.inputs.append(collection)
    try:
        return lineage(collection)
    except UnkeyableValue as error:
        name = type_name(type(collection))
        raise UnkeyableValue(f"{encoder.value_path} ({name}) cannot be part of a key: {error}") from error


def lineage(collection: Any) -> CanonicalJson:
    """Return what a dask collection would compute as canonical JSON.

    Parameters
    ----------
    collection : dask collection
        An array, bag, dataframe or delayed of dask. An xarray object has more than its graph: pass its ``.data``.

    Returns
    -------
    JSON-able
        ``{"$dask": digest, "layers": [[label, digest], ...]}``. Equal digests mean equal results. The layers are in
        the order of their dependencies; all but the last 32 are folded into one. The label is the name of the layer
        without its token, for people.

    Raises
    ------
    UnkeyableValue
        A function or value in the graph cannot be encoded, or the result is on a cluster; the message names the layer.

    Notes
    -----
    About 5 to 10 us a task, 0.1 ms a symbolic layer, 1 ms a function, 1 s a GB of numpy arrays. No store call.
    """
    if not any(base.__module__.partition(".")[0] == "dask" for base in type(collection).__mro__):
        name = type_name(type(collection))
        raise UnkeyableValue(f"{name} has parts beside its dask graph; pass the dask array in it, such as its .data")
    graph = TaskGraph(collection, _LeafTokenizer())
    try:
        tokens: list[CanonicalJson] = [type(collection).__name__, graph.tokenize_result(graph.keys)]
        if hasattr(type(collection), "chunks"):  # they decide the chunks of a written image
            tokens.append(graph.tokenize((collection.chunks, collection.dtype)))
    except UnkeyableValue as error:
        layer = f"layer {layer_label(graph.layer_of(graph.current_key))!r} of this dask graph"
        way_out = "or write the array as an item first and pass the Item; what draws random numbers wants a seed"
        raise UnkeyableValue(f"{layer}: {error}; {way_out}") from error
    return {"$dask": digest(tokens), "layers": _fold_layers(graph.layer_digests())}


def lineage_sources(collection: Any) -> list[Any]:
    """Return the objects in the graph of a dask collection that have a key of their own.

    Parameters
    ----------
    collection : dask collection

    Returns
    -------
    list
        Each object once whose type has ``__cvcache_key__`` and that the result needs, in the order of the arguments,
        which is the same in every process.

    Notes
    -----
    About as long as `lineage`. Nothing is computed. No store call.
    """
    sources = _SourceCollector()
    if collection.__dask_graph__() is not None:  # None for an xarray object without dask arrays
        graph = TaskGraph(collection, sources)
        graph.tokenize_result(graph.keys)
    return list(sources.sources.values())


class _LeafTokenizer:
    """Tokenizes a value that is not a task by the digest of its canonical JSON; cached by its id."""

    def __init__(self) -> None:
        self.tokens: dict[int, tuple[object, str]] = {}  # keeps the objects alive, so that their ids are not reused
        self.encoded_callables: dict[int, tuple[object, CanonicalJson]] = {}

    def tokenize_str(self, value: str) -> str:
        if "/" not in value and "." not in value and "\\" not in value:
            return quote(value)
        encoded = canonical_local_path(value)
        return quote(value) if type(encoded) is str else f"#{digest(encoded)}"

    def tokenize(self, value: object) -> str:
        cached = self.tokens.get(id(value))
        if cached is None:
            cached = self.tokens[id(value)] = (
                value,
                "#" + digest(canonical(value, encode_callable=self.encode_callable, paths="local")),
            )
        return cached[1]

    def encode_callable(self, value: object) -> CanonicalJson:
        cached = self.encoded_callables.get(id(value))
        if cached is None:
            cached = self.encoded_callables[id(value)] = (
                value,
                _library_function_name(value) or canonical_callable(value),
            )
        return cached[1]

    def digest_absent_key(self, key: object) -> str:
        """Raise an error: without its task the digest of a key is unknown."""
        msg = f"the graph does not say how {key!r} is made: it was persisted on a cluster, or is a future"
        raise UnkeyableValue(msg)


def _library_function_name(value: Any) -> CanonicalJson:
    """Return the name of a function of dask or numpy, even if a decorator hides it from an import; None for others."""
    if not isinstance(value, FunctionType) or "<" in value.__qualname__:
        return None
    module = str(value.__globals__.get("__name__"))
    free_variables: list[CanonicalJson] = [public_name(part) for part in FreeVariables(value).values()]
    if module.partition(".")[0] not in {"dask", "numpy"} or not all(free_variables):
        return None
    return {"$name": f"{module}:{value.__qualname__}", "around": free_variables}


class _SourceCollector(_LeafTokenizer):
    """Collects the values that have a key of their own, instead of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[int, object] = {}

    def tokenize_str(self, value: str) -> str:  # noqa: ARG002 - a text reads nothing
        return "#"

    def tokenize(self, value: object) -> str:
        if getattr(type(value), "__cvcache_key__", None) is not None:
            self.sources[id(value)] = value
        return "#"

    def digest_absent_key(self, key: object) -> str:  # noqa: ARG002 - a future reads nothing here
        return "@"


def _fold_layers(layers: list[list[CanonicalJson]]) -> CanonicalJson:
    if len(layers) > MAX_LAYERS:
        early_layers = layers[: 1 - MAX_LAYERS]
        layers = [[f"{len(early_layers)} earlier layers", digest(list(early_layers))], *layers[1 - MAX_LAYERS :]]
    return list(layers)
