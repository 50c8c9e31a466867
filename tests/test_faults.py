"""Every step of every operation fails in every way, and a healthy process comes after.

After each fault the invariants of docs/reference/spec.md are checked on the bytes in the
store, read past cvcache. Then the process is stopped instead of broken: another machine takes its
node, and it wakes.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from processes.figures import Figures
from simulated import (
    FILE,
    OWN,
    PAIR,
    PausedStore,
    World,
    attempted,
    check_log,
    check_newest,
    compute,
    compute_by_hand,
    compute_little,
    contents_of,
    fill,
    lay,
    log_of,
    new_case,
    quiet_store,
    read_items,
    read_mark,
    world,
)

from cvcache import Contention, NodeReplaced, cdir, cdir_init, cdir_query
from cvcache.node import address_of
from cvcache.protocol import remove_node
from cvcache.testing import FAULTS, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers.store_cases import StoreCase
    from simulated import Process

    from cvcache import CacheDir, Policy

    Saved = tuple[dict[str, bytes], set[str], list[tuple[CacheDir, dict[str, str]]]]

__all__ = ["world"]

KINDS = ("memory", "local")
DEADLY = {"crash", "crash_after", "torn"}
DISTINCT = ("crash", "lost", "error")
"""What is left of `FAULTS` in pairs: dying after a step leaves what dying before the next one does."""

BESIDE, INSIDE, CHILD = "../beside.txt", "notes.txt", "child"


def remove(url: str, _key: object, policy: Policy, opened: Callable[[], object] = lambda: None) -> None:
    """Remove this one node and not its children, as `cdir_remove` does for each in turn."""
    node = cdir(url, policy=policy)
    remove_node(address_of(node).store, address_of(node).path, policy)
    opened()


SCENARIOS: dict[str, tuple[str, Callable[..., object]]] = {
    f"{beginning}, then {act.__name__}": (beginning, act)
    for beginning, act in (
        ("nothing", compute),
        ("nothing", compute_by_hand),
        ("a result", compute),
        ("a result", compute_by_hand),
        ("a result", remove),
        ("a corpse", compute),
        ("a corpse", remove),
        ("nothing", compute_little),
        ("a result", compute_little),
    )
}


class Stage:
    """A node with a committed child, what stood around it before, and what is to be done with it."""

    def __init__(self, kind: str, folder: Path, world: World, scenario: str) -> None:
        self.title = f"{kind}: {scenario}"
        beginning, self._act = SCENARIOS[scenario]
        self.world = world
        self.case: StoreCase = new_case(kind, folder)
        self.pinned: list[tuple[CacheDir, dict[str, str]]] = []
        self._canaries: set[str] = set()
        with world.process():
            compute(f"{self.url}/{CHILD}", {"key": "child"}, world.policy)
            self._child_mark = read_mark(cdir_query(f"{self.url}/{CHILD}", policy=world.policy))
        if beginning == "a result":
            self._begin_with_a_result()
        elif beginning == "a corpse":
            self._begin_with_a_corpse()
        self.put_canaries()
        self.before = self.save()

    @property
    def url(self) -> str:
        return self.case.url

    def _begin_with_a_result(self) -> None:
        with self.world.process():
            (self._act if self._act is compute_little else compute)(self.url, {"key": "old"}, self.world.policy)
            self.pin()

    def _begin_with_a_corpse(self) -> None:
        process = self.world.process()
        with process:
            fill(cdir_init(self.url, {"key": "old"}, policy=self.world.policy))
        process.kill()

    def save(self) -> Saved:
        return contents_of(self.case), set(self._canaries), list(self.pinned)

    def reset(self, saved: Saved) -> dict[str, bytes]:
        """Lay out what was saved; return its log."""
        contents, canaries, pinned = saved
        lay(self.case, contents)
        self._canaries, self.pinned = set(canaries), list(pinned)
        return log_of(self.case)

    def act(self) -> None:
        self._act(self.url, {"key": "new"}, self.world.policy, self.put_canaries)

    def put_canaries(self) -> None:
        """Lay what is not cvcache's beside the node and, once it is a node, inside."""
        for name in (BESIDE, *([INSIDE] if log_of(self.case) else [])):
            if name not in self._canaries:
                self._canaries.add(name)
                self.case.put(name, b"mine: " + name.encode())

    def run(self, process: Process, plan: dict[int, str]) -> FaultyStore:
        """Let `process` act on a store that fails on a plan; where files can be torn, it leaves half of one."""
        store = quiet_store(self.url)

        def tear(_: str, half: bytes) -> None:
            store.put(f"{self.url.removeprefix('memory://')}/_cvcache/tmp/{process.pid}-torn", half)

        faulty = FaultyStore(store, plan, tear if self.case.kind == "local" else None)
        with process.through(lambda _: faulty):
            error = attempted(self.act)
        assert error is None or plan, error
        return faulty

    def check(self, before: dict[str, bytes]) -> None:
        """Check every invariant that can be seen from outside."""
        self.put_canaries()
        records = check_log(self.case, before)
        committed = Counter(r["attempt"] for r in records if r["state"] == "committed")
        assert set(committed.values()) <= {1}
        for name in self._canaries:
            assert self.case.read(name) == b"mine: " + name.encode(), f"{name} was touched"
        with self.world.process():
            newest = check_newest(self.url, self.world.policy)
            assert newest.committed == _stands(records), "what stood is gone, or what was removed is back"
            assert read_mark(cdir_query(f"{self.url}/{CHILD}", policy=self.world.policy)) == self._child_mark
            for handle, items in self.pinned:
                _check_pinned(handle, items, newest)

    def pin(self) -> None:
        """Keep a reader of what is committed now."""
        handle = cdir_query(self.url, policy=self.world.policy)
        self.pinned.append((handle, read_items(handle)))

    def recover(self) -> None:
        """Let a healthy process finish the node, without waiting for anybody who is dead."""
        slept = len(self.world.slept)
        with self.world.process():
            self.act()
            done = compute(self.url, {"key": "new"}, self.world.policy, self.put_canaries)
            assert done.committed
            assert read_mark(done) == read_mark(cdir_query(self.url, policy=self.world.policy))
        assert len(self.world.slept) == slept, "a healthy process waited for a dead one"


