"""Steps that are coroutines: the same nodes, and an event loop that is never held up by a store."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import cvcache
from cvcache import CacheDir
from cvcache.testing import WrapperStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import MemoryCase, StoreCase

    from cvcache.store import Store

runs: list[str] = []


@pytest.fixture(autouse=True)
def _forget_runs() -> None:
    runs.clear()


@pytest.fixture
def root(memory_case: MemoryCase) -> CacheDir:
    return cvcache.cdir(memory_case.url)


@cvcache.step(version=1)
async def fetch(out: CacheDir, value: int, *, seconds: float = 0.0) -> None:
    runs.append(out.name)
    await asyncio.sleep(seconds)
    out.write("value.json", value)
    print(f"fetched {value}")  # noqa: T201 - what the log is to keep


def test_a_coroutine_function_gives_a_coroutine_and_the_value_is_kept(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)
    coming = fetch(root / "a", 7)
    assert asyncio.iscoroutine(coming)
    assert asyncio.run(coming).read("value.json") == 7
    again = asyncio.run(fetch(root / "a", 7))
    assert (again.computed, again.read("value.json"), runs) == (False, 7, ["a"])
    assert "fetched 7" in again.read("run.log")


def test_steps_side_by_side_keep_their_logs_apart(root: CacheDir) -> None:
    async def both() -> list[CacheDir]:
        return list(await asyncio.gather(*(fetch(root / f"n{i}", i, seconds=0.02) for i in range(5))))

    for i, node in enumerate(asyncio.run(both())):
        assert f"fetched {i}" in node.read("run.log")
        assert node.read("run.log").count("fetched") == 1


def test_two_tasks_that_want_the_same_node_compute_it_once(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)

    async def both() -> list[CacheDir]:
        return list(await asyncio.gather(fetch(root / "a", 1, seconds=0.2), fetch(root / "a", 1, seconds=0.2)))

    first, second = asyncio.run(both())
    assert runs == ["a"]
    assert first.read("value.json") == second.read("value.json") == 1


def test_only_what_the_step_writes_itself_asks_the_store_in_the_loops_thread(root: CacheDir) -> None:
    threads: set[threading.Thread] = set()

    class Watching(WrapperStore):
        def put_new(self, path: str, data: bytes) -> bool:
            threads.add(threading.current_thread())
            return super().put_new(path, data)

        def put(self, path: str, data: bytes) -> None:
            threads.add(threading.current_thread())
            super().put(path, data)

        def list(self, path: str, limit: int | None = None) -> Any:
            threads.add(threading.current_thread())
            return super().list(path, limit)

    def wrap(store: Store) -> Store:
        return Watching(store)

    with instrument(wrap):
        asyncio.run(quiet(cvcache.cdir(root.url) / "quiet"))
    assert threads
    assert threading.current_thread() not in threads


@cvcache.step(version=1)
async def quiet(out: CacheDir) -> None:
    await asyncio.sleep(0)
    out.meta["seen"] = 1


def _wait_for(what: Callable[[], bool]) -> None:
    while not what():
        time.sleep(0.01)


def test_a_cancelled_step_is_a_failure_and_the_next_goes_on(root: CacheDir) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(fetch(root / "a", 1, seconds=60))
        await asyncio.sleep(0)
        await asyncio.to_thread(_wait_for, lambda: bool(runs))
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    node = cvcache.cdir_query(root / "a")
    assert node.state == "failed"
    assert node.error is not None
    assert node.error["type"] == "CancelledError"
    assert asyncio.run(fetch(root / "a", 1)).read("value.json") == 1


def test_a_task_cancelled_while_it_opens_its_node_leaves_it_free(root: CacheDir) -> None:
    claimed, go_on = threading.Event(), threading.Event()

    class Slow(WrapperStore):
        def put_new(self, path: str, data: bytes) -> bool:
            done = super().put_new(path, data)
            if not claimed.is_set():
                claimed.set()
                go_on.wait(30)
            return done

    async def cancel() -> None:
        task = asyncio.create_task(fetch(cvcache.cdir(root.url) / "a", 1))
        await asyncio.to_thread(claimed.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        await asyncio.to_thread(_wait_for, lambda: cvcache.cdir_query(root / "a").state != "running")

    with instrument(Slow):
        asyncio.run(cancel())
    assert cvcache.cdir_query(root / "a").state == "absent"
    assert runs == []


def test_an_async_context_commits(store_case: StoreCase) -> None:
    root = cvcache.cdir(store_case.url, **store_case.options)

    async def fill() -> None:
        async with cvcache.cdir_init(root / "a", {"n": 1}) as d:
            d.write("n.json", 1)

    asyncio.run(fill())
    assert cvcache.cdir_query(root / "a").read("n.json") == 1


def test_a_failure_is_recorded_with_its_traceback(root: CacheDir) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(fails(root / "a"))
    node = cvcache.cdir_query(root / "a")
    assert node.state == "failed"
    assert "ZeroDivisionError" in node.read("run.log")


@cvcache.step(version=1)
async def fails(out: CacheDir) -> None:
    out.write("half.json", 1)
    await asyncio.sleep(0)
    raise ZeroDivisionError


def test_more_tasks_than_threads_that_want_the_same_node(root: CacheDir) -> None:
    async def all_of_them() -> list[CacheDir]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        return list(await asyncio.gather(*(fetch(root / "a", 1, seconds=0.2) for _ in range(8))))

    assert len(asyncio.run(all_of_them())) == 8
    assert runs == ["a"]


def test_a_task_cancelled_while_it_waits_leaves_the_other_result(root: CacheDir) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def other() -> None:
        with cvcache.cdir_init(root / "a", {"another": "key"}) as d:
            busy.set()
            go_on.wait(30)
            d.write("value.json", 2)

    async def cancel() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(fetch(root / "a", 1), 0.3)
        go_on.set()
        await asyncio.to_thread(thread.join)
        await asyncio.sleep(1)

    thread = threading.Thread(target=other)
    thread.start()
    busy.wait(30)
    asyncio.run(cancel())
    assert cvcache.cdir_query(root / "a").read("value.json") == 2


def test_a_coroutine_that_a_decorator_hides_is_no_empty_result(root: CacheDir) -> None:
    def decorate(function: Callable[..., object]) -> Callable[..., object]:
        @functools.wraps(function)
        def inner(*args: object) -> object:
            return function(*args)

        return inner

    async def body(out: CacheDir) -> None:
        out.write("value.json", 1)

    hidden = cvcache.step(version=1)(decorate(body))  # type: ignore[arg-type]  # on purpose
    with pytest.raises(cvcache.UsageError, match="nobody runs"):
        hidden(root / "a")
    assert cvcache.cdir_query(root / "a").state == "failed"


def test_no_coroutine_is_left_behind_when_the_result_is_there(root: CacheDir) -> None:
    @cvcache.step(version=1)
    async def fetch(out: CacheDir) -> None:
        out.write("n.json", 1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert asyncio.run(fetch(root / "n")).read("n.json") == 1
            gc.collect()
