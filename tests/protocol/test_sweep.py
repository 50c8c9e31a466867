"""What a sweep deletes: what attempts before its record have left, and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import logging
from typing import TYPE_CHECKING

import pytest
from simulated import (
    FILE,
    OWN,
    PAIR,
    PausedStore,
    World,
    attempted,
    compute,
    contents_of,
    fill,
    lay,
    quiet_store,
    read_items,
    read_mark,
    world,
)

import cvcache
from cvcache import CacheDir, LeaseLost, cdir, cdir_commit, cdir_init, cdir_query
from cvcache.node import snapshot_of
from cvcache.protocol import sweep
from cvcache.store import layout
from cvcache.testing import FaultyStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import StoreCase

    from cvcache.protocol import Attempt

__all__ = ["world"]

PARTS = {FILE, f"{PAIR}/a", f"{PAIR}/b", OWN}
"""The objects of a result of `fill`, below its data root."""

STRANGERS = {
    "notes.txt": b"mine",
    "other.dir/mine.txt": b"mine too",
    "_cvcache/note.txt": b"of a person",
    "child/readme.txt": b"below",
}


@pytest.fixture(params=["memory", "local"])
def case(request: pytest.FixtureRequest) -> StoreCase:
    found: StoreCase = request.getfixturevalue(f"{request.param}_case")
    return found


def attempt_of(node: CacheDir) -> Attempt:
    attempt = snapshot_of(node).attempt
    assert attempt is not None
    return attempt


def fail(url: str, key: object, world: World) -> str:
    """Let an attempt fail that has a log; return its id."""
    with contextlib.suppress(ZeroDivisionError), cdir_init(url, key, policy=world.policy) as out:
        attempt = attempt_of(out).id
        with out.log():
            logging.getLogger("test").warning("a word")
        fill(out)
        1 / 0  # noqa: B018 - fails on purpose
    return attempt


def root_of(node: CacheDir) -> str:
    record = snapshot_of(node).record
    assert record is not None
    return "" if record.root == layout.IN_PLACE else f"{record.root}/"


def names_in(case: StoreCase) -> set[str]:
    """Return the names of the objects of a node, but for its records."""
    return {name for name in case.snapshot() if not name.startswith(("_cvcache/log/", "../")) and name[-1] != "/"}


def left_beside(case: StoreCase, node: CacheDir) -> set[str]:
    """Return what a node holds but its records, its committed root, and what that attempt says of itself."""
    own = snapshot_of(node).record
    assert own is not None
    control = {name for name in names_in(case) if name.startswith("_cvcache/")}
    kinds = tuple(f"_cvcache/{kind}/{own.attempt}" for kind in layout.ATTEMPT_DIRS)
    return (names_in(case) - {f"{root_of(node)}{part}" for part in PARTS}) - {n for n in control if n.startswith(kinds)}


# -- what stays -------------------------------------------------------------------------------------


def test_after_a_commit_and_its_sweep_a_node_holds_its_root(case: StoreCase, world: World) -> None:
    with world.process():
        for key in range(4):
            node = compute(case.url, {"key": key}, world.policy)
            assert left_beside(case, cdir_query(case.url)) == set()
            assert read_mark(cdir_query(case.url)) == read_mark(node)


def test_what_is_not_ours_stays_at_the_plain_root_and_below(case: StoreCase, world: World) -> None:
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
        for name, data in STRANGERS.items():
            case.put(name, data)
        compute(case.url, {"key": 2}, world.policy)
        compute(case.url, {"key": 3}, world.policy)
        assert {name: case.read(name) for name in STRANGERS} == STRANGERS
        assert left_beside(case, cdir_query(case.url)) == set(STRANGERS)
        cvcache.cdir_remove(cdir(case.url, policy=world.policy), recursive=True)
    assert {name: case.read(name) for name in STRANGERS} == STRANGERS


def test_a_file_that_a_person_corrected_stays(case: StoreCase, world: World) -> None:
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
        case.put(FILE, b'{"by": "somebody who knew better"}')
        compute(case.url, {"key": 2}, world.policy)
        assert left_beside(case, cdir_query(case.url)) == {FILE}


def test_the_logs_of_the_last_ten_failures_stay_until_a_removal(case: StoreCase, world: World) -> None:
    with world.process():
        compute(case.url, {"key": 0}, world.policy)
        failed = [fail(case.url, {"key": number}, world) for number in range(1, 13)]
        compute(case.url, {"key": 13}, world.policy)
        compute(case.url, {"key": 14}, world.policy)
        kept = {layout.failed_log_path("", attempt, "run.log").lstrip("/") for attempt in failed[-10:]}
        assert left_beside(case, cdir_query(case.url)) == kept
        assert all(b"a word" in case.read(name) for name in kept)
        cvcache.cdir_remove(cdir(case.url, policy=world.policy))
    assert names_in(case) == set()


def test_a_removal_takes_all_attempts(case: StoreCase, world: World) -> None:
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
        fail(case.url, {"key": 2}, world)
        fill(cdir_init(case.url, {"key": 3}, policy=world.policy))
        cvcache.cdir_remove(cdir(case.url, policy=world.policy), force=True)
    assert names_in(case) == set()


# -- who deletes, and when --------------------------------------------------------------------------


def test_nothing_of_what_stands_is_deleted_before_the_commit(case: StoreCase, world: World) -> None:
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
        old = contents_of(case)
        node = cdir_init(case.url, {"key": 2}, policy=world.policy)
        fill(node)
        assert old.items() <= contents_of(case).items()
        cdir_commit(node)
        assert not PARTS & names_in(case)


def test_an_attempt_that_was_taken_over_deletes_nothing(case: StoreCase, world: World) -> None:
    silent = world.process("elsewhere")
    with silent:
        lost = cdir_init(case.url, {"key": 1}, policy=world.policy)
        fill(lost)
    with silent.stopped(), world.process():
        mark = read_mark(compute(case.url, {"key": 2}, world.policy))
    before = contents_of(case)
    with silent:
        with pytest.raises(LeaseLost):
            cdir_commit(lost)
        with pytest.raises(LeaseLost):
            lost.write(FILE, {"by": "nobody"})
    kept = {name: data for name, data in before.items() if contents_of(case).get(name) != data}
    assert not kept
    with world.process():
        assert read_mark(cdir_query(case.url)) == mark


def silent_attempt(url: str, world: World) -> None:
    fill(cdir_init(url, {"key": 1}, policy=world.policy), (PAIR,))


def failed_attempt_with_workers(url: str, world: World) -> None:
    with contextlib.suppress(ZeroDivisionError), cdir_init(url, {"key": 1}, policy=world.policy) as out:
        fill(out, (PAIR,))
        attempt_of(out).share()
        1 / 0  # noqa: B018 - fails on purpose


@pytest.mark.parametrize("left", [silent_attempt, failed_attempt_with_workers])
def test_what_was_written_late_the_next_sweep_takes(
    case: StoreCase, world: World, left: Callable[[str, World], None]
) -> None:
    """The attempt may be alive, or its workers, and what it announced is known for as long."""
    silent = world.process("elsewhere")
    with silent:
        left(case.url, world)
    with silent.stopped(), world.process():
        for key in (2, 3):
            compute(case.url, {"key": key}, world.policy)
            case.put(f"{PAIR}/a", b'"late"')
            assert f"{PAIR}/a" in left_beside(case, cdir_query(case.url))
        compute(case.url, {"key": 4}, world.policy)
    assert f"{PAIR}/a" not in names_in(case)


def test_a_late_sweep_harms_nobody(case: StoreCase, world: World) -> None:
    """B pauses before a call of its commit or sweep; C claims, writes and commits; then B goes on."""
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
    before = contents_of(case)
    late = 0
    for step in itertools.count(1):
        lay(case, before)
        marks: list[str] = []
        slow = world.process()

        def meanwhile() -> None:
            with slow.stopped(), world.process():  # noqa: B023 - called in this turn of the loop
                newer = compute(case.url, {"key": 3}, world.policy)
                marks.append(read_mark(newer))  # noqa: B023 - the same

        store = PausedStore(quiet_store(case.url), 0, meanwhile)
        with slow:
            node = cdir_init(case.url, {"key": 2}, policy=world.policy)
            fill(node)
            attempt = attempt_of(node)
            attempt.store, store.step = store, step
            error = attempted(lambda: cdir_commit(node))  # noqa: B023 - called in this turn of the loop
        assert error is None or isinstance(error, LeaseLost)
        if not marks:
            break
        with world.process():
            found = cdir_query(case.url)
            assert [read_mark(found)] == marks
            if error is None:
                assert left_beside(case, found) == set()
                late += 1
    assert late > 3


def test_what_a_sweep_that_crashed_left_the_next_one_finds(case: StoreCase, world: World) -> None:
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
        case.put("notes.txt", b"mine")
    before = contents_of(case)
    crashed = 0
    for step in itertools.count(1):
        lay(case, before)
        dead = world.process()
        with dead:
            node = cdir_init(case.url, {"key": 2}, policy=world.policy)
            mark = fill(node)
            attempt = attempt_of(node)
            attempt.store = FaultyStore(attempt.store, {step: "crash"})
            error = attempted(lambda: cdir_commit(node))  # noqa: B023 - called in this turn of the loop
        dead.kill()
        with world.process():
            crashed += error is not None and read_mark(cdir_query(case.url)) == mark
            compute(case.url, {"key": 3}, world.policy)
            assert left_beside(case, cdir_query(case.url)) == {"notes.txt"}
        if error is None:
            break
    assert crashed > 3


# -- what an heir finds -----------------------------------------------------------------------------


def test_an_heir_sweeps_its_root_and_leaves_what_others_announced_elsewhere(case: StoreCase, world: World) -> None:
    """A is silent at the plain root, B fails in a root of its own, C inherits that: A may still write at its names."""
    silent = world.process("elsewhere")
    with silent:
        fill(cdir_init(case.url, {"key": 1}, policy=world.policy))
    with silent.stopped(), world.process():
        fail(case.url, {"key": 2}, world)
        heir = cdir_init(case.url, {"key": 3}, policy=world.policy)
        assert attempt_of(heir).record.root_seq < attempt_of(heir).record.seq
        assert not {name for name in names_in(case) if name.startswith(f"{attempt_of(heir).record.root}/{FILE}")}
        fill(heir)
        cdir_commit(heir)
        case.put(FILE, b'{"by": "late"}')
        compute(case.url, {"key": 4}, world.policy)
        assert FILE not in names_in(case)


def test_an_heir_that_died_in_its_sweep_leaves_nothing_for_its_own(case: StoreCase, world: World) -> None:
    dead = world.process()
    with dead:
        fill(cdir_init(case.url, {"key": 1}, policy=world.policy))
    dead.kill()
    before = contents_of(case)
    for step in itertools.count(1):
        lay(case, before)
        heir = world.process()
        store = FaultyStore(quiet_store(case.url), {step: "crash"})
        with heir.through(lambda _, store=store: store):
            error = attempted(lambda: cdir_init(case.url, {"key": 2}, policy=world.policy))
        heir.kill()
        with world.process():
            node = compute(case.url, {"key": 2}, world.policy, items=(OWN,))
            assert set(read_items(cdir_query(case.url))) == {OWN}
            assert names_in(case) & PARTS == {OWN}
            assert root_of(node) == ""
        if error is None:
            break
    assert step > 5


def test_attempts_between_are_those_of_the_walk() -> None:
    chain = [(1, "root"), *((number + 1, f"{number:016x}") for number in range(1, 6))]
    assert sweep.attempts_between(chain, 1, 4) == [f"{number:016x}" for number in (1, 2, 3)]
    assert sweep.attempts_between(chain, 3, 3) == []
