"""The command line: each command, its exit codes, its JSON, and what reaches a terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from child import child
from command_line import HEAVY, Done, in_process, loaded_by, own_process

import cvcache
from cvcache.testing import CountingStore, instrument, lay_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.object_stores import S3Server

    from cvcache.store import Store

    Run = Callable[..., Done]

NASTY = "\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x9b2J"


@cvcache.step
def brighten(out: cvcache.CacheDir, value: int, *, gain: float) -> None:
    print("gain is", gain, NASTY)  # noqa: T201 - what a step prints is in its log
    out.write("value.json", value * gain)


@cvcache.step
def double(out: cvcache.CacheDir, value: cvcache.Item) -> None:
    out.write("double.json", value.read() * 2)


@cvcache.step
def broken(out: cvcache.CacheDir) -> None:
    out.write("half.json", 1)
    msg = f"no nuclei {NASTY}"
    raise ValueError(msg)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return lambda *words: in_process(capsys, monkeypatch, *words)


@pytest.fixture
def root(tmp_path: Path) -> cvcache.CacheDir:
    """Give a tree with a committed, a stale, a failed and a running node, a folder and a stranger's directory."""
    root = cvcache.cdir(tmp_path / "tree")
    value = brighten(root / "bright", 3, gain=2.0)
    double(root / "double", value["value.json"])
    brighten(root / "bright", 3, gain=4.0)
    brighten(root / "deeper" / "one", 1, gain=1.0)
    with pytest.raises(ValueError, match="no nuclei"):
        broken(root / "broken")
    cvcache.cdir_init(root / "running")
    (tmp_path / "tree" / "mine").mkdir()
    (tmp_path / "tree" / "mine" / "notes.txt").write_text("mine")
    return root


def test_tree(run: Run, root: cvcache.CacheDir) -> None:
    done = run("tree", root.url)
    assert (done.code, done.err) == (0, "")
    head, top, *rows = done.out.splitlines()
    assert head.split() == ["node", "state", "items", "shape", "size", "time"]
    assert top.split() == [root.url, "folder"]
    states = {row.split()[0]: row.split()[1] for row in rows}
    assert states == {
        "bright": "committed",
        "broken": "failed",
        "deeper": "folder",
        "one": "committed",
        "double": "stale",
        "mine": "foreign",
        "running": "running",
    }
    assert "run.log, value.json" in done.out
    assert run("tree", root.url, "--depth", 1).out.count("\n") == 8
    assert run("tree", root.url, "--depth", 0).code == 0


def test_tree_as_json(run: Run, root: cvcache.CacheDir) -> None:
    tree = run("tree", root.url, "--json").json
    assert (tree["url"], tree["state"], tree["time"]) == (root.url, "folder", None)
    bright = tree["children"][0]
    assert (bright["name"], bright["state"]) == ("bright", "committed")
    assert bright["items"]["value.json"]["kind"] == "json"
    assert bright["duration"] >= 0


def test_ls(run: Run, root: cvcache.CacheDir) -> None:
    assert run("ls", root.url).out.split() == ["bright/", "broken/", "deeper/", "double/", "mine/", "running/"]
    assert [line.split()[0] for line in run("ls", (root / "bright").url).out.splitlines()] == ["run.log", "value.json"]
    report = run("ls", (root / "bright").url, "--json").json
    assert (report["state"], sorted(report["items"]), report["children"]) == (
        "committed",
        ["run.log", "value.json"],
        [],
    )


@pytest.mark.parametrize(
    ("node", "state", "code"),
    [
        ("bright", "committed", 0),
        ("deeper", "folder", 0),
        ("nowhere", "absent", 3),
        ("mine", "foreign", 3),
        ("running", "running", 4),
        ("broken", "failed", 5),
        ("double", "stale", 6),
    ],
)
def test_show_tells_the_state_by_its_exit_code(
    run: Run, root: cvcache.CacheDir, node: str, state: str, code: int
) -> None:
    url = (root / node).url
    done, report = run("show", url), run("show", url, "--json")
    assert (done.code, report.code) == (code, code)
    assert done.out.startswith(f"{url}: {state}")
    assert (report.json["url"], report.json["state"]) == (url, state)


