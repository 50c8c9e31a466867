"""Tokens of the values in a dask graph, by type: texts that are equal only if the results are equal.

This is dask's ``normalize_token`` for results instead of names: functions are tokenized by their code, keys by what
their tasks compute.
"""

from __future__ import annotations

import functools
import json
import operator
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Protocol, TypeAlias

from cvcache.keys.canonical import type_name

quote = json.encoder.encode_basestring_ascii
Tokenizer: TypeAlias = "Callable[[SupportsTokenize, Any], str]"


class LeafTokenizer(Protocol):
    """Tokenizes the values in a graph that are not tasks."""

    def tokenize_str(self, value: str) -> str:
        """Return the token of a string."""

    def tokenize(self, value: object) -> str:
        """Return the token of any other value."""

    def digest_absent_key(self, key: object) -> str:
        """Return the digest of a key that has no task, or raise."""


class SupportsTokenize(Protocol):
    """The part of `TaskGraph` that tokenizers use."""

    leaves: LeafTokenizer
    tokenizers: TokenizeDispatch
    run_fused: Callable[..., Any]

    def tokenize(self, value: Any) -> str:
        """Return the token of any value in the graph."""

    def digest_of_key(self, key: Any) -> str:
        """Return the digest of a key, or note that it has none yet."""

    def tokenize_fused(
        self, tasks: dict[Hashable, Any], output: Hashable, names: Iterable[Hashable], values: Iterable[Any]
    ) -> str:
        """Return the token of several tasks that dask has fused into one."""


class TokenizeDispatch(dict[type, Tokenizer]):
    """Type -> tokenizer; an unknown type has that of its base in dask or numpy, or that of a leaf."""

    def __missing__(self, kind: type) -> Tokenizer:
        bases = (base for base in kind.__mro__ if base.__module__.partition(".")[0] in {"dask", "numpy"})
        self[kind] = next((self[base] for base in bases if base in self), _tokenize_leaf)
        return self[kind]


def _tokenize_leaf(graph: SupportsTokenize, value: Any) -> str:
    return graph.leaves.tokenize(value)


def _sequence_tokenizer(brackets: str) -> Tokenizer:
    def tokenize(graph: SupportsTokenize, values: Any) -> str:
        tokenizers = graph.tokenizers
        return brackets.format(",".join([tokenizers[type(value)](graph, value) for value in values]))

    return tokenize


def _tokenize_set(graph: SupportsTokenize, values: Iterable[Any]) -> str:
    return f"set({','.join(sorted(map(graph.tokenize, values)))})"


def _tokenize_pairs(graph: SupportsTokenize, pairs: Iterable[tuple[Any, Any]]) -> str:
    return f"{{{','.join(sorted(f'{graph.tokenize(key)}:{graph.tokenize(value)}' for key, value in pairs))}}}"


def _tokenize_slice(graph: SupportsTokenize, value: slice) -> str:
    if type(value.start) in _PLAIN_TYPES and type(value.stop) in _PLAIN_TYPES and type(value.step) in _PLAIN_TYPES:
        return f"s({value.start},{value.stop},{value.step})"  # the same token, in a third of the time
    return f"s({graph.tokenize(value.start)},{graph.tokenize(value.stop)},{graph.tokenize(value.step)})"


def _tokenize_ndarray(graph: SupportsTokenize, value: Any) -> str:
    if value.dtype == object:  # one object for each block of a layer; a leaf of dtype object would be refused
        return f"O{value.shape}{graph.tokenize(value.ravel().tolist())}"
    return graph.leaves.tokenize(value)


def _tokenize_task(graph: SupportsTokenize, task: Any) -> str:
    if task.func is graph.run_fused:
        tasks, output, names, *values = task.args
        return graph.tokenize_fused(tasks, output, names, values)
    tokenizers = graph.tokenizers
    args = ",".join([tokenizers[type(value)](graph, value) for value in task.args])
    return f"T{graph.tokenize(task.func)}({args};{_tokenize_pairs(graph, task.kwargs.items()) if task.kwargs else ''})"


def _attribute_tokenizer(parts: Callable[[Any], Any]) -> Tokenizer:
    """Return the tokenizer of objects that are defined by their type and these attributes."""
    return lambda graph, value: f"{type_name(type(value))}{graph.tokenize(parts(value))}"


BRACKETS: dict[type, str] = {list: "[{}]", tuple: "({})", set: "set({})", frozenset: "set({})"}
KEY_TYPES: set[type] = {int, float, str, tuple}
LEGACY_TYPES: set[type] = {*KEY_TYPES, *BRACKETS}
_PLAIN_TYPES: set[type] = {int, type(None)}


@functools.cache
def default_tokenizers() -> dict[type, Tokenizer]:
    """Return the tokenizers of all types that occur in graphs of dask."""
    import dask._task_spec as spec
    import numpy as np
    import tlz
    from dask import utils
    from dask.array.ufunc import da_frompyfunc

    as_is: Tokenizer = lambda _, value: repr(value)  # noqa: E731 - used in a table
    tokenizers: dict[type, Tokenizer] = {
        **dict.fromkeys((type(None), bool, int, float), as_is),
        str: lambda graph, value: graph.leaves.tokenize_str(value),
        slice: _tokenize_slice,
        **{kind: _sequence_tokenizer(brackets) for kind, brackets in BRACKETS.items()},
        **dict.fromkeys((set, frozenset, spec.Set), _tokenize_set),
        tlz.functoolz.Compose: _attribute_tokenizer(lambda value: (value.first, value.funcs)),
        dict: lambda graph, value: _tokenize_pairs(graph, value.items()),
        **dict.fromkeys(
            (functools.partial, tlz.curry), _attribute_tokenizer(lambda value: (value.func, value.args, value.keywords))
        ),
        spec.TaskRef: lambda graph, value: graph.digest_of_key(value.key),
        spec.Alias: lambda graph, value: graph.digest_of_key(value.target),
        spec.DataNode: lambda graph, value: graph.tokenize(value.value),
        spec.Task: _tokenize_task,
        spec.List: _sequence_tokenizer("[{}]"),
        spec.Tuple: _sequence_tokenizer("({})"),
        spec.Dict: lambda graph, value: _tokenize_pairs(graph, zip(value.args[::2], value.args[1::2], strict=True)),
    }
    state = _attribute_tokenizer(lambda value: value.state)
    return tokenizers | {
        np.ndarray: _tokenize_ndarray,
        np.vectorize: _attribute_tokenizer(lambda value: (value.pyfunc, value.otypes, value.signature, value.excluded)),
        np.random.SeedSequence: _attribute_tokenizer(
            lambda seed: (seed.entropy, seed.spawn_key, seed.pool_size, seed.n_children_spawned)
        ),
        np.random.BitGenerator: state,
        np.random.Generator: _attribute_tokenizer(lambda value: value.bit_generator),
        np.random.RandomState: _attribute_tokenizer(lambda value: value.get_state(legacy=False)),
        da_frompyfunc: _attribute_tokenizer(operator.attrgetter("_func", "nin", "nout")),
        utils.Dispatch: _attribute_tokenizer(lambda value: getattr(value, "__name__", None)),
        utils.methodcaller: _attribute_tokenizer(lambda value: value.method),
        utils.itemgetter: _attribute_tokenizer(lambda value: value.index),
        **dict.fromkeys((utils.SerializableLock, type(threading.Lock())), _attribute_tokenizer(lambda _: None)),
    }
