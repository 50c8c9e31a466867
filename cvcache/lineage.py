"""What a dask collection would compute, as part of a key: read off its graph, nothing is computed.

The identity of a task is a digest of its function (by its code, `cvcache.code`), its arguments (`cvcache.key`), and in
place of the keys it refers to the identities of those tasks. So the names dask gives its keys do not count: they change
with a comment above a lambda, a file name or a notebook kernel, and stay when an imported function is edited. Layers
that are a rule (``Blockwise``, overlap) count by the rule and are not expanded. Tasks that the result does not need do
not count. This is the only module that knows how dask's graphs are made.

Not seen: what a task reads by a path or URL (the text of it counts, not what lies there), and that a delayed call is
impure (``pure=False`` changes its name and not its graph, so two draws by it have one lineage: pass a seed).
"""

from __future__ import annotations

import contextlib
import copy
import functools
import graphlib
import hashlib
import itertools
import json
import os
import re
import threading
from collections import ChainMap
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, TypeAlias, cast

from cvcache.code import callable_form
from cvcache.errors import UnkeyableValue
from cvcache.key import Form, canonical, digest, type_name
from cvcache.source import closure_cells, public_name

__all__ = ["files", "lineage", "sources"]

KEPT = 32  # layers with a digest of their own; a record has room for about 600 of them
_TOKEN = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORDS = re.compile(r"[^\W\d]\w*(-[^\W\d]\w*)*")
_quote = json.encoder.encode_basestring_ascii

Text: TypeAlias = "Callable[[_Graph, Any], str]"


def lineage(collection: Any) -> Form:
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
    graph = _Graph(collection, _Leaves())
    try:
        own: list[Form] = [type(collection).__name__, graph.result(graph.keys)]
        if hasattr(type(collection), "chunks"):  # they decide where the blocks of a written image end
            own.append(graph.text((collection.chunks, collection.dtype)))
    except UnkeyableValue as error:
        where = f"layer {_label(graph.layer_of(graph.at))!r} of this dask graph"
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
        graph = _Graph(collection, found)
        graph.result(graph.keys)
    return list(found.found.values())


def files(collection: Any) -> Form:
    """Return path, size and time of each local file that a task of a dask collection is given by name.

    What a function captured in a closure, or finds out by itself, is not seen. One stat per text in the graph.
    """
    found = _Sources()
    if collection.__dask_graph__() is not None:
        graph = _Graph(collection, found)
        graph.result(graph.keys)
    rows: list[Form] = []
    for word in sorted(found.words):
        if "/" in word or os.sep in word or "." in word:
            with contextlib.suppress(OSError, ValueError):
                info = os.stat(word)
                rows.append([word, info.st_size, info.st_mtime_ns])
    return rows


class _Leaves:
    """The text of a value that is no part of a graph: a digest of its canonical form, made once."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[object, str]] = {}  # keeps the objects alive, so that an id stays theirs
        self.codes: dict[int, tuple[object, Form]] = {}

    def word(self, value: str) -> str:
        return _quote(value)

    def text(self, value: object) -> str:
        known = self.known.get(id(value))
        if known is None:
            known = self.known[id(value)] = value, f"#{digest(canonical(value, code=self.code))}"
        return known[1]

    def code(self, value: object) -> Form:
        known = self.codes.get(id(value))
        if known is None:
            known = self.codes[id(value)] = value, _name(value) or callable_form(value)
        return known[1]

    def absent(self, key: object) -> str:
        """Return the identity of a key that has no task, if there can be one."""
        msg = f"the graph does not say how {key!r} is made: it was persisted on a cluster, or is a future"
        raise UnkeyableValue(msg)


def _name(value: Any) -> Form:
    """Return the name of a function of dask or numpy, also of one that a decorator has hidden from an import."""
    if not isinstance(value, FunctionType) or "<" in value.__qualname__:
        return None
    module = str(value.__globals__.get("__name__"))
    around: list[Form] = [public_name(part) for part in closure_cells(value).values()]
    if module.partition(".")[0] not in {"dask", "numpy"} or not all(around):
        return None
    return {"$name": f"{module}:{value.__qualname__}", "around": around}


class _Sources(_Leaves):
    """No text, but a list of the values that have a key of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, object] = {}
        self.words: set[str] = set()

    def word(self, value: str) -> str:
        self.words.add(value)
        return "#"

    def text(self, value: object) -> str:
        if isinstance(value, os.PathLike):
            self.words.add(str(value))
        if getattr(type(value), "__cvcache_key__", None) is not None:
            self.found[id(value)] = value
        return "#"

    def absent(self, key: object) -> str:  # noqa: ARG002 - a future reads nothing here
        return "@"


