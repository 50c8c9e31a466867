"""How each type that occurs in a dask graph is written, so that equal texts mean equal results."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Protocol, TypeAlias

from cvcache.keys.canonical import type_name

quote = json.encoder.encode_basestring_ascii
Text: TypeAlias = "Callable[[Graph, Any], str]"


class Leaves(Protocol):
    """What is asked for the values in a graph that are no tasks."""

    def word(self, value: str) -> str:
        """Return the text of a string."""

    def text(self, value: object) -> str:
        """Return the text of a value that is no part of a graph."""

    def absent(self, key: object) -> str:
        """Return the identity of a key that has no task, if there can be one."""


class Graph(Protocol):
    """What the text of a value asks of the graph it is in."""

    leaves: Leaves
    texts: Texts
    run_fused: Callable[..., Any]

    def text(self, value: Any) -> str:
        """Return the text of any value in the graph."""

    def ref(self, key: Any) -> str:
        """Return the identity of a key, or note that it has none yet."""

    def fused(self, tasks: dict[Hashable, Any], out: Hashable, names: Iterable[Hashable], values: Iterable[Any]) -> str:
        """Return the text of several tasks that dask made one."""


class Texts(dict[type, Text]):
    """How each type is written; a type unknown here is written like its base in dask or numpy.random, else a leaf."""

    def __missing__(self, kind: type) -> Text:
        bases = (base for base in kind.__mro__ if base.__module__.partition(".")[0] in {"dask", "numpy"})
        self[kind] = next((self[base] for base in bases if base in self), _leaf)
        return self[kind]


def _leaf(graph: Graph, value: Any) -> str:
    return graph.leaves.text(value)


def _sequence(brackets: str) -> Text:
    def text(graph: Graph, values: Any) -> str:
        texts = graph.texts
        return brackets.format(",".join([texts[type(value)](graph, value) for value in values]))

    return text


def _set(graph: Graph, values: Iterable[Any]) -> str:
    return f"set({','.join(sorted(map(graph.text, values)))})"


def _pairs(graph: Graph, pairs: Iterable[tuple[Any, Any]]) -> str:
    return f"{{{','.join(sorted(f'{graph.text(key)}:{graph.text(value)}' for key, value in pairs))}}}"


def _slice(graph: Graph, value: slice) -> str:
    if type(value.start) in _PLAIN and type(value.stop) in _PLAIN and type(value.step) in _PLAIN:
        return f"s({value.start},{value.stop},{value.step})"  # the same text, at a third of the time
    return f"s({graph.text(value.start)},{graph.text(value.stop)},{graph.text(value.step)})"


def _ndarray(graph: Graph, value: Any) -> str:
    if value.dtype == object:  # what a layer has for each block; as a leaf an array of addresses is refused
        return f"O{value.shape}{graph.text(value.ravel().tolist())}"
    return graph.leaves.text(value)


def _task(graph: Graph, task: Any) -> str:
    if task.func is graph.run_fused:
        tasks, out, names, *values = task.args
        return graph.fused(tasks, out, names, values)
    texts = graph.texts
    args = ",".join([texts[type(value)](graph, value) for value in task.args])
    return f"T{graph.text(task.func)}({args};{_pairs(graph, task.kwargs.items()) if task.kwargs else ''})"


def _parts(parts: Callable[[Any], Any]) -> Text:
    """Return how an object is written that is known by its type and these of its attributes."""
    return lambda graph, value: f"{type_name(type(value))}{graph.text(parts(value))}"


BRACKETS: dict[type, str] = {list: "[{}]", tuple: "({})", set: "set({})", frozenset: "set({})"}
KEYS: set[type] = {int, float, str, tuple}
LEGACY: set[type] = {*KEYS, *BRACKETS}
_PLAIN: set[type] = {int, type(None)}


@functools.cache
def known_texts() -> dict[type, Text]:
    """Return how the types are written that this module knows."""
    import dask._task_spec as spec
    import numpy as np
    import tlz  # type: ignore[import-untyped]  # ships no annotations
    from dask import utils
    from dask.array.ufunc import da_frompyfunc

    as_is: Text = lambda _, value: repr(value)  # noqa: E731 - one of a table
    tables: dict[type, Text] = {
        **dict.fromkeys((type(None), bool, int, float), as_is),
        str: lambda graph, value: graph.leaves.word(value),
        slice: _slice,
        **{kind: _sequence(brackets) for kind, brackets in BRACKETS.items()},
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
