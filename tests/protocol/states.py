"""The states of a node and what leads from one to the next, drawn from the rules of the protocol.

``python tests/protocol/states.py`` draws them anew in docs/explanation/architecture.md.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from cvcache.protocol import (
    RECORD_STATES,
    Claim,
    FinishRemoval,
    Liveness,
    Observation,
    OnStale,
    Owner,
    Record,
    Request,
    decide,
    decide_removal,
)
from cvcache.store import IN_PLACE

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"
BLOCK = re.compile(r"(?<=<!-- states -->\n).*?(?=<!-- states -->)", re.DOTALL)

FORCES = ("", "force")
KEYS = ("same key", "other key")
ENDS = {"committed": "commit", "failed": "an error", "released": "given up"}
"""What the owner of an attempt writes, by `cvcache.protocol.finish_attempt`."""


def record_in(state: str) -> Record:
    """Give a record of a node in `state` that was made for the first of the keys."""
    owner = Owner(host="", boot="", pidns="", pid=1, start="", thread="")
    names = dict.fromkeys(("attempt", "nonce"), "a" * 16)
    return Record(seq=1, after="root", state=state, root=IN_PLACE, time="", owner=owner, ttl=1, digest=KEYS[0], **names)


def any_of(words: Iterable[str], every: int) -> str:
    """Give some words as an alternative; nothing if they are all there are."""
    found = sorted(set(words))
    return "" if len(found) == every else " or ".join(found)


def claims(state: str) -> list[str]:
    """Give when a caller of `cdir_init` claims a node in `state`: what it sees of the owner, or what it wants."""
    claimed = {
        (liveness.name.lower(), (key, force), on_stale.value)
        for liveness, key, force, on_stale in itertools.product(Liveness, KEYS, FORCES, OnStale)
        if isinstance(
            decide(Observation(record_in(state), liveness), Request(key, bool(force), on_stale=on_stale)), Claim
        )
    }
    owners = {owner for owner, _, _ in claimed}
    choices = {case: {chosen for _, other, chosen in claimed if other == case} for _, case, _ in sorted(claimed)}
    said = {(owner, case, chosen) for owner in owners for case, every in choices.items() for chosen in every}
    assert claimed == said, "an arrow needs more than one word on the owner and one on the caller"
    if len(choices) == len(KEYS) * len(FORCES) and all(len(chosen) == len(OnStale) for chosen in choices.values()):
        return [any_of(owners, len(Liveness)) or "cdir_init"]
    return [", ".join(filter(None, (*case, any_of(chosen, len(OnStale))))) for case, chosen in choices.items()]


def removals(state: str) -> list[str]:
    """Give when a caller of `cdir_remove` begins to remove a node in `state`."""
    owners = {
        force: {
            liveness.name.lower()
            for liveness in Liveness
            if isinstance(decide_removal(Observation(record_in(state), liveness), force=force), FinishRemoval)
        }
        for force in (False, True)
    }
    ways = {"remove": owners[False], "remove by force": owners[True] - owners[False]}
    return [", ".join(filter(None, (way, any_of(seen, len(Liveness))))) for way, seen in ways.items() if seen]


def diagram() -> str:
    """Give the diagram in Mermaid's language."""
    edges = [("[*]", "claimed", "cdir_init")]
    for state in RECORD_STATES:
        edges += [(state, "claimed", when) for when in claims(state)]
        edges += [(state, "removing", when) for when in removals(state) if state != "removing"]
    edges += [("claimed", state, end) for state, end in ENDS.items()]
    edges += [("removing", "removed", "all is deleted")]
    lines = [f"    {state} --> {following}: {when}" for state, following, when in edges]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: diagram(), PAGE.read_text()))
