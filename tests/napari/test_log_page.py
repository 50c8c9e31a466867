"""The log page: the end of a finished log, the failure first, and a log that is being written."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from panel_bench import KEY, LOG, PREVIEW, Bench, bench_on, fail, write_bytes
from qtpy.QtWidgets import QPlainTextEdit

import cvcache
from cvcache.browse import Tree
from cvcache.logs import Tail
from cvcache.napari import Jobs
from cvcache.napari.panel import (
    MAX_CHARACTERS,
    MAX_LINE_LENGTH,
    MAX_LINES,
    FollowedLog,
    LogFollower,
    TextView,
    readable_text,
)
from cvcache.node import address_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WRITER = """
import sys, time, cvcache
with cvcache.cdir_init(sys.argv[1], {"step": "slow"}) as node, node.log():
    for line in sys.stdin:
        if line.strip() == "fail":
            raise RuntimeError("out of <b>luck</b>")
        if line.strip() == "end":
            break
        print(line, end="", flush=True)
"""


class Writer:
    """Another process that computes a node and says what it is told to."""

    def __init__(self, url: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def wait(self) -> None:
        self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)


@pytest.fixture
def running(qtbot: Any, tmp_path: Path) -> Iterator[tuple[Bench, Writer]]:
    """Give a tree with a node that another process is computing, and a second, finished one."""
    url = str(tmp_path / "tree")
    with cvcache.cdir_init(f"{url}/done", {"step": 1}) as node, node.log():
        print("this is done")  # noqa: T201 - what a step says is its log
    writer = Writer(f"{url}/slow")
    try:
        until(lambda: cvcache.cdir_query(cvcache.cdir(f"{url}/slow")).state == "running")
        for bench in bench_on(qtbot, url):
            yield bench, writer
    finally:
        writer.kill()
        for pipe in (writer.process.stdin,):
            assert pipe is not None
            pipe.close()


def until(holds: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_log_follows_while_another_process_writes_it(running: tuple[Bench, Writer]) -> None:
    bench, writer = running
    page = bench.select("slow", tab=LOG)
    assert page.status.text() == "Follows while it is written."
    writer.say("line one")
    bench.qtbot.waitUntil(lambda: "line one" in page.text.toPlainText(), timeout=20_000)
    writer.say("line two")
    bench.qtbot.waitUntil(lambda: "line two" in page.text.toPlainText(), timeout=20_000)
    writer.say("end")
    bench.qtbot.waitUntil(lambda: page.status.text() == "It is committed.", timeout=20_000)
    assert not page.follower.active
    text = page.text.toPlainText()
    assert text.count("line one") == text.count("line two") == 1
    bench.news("slow")
    assert bench.row("slow").state == "committed"
    assert page.text.toPlainText() == text
    assert bench.panel.title.text().endswith("committed")


def test_a_failure_while_it_is_followed_is_shown_once(running: tuple[Bench, Writer]) -> None:
    bench, writer = running
    page = bench.select("slow", tab=LOG)
    assert not page.error.isVisible()
    writer.say("fail")
    bench.qtbot.waitUntil(lambda: page.status.text() == "It failed.", timeout=20_000)
    bench.news("slow")
    assert page.error.toPlainText().startswith("RuntimeError: out of <b>luck</b>")
    assert page.text.toPlainText().rstrip().endswith("RuntimeError: out of <b>luck</b>")
    assert not page.error.isVisible()


def test_a_killed_process_is_told_of(running: tuple[Bench, Writer]) -> None:
    bench, writer = running
    page = bench.select("slow", tab=LOG)
    writer.say("last words")
    bench.qtbot.waitUntil(lambda: "last words" in page.text.toPlainText(), timeout=20_000)
    writer.kill()
    bench.qtbot.waitUntil(lambda: page.status.text() == "It failed.", timeout=20_000)
    assert "the process died before its commit" in page.text.toPlainText()
    bench.news("slow")
    assert "the process died before its commit" in page.error.toPlainText()


def test_following_stops_when_nobody_looks(running: tuple[Bench, Writer]) -> None:
    bench, writer = running
    page = bench.select("slow", tab=LOG)
    follower = page.follower
    assert follower.active
    bench.panel.tabs.setCurrentIndex(PREVIEW)
    assert not follower.active
    writer.say("unseen")
    bench.panel.tabs.setCurrentIndex(LOG)
    assert follower.active
    bench.qtbot.waitUntil(lambda: "unseen" in page.text.toPlainText(), timeout=20_000)
    bench.panel.hide()
    assert not follower.active
    bench.panel.show()
    assert follower.active
    bench.select("done")
    assert not follower.active
    assert "this is done" in page.text.toPlainText()
    writer.say("said while another was shown")
    bench.select("slow")
    bench.qtbot.waitUntil(lambda: "said while another was shown" in page.text.toPlainText(), timeout=20_000)
    assert page.text.toPlainText().count("unseen") == 1
    last = page.follower
    bench.panel.close_down()
    assert not last.active
    assert page.follower is None


def test_who_scrolled_up_stays_there(running: tuple[Bench, Writer]) -> None:
    bench, writer = running
    page = bench.select("slow", tab=LOG)
    writer.say("\n".join(f"line {i}" for i in range(300)))
    bench.qtbot.waitUntil(lambda: "line 299" in page.text.toPlainText(), timeout=20_000)
    bar = page.text.verticalScrollBar()
    assert bar.value() == bar.maximum() > 0
    bar.setValue(3)
    before = page.text.firstVisibleBlock().text()
    writer.say("one more")
    bench.qtbot.waitUntil(lambda: "one more" in page.text.toPlainText(), timeout=20_000)
    assert page.text.firstVisibleBlock().text() == before
    assert bar.value() < 20


class BrokenTail(Tail):
    """A log whose store fails every other time."""

    looks = 0

    def look(self) -> str:
        self.looks += 1
        if self.looks % 2:
            raise OSError(5, "<b>no answer</b>")
        return f"look {self.looks}\n"


def test_a_store_that_fails_is_asked_again(qtbot: Any, tmp_path: Path) -> None:
    jobs, said, came = Jobs(), [], []
    node = cvcache.cdir(tmp_path)
    tail = BrokenTail(address_of(node).store, address_of(node).path)
    follower = LogFollower(jobs, tail, FollowedLog("", "", ""))
    follower.status_changed.connect(said.append)
    follower.text_read.connect(came.append)
    follower.resume()
    qtbot.waitUntil(lambda: came == ["look 2\n"], timeout=20_000)
    follower.pause()
    assert any(text.startswith("Cannot be read, trying again: ") for text in said)
    jobs.close()


def test_one_of_several_logs_is_chosen(qtbot: Any, tmp_path: Path) -> None:
    url = str(tmp_path / "tree")
    with cvcache.cdir_init(f"{url}/node", {"step": 1}) as node:
        with node.log():
            print("the run")  # noqa: T201 - what a step says is its log
        with node.log("fit.log"):
            print("the fit")  # noqa: T201 - the same
    with cvcache.cdir_init(f"{url}/other", {"step": 2}) as node, node.log():
        print("another run")  # noqa: T201 - the same
    for bench in bench_on(qtbot, url):
        page = bench.select("node", tab=LOG)
        assert "the run" in page.text.toPlainText()
        assert [page.choice.itemText(i) for i in range(page.choice.count())] == ["run.log", "fit.log"]
        page.choice.setCurrentIndex(1)
        page.choice.activated.emit(1)
        bench.settle()
        assert "the fit" in page.text.toPlainText()
        assert "another run" in bench.select("other").text.toPlainText()
        assert not page.choice.isVisible()
        assert "the fit" in bench.select("node/fit.log").text.toPlainText()


def test_a_failed_node_shows_its_error_above_its_log(qtbot: Any, tmp_path: Path) -> None:
    fail(cvcache.cdir(tmp_path / "tree" / "broken"))
    for bench in bench_on(qtbot, str(tmp_path / "tree")):
        page = bench.select("broken", tab=LOG)
        assert page.error.toPlainText().startswith("ValueError: no <i>cells</i> found\n\nTraceback")
        assert "counting" in page.text.toPlainText()
        assert page.text.toPlainText().rstrip().endswith("ValueError: no <i>cells</i> found")
        assert not page.error.isVisible(), "the log of a step ends with its traceback"


def test_a_log_of_200_mb_shows_its_end(qtbot: Any, tmp_path: Path) -> None:
    url = str(tmp_path / "tree")
    with cvcache.cdir_init(f"{url}/node") as node:
        write_bytes(node, "run.log", b"0123456789abcde\n" * (200 << 16) + b"the last line\n")
    for bench in bench_on(qtbot, url):
        start = time.monotonic()
        page = bench.select("node", tab=LOG)
        assert time.monotonic() - start < 5
        text = page.text.toPlainText()
        assert text.endswith("the last line\n")
        assert text.startswith("[")
        assert len(text) <= MAX_CHARACTERS + 100
        bar = page.text.verticalScrollBar()
        assert bar.value() == bar.maximum()


def test_what_drives_a_terminal_is_left_out() -> None:
    assert readable_text("\x1b[31mred\x1b[0m \x07bell\r\nnext") == "red bell\nnext"
    assert readable_text(" 10%|#\r 55%|##\r100%|###\ndone") == "100%|###\ndone"
    assert readable_text("a\u202eb") == "ab"
    assert readable_text("line\r") == "line"


def test_a_line_without_an_end_is_folded() -> None:
    folded = readable_text("x" * 10_500)
    assert max(map(len, folded.split("\n"))) == MAX_LINE_LENGTH
    assert folded.replace("\n", "") == "x" * 10_500
    assert readable_text("y" * (2 * MAX_CHARACTERS)).startswith("[what comes before is left out]\n")


def test_a_text_is_bounded_in_lines(qtbot: Any) -> None:
    view = TextView()
    qtbot.addWidget(view)
    for i in range(30):
        view.add(f"block {i}\n" + "line\n" * 999)
    assert isinstance(view, QPlainTextEdit)
    assert view.document().blockCount() <= MAX_LINES
    assert "block 29" in view.toPlainText()
    assert "block 0\n" not in view.toPlainText()


def test_a_log_item_nobody_recorded_is_shown(qtbot: Any, tmp_path: Path) -> None:
    folder = tmp_path / "tree" / "foreign"
    folder.mkdir(parents=True)
    (folder / "run.log").write_text("from another program")
    for bench in bench_on(qtbot, str(tmp_path / "tree")):
        assert bench.row("foreign/run.log").state == "foreign"
        page = bench.select("foreign/run.log")
        assert "from another program" in page.text.toPlainText() or page.facts.facts()
        bench.select("foreign")
        assert bench.enabled() == ["Preview"]


def test_the_page_leaves_a_node_that_was_begun_anew(running: tuple[Bench, Writer]) -> None:
    bench, writer = running
    page = bench.select("slow", tab=LOG)
    first = page.follower
    writer.kill()
    with cvcache.cdir_init(bench.row("slow").url, {"step": "slow"}) as node, node.log():
        print("the second attempt")  # noqa: T201 - what a step says is its log
    bench.news("slow")
    assert bench.row("slow").state == "committed"
    assert "the second attempt" in page.text.toPlainText()
    assert page.follower is not first
    assert '"slow"' in bench.select("slow", tab=KEY).text.toPlainText()
    assert Tree(bench.tree.url).open() is not None
