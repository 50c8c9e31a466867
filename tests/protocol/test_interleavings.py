"""All that two processes do to one node happens in many orders, with one fault: nothing that was promised breaks."""

from __future__ import annotations

import functools
import itertools
import json
import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from processes.figures import Figures
from schedules import (
    FILE,
    NODE,
    OWNERS,
    PAIR,
    PLANNED,
    Fault,
    Schedule,
    Stage,
    ViolationError,
    compute,
    explore,
    fill,
    read,
)
from servers.store_cases import MemoryCase
from simulated import World, lay, world

from cvcache import cdir, cdir_init
from cvcache.node import address_of
from cvcache.protocol import (
    Claim,
    Liveness,
    claim,
    finish,
    observe,
    remove_node,
    resume,
    rules,
    sweep,
)
from cvcache.store import layout, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cvcache import CacheDir
    from cvcache.protocol import Attempt, Observation, Record
    from cvcache.store import Store

    Staged = Callable[[str, str], Stage]

__all__ = ["world"]


def recompute(key: str) -> Callable[[Stage], object]:
    return functools.partial(compute, key=key)


def remove(stage: Stage) -> None:
    """Remove the node, also from under an owner who lives."""
    node = cdir(stage.url, policy=stage.policy)
    remove_node(address_of(node).store, address_of(node).path, stage.policy, force=True)


def nothing(_: Stage) -> None:
    """Leave a fresh node."""


def a_result(stage: Stage) -> None:
    with stage.world.process() as process, cdir_init(stage.url, {"key": "a"}, policy=stage.policy) as out:
        fill(out, "a")
    process.kill()


def fill_half(out: CacheDir) -> None:
    """Write what an attempt has that ends in the middle of its last item."""
    mark = {"by": out.version, "key": "b"}
    out.write(FILE, mark)
    out.write(PAIR, [mark, mark])
    out.write("run.log", "it began")
    out.write(PLANNED, [mark, object()])


def fail_half(stage: Stage) -> None:
    with cdir_init(stage.url, {"key": "b"}, policy=stage.policy) as out:
        fill_half(out)


def stop_half(stage: Stage) -> None:
    with pytest.raises(TypeError):
        fill_half(cdir_init(stage.url, {"key": "b"}, policy=stage.policy))


def a_failure(stage: Stage) -> None:
    """Leave a result, and an attempt after it that has failed."""
    a_result(stage)
    with stage.world.process() as process, pytest.raises(TypeError):
        fail_half(stage)
    process.kill()


def a_death(stage: Stage) -> None:
    """Leave a result, and an attempt after it whose process has died."""
    a_result(stage)
    with stage.world.process() as process:
        stop_half(stage)
    process.kill()


def a_silence(stage: Stage) -> None:
    """Leave the first attempt of a process that nobody hears of any more."""
    with stage.world.process("far away") as process:
        stop_half(stage)
    process.paused = True


def a_worker(stage: Stage) -> None:
    """Leave a result, and an attempt after it whose process has died while another one works for it."""
    a_result(stage)
    with stage.world.process() as process:
        out = cdir_init(stage.url, {"key": "b"}, policy=stage.policy)
        out.path("from_a_tool.json")
        with pytest.raises(TypeError):
            fill_half(out)
    process.kill()


def work_on(stage: Stage) -> None:
    """Write what is left of the attempt after the result, as its worker."""
    claim = stage.witness.records[2]
    stage.witness.deputies[stage.world.current.pid] = claim["owner"]["pid"]
    mark = json.dumps({"by": claim["attempt"], "key": "b"}).encode()
    for name in (f"{PLANNED}/a", f"{PLANNED}/b", "from_a_tool.json"):
        open_store("memory", NODE, {}).put(f"{NODE}/{claim['root']}/{name}", mark)


def remove_and_compute(stage: Stage) -> None:
    remove(stage)
    compute(stage, "b")


SCENARIOS = {
    "recompute, recompute": (a_result, (recompute("b"), recompute("c"))),
    "recompute, read": (a_result, (recompute("b"), read)),
    "recompute, hit": (a_result, (recompute("b"), recompute("a"))),
    "recompute, remove": (a_result, (recompute("b"), remove)),
    "remove, read": (a_result, (remove, read)),
    "after a failure: recompute, recompute": (a_failure, (recompute("b"), recompute("c"))),
    "after a death: recompute, recompute": (a_death, (recompute("b"), recompute("c"))),
    "after a silence: recompute, recompute": (a_silence, (recompute("b"), recompute("c"))),
    "a worker after a death, recompute": (a_worker, (work_on, recompute("b"))),
    "first, first": (nothing, (recompute("b"), recompute("c"))),
    "first, the same": (nothing, (recompute("b"), recompute("b"))),
    "first, remove and first": (nothing, (recompute("b"), remove_and_compute)),
}
COUNT = 280
"""Schedules of each scenario and each kind of owners."""

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS)
all_owners = pytest.mark.parametrize("owners", OWNERS)


@pytest.fixture
def staged(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Staged]:
    """Give what makes a stage of a scenario; the memory is empty afterwards."""
    caplog.set_level(logging.CRITICAL, "cvcache")  # thousands of warnings that somebody waits
    yield lambda scenario, owners: Stage(world, monkeypatch, *SCENARIOS[scenario], owners)
    lay(MemoryCase(), {})


def explored(staged: Staged, scenario: str, owners: str, count: int = COUNT, seed: int = 0, changes: int = 2) -> int:
    """Explore a scenario; return how many distinct schedules were run."""
    return explore(staged(scenario, owners), count, f"{scenario} {owners} {seed}", changes)