def test_show_says_key_reason_and_items(run: Run, root: cvcache.CacheDir) -> None:
    text = run("show", (root / "bright").url).out
    assert "why: args.gain: 2.0 -> 4.0" in text
    assert '"gain": 4.0' in text
    assert "item: value.json" in text
    assert "error: ValueError: no nuclei" in run("show", (root / "broken").url).out


def test_path(run: Run, root: cvcache.CacheDir) -> None:
    url = (root / "bright").url
    where = run("path", url, "value.json").out.strip()
    with open(where) as file:  # noqa: PTH123 - as another tool does
        assert json.load(file) == 12.0
    assert run("path", url, "value.json", "--json").json["path"] == where
    done = run("path", url, "valu.json")
    assert (done.code, done.out) == (3, "")
    assert "did you mean 'value.json'" in done.err


def test_logs(run: Run, root: cvcache.CacheDir) -> None:
    url = (root / "bright").url
    text = run("logs", url).out
    assert "gain is 4.0 red" in text
    assert "computing (args.gain: 2.0 -> 4.0)" in text
    assert run("logs", url, "--json").json["log"].count("gain is 4.0") == 1
    failed = run("logs", (root / "broken").url)
    assert failed.code == 0
    assert "ValueError: no nuclei" in failed.out
    assert "Traceback" in failed.out
    assert run("logs", url, "--name", "other.log").code == 3
    assert run("logs", url, "--name", "value.json").code == 2
    assert run("logs", (root / "nowhere").url).code == 3


def test_why(run: Run, root: cvcache.CacheDir) -> None:
    assert run("why", (root / "bright").url).out == "args.gain: 2.0 -> 4.0\n"
    assert run("why", (root / "double").url, "--json").json["reason"] == ["first run"]
    assert run("why", (root / "nowhere").url).code == 3


@cvcache.step
def measure(out: cvcache.CacheDir, divisor: int) -> None:
    print("divide by", divisor)  # noqa: T201 - what a step prints is in its log
    out.write("ratio.json", 12 / divisor)


@pytest.fixture
def standing(root: cvcache.CacheDir) -> dict[str, str]:
    """Give by its state each of two nodes whose result stands while a newer attempt runs, or after one failed."""
    for name in ("again", "once"):
        measure(root / name, 3)
    with pytest.raises(ZeroDivisionError):
        measure(root / "once", 0)
    cvcache.cdir_init(root / "again", {"divisor": 4})
    return {"running": (root / "again").url, "failed": (root / "once").url}


@pytest.mark.parametrize(("state", "code"), [("running", 4), ("failed", 5)])
def test_what_stands_is_said_beside_the_newest_attempt(
    run: Run, root: cvcache.CacheDir, standing: dict[str, str], state: str, code: int
) -> None:
    url = standing[state]
    both = re.compile(rf"{state} . result of \d+ \w+ stands")
    (line,) = (line for line in run("tree", root.url).out.splitlines() if line.split()[0] == url.rpartition("/")[2])
    assert both.search(line)
    assert "ratio.json" in line
    assert line.endswith(" s")
    shown = run("show", url)
    assert shown.code == code
    assert both.search(shown.out.splitlines()[0])
    assert "item: ratio.json" in shown.out
    listed = run("ls", url)
    assert [name.split()[0] for name in listed.out.splitlines()] == ["ratio.json", "run.log"]
    assert both.search(listed.err)
    why = run("why", url)
    assert "divisor" in why.out
    assert both.search(why.err)
    assert run("verify", url).out == "all that was committed is there\n"
    for command in ("show", "ls", "why"):
        report = run(command, url, "--json").json
        assert (report["state"], report["committed"]) == (state, True)
    entry = next(entry for entry in run("tree", root.url, "--json").json["children"] if entry["url"] == url)
    assert (entry["state"], entry["committed"], sorted(entry["items"])) == (state, True, ["ratio.json", "run.log"])