def _stands(records: list[dict[str, object]]) -> bool:
    """Whether there is a result by the states of a log alone: nothing but a removal ends one."""
    states = [record["state"] for record in records if record["state"] in {"committed", "removing"}]
    return states[-1:] == ["committed"]


def _check_pinned(handle: CacheDir, items: dict[str, str], newest: CacheDir) -> None:
    """Check that a reader of an older result gets that, or an error that says why it is gone."""
    if newest.commit is not None and newest.commit == handle.commit:
        assert read_items(handle) == items, "a committed root was written or deleted"
    else:
        _check_read(handle, FILE, {"by": items.get(FILE)})
        _check_read(handle, PAIR, [items[f"{PAIR}/a"], items[f"{PAIR}/b"]])


def _check_read(handle: CacheDir, name: str, committed: object) -> None:
    """Check that an item is what its commit vouched for, or an error that says what became of it."""
    if name in handle:
        try:
            assert handle.read(name) == committed
        except NodeReplaced:
            assert cdir_query(handle.url).commit != handle.commit


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path: Path, world: World) -> Iterator[Stage]:
    """Give the stage for a pair (kind of store, scenario)."""
    kind, scenario = request.param
    made = Stage(kind, tmp_path, world, scenario)
    yield made
    lay(made.case, {})


def told(what: str, count: int, stage: Stage, record_property: Callable[[str, object], None]) -> None:
    """Tell a figure."""
    Figures(stage.title, record_property).add(what, count).tell()


def _steps(stage: Stage) -> int:
    """Return how many store calls the act takes without a fault."""
    log = stage.reset(stage.before)
    steps = stage.run(stage.world.process(), {}).steps
    stage.check(log)
    assert steps >= 9
    return steps


every_scenario = pytest.mark.parametrize(
    "stage", list(itertools.product(KINDS, SCENARIOS)), indirect=True, ids=" ".join
)


