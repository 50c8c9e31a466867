"""The log of a node: what is in it, and what is not."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import cvcache
from cvcache.logs import capture_log
from cvcache.protocol import find_open_attempt_at

if TYPE_CHECKING:
    from servers.store_cases import LocalCase, MemoryCase, StoreCase

logger = logging.getLogger("pipeline")


def say(text: str) -> None:
    print(text)  # noqa: T201 - what is printed is the subject


def test_logging_stdout_and_stderr_in_order_of_time(store_case: StoreCase, capsys: pytest.CaptureFixture[str]) -> None:
    with cvcache.cdir_init(cvcache.cdir(store_case.url, **store_case.options)) as node, node.log():
        say("to stdout")
        print("to stderr", file=sys.stderr)  # noqa: T201 - the same
        sys.stdout.writelines(["two ", "parts\n"])
        logger.warning("a warning with %d", 7)
        logger.debug("below the level of the logger")
    lines = node.read("run.log").splitlines()
    assert lines[0].endswith(f" INFO cvcache: {node.url}: computing (first run)")
    assert lines[1:4] == ["to stdout", "to stderr", "two parts"]
    assert lines[4].endswith(" WARNING pipeline: a warning with 7")
    assert len(lines) == 5
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("to stderr")) == ("to stdout\ntwo parts\n", 1)


def test_two_threads_do_not_mix(memory_case: MemoryCase) -> None:
    together = threading.Barrier(2)

    def work(name: str) -> str:
        with cvcache.cdir_init(f"{memory_case.url}/{name}") as node, node.log():
            for i in range(50):
                together.wait()
                say(f"{name} {i}")
                logger.warning("%s %d", name, i)
        return str(node.read("run.log"))

    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(work, "ab")
    assert [line for line in a.splitlines()[1:] if line[0] in "ab"] == [f"a {i}" for i in range(50)]
    assert "pipeline: b" not in a
    assert b.count("pipeline: b") == 50


def test_output_outside_a_step_stays_outside(memory_case: MemoryCase) -> None:
    inside, outside = threading.Event(), threading.Event()

    def elsewhere() -> None:
        inside.wait(10)
        say("from elsewhere")
        outside.set()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    with cvcache.cdir_init(memory_case.url) as node, node.log():
        inside.set()
        assert outside.wait(10)
    thread.join()
    assert "from elsewhere" not in node.read("run.log")


def test_nested_logs_are_each_their_own(memory_case: MemoryCase) -> None:
    with cvcache.cdir_init(f"{memory_case.url}/outer") as outer, outer.log():
        say("before")
        with cvcache.cdir_init(outer / "inner") as inner, inner.log("steps.log"):
            say("within")
        say("after")
    before, told, after = outer.read("run.log").splitlines()[1:]
    assert (before, after) == ("before", "after")
    assert told.endswith(f" INFO cvcache: {inner.url}: computing (first run)")
    assert inner.read("steps.log").splitlines()[1:] == ["within"]


def test_a_log_within_itself_is_the_same_log(memory_case: MemoryCase, caplog: pytest.LogCaptureFixture) -> None:
    with cvcache.cdir_init(memory_case.url) as node, node.log():
        say("before")
        with node.log():
            say("within")
        say("after")
    assert node.read("run.log").splitlines()[1:] == ["before", "within", "after"]
    assert not caplog.text.count("not kept")


def test_everything_is_put_back(memory_case: MemoryCase) -> None:
    before = sys.stdout, sys.stderr, list(logging.getLogger().handlers)
    with pytest.raises(ZeroDivisionError), cvcache.cdir_init(memory_case.url) as node, node.log():
        print(1 // 0 if sys.stdout is not before[0] else "still the old stream")  # noqa: T201 - not reached
    assert (sys.stdout, sys.stderr, list(logging.getLogger().handlers)) == before
    assert "ZeroDivisionError" in cvcache.cdir_query(memory_case.url).read("run.log")


def test_a_stream_replaced_meanwhile_is_left_alone(memory_case: MemoryCase) -> None:
    own, before = io.StringIO(), sys.stdout
    with cvcache.cdir_init(memory_case.url) as node, node.log():
        sys.stdout = own
    assert sys.stdout is own
    sys.stdout = before


def test_a_warning_nobody_handles_is_still_shown(
    memory_case: MemoryCase, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with cvcache.cdir_init(memory_case.url) as node, node.log():
        logger.warning("look here")
    assert capsys.readouterr().err == "look here\n"
    assert node.read("run.log").count("look here") == 1


def test_a_log_that_cannot_be_written_costs_no_result_and_hides_no_failure(
    memory_case: MemoryCase, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    attempt = find_open_attempt_at(cvcache.cdir_init(f"{memory_case.url}/a").url)
    with capture_log(attempt, "run.log", full):
        say("fine until here")
    assert "run.log could not be written" in caplog.text
    caplog.clear()
    with pytest.raises(ZeroDivisionError), capture_log(attempt, "run.log", full):
        say(str(1 // 0))
    assert "run.log could not be written" in caplog.text


def test_a_log_called_within_a_handler_of_an_older_error_is_written(memory_case: MemoryCase) -> None:
    try:
        say(str(1 // 0))
    except ZeroDivisionError:
        with cvcache.cdir_init(memory_case.url) as node, node.log():
            say("recovered")
    assert "recovered" in node.read("run.log")


def test_a_log_with_half_a_character_costs_nothing(local_case: LocalCase) -> None:
    # in a process of its own: what pytest keeps of a log has to be text
    script = (
        "import logging, os, sys, cvcache\n"
        "with cvcache.cdir_init(sys.argv[1]) as out, out.log():\n"
        "    logging.getLogger('lab').warning('file %s', os.fsdecode(b'\\xff'))\n"
        "    out.write('a.json', 1)\n"
    )
    subprocess.run([sys.executable, "-c", script, local_case.url], check=True)
    assert r"\udcff" in cvcache.cdir(local_case.url).read("run.log")


def test_a_log_the_step_wrote_itself_stays(local_case: LocalCase) -> None:
    @cvcache.step
    def own(out: cvcache.CacheDir) -> None:
        out.write("run.log", "mine")

    assert own(cvcache.cdir(local_case.url)).read("run.log") == "mine"
