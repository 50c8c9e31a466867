"""Two simulated processes on one node, whose store calls happen in an order that a schedule says.

Each process runs the real protocol in a thread of its own and stops before each of its store calls; one of them has the
turn. Whoever waits for a lease gives up the turn. A `Witness` looks at the objects in memory after each call.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec
from simulated import FILE, PAIR, REQUEST_TIMEOUT, TTL

from cvcache import Contention, NodeReplaced, Policy, cdir_init, cdir_query, register_format
from cvcache.node import snapshot_of
from cvcache.protocol import claim, finish, remove, resume, sweep
from cvcache.store import IN_PLACE, is_item_dir, layout, record_name
from cvcache.testing import SimulatedCrash, WrapperStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from simulated import Process, World

    from cvcache import CacheDir
    from cvcache.store import Store

    Act = Callable[["Stage"], object]
    Calls = list[list[int]]
    """Of the schedule that each process begins: how many store calls each of them makes."""

NODE = "node"
PLANNED = "image.planned.dir"
ITEMS = (FILE, PAIR, PLANNED)
OBJECTS = (FILE, *(f"{name}/{key}" for name in (PAIR, PLANNED) for key in "ab"))
LOG = f"/{layout.log_dir(NODE)}/"
WRITES = frozenset({"put", "copy", "put_new", "delete"})
FAULTS = ("crash", "lost", "silent")
"""A process ends before a call, or hears of an error after it, or sends no beat until it has the turn again."""

OWNERS = {"one machine": ("memory", "here"), "two machines": ("memory", "elsewhere"), "bucket": ("bucket", "here")}
"""Scheme of the store, and the machine of the second process: only on its own machine a death is proved."""


class Fault(NamedTuple):
    """What befalls one of the two processes at one of its store calls, counted from 1."""

    process: int
    call: int
    kind: str


class Schedule(NamedTuple):
    """Who begins, after how many of its calls whoever has the turn loses it, and a fault."""

    first: int = 0
    runs: tuple[int, ...] = ()
    fault: Fault | None = None


class ViolationError(Exception):
    """A schedule that breaks an invariant."""


class _Planned:
    """A format of two objects with a plan: an attempt with an equal plan and key goes on with what is there."""

    @staticmethod
    def write(item: Any, obj: Any, /) -> dict[str, Any]:
        present = item.begin({"digest": "of the plan", "lineage": "of the source"})
        for key, part in zip("ab", obj, strict=True):
            if key not in present:
                item.put(json.dumps(part).encode(), key)
        return {"kind": "file"}

    @staticmethod
    def read(item: Any, /) -> list[Any]:
        return [json.loads(item.get(key)) for key in "ab"]

    @staticmethod
    def describe(_: Any) -> dict[str, Any]:
        return {"kind": "file"}


register_format("planned.dir", _Planned, directory=True)


def fill(out: CacheDir, key: str) -> None:
    """Write one item of each kind, whose every object says which attempt wrote it, and for which key."""
    mark = {"by": out.version, "key": key}
    out.write(FILE, mark)
    out.write(PAIR, [mark, mark])
    out.write(PLANNED, [mark, mark])


class Witness:
    """What has become of a node, by its objects in memory: no store call, and nothing of the protocol but its records.

    Attributes
    ----------
    records : list of dict
        The log.
    standing : dict or None
        The record of the commit that stands.
    results : dict
        Attempt of each commit -> what a reader of it gets: name of an item -> object.
    deputies : dict
        Id of a process -> id of the one whose attempt it writes for.
    """

    def __init__(self) -> None:
        self._objects: dict[str, Any] = fsspec.filesystem("memory").store
        self.records: list[dict[str, Any]] = []
        self.standing: dict[str, Any] | None = None
        self.results: dict[str, dict[str, Any]] = {}
        self.deputies: dict[int, int] = {}
        self._log: dict[str, Any] = {}
        self._places: tuple[str, ...] = ()
        self._stands: dict[str, Any] = {}
        self._committed_roots: set[str] = set()
        self._holders: dict[str, int] = {}
        self._since_commit: list[str] = []
        self.look()

    def saw(self, process: Process, verb: str, path: str) -> None:
        """Check every invariant after a call that writes."""
        root = _root_of(path)
        if root is not None:
            self._check_writer(self.deputies.get(process.pid, process.pid), root, f"{verb} of {path}")
        self.look()

    def _check_writer(self, writer: int, root: str, what: str) -> None:
        if not what.startswith("delete"):
            assert root not in self._committed_roots, f"I11: {what} in a root that was committed"
            assert self._holders.get(root) == writer, f"I11: {what} in a root that another one has claimed"
        newest = self.records[-1]
        if newest["state"] == "claimed" and newest["root"] == root:
            assert newest["owner"]["pid"] == writer, f"I11: {what} in the root of another one's open attempt"

    def look(self) -> None:
        """Check that the log is one chain, and that nothing of what stands has changed."""
        names = sorted(name for name in self._objects if name.startswith(LOG))
        assert all(self._objects.get(name) is file for name, file in self._log.items()), "a record was changed"
        for name in names[len(self._log) :]:
            after = self.records[-1]["attempt"] if self.records else "root"
            assert name.rpartition("/")[2] == record_name(len(self.records) + 1, after), "two chains"
            self._log[name] = self._objects[name]
            self._follow(json.loads(self._objects[name].getvalue()))
        assert self._objects_of_result() == self._stands, "I3': what stands was written or deleted"

    def _follow(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        match record["state"]:
            case "claimed":
                assert record["root"] not in self._committed_roots, "I11: a root that was committed is claimed"
                self._holders[record["root"]] = record["owner"]["pid"]
                self._since_commit.append(record["attempt"])
            case "committed":
                self.standing = record
                self._committed_roots.add(record["root"])
                self._places = _places_of(record)
                self._stands = self._objects_of_result()
                self.results[record["attempt"]] = self._read_result(record)
                self._since_commit = []
            case "removing":
                self.standing, self._places, self._stands, self._since_commit = None, (), {}, []
        if record["state"] != "committed":
            named = record.get("standing")
            assert (named and named["attempt"]) == (self.standing and self.standing["attempt"]), (
                "I9: what stands is lost"
            )

    def _objects_of_result(self) -> dict[str, Any]:
        return {name: file for name, file in self._objects.items() if name.startswith(self._places)}

    def _read_result(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return what a reader gets, which must be whole, and of one attempt where nothing was planned."""
        parts = {name: json.loads(file.getvalue()) for name, file in self._stands.items()}
        prefix = _folder_of(record)
        expected = {f"{prefix}/{name}" for name in OBJECTS}
        assert parts.keys() == expected, f"I9: a commit that is not whole, or more than that: {sorted(parts)}"
        assert set(record["items"]) == set(ITEMS)
        pair, planned = ([parts[f"{prefix}/{name}/{key}"] for key in "ab"] for name in (PAIR, PLANNED))
        mark = {"by": record["attempt"], **record["key"]}
        assert [parts[f"{prefix}/{FILE}"], *pair] == [mark] * 3, "I5: items of several attempts"
        for part in planned:
            assert part["key"] == mark["key"], "I5: a part of another key"
            assert part["by"] in self._since_commit, "a part of an attempt before the last commit"
        return {FILE: mark, PAIR: pair, PLANNED: planned}

    def check_swept(self) -> None:
        """Check that nothing is left but what stands, the log, kept logs, and announcements of who may still write."""
        assert self.standing is not None
        own = self.standing["attempt"]
        in_place = {r["attempt"] for r in self.records if r["state"] == "claimed" and r["root"] == IN_PLACE}
        control = f"/{layout.control_dir(NODE)}/"
        for name in self._objects.keys() - self._log.keys() - self._stands.keys():
            assert name.startswith(control), f"I8: {name} is left"
            kind, _, rest = name.removeprefix(control).partition("/")
            attempt = rest.partition("/")[0].partition(".")[0]
            allowed = kind == "failed" or attempt == own or (kind == "writing" and attempt in in_place)
            assert allowed, f"I8: {name} is left"


