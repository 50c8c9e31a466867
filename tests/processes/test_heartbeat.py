"""A few rounds in real time: an owner that computes for longer than its lease, and beats, keeps its node."""

from __future__ import annotations

import ctypes
import signal
from typing import TYPE_CHECKING

import pytest

from cvcache.protocol import load_record
from cvcache.store import IN_PLACE
from processes.figures import Figures
from processes.herd import Herd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

POLICY = {"ttl": 1.5, "request_timeout": 0.5, "nap": 0.05}
# a beat takes the interpreter's lock a dozen times, and each time it waits for its turn
LONGER = {"ttl": 4, "request_timeout": 1, "nap": 0.05}
BEATS = 9
"""An owner works for as many quarters of its lease, half as long again as its silence may last."""


@pytest.mark.parametrize(
    ("kind", "policy", "rounds"), [("quiet", POLICY, 4), ("hungry", LONGER, 1)], ids=["quiet", "hungry"]
)
def test_a_beating_owner_is_not_robbed(
    kind: str,
    policy: dict[str, float],
    rounds: int,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """Two others of the same machine want the node meanwhile; "hungry" threads fight for the interpreter's lock."""
    figures = Figures(f"an owner that computes longer than its lease, {kind}", record_property)
    with Herd() as herd:
        # the rounds wait for the same clock, so they are played at once
        nodes = [tmp_path / f"node-{number}" for number in range(rounds)]
        work = {"kind": kind, "beats": BEATS}
        owners = [herd.spawn("fill", url=str(node), policy=policy, work=work) for node in nodes]
        claims = [owner.wait_for("claimed") for owner in owners]
        rivals = [[herd.spawn("fill", url=str(node), policy=policy) for _ in range(2)] for node in nodes]
        for node, owner, claim, others in zip(nodes, owners, claims, rivals, strict=True):
            for worker in (owner, *others):
                done = worker.wait_for("done")
                worker.join()
                assert (done["computed"], done["attempt"], done["wrong"]) == (worker is owner, claim["attempt"], [])
            seconds = owner.wait_for("laboured")["seconds"]
            assert seconds > policy["ttl"] + policy["request_timeout"]
            assert len(list((node / "_cvcache/log").iterdir())) == 2
            figures.add("rounds").add("seconds of work", round(seconds)).add(
                "beats", owner.wait_for("laboured")["beats"]
            )
            figures.add("robbed", 0)
    figures.tell()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "syscall"), reason="ends one thread by a system call of Linux")
def test_a_process_whose_first_thread_has_ended_is_not_dead(tmp_path: Path) -> None:
    """Linux then shows it like a dead one that nobody has waited for."""
    with Herd() as herd:
        owner = herd.spawn("headless", url=str(tmp_path / "node"), policy=POLICY, beats=BEATS)
        owner.wait_for("headless")
        rival = herd.spawn("fill", url=str(tmp_path / "node"), policy=POLICY)
        assert not rival.wait_for("done")["computed"]
        rival.join()
        owner.kill()
        assert owner.wait_gone() == -signal.SIGKILL
    records = [load_record(path.read_bytes()) for path in sorted((tmp_path / "node/_cvcache/log").iterdir())]
    assert [(record.state, record.root) for record in records] == [("claimed", IN_PLACE), ("committed", IN_PLACE)]
