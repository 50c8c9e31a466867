"""What the workers of a dask cluster say is in the log of the step they work for."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, wait

from cvcache import cdir_init
from cvcache.keys import canonical_key, digest
from cvcache.logs import MAX_CHARACTERS_PER_SECOND, MAX_MESSAGE_LENGTH, WorkerLogSender, split_into_messages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.store_cases import LocalCase

pytestmark = pytest.mark.filterwarnings(
    # of distributed and its event loop when a cluster closes
    "ignore:unclosed:ResourceWarning",
    "ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning",
)


@contextlib.contextmanager
def cluster(**options: Any) -> Iterator[Client]:
    given = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", **options}
    with LocalCluster(**given) as workers, Client(workers) as client:
        yield client


@pytest.fixture(scope="module", params=["processes", "threads"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with cluster(processes=request.param == "processes") as client:
        yield client


def say(text: str) -> None:
    print(text)  # noqa: T201 - what is printed is the subject


def talk(block: np.ndarray, tag: str) -> np.ndarray:
    """Say something in every way that there is."""
    say(f"print {tag}")
    print(f"stderr {tag}", file=sys.stderr)  # noqa: T201 - the same
    logging.getLogger("work").info("info %s", tag)
    logging.getLogger("work").debug("debug %s", tag)
    thread = threading.Thread(target=say, args=[f"thread {tag}"])
    thread.start()
    thread.join()
    return block


def talking(tag: str, blocks: int = 2) -> da.Array:
    return da.ones(blocks * 10, chunks=10).map_blocks(talk, tag, dtype=float, meta=np.zeros(0))


def said(log: object) -> list[str]:
    """Give what workers said, without who did."""
    assert isinstance(log, str)
    return [line.partition("] ")[2] for line in log.splitlines() if line.startswith("[")]


def test_what_workers_say_for_a_step_is_in_its_log(client: Client, local_case: LocalCase) -> None:
    with cdir_init(local_case.child("a")) as node, node.log():
        talking("A").sum().compute()
    lines = said(node.read("run.log"))
    assert lines.count("print A") == lines.count("stderr A") == lines.count("thread A") == 2
    assert sum(line.endswith("INFO work: info A") for line in lines) == 2
    assert not any("debug" in line for line in lines)
    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    assert {line.partition("]")[0][1:] for line in node.read("run.log").splitlines() if line[0] == "["} <= set(workers)


def test_an_image_that_a_cluster_writes_is_written_with_its_words(client: Client, local_case: LocalCase) -> None:  # noqa: ARG001 - it computes
    with cdir_init(local_case.child("a")) as node, node.log():
        node.write("x.ome.zarr", da.ones((40, 40), chunks=20).map_blocks(talk, "B", dtype=float, meta=np.zeros((0, 0))))
    assert said(node.read("run.log")).count("print B") == 4


@pytest.mark.parametrize("how", ["submit", "map", "persist", "delayed", "optimised"])
def test_every_way_to_submit_work_is_heard(client: Client, local_case: LocalCase, how: str) -> None:
    with cdir_init(local_case.child("a")) as node, node.log():
        if how == "submit":
            client.submit(talk, 1, how, pure=False).result()
        elif how == "map":
            client.gather(client.map(talk, [1], tag=how, pure=False))
        elif how == "persist":
            wait(talking(how, 1).persist())
        elif how == "delayed":
            dask.delayed(talk)(1, how).compute()
        else:
            (talking(how, 1) + 1).sum().compute(optimize_graph=True)
    assert said(node.read("run.log")).count(f"print {how}") == 1


def test_an_array_made_before_the_step_counts_by_where_it_is_computed(client: Client, local_case: LocalCase) -> None:  # noqa: ARG001 - it computes
    array = talking("C")
    with cdir_init(local_case.child("a")) as node, node.log():
        (array + 1).sum().compute()
    assert said(node.read("run.log")).count("print C") == 2


def test_an_array_made_in_a_step_has_the_key_of_one_made_outside(client: Client, local_case: LocalCase) -> None:  # noqa: ARG001 - it is the current one
    outside = digest(canonical_key(talking("K")))
    with cdir_init(local_case.child("a")) as node, node.log():
        inside = digest(canonical_key(talking("K")))
    assert inside == outside


def test_two_steps_on_one_cluster_do_not_mix(client: Client, local_case: LocalCase) -> None:  # noqa: ARG001 - it computes
    together = threading.Barrier(2)

    def step(name: str) -> object:
        with cdir_init(local_case.child(name)) as node, node.log():
            together.wait(60)
            talking(name, blocks=20).sum().compute()
        return node.read("run.log")

    with ThreadPoolExecutor(2) as pool:
        logs = list(pool.map(step, ["one", "two"]))
    for name, other, log in ("one", "two", logs[0]), ("two", "one", logs[1]):
        assert said(log).count(f"print {name}") == 20
        assert sum(line.endswith(f"INFO work: info {name}") for line in said(log)) == 20
        assert f"print {other}" not in str(log)
        assert f"info {other}" not in str(log)


def test_a_record_that_cannot_be_sent_as_it_is_costs_no_task(client: Client, local_case: LocalCase) -> None:
    def log() -> int:
        logging.getLogger("work").warning("shape %s", (2, 3), extra={"array": np.zeros(2)})
        return 7

    with cdir_init(local_case.child("a")) as node, node.log():
        assert client.submit(log, pure=False).result() == 7
    assert [line.partition(" WARNING ")[2] for line in said(node.read("run.log"))] == ["work: shape (2, 3)"]


def test_work_outside_a_step_is_nobodys(client: Client, local_case: LocalCase) -> None:
    with cdir_init(local_case.child("a")) as node, node.log():
        inside = threading.Thread(target=lambda: None)
        inside.start()
        inside.join()
    talking("D").sum().compute()
    with cdir_init(local_case.child("b")) as other, other.log():
        client.submit(talk, 1, "E", pure=False).result()
    assert not said(node.read("run.log"))
    assert "print D" not in other.read("run.log")


def test_the_last_words_of_a_task_that_fails_are_there(client: Client, local_case: LocalCase) -> None:
    def fail() -> None:
        print("last words", end="")  # noqa: T201 - what is printed is the subject
        raise ZeroDivisionError

    node = cdir_init(local_case.child("a"))
    with pytest.raises(ZeroDivisionError), node, node.log():
        client.submit(fail, pure=False).result()
    log = node.refresh().read("run.log")
    assert said(log) == ["last words"]
    assert log.splitlines()[-1].startswith("ZeroDivisionError")


def test_a_step_in_a_task_has_a_log_of_its_own(client: Client, local_case: LocalCase) -> None:
    def inner(url: str) -> None:
        say("around")
        with cdir_init(url) as node, node.log():
            say("within")

    with cdir_init(local_case.child("outer")) as node, node.log():
        client.submit(inner, local_case.child("outer", "inner"), pure=False).result()
    assert "within" not in said(node.read("run.log"))
    assert "around" in said(node.read("run.log"))
    assert (node / "inner").read("run.log").splitlines()[1:] == ["within"]


def test_a_task_that_says_too_much_is_cut_short_and_says_so(client: Client, local_case: LocalCase) -> None:
    def shout() -> None:
        for _ in range(6 * MAX_CHARACTERS_PER_SECOND // 1000):
            print("x" * 999)  # noqa: T201 - what is printed is the subject

    with cdir_init(local_case.child("a")) as node, node.log():
        client.submit(shout, pure=False).result()
    lines = said(node.read("run.log"))
    assert sum(map(len, lines)) < 6 * MAX_CHARACTERS_PER_SECOND
    assert lines[0] == "x" * 999
    # a task that says it over more than one second has said some of it since
    assert any(line.endswith("characters are left out: too many a second]") for line in lines)


# -- clusters that change ------------------------------------------------------------------------------------------


def test_workers_that_start_again_or_join_are_heard_too(local_case: LocalCase) -> None:
    with cluster(n_workers=1) as client, cdir_init(local_case.child("a")) as node, node.log():
        client.submit(talk, 1, "before", pure=False).result()
        client.submit(warnings.warn, "mind the gap", pure=False).result()
        client.restart()
        client.submit(talk, 1, "after", pure=False).result()
        client.cluster.scale(2)
        client.wait_for_workers(2)
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        for worker in workers:
            client.submit(talk, 1, worker, workers=[worker], pure=False).result()
    lines = said(node.read("run.log"))
    assert any("UserWarning: mind the gap" in line for line in lines)
    assert [tag for tag in ("before", "after", *workers) if f"print {tag}" not in lines] == []


_NO_CVCACHE = "import sys; sys.modules['cvcache'] = None"


def test_workers_without_cvcache_work_as_ever(local_case: LocalCase) -> None:
    def talk_alone() -> int:
        print("unheard")  # noqa: T201 - what is printed is the subject
        return 3

    alone = _by_value(talk_alone)
    with (
        dask.config.set({"distributed.worker.preload": [_NO_CVCACHE]}),
        cluster(n_workers=1) as client,
        cdir_init(local_case.child("a")) as node,
        node.log(),
    ):
        assert client.submit(alone, pure=False).result() == 3
        client.restart()
        assert client.submit(alone, pure=False).result() == 3
        with pytest.raises(ImportError):
            client.submit(_by_value(_import_it), pure=False).result()
    assert said(node.read("run.log")) == []


def _import_it() -> None:
    import cvcache  # noqa: F401 - whether it can be


def _by_value(function: Any) -> Any:
    """Give a function that does not bring this module along, and cvcache with it."""
    return types.FunctionType(function.__code__, {"__name__": "__main__", "__builtins__": __builtins__})


def test_a_client_of_asyncio_is_left_alone(local_case: LocalCase) -> None:
    import asyncio

    async def work() -> int:
        options = {"n_workers": 1, "processes": False, "dashboard_address": ":0", "asynchronous": True}
        async with LocalCluster(**options) as workers, Client(workers, asynchronous=True) as client:
            with cdir_init(local_case.child("a")) as node, node.log():
                say("driver")
                return int(await client.submit(abs, -1))

    assert asyncio.run(work()) == 1


# -- messages ---------------------------------------------------------------------------------------------------------


def test_messages_are_whole_lines_and_small() -> None:
    text = "".join(f"{i} {'x' * (i % 300)}\n" for i in range(1000)) + "no end"
    found = list(split_into_messages(text))
    assert "".join(found) == text + "\n"
    assert all(len(piece) <= MAX_MESSAGE_LENGTH and piece.endswith("\n") for piece in found)
    assert "".join(split_into_messages("y" * 40_000)).replace("\n", "") == "y" * 40_000


def test_a_worker_is_called_by_its_name_or_else_its_address() -> None:
    class Stub:
        name: object = 0
        address = "tcp://10.0.0.1:1"

    speakers = [WorkerLogSender(Stub())]
    Stub.name = "gpu-3"
    speakers.append(WorkerLogSender(Stub()))
    for speaker in speakers:
        speaker.teardown(None)
    assert [speaker._name for speaker in speakers] == ["tcp://10.0.0.1:1", "gpu-3"]
