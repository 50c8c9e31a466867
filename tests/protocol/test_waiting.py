"""Who waits for whom, who takes over from whom, and what is left of the one who lost."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from simulated import FILE, REQUEST_TIMEOUT, TTL, World, compute, compute_by_hand, fill, read_mark, world

import cvcache
from cvcache import (
    LeaseLost,
    NodeBusy,
    NodeStale,
    Policy,
    RecursiveNode,
    cdir,
    cdir_commit,
    cdir_init,
    cdir_query,
)
from cvcache.node import snapshot_of
from cvcache.testing import WrapperStore

if TYPE_CHECKING:
    from servers.store_cases import LocalCase, StoreCase

__all__ = ["world"]


@pytest.fixture
def url(local_case: LocalCase) -> str:
    """Give a node on disk that does not exist yet."""
    return local_case.url


def in_thread(act: Any) -> threading.Thread:
    thread = threading.Thread(target=act, name="other thread")
    thread.start()
    return thread


# ---- live owners


def test_a_second_thread_waits_and_then_reads(url: str, caplog: pytest.LogCaptureFixture) -> None:
    owner = cdir_init(url)
    owner.write(FILE, {"by": "the first"})
    waiting, found = threading.Event(), []
    policy = Policy(sleep=lambda seconds: (waiting.set(), time.sleep(min(seconds, 0.01)))[-1])
    with caplog.at_level(logging.WARNING, "cvcache"):
        thread = in_thread(lambda: found.append(cdir_init(url, policy=policy)))
        assert waiting.wait(10)
        cdir_commit(owner)
        thread.join(10)
    assert found[0].read(FILE) == {"by": "the first"}
    assert not found[0].computed
    (line,) = [r.getMessage() for r in caplog.records if "waiting for it" in r.getMessage()]
    assert f"pid {os.getpid()}" in line
    assert "MainThread" in line
    assert dt.datetime.now(dt.UTC).date().isoformat()[:7] in line


def test_without_wait_a_live_owner_is_an_error_at_once(store_case: StoreCase) -> None:
    owner = cdir_init(cdir(store_case.url, **store_case.options))
    assert cdir_query(store_case.url, **store_case.options).state == "running"

    def refuse_to_sleep(_: float) -> None:
        pytest.fail("slept")

    caught: list[BaseException] = []

    def contend() -> None:
        for how in ({"wait": False}, {"wait": False, "force": True}):
            try:
                cvcache.cdir_init(
                    cdir(store_case.url, policy=Policy(sleep=refuse_to_sleep), **store_case.options), **how
                )
            except NodeBusy as error:
                caught.append(error)

    in_thread(contend).join(10)
    assert len(caught) == 2
    assert f"pid {os.getpid()}" in str(caught[0])
    owner.write("other.json", 1)
    owner.write(FILE, {"by": "undisturbed"})
    assert cdir_commit(owner)
    assert {item.name for item in owner.items()} == {"other.json", FILE}


def test_another_machine_that_beats_is_waited_for(world: World, url: str) -> None:
    there, here = world.process("there"), world.process("here")
    with there:
        owner = cdir_init(url, policy=world.policy)

    def sleep(seconds: float) -> None:
        world.sleep(seconds)
        if world.time > 20 * TTL and owner.commit is None and snapshot_of(owner).attempt is not None:
            with there:
                fill(owner)
                cdir_commit(owner)

    with here:
        found = cdir_init(url, policy=Policy(ttl=TTL, clock=lambda: world.time, sleep=sleep))
        assert found.committed
        assert not found.computed
    assert world.time > 20 * TTL


def test_a_silent_machine_is_given_up_after_its_lease_and_one_request(world: World, url: str) -> None:
    there, here = world.process("there"), world.process("here")
    with there:
        lost = cdir_init(url, policy=world.policy)
        lost.write(FILE, {"by": "the silent one"})
    with there.stopped(), here:
        taken = cdir_init(url, policy=world.policy)
        assert TTL + REQUEST_TIMEOUT < world.time < 2 * (TTL + REQUEST_TIMEOUT)
        mark = fill(taken)
        cdir_commit(taken)
        root = snapshot_of(cdir_query(url)).record.root  # type: ignore[union-attr]  # it was committed a line above
    assert root.startswith("_cvcache/attempts/")
    with there:
        snapshot_of(lost).attempt.store.put(f"{snapshot_of(lost).attempt.root}/{FILE}", b"late and past the fence")  # type: ignore[union-attr]
        with pytest.raises(LeaseLost, match="taken over"):
            lost.write(FILE, {"by": "the silent one"})
        with pytest.raises(LeaseLost):
            cdir_commit(lost)
    with here:
        found = cdir_query(url, policy=world.policy)
        assert read_mark(found) == mark
        assert found[FILE].url == f"{url}/{root}/{FILE}"


def test_wall_clocks_decide_nothing(world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    there, here = world.process("there"), world.process("here")
    with there:
        cdir_init(url, policy=world.policy)
    for module in ("claim", "finish"):
        monkeypatch.setattr(f"cvcache.protocol.{module}.utc_timestamp", lambda: "1970-01-01T00:00:00+00:00")
    monkeypatch.setattr(time, "time", lambda: -1e9)
    with there.stopped(), here:
        assert not cdir_init(url, policy=world.policy).committed
    assert world.time > TTL


# ---- dead owners


def test_an_owner_killed_on_this_machine_is_taken_over_at_once_and_in_place(url: str) -> None:
    script = f"""