def check_single_faults(stage: Stage) -> int:
    """Check the invariants after every fault at every step, before and after a healthy process; return how many."""
    faults = list(itertools.product(range(1, _steps(stage) + 1), FAULTS))
    for step, fault in faults:
        log = stage.reset(stage.before)
        process = stage.world.process()
        faulty = stage.run(process, {step: fault})
        assert any(entry[3] == fault for entry in faulty.trace)
        process.kill()
        stage.check(log)
        log = log_of(stage.case)
        stage.recover()
        stage.check(log)
    return len(faults)


@every_scenario
def test_every_single_fault(stage: Stage, record_property: Callable[[str, object], None]) -> None:
    told("single faults", check_single_faults(stage), stage, record_property)


@every_scenario
def test_a_process_that_saw_an_error_can_try_again(stage: Stage) -> None:
    for step, fault in itertools.product(range(1, _steps(stage) + 1), sorted({*FAULTS} - DEADLY)):
        log = stage.reset(stage.before)
        process = stage.world.process()
        stage.run(process, {step: fault})
        stage.check(log)
        with process:
            stage.act()
        stage.check(log)
        stage.world.sleep(1)
        assert not process.attempts
        process.kill()
        stage.recover()
        stage.check(log)


def _every_pair(stage: Stage, faults: tuple[str, ...]) -> int:
    """Try every pair: the second fault hits the process that recovers from the first. Return how many."""
    tried = 0
    for first in itertools.product(range(1, _steps(stage) + 1), faults):
        stage.reset(stage.before)
        _struck(stage, first)
        between = stage.save()
        for fault in faults:
            for step in itertools.count(1):
                log = stage.reset(between)
                if _struck(stage, (step, fault)) < step:
                    break
                stage.check(log)
                log = log_of(stage.case)
                stage.recover()
                stage.check(log)
                tried += 1
    return tried


def _struck(stage: Stage, fault: tuple[int, str]) -> int:
    """Let a process run into a fault and be gone; return how many steps it came."""
    process = stage.world.process()
    steps = stage.run(process, dict([fault])).steps
    process.kill()
    return steps


IN_PAIRS = ("nothing, then compute_little", "a result, then compute_little")


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", list(itertools.product(KINDS, IN_PAIRS)), indirect=True, ids=" ".join)
def test_every_pair_of_faults(stage: Stage, record_property: Callable[[str, object], None]) -> None:
    tried = _every_pair(stage, DISTINCT)
    told("pairs of faults", tried, stage, record_property)
    assert tried > 9 * 100


@pytest.mark.long
@pytest.mark.timeout(0)
@every_scenario
def test_every_pair_of_all_faults(stage: Stage, record_property: Callable[[str, object], None]) -> None:
    told("pairs of faults", _every_pair(stage, FAULTS), stage, record_property)


# -- stopped instead of broken ---------------------------------------------------------------------


def computes_meanwhile(stage: Stage) -> None:
    """Wait until the owner counts as gone, then compute with a third key."""
    compute(stage.url, {"key": "third"}, stage.world.policy, stage.put_canaries)
    stage.pin()


def removes_meanwhile(stage: Stage) -> None:
    """Remove the node from under its owner."""
    node = cdir(stage.url, policy=stage.world.policy)
    attempted(lambda: remove_node(address_of(node).store, address_of(node).path, stage.world.policy, force=True))


def removes_and_computes_meanwhile(stage: Stage) -> None:
    removes_meanwhile(stage)
    computes_meanwhile(stage)


def computes_twice_meanwhile(stage: Stage) -> None:
    computes_meanwhile(stage)
    compute(stage.url, {"key": "fourth"}, stage.world.policy, stage.put_canaries)
    stage.pin()


OTHERS = (computes_meanwhile, removes_meanwhile, removes_and_computes_meanwhile, computes_twice_meanwhile)


def _sleep_through(stage: Stage, step: int, meanwhile: Callable[[Stage], None], machine: str) -> int:
    """Stop a process before one of its store calls, let `meanwhile` happen elsewhere, and wake it; return its steps."""
    sleeper = stage.world.process(machine)

    def others() -> None:
        with sleeper.stopped(), stage.world.process("elsewhere"):
            meanwhile(stage)

    store = PausedStore(quiet_store(stage.url), step, others)
    with sleeper.through(lambda _: store):
        error = attempted(stage.act)
    assert error is None or isinstance(error, Contention), error
    sleeper.kill()
    return store.steps


