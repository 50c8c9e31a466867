"""A log while its step runs, after its step died, and followed: on every kind of store."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from child import child
from command_line import in_process, options_of, own_process

import cvcache
from cvcache import CacheDir, Policy, cdir, cdir_init, cdir_query, cdir_remove
from cvcache.logs import Tail, iter_log, read_log, read_log_parts, spool
from cvcache.node import address_of, release_node, snapshot_of
from cvcache.store import instrument
from cvcache.testing import CountingStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import LocalCase, MemoryCase, StoreCase

    from cvcache.store import Store


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what is printed is the subject


def until(happens: Callable[[], object]) -> None:
    """Wait for what another thread or process is about to do."""
    end = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.01)


def at(case: StoreCase, *names: str) -> CacheDir:
    """Give a fresh handle, which asks no time of anybody."""
    return cdir(case.child(*names), policy=Policy(sleep=_no_time), **case.options)


def _no_time(_: float) -> None:
    """Pass at once; a policy crosses a pickle, so no lambda."""


def parts_in(case: StoreCase) -> list[str]:
    return sorted(name for name in case.snapshot() if "/parts/" in name and not name.endswith("/"))


def shown(node: CacheDir) -> str:
    """Give what others can see of the log of an open node."""
    record = snapshot_of(node).record
    assert record is not None
    return b"".join(read_log_parts(address_of(node).store, address_of(node).path, record.attempt, "run.log")).decode()


def tail_of(node: CacheDir) -> Tail:
    return Tail(address_of(node).store, address_of(node).path)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show text at once."""
    monkeypatch.setattr(spool, "PART_SECONDS", 0.05)


# -- parts -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("soon")
def test_text_is_seen_while_the_step_runs_and_is_silent(store_case: StoreCase) -> None:
    with cdir_init(at(store_case)) as node, node.log():
        say("first words")
        until(lambda: "first words\n" in shown(node))
        say("second words")
        until(lambda: "second words\n" in shown(node))
        other = cdir_query(at(store_case))
        assert read_log(
            address_of(other).store, address_of(other).path, snapshot_of(other).record, "run.log", other.read
        ) == shown(node)
        assert shown(node).splitlines()[0].endswith("computing (first run)")
        assert parts_in(store_case)[0].endswith("/run.log/000001")
    assert shown(node) == ""
    assert parts_in(store_case) == []
    assert node.read("run.log").splitlines()[1:] == ["first words", "second words"]


def test_much_text_is_seen_at_once(memory_case: MemoryCase) -> None:
    with cdir_init(at(memory_case)) as node, node.log():
        line = "x" * 999
        for _ in range(66):
            say(line)
        until(lambda: line in shown(node))
        assert len(shown(node)) >= spool.PART_BYTES
    assert node.read("run.log").count(line) == 66


def test_a_short_step_shows_no_part_and_costs_no_more(memory_case: MemoryCase) -> None:
    counted: list[CountingStore] = []

    def count(store: Store) -> Store:
        counted.append(CountingStore(store))
        return counted[-1]

    def calls(name: str, *, log: bool) -> list[str]:
        counted.clear()
        with cdir_init(at(memory_case, name)) as node:
            if log:
                with node.log():
                    say("short")
            else:
                node.write("run.log", "short\n")
        return [verb for store in counted for verb, _ in store.log]

    with instrument(count):
        calls("first", log=True)
        assert calls("logged", log=True) == calls("written", log=False)


@pytest.mark.usefixtures("soon")
def test_a_store_that_fails_meanwhile_costs_no_text(memory_case: MemoryCase, monkeypatch: pytest.MonkeyPatch) -> None:
    with cdir_init(at(memory_case)) as node, node.log():
        failures = []
        attempt = snapshot_of(node).attempt
        assert attempt is not None
        put = attempt.store.put

        def fail_twice(path: str, data: bytes) -> None:
            if "/parts/" in path and len(failures) < 2:
                failures.append(data)
                raise OSError(5, "injected")
            put(path, data)

        monkeypatch.setattr(attempt.store, "put", fail_twice)
        say("one")
        until(lambda: failures)
        say("two")
        until(lambda: "two\n" in shown(node))
        assert failures[0] == failures[1]
        assert shown(node).splitlines()[1:] == ["one", "two"]