class _Texts(dict[type, Text]):
    """How each type is written; a type unknown here is written like its base in dask or numpy.random, else a leaf."""

    def __missing__(self, kind: type) -> Text:
        bases = (base for base in kind.__mro__ if base.__module__.partition(".")[0] in {"dask", "numpy"})
        self[kind] = next((self[base] for base in bases if base in self), _leaf)
        return self[kind]


class _Graph:
    """The tasks of a graph, and the identities of those seen so far."""

    def __init__(self, collection: Any, leaves: _Leaves) -> None:
        from dask._task_spec import _execute_subgraph

        graph = collection.__dask_graph__()
        self.keys = _keys(collection, graph)
        first = next(_flat(self.keys), "")
        name = str(first[0] if isinstance(first, tuple) else first)
        self.layers: Mapping[str, Any] = getattr(graph, "layers", {name: graph})
        self.dependencies: Mapping[str, Iterable[str]] = getattr(graph, "dependencies", {})
        self.leaves = leaves
        self.texts = _Texts(_texts())
        self.run_fused = _execute_subgraph
        self.rules: dict[Hashable, Any] = {}
        self.tasks: dict[Hashable, Any] = {}
        for name, layer in self.layers.items():
            if _is_rule(name, layer):
                self.rules[name] = layer
            else:
                self.tasks.update(getattr(layer, "mapping", layer))
        self.ids: Any = {}
        self.missing: list[Hashable] = []  # the keys the text just made refers to that have no identity yet
        self.at: Hashable = name

    def result(self, keys: Any) -> str:
        """Return the text of nested lists of keys, as a collection gives them."""
        for key in _flat(keys):
            self.resolve(key)
        return self.nested(keys)

    def nested(self, keys: Any) -> str:
        return f"[{','.join(map(self.nested, keys))}]" if isinstance(keys, list) else self.ids[keys]

    def resolve(self, key: Hashable) -> None:
        """Give a key its identity, and before that those it refers to; no recursion, since chains are long."""
        stack, opened = [key], set()
        while stack:
            self.at = key = stack[-1]
            if key in self.ids:
                stack.pop()
                continue
            self.missing.clear()
            identity = self.identity(key)
            if not self.missing:
                self.ids[key] = identity
            elif key in opened:  # it waits for itself, as a future does
                self.ids[key] = self.leaves.absent(key)
            else:
                opened.add(key)
                stack += reversed(self.missing)

    def identity(self, key: Any) -> str:
        if type(key) is _Blocks:
            return self.blocks(key)
        if key in self.rules:
            return _hash(_overlap(self, key) if hasattr(self.rules[key], "axes") else _blockwise(self, key))
        if key in self.tasks:
            return _hash(self.legacy(self.tasks[key]))
        return self.ref(key) if self.is_key(key) else self.leaves.absent(key)

    def is_key(self, value: Any) -> bool:
        if type(value) is tuple and not (value and type(value[0]) in _KEYS):  # an index, as a rule; slices do not hash
            return False
        try:
            return value in self.tasks or (type(value) is tuple and value[0] in self.rules)
        except TypeError:  # not hashable
            return False

    def ref(self, key: Any) -> str:
        """Return the identity of a key, or note that it has none yet."""
        found: str | None = self.ids.get(key)
        if found is not None:
            return found
        if type(key) is tuple and key[0] in self.rules:
            return f"{self.ref(key[0])}[{','.join(map(str, key[1:]))}]"
        self.missing.append(key)
        return ""

    def text(self, value: Any) -> str:
        return self.texts[type(value)](self, value)

    def legacy(self, value: Any) -> str:
        """Return the text of a task in the older spelling: a tuple that starts with a function, keys as they are."""
        kind = type(value)
        if kind is tuple and value and callable(value[0]):
            return f"T{self.text(value[0])}({','.join(self.each(value[1:]))};)"
        if kind in _KEYS and self.is_key(value):
            return self.ref(value)
        if kind in _BRACKETS:
            parts = self.each(value)
            return _BRACKETS[kind].format(",".join(parts if kind in {list, tuple} else sorted(parts)))
        return self.text(value)

    def each(self, values: Iterable[Any]) -> list[str]:
        texts = self.texts
        return [self.legacy(part) if type(part) in _LEGACY else texts[type(part)](self, part) for part in values]

    def inner(self, ids: Mapping[Hashable, str]) -> _Graph:
        """Return a view in which some more keys have an identity."""
        view = copy.copy(self)
        view.ids = ChainMap(dict(ids), self.ids)
        return view

    def blocks(self, array: _Blocks) -> str:
        """Return the identity of a whole array: its rule, or all its tasks."""
        name, numblocks = array[0], cast("tuple[int, ...]", array[1:])
        if name in self.rules:
            return self.ref(name)
        if array not in self.ids:
            identity = _hash(
                ",".join([self.ref((name, *place)) for place in itertools.product(*map(range, numblocks))])
            )
            if self.missing:
                return ""
            self.ids[array] = identity
        return str(self.ids[array])

    def layer_of(self, key: Any) -> str:
        name = key[0] if isinstance(key, tuple) and key and key[0] in self.rules else key
        tasks = {name: layer for name, layer in self.layers.items() if name not in self.rules}
        return name if name in self.rules else next((name for name, layer in tasks.items() if key in layer), "")

    def layer_digests(self) -> list[list[Form]]:
        """Return label and digest of each layer the result needs, each after those it reads; the same in every run."""
        depths: dict[str, int] = {}
        inputs = {name: set(self.dependencies.get(name, ())) & self.layers.keys() for name in self.layers}
        rows = set()
        for name in graphlib.TopologicalSorter(inputs).static_order():
            depths[name] = 1 + max((depths[other] for other in inputs[name]), default=0)
            keys = [name] if name in self.rules else getattr(self.layers[name], "mapping", self.layers[name])
            known = sorted({self.ids[key] for key in keys if key in self.ids})
            if known:
                rows.add((depths[name], _label(name), digest(list(known))))
        return [[label, text] for _, label, text in sorted(rows)]


