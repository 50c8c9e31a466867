"""What a commit says of how it was made, and what users add to it."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import cvcache
from cvcache import Policy

if TYPE_CHECKING:
    from pathlib import Path

    from servers.store_cases import MemoryCase, StoreCase


def test_a_commit_says_what_made_it(store_case: StoreCase) -> None:
    node = cvcache.cdir(store_case.url, **store_case.options) / "a"
    with cvcache.cdir_init(node) as d:
        d.write("a.npy", np.zeros(3))
    made = cvcache.cdir_query(node).commit.environment()
    assert made["python"] == ".".join(map(str, sys.version_info[:3]))
    assert made["packages"]["numpy"] == np.__version__
    assert made["packages"]["cvcache"] == cvcache.__version__
    assert not made["packages"].keys() & sys.stdlib_module_names
    assert made["peak_memory"] > 1 << 20
    commit = cvcache.cdir_query(node).commit
    assert commit is not None
    assert commit.duration >= 0
    assert commit.host


def test_the_host_can_be_left_out(memory_case: MemoryCase) -> None:
    node = cvcache.cdir(memory_case.url, policy=Policy(record_host=False))
    assert cvcache.cdir_commit(cvcache.cdir_init(node)).host == ""


SCRIPT = """
import cvcache, sys
with cvcache.cdir_init(sys.argv[1]) as d:
    pass
print(d.commit.environment().get("git"))
"""


def run(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()


def test_git_commit_and_changes_are_recorded(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    script = project / "script.py"
    script.write_text(SCRIPT)
    run("git", "init", "-q", cwd=project)
    run("git", "add", ".", cwd=project)
    run("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "-m", "x", cwd=project)
    commit = run("git", "rev-parse", "HEAD", cwd=project)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run(sys.executable, str(script), "a", cwd=elsewhere) == str({"commit": commit, "dirty": False})
    script.write_text(SCRIPT + "# changed\n")
    assert run(sys.executable, str(script), "b", cwd=elsewhere) == str({"commit": commit, "dirty": True})


def test_a_script_outside_git_says_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    assert run(sys.executable, "script.py", "a", cwd=tmp_path) == "None"


def test_users_add_metadata_to_items_and_nodes(store_case: StoreCase) -> None:
    node = cvcache.cdir(store_case.url, **store_case.options) / "a"
    with cvcache.cdir_init(node) as d:
        d.write("n.json", 1, meta={"stain": "NeuN", "levels": [1, 2]})
        d.meta["nuclei"] = 241
    done = cvcache.cdir_query(node)
    assert done["n.json"].meta["user"] == {"stain": "NeuN", "levels": [1, 2]}
    assert done.meta == {"nuclei": 241}
    done.meta["nuclei"] = 0
    assert done.meta == {"nuclei": 241}
    assert cvcache.cdir_commit(node, meta=None).meta == {"nuclei": 241}


@pytest.mark.parametrize("value", [(1, 2), np.float64(1), {1: 2}, float("nan"), object()])
def test_metadata_that_would_come_back_changed_is_refused(memory_case: MemoryCase, value: object) -> None:
    root = cvcache.cdir(memory_case.url)
    with pytest.raises(cvcache.NotReproducible, match="plain JSON"), cvcache.cdir_init(root / "a") as d:
        d.write("n.json", 1, meta={"x": value})
    with pytest.raises(cvcache.NotReproducible, match="plain JSON"), cvcache.cdir_init(root / "b") as d:
        d.meta["x"] = value
    assert [cvcache.cdir_query(root / name).state for name in "ab"] == ["failed", "failed"]


def test_without_a_cache_the_same_code_works() -> None:
    with cvcache.cdir_init(None) as d:
        d.write("n.json", 1, meta={"stain": "NeuN"}, track=False)
        d.meta["nuclei"] = 1
    assert (d["n.json"].meta["user"], d.meta) == ({"stain": "NeuN"}, {"nuclei": 1})
    assert "python" in d.commit.environment()


def test_commit_times_are_aware_and_comparable(memory_case: MemoryCase, monkeypatch: pytest.MonkeyPatch) -> None:
    root = cvcache.cdir(memory_case.url)
    times = []
    for zone in ("Asia/Tokyo", "America/Los_Angeles"):
        monkeypatch.setenv("TZ", zone)
        commit = cvcache.cdir_commit(cvcache.cdir_init(root / zone.replace("/", "-")))
        assert commit is not None
        times.append(commit.time)
    assert [time.utcoffset() for time in times] == [dt.timedelta(0)] * 2
    assert times[1] - times[0] < dt.timedelta(minutes=10)
