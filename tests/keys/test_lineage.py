"""The lineage of a dask collection: what must change it does, in every process what must not does not."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import lineage_cases
import numpy as np
import pytest
from dask._task_spec import Task, TaskRef
from dask.highlevelgraph import HighLevelGraph
from lineage_cases import CASES, Image, adder, numbers, ones, power

from cvcache.errors import UnkeyableValue
from cvcache.keys.graphs import MAX_LAYERS, lineage, lineage_sources

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(lineage_cases.__file__).parent


def run(*arguments: str, folder: Path, seed: str = "0") -> Any:
    paths = os.pathsep.join([str(folder), str(TESTS)])
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def other_runs(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run all cases as a script, as one of another name with comments added, and imported by ``python -c``."""
    folder = tmp_path_factory.mktemp("lineage")
    text = Path(lineage_cases.__file__).read_text()
    other = folder / "other_name.py"
    other.write_text("# first\n\n" + text.replace("    # here go comments\n", "    # others\n\n    # and more\n"))
    line = "import json; from lineage_cases import *; print(json.dumps({n: lineage(m()) for n, m in CASES.items()}))"
    return [
        run(lineage_cases.__file__, folder=folder, seed="1"),
        run(str(other), folder=folder, seed="2"),
        run("-c", line, folder=folder, seed="3"),
    ]


@pytest.mark.parametrize("name", CASES)
def test_the_lineage_is_the_same_in_every_process(name: str, other_runs: list[dict[str, Any]]) -> None:
    here = lineage(CASES[name]())
    assert here == lineage(CASES[name]())
    assert [other[name] for other in other_runs] == [here] * 3


def test_all_cases_have_a_lineage_of_their_own() -> None:
    forms = [lineage(make()) for name, make in CASES.items() if name != "an_inlined_image"]
    assert len({form["$dask"] for form in forms}) == len(forms)


def test_a_program_on_the_command_line_has_the_same_lineage_again(tmp_path: Path) -> None:
    lines = """
    import dask.array as da, json
    from cvcache.keys.graphs.lineage import lineage
    # {}
    print(json.dumps(lineage(da.ones(4).map_blocks(lambda block: block + 1))))
    """
    first, second = (run("-c", textwrap.dedent(lines.format(text)), folder=tmp_path, seed=text) for text in ("1", "2"))
    assert first == second


DIFFERENT: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "lambda": (lambda: ones().map_blocks(lambda b: b + 1), lambda: ones().map_blocks(lambda b: b + 2)),
    "closure": (lambda: ones().map_blocks(adder(1)), lambda: ones().map_blocks(adder(2))),
    "type": (lambda: ones().map_blocks(adder(1)), lambda: ones().map_blocks(adder(1.0))),
    "partial": tuple(lambda n=n: ones().map_blocks(functools.partial(power, exponent=n)) for n in (1, 2)),
    "keyword": tuple(lambda n=n: ones().map_blocks(power, 2, offset=n) for n in (1, 2)),
    "depth": tuple(lambda n=n: ones().map_overlap(adder(1), depth=n) for n in (1, 2)),
    "boundary": tuple(lambda n=n: ones().map_overlap(adder(1), depth=1, boundary=n) for n in ("none", "reflect")),
    "chunks": (ones, lambda: ones().rechunk(2)),
    "fill": (ones, lambda: da.zeros((8, 8), chunks=4)),
    "dtype": (ones, lambda: da.ones((8, 8), chunks=4, dtype="f4")),
    "content": (numbers, lambda: da.from_array(np.arange(64.0).reshape(8, 8) + (np.arange(8) == 7), chunks=4)),
    "version": tuple(lambda v=v: da.from_array(Image(v), chunks=4, name="x") for v in "ab"),
    "inlined": tuple(lambda v=v: da.from_array(Image(v), chunks=4, name="x", inline_array=True) for v in "ab"),
    "seed": tuple(lambda n=n: da.random.default_rng(n).random(4) for n in (1, 2)),
    "no seed": (lambda: da.random.default_rng().random(4), lambda: da.random.default_rng().random(4)),
    "no state": (lambda: da.random.RandomState().random_sample(4), lambda: da.random.RandomState().random_sample(4)),
    "slice": (lambda: numbers()[1:], lambda: numbers()[:-1]),
    "order": (lambda: numbers() - ones(), lambda: ones() - numbers()),
    "transposed": (lambda: numbers() + numbers().T, lambda: numbers().T + numbers().T),
    "stack": tuple(lambda n=n: da.stack([numbers(), ones()])[n] for n in (0, 1)),
    "axis": tuple(lambda n=n: numbers().sum(axis=n) for n in (0, 1)),
    "reduction": (lambda: numbers().sum(), lambda: numbers().max()),
    "delayed": tuple(lambda n=n: dask.delayed(power, pure=True)(n, exponent=2) for n in (1, 2)),
    "nested": tuple(lambda n=n: dask.delayed([{"a": dask.delayed(n)}, 1]) for n in (1, 2)),
    "block": tuple(lambda n=n: ones().map_blocks(lambda b, block_id: b + block_id[n], n, dtype=float) for n in (0, 1)),
}  # type: ignore[assignment]


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_lineage_changes_with(name: str) -> None:
    first, second = DIFFERENT[name]
    assert lineage(first())["$dask"] != lineage(second())["$dask"]
    assert lineage(first())["layers"] != lineage(second())["layers"]


SCRIPT = """
import dask.array as da, json
from helper import smooth
from cvcache.keys.graphs.lineage import lineage

LEVEL = 3

def threshold(block):
    return block > LEVEL

print(json.dumps([lineage(da.ones(8, chunks=4).map_blocks(make)) for make in (smooth, threshold)]))
"""
HELPER = "def smooth(block):\n    return block * inner(block)\n\ndef inner(block):\n    return 1\n"