class _Blocks(tuple[Hashable, ...]):
    """The name and numbers of blocks of an array, unlike any key."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is _Blocks and super().__eq__(other)

    __hash__ = tuple.__hash__


def _keys(collection: Any, graph: Any) -> Any:
    kind = type(collection)
    if {"chunks", "numblocks"} <= set(dir(kind)) and hasattr(graph, "layers"):  # an array: no need to list its blocks
        return [_Blocks((collection.name, *collection.numblocks))]
    return collection.__dask_keys__()


def _flat(keys: Any) -> Iterator[Any]:
    if isinstance(keys, list):
        for part in keys:
            yield from _flat(part)
    else:
        yield keys


def _hash(text: str) -> str:
    return f"@{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _label(name: str) -> str:
    words = _WORDS.search(_TOKEN.sub("", name))
    return words.group() if words else "data"


def _fold(rows: list[list[Form]]) -> Form:
    if len(rows) > KEPT:
        early = rows[: 1 - KEPT]
        rows = [[f"{len(early)} earlier layers", digest(list(early))], *rows[1 - KEPT :]]
    return list(rows)


def _is_rule(name: str, layer: Any) -> bool:
    from dask.blockwise import Blockwise
    from dask.layers import ArrayOverlapLayer

    if isinstance(layer, Blockwise):
        return name == layer.output and type(layer)._dict is Blockwise._dict  # noqa: SLF001 - how it expands
    return type(layer) is ArrayOverlapLayer and name == f"overlap-{layer.token}"


def _blockwise(graph: _Graph, name: Hashable) -> str:
    """Return the text of a Blockwise layer: its task, with the inputs in place of their numbers, and its indices."""
    from dask.blockwise import blockwise_token

    layer = graph.rules[name]
    axes: dict[Hashable, int] = {}  # each index symbol, by its first place

    def places(index: Iterable[Hashable]) -> str:
        return ",".join(str(axes.setdefault(symbol, len(axes))) for symbol in index)

    out, inputs = places(layer.output_indices), {}
    for number, (part, index) in enumerate(layer.indices):
        slot = blockwise_token(number)
        if slot not in layer.task.dependencies:  # not read, and their order differs from run to run
            continue
        if index is None:
            inputs[slot] = graph.text(part)
            continue
        counts = tuple(layer.numblocks[part])
        whole = _io(graph, layer.io_deps[part]) if part in layer.io_deps else graph.blocks(_Blocks((part, *counts)))
        inputs[slot] = f"{whole}{counts}[{places(index)}]"
    task = graph.inner(inputs).text(layer.task)
    dims = [layer.dims[symbol] for symbol in axes]
    return f"B{out};{dims};{layer.concatenate};{sorted(layer.output_blocks or ())};{task}"


def _io(graph: _Graph, dep: Any) -> str:
    """Return the text of an object that gives each block an argument of its own."""
    return f"{graph.text(type(dep))}{graph.text(vars(dep))}"


def _overlap(graph: _Graph, name: Hashable) -> str:
    layer = graph.rules[name]
    return f"V{graph.blocks(_Blocks((layer.name, *layer.numblocks)))}{graph.text((layer.axes, layer.chunks))}"


def _leaf(graph: _Graph, value: Any) -> str:
    return graph.leaves.text(value)


def _sequence(brackets: str) -> Text:
    def text(graph: _Graph, values: Any) -> str:
        texts = graph.texts
        return brackets.format(",".join([texts[type(value)](graph, value) for value in values]))

    return text


def _set(graph: _Graph, values: Iterable[Any]) -> str:
    return f"set({','.join(sorted(map(graph.text, values)))})"


def _pairs(graph: _Graph, pairs: Iterable[tuple[Any, Any]]) -> str:
    return f"{{{','.join(sorted(f'{graph.text(key)}:{graph.text(value)}' for key, value in pairs))}}}"


def _slice(graph: _Graph, value: slice) -> str:
    if type(value.start) in _PLAIN and type(value.stop) in _PLAIN and type(value.step) in _PLAIN:
        return f"s({value.start},{value.stop},{value.step})"  # the same text, at a third of the time
    return f"s({graph.text(value.start)},{graph.text(value.stop)},{graph.text(value.step)})"


def _ndarray(graph: _Graph, value: Any) -> str:
    if value.dtype == object:  # what a layer has for each block; as a leaf an array of addresses is refused
        return f"O{value.shape}{graph.text(value.ravel().tolist())}"
    return graph.leaves.text(value)


def _task(graph: _Graph, task: Any) -> str:
    if task.func is graph.run_fused:
        return _fused(graph, *task.args)
    texts = graph.texts
    args = ",".join([texts[type(value)](graph, value) for value in task.args])
    return f"T{graph.text(task.func)}({args};{_pairs(graph, task.kwargs.items()) if task.kwargs else ''})"


def _fused(graph: _Graph, tasks: dict[Hashable, Any], out: Hashable, names: Iterable[Hashable], *values: Any) -> str:
    """Return the text of several tasks that dask made one: that of the last, as if they stood alone."""
    inner = graph.inner(dict(zip(names, map(graph.text, values), strict=True)))
    if graph.missing:
        return ""
    inner.tasks, inner.rules, inner.missing = tasks, {}, []
    inner.ids = dict(inner.ids.maps[0])
    inner.resolve(out)
    return str(inner.ids[out])


def _parts(parts: Callable[[Any], Any]) -> Text:
    """Return how an object is written that is known by its type and these of its attributes."""
    return lambda graph, value: f"{type_name(type(value))}{graph.text(parts(value))}"


_BRACKETS: dict[type, str] = {list: "[{}]", tuple: "({})", set: "set({})", frozenset: "set({})"}
_KEYS: set[type] = {int, float, str, tuple}
_LEGACY: set[type] = {*_KEYS, *_BRACKETS}
_PLAIN: set[type] = {int, type(None)}


@functools.cache
def _texts() -> dict[type, Text]:
    import dask._task_spec as spec
    import numpy as np
    import tlz  # type: ignore[import-untyped]
    from dask import utils
    from dask.array.ufunc import da_frompyfunc

    as_is: Text = lambda _, value: repr(value)  # noqa: E731 - one of a table
    tables: dict[type, Text] = {
        **dict.fromkeys((type(None), bool, int, float), as_is),
        str: lambda graph, value: graph.leaves.word(value),
        slice: _slice,
        **{kind: _sequence(brackets) for kind, brackets in _BRACKETS.items()},
        **dict.fromkeys((set, frozenset, spec.Set), _set),
        tlz.functoolz.Compose: _parts(lambda value: (value.first, value.funcs)),
        dict: lambda graph, value: _pairs(graph, value.items()),
        **dict.fromkeys((functools.partial, tlz.curry), _parts(lambda value: (value.func, value.args, value.keywords))),
        spec.TaskRef: lambda graph, value: graph.ref(value.key),
        spec.Alias: lambda graph, value: graph.ref(value.target),
        spec.DataNode: lambda graph, value: graph.text(value.value),
        spec.Task: _task,
        spec.List: _sequence("[{}]"),
        spec.Tuple: _sequence("({})"),
        spec.Dict: lambda graph, value: _pairs(graph, zip(value.args[::2], value.args[1::2], strict=True)),
    }
    state = _parts(lambda value: value.state)
    return tables | {
        np.ndarray: _ndarray,
        np.vectorize: _parts(lambda value: (value.pyfunc, value.otypes, value.signature, value.excluded)),
        np.random.SeedSequence: _parts(
            lambda seed: (seed.entropy, seed.spawn_key, seed.pool_size, seed.n_children_spawned)
        ),
        np.random.BitGenerator: state,
        np.random.Generator: _parts(lambda value: value.bit_generator),
        np.random.RandomState: _parts(lambda value: value.get_state(legacy=False)),
        da_frompyfunc: _parts(lambda value: (value._func, value.nin, value.nout)),  # noqa: SLF001 - what it was made of
        utils.Dispatch: _parts(lambda value: getattr(value, "__name__", None)),
        utils.methodcaller: _parts(lambda value: value.method),
        utils.itemgetter: _parts(lambda value: value.index),
        **dict.fromkeys((utils.SerializableLock, type(threading.Lock())), _parts(lambda _: None)),
    }
