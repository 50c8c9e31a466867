"""Sequences of failures, each on every kind of store: what stands, whole, and what is left after one more commit.

The processes are those of a simulated world. One that ends or falls silent is on this machine, where that it is dead
can be proved, or on another one, where it is merely silent.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import numpy as np
import pytest
from servers.store_cases import LocalCase
from simulated import FILE, ITEMS, OWN, PAIR, World, attempted, check_log, fill, log_of, read_items, read_mark, world

from cvcache import ForeignItem, LeaseLost, NodeReplaced, UsageError, cdir, cdir_commit, cdir_init, cdir_query
from cvcache.image import pyramid
from cvcache.node import address_of
from cvcache.protocol import Owner, find_open_attempt_at, remove_node
from cvcache.testing import SimulatedCrash, WrapperStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import StoreCase
    from simulated import Process

    from cvcache import CacheDir, Policy
    from cvcache.store import Store

    Act = Callable[[], Any]
    Matches = Callable[[str, str, bytes], bool]

__all__ = ["world"]

IMAGE = "x.ome.zarr"
CHUNKS = f"{IMAGE}/0/c/"
PIXELS = np.arange(64 * 64, dtype="u2").reshape(64, 64)
FOREIGN = ("notes.txt", "theirs.dir/part")

machines = pytest.mark.parametrize("machine", ["here", "elsewhere"])


class Trap:
    """Hands the first call of a store that `matches` to `instead`; a crash there ends the process that called."""

    def __init__(self, matches: Matches, instead: Callable[[Act], Any]) -> None:
        self.matches = matches
        self.instead = instead
        self.met = False
        self.dead = False

    def around(self, store: Store) -> Store:
        return _Trapped(store, self)


class _Trapped(WrapperStore):
    def __init__(self, store: Store, trap: Trap) -> None:
        super().__init__(store)
        self.trap = trap

    def call(self, verb: str, path: str, act: Act, data: bytes | None = None) -> Any:
        trap = self.trap
        if trap.dead:
            raise SimulatedCrash(verb)
        if trap.met or not trap.matches(verb, path, data or b""):
            return act()
        trap.met = True
        try:
            return trap.instead(act)
        except SimulatedCrash:
            trap.dead = True
            raise


def crash(_: Act) -> None:
    """End the process before the call."""
    raise SimulatedCrash("before the call")


def crash_after(act: Act) -> None:
    """End the process after the call."""
    act()
    raise SimulatedCrash("after the call")


def lose_reply(act: Act) -> None:
    """Do the call, and say that it failed."""
    act()
    raise ConnectionResetError(104, "injected after the call")


def puts(name: str) -> Matches:
    """Match the write of an object with this end of its path."""
    return lambda verb, path, _: verb == "put" and path.endswith(name)


def records(state: str) -> Matches:
    """Match the creation of a record of this state."""
    return lambda verb, _, data: verb == "put_new" and f'"state":"{state}"'.encode() in data


def lists_for_sweep(verb: str, path: str, _: bytes) -> bool:
    """Match the listing at the begin of a sweep."""
    return verb == "find" and path.endswith("/_cvcache")


def deletes(verb: str, *_: object) -> bool:
    """Match a deletion."""
    return verb == "delete"


class Site:
    """A node on one kind of store, strangers' files in it and beside it, and the processes that use it."""

    def __init__(self, case: StoreCase, world: World) -> None:
        self.case = case
        self.world = world
        self.foreign = (f"../{case.root}-beside.txt", *FOREIGN)

    def node(self, policy: Policy | None = None) -> CacheDir:
        return cdir(self.case.url, policy=policy or self.world.policy, **self.case.options)

    @property
    def standing_still(self) -> Policy:
        """The policy of a process whose clock stands still while it is stopped, as that of a laptop that sleeps."""
        return dataclasses.replace(self.world.policy, clock=lambda: 0.0)

    def open(self, key: object, policy: Policy | None = None, **how: Any) -> CacheDir:
        out = cdir_init(self.node(policy), {"key": key}, **how)
        if "theirs.dir/part" not in self.case.snapshot():
            for name in self.foreign:
                self.case.put(name, b"mine: " + name.encode())
        return out

    def compute(self, key: object, items: tuple[str, ...] = ITEMS, **how: Any) -> str:
        """Do what a script does; return what the items of the result say."""
        with self.open(key, **how) as out:
            return read_mark(out) if out.committed else fill(out, items)

    def commit(self, key: object, machine: str = "here") -> str:
        """Let a process compute, and end."""
        process = self.world.process(machine)
        with process:
            mark = self.compute(key)
        process.kill()
        return mark

    def leave(self, key: object, machine: str, items: tuple[str, ...] = ITEMS) -> str:
        """Let a process write these items and die."""
        process = self.world.process(machine)
        with process:
            mark = fill(self.open(key), items)
        process.kill()
        return mark

    def strike(self, process: Process, matches: Matches, instead: Callable[[Act], Any], act: Act) -> Any:
        """Let `process` act until `matches`; return the error that `act` ended with."""
        trap = Trap(matches, instead)
        with process.through(trap.around):
            error = attempted(act)
        assert trap.met
        if trap.dead:
            process.kill()
        return error

    def look(self) -> CacheDir:
        return cdir_query(self.node())

    def check_stands(self, mark: str | None) -> None:
        """Check that what stands says `mark` in each of its items, or that nothing stands."""
        with self.world.process():
            found = self.look()
            assert found.committed == (mark is not None)
            assert mark is None or read_mark(found) == mark

    def check_end(self, mark: str | None) -> None:
        """Check what stands, then that after one more commit the node holds this, logs, and what is not ours."""
        self.check_stands(mark)
        self.check_leftovers()

    def check_leftovers(self) -> None:
        """Commit once more, and check that the node holds this, logs, and what is not ours."""
        log = log_of(self.case)
        with self.world.process():
            last = self.compute("last")
        self.check_stands(last)
        # other tests have left nodes in the memory
        found = {name for name in self.case.snapshot() if name in self.foreign or not name.startswith("../")}
        assert found == self._expected(check_log(self.case, log))
        for name in self.foreign:
            assert self.case.read(name) == b"mine: " + name.encode()

    def _expected(self, chain: list[dict[str, Any]]) -> set[str]:
        newest = chain[-1]
        prefix = "" if newest["root"] == "." else f"{newest['root']}/"
        assert set(newest["items"]) == set(ITEMS)
        items = {f"{prefix}{name}{part}" for name in ITEMS for part in (("/a", "/b") if name == PAIR else ("",))}
        beats = [name.removeprefix("_cvcache/beat/") for name in self.case.snapshot() if "/beat/" in name]
        shared = {name.removesuffix(".shared") for name in beats if name.endswith(".shared")}
        claimed = {row["attempt"] for row in chain if row["state"] == "claimed"}
        may_write = (claimed - self._known_to_be_over(chain)) | shared
        own = (f"_cvcache/{kind}/{newest['attempt']}" for kind in ("writing", "inventory", "beat"))
        announced = (f"_cvcache/writing/{attempt}/" for attempt in may_write)
        markers = (f"_cvcache/beat/{attempt}.shared" for attempt in shared)
        beginnings = ("_cvcache/log/", "_cvcache/failed/", *own, *announced, *markers)
        kept = {name for name in self.case.snapshot() if name.startswith(beginnings)}
        return {*items, *kept, *self.foreign, *({"_cvcache/tmp/"} if self.case.kind == "local" else ())}

    def _known_to_be_over(self, chain: list[dict[str, Any]]) -> set[str]:
        """Return the attempts that ended on record, with nothing under way, or died on this machine."""
        ended = {r["attempt"] for r in chain if r["state"] in {"committed", "failed", "released"} and not r["shared"]}
        with self.world.process():
            return ended | {r["attempt"] for r in chain if self.world.is_dead(Owner(**r["owner"]))}