@pytest.mark.usefixtures("soon")
def test_what_the_step_writes_itself_under_the_name_of_its_log_wins(
    memory_case: MemoryCase, caplog: pytest.LogCaptureFixture
) -> None:
    with cdir_init(at(memory_case)) as node, node.log():
        say("captured")
        until(lambda: shown(node))
        node.write("run.log", "mine")
    assert node.read("run.log") == "mine"
    assert "wrote run.log itself" in caplog.text
    assert parts_in(memory_case) == []


@pytest.mark.usefixtures("soon")
def test_a_log_beside_a_stranger_of_its_name_is_not_shown(memory_case: MemoryCase) -> None:
    node = cdir_init(at(memory_case))
    memory_case.put("run.log", b"a stranger's")
    with node, node.log():
        say("captured")
    assert memory_case.read("run.log") == b"a stranger's"
    assert parts_in(memory_case) == []


@pytest.mark.usefixtures("soon")
def test_a_removal_takes_the_parts_along(store_case: StoreCase) -> None:
    node = cdir_init(at(store_case))
    with node.log():
        until(lambda: shown(node))
        cdir_remove(at(store_case), force=True)
    assert parts_in(store_case) == []


_CHATTY = """
import json, os, pathlib, sys
import cvcache
node = cvcache.cdir_init(sys.argv[1])
with node, node.log():
    def peak():
        # of this process alone: what getrusage tells begins with the peak of the one that started it
        return int(pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    line = "y" * 999 + "\\n"
    for i in range(1_000):
        sys.stdout.write(line)
    before = peak()
    for i in range(200_000):
        sys.stdout.write(line)
    print("last words")
    during = peak()
sys.stderr.write(json.dumps({"during": during - before, "in all": peak() - before}))
"""


def test_two_hundred_megabytes_are_printed_in_bounded_memory(local_case: LocalCase) -> None:
    command = [sys.executable, "-c", _CHATTY, local_case.url]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    grown = json.loads(done.stderr.splitlines()[-1])
    assert grown["during"] < 50_000
    assert grown["in all"] < 50_000 + 5 * 2 * spool.EDGE_BYTES // 1024
    text = cdir_query(local_case.url).read("run.log")
    assert len(text) <= 2 * spool.EDGE_BYTES + 100
    assert text.splitlines()[0].endswith("computing (first run)")
    assert text.endswith("last words\n")
    assert sum("bytes in between are left out" in line for line in text.splitlines()) == 1
    assert parts_in(local_case) == []


def test_of_a_very_long_log_the_beginning_and_the_end_are_kept(
    memory_case: MemoryCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "EDGE_BYTES", 1000)
    with cdir_init(at(memory_case)) as node, node.log():
        for i in range(1000):
            say(f"line {i}")
    lines = node.read("run.log").splitlines()
    assert lines[1] == "line 0"
    assert lines[-1] == "line 999"
    cut_middle = next(i for i, line in enumerate(lines) if line.endswith("bytes in between are left out]"))
    assert lines[cut_middle - 1].startswith("line ")
    assert lines[cut_middle + 1].startswith("line ")
    assert 6000 < int(lines[cut_middle][1:].split()[0]) < 8000


# -- death --------------------------------------------------------------------------------------------------

