"""What users of tools like this one expect, a test a feature.

The numbers are the rows of docs/explanation/coming-from.md, which says how each feature is spelled.
"""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import logging
import os
import pickle
import signal
import sys
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


# -- again, and why ------------------------------------------------------------------------------------------------


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