def _folder_of(record: dict[str, Any]) -> str:
    """Return where the items of a record lie, as a name in memory."""
    return f"/{NODE}" if record["root"] == IN_PLACE else f"/{NODE}/{record['root']}"


def _places_of(record: dict[str, Any]) -> tuple[str, ...]:
    """Return what the names of all objects of a result begin with: at the plain root those of its items alone."""
    folder = _folder_of(record)
    if record["root"] != IN_PLACE:
        return (f"{folder}/",)
    return tuple(f"{folder}/{name}{'/' if is_item_dir(name) else ''}" for name in record["items"])


def _root_of(path: str) -> str | None:
    """Return the data root that an object lies in, None for one of the log or of other files of cvcache's own."""
    inside = path.removeprefix(f"{NODE}/")
    if not layout.is_control(inside.partition("/")[0]):
        return IN_PLACE
    parts = inside.split("/")
    return "/".join(parts[:3]) if parts[1] == "attempts" else None


class _Actor:
    """One of the two processes, with what it is to do and what came of it."""

    def __init__(self, number: int, process: Process, act: Act) -> None:
        self.number = number
        self.process = process
        self.act = act
        self.calls = 0
        self.writes = 0
        self.has_ended = False
        self.turn = threading.Semaphore(0)


class TurnStore(WrapperStore):
    """The store as one process sees it: it stops before each call."""

    def __init__(self, store: Store, run: Run, actor: _Actor) -> None:
        super().__init__(store)
        self.scheme = run.stage.scheme
        self._run, self._actor = run, actor

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:  # noqa: ARG002 - which bytes decides nothing
        return self._run.call(self._actor, verb, path, act)