_DIES = """
import json, os, signal, sys, time
import cvcache
from cvcache.logs import spool
from cvcache.logs.parts import read_log_parts
from cvcache.node import snapshot_of
spool.PART_SECONDS = 0.05
node = cvcache.cdir_init(cvcache.cdir(sys.argv[1], **json.loads(sys.argv[2])))
with node, node.log():
    print("last words")
    open_node = snapshot_of(node)
    while not read_log_parts(open_node.store, open_node.path, open_node.record.attempt, "run.log"):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.server)])
def died(request: pytest.FixtureRequest) -> StoreCase:
    """Give a node whose process was killed in the middle."""
    case: StoreCase = request.getfixturevalue(f"{request.param}_case")
    command = [sys.executable, "-c", _DIES, case.url, json.dumps(case.options)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    return case


def test_the_words_of_a_killed_step_are_there(died: StoreCase) -> None:
    done = own_process("logs", died.url, *options_of(died.options))
    assert done.out.splitlines()[-1] == "last words"
    assert done.code == 0
    done = own_process("logs", "-f", died.url, *options_of(died.options))
    assert done.out.splitlines()[-2] == "last words"
    assert done.out.splitlines()[-1].startswith("--- the process died before its commit (pid")
    assert done.code == 5


def test_whoever_takes_over_keeps_the_words_of_the_dead(died: StoreCase) -> None:
    dead = snapshot_of(cdir_query(at(died))).record
    assert dead is not None
    with cdir_init(at(died)) as node, node.log():
        say("second try")
        assert parts_in(died) == []
        assert died.read(f"_cvcache/failed/{dead.attempt}/run.log").decode().splitlines()[-1] == "last words"
    assert node.read("run.log").splitlines()[1:] == ["second try"]
    assert cdir_remove(at(died))
    assert not [name for name in died.snapshot() if "run.log" in name]


def test_a_removal_takes_the_words_of_the_dead_along(died: StoreCase) -> None:
    cdir_remove(at(died))
    assert parts_in(died) == []


# -- follow ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("soon")
def test_a_log_is_followed_from_before_the_step_until_its_commit(store_case: StoreCase) -> None:
    waited = threading.Event()
    seen: list[str] = []

    def work() -> None:
        assert waited.wait(60)
        with cdir_init(at(store_case)) as node, node.log():
            for i in range(4):
                say(f"line {i}")
                until(lambda i=i: f"line {i}\n" in "".join(seen))  # type: ignore[misc]  # mypy takes no defaults here
            say("the end")

    with ThreadPoolExecutor(1) as pool:
        step = pool.submit(work)
        followed = at(store_case)
        lines = iter_log(
            address_of(followed).store,
            address_of(followed).path,
            sleep=lambda _: time.sleep(0.01),
            on_waiting=waited.set,
        )
        state = ""
        while not state:
            try:
                seen.append(next(lines))
            except StopIteration as end:
                state = end.value
        step.result()
    assert state == "committed"
    assert "".join(seen) == cdir_query(at(store_case)).read("run.log")
    assert len(seen) >= 5


@pytest.mark.usefixtures("soon")
def test_a_failure_is_followed_to_its_traceback(memory_case: MemoryCase) -> None:
    tail = tail_of(at(memory_case))

    def fail() -> None:
        with cdir_init(at(memory_case)) as node, node.log():
            until(lambda: "computing" in tail.look())
            assert (tail.state, tail.ended) == ("running", False)
            say(str(1 // 0))

    with pytest.raises(ZeroDivisionError):
        fail()
    assert tail.look().splitlines()[-1] == "ZeroDivisionError: integer division or modulo by zero"
    assert (tail.state, tail.ended) == ("failed", True)
    assert tail.look() == ""


@pytest.mark.usefixtures("soon")
def test_a_follower_goes_on_into_a_takeover_and_says_so(store_case: StoreCase) -> None:
    """The same thread opens the node again: its first attempt is over."""
    text = []
    first = cdir_init(at(store_case))
    with first.log():
        say("first try")
        until(lambda: "first try" in shown(first))
        tail = tail_of(at(store_case))
        text.append(tail.look())
        with cdir_init(at(store_case)) as second, second.log():
            say("second try")
            until(lambda: (text.append(tail.look()), "second try" in "".join(text))[1])
            assert not tail.ended
        text.append(tail.look())
    lines = "".join(text).splitlines()
    assert lines[1] == "first try"
    assert lines[2].startswith("--- begun anew by pid ")
    assert lines[3].endswith(f"computing ({'; '.join(second.reason)})")
    assert lines[4:] == ["second try"]
    assert (tail.state, tail.ended) == ("committed", True)


def test_a_removed_node_is_followed_no_longer(memory_case: MemoryCase) -> None:
    cdir_init(at(memory_case))
    tail = tail_of(at(memory_case))
    assert (tail.look(), tail.state) == ("", "running")
    cdir_remove(at(memory_case), force=True)
    assert tail.look() == "--- the node was removed\n"
    assert (tail.state, tail.ended) == ("absent", True)


def test_an_attempt_that_was_given_up_is_waited_beyond(memory_case: MemoryCase) -> None:
    tail = tail_of(at(memory_case))
    node = cdir_init(at(memory_case))
    assert (tail.look(), tail.state) == ("", "running")
    release_node(snapshot_of(node))
    assert tail.look() == "--- the attempt was given up\n"
    assert (tail.state, tail.ended) == ("absent", False)
    with cdir_init(at(memory_case)) as again, again.log():
        say("now")
    assert "now\n" in tail.look()
    assert (tail.state, tail.ended) == ("committed", True)


def test_an_attempt_that_was_given_up_leaves_the_result_that_stands(memory_case: MemoryCase) -> None:
    with cdir_init(at(memory_case), 1) as first, first.log():
        say("first")
    tail = tail_of(at(memory_case))
    node = cdir_init(at(memory_case), 2)
    assert (tail.look(), tail.state) == ("", "running")
    release_node(snapshot_of(node))
    line = tail.look()
    assert line.startswith("--- the attempt was given up; the result of ")
    assert line.endswith(" stands\n")
    assert (tail.state, tail.ended) == ("committed", True)
    late = tail_of(at(memory_case))
    assert late.look() == cdir_query(at(memory_case)).read("run.log")
    assert (late.state, late.ended) == ("committed", True)


@pytest.mark.usefixtures("soon")
def test_a_look_is_one_list_and_one_get(memory_case: MemoryCase) -> None:
    with cdir_init(at(memory_case)) as node, node.log():
        until(lambda: shown(node))
        counted: list[CountingStore] = []
        with instrument(lambda store: counted.append(CountingStore(store)) or counted[-1]):  # type: ignore[func-returns-value]
            tail = tail_of(at(memory_case))
            assert "computing" in tail.look()
            counted[0].reset()
            assert tail.look() == ""
        assert counted[0].counts == {"list": 1, "get": 1}


@pytest.mark.parametrize("seen", [0, 1, 40, 999, 5000, 8000, 10_000])
def test_a_follower_finds_its_place_in_a_log_without_its_middle(seen: int) -> None:
    from cvcache.logs import cut_middle, log_bytes_after

    text = b"".join(b"%04d\n" % i for i in range(2000))
    whole = cut_middle(text[:1000], text[-1003:], len(text)).encode()
    rest = log_bytes_after(whole, seen)
    assert rest.endswith(b"1999\n") or seen == len(text)
    if seen >= len(text) - 1000 or seen == 0:
        assert rest == (text[seen:] if seen else whole)


# -- the command ------------------------------------------------------------------------------------------------

Run = functools.partial[Any]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return functools.partial(in_process, capsys, monkeypatch)


def test_logs_f_of_what_is_over_ends_with_its_state(run: Run, memory_case: MemoryCase) -> None:
    with cdir_init(at(memory_case, "good")) as node, node.log():
        say("fine")
    with pytest.raises(ZeroDivisionError), cdir_init(at(memory_case, "bad")) as bad, bad.log():
        say(str(1 // 0))
    good = run("logs", "-f", node.url)
    assert (good.code, good.out) == (0, node.read("run.log"))
    failed = run("logs", "--follow", bad.url)
    assert failed.code == 5
    assert "ZeroDivisionError" in failed.out
    *lines, last = map(json.loads, run("logs", "-f", bad.url, "--json").out.splitlines())
    assert "".join(line["log"] for line in lines) == failed.out
    assert last == {"url": bad.url, "state": "failed"}


def test_logs_of_a_running_node_that_has_said_nothing(run: Run, memory_case: MemoryCase) -> None:
    node = cdir_init(at(memory_case))
    done = run("logs", node.url)
    assert done.code == 3
    assert "has kept nothing of 'run.log' so far (text is kept once it is a few seconds old)" in done.err
    assert "stands" not in done.err


def test_logs_of_an_attempt_that_has_said_nothing_says_what_stands(run: Run, memory_case: MemoryCase) -> None:
    with cdir_init(at(memory_case), 1) as node, node.log():
        say("fine")
    cdir_init(at(memory_case), 2)
    assert "has kept nothing of 'run.log' so far" in (err := run("logs", node.url).err)
    assert err.rstrip().endswith("stands")


# where the tests run in the background, children inherit that Ctrl-C is ignored
_LISTENING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from cvcache.cli.main import main
main()
"""


def test_logs_f_waits_and_ends_by_ctrl_c(local_case: LocalCase) -> None:
    command = [sys.executable, "-c", _LISTENING, "logs", "-f", local_case.child("later")]
    with child(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "later is not computed yet; waiting for it" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in out + err


def test_a_node_that_is_not_open_has_no_log_to_keep(memory_case: MemoryCase, caplog: pytest.LogCaptureFixture) -> None:
    with cdir_init(at(memory_case), {"k": 1}) as node:
        node.write("a.json", 1)
    with cdir_init(at(memory_case), {"k": 1}) as again, again.log():
        assert again.committed
        say("on a hit")
    assert caplog.text.count("could not be written") == 0
    assert "run.log" not in cvcache.cdir_query(memory_case.url)
