"""Digests of the tasks of a dask graph: what each would compute, without computing it.

Why not dask's own keys: they change with a comment above a lambda, a file name or a notebook kernel, and stay the same
when an imported function is edited. So the digest of a task is made from its token, in which each key it refers to is
replaced by the digest of that key's task. Symbolic layers (``Blockwise``, overlap) have one digest and are not
materialized. Tasks that the result does not need have none.
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
from cvcache.keys.graphs.tokens import (
    BRACKETS,
    KEY_TYPES,
    LEGACY_TYPES,
    LeafTokenizer,
    TokenizeDispatch,
    default_tokenizers,
)

_TOKEN = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LABEL = re.compile(r"[^\W\d]\w*(-[^\W\d]\w*)*")


class TaskGraph:
    """The tasks of a graph, and the digests found so far."""

    def __init__(self, collection: Any, leaves: LeafTokenizer) -> None:
        from dask._task_spec import _execute_subgraph

        graph = collection.__dask_graph__()
        self.keys = _collection_keys(collection, graph)
        first = next(_flatten(self.keys), "")
        name = str(first[0] if isinstance(first, tuple) else first)
        self.layers: Mapping[str, Any] = getattr(graph, "layers", {name: graph})
        self.dependencies: Mapping[str, Iterable[str]] = getattr(graph, "dependencies", {})
        self.leaves = leaves
        self.tokenizers = TokenizeDispatch(default_tokenizers())
        self.run_fused = _execute_subgraph
        self.symbolic_layers: dict[Hashable, Any] = {}
        self.tasks: dict[Hashable, Any] = {}
        for name, layer in self.layers.items():
            if _is_symbolic(name, layer):
                self.symbolic_layers[name] = layer
            else:
                self.tasks.update(getattr(layer, "mapping", layer))
        self.digests: Any = {}
        self.missing_keys: list[Hashable] = []  # keys without a digest that the last token refers to
        self.current_key: Hashable = name

    def tokenize_result(self, keys: Any) -> str:
        """Find the digests of nested lists of keys, as a collection gives them, and return their token."""
        for key in _flatten(keys):
            self.resolve(key)
        return self.tokenize_keys(keys)

    def tokenize_keys(self, keys: Any) -> str:
        """Return the token of nested lists of keys that have digests."""
        return f"[{','.join(map(self.tokenize_keys, keys))}]" if isinstance(keys, list) else self.digests[keys]

    def resolve(self, key: Hashable) -> None:
        """Find the digest of a key, after those of the keys it refers to; no recursion, as chains are long."""
        stack, visited = [key], set()
        while stack:
            self.current_key = key = stack[-1]
            if key in self.digests:
                stack.pop()
                continue
            self.missing_keys.clear()
            task_digest = self.digest_of_task(key)
            if not self.missing_keys:
                self.digests[key] = task_digest
            elif key in visited:  # it refers to itself, as a future does
                self.digests[key] = self.leaves.digest_absent_key(key)
            else:
                visited.add(key)
                stack += reversed(self.missing_keys)

    def digest_of_task(self, key: Any) -> str:
        """Return the digest of a task or symbolic layer; invalid if `missing_keys` is not empty afterwards."""
        if type(key) is Blocks:
            return self.digest_of_blocks(key)
        if key in self.symbolic_layers:
            return _digest_of(
                _tokenize_overlap(self, key)
                if hasattr(self.symbolic_layers[key], "axes")
                else _tokenize_blockwise(self, key)
            )
        if key in self.tasks:
            return _digest_of(self.tokenize_legacy(self.tasks[key]))
        return self.digest_of_key(key) if self.is_key(key) else self.leaves.digest_absent_key(key)

    def is_key(self, value: Any) -> bool:
        """Whether a value is the key of a task, or of a block of a symbolic layer."""
        if type(value) is tuple and not (value and type(value[0]) in KEY_TYPES):
            return False  # mostly an index; slices are not hashable
        try:
            return value in self.tasks or (type(value) is tuple and value[0] in self.symbolic_layers)
        except TypeError:  # not hashable
            return False

    def digest_of_key(self, key: Any) -> str:
        """Return the digest of a key, or add it to `missing_keys`."""
        known_digest: str | None = self.digests.get(key)
        if known_digest is not None:
            return known_digest
        if type(key) is tuple and key[0] in self.symbolic_layers:
            return f"{self.digest_of_key(key[0])}[{','.join(map(str, key[1:]))}]"
        self.missing_keys.append(key)
        return ""

    def tokenize(self, value: Any) -> str:
        """Return the token of any value in the graph."""
        return self.tokenizers[type(value)](self, value)

    def tokenize_legacy(self, value: Any) -> str:
        """Return the token of a legacy task: a tuple that starts with a function, with keys as plain values."""
        kind = type(value)
        if kind is tuple and value and callable(value[0]):
            return f"T{self.tokenize(value[0])}({','.join(self.tokenize_legacy_args(value[1:]))};)"
        if kind in KEY_TYPES and self.is_key(value):
            return self.digest_of_key(value)
        if kind in BRACKETS:
            parts = self.tokenize_legacy_args(value)
            return BRACKETS[kind].format(",".join(parts if kind in {list, tuple} else sorted(parts)))
        return self.tokenize(value)

    def tokenize_legacy_args(self, values: Iterable[Any]) -> list[str]:
        """Return the tokens of arguments of a legacy task."""
        tokenizers = self.tokenizers
        return [
            self.tokenize_legacy(part) if type(part) in LEGACY_TYPES else tokenizers[type(part)](self, part)
            for part in values
        ]

    def with_digests(self, digests: Mapping[Hashable, str]) -> TaskGraph:
        """Return a view of this graph in which more keys have a digest."""
        graph = copy.copy(self)
        graph.digests = ChainMap(dict(digests), self.digests)
        return graph

    def tokenize_fused(
        self, tasks: dict[Hashable, Any], output: Hashable, names: Iterable[Hashable], values: Iterable[Any]
    ) -> str:
        """Return the digest of tasks that dask has fused into one: that of the last task, as if not fused."""
        inner = self.with_digests(dict(zip(names, map(self.tokenize, values), strict=True)))
        if self.missing_keys:
            return ""
        inner.tasks, inner.symbolic_layers, inner.missing_keys = tasks, {}, []
        inner.digests = dict(inner.digests.maps[0])
        inner.resolve(output)
        return str(inner.digests[output])

    def digest_of_blocks(self, array: Blocks) -> str:
        """Return the digest of all blocks of an array: of its symbolic layer, or of all its tasks."""
        name, numblocks = array[0], cast("tuple[int, ...]", array[1:])
        if name in self.symbolic_layers:
            return self.digest_of_key(name)
        if array not in self.digests:
            blocks_digest = _digest_of(
                ",".join([self.digest_of_key((name, *index)) for index in itertools.product(*map(range, numblocks))])
            )
            if self.missing_keys:
                return ""
            self.digests[array] = blocks_digest
        return str(self.digests[array])

    def layer_of(self, key: Any) -> str:
        """Return the name of the layer that has a key."""
        name = key[0] if isinstance(key, tuple) and key and key[0] in self.symbolic_layers else key
        tasks = {name: layer for name, layer in self.layers.items() if name not in self.symbolic_layers}
        return (
            name if name in self.symbolic_layers else next((name for name, layer in tasks.items() if key in layer), "")
        )

    def layer_digests(self) -> list[list[CanonicalJson]]:
        """Return label and digest of each layer that the result needs, in the order of dependencies."""
        depths: dict[str, int] = {}
        inputs = {name: set(self.dependencies.get(name, ())) & self.layers.keys() for name in self.layers}
        rows = set()
        for name in graphlib.TopologicalSorter(inputs).static_order():
            depths[name] = 1 + max((depths[other] for other in inputs[name]), default=0)
            keys = [name] if name in self.symbolic_layers else getattr(self.layers[name], "mapping", self.layers[name])
            digests = sorted({self.digests[key] for key in keys if key in self.digests})
            if digests:
                rows.add((depths[name], layer_label(name), digest(list(digests))))
        return [[label, layer_digest] for _, label, layer_digest in sorted(rows)]


class Blocks(tuple[Hashable, ...]):
    """Name and numblocks of an array; not equal to any key."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is Blocks and super().__eq__(other)

    __hash__ = tuple.__hash__


