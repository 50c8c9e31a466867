"""The whole truth table of the commit protocol, against its rules written a second time.

Each rule is one predicate over what was seen and what is wanted. Together they leave exactly one decision for every
case.
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
    Standing,
    Use,
    Wait,
    decide,
    decide_removal,
)
from cvcache.store import IN_PLACE, attempt_root

ATTEMPT = "a" * 16
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
    def stands(self) -> bool:
        """Whether there is a result, whatever came after it."""
        return self.record is not None and self.record.result is not None

    @property
    def matching(self) -> bool:
        """No opinion matches any key; a key matches itself alone."""
        assert self.record is not None
        assert self.record.result is not None
        return self.request.digest is None or self.request.digest == self.record.result.digest

    @property
    def wanted(self) -> bool:
        return self.stands and self.matching and not self.request.force

    @property
    def kept(self) -> bool:
        """A result with another key that is kept beside the new one; force computes the sibling again then."""
        return self.stands and not self.matching and self.request.on_stale is OnStale.NEW

    @property
    def settled(self) -> bool:
        """Whether neither a hit nor a sibling answers."""
        return self.wanted or self.kept

    @property
    def disputed(self) -> bool:
        """A result with another key that nobody asked to be thrown away regardless, and that is not being replaced."""
        is_error = self.request.on_stale is OnStale.ERROR and not self.request.force
        return self.stands and not self.matching and is_error and not self.alive and not self.inside

    @property
    def root_is_free(self) -> bool:
        """Whether nobody writes any more at the root of the newest attempt, which was not committed."""
        record = self.record
        if record is None or self.state in {"committed", "removing", "removed"}:
            return False
        if self.state != "claimed":
            return not record.shared
        return self.view.liveness in {Liveness.MINE, Liveness.DEAD} and not self.view.shared


STANDING = Standing(4, "d" * 16, "e" * 16, attempt_root("e" * 16), KEY, KEY)


def _records() -> list[Record | None]:
    states = [(state, KEY) for state in RECORD_STATES] + [("committed", None), ("claimed", OTHER_KEY)]
    found: list[Record | None] = [None]
    for (state, digest), root, standing, shared in itertools.product(
        states, (IN_PLACE, attempt_root(ATTEMPT)), (None, STANDING), (False, True)
    ):
        if standing is not None and state in {"committed", "removing", "removed"}:
            continue
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
                standing=standing,
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
    "use what stands, matches and is not forced, whoever works on another": (
        lambda case: case.wanted,
        lambda decision: isinstance(decision, Use),
    ),
    "a changed key goes to a sibling where that was asked for": (
        lambda case: case.kept and not case.wanted,
        lambda decision: isinstance(decision, Sibling),
    ),
    "wait for a live owner": (
        lambda case: not case.settled and case.alive and case.request.wait,
        lambda decision: isinstance(decision, Wait),
    ),
    "busy at once for a caller who does not wait": (
        lambda case: not case.settled and case.alive and not case.request.wait,
        lambda decision: _refuses(decision, NodeBusy),
    ),
    "a body does not open its own node": (
        lambda case: not case.settled and case.inside,
        lambda decision: _refuses(decision, RecursiveNode),
    ),
    "what cvcache did not write is left alone": (
        lambda case: case.record is None and case.view.foreign,
        lambda decision: _refuses(decision, NotACacheDir),
    ),
    "a changed key is an error where that was asked for": (
        lambda case: case.disputed,
        lambda decision: _refuses(decision, NodeStale),
    ),
    "a removal whose owner is gone is finished": (
        lambda case: case.gone and case.state == "removing",
        lambda decision: isinstance(decision, FinishRemoval),
    ),
    "everything else is claimed": (
        lambda case: (
            not (case.record is None and case.view.foreign)
            and not (case.settled or case.alive or case.inside or case.disputed)
            and case.state != "removing"
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
    assert len(_cases()) > 30_000
    counts = Counter(sum(applies(case) for applies, _ in RULES.values()) for case, _ in _cases())
    assert set(counts) == {1}


# -- how it is claimed -----------------------------------------------------------------------------


def _claims() -> list[tuple[Case, Claim]]:
    return [(case, decision) for case, decision in _cases() if isinstance(decision, Claim)]


def test_the_plain_root_is_given_to_a_new_node_alone() -> None:
    for case, claim in _claims():
        assert (claim.root == IN_PLACE) == (
            case.record is None or (case.root_is_free and case.record.root == IN_PLACE)
        ), case


def test_a_root_is_inherited_exactly_when_nobody_else_may_write_there() -> None:
    for case, claim in _claims():
        if case.record is not None:
            assert claim.root == (case.record.root if case.root_is_free else None), case


def test_who_inherits_from_a_killed_process_lets_its_requests_land() -> None:
    for case, claim in _claims():
        killed = case.state == "claimed" and case.view.liveness is Liveness.DEAD
        assert claim.settle == (killed and case.root_is_free), case


def test_an_own_older_attempt_is_stopped_first() -> None:
    for case, claim in _claims():
        assert claim.fence == (case.held and case.view.liveness is Liveness.MINE), case


def test_a_live_owner_is_never_robbed() -> None:
    for case, decision in _cases():
        if case.alive or case.inside:
            assert isinstance(decision, (Use, Sibling, Wait, Refuse)), case


def test_nothing_is_computed_again_unasked() -> None:
    for case, decision in _cases():
        if case.stands and isinstance(decision, Claim):
            changed = not case.matching and case.request.on_stale is OnStale.RECOMPUTE
            assert case.request.force or changed, case


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


def test_on_stale_matters_only_where_a_result_has_another_key() -> None:
    _unmoved("on_stale", tuple(OnStale), lambda case: case.stands and not case.matching)


def test_force_and_key_matter_only_where_a_result_stands() -> None:
    _unmoved("force", (False, True), lambda case: case.stands)
    _unmoved("digest", (KEY, OTHER_KEY, None), lambda case: case.stands)


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
    assert outcomes.total() == len(_removals()) > 1_000


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

LATER = {"standing": STANDING}

ROWS: dict[str, tuple[Observation, Request, Decision]] = {
    "a first run": (Observation(), Request(KEY), Claim(IN_PLACE)),
    "somebody's thesis": (Observation(foreign=True), Request(KEY, force=True), Refuse(NotACacheDir)),
    "a hit": (_seen("committed"), Request(KEY), Use()),
    "a hit without an opinion": (_seen("committed"), Request(None), Use()),
    "a hit after a shared attempt": (_seen("committed", shared=True), Request(KEY), Use()),
    "a hit while another key is computed": (_seen("claimed", **LATER), Request(KEY, wait=False), Use()),
    "a hit after another key has failed": (_seen("failed", **LATER), Request(KEY), Use()),
    "a changed key": (_seen("committed"), Request(OTHER_KEY), Claim()),
    "a changed key that failed": (_seen("failed", **LATER), Request(OTHER_KEY), Claim(IN_PLACE)),
    "a changed key that is computed": (_seen("claimed", **LATER), Request(OTHER_KEY), Wait()),
    "a changed key after an out-voted owner": (_seen("committed", **OWN_ROOT), Request(OTHER_KEY), Claim()),
    "forced, same key": (_seen("committed"), Request(KEY, force=True), Claim()),
    "forced with on_stale error": (
        _seen("committed"),
        Request(OTHER_KEY, force=True, on_stale=OnStale.ERROR),
        Claim(),
    ),
    "another key with on_stale error, after a failure": (
        _seen("failed", **LATER),
        Request(OTHER_KEY, on_stale=OnStale.ERROR),
        Refuse(NodeStale),
    ),
    "another key beside one that is computed": (
        _seen("claimed", **LATER),
        Request(OTHER_KEY, on_stale=OnStale.NEW),
        Sibling(),
    ),
    "force does not rob": (_seen("claimed"), Request(KEY, force=True), Wait()),
    "busy": (_seen("claimed"), Request(KEY, wait=False), Refuse(NodeBusy)),
    "killed on this machine": (_seen("claimed", DEAD), Request(KEY), Claim(IN_PLACE, settle=True)),
    "killed after it gave out work": (_seen("claimed", DEAD, shared=True), Request(KEY), Claim()),
    "a notebook cell run again": (_seen("claimed", MINE), Request(KEY), Claim(IN_PLACE, fence=True)),
    "a notebook cell run again after path()": (
        _seen("claimed", MINE, shared=True),
        Request(KEY),
        Claim(fence=True),
    ),
    "silent on another machine": (_seen("claimed", EXPIRED), Request(KEY, wait=False), Claim()),
    "killed, itself after a silent one": (
        _seen("claimed", DEAD, **OWN_ROOT),
        Request(KEY),
        Claim(attempt_root(ATTEMPT), settle=True),
    ),
    "failed": (_seen("failed"), Request(KEY, wait=False), Claim(IN_PLACE)),
    "removed": (_seen("removed"), Request(KEY), Claim(discard=True)),
    "a removal that died": (_seen("removing", DEAD), Request(KEY), FinishRemoval()),
    "a removal that fell silent": (_seen("removing", EXPIRED), Request(KEY), FinishRemoval()),
    "a removal under way": (_seen("removing"), Request(KEY), Wait()),
}


@pytest.mark.parametrize("row", ROWS)
def test_row(row: str) -> None:
    view, request, decision = ROWS[row]
    assert decide(view, request) == decision


def test_failed_with_workers_about_is_not_inherited() -> None:
    record = Record(seq=2, after=ATTEMPT, state="failed", attempt=ATTEMPT, nonce="c" * 16, shared=True)
    assert decide(Observation(record), Request(KEY)) == Claim()
