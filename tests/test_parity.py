"""What users of tools like this one expect, a test a feature.

The numbers are the rows of docs/explanation/coming-from.md, which says how each feature is spelled.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
