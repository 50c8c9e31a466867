"""The whole truth table of the commit protocol, against its rules written a second time.

The rules are those of reliability.md 3.2, each as one predicate over what was seen and what is
wanted. Together they leave exactly one decision for every case.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from cvcache import NodeBusy, NodeStale, NotACacheDir, RecursiveNode
from cvcache.protocol import (
    RECORD_STATES,
    Claim,
    Decision,
    FinishRemoval,
    Liveness,
    Observation,
    OnStale,
    Record,
    Refuse,
    Request,
    Sibling,
    Use,
    Wait,
    decide,
    decide_removal,
)
from cvcache.store import IN_PLACE, attempt_root

ATTEMPT, EARLIER = "a" * 16, "e" * 16
KEY, OTHER_KEY = "digest of the key", "digest of another key"


@dataclass(frozen=True)
class Case:
    """One row: what was seen and what is wanted, in the words of the rules."""

    view: Observation
    request: Request

    @property
    def record(self) -> Record | None:
        return self.view.record

    @property
    def state(self) -> str:
        return "none" if self.view.record is None else self.view.record.state

    @property
    def held(self) -> bool:
        """Whether the newest record has an owner who has not said what became of it."""
        return self.state in {"claimed", "removing"}

    @property
    def alive(self) -> bool:
        return self.held and self.view.liveness is Liveness.ALIVE

    @property
    def inside(self) -> bool:
        return self.held and self.view.liveness is Liveness.RUNNING

    @property
    def gone(self) -> bool:
        return self.held and not self.alive and not self.inside

    @property
    def committed(self) -> bool:
        return self.state == "committed"

    @property
    def matching(self) -> bool:
        """No opinion matches any key; a key matches itself alone."""
        assert self.record is not None
        return self.request.digest is None or self.request.digest == self.record.digest

    @property
    def wanted(self) -> bool:
        return self.committed and self.matching and not self.request.force

    @property
    def disputed(self) -> bool:
        """A committed result with another key that nobody asked to be thrown away regardless."""
        return self.committed and not self.matching and not self.request.force

    @property
    def kept(self) -> bool:
        """A committed result with another key that is kept beside the new one; force throws away the sibling then."""
        return self.committed and not self.matching and self.request.on_stale is OnStale.NEW

    @property
    def newest_may_still_write(self) -> bool:
        """Whether the newest attempt, or what it gave work to, may write at the plain root from now on."""
        record = self.record
        if record is None or record.root != IN_PLACE or self.committed:
            return False
        if not self.held:
            return record.shared
        return self.view.shared or self.view.liveness not in {Liveness.MINE, Liveness.DEAD}

    @property
    def may_still_write(self) -> set[str]:
        """The attempts that may write at the plain root from now on."""
        if self.record is None:
            return set()
        return {*self.record.unproven, *([ATTEMPT] if self.newest_may_still_write else [])}


def _records() -> list[Record | None]:
    states = [(state, KEY) for state in RECORD_STATES] + [("committed", None)]
    found: list[Record | None] = [None]
    for (state, digest), root, unproven, shared in itertools.product(
        states, (IN_PLACE, attempt_root(ATTEMPT)), ((), (EARLIER,), (EARLIER, ATTEMPT)), (False, True)
    ):
        found.append(
            Record(
                seq=7,
                after="b" * 16,
                state=state,
                attempt=ATTEMPT,
                nonce="c" * 16,
                root=root,
                digest=digest,
                shared=shared,
                unproven=unproven,
            )
        )
    return found


@functools.cache
def _cases() -> tuple[tuple[Case, Decision], ...]:
    yes_no = (False, True)
    views = [Observation(*row) for row in itertools.product(_records(), Liveness, yes_no, yes_no)]
    requests = [Request(*row) for row in itertools.product((KEY, OTHER_KEY, None), yes_no, yes_no, OnStale)]
    cases = (Case(view, request) for view in views for request in requests)
    return tuple((case, decide(case.view, case.request)) for case in cases)


@functools.cache
def _removals() -> tuple[tuple[Case, bool, Decision], ...]:
    yes_no = (False, True)
    views = [Observation(*row) for row in itertools.product(_records(), Liveness, yes_no, yes_no)]
    return tuple((Case(v, Request()), force, decide_removal(v, force=force)) for v in views for force in yes_no)


def _refuses(decision: Decision, error: type[Exception]) -> bool:
    return isinstance(decision, Refuse) and decision.error is error


# -- which decision ------------------------------------------------------------------------------

RULES: dict[str, tuple[Any, Any]] = {
    "use what is committed, matches and is not forced": (
        lambda case: case.wanted,
        lambda decision: isinstance(decision, Use),
    ),
    "wait for a live owner": (
        lambda case: case.alive and case.request.wait,
        lambda decision: isinstance(decision, Wait),
    ),
    "busy at once for a caller who does not wait": (
        lambda case: case.alive and not case.request.wait,
        lambda decision: _refuses(decision, NodeBusy),
    ),
    "a body does not open its own node": (
        lambda case: case.inside,
        lambda decision: _refuses(decision, RecursiveNode),
    ),
    "what cvcache did not write is left alone": (
        lambda case: case.record is None and case.view.foreign,
        lambda decision: _refuses(decision, NotACacheDir),
    ),
    "a changed key is an error where that was asked for": (
        lambda case: case.disputed and case.request.on_stale is OnStale.ERROR,
        lambda decision: _refuses(decision, NodeStale),
    ),
    "a changed key goes to a sibling where that was asked for": (
        lambda case: case.kept,
        lambda decision: isinstance(decision, Sibling),
    ),
    "a removal whose owner is gone is finished": (
        lambda case: case.gone and case.state == "removing",
        lambda decision: isinstance(decision, FinishRemoval),
    ),
    "everything else is claimed": (
        lambda case: (
            (case.record is None and not case.view.foreign)
            or case.state in {"failed", "released", "removed"}
            or (case.state == "claimed" and case.gone)
            or (case.committed and case.request.force and not case.kept)
            or (case.disputed and case.request.on_stale is OnStale.RECOMPUTE)
        ),
        lambda decision: isinstance(decision, Claim),
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_holds_exactly_where_it_says(rule: str) -> None:
    applies, is_so = RULES[rule]
    wrong = [(case, decision) for case, decision in _cases() if applies(case) != is_so(decision)]
    assert not wrong, wrong[:3]
    assert any(applies(case) for case, _ in _cases())


def test_the_rules_leave_one_decision_for_every_case() -> None:
    assert len(_cases()) > 60_000
    counts = Counter(sum(applies(case) for applies, _ in RULES.values()) for case, _ in _cases())
    assert set(counts) == {1}


# -- how it is claimed -----------------------------------------------------------------------------


def _claims() -> list[tuple[Case, Claim]]:
    return [(case, decision) for case, decision in _cases() if isinstance(decision, Claim)]


def test_the_plain_root_is_claimed_exactly_when_nobody_else_may_write_there() -> None:
    wrong = [(case, claim) for case, claim in _claims() if claim.in_place != (not case.may_still_write)]
    assert not wrong, wrong[:3]


def test_who_may_still_write_is_carried_on_for_ever() -> None:
    for case, decision in _cases():
        if isinstance(decision, (Claim, FinishRemoval)):
            assert set(decision.unproven) == case.may_still_write, case
            assert len(set(decision.unproven)) == len(decision.unproven), case


def test_only_the_plain_root_is_wiped_and_only_if_somebody_was_there() -> None:
    for case, claim in _claims():
        assert claim.sweep == (claim.in_place and case.record is not None), case


def test_a_takeover_in_place_from_a_killed_process_lets_its_requests_land() -> None:
    for case, claim in _claims():
        killed = case.held and case.view.liveness is Liveness.DEAD
        assert claim.settle == (killed and claim.in_place), case


def test_an_own_older_attempt_is_stopped_first() -> None:
    for case, claim in _claims():
        assert claim.fence == (case.held and case.view.liveness is Liveness.MINE), case


def test_a_live_owner_is_never_robbed() -> None:
    for case, decision in _cases():
        if case.alive or case.inside:
            assert isinstance(decision, (Wait, Refuse)), case


def test_nothing_committed_is_withdrawn_unasked() -> None:
    for case, decision in _cases():
        if case.committed and isinstance(decision, Claim):
            assert case.request.force or (not case.matching and case.request.on_stale is OnStale.RECOMPUTE), case


# -- what does not matter --------------------------------------------------------------------------


def _unmoved(change: str, values: tuple[Any, ...], matters: Any, *, of_view: bool = False) -> None:
    """Check that changing one input changes no decision, except where it matters."""
    for case, decision in _cases():
        if matters(case):
            continue
        for value in values:
            if of_view:
                other = decide(case.view._replace(**{change: value}), case.request)
            else:
                other = decide(case.view, case.request._replace(**{change: value}))
            assert other == decision, (case, change, value)


def test_patience_matters_only_with_a_live_owner() -> None:
    _unmoved("wait", (False, True), lambda case: case.alive)


def test_on_stale_matters_only_for_a_committed_node_with_another_key() -> None:
    _unmoved("on_stale", tuple(OnStale), lambda case: case.committed and not case.matching)


def test_force_and_key_matter_only_for_a_committed_node() -> None:
    _unmoved("force", (False, True), lambda case: case.committed)
    _unmoved("digest", (KEY, OTHER_KEY, None), lambda case: case.committed)


def test_liveness_matters_only_for_a_node_that_is_held() -> None:
    _unmoved("liveness", tuple(Liveness), lambda case: case.held, of_view=True)


def test_foreign_data_matters_only_where_there_is_no_log() -> None:
    _unmoved("foreign", (False, True), lambda case: case.record is None, of_view=True)


# -- removal ---------------------------------------------------------------------------------------


def _removal_of(case: Case, *, force: bool) -> str:
    """Return what a removal does, by the rules."""
    if case.record is None:
        return "refuse" if case.view.foreign else "nothing to do"
    if case.state == "removed":
        return "nothing to do"
    if case.inside:
        return "recursive"
    if case.alive and not force:
        return "busy"
    return "remove"


def test_removal_does_what_the_rules_say() -> None:
    said = {
        "refuse": lambda d: _refuses(d, NotACacheDir),
        "nothing to do": lambda d: isinstance(d, Use),
        "recursive": lambda d: _refuses(d, RecursiveNode),
        "busy": lambda d: _refuses(d, NodeBusy),
        "remove": lambda d: isinstance(d, FinishRemoval),
    }
    outcomes = Counter()
    for case, force, decision in _removals():
        outcome = _removal_of(case, force=force)
        assert said[outcome](decision), (case, force, decision)
        outcomes[outcome] += 1
    assert set(outcomes) == set(said)
    assert outcomes.total() == len(_removals()) > 3_000


def test_removal_remembers_who_may_still_write() -> None:
    for case, _, decision in _removals():
        if isinstance(decision, FinishRemoval):
            assert set(decision.unproven) == case.may_still_write, case


def test_force_removes_only_what_a_live_owner_holds() -> None:
    for case, force, decision in _removals():
        if force and not case.alive:
            assert decision == decide_removal(case.view, force=False), case


# -- rows by name ----------------------------------------------------------------------------------


def _seen(state: str, liveness: Liveness = Liveness.ALIVE, *, shared: bool = False, **fields: Any) -> Observation:
    record = Record(seq=3, after="b" * 16, state=state, attempt=ATTEMPT, nonce="c" * 16, digest=KEY, **fields)
    return Observation(record, liveness, shared)


MINE, DEAD, EXPIRED = Liveness.MINE, Liveness.DEAD, Liveness.EXPIRED
OWN_ROOT = {"root": attempt_root(ATTEMPT)}

ROWS: dict[str, tuple[Observation, Request, Decision]] = {
    "a first run": (Observation(), Request(KEY), Claim(in_place=True)),
    "somebody's thesis": (Observation(foreign=True), Request(KEY, force=True), Refuse(NotACacheDir)),
    "a hit": (_seen("committed"), Request(KEY), Use()),
    "a hit without an opinion": (_seen("committed"), Request(None), Use()),
    "a hit after a shared attempt": (_seen("committed", shared=True), Request(KEY), Use()),
    "a changed key": (_seen("committed"), Request(OTHER_KEY), Claim(in_place=True, sweep=True)),
    "a changed key after an out-voted owner": (
        _seen("committed", unproven=(EARLIER,), **OWN_ROOT),
        Request(OTHER_KEY),
        Claim(in_place=False, unproven=(EARLIER,)),
    ),
    "forced, same key": (_seen("committed"), Request(KEY, force=True), Claim(in_place=True, sweep=True)),
    "forced with on_stale error": (
        _seen("committed"),
        Request(OTHER_KEY, force=True, on_stale=OnStale.ERROR),
        Claim(in_place=True, sweep=True),
    ),
    "force does not rob": (_seen("claimed"), Request(KEY, force=True), Wait()),
    "busy": (_seen("claimed"), Request(KEY, wait=False), Refuse(NodeBusy)),
    "killed on this machine": (
        _seen("claimed", DEAD),
        Request(KEY),
        Claim(in_place=True, sweep=True, settle=True),
    ),
    "killed after it gave out work": (
        _seen("claimed", DEAD, shared=True),
        Request(KEY),
        Claim(in_place=False, unproven=(ATTEMPT,)),
    ),
    "a notebook cell run again": (_seen("claimed", MINE), Request(KEY), Claim(in_place=True, sweep=True, fence=True)),
    "a notebook cell run again after path()": (
        _seen("claimed", MINE, shared=True),
        Request(KEY),
        Claim(in_place=False, fence=True, unproven=(ATTEMPT,)),
    ),
    "silent on another machine": (
        _seen("claimed", EXPIRED),
        Request(KEY, wait=False),
        Claim(in_place=False, unproven=(ATTEMPT,)),
    ),
    "silent, itself after a silent one": (
        _seen("claimed", EXPIRED, unproven=(EARLIER,), **OWN_ROOT),
        Request(KEY),
        Claim(in_place=False, unproven=(EARLIER,)),
    ),
    "failed": (_seen("failed"), Request(KEY, wait=False), Claim(in_place=True, sweep=True)),
    "removed": (_seen("removed"), Request(KEY), Claim(in_place=True, sweep=True)),
    "a removal that died": (_seen("removing", DEAD), Request(KEY), FinishRemoval()),
    "a removal that fell silent": (_seen("removing", EXPIRED), Request(KEY), FinishRemoval((ATTEMPT,))),
    "a removal under way": (_seen("removing"), Request(KEY), Wait()),
}


@pytest.mark.parametrize("row", ROWS)
def test_row(row: str) -> None:
    view, request, decision = ROWS[row]
    assert decide(view, request) == decision


def test_failed_with_workers_about_is_not_taken_over_in_place() -> None:
    record = Record(seq=2, after=ATTEMPT, state="failed", attempt=ATTEMPT, nonce="c" * 16, shared=True)
    assert decide(Observation(record), Request(KEY)) == Claim(in_place=False, unproven=(ATTEMPT,))
