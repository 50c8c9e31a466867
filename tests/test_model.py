"""Five processes on two machines do anything to one node, in any order; a model says what must come of it.

Any of them may be killed, or be stopped while the others go on, and may then write past its fence.
"""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from simulated import (
    FILE,
    PAIR,
    World,
    check_log,
    contents_of,
    fill,
    lay,
    log_of,
    new_case,
    quiet_store,
    read_mark,
)

from cvcache import LeaseLost, NodeBusy, NodeReplaced, cdir, cdir_commit, cdir_init, cdir_query
from cvcache.node import address_of, snapshot_of
from cvcache.protocol import remove_node

if TYPE_CHECKING:
    from simulated import Process

    from cvcache import CacheDir
    from cvcache.protocol import Attempt

CLIENTS = 5
PARTS = {FILE: ("",), PAIR: ("/a", "/b")}
KEYS = st.sampled_from(["a", "b", None])
WHO = st.integers(0, CLIENTS - 1)


class Model:
    """What must be true of the node: its state, and what a reader of it must get."""

    def __init__(self) -> None:
        self.state = "absent"
        self.holder: Process | None = None
        self.key: str | None = None
        self.stands = False
        self.standing_key: str | None = None
        self.mark = ""

    def beating(self, but: Process) -> bool:
        """Whether somebody else holds the node and shows it."""
        return self.held and self.holder is not but and self.holder.alive and not self.holder.paused  # type: ignore[union-attr]

    @property
    def held(self) -> bool:
        return self.state == "claimed"

    def silent(self, but: Process) -> bool:
        """Whether somebody else holds the node of whom nothing can be known from here."""
        holder = self.holder
        if not self.held or holder is None or holder is but or self.beating(but):
            return False
        return holder.alive or holder.machine != but.machine

    def hit(self, key: str | None, *, force: bool) -> bool:
        return self.stands and not force and key in {None, self.standing_key}

    def opened(self, by: Process, key: str | None) -> None:
        self.state, self.holder, self.key = "claimed", by, key

    def ended(self, state: str, mark: str = "") -> None:
        self.state, self.holder = state, None
        if state in {"committed", "removed"}:
            self.stands, self.standing_key, self.mark = state == "committed", self.key, mark


def _somebody_runs(self: Clients) -> bool:
    return any(not client.paused for client in self.clients)


def _somebody_writes(self: Clients) -> bool:
    return any(not client.paused for client in self.handles)


