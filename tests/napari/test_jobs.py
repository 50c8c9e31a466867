"""Jobs run in threads and come back to the thread of the window."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from qtpy.compat import isalive
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QLabel

from cvcache.napari import CONCURRENCY, MAX_THREADS, Jobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytestqt.qtbot import QtBot


@pytest.fixture
def jobs(qtbot: QtBot) -> Iterator[Jobs]:  # noqa: ARG001 - brings the application
    made = Jobs()
    yield made
    made.close()


def test_a_result_comes_back_to_the_thread_of_the_window(jobs: Jobs, qtbot: QtBot) -> None:
    seen: list[Any] = []
    with qtbot.waitSignal(jobs.finished):
        jobs.start(threading.get_ident, done=lambda worker: seen.extend([worker, threading.get_ident()]))
        assert not jobs.idle
    assert seen[0] != seen[1] == threading.get_ident()
    assert jobs.idle


def test_an_error_reaches_who_asked_or_the_signal_in_one_plain_sentence(jobs: Jobs, qtbot: QtBot) -> None:
    failed: list[Exception] = []
    with qtbot.waitSignal(jobs.finished):
        jobs.start(int, "x", done=failed.append, failed=failed.append)
    assert isinstance(failed[0], ValueError)
    with qtbot.waitSignal(jobs.error) as told:
        jobs.start(int, "\x1b[31mred\nline", done=failed.append)
    assert "ValueError" in told.args[0]
    assert "\x1b" not in told.args[0]
    assert "\n" not in told.args[0]
    assert len(failed) == 1


def test_a_newer_job_of_a_topic_drops_the_older_one(jobs: Jobs, qtbot: QtBot) -> None:
    gate = threading.Event()
    seen: list[int] = []
    jobs.start(lambda: gate.wait(5) and 1, done=seen.append, topic="t")
    jobs.start(lambda: 2, done=seen.append, topic="t")
    jobs.start(lambda: 3, done=seen.append)
    qtbot.waitUntil(lambda: sorted(seen) == [2, 3])
    gate.set()
    time.sleep(0.05)
    qtbot.wait(20)
    assert sorted(seen) == [2, 3]
    assert jobs.idle


def test_a_cancelled_job_is_not_begun_or_not_delivered(jobs: Jobs, qtbot: QtBot) -> None:
    gate = threading.Event()
    seen: list[object] = []
    held = [jobs.start(gate.wait, 5, done=seen.append) for _ in range(CONCURRENCY)]
    never = jobs.start(seen.append, "begun", done=seen.append)
    never.cancel()
    held[0].cancel()
    gate.set()
    qtbot.waitUntil(lambda: jobs.idle)
    assert seen == [True] * (CONCURRENCY - 1)


def test_hanging_jobs_that_nobody_waits_for_leave_room_for_others(jobs: Jobs, qtbot: QtBot) -> None:
    gate = threading.Event()
    seen: list[int] = []
    for _ in range(MAX_THREADS - 1):
        jobs.start(gate.wait, 20, done=seen.append).cancel()
    jobs.start(lambda: 1, done=seen.append)
    qtbot.waitUntil(lambda: seen == [1])
    gate.set()


def test_no_more_threads_than_are_allowed_and_all_are_served_in_the_end(jobs: Jobs, qtbot: QtBot) -> None:
    gate = threading.Event()
    seen: list[bool] = []
    before = threading.active_count()
    for _ in range(2 * MAX_THREADS):
        jobs.start(gate.wait, 20, done=seen.append).cancel()
    jobs.start(gate.wait, 20, done=seen.append)
    assert threading.active_count() - before <= MAX_THREADS
    gate.set()
    qtbot.waitUntil(lambda: seen == [True])


def test_parts_of_a_result_come_in_order_until_it_is_stopped(jobs: Jobs, qtbot: QtBot) -> None:
    parts: list[int] = []
    ended: list[str] = []

    def count(up_to: int, *, stopped: Callable[[], bool], report: Callable[[int], None]) -> str:
        for i in range(up_to):
            report(i)
        while not stopped():
            time.sleep(0.002)
        ended.append("seen")
        return "late"

    job = jobs.start(count, 3, done=ended.append, progress=parts.append)
    qtbot.waitUntil(lambda: parts == [0, 1, 2])
    job.cancel()
    qtbot.waitUntil(lambda: ended == ["seen"])
    qtbot.wait(20)
    assert ended == ["seen"]


def test_nothing_is_delivered_to_what_was_deleted(jobs: Jobs, qtbot: QtBot) -> None:
    class Heard(QObject):
        def hear(self, text: object) -> None:
            raise AssertionError(text)

    label, listener = QLabel(), Heard()
    gate = threading.Event()
    jobs.start(lambda: gate.wait(5) and "x", done=listener.hear)
    jobs.start(lambda: gate.wait(5) and "x", done=lambda text: label.setText(text))  # noqa: PLW0108 - an owner that nobody can see from outside
    label.deleteLater()
    listener.deleteLater()
    qtbot.waitUntil(lambda: not isalive(label) and not isalive(listener))
    gate.set()
    qtbot.waitUntil(lambda: jobs.idle)


def test_closing_waits_for_nothing_and_nothing_comes_afterwards(jobs: Jobs, qtbot: QtBot) -> None:
    gate = threading.Event()
    seen: list[bool] = []
    for _ in range(20):
        jobs.start(gate.wait, 20, done=seen.append)
    began = time.monotonic()
    jobs.close()
    assert time.monotonic() - began < 0.2
    gate.set()
    qtbot.wait(50)
    jobs.start(lambda: True, done=seen.append)
    qtbot.wait(50)
    assert seen == []


def test_a_process_ends_while_a_job_hangs() -> None:
    code = """
import threading
from qtpy.QtWidgets import QApplication
from cvcache.napari.jobs import Jobs
app = QApplication([])
jobs = Jobs()
begun = threading.Event()
jobs.start(lambda: (begun.set(), threading.Event().wait()), done=print)
assert begun.wait(10)
jobs.close()
print("over")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "over", "")


def test_workers_that_end_with_the_process_say_nothing() -> None:
    code = """
import atexit, threading, time
gate = threading.Event()
atexit.register(lambda: (gate.set(), time.sleep(0.5)))  # after Qt has deleted its objects
from qtpy.QtWidgets import QApplication
from cvcache.napari.jobs import Jobs
app = QApplication([])
jobs = Jobs()
for _ in range(4):
    jobs.start(gate.wait, done=print)
while len([one for one in threading.enumerate() if one.name == "cvcache-job"]) < 4:
    time.sleep(0.01)
print("over")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "over", "")