@all_owners
@every_scenario
def test_what_two_processes_do_at_once_breaks_nothing(
    scenario: str, owners: str, staged: Staged, record_property: Callable[[str, object], None]
) -> None:
    figures = Figures(f"{scenario}, {owners}", record_property)
    count = explored(staged, scenario, owners)
    figures.add("schedules", count).tell()
    assert count >= COUNT


def test_there_are_ten_thousand_schedules() -> None:
    assert COUNT * len(SCENARIOS) * len(OWNERS) >= 10_000


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", [1, 2, 3])
@all_owners
@every_scenario
def test_what_two_processes_do_at_once_breaks_nothing_for_long(
    scenario: str, owners: str, seed: int, staged: Staged, record_property: Callable[[str, object], None]
) -> None:
    figures = Figures(f"{scenario}, {owners}, seed {seed}", record_property)
    figures.add("schedules", explored(staged, scenario, owners, 3_000, seed, changes=3)).tell()
    assert figures["schedules"] >= COUNT


# -- planted bugs ----------------------------------------------------------------------------------


def deletes_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    real = claim._try_claim

    def mutant(store: Store, path: str, *rest: Any) -> Any:
        attempt = real(store, path, *rest)
        if attempt is not None:
            sweep.sweep(store, path, attempt.record)
        return attempt

    patch.setattr(claim, "_try_claim", mutant)


def sweeps_before_the_commit_record(patch: pytest.MonkeyPatch) -> None:
    real = finish.finish_attempt

    def mutant(attempt: Attempt, state: str, **fields: Any) -> Record:
        if state == "committed":
            sweep.sweep(attempt.store, attempt.path, attempt.record)
        return real(attempt, state, **fields)

    patch.setattr(finish, "finish_attempt", mutant)


def spares_an_attempt_instead_of_the_root(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "lies_below", lambda _name, _root: False)


def sweeps_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(finish, "sweep", lambda *_: None)


def inherits_from_a_silent_one(patch: pytest.MonkeyPatch) -> None:
    real = rules._new_claim

    def mutant(observation: Observation, record: Record) -> Claim:
        silent = record.state == "claimed" and observation.liveness is Liveness.EXPIRED
        return Claim(record.root) if silent else real(observation, record)

    patch.setattr(rules, "_new_claim", mutant)


def inherits_from_a_shared_one(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(observe, "_is_shared", lambda *_: False)


def inherits_what_was_committed(patch: pytest.MonkeyPatch) -> None:
    real = rules._new_claim

    def mutant(observation: Observation, record: Record) -> Claim:
        return Claim(record.root) if record.state == "committed" else real(observation, record)

    patch.setattr(rules, "_new_claim", mutant)


def resumes_past_a_commit(patch: pytest.MonkeyPatch) -> None:
    real = resume._announcements

    def mutant(attempt: Attempt, name: str) -> list[Any]:
        record = attempt.record
        attempt.record = replace(record, standing=None)
        try:
            return list(real(attempt, name))
        finally:
            attempt.record = record

    patch.setattr(resume, "_announcements", mutant)


def forgets_announcements_of_other_roots(patch: pytest.MonkeyPatch) -> None:
    real = sweep.attempts_between
    patch.setattr(sweep, "attempts_between", lambda log, _, last: real(log, 1, last))


def reads_without_looking_who_stands(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("cvcache.protocol.raise_if_replaced", lambda *_: None)
    patch.setattr("cvcache.formats.item_path.has_been_replaced", lambda *_: False)


def hits_with_a_write(patch: pytest.MonkeyPatch) -> None:
    real = claim.standing_record

    def mutant(store: Store, path: str, newest: Record | None) -> Record | None:
        if newest is not None and newest.state == "committed":
            store.put(layout.heartbeat_path(path, newest.attempt), b"a hit")
        return real(store, path, newest)

    patch.setattr(claim, "standing_record", mutant)


PLANTED = {
    deletes_before_the_commit: ("recompute, read", "one machine", "I3'"),
    sweeps_before_the_commit_record: ("recompute, read", "one machine", "I3'"),
    spares_an_attempt_instead_of_the_root: ("after a death: recompute, recompute", "one machine", "I3'"),
    sweeps_nothing: ("recompute, recompute", "one machine", "I8"),
    inherits_from_a_silent_one: ("recompute, recompute", "two machines", "I11"),
    inherits_from_a_shared_one: ("a worker after a death, recompute", "one machine", "I11"),
    inherits_what_was_committed: ("recompute, recompute", "one machine", "I11"),
    resumes_past_a_commit: ("recompute, hit", "one machine", "before the last commit"),
    forgets_announcements_of_other_roots: ("after a silence: recompute, recompute", "one machine", "I8"),
    reads_without_looking_who_stands: ("recompute, read", "one machine", "ItemDamaged"),
    hits_with_a_write: ("recompute, hit", "one machine", "I10"),
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario, owners, invariant = PLANTED[plant]
    stage = staged(scenario, owners)
    plant(monkeypatch)
    with pytest.raises(ViolationError, match=re.escape(invariant)):
        explore(stage, COUNT, plant.__name__)


def test_one_more_call_of_who_was_taken_over_and_then_dies_leaves_nothing(staged: Staged) -> None:
    """Whether it is dead was asked after the items were listed, so that the announcement of the last one was lost."""
    stage = staged("first, remove and first", "one machine")
    calls, _ = stage.play(Schedule())
    for call, others in itertools.product(range(1, calls), range(1, 30)):
        stage.play(Schedule(0, (call, others), Fault(0, call + 2, "crash")))
    assert len(stage.traces) >= 10 * calls
