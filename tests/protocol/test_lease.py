"""An attempt this process holds: what it may write, and what ends that."""

from __future__ import annotations

import hashlib
import json
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest
from simulated import FILE, PAIR, World, compute, fill, log_of, quiet_store, read_mark, world

import cvcache
from cvcache import LeaseLost, NodeBusy, Policy, cdir, cdir_commit, cdir_init, cdir_query
from cvcache.node import address_of, snapshot_of
from cvcache.protocol import Attempt, find_open_attempt_at, finish, observe, remove
from cvcache.testing import CountingStore, FaultyStore, WrapperStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import LocalCase, StoreCase

    from cvcache import CacheDir

__all__ = ["world"]


def attempt_of(node: CacheDir) -> Attempt:
    attempt = find_open_attempt_at(node.url)
    assert attempt is not None
    return attempt


@pytest.fixture
def node(store_case: StoreCase) -> CacheDir:
    """Give a node open for writing, on each kind of store."""
    return cvcache.cdir_init(cdir(store_case.url, **store_case.options))


def test_a_beat_is_a_counter(node: CacheDir, store_case: StoreCase) -> None:
    attempt = attempt_of(node)
    for count in (1, 2):
        attempt.beat()
        assert store_case.read(f"_cvcache/beat/{attempt.id}") == b"%d" % count
    assert not attempt.lost


def test_an_item_is_announced_before_its_first_byte(node: CacheDir, store_case: StoreCase) -> None:
    log: list[tuple[str, str]] = []
    with instrument(lambda store: _logging(store, log)):
        again = cvcache.cdir_init(cdir(node.url, **store_case.options))
        log.clear()
        again.write("stats.json", {"a": 1})
    puts = [path.rpartition("/_cvcache/")[2] for verb, path in log if verb == "put"]
    assert puts[0] == f"writing/{attempt_of(node).id}/stats.json.json"
    assert puts[1].endswith("/stats.json")


def _logging(store: object, log: list[tuple[str, str]]) -> CountingStore:
    counting = CountingStore(store)  # type: ignore[arg-type]  # instrument gives a store
    counting.log = log
    return counting


def test_an_announcement_says_whose_it_is(node: CacheDir, store_case: StoreCase) -> None:
    node.write("stats.json", 1)
    attempt = attempt_of(node)
    row = json.loads(store_case.read(f"_cvcache/writing/{attempt.id}/stats.json.json"))
    owner = attempt.record.owner
    data = b"1\n"
    first = [["", len(data), hashlib.sha256(data).hexdigest()]]
    assert row == {"item": "stats.json", "attempt": attempt.id, "root": ".", "boot": owner.boot, "first": first}


def test_a_path_that_is_handed_out_marks_the_attempt_as_shared(node: CacheDir, store_case: StoreCase) -> None:
    attempt = attempt_of(node)
    shared = f"_cvcache/beat/{attempt.id}.shared"
    node.write("stats.json", 1)
    assert shared not in store_case.snapshot()
    assert node.path("made-elsewhere.txt").endswith("/made-elsewhere.txt")
    assert shared in store_case.snapshot()


def test_a_log_deleted_by_hand_ends_the_attempt_at_its_next_beat(local_case: LocalCase) -> None:
    node = cdir_init(local_case.url)
    attempt = attempt_of(node)
    local_case.delete("_cvcache/log/000001-root.json")
    attempt.beat()
    assert attempt.lost
    with pytest.raises(LeaseLost, match="deleted"):
        node.write("stats.json", 1)


def test_after_a_long_silence_the_log_is_asked_before_a_write(local_case: LocalCase) -> None:
    clock = [0.0]
    node = cdir_init(local_case.url, policy=Policy(ttl=60, clock=lambda: clock[0]))
    node.write("first.json", 1)
    successor = f"_cvcache/log/000002-{attempt_of(node).id}.json"
    local_case.put(successor, b"{}")
    node.write("second.json", 1)
    clock[0] = 31.0
    with pytest.raises(LeaseLost, match="taken over"):
        node.write("third.json", 1)


def test_a_late_heartbeat_alone_takes_nothing_away(local_case: LocalCase) -> None:
    clock = [0.0]
    node = cdir_init(local_case.url, policy=Policy(ttl=60, clock=lambda: clock[0]))
    clock[0] = 1e6
    node.write("stats.json", 1)
    assert cdir_commit(node)


def test_a_file_closed_after_the_node_was_lost_is_not_published(node: CacheDir, store_case: StoreCase) -> None:
    late = node.open("late.bin", "wb")
    late.write(b"too late")
    newer = cvcache.cdir_init(node)
    with pytest.raises(LeaseLost):
        late.close()
    assert "late.bin" not in store_case.snapshot()
    newer.write("stats.json", 1)
    assert [item.name for item in cdir_query(newer).items()] != ["late.bin"]


def test_an_attempt_stays_in_its_process(node: CacheDir) -> None:
    with pytest.raises(TypeError, match="send the CacheDir"):
        pickle.dumps(attempt_of(node))
    sent = pickle.loads(pickle.dumps(node))  # noqa: S301 - made a line above
    assert sent == node


# ---- writes under way