class Run:
    """One schedule, and what happened."""

    def __init__(self, stage: Stage, schedule: Schedule) -> None:
        self.stage = stage
        self.trace: list[tuple[int, str, str]] = []
        self.violation: BaseException | None = None
        self.witness = Witness()
        self._fault = schedule.fault
        self._preempt = list(reversed(schedule.runs))
        self._in_turn = 0
        self._is_asleep = False
        self._actors = [
            _Actor(number, stage.world.process(machine), act)
            for number, (machine, act) in enumerate(zip(("here", stage.machine), stage.acts, strict=True))
        ]

    def play(self, first: int) -> None:
        """Let both processes live, `first` first, until both have ended."""
        threads = [threading.Thread(target=self._live, args=(actor,), daemon=True) for actor in self._actors]
        with instrument(self._store), self._actors[0].process:  # which puts back what was before
            for thread in threads:
                thread.start()
            self._actors[first].turn.release()
            for thread in threads:
                thread.join()
        self._raise_violation()

    def play_alone(self, act: Act) -> None:
        """Let one more process act when both are gone."""
        for actor in self._actors:
            actor.process.kill()
        alone = _Actor(2, self.stage.world.process(), act)
        self._actors.append(alone)
        with instrument(self._store), alone.process, contextlib.suppress(SimulatedCrash):
            act(self.stage)
        self._raise_violation()

    @property
    def calls(self) -> list[int]:
        """How many store calls each of the two processes has made."""
        return [actor.calls for actor in self._actors[:2]]

    @property
    def writes(self) -> int:
        """How many writing calls the process that runs has made."""
        return self._current().writes

    def sleep(self, seconds: float) -> None:
        """Let time pass; whoever waits for the other one gives up the turn to it."""
        actor = self._current()
        self._is_asleep = True
        try:
            self.stage.world.sleep(seconds)
        finally:
            self._is_asleep = False
        self.trace.append((actor.number, "sleep", ""))
        other = self._other(actor)
        if seconds < REQUEST_TIMEOUT and other is not None and not other.process.paused:
            self._give_turn(actor, other)

    def call(self, actor: _Actor, verb: str, path: str, act: Callable[[], Any]) -> Any:
        """Do one store call of a process when it has the turn, or what befalls it there."""
        if self._is_asleep:  # a beat, of whoever holds an attempt
            return self._do(actor, verb, path, act)
        self._stop_before_call(actor)
        actor.calls += 1
        self._in_turn += 1
        fault = self._fault.kind if self._fault and self._fault[:2] == (actor.number, actor.calls) else ""
        if fault == "silent":
            self._fall_silent(actor)
        if fault == "crash":
            self.trace.append((actor.number, "crash", ""))
            actor.process.kill()
        self._raise_if_dead(actor)
        result = self._do(actor, verb, path, act)
        if fault == "lost":
            self.trace.append((actor.number, "lost", ""))
            raise ConnectionResetError(104, f"injected after {verb}", path)
        return result

    def _do(self, actor: _Actor, verb: str, path: str, act: Callable[[], Any]) -> Any:
        self.trace.append((actor.number, verb, path))
        result = act()
        if verb in WRITES:
            actor.writes += 1
            try:
                self.witness.saw(actor.process, verb, path)
            except AssertionError as error:  # an error here could be one that the protocol goes on after
                self.violation = error
                raise SimulatedCrash from error
        return result

    def _stop_before_call(self, actor: _Actor) -> None:
        self._raise_if_dead(actor)
        other = self._other(actor)
        if other is not None and self._preempt and self._in_turn == self._preempt[-1]:
            self._preempt.pop()
            self._give_turn(actor, other)

    def _fall_silent(self, actor: _Actor) -> None:
        other = self._other(actor)
        if other is not None:
            if actor.process.attempts:
                self.trace.append((actor.number, "silent", ""))
                actor.process.paused = True
            self._give_turn(actor, other)

    def _live(self, actor: _Actor) -> None:
        self._take_turn(actor)
        try:
            actor.act(self.stage)
        except (SimulatedCrash, Contention):
            pass
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the test
            if not (self._is_lost_by(actor) and isinstance(error, ConnectionResetError)):
                self.violation = self.violation or error
        actor.has_ended = True
        if (other := self._other(actor)) is not None:
            other.turn.release()

    def _give_turn(self, actor: _Actor, other: _Actor) -> None:
        other.turn.release()
        self._take_turn(actor)
        self._raise_if_dead(actor)

    def _take_turn(self, actor: _Actor) -> None:
        actor.turn.acquire()
        self._in_turn = 0
        actor.process.paused = False
        actor.process.resume()

    def _raise_if_dead(self, actor: _Actor) -> None:
        if not actor.process.alive or self.violation is not None:
            raise SimulatedCrash

    def _raise_violation(self) -> None:
        if self.violation is not None:
            raise self.violation

    def _is_lost_by(self, actor: _Actor) -> bool:
        return self._fault is not None and (self._fault.process, self._fault.kind) == (actor.number, "lost")

    def _current(self) -> _Actor:
        return next(actor for actor in self._actors if actor.process is self.stage.world.current)

    def _other(self, actor: _Actor) -> _Actor | None:
        return next((other for other in self._actors if other is not actor and not other.has_ended), None)

    def _store(self, store: Store) -> Store:
        return TurnStore(store, self, self._current())