WITH_OTHERS = [
    pytest.param(
        (kind, scenario),
        other,
        id=f"{kind} {scenario}, {other.__name__}",
        # on a disk the steps are the same ones, only slower
        marks=() if kind == "memory" or other is removes_and_computes_meanwhile else pytest.mark.long,
    )
    for kind, scenario, other in itertools.product(KINDS, SCENARIOS, OTHERS)
]


def check_pauses(stage: Stage, other: Callable[[Stage], None]) -> int:
    """Check the invariants when a process is stopped at any step and wakes after `other`; return how many steps."""
    steps = _steps(stage)
    for step in range(1, steps + 1):
        log = stage.reset(stage.before)
        assert _sleep_through(stage, step, other, "here") >= step
        stage.check(log)
        log = log_of(stage.case)
        stage.recover()
        stage.check(log)
    return steps


@pytest.mark.parametrize(("stage", "other"), WITH_OTHERS, indirect=["stage"])
def test_a_process_stopped_at_any_step_does_no_harm_when_it_wakes(
    stage: Stage, other: Callable[[Stage], None], record_property: Callable[[str, object], None]
) -> None:
    told("pauses", check_pauses(stage, other), stage, record_property)


TWICE_STOPPED = (*IN_PAIRS, "a result, then remove", "a corpse, then remove")


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("stage", [("memory", scenario) for scenario in TWICE_STOPPED], indirect=True, ids=" ".join)
def test_two_processes_stopped_at_any_steps_do_no_harm_when_they_wake(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    """The second is stopped while it takes over from the first, and both wake when a third has finished."""
    tried = 0
    for first in range(1, _steps(stage) + 1):
        for second in itertools.count(1):
            log = stage.reset(stage.before)
            came: list[int] = []
            meanwhile = functools.partial(_stopped_too, step=second, came=came)
            _sleep_through(stage, first, meanwhile, "here")
            stage.check(log)
            stage.recover()
            stage.check(log)
            if came[0] < second:
                break
            tried += 1
    told("pairs of pauses", tried, stage, record_property)


def _stopped_too(stage: Stage, step: int, came: list[int]) -> None:
    came.append(_sleep_through(stage, step, computes_meanwhile, "a third place"))


@pytest.mark.parametrize("stage", [(kind, "a result, then compute") for kind in KINDS], indirect=True, ids=" ".join)
@pytest.mark.parametrize("item", [FILE, PAIR])
def test_a_reader_stopped_at_any_step_gets_one_result_or_an_error(stage: Stage, item: str) -> None:
    """The writer is on the same machine, so that the new result lies where the old one did."""
    outcomes = set()
    for step in range(1, 9):
        stage.reset(stage.before)
        _, items = stage.pinned[0]
        old = {"by": items[FILE]} if item == FILE else [items[f"{PAIR}/a"], items[f"{PAIR}/b"]]

        def others() -> None:
            with stage.world.process():
                stage.act()

        store = PausedStore(quiet_store(stage.url), step, others)
        with stage.world.process().through(lambda _, store=store: store):
            try:
                said = cdir_query(stage.url, policy=stage.world.policy).read(item)
            except NodeReplaced:
                outcomes.add("replaced")
                continue
        with stage.world.process():
            new = cdir_query(stage.url).read(item)
        assert said in (old, new)
        outcomes.add("old" if said == old else "new")
    assert outcomes == {"replaced", "old", "new"}


@pytest.mark.parametrize("stage", [("memory", "a result, then compute")], indirect=True, ids=" ".join)
@pytest.mark.parametrize("how", ["read", "open"])
def test_a_pinned_reader_never_gets_another_results_own_file(stage: Stage, how: str) -> None:
    """Both results have a file of the same size, so that the size alone cannot tell."""
    handle, _ = stage.pinned[0]
    with stage.world.process():
        stage.act()
        with pytest.raises(NodeReplaced):
            handle.read(OWN) if how == "read" else handle.open(OWN).read()
