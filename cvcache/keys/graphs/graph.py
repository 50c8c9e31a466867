"""The tasks of a dask graph and what each would compute, found without computing anything.

The identity of a task is a digest of its text, in which the keys it refers to are replaced by the identities of those
tasks. Layers that are a rule (``Blockwise``, overlap) have one identity and are not expanded.
Tasks that the result does not need have none.
"""

from __future__ import annotations

import copy
import graphlib
import hashlib
import itertools
import re
from collections import ChainMap
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, cast

from cvcache.keys.digest import CanonicalJson, digest
from cvcache.keys.graphs.tokens import BRACKETS, KEYS, LEGACY, Leaves, Texts, known_texts

_TOKEN = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORDS = re.compile(r"[^\W\d]\w*(-[^\W\d]\w*)*")


class Graph:
    """The tasks of a graph, and the identities of those seen so far."""

    def __init__(self, collection: Any, leaves: Leaves) -> None:
        from dask._task_spec import _execute_subgraph

        graph = collection.__dask_graph__()
        self.keys = _keys(collection, graph)
        first = next(_flat(self.keys), "")
        name = str(first[0] if isinstance(first, tuple) else first)
        self.layers: Mapping[str, Any] = getattr(graph, "layers", {name: graph})
        self.dependencies: Mapping[str, Iterable[str]] = getattr(graph, "dependencies", {})
        self.leaves = leaves
        self.texts = Texts(known_texts())
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
        """Return the identities of nested lists of keys."""
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
        """Return a digest of the text of a task or rule; worth nothing if `missing` has got a key meanwhile."""
        if type(key) is Blocks:
            return self.blocks(key)
        if key in self.rules:
            return _hash(_overlap(self, key) if hasattr(self.rules[key], "axes") else _blockwise(self, key))
        if key in self.tasks:
            return _hash(self.legacy(self.tasks[key]))
        return self.ref(key) if self.is_key(key) else self.leaves.absent(key)

    def is_key(self, value: Any) -> bool:
        """Whether a value is the key of a task, or of a block of a rule."""
        if type(value) is tuple and not (value and type(value[0]) in KEYS):  # an index, as a rule; slices do not hash
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
        """Return the text of any value in the graph."""
        return self.texts[type(value)](self, value)

    def legacy(self, value: Any) -> str:
        """Return the text of a task in the older spelling: a tuple that starts with a function, keys as they are."""
        kind = type(value)
        if kind is tuple and value and callable(value[0]):
            return f"T{self.text(value[0])}({','.join(self.each(value[1:]))};)"
        if kind in KEYS and self.is_key(value):
            return self.ref(value)
        if kind in BRACKETS:
            parts = self.each(value)
            return BRACKETS[kind].format(",".join(parts if kind in {list, tuple} else sorted(parts)))
        return self.text(value)

    def each(self, values: Iterable[Any]) -> list[str]:
        """Return the texts of arguments in the older spelling."""
        texts = self.texts
        return [self.legacy(part) if type(part) in LEGACY else texts[type(part)](self, part) for part in values]

    def inner(self, ids: Mapping[Hashable, str]) -> Graph:
        """Return a view in which some more keys have an identity."""
        view = copy.copy(self)
        view.ids = ChainMap(dict(ids), self.ids)
        return view

    def fused(self, tasks: dict[Hashable, Any], out: Hashable, names: Iterable[Hashable], values: Iterable[Any]) -> str:
        """Return the text of several tasks that dask made one: that of the last, as if they stood alone."""
        inner = self.inner(dict(zip(names, map(self.text, values), strict=True)))
        if self.missing:
            return ""
        inner.tasks, inner.rules, inner.missing = tasks, {}, []
        inner.ids = dict(inner.ids.maps[0])
        inner.resolve(out)
        return str(inner.ids[out])

    def blocks(self, array: Blocks) -> str:
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
        """Return the name of the layer a key is in."""
        name = key[0] if isinstance(key, tuple) and key and key[0] in self.rules else key
        tasks = {name: layer for name, layer in self.layers.items() if name not in self.rules}
        return name if name in self.rules else next((name for name, layer in tasks.items() if key in layer), "")

    def layer_digests(self) -> list[list[CanonicalJson]]:
        """Return label and digest of each layer the result needs, each after those it reads; the same in every run."""
        depths: dict[str, int] = {}
        inputs = {name: set(self.dependencies.get(name, ())) & self.layers.keys() for name in self.layers}
        rows = set()
        for name in graphlib.TopologicalSorter(inputs).static_order():
            depths[name] = 1 + max((depths[other] for other in inputs[name]), default=0)
            keys = [name] if name in self.rules else getattr(self.layers[name], "mapping", self.layers[name])
            known = sorted({self.ids[key] for key in keys if key in self.ids})
            if known:
                rows.add((depths[name], label_of(name), digest(list(known))))
        return [[label, text] for _, label, text in sorted(rows)]


class Blocks(tuple[Hashable, ...]):
    """The name and numbers of blocks of an array, unlike any key."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is Blocks and super().__eq__(other)

    __hash__ = tuple.__hash__


def _keys(collection: Any, graph: Any) -> Any:
    kind = type(collection)
    if {"chunks", "numblocks"} <= set(dir(kind)) and hasattr(graph, "layers"):  # an array: no need to list its blocks
        return [Blocks((collection.name, *collection.numblocks))]
    return collection.__dask_keys__()


def _flat(keys: Any) -> Iterator[Any]:
    if isinstance(keys, list):
        for part in keys:
            yield from _flat(part)
    else:
        yield keys


def _hash(text: str) -> str:
    return f"@{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def label_of(name: str) -> str:
    """Return the words in the name of a layer: without its token, which differs from run to run."""
    words = _WORDS.search(_TOKEN.sub("", name))
    return words.group() if words else "data"


def _is_rule(name: str, layer: Any) -> bool:
    from dask.blockwise import Blockwise
    from dask.layers import ArrayOverlapLayer

    if isinstance(layer, Blockwise):
        return name == layer.output and type(layer)._dict is Blockwise._dict  # noqa: SLF001 - how it expands
    return type(layer) is ArrayOverlapLayer and name == f"overlap-{layer.token}"


def _blockwise(graph: Graph, name: Hashable) -> str:
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
        whole = _io(graph, layer.io_deps[part]) if part in layer.io_deps else graph.blocks(Blocks((part, *counts)))
        inputs[slot] = f"{whole}{counts}[{places(index)}]"
    task = graph.inner(inputs).text(layer.task)
    dims = [layer.dims[symbol] for symbol in axes]
    return f"B{out};{dims};{layer.concatenate};{sorted(layer.output_blocks or ())};{task}"


def _io(graph: Graph, dep: Any) -> str:
    """Return the text of an object that gives each block an argument of its own."""
    return f"{graph.text(type(dep))}{graph.text(vars(dep))}"


def _overlap(graph: Graph, name: Hashable) -> str:
    layer = graph.rules[name]
    return f"V{graph.blocks(Blocks((layer.name, *layer.numblocks)))}{graph.text((layer.axes, layer.chunks))}"
