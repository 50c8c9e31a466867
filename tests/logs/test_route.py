"""Which output belongs to which step: levels, handlers, threads, tasks, forks."""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest

from cvcache import cdir_init
from cvcache.logs import route_output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers.store_cases import MemoryCase

logger = logging.getLogger("pipeline.part")


class Kept:
    """A log that only remembers."""

    task = None

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    @property
    def lines(self) -> list[str]:
        """What was said, without the time."""
        return [line.partition(",")[2][4:] or line for line in self.text.splitlines()]


def say(text: str) -> None:
    print(text)  # noqa: T201 - what is printed is the subject


@pytest.fixture
def log() -> Kept:
    return Kept()


@pytest.fixture
def bare() -> Iterator[logging.Logger]:
    """Give the root logger with the level that a script finds, and put all levels back."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.WARNING)
    yield root
    root.setLevel(before)
    for name in ("pipeline", "pipeline.part"):
        logging.getLogger(name).setLevel(logging.NOTSET)


# -- levels and handlers -----------------------------------------------------------------------------------


def test_info_is_kept_and_not_shown(
    log: Kept, bare: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bare, "handlers", [])  # pytest's own
    with route_output(log):
        logger.debug("too fine")
        logger.info("kept")
        logger.warning("kept and shown")
        assert not logger.isEnabledFor(logging.DEBUG)
    logger.info("after the step")
    assert log.lines == ["INFO pipeline.part: kept", "WARNING pipeline.part: kept and shown"]
    assert capsys.readouterr().err == "kept and shown\n"


def test_a_handler_that_was_there_sees_what_it_saw(log: Kept, bare: logging.Logger) -> None:
    own = io.StringIO()
    bare.addHandler(logging.StreamHandler(own))
    with route_output(log):
        logger.info("for the log")
        logger.warning("for both")
    assert own.getvalue() == "for both\n"
    assert len(log.lines) == 2


def test_a_handler_that_comes_later_works(
    log: Kept, bare: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`logging.basicConfig` does nothing where the root logger has a handler."""
    monkeypatch.setattr(bare, "handlers", [])  # pytest's own
    with route_output(log):
        logger.info("before")
        logging.basicConfig(level=logging.INFO, format="shown %(message)s")
        logger.info("after")
        assert len(bare.handlers) == 1
    logger.info("later")
    assert capsys.readouterr().err == "shown after\nshown later\n"
    assert log.lines == ["INFO pipeline.part: before", "INFO pipeline.part: after"]


def test_debug_is_kept_once_the_script_asks_for_it(log: Kept, bare: logging.Logger) -> None:
    with route_output(log):
        bare.setLevel(logging.DEBUG)
        logger.debug("fine")
    assert log.lines == ["DEBUG pipeline.part: fine"]


@pytest.mark.parametrize("name", ["pipeline", "pipeline.part", ""])
def test_a_logger_that_was_silenced_stays_silent(log: Kept, bare: logging.Logger, name: str) -> None:
    quiet = logging.getLogger(name) if name else bare
    quiet.setLevel(logging.ERROR)
    with route_output(log):
        logger.info("not")
        logger.warning("not")
        logger.error("kept")
    assert log.lines == ["ERROR pipeline.part: kept"]


@pytest.mark.usefixtures("bare")
def test_a_logger_told_to_warn_keeps_its_info(log: Kept) -> None:
    logging.getLogger("pipeline").setLevel(logging.WARNING)
    with route_output(log):
        logger.info("not")
    logging.disable(logging.INFO)
    with route_output(log):
        logging.getLogger("another").info("not")
    logging.disable(logging.NOTSET)
    assert log.lines == []


def test_no_level_and_no_handler_is_touched(log: Kept, bare: logging.Logger) -> None:
    before = list(bare.handlers)
    with route_output(log):
        assert (bare.level, bare.handlers) == (logging.WARNING, before)
        assert logger.getEffectiveLevel() == logging.WARNING