@pytest.fixture
def site(store_case: StoreCase, world: World, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Give a node that was never computed, on each kind of store; of an image each task writes one chunk."""
    monkeypatch.setattr(pyramid, "BLOCK_BYTES", 0)
    return Site(store_case, world)


class Reader:
    """A reader of what stands now, who keeps the handle."""

    def __init__(self, site: Site) -> None:
        self.site = site
        with site.world.process():
            self.handle = site.look()
            self.items = read_items(self.handle)

    def check(self) -> None:
        """Check that each item is what its commit vouched for, or that another commit stands."""
        with self.site.world.process():
            for name in (FILE, PAIR):
                try:
                    said = self.handle.read(name)
                except NodeReplaced:
                    assert self.site.look().commit != self.handle.commit
                else:
                    a = self.items[f"{PAIR}/a"]
                    assert said == ({"by": a} if name == FILE else [a, a])

    def check_whole(self) -> None:
        """Check that all that was read is still there, the same."""
        with self.site.world.process():
            assert read_items(self.handle) == self.items


# ---- sweeps that come late


@machines
@pytest.mark.parametrize("listed", [False, True])
def test_01_a_committer_that_pauses_before_its_sweep_harms_no_later_result(
    site: Site, machine: str, *, listed: bool
) -> None:
    """B commits and pauses before it sweeps, or after it has listed; C claims, writes, commits; B sweeps."""
    site.commit("old")
    later: list[str] = []

    def meanwhile(act: Act) -> Any:
        listing = act() if listed else None
        with site.world.process(machine):
            later.append(site.compute("c"))
        return listing if listed else act()

    assert site.strike(site.world.process(), lists_for_sweep, meanwhile, lambda: site.compute("b")) is None
    site.check_end(later[0])


@machines
def test_02_what_a_silent_attempt_writes_after_a_sweep_has_listed_is_taken_by_the_next(
    site: Site, machine: str
) -> None:
    """A, silent at the plain root, announces and writes after B listed."""
    silent = site.world.process(machine)
    with silent:
        out = site.open("a", site.standing_still)

    def meanwhile(act: Act) -> Any:
        listing = act()
        with silent:
            fill(out)
        return listing

    done: list[str] = []
    with silent.stopped():
        site.strike(site.world.process("third"), lists_for_sweep, meanwhile, lambda: done.append(site.compute("b")))
    assert FILE in site.case.snapshot()
    silent.kill()
    site.check_end(done[0])


@pytest.mark.parametrize("items", [(), ITEMS])
def test_03_an_heir_that_falls_silent_before_its_first_write_harms_no_later_result(
    site: Site, items: tuple[str, ...]
) -> None:
    """A dies, B proves it dead, inherits and falls silent before its first write; C."""
    site.leave("a", "here", items)
    silent = site.world.process()
    with silent:
        out = site.open("b", site.standing_still)
    with silent.stopped():
        later = site.commit("c", "elsewhere")
    reader = Reader(site)
    with silent:
        fill(out)
        assert isinstance(attempted(lambda: cdir_commit(out)), LeaseLost)
    reader.check_whole()
    silent.kill()
    site.check_end(later)


# ---- the end of an attempt


@machines
@pytest.mark.parametrize("first", [True, False])
def test_04_a_commit_whose_reply_is_lost_stands(site: Site, machine: str, *, first: bool) -> None:
    """The commit lands and its reply is lost; the beat sees a successor."""
    if not first:
        site.commit("old")
    process = site.world.process(machine)
    mark: list[str] = []

    def act() -> None:
        with site.open("b") as out:
            mark.append(fill(out))

    assert isinstance(site.strike(process, records("committed"), lose_reply, act), OSError)
    reader = Reader(site)
    with process:
        for attempt in process.attempts:
            attempt.beat()
        assert not process.attempts
    site.check_stands(mark[0])
    with process:
        assert site.compute("b") == mark[0]
    reader.check_whole()
    site.check_end(mark[0])


def test_04_a_commit_whose_reply_is_lost_is_found_when_it_is_asked_for_again(site: Site) -> None:
    """The commit lands and its reply is lost; the attempt commits again."""
    site.commit("old")
    mark: list[str] = []

    def act() -> None:
        out = site.open("b")
        mark.append(fill(out))
        assert isinstance(attempted(lambda: cdir_commit(out)), OSError)
        assert cdir_commit(out) == site.look().commit

    assert site.strike(site.world.process(), records("committed"), lose_reply, act) is None
    site.check_end(mark[0])


@pytest.mark.parametrize("former", [False, True])
def test_05_a_fenced_attempt_of_the_same_process_writes_no_more(site: Site, *, former: bool) -> None:
    """A thread opens a node again: its older attempt is fenced."""
    old = site.commit("old") if former else None
    with site.world.process():
        fenced = site.open("a")
        fill(fenced)
        newer = site.open("b")
        assert isinstance(attempted(lambda: fill(fenced)), LeaseLost)
        site.check_stands(old)
        mark = fill(newer)
        cdir_commit(newer)
        assert isinstance(attempted(lambda: cdir_commit(fenced)), LeaseLost)
    site.check_end(mark)


# ---- shared attempts and resumed images


def write_image(out: CacheDir, pixels: np.ndarray[Any, Any] = PIXELS) -> None:
    with dask.config.set(scheduler="synchronous"):
        image = da.from_array(pixels, chunks=16)
        out.write(IMAGE, image, axes="yx", chunks=(16, 16), levels=1, progress=False)


def compute_image(site: Site, key: object) -> None:
    with site.open(key) as out:
        if not out.committed:
            write_image(out)


def leave_half_an_image(site: Site, key: object, machine: str, *, share: bool = False) -> CacheDir:
    """Let a process die in the middle of an image, without a record of that; return its handle."""
    process = site.world.process(machine)
    handles: list[CacheDir] = []

    def act() -> None:
        with site.open(key) as out:
            handles.append(out)
            if share:
                attempt = find_open_attempt_at(out.url)
                assert attempt is not None
                attempt.share()
            write_image(out)

    site.strike(process, puts(f"{CHUNKS}1/1"), crash, act)
    return handles[0]


class _Counting(WrapperStore):
    def __init__(self, store: Store, calls: list[tuple[str, str]]) -> None:
        super().__init__(store)
        self.calls = calls

    def call(self, verb: str, path: str, act: Act, data: bytes | None = None) -> Any:  # noqa: ARG002 - whatever the bytes
        self.calls.append((verb, path))
        return act()


def chunk_calls(site: Site, key: object, machine: str = "here") -> list[str]:
    """Compute the image in a process of its own; return the verb of each call that made a chunk of it."""
    calls: list[tuple[str, str]] = []
    with site.world.process(machine).through(lambda store: _Counting(store, calls)):
        compute_image(site, key)
    return [verb for verb, path in calls if verb in {"put", "copy"} and CHUNKS in path]


def check_image(site: Site, pixels: np.ndarray[Any, Any] = PIXELS) -> None:
    with site.world.process():
        assert (np.asarray(site.look().read(IMAGE)) == pixels).all()


def path_of(site: Site, name: str) -> str:
    """Return the full key of something below the node."""
    return f"{address_of(site.node()).path}/{name}"


def put_as_worker(site: Site, name: str, data: bytes) -> None:
    """Write as a worker of an attempt does, whose last look at the log was before its end."""
    with site.world.process():
        address_of(site.node()).store.put(path_of(site, name), data)


@machines
def test_06_a_live_worker_of_a_shared_attempt_writes_into_no_later_result(site: Site, machine: str) -> None:
    """A live worker of a shared attempt, whose function is not deterministic, goes on after its owner has died."""
    leave_half_an_image(site, "a", machine, share=True)
    kept = sum(name.startswith(CHUNKS) for name in site.case.snapshot())
    assert 0 < kept < 16
    lost_with_machine = site.case.kind == "local" and machine == "elsewhere"
    copied = 0 if lost_with_machine else kept
    assert sorted(chunk_calls(site, "a")) == copied * ["copy"] + (16 - copied) * ["put"]
    for y in range(4):
        put_as_worker(site, f"{CHUNKS}{y}/0", b"another result")
    check_image(site)
    mark = site.commit("b")
    put_as_worker(site, f"{CHUNKS}0/0", b"late")
    site.check_stands(mark)
    mark = site.commit("c")
    put_as_worker(site, f"{CHUNKS}0/0", b"later")
    site.check_end(mark)


@machines
def test_07_a_resume_takes_nothing_from_before_a_commit(site: Site, machine: str) -> None:
    """An image is left unfinished, a commit follows whose process dies before it sweeps; the image again."""
    leave_half_an_image(site, "a", machine)
    site.strike(site.world.process(), lists_for_sweep, crash, lambda: site.compute("b"))
    assert chunk_calls(site, "a") == 16 * ["put"]
    check_image(site)
    site.check_leftovers()


@machines
def test_07_a_resume_takes_nothing_of_a_result_that_was_replaced(site: Site, machine: str) -> None:
    """An image is committed and replaced, its successor's process dies before it sweeps; the image again."""
    with site.world.process():
        compute_image(site, "a")
    site.strike(site.world.process(machine), lists_for_sweep, crash, lambda: site.compute("b"))
    assert chunk_calls(site, "a") == 16 * ["put"]
    check_image(site)
    site.check_leftovers()


# ---- removals


@machines
@pytest.mark.parametrize("listed", [False, True])
def test_10_a_removal_that_is_overtaken_harms_no_later_result(site: Site, machine: str, *, listed: bool) -> None:
    """A node with a result and a running attempt is removed; the remover falls silent and wakes after a commit."""
    site.commit("old")
    running = site.world.process("third")
    with running:
        out = site.open("a", site.standing_still)
        out.write(FILE, {"by": "half"})
    remover = site.world.process(machine)
    later: list[str] = []

    def meanwhile(act: Act) -> Any:
        listing = act() if listed else None
        with remover.stopped(), site.world.process("fourth"):
            later.append(site.compute("b"))
        return listing if listed else act()

    def remove() -> None:
        address = address_of(site.node())
        assert remove_node(address.store, address.path, site.world.policy, force=True)

    with running.stopped():
        assert site.strike(remover, lists_for_sweep, meanwhile, remove) is None
    site.check_stands(later[0])
    with running:
        fill(out)
        assert isinstance(attempted(lambda: cdir_commit(out)), LeaseLost)
    running.kill()
    site.check_end(later[0])


@machines
def test_12_what_was_discarded_is_deleted_by_the_next_attempt_before_it_writes(site: Site, machine: str) -> None:
    """A claim that discards what stands dies before its sweep, on a full disk; the next one writes."""
    site.commit("old")
    small_disk = dataclasses.replace(site.world.policy, keep_old=False)
    site.strike(site.world.process(machine), lists_for_sweep, crash, lambda: site.compute("b", policy=small_disk))
    site.check_stands(None)
    assert {FILE, f"{PAIR}/a", OWN} <= site.case.snapshot().keys()
    mark: list[str] = []

    def write(act: Act) -> Any:
        assert not {FILE, f"{PAIR}/a", OWN} & site.case.snapshot().keys()
        return act()

    assert site.strike(site.world.process(), puts(f"/{FILE}"), write, lambda: mark.append(site.compute("c"))) is None
    site.check_end(mark[0])


# ---- kills


KILLS: dict[str, tuple[Matches, Callable[[Act], Any], bool]] = {
    "after the claim": (records("claimed"), crash_after, False),
    "in an item": (puts(f"{PAIR}/b"), crash, False),
    "before the commit": (records("committed"), crash, False),
    "after the commit": (records("committed"), crash_after, True),
    "before the sweep has deleted": (deletes, crash, True),
    "in the sweep": (deletes, crash_after, True),
}


@machines
@pytest.mark.parametrize("kill", KILLS)
@pytest.mark.parametrize("second", [False, True])
def test_13_a_kill_leaves_what_stood_or_the_new_result(site: Site, machine: str, kill: str, *, second: bool) -> None:
    """A kill after the claim, in an item, before and after the commit, in the sweep; a reader across each."""
    old = site.commit("old")
    if second:
        old = site.commit("older")
    reader = Reader(site)
    matches, instead, committed = KILLS[kill]
    mark: list[str] = []

    def act() -> None:
        with site.open("b") as out:
            mark.append(fill(out))

    site.strike(site.world.process(machine), matches, instead, act)
    if not committed:
        reader.check_whole()
    reader.check()
    site.check_end(mark[0] if committed else old)
    reader.check()


def test_14_two_processes_with_two_keys_compute_in_turn(site: Site) -> None:
    """Two processes with two keys, of which each replaces the other's result; a third finds what stands meanwhile."""
    first, second = site.world.process(), site.world.process("elsewhere")
    mark = site.commit("a")
    for process, key, other in ((second, "b", "a"), (first, "a", "b"), (second, "b", "a")):
        with process:
            out = site.open(key)
        reader = Reader(site)
        with site.world.process("third"):
            assert site.compute(other) == mark
        reader.check_whole()
        with process:
            mark = fill(out)
            cdir_commit(out)
        reader.check()
    site.check_end(mark)


# ---- strangers


@pytest.fixture
def on_disk(local_case: LocalCase, world: World, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Give a node on the local disk, where there are links."""
    monkeypatch.setattr(pyramid, "BLOCK_BYTES", 0)
    return Site(local_case, world)


def swap_for_link(site: Site, item: str) -> Callable[[], dict[str, bytes]]:
    """Move a directory out of the node, and put a link there; return a function that reads what is behind the link."""
    assert isinstance(site.case, LocalCase)
    inside, outside = site.case.path / item, site.case.container / "outside"
    inside.rename(outside)
    inside.symlink_to(outside)
    return lambda: {str(path): path.read_bytes() for path in outside.rglob("*") if path.is_file()}


@machines
@pytest.mark.parametrize("item", [PAIR, IMAGE])
def test_15_nothing_behind_a_link_at_an_announced_name_is_touched(on_disk: Site, machine: str, item: str) -> None:
    """A process dies, and a directory it wrote is swapped for a link; heirs with the same key and another one."""
    if item == PAIR:
        on_disk.leave("a", machine)
    else:
        leave_half_an_image(on_disk, "a", machine)
    read_outside = swap_for_link(on_disk, item)
    before = read_outside()
    assert len(before) > 1
    for key in ("a", "b"):
        with on_disk.world.process():
            error = attempted(lambda key=key: on_disk.compute(key) if item == PAIR else compute_image(on_disk, key))  # type: ignore[misc]  # mypy knows no default of a lambda
        # on this machine the heir has the root with the link
        assert isinstance(error, ForeignItem) == (machine == "here")
    assert read_outside() == before


def test_15_nothing_behind_a_link_at_the_name_of_a_result_is_touched(on_disk: Site) -> None:
    """A result is replaced, after a directory of it was swapped for a link."""
    on_disk.commit("old")
    read_outside = swap_for_link(on_disk, PAIR)
    before = read_outside()
    mark = on_disk.commit("b")
    on_disk.check_stands(mark)
    on_disk.check_stands(on_disk.commit("c"))
    assert read_outside() == before


@pytest.mark.parametrize("items", [ITEMS, (PAIR,)])
def test_16_an_heir_that_dies_while_it_sweeps_what_it_inherited(site: Site, items: tuple[str, ...]) -> None:
    """An heir dies at any deletion, and its heir has the same key."""
    site.leave("a", "here", items)
    for number in range(1, 100):
        process = site.world.process()
        deleted: list[str] = []

        def die(verb: str, path: str, _: bytes, deleted: list[str] = deleted, number: int = number) -> bool:
            deleted.extend([path] if verb == "delete" else [])
            return len(deleted) == number

        trap = Trap(die, crash_after)
        with process.through(trap.around):
            attempted(lambda: site.compute("b"))
        process.kill()
        if list(log_of(site.case).values())[-1].find(b'"state":"committed"') > 0:
            break
    assert number > 1
    with site.world.process():
        mark = read_mark(site.look())
    site.check_end(mark)


@pytest.mark.parametrize("key", ["a", "b"])
def test_16_an_heir_that_dies_while_it_sweeps_an_image(site: Site, key: str) -> None:
    """An heir with another key dies as it deletes an image; its heir has the one key or the other."""
    leave_half_an_image(site, "a", "here")
    deleted: list[str] = []

    def third(verb: str, path: str, _: bytes) -> bool:
        deleted.extend([path] if verb == "delete" else [])
        return len(deleted) == 3

    site.strike(site.world.process(), third, crash_after, lambda: compute_image(site, "b"))
    chunk_calls(site, key)
    check_image(site)
    site.check_leftovers()


class Late:
    """Requests that get no answer from a store, and are carried out when they are let go.

    Those of a process that has ended, or of one that waits a request timeout, are carried out within that time.
    """

    def __init__(self, matches: Matches) -> None:
        self.held: list[Act] = []
        self._trap = Trap(matches, self._hold)
        self.around = self._trap.around

    def _hold(self, act: Act) -> None:
        self.held.append(act)
        raise TimeoutError(110, "injected: no answer")

    def land(self, *_: object) -> None:
        while self.held:
            self.held.pop()()

    def policy(self, world: World) -> Policy:
        """Return the policy of a process that is no faster than the requests."""

        def sleep(seconds: float) -> None:
            world.sleep(seconds)
            self.land()

        return dataclasses.replace(world.policy, sleep=sleep)


def land_before_commit(site: Site, late: Late, key: object, machine: str = "here") -> str:
    """Let a process compute, and the late requests be carried out before its commit; return what it wrote."""
    mark: list[str] = []

    def meanwhile(act: Act) -> Any:
        late.land()
        return act()

    def act() -> None:
        with site.open(key, late.policy(site.world)) as out:
            mark.append(fill(out))

    assert site.strike(site.world.process(machine), records("committed"), meanwhile, act) is None
    return mark[0]


def land_after_commit(site: Site, late: Late, key: object, machine: str = "here") -> str:
    """Let a process compute, and the late requests be carried out afterwards; return what it wrote."""
    with site.world.process(machine):
        with site.open(key, late.policy(site.world)) as out:
            mark = fill(out)
        late.land()
    return mark


LANDS = pytest.mark.parametrize("land", [land_before_commit, land_after_commit])
LATE = pytest.mark.parametrize("name", [f"/{FILE}", f"{PAIR}/b"])


@pytest.fixture(params=["s3", "gcs"])
def bucket(request: pytest.FixtureRequest, world: World) -> Site:
    """Give a node in a bucket, where a request may be carried out after whoever sent it has gone."""
    return Site(request.getfixturevalue(f"{request.param}_case"), world)


def leave_late(site: Site, name: str, machine: str) -> Late:
    """Let a process be killed while it waits for the answer to a write."""
    late, process = Late(puts(name)), site.world.process(machine)
    with process.through(late.around):
        out = site.open("a")
        assert isinstance(attempted(lambda: fill(out)), TimeoutError)
    process.kill()
    return late


@LANDS
@LATE
def test_17_a_late_request_of_a_silent_attempt(site: Site, name: str, land: Callable[..., str]) -> None:
    """A request of an attempt that died on another machine is carried out late, however late."""
    late = leave_late(site, name, "elsewhere")
    late.policy = lambda world: world.policy  # type: ignore[method-assign]  # it is not within a request timeout
    mark = land(site, late, "b")
    site.check_end(mark)


@LANDS
@LATE
def test_17_a_late_request_of_a_dead_attempt(bucket: Site, name: str, land: Callable[..., str]) -> None:
    """A request of an attempt that is proved dead is carried out late."""
    late = leave_late(bucket, name, "here")
    mark = land(bucket, late, "b")
    bucket.check_end(mark)


@LANDS
@LATE
@machines
def test_17_a_late_request_of_a_failed_attempt(bucket: Site, name: str, land: Callable[..., str], machine: str) -> None:
    """A write gets no answer, the attempt fails on record; the write is carried out late."""
    late = Late(puts(name))
    with bucket.world.process(machine).through(late.around):
        assert isinstance(attempted(lambda: bucket.compute("a")), TimeoutError)
    mark = land(bucket, late, "b")
    bucket.check_end(mark)


@LANDS
@LATE
def test_17_a_late_request_of_an_attempt_that_is_opened_again(
    bucket: Site, name: str, land: Callable[..., str]
) -> None:
    """A write of a notebook gets no answer, and the same process opens the node again."""
    late, process = Late(puts(name)), bucket.world.process()
    with process.through(late.around):
        out = bucket.open("a")
        assert isinstance(attempted(lambda: fill(out)), TimeoutError)
    bucket.world.process = lambda *_: process  # type: ignore[method-assign]  # there is no other process
    mark = land(bucket, late, "b")
    bucket.check_end(mark)


def refuse(_: Act) -> None:
    """Fail before the call."""
    raise ConnectionRefusedError(111, "injected before the call")


@LANDS
@pytest.mark.parametrize("on_record", [True, False])
def test_17_a_late_deletion_of_an_attempt_that_could_not_sweep(
    bucket: Site, land: Callable[..., str], *, on_record: bool
) -> None:
    """A deletion in what an attempt inherited gets no answer, and is carried out late; its end is on record or not."""
    bucket.leave("a", "here")
    process = bucket.world.process()
    late = Late(lambda verb, path, _: verb == "delete" and path.endswith(f"/{FILE}"))
    end = Trap(records("released"), (lambda act: act()) if on_record else refuse)
    with process.through(lambda store: end.around(late.around(store))):
        assert isinstance(attempted(lambda: bucket.compute("b")), TimeoutError)
    assert end.met
    bucket.world.process = lambda *_: process  # type: ignore[method-assign]  # there is no other process
    mark = land(bucket, late, "c")
    bucket.check_end(mark)


@LATE
def test_17_a_late_request_of_an_attempt_that_goes_on(bucket: Site, name: str) -> None:
    """A write gets no answer, the attempt commits without its item; the write is carried out late."""
    late, process = Late(puts(name)), bucket.world.process()
    item = name.strip("/").partition("/")[0]
    with process.through(late.around), bucket.open("a", late.policy(bucket.world)) as out:
        assert isinstance(attempted(lambda: fill(out, (item,))), TimeoutError)
        assert isinstance(attempted(lambda: fill(out, (item,))), UsageError)
        mark = fill(out, (OWN,))
    late.land()
    assert name.strip("/") not in bucket.case.snapshot()
    bucket.check_end(mark)


@pytest.mark.parametrize("name", [f"{PAIR}/theirs", FILE])
def test_18_a_strangers_item_at_an_announced_name(site: Site, name: str) -> None:
    """A process dies after an announcement, a stranger puts something at the announced name; the heir refuses it."""
    item = name.partition("/")[0]
    process = site.world.process()
    site.strike(process, puts(f"/{item}.json"), crash_after, lambda: site.compute("a"))
    site.case.put(name, b"a stranger's")
    with site.world.process():
        assert isinstance(attempted(lambda: site.compute("b")), ForeignItem)
    assert site.case.read(name) == b"a stranger's"
    site.case.delete(name)
    site.check_end(site.commit("b"))


@machines
def test_19_what_lies_at_plain_names_is_found_after_a_commit_that_did_not_sweep(site: Site, machine: str) -> None:
    """A first commit, one whose process dies before it sweeps, a third one."""
    site.commit("a")
    mark: list[str] = []

    def act() -> None:
        with site.open("b") as out:
            mark.append(fill(out))

    site.strike(site.world.process(machine), lists_for_sweep, crash, act)
    assert FILE in site.case.snapshot()
    site.check_end(mark[0])
    assert FILE not in site.case.snapshot()


REMOVER_DIES: dict[str, tuple[Matches, Callable[[Act], Any]]] = {
    "before it lists": (lists_for_sweep, crash),
    "in its sweep": (deletes, crash_after),
}


@machines
@pytest.mark.parametrize("when", REMOVER_DIES)
@pytest.mark.parametrize("commits", [1, 2])
def test_19_what_lies_at_plain_names_is_found_after_a_remover_that_died(
    site: Site, machine: str, when: str, commits: int
) -> None:
    """One commit or two, a remover that dies, a third one."""
    for key in range(commits):
        site.commit(key)

    def remove() -> None:
        address = address_of(site.node())
        remove_node(address.store, address.path, site.world.policy)

    site.strike(site.world.process(machine), *REMOVER_DIES[when], remove)
    site.check_end(None)
    assert FILE not in site.case.snapshot()