class Held:
    """A write that goes on until it is let go."""

    def __init__(self, attempt: Attempt) -> None:
        self.let_go = threading.Event()
        self.ended = False
        begun = threading.Event()

        def write() -> None:
            with attempt.writing():
                begun.set()
                self.let_go.wait(30)
                self.ended = True

        self.thread = threading.Thread(target=write)
        self.thread.start()
        assert begun.wait(10)


def test_a_commit_waits_for_the_writes_under_way(local_case: LocalCase, monkeypatch: pytest.MonkeyPatch) -> None:
    node = cdir_init(local_case.url)
    fill(node)
    held = Held(attempt_of(node))
    closing = Attempt.closing

    def noticed(attempt: Attempt) -> Any:
        threading.Timer(0.05, held.let_go.set).start()
        return closing(attempt)

    monkeypatch.setattr(Attempt, "closing", noticed)
    assert cdir_commit(node)
    assert held.ended
    held.thread.join()


def test_a_beat_that_finds_the_node_lost_does_not_wait_for_the_writes_under_way(local_case: LocalCase) -> None:
    """One thread beats for all nodes: while it waits, the owners of the others look dead."""
    node = cdir_init(local_case.url)
    attempt = attempt_of(node)
    held = Held(attempt)
    local_case.put(f"_cvcache/log/000002-{attempt.id}.json", b"{}")
    attempt.beat()
    assert attempt.lost
    assert not held.ended
    assert find_open_attempt_at(node.url) is attempt, "a write of it may still land"
    held.let_go.set()
    held.thread.join()
    assert find_open_attempt_at(node.url) is None


def test_a_node_with_a_write_that_never_ends_is_busy(local_case: LocalCase) -> None:
    policy = Policy(ttl=0.02, request_timeout=0.01)
    held = Held(attempt_of(cdir_init(local_case.url, policy=policy)))
    for _ in range(2):
        with pytest.raises(NodeBusy, match="does not end"):
            cdir_init(local_case.url, policy=policy)
    held.let_go.set()
    held.thread.join()
    assert snapshot_of(compute(local_case.url, None, policy)).record.root == "."  # type: ignore[union-attr]  # it is committed


def test_only_the_attempt_that_was_seen_is_stopped(local_case: LocalCase) -> None:
    """Of two threads that find a node left behind, the slower one must not stop what the faster one has opened."""
    thread = threading.Thread(target=lambda: cdir_init(local_case.url))
    thread.start()
    thread.join()
    slower = cdir(local_case.url)
    seen = observe.observe_node(address_of(slower).store, address_of(slower).path, observe.LeaseWatch(Policy()))
    faster = cdir_init(local_case.url)
    assert finish.fence_own_attempt(seen, "the slower one was here")
    faster.write(FILE, {})
    assert cdir_commit(faster)


# ---- errors on the way in and out


@pytest.mark.parametrize("error", [OSError("no"), KeyboardInterrupt()], ids=repr)
def test_an_attempt_whose_wipe_fails_is_given_up(world: World, local_case: LocalCase, error: BaseException) -> None:
    with world.process() as first:
        fill(cdir_init(local_case.url, policy=world.policy))
        first.kill()

    class NoDelete(WrapperStore):
        def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:  # noqa: ARG002
            if verb == "delete":
                raise error
            return act()

    second = world.process()
    with second.through(NoDelete), pytest.raises(type(error)):
        cdir_init(local_case.url, policy=world.policy)
    assert b'"released"' in list(log_of(local_case).values())[-1]
    with world.process():
        assert compute(local_case.url, None, world.policy, wait=False).committed


def test_a_commit_whose_reply_was_lost_can_be_repeated(world: World, local_case: LocalCase) -> None:
    with world.process():
        node = cdir_init(local_case.url, policy=world.policy)
        mark = fill(node, (FILE,))
        attempt = attempt_of(node)
        store, attempt.store = attempt.store, FaultyStore(attempt.store, {2: "lost"})
        with pytest.raises(ConnectionResetError):
            cdir_commit(node)
        attempt.store = store
        assert cdir_commit(node).version == cdir_query(node).version
        assert cdir_query(node).read(FILE) == {"by": mark}
    assert len(log_of(local_case)) == 2


def test_empty_directories_of_a_killed_wipe_are_in_nobodys_way(world: World, local_case: LocalCase) -> None:
    """On a disk, a process killed between the last file and the first directory leaves empty ones."""
    with world.process() as first:
        fill(cdir_init(local_case.url, policy=world.policy), (PAIR,))
        first.kill()
    for part in "ab":
        local_case.delete(f"{PAIR}/{part}")
    (local_case.path / PAIR / "deep" / "er").mkdir(parents=True)
    with world.process():
        assert read_mark(compute(local_case.url, None, world.policy))


def test_a_removal_takes_nothing_at_the_plain_path_that_was_announced_for_another_root(
    world: World, local_case: LocalCase
) -> None:
    """After a takeover the items lie elsewhere, and a file of the user may have the plain name of one."""
    silent = world.process("elsewhere")
    with silent:
        cdir_init(local_case.url, policy=world.policy)
    with silent.stopped(), world.process():
        compute(local_case.url, None, world.policy)
        local_case.put(FILE, b"mine")
        remove.remove_node(quiet_store(local_case.url), local_case.url, world.policy)
    assert local_case.read(FILE) == b"mine"
    assert cdir_query(local_case.url).state == "absent"