def test_where_the_item_of_the_result_that_stands_lies(run: Run, root: cvcache.CacheDir) -> None:
    for divisor in (3, 4):
        measure(root / "n", divisor)
    with pytest.raises(ZeroDivisionError):
        measure(root / "n", 0)
    where = run("path", (root / "n").url, "ratio.json").out.strip()
    assert "/_cvcache/attempts/" in where
    with open(where) as file:  # noqa: PTH123 - as another tool does
        assert json.load(file) == 3.0


def test_logs_are_those_of_the_newest_attempt(run: Run, standing: dict[str, str]) -> None:
    failed = run("logs", standing["failed"]).out
    assert "divide by 0" in failed
    assert "ZeroDivisionError" in failed
    assert "divide by 3" not in failed
    assert run("logs", standing["running"]).code == 3, "it has written none"


@pytest.mark.parametrize("command", ["tree", "ls", "why", "logs"])
def test_nothing_there(run: Run, root: cvcache.CacheDir, command: str) -> None:
    done = run(command, (root / "nowhere").url)
    assert (done.code, done.out) == (3, "")
    assert done.err == f"cvcache: there is no node at {root.url}/nowhere\n"
    assert "there are nodes below it: cvcache tree" in run("why", root.url).err
    assert run("why", f"{root.url}/mine").err.endswith(", only data that cvcache did not write\n")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["tre", "x"], "tree"),
        (["demo", "--sigm", "3"], "--sigma"),
        (["ls", "x", "--jsn"], "--json"),
    ],
)
def test_a_typo_is_a_wrong_call_and_told_what_was_meant(run: Run, words: list[str], meant: str) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert "Did you mean" in done.err
    assert meant in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tree"], "Missing argument 'URL'"),
        (["demo", "x", "--sigma", "-1"], "--sigma"),
        (["demo", "x", "--smallest", "0"], "--smallest"),
        (["ls", "x", "-o", "anon"], "-o takes name=value"),
        (["ls", ""], "names no directory"),
        (["ls", "a//b"], "write the path out"),
        (["ls", "/"], "directory of its own"),
        (["ls", "x", "-o", "anon=true"], "take no storage options"),
        (["ls", "foo://bucket/x"], "unknown kind of URL"),
        (["ls", "s3://key:secret@bucket/x"], "pass it as a storage option"),
    ],
)
def test_a_wrong_call_is_one_sentence(run: Run, words: list[str], message: str) -> None:
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert ":secret" not in done.err


def test_help_is_no_error(run: Run) -> None:
    for words in (["--help"], ["demo", "-h"], ["--version"]):
        assert run(*words).code == 0


@pytest.mark.server
def test_wrong_credentials_and_no_bucket_are_one_sentence(run: Run, s3_server: S3Server) -> None:
    endpoint = ["-o", f"endpoint_url={s3_server.endpoint}"]
    done = run("tree", "s3://no-such-bucket-at-all/run", *endpoint, "-o", "key=test", "-o", "secret=testtest")
    assert done.code in {1, 3}
    assert "no-such-bucket-at-all" in done.err
    assert "Traceback" not in done.err


def test_no_server_is_one_sentence(run: Run) -> None:
    done = run("tree", "s3://bucket/run", "-o", "key=test", "-o", "secret=topsecretword")
    assert done.code == 1
    assert done.err.count("\n") == 1
    assert "topsecretword" not in done.err


def test_no_permission_is_not_taken_for_nothing_there(root: cvcache.CacheDir) -> None:
    # root may read everything, unless it gives that up
    prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    for command, mode in (("tree", 0), ("demo", 0o500)):
        os.chmod(root.url, mode)  # noqa: PTH101 - a node's url is text
        done = own_process(command, root.url, prefix=prefix)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("cvcache: ")
        assert root.url in done.err
        assert "ermission" in done.err


