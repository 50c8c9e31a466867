"""What users of tools like this one expect, a test a feature.

The numbers are the rows of docs/explanation/coming-from.md, which says how each feature is spelled.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
import logging
import os
import pickle
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from distributed import Client, LocalCluster
from projects import Project
from servers.fault_proxy import Fault, FaultProxy, scripted

import cvcache
from cvcache import CacheDir, Item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.object_stores import S3Server
    from servers.store_cases import LocalCase, MemoryCase, StoreCase


@pytest.fixture
def root(memory_case: MemoryCase) -> CacheDir:
    return cvcache.cdir(memory_case.url)


@pytest.fixture
def any_root(store_case: StoreCase) -> CacheDir:
    return cvcache.cdir(store_case.url, **store_case.options)


@cvcache.step
def add(out: CacheDir, a: float, *, b: float = 1) -> None:
    out.write("sum.json", a + b)


@cvcache.step
def double(out: CacheDir, item: Item) -> None:
    out.write("double.json", 2 * item.read())


# -- keys ----------------------------------------------------------------------------------------------------------


def test_row_12_key_from_arguments(any_root: CacheDir) -> None:
    node = any_root / "sum"
    assert add(node, 1).computed
    assert not add(node, a=1, b=1).computed
    changed = add(node, 1, b=2)
    assert (changed.computed, changed.read("sum.json")) == (True, 3)


def test_row_13_key_includes_the_upstream_chain(root: CacheDir) -> None:
    def pipeline(a: float) -> CacheDir:
        first = double(root / "first", add(root / "sum", a)["sum.json"])
        return double(root / "second", first["double.json"])

    assert pipeline(1).read("double.json") == 8
    assert not pipeline(1).computed
    assert pipeline(2).read("double.json") == 12


MEASURE = """
    import cvcache, sys

    LEVEL = 1

    @cvcache.step
    def measure(out):
        out.write("n.json", LEVEL + 1)

    node = measure(cvcache.cdir(sys.argv[1]) / "measure")
    print(node.read("n.json"), node.computed)
    """


def test_row_14_own_code_change(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", script=MEASURE)
    url = tmp_path / "run"
    assert project.run("script", url) == ["2 True"]
    project.edit("script", "def measure(out):\n", 'def measure(out):\n    """Measure."""\n    # as ever\n')
    assert project.run("script", url) == ["2 False"]
    project.edit("script", "LEVEL + 1", "LEVEL + 2")
    assert project.run("script", url) == ["3 True"]
    project.edit("script", "LEVEL = 1", "LEVEL = 5")
    assert project.run("script", url) == ["7 True"]


def test_row_15_helper_code_change(tmp_path: Path) -> None:
    helper = "def level():\n    return 1\n"
    project = Project(tmp_path / "project", helper=helper, script=MEASURE)
    project.edit("script", "LEVEL = 1", "from helper import level")
    project.edit("script", "LEVEL + 1", "level() + 1")
    url = tmp_path / "run"
    assert project.run("script", url) == ["2 True"]
    project.edit("helper", "return 1", "return 7")
    assert project.run("script", url) == ["8 True"]
    assert cvcache.cdir_why(url / "measure") == ["code: changed (helper level in helper)"]


def test_row_15_what_no_name_leads_to_is_given_as_depends(root: CacheDir) -> None:
    for model in ("unet-1", "unet-2"):
        node = cvcache.step(depends=[model])(add._function)(root / "sum", 1)
    assert node.reason == ('depends[0]: "unet-1" -> "unet-2"',)


def test_row_16_manual_version(root: CacheDir) -> None:
    def step(version: int, value: int) -> Any:
        def work(out: CacheDir) -> None:
            out.write("n.json", value)

        return cvcache.step(name="work", version=version)(work)

    assert step(1, 10)(root / "n").read("n.json") == 10
    assert step(1, 20)(root / "n").read("n.json") == 10
    assert step(2, 20)(root / "n").read("n.json") == 20


def test_row_17_ignore_some_arguments(root: CacheDir) -> None:
    @cvcache.step(ignore=["workers"])
    def work(out: CacheDir, x: int, *, workers: int = 1) -> None:
        out.write("n.json", [x, workers])

    assert work(root / "n", 1, workers=2).read("n.json") == [1, 2]
    assert work(root / "n", 1, workers=9).read("n.json") == [1, 2]
    assert work(root / "n", 2, workers=9).read("n.json") == [2, 9]


class Microscope:
    """A type with a part that does not matter: the time it was switched on."""

    def __init__(self, lens: str) -> None:
        self.lens, self.since = lens, time.monotonic_ns()


class Camera(Microscope):
    def __cvcache_key__(self) -> str:
        return self.lens


def test_row_18_custom_hash_of_a_type(root: CacheDir) -> None:
    @cvcache.step(version=1)
    def work(out: CacheDir, device: Microscope) -> None:
        out.write("lens.txt", device.lens)

    with pytest.raises(cvcache.UnkeyableValue, match=r"register_key\(.*Microscope"):
        work(root / "refused", Microscope("40x"))
    assert work(root / "method", Camera("40x")).computed
    assert not work(root / "method", Camera("40x")).computed
    assert work(root / "method", Camera("63x")).computed


def test_row_18_custom_hash_of_somebody_elses_type(root: CacheDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvcache.keys.canonical._hooks", {})
    cvcache.register_key(Microscope, lambda device: device.lens)
    work = cvcache.step(name="work", version=1)(lambda out, device: out.write("lens.txt", device.lens) and None)
    assert work(root / "n", Microscope("40x")).computed
    assert not work(root / "n", Microscope("40x")).computed
    assert work(root / "n", Microscope("63x")).read("lens.txt") == "63x"


def refuse(block: np.ndarray, level: float) -> np.ndarray:
    msg = f"a block was computed for {level}, {block.shape}"
    raise AssertionError(msg)


def test_row_19_dask_arrays_keyed_without_computing(root: CacheDir) -> None:
    import dask.array as da

    def lazy(level: float) -> da.Array:
        return da.ones((64, 64), chunks=16).map_blocks(refuse, level, dtype=float, meta=np.empty((0, 0)))

    @cvcache.step
    def shape(out: CacheDir, image: da.Array) -> None:
        out.write("shape.json", list(image.shape))

    assert shape(root / "shape", lazy(0.5)).computed
    assert not shape(root / "shape", lazy(0.5)).computed
    changed = shape(root / "shape", lazy(0.7))
    assert changed.computed
    assert changed.reason[0].startswith("args.image: layer 'refuse")


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_row_20_input_data_change(kind: str, root: CacheDir, request: pytest.FixtureRequest) -> None:
    case: StoreCase = request.getfixturevalue(f"{kind}_case")

    @cvcache.step(version=1)
    def size(out: CacheDir, source: str) -> None:
        out.write("size.json", [source, len(case.read("input.bin"))])

    for data in (b"123", b"12345"):
        case.put("input.bin", data)
        node = size(root / "size", case.child("input.bin"))
        assert (node.computed, node.read("size.json")[1]) == (True, len(data))
        assert not size(root / "size", case.child("input.bin")).computed
    assert "input.bin: " in node.reason[0]


# -- again, and why ------------------------------------------------------------------------------------------------


def test_row_22_force_recompute_of_one_step(any_root: CacheDir) -> None:
    first = add(any_root / "sum", 1)
    forced = add.force(any_root / "sum", 1)
    assert (forced.computed, forced.reason) == (True, ("forced",))
    assert forced.commit != first.commit
    assert cvcache.cdir_init(any_root / "sum", force=True).committed is False


def test_row_23_force_and_its_downstream(root: CacheDir) -> None:
    def downstream(upstream: CacheDir) -> bool:
        return double(root / "double", upstream["sum.json"]).computed

    assert downstream(add(root / "sum", 1))
    assert downstream(add.force(root / "sum", 1))
    assert not downstream(add(root / "sum", 1))


def test_row_23_force_without_its_downstream(root: CacheDir) -> None:
    first = double(root / "double", add(root / "sum", 1)["sum.json"])
    alone = add.force_alone(root / "sum", 1)
    again = double(root / "double", alone["sum.json"])
    assert (first.computed, alone.computed, again.computed) == (True, True, False)


def test_row_24_old_versions_kept_side_by_side(root: CacheDir) -> None:
    sweep = cvcache.step(name="sum", on_stale="new")(add._function)
    first, *others = (sweep(root / "sum", 1, b=b) for b in (1, 2, 3))
    assert [node.name for node in others] == ["sum,b=2", "sum,b=3"]
    assert not any(sweep(root / "sum", 1, b=b).computed for b in (1, 2, 3))
    assert [node.read("sum.json") for node in (first, *others)] == [2, 3, 4]


def test_row_25_ask_whether_it_is_cached_without_computing(root: CacheDir) -> None:
    node = root / "sum"
    assert not cvcache.cdir_query(node).committed
    assert add.why(node, 1) == ["first run"]
    add(node, 1)
    assert cvcache.cdir_query(node).committed
    assert add.why(node, 1) == []
    with cvcache.plan() as planned:
        add(node, 1)
        add(node, 2)
    assert [row.action for row in planned.rows] == ["read", "compute"]
    assert cvcache.cdir_query(node).read("sum.json") == 2


def test_row_26_explain_why(root: CacheDir, caplog: pytest.LogCaptureFixture) -> None:
    node = root / "sum"
    add(node, 1, b=4.0)
    assert add.why(node, 1, b=6.0) == ["args.b: 4.0 -> 6.0"]
    with caplog.at_level(logging.INFO, "cvcache"):
        add(node, 1, b=6.0)
    assert f"{node.url}: computing (args.b: 4.0 -> 6.0)" in caplog.messages
    assert cvcache.cdir_why(node) == ["args.b: 4.0 -> 6.0"]


# -- what is kept --------------------------------------------------------------------------------------------------


@pytest.fixture
def _own_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    from cvcache.formats import registry

    monkeypatch.setattr(registry, "_formats", dict(registry._formats))


@pytest.mark.usefixtures("_own_formats")
def test_row_34_pluggable_formats(any_root: CacheDir) -> None:
    def write(place: Any, obj: complex) -> dict[str, Any]:
        place.put(f"{obj.real!r} {obj.imag!r}".encode())
        return {"kind": "text"}

    def read(place: Any) -> complex:
        return complex(*map(float, place.get().split()))

    cvcache.register_format("cplx", SimpleNamespace(write=write, read=read, describe=lambda _: {"kind": "text"}))
    with cvcache.cdir_init(any_root / "n") as d:
        d.write("z.cplx", 1 + 2j)
        assert d.read("z.cplx") == 1 + 2j
    assert cvcache.cdir_query(any_root / "n").read("z.cplx") == 1 + 2j


@pytest.mark.parametrize("name", ["cells.csv", "cells.parquet"])
def test_row_35_tables(any_root: CacheDir, name: str) -> None:
    import pandas as pd

    index = pd.Index([3, 5], name="label")
    table = pd.DataFrame({"area": [1.5, np.nan], "n": [1, 2], "stain": ["NeuN", "c-Fos"]}, index=index)
    with cvcache.cdir_init(any_root / "n") as d:
        d.write(name, table)
        first = d.read(name)
    for back in (first, cvcache.cdir_query(any_root / "n").read(name)):
        pd.testing.assert_frame_equal(back, table)
    assert d[name].meta["kind"] == "table"


def test_row_36_json_comes_back_exactly_or_is_refused(root: CacheDir) -> None:
    value = {"a": [1, 1.0, True, None, "ä"], "b": {"c": [0.1, 10**30]}}
    with cvcache.cdir_init(root / "n") as d:
        d.write("value.json", value)
    back = cvcache.cdir_query(root / "n").read("value.json")
    assert (back, repr(back)) == (value, repr(value))
    for lossy in ((1, 2), {1: "a"}, np.float64(1), np.arange(3), {1, 2}, object()):
        with pytest.raises(cvcache.NotReproducible), cvcache.cdir_init(root / "lossy") as d:
            d.write("value.json", {"deep": [lossy]})
    assert cvcache.cdir_query(root / "lossy").items() == []


@pytest.mark.usefixtures("_own_formats")
def test_row_36_pickle_is_there_for_who_registers_it(root: CacheDir) -> None:
    value = {"when": dt.date(2026, 1, 2), "what": (1, {2: 3})}
    with pytest.raises(cvcache.UnknownFormat), cvcache.cdir_init(root / "n") as d:
        d.write("value.pkl", value)
    pickles = SimpleNamespace(
        write=lambda place, obj: place.put(pickle.dumps(obj)) or {"kind": "file"},
        read=lambda place: pickle.loads(place.get()),  # noqa: S301 - our own bytes
        describe=lambda _: {"kind": "file"},
    )
    cvcache.register_format("pkl", pickles)
    with cvcache.cdir_init(root / "n") as d:
        d.write("value.pkl", value)
    assert cvcache.cdir_query(root / "n").read("value.pkl") == value


def test_row_37_figures_logs_and_text_in_the_node(root: CacheDir) -> None:
    from matplotlib.figure import Figure

    @cvcache.step
    def report(out: CacheDir) -> None:
        figure = Figure(figsize=(2, 1))
        figure.add_subplot().plot([1, 2, 3])
        out.write("plot.png", figure)
        out.write("plot.svg", figure)
        out.write("notes.txt", "three points")
        out.write("notes.md", "# Three points\n")
        print("plotted")  # noqa: T201 - what a step prints is in its log

    node = report(root / "report")
    assert node["plot.png"].meta["kind"] == node["plot.svg"].meta["kind"] == "plot"
    assert node.read("plot.png").ndim == 3
    assert "<svg" in node.read("plot.svg")
    assert [node.read(name) for name in ("notes.txt", "notes.md")] == ["three points", "# Three points\n"]
    assert "plotted" in node.read("run.log")


def test_row_38_an_artefact_of_several_files(any_root: CacheDir, tmp_path: Path) -> None:
    chips = {"0/a.txt": b"A", "0/b.txt": b"B", "model.bin": bytes(1000)}
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "x.bin").write_bytes(b"x")
    with cvcache.cdir_init(any_root / "n") as d:
        d.write("chips.dir", chips)
        d.write("made.dir", made)
    node = cvcache.cdir_query(any_root / "n")
    assert dict(node.read("chips.dir")) == chips
    assert dict(node.read("made.dir")) == {"deep/x.bin": b"x"}
    assert [item.name for item in node.items()] == ["chips.dir", "made.dir"]


def test_row_38_a_place_for_a_tool_that_writes_by_itself(local_case: LocalCase) -> None:
    with cvcache.cdir_init(local_case.child("n")) as d:
        folder = Path(d.path("tool.dir"))
        folder.mkdir()
        (folder / "weights.bin").write_bytes(b"12")
        Path(d.path("model_final.pt")).write_bytes(b"345")
        with d.open("own.bin", "wb") as file:
            file.write(b"6")
    node = cvcache.cdir_query(local_case.child("n"))
    assert [item.name for item in node.items()] == ["model_final.pt", "own.bin", "tool.dir"]
    assert dict(node.read("tool.dir")) == {"weights.bin": b"12"}
    with node.open("model_final.pt") as file:
        assert file.read() == b"345"


def test_row_39_several_outputs_all_or_nothing(any_root: CacheDir) -> None:
    @cvcache.step(version=1)
    def label(out: CacheDir, *, fail: bool = False) -> None:
        out.write("labels.npy", np.arange(4))
        if fail:
            msg = "no nuclei"
            raise ValueError(msg)
        out.write("count.json", 3)

    with pytest.raises(ValueError, match="no nuclei"):
        label(any_root / "n", fail=True)
    assert not cvcache.cdir_query(any_root / "n").committed
    for _ in range(2):
        node = label(any_root / "n")
        assert (node.read("count.json"), node.read("labels.npy").tolist()) == (3, [0, 1, 2, 3])


def test_row_40_lazy_handle_instead_of_the_object(root: CacheDir) -> None:
    seen: list[object] = []

    @cvcache.step(version=1)
    def look(out: CacheDir, image: Item) -> None:
        seen.append(image)
        out.write("where.json", [image.name, image.meta["shape"]])

    with cvcache.cdir_init(root / "raw") as d:
        item = d.write("raw.npy", np.zeros((3, 4)))
    node = look(root / "look", item)
    assert node.read("where.json") == ["raw.npy", [3, 4]]
    assert isinstance(seen[0], Item)
    assert seen[0].url.endswith("raw/raw.npy")


def test_row_40_an_image_is_read_lazily(root: CacheDir) -> None:
    import dask.array as da

    with cvcache.cdir_init(root / "raw") as d:
        d.write("raw.ome.zarr", da.arange(4096, dtype="u2", chunks=512).reshape(64, 64), chunks=(16, 16))
    image = cvcache.cdir_query(root / "raw").read("raw.ome.zarr")
    assert isinstance(image, da.Array)
    assert image[20, 20].compute() == 20 * 64 + 20


def test_row_41_metadata_of_a_node(any_root: CacheDir) -> None:
    node = add(any_root / "sum", 1, b=2.5)
    commit = cvcache.cdir_query(node).commit
    assert commit is not None
    assert commit.time.tzinfo is not None
    assert abs(dt.datetime.now(dt.UTC) - commit.time) < dt.timedelta(minutes=10)
    assert commit.duration >= 0
    assert (commit.key["step"], commit.key["args"]) == ("add", {"a": 1, "b": 2.5})
    assert cvcache.cdir_query(node).environment()["packages"]["cvcache"] == cvcache.__version__


def test_row_42_metadata_of_ones_own(root: CacheDir) -> None:
    with cvcache.cdir_init(root / "n") as d:
        d.write("n.json", 1, meta={"stain": "NeuN"})
        d.meta["nuclei"] = 241
    node = cvcache.cdir_query(root / "n")
    assert (node["n.json"].meta["user"], node.meta) == ({"stain": "NeuN"}, {"nuclei": 241})


def test_row_43_environment_and_host(root: CacheDir) -> None:
    node = add(root / "sum", 1)
    made = node.environment()
    assert made["python"].split(".") == [str(part) for part in sys.version_info[:3]]
    assert made["packages"]["numpy"] == np.__version__
    assert node.commit is not None
    assert node.commit.host
    private = cvcache.cdir(root.url, policy=cvcache.Policy(record_host=False))
    assert cvcache.cdir_commit(cvcache.cdir_init(private / "private")).host == ""


def test_row_44_export_of_a_run(root: CacheDir, tmp_path: Path) -> None:
    with cvcache.cdir_init(root / "n", {"a": 1}) as d:
        d.write("n.json", 1)
        d.write("scratch.npy", np.zeros(100), track=False)
    cvcache.cdir_copy(root, tmp_path / "export")
    copy = cvcache.cdir_query(tmp_path / "export" / "n")
    assert copy.committed
    assert [item.name for item in copy.items()] == ["n.json"]


# -- races and failures --------------------------------------------------------------------------------------------

SLOW = """
    import cvcache, os, pathlib, sys, time

    @cvcache.step(version=1)
    def work(out):
        with open("runs.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")
        out.write("pid.json", os.getpid())
        time.sleep(0.3)

    node = work(cvcache.cdir("run") / "work")
    print(node.read("pid.json"))
    """


def test_row_46_one_process_computes_and_the_others_wait_and_read(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", script=SLOW)
    processes = [project.start("script") for _ in range(4)]
    said = [project.output(process) for process in processes]
    assert said == [(tmp_path / "project/runs.txt").read_text().splitlines()] * 4


KILLED = """
    import cvcache, os, signal, sys

    @cvcache.step(version=1)
    def work(out, *, die=0):
        def at(point):
            if os.environ.get("DIE") == point:
                os.kill(os.getpid(), signal.SIGKILL)
        at("early")
        out.write("a.json", [os.getpid()] * 1000)
        at("half")
        out.write("b.json", [os.getpid()] * 1000)
        at("late")

    node = work(cvcache.cdir("run") / "work")
    print(len({*node.read("a.json"), *node.read("b.json")}), node.reason[0].partition(":")[0])
    """


@pytest.fixture
def killed(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", script=KILLED)


def test_row_47_the_node_of_a_killed_process_is_taken_over_at_once(
    killed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIE", "half")
    assert killed.die("script") == -signal.SIGKILL
    assert cvcache.cdir_query(killed.folder / "run/work").state in {"running", "failed"}
    monkeypatch.delenv("DIE")
    (line,) = killed.run("script")
    assert line.startswith("1 ")


@pytest.mark.parametrize("point", ["early", "half", "late"])
def test_row_48_a_torn_write_is_never_read_as_valid(
    killed: Project, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIE", point)
    assert killed.die("script") == -signal.SIGKILL
    torn = cvcache.cdir_query(killed.folder / "run/work")
    assert (torn.committed, torn.commit) == (False, None)
    monkeypatch.delenv("DIE")
    assert killed.run("script")[0].startswith("1 ")
    assert cvcache.cdir_verify(killed.folder / "run") == []


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"7" + data[1:], None])
def test_row_49_corruption_is_detected_and_computed_again(store_case: StoreCase, damage: Any) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    add(root / "sum", 10)
    if damage is None:
        store_case.delete("sum/sum.json")
    else:
        store_case.put("sum/sum.json", damage(store_case.read("sum/sum.json")))
    with pytest.raises(cvcache.ItemDamaged, match="force=True"):
        cvcache.cdir_query(root / "sum").read("sum.json")
    assert [found.item for found in cvcache.cdir_verify(root)] == ["sum.json"]
    assert add.force(root / "sum", 10).read("sum.json") == 11
    assert cvcache.cdir_verify(root) == []


def test_row_52_a_failure_leaves_traceback_and_log(any_root: CacheDir) -> None:
    @cvcache.step(version=1)
    def fails(out: CacheDir) -> None:
        print("so far so good")  # noqa: T201 - what a step prints is in its log
        out.write("half.json", [1 / 0])

    with pytest.raises(ZeroDivisionError):
        fails(any_root / "n")
    node = cvcache.cdir_query(any_root / "n")
    assert node.state == "failed"
    assert node.error is not None
    assert node.error["type"] == "ZeroDivisionError"
    assert "1 / 0" in node.error["traceback"]
    log = node.read("run.log")
    assert log.index("so far so good") < log.index("ZeroDivisionError")
    assert fails.why(any_root / "n")[0].startswith("the last attempt failed: ZeroDivisionError")


@pytest.mark.server
def test_row_53_a_flaky_bucket_is_asked_again(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    faults = scripted(Fault.UNAVAILABLE, None, Fault.RESET, None, Fault.LOST, None, Fault.TRUNCATED, only=bucket)
    with FaultProxy(s3_server.port, faults) as proxy:
        root = cvcache.cdir(f"s3://{bucket}/run", **s3_server.options_for(proxy.endpoint))
        assert add(root / "sum", 1).read("sum.json") == 2
        assert not add(root / "sum", 1).computed


# -- ways to run ---------------------------------------------------------------------------------------------------


def test_row_54_async_steps_and_their_sync_twins(any_root: CacheDir) -> None:
    @cvcache.step(version=1)
    async def fetch(out: CacheDir, n: int) -> None:
        await asyncio.sleep(0)
        out.write("n.json", n)

    async def main() -> list[CacheDir]:
        async with cvcache.cdir_init(any_root / "by-hand") as d:
            d.write("n.json", 0)
        return [d, *await asyncio.gather(*(fetch(any_root / f"n{n}", n) for n in (1, 2, 1)))]

    assert [node.read("n.json") for node in asyncio.run(main())] == [0, 1, 2, 1]
    assert asyncio.run(fetch(any_root / "n1", 1)).computed is False
    assert cvcache.cdir_query(any_root / "n1").read("n.json") == 1


def in_worker(node: CacheDir, n: object) -> int:
    print(f"plane {n}")  # noqa: T201 - what a worker prints is in the log of the step
    with cvcache.cdir_init(node / f"plane{n}") as d:
        if not d.committed:
            d.write("n.json", n)
    return os.getpid()


def fill_in_worker(node: CacheDir, value: int) -> object:
    with cvcache.cdir_init(node / "child") as d:
        if not d.committed:
            d.write("n.json", value)
    return d.read("n.json")


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    options = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": ":0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


# of distributed and its event loop when a cluster closes
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
def test_row_55_dask_workers_fill_children_and_are_heard(client: Client, local_case: LocalCase) -> None:
    with cvcache.cdir_init(local_case.child("top"), {"k": 1}) as d, d.log():
        pids = client.gather(client.map(in_worker, [d, d], [0, 1]))
    assert os.getpid() not in pids
    node = cvcache.cdir_query(local_case.child("top"))
    assert [child.read("n.json") for child in node.children()] == [0, 1]
    assert [text in node.read("run.log") for text in ("plane 0", "plane 1")] == [True, True]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
def test_row_55_a_worker_that_raises_ends_the_step_and_holds_nobody(client: Client, local_case: LocalCase) -> None:
    @cvcache.step(version=1)
    def work(out: CacheDir, *, planes: list[object]) -> None:
        client.gather(client.map(in_worker, [out] * len(planes), planes))

    with pytest.raises(cvcache.NotReproducible):
        work(cvcache.cdir(local_case.child("top")), planes=[0, (1, 2)])
    assert cvcache.cdir_query(local_case.child("top")).state == "failed"
    assert work(cvcache.cdir(local_case.child("top")), planes=[0, 1]).committed


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning")
def test_row_55_a_child_that_a_worker_fills_has_its_parents_key(client: Client, local_case: LocalCase) -> None:
    values = []
    for value in (1, 2):
        with cvcache.cdir_init(local_case.child("top"), {"value": value}) as d:
            values.append(client.submit(fill_in_worker, d, value, pure=False).result())
    assert values == [1, 2]


def test_row_73_stdout_stderr_and_logging_are_kept_in_the_node(
    any_root: CacheDir, capsys: pytest.CaptureFixture[str]
) -> None:
    @cvcache.step(version=1)
    def talks(out: CacheDir) -> None:  # noqa: ARG001 - writes nothing
        print("on stdout")  # noqa: T201 - the subject
        print("on stderr", file=sys.stderr)  # noqa: T201 - the subject
        logging.getLogger("talks").warning("in logging")

    talks(any_root / "n")
    log = cvcache.cdir_query(any_root / "n").read("run.log")
    assert [text in log for text in ("on stdout", "on stderr", "in logging")] == [True] * 3
    shown = capsys.readouterr()
    assert ("on stdout" in shown.out, "on stderr" in shown.err) == (True, True)


def test_row_74_hits_and_misses_are_logged(root: CacheDir, caplog: pytest.LogCaptureFixture) -> None:
    node = root / "sum"
    with caplog.at_level(logging.INFO, "cvcache"):
        add(node, 1)
        add(node, 1)
    miss, hit = (message for message in caplog.messages if node.url in message)
    assert miss == f"{node.url}: computing (first run)"
    assert hit.startswith(f"{node.url}: read")


def test_row_74_progress_is_told(root: CacheDir) -> None:
    told: list[tuple[int, int]] = []
    with cvcache.cdir_init(root / "n") as d:
        d.write("x.ome.zarr", np.zeros((64, 64), "u1"), chunks=(32, 32), progress=lambda *at: told.append(at))
    done, total = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert told[-1] == (total[0], total[0])


def test_row_75_none_is_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs: list[int] = []

    @cvcache.step(version=1)
    def work(out: CacheDir, n: int) -> None:
        runs.append(n)
        out.write("n.json", n)

    def pipeline(where: object) -> object:
        root = cvcache.cdir(where)
        with cvcache.cdir_init(root / "by-hand") as d:
            if not d.committed:
                d.write("n.json", work(root / "n", 1).read("n.json") + 1)
        return d.read("n.json")

    assert [pipeline(None), pipeline(None), runs] == [2, 2, [1, 1]]
    assert list(tmp_path.iterdir()) == []
    assert [pipeline("run"), pipeline("run"), runs] == [2, 2, [1, 1, 1]]


@dataclasses.dataclass
class Segmenter:
    level: float

    @cvcache.step
    def count(self, out: CacheDir, values: list[float]) -> None:
        out.write("n.json", sum(value > self.level for value in values))


def test_row_76_decorator(root: CacheDir) -> None:
    assert add(root / "sum", 1).read("sum.json") == 2
    assert Segmenter(0.5).count(root / "n", [0.4, 0.6]).read("n.json") == 1
    assert not Segmenter(0.5).count(root / "n", [0.4, 0.6]).computed
    assert Segmenter(0.3).count(root / "n", [0.4, 0.6]).read("n.json") == 2


def test_row_77_context_manager(any_root: CacheDir) -> None:
    runs: collections.Counter[int] = collections.Counter()
    for level in (1, 1, 2):
        with cvcache.cdir_init(any_root / "n", {"level": level}) as d:
            if not d.committed:
                runs[level] += 1
                d.write("n.json", level)
        assert (d.committed, d.read("n.json")) == (True, level)
    assert runs == {1: 1, 2: 1}


def test_row_77_init_and_commit_by_hand(any_root: CacheDir) -> None:
    d = cvcache.cdir_init(any_root / "n")
    d.write("n.json", 1)
    assert not cvcache.cdir_query(any_root / "n").committed
    assert cvcache.cdir_commit(d)
    assert cvcache.cdir_init(any_root / "n").read("n.json") == 1