class Stage:
    """A node as it was before, what each of two processes does to it, and the schedules that were run.

    Parameters
    ----------
    world
        A world without processes.
    begin
        Makes the node.
    acts
        What the processes do.
    owners
        One of `OWNERS`.
    """

    def __init__(self, world: World, patch: pytest.MonkeyPatch, begin: Act, acts: tuple[Act, Act], owners: str) -> None:
        self.world = world
        self.url = f"memory://{NODE}"
        self.acts = acts
        self.scheme, self.machine = OWNERS[owners]
        self.policy = Policy(ttl=TTL, request_timeout=REQUEST_TIMEOUT, clock=lambda: world.time, sleep=self._sleep)
        self.run: Run | None = None
        self.traces: set[int] = set()
        self._settled: set[int] = set()
        self._numbers = itertools.count(1)
        self._make_repeatable(patch)
        self._objects: dict[str, Any] = fsspec.filesystem("memory").store
        self._objects.clear()
        begin(self)
        self._beginning = dict(self._objects), next(self._numbers), world.moment()

    def _make_repeatable(self, patch: pytest.MonkeyPatch) -> None:
        for module in (claim, finish, remove):
            patch.setattr(module, "new_id", lambda: f"{next(self._numbers):016x}")
            patch.setattr(module, "utc_timestamp", lambda: "2026-01-01T00:00:00.000+00:00")
        patch.setattr("cvcache.node.provenance.environment", dict)
        # threads of a pool have no turn
        for module in (resume, sweep):
            patch.setattr(module, "gather", lambda act, keys, *, remote: list(map(act, keys)))  # noqa: ARG005 - its signature

    def _sleep(self, seconds: float) -> None:
        assert self.run is not None, "nobody waits before a schedule begins"
        self.run.sleep(seconds)

    @property
    def witness(self) -> Witness:
        """That of the schedule that is run."""
        assert self.run is not None
        return self.run.witness

    def play(self, schedule: Schedule) -> list[int]:
        """Run a schedule, then one more process that looks and computes; return how many calls the two have made.

        Raises
        ------
        ViolationError
            If an invariant did not hold.
        """
        objects, number, moment = self._beginning
        self._objects.clear()
        self._objects.update(objects)
        self._numbers = itertools.count(number)
        self.world.rewind(moment)
        run = self.run = Run(self, schedule)
        try:
            run.play(schedule.first)
            self.traces.add(hash(tuple(run.trace)))
            self._settle(run)
        except Exception as error:
            steps = "\n".join(" ".join(map(str, step)) for step in run.trace)
            msg = f"{schedule}: {type(error).__name__}: {error}\n{steps}"
            raise ViolationError(msg) from error
        return run.calls

    def _settle(self, run: Run) -> None:
        state = hash(frozenset((name, file.getvalue()) for name, file in self._objects.items()))
        if state not in self._settled:
            run.play_alone(look_and_compute)
            run.witness.check_swept()
            self._settled.add(state)