import cvcache, os, signal
node = cvcache.cdir_init({url!r})
node.write({FILE!r}, {{"by": "the dead"}})
node.write("other.json", 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == -9
    assert cdir_query(url).state == "failed"
    assert "died" in cdir_query(url).error["message"]  # type: ignore[index]  # a dead owner is an error

    def refuse_to_sleep(_: float) -> None:
        pytest.fail("slept")

    node = cdir_init(url, policy=Policy(sleep=refuse_to_sleep))
    assert "died" in node.reason[0]
    fill(node)
    cdir_commit(node)
    assert snapshot_of(node).record.root == "."  # type: ignore[union-attr]  # it was committed a line above
    assert "other.json" not in node
    assert not Path(url, "other.json").exists()


def test_a_shared_attempt_is_never_taken_over_in_place(world: World, url: str) -> None:
    first, second = world.process(), world.process()
    with first:
        dead = cdir_init(url, policy=world.policy)
        dead.path("made-elsewhere.bin")
        first.kill()
    with second:
        taken = compute(url, None, world.policy)
        assert snapshot_of(taken).record.root != "."  # type: ignore[union-attr]  # it is committed


def test_a_thread_that_ended_left_its_node_behind(url: str) -> None:
    left: list[Any] = []
    in_thread(lambda: left.append(cdir_init(url))).join()
    node = compute(url, None, Policy())
    assert node.committed
    with pytest.raises(LeaseLost):
        left[0].write(FILE, {"by": "nobody"})


# ---- the same owner again


def test_a_notebook_cell_that_is_run_again_takes_its_node_back(url: str) -> None:
    older = cdir_init(url, {"sigma": 1})
    older.write(FILE, {"by": "older"})
    newer = cdir_init(url, {"sigma": 1}, wait=False)
    assert "not committed" in newer.reason[0]
    with pytest.raises(LeaseLost, match="opened again"):
        older.write(FILE, {"by": "older"})
    fill(newer)
    cdir_commit(newer)
    assert snapshot_of(newer).record.root == "."


def test_writes_of_the_older_cell_are_awaited(url: str) -> None:
    older = cdir_init(url)
    attempt = snapshot_of(older).attempt
    assert attempt is not None
    begun, released, order = threading.Event(), threading.Event(), []

    def slow_write() -> None:
        with attempt.writing():
            begun.set()
            released.wait(10)
            order.append("the older write ended")

    thread = in_thread(slow_write)
    assert begun.wait(10)
    threading.Timer(0.05, released.set).start()
    newer = cdir_init(url)
    order.append("the newer attempt began")
    thread.join()
    assert order == ["the older write ended", "the newer attempt began"]
    assert not newer.committed


def test_a_node_inside_its_own_body_is_refused(url: str) -> None:
    with cdir_init(url) as node:
        with pytest.raises(RecursiveNode, match="child of its own"):
            cdir_init(url)
        with pytest.raises(RecursiveNode):
            cdir_init(url, force=True)
        fill(node)
    assert node.committed


def test_two_asyncio_tasks_of_one_thread_do_not_wait_for_each_other_for_ever(url: str) -> None:
    """Waiting would stop the very task that is waited for."""

    async def main() -> None:
        opened, tried = asyncio.Event(), asyncio.Event()

        async def first() -> None:
            node = cdir_init(url)
            opened.set()
            await tried.wait()
            fill(node)
            cdir_commit(node)

        async def second() -> None:
            await opened.wait()
            with pytest.raises(NodeBusy):
                cdir_init(url)
            tried.set()

        await asyncio.gather(first(), second())

    asyncio.run(main())
    assert cdir_query(url).committed


def test_a_task_that_ended_left_its_node_behind(url: str) -> None:
    async def leave() -> None:
        cdir_init(url)

    async def main() -> None:
        await asyncio.create_task(leave())
        compute(url, None, Policy())

    asyncio.run(main())
    assert cdir_query(url).committed


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_cannot_write(url: str) -> None:
    node = cdir_init(url)
    child = os.fork()
    if child == 0:  # pragma: no cover - in the child
        try:
            node.write(FILE, {"by": "the child"})
        except LeaseLost:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    fill(node)
    assert cdir_commit(node)


# ---- failures


@pytest.mark.parametrize("error", [ValueError("the mask is empty"), KeyboardInterrupt()])
def test_a_failure_leaves_its_traceback_and_log_and_nobody_waits(url: str, error: BaseException) -> None:
    def fail() -> None:
        with cdir_init(url) as node, node.log():
            sys.stdout.write("before the failure")
            node.write(FILE, {"by": "the failed"})
            raise error

    with pytest.raises(type(error)):
        fail()
    found = cdir_query(url)
    assert found.state == "failed"
    assert "before the failure" in found.read("run.log")
    assert type(error).__name__ in found.read("run.log")
    report = found.error
    assert report is not None
    assert (report["type"], report["message"]) == (type(error).__name__, str(error))
    assert "raise error" in report["traceback"]
    thread_found: list[Any] = []
    in_thread(lambda: thread_found.append(compute(url, None, Policy()))).join(10)
    assert thread_found[0].committed
    assert "run.log" not in thread_found[0]


def test_what_a_failed_attempt_logged_is_kept(url: str) -> None:
    def fail() -> None:
        with cdir_init(url) as node, node.log():
            sys.stdout.write("evidence")
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    compute(url, None, Policy())
    (kept,) = Path(url, "_cvcache", "failed").rglob("run.log")
    assert "evidence" in kept.read_text()


def test_nobody_waits_for_a_body_whose_commit_failed(world: World, url: str) -> None:
    """The process lives on, and beats, but nobody can commit that attempt any more."""

    class NoCommit(WrapperStore):
        refused = False

        def put(self, path: str, data: bytes) -> None:
            if "/inventory/" in path and not self.refused:
                self.refused = True
                raise OSError(28, "no space left on device", path)
            self.store.put(path, data)

    first, second = world.process(), world.process()
    with first.through(NoCommit), pytest.raises(OSError, match="no space"):
        compute(url, None, world.policy)
    with second:
        assert cdir_query(url).state == "failed"
        assert compute(url, None, world.policy, wait=False).committed


# ---- parents and children


# ---- keys


def test_on_stale_recompute_says_why(url: str, caplog: pytest.LogCaptureFixture) -> None:
    compute(url, {"sigma": 4.0}, Policy())
    with caplog.at_level(logging.INFO, "cvcache"):
        node = compute(url, {"sigma": 6.0}, Policy())
    assert node.computed
    assert node.reason == ("sigma: 4.0 -> 6.0",)
    assert any("sigma: 4.0 -> 6.0" in r.getMessage() for r in caplog.records)


def test_on_stale_error_changes_nothing(url: str) -> None:
    mark = read_mark(compute(url, {"sigma": 4.0}, Policy()))
    with pytest.raises(NodeStale, match=r"sigma: 4\.0 -> 6\.0"):
        cdir_init(url, {"sigma": 6.0}, on_stale="error")
    assert read_mark(cdir_query(url)) == mark


def test_on_stale_new_keeps_both_side_by_side(url: str) -> None:
    first = read_mark(compute(f"{url}/zoom", {"factor": 0.5}, Policy()))
    second = compute(f"{url}/zoom", {"factor": 0.25}, Policy(), on_stale="new")
    assert second.name == "zoom,factor=0.25"
    assert read_mark(second) != first
    assert read_mark(cdir_query(f"{url}/zoom")) == first
    again = compute(f"{url}/zoom", {"factor": 0.25}, Policy(), on_stale="new")
    assert not again.computed
    assert again == second
    assert {child.name for child in cdir(url).children()} == {"zoom", "zoom,factor=0.25"}


@pytest.mark.parametrize("value", ["x.", "a ", "a\nb", "..", "UPPER", "b.zarr"])
def test_a_sweep_over_odd_texts(local_case: LocalCase, value: str) -> None:
    node = cdir(local_case.url) / "sw"
    for text in ("first", value):
        with cvcache.cdir_init(node, {"text": text}, on_stale="new") as out:
            out.write("text.json", text)
    assert {child.read("text.json") for child in cdir(local_case.url).children()} == {"first", value}


def test_no_key_has_no_opinion_and_a_node_without_one_is_stale_for_who_has(url: str) -> None:
    compute(url, {"a": 1}, Policy())
    assert cdir_init(url).committed
    other = f"{url}/other"
    compute(other, None, Policy())
    with cdir_init(other, {"a": 1}) as node:
        assert not node.committed
        fill(node)


def test_force_computes_again_and_changes_the_version(url: str) -> None:
    first = compute(url, {"a": 1}, Policy()).version
    second = compute(url, {"a": 1}, Policy(), force=True)
    assert second.computed
    assert second.reason == ("forced",)
    assert second.version != first
    assert compute(url, {"a": 1}, Policy()).version == second.version


@pytest.mark.parametrize("spelt", ["by handle", "by URL"])
def test_a_child_without_a_key_inherits_that_of_its_open_parent(url: str, spelt: str) -> None:
    def run(sigma: float) -> bool:
        with cdir_init(url, {"sigma": sigma}) as parent:
            if not parent.committed:
                fill(parent)
            where = parent / "inner" if spelt == "by handle" else f"{url}/inner"
            return compute_by_hand(where, None, Policy()).computed  # type: ignore[arg-type]  # a handle is a where too

    assert run(1.0)
    compute(url, {"sigma": 1.0}, Policy(), force=True)
    assert run(2.0)
    assert cdir_query(f"{url}/inner").commit.key == {"sigma": 2.0}  # type: ignore[union-attr]  # it is committed
    assert cdir_init(f"{url}/inner").committed