def _collection_keys(collection: Any, graph: Any) -> Any:
    kind = type(collection)
    if {"chunks", "numblocks"} <= set(dir(kind)) and hasattr(graph, "layers"):
        # an array: its blocks need not be listed
        return [Blocks((collection.name, *collection.numblocks))]
    return collection.__dask_keys__()


def _flatten(keys: Any) -> Iterator[Any]:
    if isinstance(keys, list):
        for part in keys:
            yield from _flatten(part)
    else:
        yield keys


def _digest_of(token: str) -> str:
    return f"@{hashlib.sha256(token.encode()).hexdigest()[:32]}"


def layer_label(name: str) -> str:
    """Return the name of a layer without its token, which differs from run to run."""
    label = _LABEL.search(_TOKEN.sub("", name))
    return label.group() if label else "data"


def _is_symbolic(name: str, layer: Any) -> bool:
    from dask.blockwise import Blockwise
    from dask.layers import ArrayOverlapLayer

    if isinstance(layer, Blockwise):
        materialize = next(vars(kind)["_dict"] for kind in type(layer).__mro__ if "_dict" in vars(kind))
        return name == layer.output and materialize is vars(Blockwise)["_dict"]
    return type(layer) is ArrayOverlapLayer and name == f"overlap-{layer.token}"