def compute(stage: Stage, key: str) -> CacheDir:
    """Compute the node for a key, unless its result stands; a hit does not write."""
    assert stage.run is not None
    standing, writes = stage.witness.standing, stage.run.writes
    with cdir_init(stage.url, {"key": key}, policy=stage.policy) as out:
        if not out.committed:
            fill(out, key)
        elif standing is not None and out.commit is not None and attempt_of(out) == standing["attempt"]:
            assert stage.run.writes == writes, "I10: a hit writes"
    return out


def attempt_of(handle: CacheDir) -> str:
    """Return the attempt whose record a handle shows."""
    record = snapshot_of(handle).record
    assert record is not None
    return record.attempt


def read(stage: Stage) -> None:
    """Read each item of the result that stands now, the first one twice: it is that of its commit, or was replaced."""
    handle = cdir_query(stage.url, policy=stage.policy)
    if handle.committed:
        for name in (*ITEMS, FILE):
            try:
                found = handle.read(name)
            except NodeReplaced:
                standing = stage.witness.standing
                assert standing is None or standing["attempt"] != attempt_of(handle), "I5: what stands is not read"
            else:
                assert found == stage.witness.results[attempt_of(handle)][name], "I5: not the bytes of the commit"


def look_and_compute(stage: Stage) -> None:
    """Read what stands, then compute for a key that nobody had."""
    standing = stage.witness.standing
    found = cdir_query(stage.url, policy=stage.policy)
    assert found.committed == (standing is not None), "I9: what stands is not found"
    read(stage)
    assert compute(stage, "last").committed
    read(stage)


def simple_schedules(calls: Calls) -> Iterator[Schedule]:
    """Yield each schedule without a fault where only the first process loses its turn, and only once."""
    for first, numbers in enumerate(calls):
        yield from (Schedule(first, (call,)) for call in range(1, numbers[first]))


def schedules_with_a_fault(calls: Calls, draw: random.Random) -> list[Schedule]:
    """Return each schedule with one fault where no one else loses its turn, shuffled."""
    found = [
        Schedule(first, fault=Fault(process, call, kind))
        for first, numbers in enumerate(calls)
        for process, number in enumerate(numbers)
        for call, kind in itertools.product(range(1, number + 1), FAULTS)
        if process == first or kind != "silent"  # nobody is left to whom silence matters
    ]
    draw.shuffle(found)
    return found


def drawn_schedules(calls: Calls, draw: random.Random, changes: int) -> Iterator[Schedule]:
    """Yield schedules where turns are lost up to so many times, most of them with a fault, for ever."""
    while True:
        first, process = draw.randrange(2), draw.randrange(2)
        numbers = calls[first]
        runs = tuple(draw.randint(1, numbers[(first + turn) % 2]) for turn in range(draw.randint(1, changes)))
        kind = draw.choice((*FAULTS, "") if len(runs) > 1 else FAULTS)
        fault = Fault(process, draw.randint(1, numbers[process]), kind) if kind else None
        yield Schedule(first, runs, fault)


def explore(stage: Stage, count: int, seed: str, changes: int = 2) -> int:
    """Run the simple schedules, then others until so many distinct ones were run; return how many."""
    draw = random.Random(seed)
    calls = [stage.play(Schedule(first)) for first in range(2)]
    faulty = schedules_with_a_fault(calls, draw)
    drawn = itertools.islice(drawn_schedules(calls, draw, changes), 5 * count)
    others = itertools.chain.from_iterable(itertools.zip_longest(faulty, drawn))
    for schedule in itertools.chain(simple_schedules(calls), filter(None, others)):
        if len(stage.traces) >= count:
            break
        stage.play(schedule)
    return len(stage.traces)
