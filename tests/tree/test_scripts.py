"""Scripts of users, each in a process of its own: edited, run side by side, killed, and run again."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from projects import Project

import cvcache

if TYPE_CHECKING:
    from pathlib import Path


MEASURE = """
    import cvcache, sys

    LEVEL = 1

    @cvcache.step
    def measure(out):
        out.write("n.json", LEVEL + 1)

    node = measure(cvcache.cdir(sys.argv[1]) / "measure")
    print(node.read("n.json"), node.computed)
    """


def test_an_edited_script_is_seen_and_a_comment_is_not(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", script=MEASURE)
    url = tmp_path / "run"
    assert project.run("script", url) == ["2 True"]
    project.edit("script", "def measure(out):\n", 'def measure(out):\n    """Measure."""\n    # as ever\n')
    assert project.run("script", url) == ["2 False"]
    project.edit("script", "LEVEL + 1", "LEVEL + 2")
    assert project.run("script", url) == ["3 True"]
    project.edit("script", "LEVEL = 1", "LEVEL = 5")
    assert project.run("script", url) == ["7 True"]


def test_an_edited_helper_is_seen_and_named(tmp_path: Path) -> None:
    helper = "def level():\n    return 1\n"
    project = Project(tmp_path / "project", helper=helper, script=MEASURE)
    project.edit("script", "LEVEL = 1", "from helper import level")
    project.edit("script", "LEVEL + 1", "level() + 1")
    url = tmp_path / "run"
    assert project.run("script", url) == ["2 True"]
    project.edit("helper", "return 1", "return 7")
    assert project.run("script", url) == ["8 True"]
    assert list(cvcache.cdir_query(url / "measure").reason) == ["code: changed (helper level in helper)"]


SCRIPT = """
    import cvcache, sys
    from steps import measure

    node = measure(cvcache.cdir(sys.argv[1]) / "n")
    print(node.read("n.json"), node.computed)
    """


STEPS = """
    import cvcache, lib.helpers

    GAIN = 10

    @cvcache.step
    def measure(out):
        out.write("n.json", lib.helpers.level() * GAIN)
    """


HELPERS = """
    def level():
        return inner()

    def inner():
        return 1

    def unrelated():
        return 0
    """


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path / "project", script=SCRIPT, steps=STEPS)
    lib = Project(found.folder / "lib", __init__="", helpers=HELPERS)
    assert lib.folder.is_dir()
    return found


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("steps", "level() * GAIN", "level() + GAIN", "11 True"),
        ("steps", "GAIN = 10", "GAIN = 20", "20 True"),
        ("lib/helpers", "return 1", "return 2", "20 True"),
        ("lib/helpers", "return 0", "return 5", "10 False"),
        ("lib/helpers", "return 1", "return 1  # of three", "10 False"),
        ("steps", "import cvcache, lib.helpers", "import cvcache\nimport lib.helpers\n\n", "10 False"),
    ],
    ids=["own body", "constant", "helper of a helper", "unrelated function", "comment", "formatting"],
)
def test_an_edited_module_is_seen_and_a_comment_is_not(
    project: Project, file: str, old: str, new: str, said: str
) -> None:
    assert project.run("script", "run") == ["10 True"]
    project.edit(file, old, new)
    assert project.run("script", "run") == [said]


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


def test_one_process_computes_and_the_others_wait_and_read(tmp_path: Path) -> None:
    project = Project(tmp_path / "project", script=SLOW)
    assert project.run_together(4, "script") == [(tmp_path / "project/runs.txt").read_text().splitlines()] * 4


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


@pytest.mark.parametrize("point", ["early", "half", "late"])
def test_a_torn_write_is_never_read_as_valid_and_taken_over_at_once(
    killed: Project, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIE", point)
    assert killed.die("script") == -signal.SIGKILL
    torn = cvcache.cdir_query(killed.folder / "run/work")
    assert (torn.state, torn.committed, torn.commit) == ("failed", False, None)
    monkeypatch.delenv("DIE")
    assert killed.run("script")[0].startswith("1 ")
    assert cvcache.cdir_verify(killed.folder / "run") == []


CASES = """
    import cvcache, os, signal, sys

    @cvcache.step(version=1)
    def work(out, n):
        if n == int(os.environ.get("DIE", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        out.write("n.json", n)

    with cvcache.cdir_init("run") as top:
        if not top.committed:
            nodes = [work(top / f"case{n}", n) for n in range(5)]
            print([node.name for node in nodes if node.computed])
            top.write("sum.json", sum(node.read("n.json") for node in nodes))
    print(top.read("sum.json"))
    """


def test_a_kill_loses_no_child_that_was_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project(tmp_path / "project", script=CASES)
    monkeypatch.setenv("DIE", "3")
    assert project.die("script") == -signal.SIGKILL
    monkeypatch.delenv("DIE")
    assert project.run("script") == ["['case3', 'case4']", "10"]