@pytest.mark.usefixtures("bare")
def test_a_message_with_wrong_arguments_ends_nothing(log: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    with route_output(log):
        logger.info("%d", "no number")
        logger.info("goes on")
    assert log.lines[-1] == "INFO pipeline.part: goes on"
    assert "Logging error" in capsys.readouterr().err


def test_what_others_wrapped_meanwhile_stays_wrapped(log: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    before = logging.Logger.callHandlers
    with route_output(log):
        ours = logging.Logger.callHandlers

        @functools.wraps(ours)
        def theirs(self: logging.Logger, record: logging.LogRecord) -> None:
            ours(self, record)

        monkeypatch.setattr(logging.Logger, "callHandlers", theirs)
    assert logging.Logger.callHandlers is theirs
    with route_output(log):
        logger.error("once")
    assert log.lines.count("ERROR pipeline.part: once") == 1
    monkeypatch.undo()
    with route_output(log):
        logger.error("twice")
    assert logging.Logger.callHandlers in {before, ours}


def test_everything_is_put_back(log: Kept) -> None:
    def all_of_it() -> list[object]:
        kinds = logging.Logger, threading.Thread, ThreadPoolExecutor
        names = ("isEnabledFor", "callHandlers", "start", "submit")
        return [sys.stdout, sys.stderr, *(vars(kind)[n] for kind in kinds for n in names if n in vars(kind))]

    before = all_of_it()
    with route_output(log):
        assert all(now is not then for now, then in zip(all_of_it(), before, strict=True))
    assert all_of_it() == before


# -- threads, tasks, processes --------------------------------------------------------------------------------


def test_threads_that_a_step_starts_belong_to_it(log: Kept) -> None:
    class Worker(threading.Thread):
        def run(self) -> None:
            say("from a subclass")

    with route_output(log):
        for thread in (threading.Thread(target=say, args=["from a thread"]), Worker()):
            thread.start()
            thread.join()
        with ThreadPoolExecutor(1) as pool:
            assert list(pool.map(str, [1])) == ["1"]
            pool.submit(say, "from a pool").result()
    assert log.text.splitlines() == ["from a thread", "from a subclass", "from a pool"]


def test_what_ends_a_thread_is_kept(log: Kept) -> None:
    with route_output(log), _own_excepthook():
        thread = threading.Thread(target=lambda: 1 // 0)
        thread.start()
        thread.join()
    assert "ZeroDivisionError" in log.text


class _own_excepthook:  # noqa: N801 - reads as a function
    """Let Python report what ends a thread, not pytest."""

    def __enter__(self) -> None:
        self.before, threading.excepthook = threading.excepthook, threading.__excepthook__

    def __exit__(self, *_: object) -> None:
        threading.excepthook = self.before


def test_a_pool_serves_two_steps_and_nobody_without_mixing() -> None:
    one, other = Kept(), Kept()
    with ThreadPoolExecutor(1) as pool, route_output(one):
        pool.submit(say, "for one").result()
        thread = threading.Thread(target=_serve_other, args=[pool, other])
        with _no_log():
            thread.start()
        thread.join()
        with _no_log():
            pool.submit(say, "for nobody").result()
        pool.submit(say, "for one again").result()
    assert one.text == "for one\nfor one again\n"
    assert other.text == "for the other\n"


def _serve_other(pool: ThreadPoolExecutor, other: Kept) -> None:
    with route_output(other):
        pool.submit(say, "for the other").result()


class _no_log:  # noqa: N801 - reads as a function
    """Be outside any step for a while, as another thread is."""

    def __enter__(self) -> None:
        from cvcache.logs import current_log

        self.token = current_log.set(None)

    def __exit__(self, *_: object) -> None:
        from cvcache.logs import current_log

        current_log.reset(self.token)


def test_a_thread_that_outlives_its_step_says_nothing_to_it(memory_case: MemoryCase) -> None:
    go = threading.Event()
    with cdir_init(memory_case.url) as node, node.log():
        thread = threading.Thread(target=lambda: (go.wait(60), say("too late")))
        thread.start()
    go.set()
    thread.join()
    assert "too late" not in node.read("run.log")


def test_tasks_of_asyncio_belong_to_the_step_that_made_them() -> None:
    one, other = Kept(), Kept()

    async def talk(name: str) -> None:
        for i in range(3):
            await asyncio.sleep(0)
            say(f"{name} {i}")
        await asyncio.to_thread(say, f"{name} in a thread")
        await asyncio.get_running_loop().run_in_executor(None, say, f"{name} in the pool")

    async def step(log: Kept, name: str) -> None:
        with route_output(log):
            await asyncio.gather(talk(name), talk(name))

    async def both() -> None:
        await asyncio.gather(step(one, "one"), step(other, "other"))

    asyncio.run(both())
    for log, name in (one, "one"), (other, "other"):
        assert {line.split()[0] for line in log.text.splitlines() if line} == {name}
        assert log.text.count(name) == 10


@pytest.mark.parametrize("workers", [None, 2])
def test_threads_of_dask_belong_to_the_step_that_computes(memory_case: MemoryCase, workers: int | None) -> None:
    together = threading.Barrier(2)

    def talk(block: np.ndarray, name: str) -> np.ndarray:
        say(f"block for {name}")
        logger.warning("warning for %s", name)
        return block

    def step(name: str) -> str:
        with cdir_init(f"{memory_case.url}/{name}") as node, node.log():
            together.wait(60)
            array = da.ones(20, chunks=1).map_blocks(talk, name, dtype=float, meta=np.zeros(0))
            array.compute(scheduler="threads", num_workers=workers)
        return str(node.read("run.log"))

    with ThreadPoolExecutor(2) as pool:
        logs = list(pool.map(step, "ab"))
    for name, log in zip("ab", logs, strict=True):
        said = log.splitlines()[1:]
        assert len(said) == 40, "lines of threads are kept apart"
        assert all(line.endswith(f" for {name}") for line in said)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_child_adds_nothing(memory_case: MemoryCase) -> None:
    with cdir_init(memory_case.url) as node, node.log():
        say("before " + "x" * (2 << 20))  # more than is kept in memory, so parent and child share a file
        if (child := os.fork()) == 0:
            say("from the child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        say("after")
    lines = node.read("run.log").splitlines()
    assert lines[1].startswith("before")
    assert lines[2:] == ["after"]


def test_work_of_other_processes_still_runs(memory_case: MemoryCase) -> None:
    with cdir_init(memory_case.url) as node, node.log(), ProcessPoolExecutor(1, mp_context=_spawn()) as pool:
        assert pool.submit(abs, -1).result() == 1


def _spawn() -> object:
    import multiprocessing

    return multiprocessing.get_context("spawn")


_SCRIPT = """
import logging, sys, threading, warnings
import cvcache
log = logging.getLogger("script")
@cvcache.step
def work(out):
    log.info("an info")
    print("a print")
    threading.Thread(target=print, args=["from a thread"]).start()
    log.warning("a record")
    warnings.warn("mind the gap")
node = work(cvcache.cdir(sys.argv[1]))
"""


def test_a_script_that_sets_nothing_has_all_in_its_log_and_no_more_on_the_terminal(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "node")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "a print\nfrom a thread\n"
    assert done.stderr == f'a record\n{script}:11: UserWarning: mind the gap\n  warnings.warn("mind the gap")\n'
    text = (tmp_path / "node" / "run.log").read_text()
    kept = ("INFO script: an info", "a print", "from a thread", "WARNING script: a record", "UserWarning: mind the gap")
    assert [word for word in kept if word not in text] == []
    assert len(text.splitlines()) == 7


PRINTS_ON = """
import sys, threading
import cvcache

@cvcache.step(version=1)
def work(out, number):
    threading.Thread(target=print, args=["from a thread"]).start()

root = cvcache.cdir("memory://prints/on")
for number in range(40):
    work(root / f"n{number}", number)
"""


def test_a_thread_that_prints_while_its_step_ends_does_no_harm() -> None:
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", PRINTS_ON], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