class Clients(RuleBasedStateMachine):
    """Five clients of one node."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._patch = pytest.MonkeyPatch()
        self._folder = Path(tempfile.mkdtemp())
        self.world = World(self._patch)
        self.case = new_case(kind, self._folder)
        self._before = contents_of(self.case)
        self.model = Model()
        self.clients = [self.world.process("one" if number < 3 else "two") for number in range(CLIENTS)]
        self.reader = self.world.process("three")
        self.handles: dict[Process, CacheDir] = {}
        self.lost: list[tuple[Process, Attempt]] = []
        self.pinned: list[tuple[CacheDir, str]] = []
        self.log: dict[str, bytes] = {}

    def teardown(self) -> None:
        lay(self.case, self._before)
        shutil.rmtree(self._folder)
        self._patch.undo()

    def _took(self, client: Process) -> None:
        """Remember whom `client` took the node from: that one may still write, and nobody knows when."""
        holder = self.model.holder
        if self.model.held and holder is not None and holder is not client and holder.alive:
            attempt = snapshot_of(self.handles[holder]).attempt
            assert attempt is not None
            self.lost.append((holder, attempt))

    def _one(self, data: st.DataObject, *, holding: bool = False) -> Process:
        """Draw one of those who are not stopped."""
        return data.draw(
            st.sampled_from([c for c in self.clients if not c.paused and (not holding or c in self.handles)])
        )

    @precondition(_somebody_runs)
    @rule(data=st.data(), key=KEYS, force=st.booleans())
    def init(self, data: st.DataObject, key: str | None, force: bool) -> None:  # noqa: FBT001 - hypothesis calls it
        client, model = self._one(data), self.model
        with client:
            wait = model.silent(client)
            opening = functools.partial(cdir_init, self.case.url, key, force=force, wait=wait, policy=self.world.policy)
            if model.beating(client) and not model.hit(key, force=force):
                with pytest.raises(NodeBusy):
                    opening()
                return
            found = opening()
        if model.hit(key, force=force):
            assert found.committed
            self.pinned.append((found, model.mark))
            return
        assert not found.committed
        self._took(client)
        self.handles[client] = found
        model.opened(client, key)

    @precondition(_somebody_writes)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        client, model = self._one(data, holding=True), self.model
        handle = self.handles.pop(client)
        with client:
            if model.holder is client:
                mark = fill(handle)
                cdir_commit(handle)
                model.ended("committed", mark)
            else:
                with pytest.raises(LeaseLost):
                    cdir_commit(handle)

    @precondition(_somebody_writes)
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        client = self._one(data, holding=True)
        with client:
            try:
                fill(self.handles[client])
            except LeaseLost:
                assert self.model.holder is not client

    @precondition(_somebody_writes)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        client = self._one(data, holding=True)
        with client, pytest.raises(ZeroDivisionError), self.handles.pop(client):
            1 / 0  # noqa: B018 - fails on purpose
        if self.model.holder is client:
            self.model.ended("failed")

    @rule(who=WHO)
    def die(self, who: int) -> None:
        """Kill one; another process starts in its place."""
        client = self.clients[who]
        client.kill()
        self.handles.pop(client, None)
        self.lost = [(process, attempt) for process, attempt in self.lost if process is not client]
        self.clients[who] = self.world.process(client.machine)

    @rule(who=WHO)
    def stop_or_wake(self, who: int) -> None:
        self.clients[who].paused = not self.clients[who].paused

    @precondition(lambda self: self.model.holder in self.clients)
    @rule()
    def stop_the_owner(self) -> None:
        self.model.holder.paused = True  # type: ignore[union-attr]  # there is one

    @precondition(lambda self: self.lost)
    @rule(data=st.data())
    def write_late(self, data: st.DataObject) -> None:
        """Let one who was out-voted finish a write that was under way, past every fence."""
        _, attempt = data.draw(st.sampled_from(self.lost))
        for part in (f"{item}{part}" for item, parts in PARTS.items() for part in parts if item in attempt.announced):
            quiet_store(self.case.url).put(f"{attempt.root}/{part}", b'"late"')

    @precondition(_somebody_runs)
    @rule(data=st.data(), force=st.booleans())
    def remove(self, data: st.DataObject, force: bool) -> None:  # noqa: FBT001 - hypothesis calls it
        client, model = self._one(data), self.model
        with client:
            node = cdir(self.case.url, policy=self.world.policy)
            act = functools.partial(
                remove_node, address_of(node).store, address_of(node).path, self.world.policy, force=force
            )
            if not force and (model.beating(client) or model.silent(client)):
                with pytest.raises(NodeBusy):
                    act()
                return
            assert act() == (model.state not in {"absent", "removed"})
        self._took(client)
        if model.state != "absent":
            model.ended("removed")

    @rule(seconds=st.sampled_from([1.0, 40.0, 200.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.world.sleep(seconds)

    @invariant()
    def a_reader_gets_what_the_model_says(self) -> None:
        """Read the node afresh, and through every handle that was pinned to an older result."""
        with self.reader:
            found = cdir_query(self.case.url, policy=self.world.policy)
            assert found.committed == self.model.stands
            if found.committed:
                assert read_mark(found) == self.model.mark
            for handle, mark in self.pinned[-3:]:
                try:
                    assert handle.read(FILE) == {"by": mark}
                    assert handle.read(PAIR) == [mark, mark]
                except NodeReplaced:
                    assert handle.commit != found.commit

    @invariant()
    def the_log_says_what_the_model_says(self) -> None:
        records = check_log(self.case, self.log)
        self.log = log_of(self.case)
        assert (records[-1]["state"] if records else "absent") == self.model.state
        if self.model.held and self.model.holder is not None:
            assert records[-1]["owner"]["pid"] == self.model.holder.pid


def _run(kind: str, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        functools.partial(Clients, kind),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize(("kind", "examples"), [("memory", 100), ("local", 40)])
def test_five_processes_agree_with_the_model(kind: str, examples: int) -> None:
    _run(kind, examples, 40)


@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["memory", "local"])
def test_five_processes_agree_with_the_model_for_long(kind: str) -> None:
    _run(kind, 2_000, 50)