def test_an_edited_import_or_constant_changes_what_uses_it_and_nothing_else(tmp_path: Path) -> None:
    def run_with(script: str, helper: str) -> Any:
        (tmp_path / "helper.py").write_text(helper)
        (tmp_path / "script.py").write_text(script)
        return run("script.py", folder=tmp_path)

    smooth, threshold = run_with(SCRIPT, HELPER)
    assert run_with("# new\n" + SCRIPT, '"""Help."""\n' + HELPER) == [smooth, threshold]
    edited = run_with(SCRIPT, HELPER.replace("return 1", "return 2"))
    assert edited[0] != smooth
    assert edited[1] == threshold
    edited = run_with(SCRIPT.replace("= 3", "= 4"), HELPER)
    assert edited[0] == smooth
    assert edited[1] != threshold


def test_nothing_is_computed_and_no_rule_expanded() -> None:
    def fail(_block: Any) -> Any:
        raise AssertionError

    x = ones().map_overlap(fail, depth=1, dtype=float, meta=np.ones(0)) + 1
    lineage(x)
    lineage_sources(x)
    assert not any(layer.is_materialized() for layer in x.__dask_graph__().layers.values())


def test_the_lineage_is_the_same_once_rules_were_expanded_and_whatever_the_result_does_not_need() -> None:
    x = numbers().map_overlap(lambda block: block + 1, depth=1)
    before = lineage(x)
    dict(x.__dask_graph__())
    assert lineage(x) == before
    assert lineage(da.stack([numbers(), ones()])[0]) == lineage(da.stack([numbers(), da.zeros_like(ones())])[0])


def test_the_first_layer_that_differs_is_named() -> None:
    def form(seed: int) -> list[Any]:
        noise = da.random.default_rng(seed).random((8, 8), chunks=4)
        return lineage((numbers() + noise.cumsum(axis=0)).sum())["layers"]

    changed = [old[0] for old, new in zip(form(1), form(2), strict=True) if old != new]
    assert changed[0] == "random"
    assert "array" not in changed


def test_many_layers_are_folded() -> None:
    layers = lineage(CASES["many_layers"]())["layers"]
    assert len(layers) == MAX_LAYERS
    assert layers[0][0] == "30 earlier layers"


def test_an_image_is_found_among_the_sources_once_in_the_order_of_arguments() -> None:
    raw, mask, dark = Image("raw"), Image("mask"), Image("dark")
    x = da.from_array(raw, chunks=4) - da.from_array(dark, chunks=4, inline_array=True)
    y = da.where(da.from_array(mask, chunks=4), x.map_overlap(lambda b: b, depth=1), da.from_array(raw, chunks=2))
    assert lineage_sources(y[2:].sum()) == [mask, raw, dark]
    assert lineage_sources(dask.delayed(power)(1, [{"a": dark}])) == [dark]
    assert lineage_sources(da.stack([da.from_array(raw), da.from_array(dark)])[1]) == [dark]
    assert lineage_sources(numbers()) == []


def test_sources_are_found_where_there_is_no_lineage() -> None:
    raw = Image("raw")
    assert lineage_sources(da.from_array(raw, chunks=4).map_blocks(power, Opaque(), dtype=float, meta=np.ones(0))) == [
        raw
    ]
    assert lineage_sources(held_by_a_cluster()) == []


class Opaque:
    def __init__(self) -> None:
        self.handle = object()


def held_by_a_cluster() -> Any:
    graph = HighLevelGraph.from_collections("x-1", {("x-1", 0): TaskRef(("x-1", 0))})
    return da.Array(graph, "x-1", ((4,),), float) + 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ones().map_blocks(power, Opaque(), dtype=float, meta=np.ones(0)),
            r"layer 'power'.*Opaque.*as an item",
        ),
        (
            lambda: da.from_array(Opaqued("3f2a"), chunks=4, name="raw-data"),
            r"layer 'original-raw-data'.*Opaqued.*as an item",
        ),
        (held_by_a_cluster, r"layer 'x'.*persisted on a cluster.*as an item"),
    ],
)
def test_what_has_no_reproducible_form_is_refused_with_its_layer_and_a_way_out(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(UnkeyableValue, match=message):
        lineage(make())


class Opaqued(Image):
    __cvcache_key__ = None  # type: ignore[assignment]


def test_fused_tasks_count_without_the_names_inside() -> None:
    def fused(name: str) -> Any:
        parts = [Task(f"{name}-a", power, TaskRef(("in", 0)), 2), Task(f"{name}-b", power, TaskRef(f"{name}-a"), 3)]
        layer = {(name, 0): Task.fuse(*parts, key=(name, 0))}
        graph = HighLevelGraph({"in": {("in", 0): np.ones(4)}, name: layer}, {"in": set(), name: {"in"}})
        return da.Array(graph, name, ((4,),), float)

    assert lineage(fused("x"))["$dask"] == lineage(fused("y"))["$dask"]


def test_xarray_counts_by_its_array() -> None:
    xr = pytest.importorskip("xarray")

    def apply(exponent: int) -> Any:
        image = xr.DataArray(numbers(), dims=["y", "x"])
        return xr.apply_ufunc(
            power, image, kwargs={"exponent": exponent}, dask="parallelized", output_dtypes=[float], vectorize=True
        )

    assert lineage(apply(2).data) == lineage(apply(2).data)
    assert lineage(apply(2).data) != lineage(apply(3).data)
    with pytest.raises(UnkeyableValue, match=r"pass the dask array in it, such as its \.data"):
        lineage(apply(2))
