"""Dask collections whose lineage must be the same in every process; a script, so that it can run under any name.

``python tests/keys/lineage_cases.py`` prints the lineage of each as JSON, with ``--speed`` the time that large graphs
take.
"""

from __future__ import annotations

import functools
import json
import operator
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
from dask._task_spec import DataNode, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph

from cvcache.keys import Canonical
from cvcache.keys.graphs import lineage, lineage_sources

if TYPE_CHECKING:
    from collections.abc import Callable

SCALE = 3
CASES: dict[str, Callable[[], Any]] = {}


class Image:
    """An array on a disk, which stands in a key by its version."""

    shape, dtype, ndim = (8, 8), np.dtype("f4"), 2

    def __init__(self, version: str) -> None:
        self.version = version

    def __getitem__(self, index: Any) -> Any:
        return np.ones(self.shape, self.dtype)[index]

    def __cvcache_key__(self) -> Canonical:
        return Canonical({"$item": "raw.ome.zarr", "version": self.version})


def case(make: Callable[[], Any]) -> Callable[[], Any]:
    CASES[make.__name__] = make
    return make


def ones() -> Any:
    return da.ones((8, 8), chunks=4)


def numbers() -> Any:
    return da.from_array(np.arange(64.0).reshape(8, 8), chunks=4)


def scaled(block: Any) -> Any:
    return block * SCALE


def adder(amount: float) -> Callable[[Any], Any]:
    def add(block: Any) -> Any:
        return block + amount

    return add


def power(block: Any, exponent: int, *, offset: float = 0.0) -> Any:
    return block**exponent + offset


@case
def a_lambda() -> Any:
    # here go comments
    return ones().map_blocks(lambda block: block + 1)


@case
def a_function_of_this_script() -> Any:
    return ones().map_blocks(scaled)


@case
def a_closure() -> Any:
    return ones().map_blocks(adder(2.5))


@case
def a_partial() -> Any:
    return ones().map_blocks(functools.partial(power, exponent=2), offset=1.0)


@case
def overlapping_blocks() -> Any:
    return da.map_overlap(lambda block: block.cumsum(0), numbers(), depth={0: 1, 1: (0, 2)}, boundary="none")


@case
def a_gufunc() -> Any:
    return da.apply_gufunc(lambda x, y: x @ y, "(i,j),(j,k)->(i,k)", da.ones((4, 3, 3), chunks=(2, 3, 3)), np.eye(3))


@case
def a_vectorized_gufunc() -> Any:
    return da.apply_gufunc(lambda x: x.sum(), "(i)->()", ones().rechunk((4, 8)), vectorize=True, output_dtypes=float)


@case
def a_seeded_generator() -> Any:
    return da.random.default_rng(7).normal(size=(8, 8), chunks=4)


@case
def a_seeded_random_state() -> Any:
    return da.random.RandomState(7).uniform(size=(8, 8), chunks=4)


@case
def a_random_choice() -> Any:
    return da.random.default_rng(7).choice(5, size=8, chunks=4, p=[0.2] * 5)


@case
def an_array_of_numpy() -> Any:
    return numbers()


@case
def an_image() -> Any:
    return da.from_array(Image("3f2a"), chunks=4, name=f"image-{time.time_ns()}", lock=True)


@case
def an_inlined_image() -> Any:
    return da.from_array(Image("3f2a"), chunks=4, name=False, inline_array=True, lock=threading.Lock())


@case
def slices_and_chunks() -> Any:
    return numbers()[1:, ::2].rechunk(3)[[2, 0, 1]]


@case
def a_masked_array() -> Any:
    x = numbers()
    return da.where(x > 3, x, -x)[x.sum(axis=1) > 5]


@case
def reductions() -> Any:
    return da.stack([ones().mean(axis=0), numbers().std(axis=1), da.concatenate([ones(), numbers()]).max(axis=1)[:8]])


@case
def a_histogram() -> Any:
    return da.histogram(numbers(), bins=4, range=(0, 64))[0]


@case
def places_and_percentiles() -> Any:
    x = numbers()
    return da.argmax(x, axis=0) + da.percentile(x[0], [50]) + da.frompyfunc(scaled, 1, 1)(x[1])


@case
def a_matrix_product() -> Any:
    return da.einsum("ij,kj->ik", ones(), numbers()) @ ones().T


@case
def other_algorithms() -> Any:
    x = da.pad(numbers(), 1, mode="edge").cumsum(axis=0)
    return da.fft.fft(x.rechunk((-1, 5)), axis=0).reshape(-1)


@case
def each_block_knows_its_place() -> Any:
    return numbers().map_blocks(
        lambda block, block_id=None, block_info=None: block + block_id[0] + len(block_info), dtype=float
    )


@case
def pure_delayed_calls() -> Any:
    total = dask.delayed(power, pure=True)(dask.delayed(operator.add)(1, 2), exponent=[2, {"a": 3}])
    return da.from_delayed(total, (), float) + da.from_delayed(dask.delayed([total, 1])[0].real, (), float)


@case
def delayed_values_for_blocks() -> Any:
    part = dask.delayed(scaled)
    return ones().map_blocks(power, part(1), offset={"first": part(2), "second": part(3)}, dtype=float, meta=np.ones(0))


@case
def an_optimized_graph() -> Any:
    return dask.optimize((ones().map_blocks(scaled) + numbers()).sum())[0]


@case
def a_long_chain() -> Any:
    tasks = {"x-0": DataNode("x-0", 1)} | {
        f"x-{i}": Task(f"x-{i}", scaled, TaskRef(f"x-{i - 1}")) for i in range(1, 5000)
    }
    return da.Array(HighLevelGraph.from_collections("x", tasks | {("x",): TaskRef("x-4999")}), "x", (), float)


@case
def many_layers() -> Any:
    x = numbers()
    for _ in range(60):
        x = x + 1
    return x


def large() -> dict[str, Any]:
    """Return graphs of about 235,000 tasks each."""
    x = da.zeros((580, 580, 580), chunks=10)  # 58^3 = 195,112 blocks
    y = da.zeros((490, 490, 490), chunks=10)  # 49^3 = 117,649 blocks
    return {
        "blockwise": (x + 1) * 2,
        "map_overlap": y.map_overlap(scaled, depth=1, dtype=float),
        "slices": y[5:, 5:],
        "rechunk": da.zeros((610, 610), chunks=10)[5:, 5:].rechunk(6),
        "stack": da.stack([y, y]),
        "reduction": x.sum(),
    }


def speed() -> None:
    for name, collection in large().items():
        layers = collection.__dask_graph__().layers.values()
        kept = sum(len(layer) for layer in layers if layer.is_materialized())
        start = time.perf_counter()
        lineage(collection)
        middle = time.perf_counter()
        lineage_sources(collection)
        end = time.perf_counter()
        print(  # noqa: T201 - this is the command
            f"{name:12}{kept:8} tasks and {len(collection.__dask_graph__().layers)} layers: "
            f"lineage {middle - start:.2f} s, sources {end - middle:.2f} s"
        )


if __name__ == "__main__":
    if "--speed" in sys.argv:
        speed()
    else:
        print(json.dumps({name: lineage(make()) for name, make in CASES.items()}))  # noqa: T201