def _tokenize_blockwise(graph: TaskGraph, name: Hashable) -> str:
    """Return the token of a Blockwise layer: its task with its inputs, and its indices."""
    from dask.blockwise import blockwise_token

    layer = graph.symbolic_layers[name]
    axes: dict[Hashable, int] = {}  # index symbol -> number of its first occurrence

    def axis_numbers(index: Iterable[Hashable]) -> str:
        return ",".join(str(axes.setdefault(symbol, len(axes))) for symbol in index)

    output, inputs = axis_numbers(layer.output_indices), {}
    for number, (part, index) in enumerate(layer.indices):
        slot = blockwise_token(number)
        if slot not in layer.task.dependencies:  # unused, and in a different order in each run
            continue
        if index is None:
            inputs[slot] = graph.tokenize(part)
            continue
        numblocks = tuple(layer.numblocks[part])
        input_token = (
            _tokenize_io_dep(graph, layer.io_deps[part])
            if part in layer.io_deps
            else graph.digest_of_blocks(Blocks((part, *numblocks)))
        )
        inputs[slot] = f"{input_token}{numblocks}[{axis_numbers(index)}]"
    task = graph.with_digests(inputs).tokenize(layer.task)
    dims = [layer.dims[symbol] for symbol in axes]
    return f"B{output};{dims};{layer.concatenate};{sorted(layer.output_blocks or ())};{task}"


def _tokenize_io_dep(graph: TaskGraph, dep: Any) -> str:
    """Return the token of an object that gives each block its own argument."""
    return f"{graph.tokenize(type(dep))}{graph.tokenize(vars(dep))}"


def _tokenize_overlap(graph: TaskGraph, name: Hashable) -> str:
    layer = graph.symbolic_layers[name]
    return (
        f"V{graph.digest_of_blocks(Blocks((layer.name, *layer.numblocks)))}{graph.tokenize((layer.axes, layer.chunks))}"
    )