@pytest.mark.parametrize("command", ["tree", "ls", "show", "logs", "why"])
@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_no_escape_sequence_reaches_the_terminal(
    run: Run, tmp_path: Path, command: str, words: tuple[str, ...]
) -> None:
    root = cvcache.cdir(tmp_path)
    with pytest.raises(ValueError, match="no nuclei"):
        broken(root / "node")
    with pytest.raises(cvcache.UsageError), cvcache.cdir_init(root / "node", {"label": NASTY}):
        raise cvcache.UsageError(NASTY)
    (tmp_path / "node" / f"{NASTY[:5]}a\x9b.txt").write_text("a stranger's file")
    done = run(command, (root / "node").url, *words)
    for text in (done.out, done.err):
        assert not set(text) & {"\x1b", "\x07", "\x9b"}


def test_a_name_that_is_no_text_can_be_listed(tmp_path: Path) -> None:
    node = cvcache.cdir_init(tmp_path / "node")
    with open(os.fsencode(f"{node.url}/caf") + b"\xe9.txt", "wb"):  # noqa: PTH123 - pathlib knows text only
        pass
    done = own_process("ls", node.url, env={"PYTHONIOENCODING": "ascii"})
    assert done.code == 0
    assert done.out.startswith("caf")


@pytest.mark.parametrize(
    "words", [["tree"], ["ls"], ["show"], ["why"], ["logs"], ["path", "value.json"], ["tree", "--json"]]
)
def test_looking_loads_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    node = brighten(cvcache.cdir(tmp_path) / "node", 3, gain=2.0)
    command, *rest = words
    done, loaded = loaded_by(tmp_path, command, node.url, *rest)
    assert (done.code, done.err) == (0, "")
    assert not HEAVY & loaded


def test_tree_asks_at_most_three_times_a_node_and_lists_no_chunk(run: Run) -> None:
    urls = lay_tree("memory://test-cli/laid", 40, fan_out=6)
    stores: list[CountingStore] = []

    def counting(store: Store) -> CountingStore:
        stores.append(CountingStore(store))
        return stores[-1]

    with instrument(counting):
        assert run("tree", urls[0], "--json").code == 0
    counts = {verb: sum(store.counts[verb] for store in stores) for verb in stores[0].counts}
    assert sum(counts.values()) <= 3 * len(urls)
    assert counts.get("find", 0) == 0


QUICK = """
import signal, sys, time, cvcache, cvcache.cli.main, cvcache.cli.demo
signal.signal(signal.SIGINT, signal.default_int_handler)
@cvcache.step
def only(out, seconds):
    print("working", file=sys.stderr, flush=True)
    time.sleep(seconds)
cvcache.cli.demo.pipeline = lambda root, *_: iter([only(root / "only", float(seconds))])
_, seconds, url = sys.argv
sys.argv = ["cvcache", "demo", url]
cvcache.cli.main.main()
"""
"""The demo with one step that only takes its time; whoever runs the tests in the background has Ctrl-C ignored."""


def test_progress_is_plain_lines_in_a_pipe_and_a_live_line_on_a_terminal(tmp_path: Path) -> None:
    command = [sys.executable, "-c", QUICK, "0.2", str(tmp_path / "tree")]
    pipe = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "\x1b" not in pipe.stderr + pipe.stdout
    assert pipe.stderr == "working\nonly: computed (first run)\n"
    screen = on_terminal(command)
    assert "\x1b[" in screen
    assert "only: read" in screen
    assert "nothing to compute" in screen


def on_terminal(command: list[str]) -> str:
    """Run a command on a pseudo-terminal and give all it wrote there."""
    keeper, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    with child(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        text = b""
        while chunk := _read(keeper):
            text += chunk
    os.close(keeper)
    assert process.returncode == 0
    return text.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # how Linux says that the other end is closed
        return b""


def test_an_interrupt_is_told_and_leaves_a_node_that_can_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", QUICK, "60", str(tmp_path / "tree")]
    with child(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "working" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "the same command goes on from there" in err
    node = cvcache.cdir_query(tmp_path / "tree" / "only")
    assert node.state == "failed"
    assert "KeyboardInterrupt" in node.read("run.log")


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    urls = lay_tree(str(tmp_path / "laid"), 400)
    command = f"{sys.executable} -m cvcache.cli.main tree {urls[0]} --json | head -1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "{\n"
    assert done.stderr == ""
