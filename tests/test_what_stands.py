"""The table of docs/how-to/stale-results.md: each row of it is brought about, and each cell compared."""

from __future__ import annotations

import contextlib
import errno
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from child import child

from cvcache import CacheDir, NodeStale, Policy, cdir, cdir_init, cdir_query, cdir_remove, plan
from cvcache.testing import WrapperStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "stale-results.md"
OLD, NEW = {"width": 2}, {"width": 3}
ITEM = "by.json"
NO_OLD_RESULT = {"never computed", "the first run fails"}
KILLED = """
import sys, time, cvcache
out = cvcache.cdir_init(sys.argv[1], {"width": 3})
out.write("by.json", "half")
print(flush=True)
time.sleep(600)
"""


def read_table() -> dict[str, list[str]]:
    """Return what the page says of each situation."""
    lines = re.findall(r"^\|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    return {situation: others for situation, *others in cells[2:]}


class FullStore(WrapperStore):
    """A store whose disk takes no item any more."""

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:
        if verb == "put" and path.endswith(f"/{ITEM}"):
            raise OSError(errno.ENOSPC, f"no space left for {len(data or b'')} bytes", path)
        return act()


def commit(node: CacheDir, key: object, result: str = "the new result", **how: Any) -> None:
    with cdir_init(node, key, **how) as out:
        out.write(ITEM, result)


def fail(node: CacheDir, key: object, error: BaseException, **how: Any) -> None:
    with contextlib.suppress(type(error)), cdir_init(node, key, **how) as out:
        out.write(ITEM, "half")
        raise error


@contextlib.contextmanager
def under_way(node: CacheDir, key: object, **how: Any) -> Iterator[None]:
    """Keep the node open in another thread."""
    opened, go_on = threading.Event(), threading.Event()

    def compute() -> None:
        with cdir_init(node, key, **how) as out:
            out.write(ITEM, "half")
            opened.set()
            go_on.wait(60)

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        assert opened.wait(60)
        yield
    finally:
        go_on.set()
        thread.join()


def kill(node: CacheDir) -> None:
    with child([sys.executable, "-c", KILLED, node.url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        process.kill()


def fill_the_disk(node: CacheDir) -> None:
    with instrument(FullStore), pytest.raises(OSError, match="no space left"):
        commit(cdir(node.url), NEW)


def refuse(node: CacheDir) -> None:
    with pytest.raises(NodeStale):
        cdir_init(node, NEW, on_stale="error")


def remove(node: CacheDir) -> None:
    assert cdir_remove(node) == [node.url]


def small_disk(node: CacheDir) -> CacheDir:
    return cdir(node, policy=Policy(keep_old=False))


SITUATIONS: dict[str, Callable[[CacheDir], contextlib.AbstractContextManager[None] | None]] = {
    "never computed": lambda _: None,
    "the first run fails": lambda node: fail(node, NEW, ValueError("bug")),
    "committed": lambda _: None,
    "the key has changed, the new run is under way": lambda node: under_way(node, NEW),
    "the new run fails": lambda node: fail(node, NEW, ValueError("bug")),
    "the new run is interrupted": lambda node: fail(node, NEW, KeyboardInterrupt()),
    "the new run is killed": kill,
    "the disk is full": fill_the_disk,
    "the new run commits": lambda node: commit(node, NEW),
    "a forced run is under way": lambda node: under_way(node, OLD, force=True),
    "a forced run fails": lambda node: fail(node, OLD, ValueError("bug"), force=True),
    "a forced run commits": lambda node: commit(node, OLD, force=True),
    '`on_stale="error"`': refuse,
    '`on_stale="new"`': lambda node: commit(node, NEW, on_stale="new"),
    "`keep_old=False`, the new run is under way": lambda node: under_way(small_disk(node), NEW),
    "`keep_old=False`, the new run fails": lambda node: fail(small_disk(node), NEW, ValueError("bug")),
    "removed": remove,
}
"""What brings about each situation, of a node with the old result but for `NO_OLD_RESULT`; a context if it lasts."""


def observe(node: CacheDir) -> list[str]:
    """Return what the table says of a node."""
    found = cdir_query(node)
    assert found.committed == (found.commit is not None)
    result, lies_at = "nothing", ""
    if found.committed:
        result = found.read(ITEM)
        lies_at = "`_cvcache/attempts/`" if "/_cvcache/attempts/" in found.path(ITEM) else "plain names"
    error = found.error["type"] if found.error else ""
    return [result, found.state, error, planned(node, OLD), planned(node, NEW), lies_at]


def planned(node: CacheDir, key: object) -> str:
    """Return what a script that asks for this key would do."""
    with plan() as would:
        cdir_init(cdir(node.url), key)
    (row,) = would.rows
    return row.action


def test_each_situation_of_the_table_is_brought_about() -> None:
    assert list(read_table()) == list(SITUATIONS)


@pytest.mark.parametrize("situation", read_table())
def test_what_stands(situation: str, tmp_path: Path) -> None:
    node = cdir(tmp_path / "node")
    if situation not in NO_OLD_RESULT:
        commit(node, OLD, "the old result")
    with SITUATIONS[situation](cdir(node.url)) or contextlib.nullcontext():
        assert observe(node) == read_table()[situation]
