"""The protocol with one rule broken, and the check that notices.

Each check is one that also runs in test_faults.py, or stands here and passes on the real protocol.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from servers.store_cases import MemoryCase
from simulated import (
    FILE,
    PAIR,
    WaitsForEverError,
    attempted,
    check_log,
    compute,
    contents_of,
    fill,
    lay,
    log_of,
    quiet_store,
    read_mark,
    world,
)
from test_faults import (
    Stage,
    check_pauses,
    check_single_faults,
    computes_meanwhile,
    stage,
)

from cvcache import CvcacheError, LeaseLost, cdir_commit, cdir_init, cdir_query
from cvcache.node import snapshot_of
from cvcache.protocol import Record, chain, claim, dump_inventory, finish, observe, rules, sweep
from cvcache.store import MemoryStore, layout, parse_record_name
from cvcache.testing import FaultyStore, WrapperStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.store_cases import StoreCase
    from simulated import World

    from cvcache.protocol import Attempt
    from cvcache.store import Store

__all__ = ["stage", "world"]

in_memory = pytest.mark.parametrize("stage", [("memory", "a result, then compute_little")], indirect=True, ids=" ".join)


@contextlib.contextmanager
def broken(mutate: Callable[[pytest.MonkeyPatch], None]) -> Iterator[None]:
    """Break one rule for as long as this context lasts."""
    with pytest.MonkeyPatch.context() as patch:
        mutate(patch)
        yield


NOTICED = (AssertionError, CvcacheError, WaitsForEverError, pytest.fail.Exception)


def caught(check: Callable[[], object], mutate: Callable[[pytest.MonkeyPatch], None]) -> None:
    """Assert that `check` passes as things are, and fails when they are broken."""
    check()
    with broken(mutate), pytest.raises(NOTICED):
        check()
    check()


@contextlib.contextmanager
def fresh_case() -> Iterator[StoreCase]:
    """Give a fresh root in memory, and forget it whatever happens."""
    case = MemoryCase()
    before = contents_of(case)
    try:
        yield case
    finally:
        lay(case, before)


# -- (a) what stands deleted before its successor is committed --------------------------------------


def _sweep_first(patch: pytest.MonkeyPatch) -> None:
    real = claim._sweep_before_writing

    def mutant(store: Store, path: str, record: Record, previous: Record | None) -> set[str]:
        sweep.sweep(store, path, record)
        return real(store, path, record, previous)

    patch.setattr(claim, "_sweep_before_writing", mutant)


@in_memory
def test_deleting_before_the_commit_is_caught_by_the_single_faults(stage: Stage) -> None:
    caught(lambda: check_single_faults(stage), _sweep_first)


# -- (b) no read-back after "exists" ---------------------------------------------------------------


class _RepliesLost(WrapperStore):
    """Every first reply to a conditional write is lost, and the client sends it again."""

    calls = 0

    def put_new(self, path: str, data: bytes) -> bool:
        self.calls += 1
        assert self.calls < 50, "claims for ever what it holds already"
        self.store.put_new(path, data)
        return self.store.put_new(path, data)


def check_lost_replies(world: World) -> None:
    """Check that who wins without hearing of it has won."""
    with fresh_case() as case:
        store = _RepliesLost(quiet_store(case.url))
        with world.process().through(lambda _: store):
            done = compute(case.url, {"key": 1}, world.policy)
        assert done.committed
        assert [record["state"] for record in check_log(case, {})] == ["claimed", "committed"]


def _no_read_back(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: MemoryStore, path: str, data: bytes) -> bool:
        if self.stat(path) is not None:
            return False
        self.put(path, data)
        return True

    patch.setattr(MemoryStore, "put_new", mutant)


def test_no_read_back_is_caught_by_lost_replies(world: World) -> None:
    caught(lambda: check_lost_replies(world), _no_read_back)


# -- (c) takeover of a .shared attempt in place, (d) and of a silent one ---------------------------


def check_late_writes(world: World, *, worker: bool) -> None:
    """Check that what still writes for an older attempt cannot reach the result of a later one.

    With a `worker` the owner is killed on this machine and a process it gave work to writes on;
    without, the owner itself was only silent.
    """
    with fresh_case() as case:
        owner = world.process()
        with owner:
            old = cdir_init(case.url, {"key": 1}, policy=world.policy)
            fill(old, (FILE, PAIR))
            late = quiet_store(case.url)
            prefix = old.path("from_a_tool.json").removesuffix("/from_a_tool.json") if worker else old.url
            prefix = prefix.removeprefix("memory://")
        if worker:
            owner.kill()
        else:
            owner.paused = True
        with world.process("here" if worker else "elsewhere"):
            done = compute(case.url, {"key": 1}, world.policy, items=(FILE, PAIR))
            mark = read_mark(done)
        for part in (FILE, f"{PAIR}/a", f"{PAIR}/b"):
            late.put(f"{prefix}/{part}", b'"somebody who was given up"')
        with world.process():
            assert read_mark(cdir_query(case.url, policy=world.policy)) == mark


def test_late_writes_reach_nobody(world: World) -> None:
    check_late_writes(world, worker=True)
    check_late_writes(world, worker=False)


def _shared_in_place(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(observe, "_is_shared", lambda *_: False)


def _silent_in_place(patch: pytest.MonkeyPatch) -> None:
    real = rules._new_claim

    def mutant(observation: rules.Observation, record: Record) -> rules.Claim:
        is_silent = observation.liveness is rules.Liveness.EXPIRED
        return real(observation._replace(liveness=rules.Liveness.DEAD) if is_silent else observation, record)

    patch.setattr(rules, "_new_claim", mutant)


def test_taking_over_a_shared_attempt_in_place_is_caught_by_a_late_worker(world: World) -> None:
    caught(lambda: check_late_writes(world, worker=True), _shared_in_place)


def test_taking_over_a_silent_owner_in_place_is_caught_when_it_writes_on(world: World) -> None:
    caught(lambda: check_late_writes(world, worker=False), _silent_in_place)


# -- (e) commit without put_new --------------------------------------------------------------------


def check_late_commit(world: World) -> None:
    """Check that an owner who was out-voted cannot commit any more."""
    with fresh_case() as case:
        sleeper = world.process()
        with sleeper:
            old = cdir_init(case.url, {"key": 1}, policy=world.policy)
            fill(old)
        with sleeper.stopped(), world.process("elsewhere"):
            mark = read_mark(compute(case.url, {"key": 1}, world.policy))
        log = log_of(case)
        snapshot_of(old).attempt._confirmed_at = world.time  # type: ignore[union-attr]  # stopped right after a look at the log
        with sleeper:
            assert isinstance(attempted(lambda: cdir_commit(old)), LeaseLost)
        assert log_of(case) == log
        with world.process():
            assert read_mark(cdir_query(case.url, policy=world.policy)) == mark


def _commit_by_put(patch: pytest.MonkeyPatch) -> None:
    real = finish.finish_attempt

    class Overwriting(WrapperStore):
        def put_new(self, path: str, data: bytes) -> bool:
            self.store.put(path, data)
            return True

    def mutant(attempt: Attempt, state: str, **fields: Any) -> Record:
        attempt.store = Overwriting(attempt.store)
        return real(attempt, state, **fields)

    patch.setattr(finish, "finish_attempt", mutant)


def test_a_commit_that_overwrites_is_caught_by_a_late_commit(world: World) -> None:
    caught(lambda: check_late_commit(world), _commit_by_put)


# -- (f) the largest number instead of a walk along the chain --------------------------------------


def check_stray_records(world: World) -> None:
    """Check that a record of a node that was deleted by hand is no part of the one that took its place."""
    with fresh_case() as case:
        with world.process():
            for key in ("a", "b"):
                compute(case.url, {"key": key}, world.policy)
        sleeper = world.process()
        with sleeper:
            old = cdir_init(case.url, {"key": "c"}, policy=world.policy)
            fill(old)
        for name in case.snapshot():
            if not name.startswith("../"):
                case.delete(name)
        with world.process("elsewhere"):
            mark = read_mark(compute(case.url, {"key": "d"}, world.policy))
        with sleeper:
            attempted(lambda: cdir_commit(old))
        with world.process():
            found = cdir_query(case.url, policy=world.policy)
            assert found.committed
            assert found.commit is not None
            assert found.commit.key == {"key": "d"}
            assert read_mark(found) == mark


def _largest_number(patch: pytest.MonkeyPatch) -> None:
    def mutant(store: Store, path: str) -> Record | None:
        log = f"{path}/_cvcache/log"
        names = [parsed for name in store.list(log).files if (parsed := parse_record_name(name))]
        return chain.read_record(store, log, *max(names)) if names else None

    patch.setattr(chain, "read_newest_record", mutant)


def test_going_by_the_largest_number_is_caught_by_a_stray_record(world: World) -> None:
    caught(lambda: check_stray_records(world), _largest_number)


# -- (g) the inventory after the commit ------------------------------------------------------------

MANY = 400


def check_large_commits(world: World) -> None:
    """Check that a commit whose rows are too many for its record has them wherever its process dies."""
    with fresh_case() as case:
        with world.process() as process:
            out = cdir_init(case.url, {"key": 1}, policy=world.policy)
            fill(out, (FILE,))
            attempt = snapshot_of(out).attempt
            assert attempt is not None
            for number in range(MANY):
                attempt.item(f"row{number:04}.json").row = {"kind": "x" * 200}
        for step in range(1, 6):
            attempt.store = FaultyStore(quiet_store(case.url), {step: "crash"})
            with process:
                attempted(lambda: cdir_commit(out))
            with world.process():
                found = cdir_query(case.url, policy=world.policy)
                if found.committed:
                    assert len(found.items()) == MANY + 1
                    assert isinstance(found.read(FILE), dict)
                    return
        pytest.fail("it never committed")


def _inventory_last(patch: pytest.MonkeyPatch) -> None:
    def mutant(attempt: Attempt, rows: Any, meta: Any, _: Any) -> Record:
        record = finish.finish_attempt(attempt, "committed", items=rows, meta=meta)
        attempt.store.put(layout.inventory_path(attempt.path, attempt.id), dump_inventory(attempt.id, rows))
        return record

    patch.setattr("cvcache.protocol.commit_attempt", mutant)


def test_an_inventory_after_the_commit_is_caught_by_a_crash(world: World) -> None:
    caught(lambda: check_large_commits(world), _inventory_last)


# -- what was wrong once ---------------------------------------------------------------------------


def _remove_what_came_later(patch: pytest.MonkeyPatch) -> None:
    class Everything(list[str]):
        def __contains__(self, _: object) -> bool:
            return True

    patch.setattr(sweep, "past_attempts", lambda *_: Everything([""]))


@pytest.mark.parametrize("stage", [("memory", "a result, then remove")], indirect=True, ids=" ".join)
def test_a_removal_that_deletes_what_came_later_is_caught_by_the_pauses(stage: Stage) -> None:
    """A process stopped in a removal woke, and deleted the result another machine had committed since."""
    caught(lambda: check_pauses(stage, computes_meanwhile), _remove_what_came_later)


def check_impatient_clock(world: World) -> None:
    """Check that a waiter that is stopped in the middle of a look does not take that for the owner's silence."""
    owner, waiter = world.process(), world.process("elsewhere")
    looks = itertools.count(1)

    class SlowReply(WrapperStore):
        """The reply to the second look at the beat is the last thing before ten minutes of being stopped."""

        def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
            try:
                return self.store.get(path, start, end)
            finally:
                if "/beat/" in path and (number := next(looks)) > 1:
                    world.time += 600 if number == 2 else 0
                    with owner:
                        owner.attempts[0].beat()

    with fresh_case() as case:
        with owner:
            held = cdir_init(case.url, {"key": 1}, policy=world.policy)
        with owner.stopped(), waiter.through(SlowReply), pytest.raises(WaitsForEverError):
            cdir_init(case.url, {"key": 1}, policy=world.policy)
        with owner:
            held.write(FILE, {})


def _clock_after_the_look(patch: pytest.MonkeyPatch) -> None:
    def mutant(self: observe.LeaseWatch, store: Store, path: str, record: Record) -> bool:
        try:
            beat = store.get(f"{path}/_cvcache/beat/{record.attempt}")
        except FileNotFoundError:
            beat = b""
        if (record.attempt, beat) != self._last_beat:
            self._last_beat, self._unchanged_since = (record.attempt, beat), self._policy.clock()
        return self._policy.clock() - self._unchanged_since > record.ttl + self._policy.request_timeout

    patch.setattr(observe.LeaseWatch, "expired", mutant)


def test_a_clock_read_after_the_look_is_caught_by_a_stopped_waiter(world: World) -> None:
    """A waiter that was stopped took its own pause for the owner's silence, and robbed a live owner."""
    caught(lambda: check_impatient_clock(world), _clock_after_the_look)
