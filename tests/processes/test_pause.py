"""Owners that are stopped past their lease, robbed, and woken: what another committed stays as it is."""

from __future__ import annotations

import concurrent.futures
import random
import signal
from typing import TYPE_CHECKING

import pytest

from cvcache import cdir_query
from cvcache.protocol import Record, load_record
from cvcache.store import IN_PLACE
from processes import content
from processes.doom import NEED_LEFTOVERS, STOP_POINTS
from processes.figures import Figures
from processes.herd import Herd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AT_ONCE = 8
"""A round mostly waits for a lease to run out, so several are played at once."""
SHORT = {"ttl": 0.3, "request_timeout": 0.1, "nap": 0.02}
# whoever takes over is never silent for so long
LONG = {"ttl": 60, "request_timeout": 0.1, "nap": 0.02}


@pytest.mark.parametrize("rounds", [50, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(7200)])])
def test_a_stopped_owner_is_robbed_and_does_no_harm(
    rounds: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    figures = Figures("SIGSTOP past the lease, takeover, SIGCONT", record_property)
    chance = random.Random(rounds)
    with Herd() as herd, concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        plans = [
            (STOP_POINTS[n % len(STOP_POINTS)], chance.random() < 0.5, chance.random() < 0.5) for n in range(rounds)
        ]
        played = [
            pool.submit(_play, herd, tmp_path / f"node-{n}", point=point, leftovers=leftovers, early=early)
            for n, (point, leftovers, early) in enumerate(plans)
        ]
        for future in concurrent.futures.as_completed(played):
            for name, count in future.result().items():
                figures.add(name, count)
    figures.tell()
    assert figures["taken over"] == figures["rounds"] == rounds
    assert figures["committed by the stopped"] == figures["wrong reads"] == 0
    assert figures["committed reads"] > rounds


def _play(herd: Herd, node: Path, *, point: str, leftovers: bool, early: bool) -> dict[str, int]:
    """Play one round.

    Parameters
    ----------
    point
        Where the first owner is stopped.
    leftovers
        Whether another owner was killed before, so that the first has something to wipe.
    early
        Whether the first wakes while the second is still at work, not after its commit.
    """
    url, end = str(node), node.with_name(f"{node.name}-end")
    if leftovers or point in NEED_LEFTOVERS:
        doom = {"point": "before the fate", "how": signal.SIGKILL}
        assert herd.spawn("fill", url=url, policy=SHORT, doom=doom).wait_gone() == -signal.SIGKILL
    reader = herd.spawn("watch", url=url, until=str(end), plain=False)
    first = herd.spawn("zombie", url=url, policy=SHORT, doom={"point": point, "how": signal.SIGSTOP})
    first.wait_for("stopped")
    halfway = {"point": "before a piece", "how": signal.SIGSTOP} if early else None
    second = herd.spawn("fill", url=url, policy=LONG, doom=halfway)
    if early:
        second.wait_for("stopped")
        first.signal(signal.SIGCONT)
        lost = first.wait_for("lost")
        second.signal(signal.SIGCONT)
        done = second.wait_for("done")
    else:
        done = second.wait_for("done")
        first.signal(signal.SIGCONT)
        lost = first.wait_for("lost")
    for worker in (first, second):
        worker.join()
    end.touch()
    watched = reader.wait_for("watched")
    reader.join()
    again = first.wait_for("done")
    wrong = watched["wrong"] + done["wrong"] + again["wrong"]
    assert not wrong, (url, point, leftovers, early, wrong)
    assert lost["root"] == IN_PLACE
    assert lost["times"] >= 2, "its commit was refused, and refused again"
    records = _records(node)
    assert [record.state for record in records[-3:]] == ["claimed", "claimed", "committed"]
    assert records[-1].root != IN_PLACE, "the second kept out of the way of the first"
    assert {done["attempt"], again["attempt"]} == {records[-1].attempt}
    return {
        "rounds": 1,
        "taken over": int(done["computed"]),
        "LeaseLost": lost["times"],
        "committed by the stopped": int(lost["committed"]),
        "committed reads": watched["reads"] + 2,
        "wrong reads": len(wrong),
    }


def test_a_stopped_remover_does_no_harm(tmp_path: Path) -> None:
    """Another finishes the removal and computes anew; what the first deletes when it wakes is what it saw before."""
    node = tmp_path / "node"
    with Herd() as herd:
        herd.spawn("fill", url=str(node), policy=SHORT).join()
        doom = {"point": "after the removal began", "how": signal.SIGSTOP}
        remover = herd.spawn("remover", url=str(node), policy=SHORT, doom=doom)
        remover.wait_for("stopped")
        second = herd.spawn("fill", url=str(node), policy=LONG)
        assert second.wait_for("done")["computed"]
        second.join()
        remover.signal(signal.SIGCONT)
        remover.join()
    states = [record.state for record in _records(node)]
    assert states[:7] == ["claimed", "committed", "removing", "removing", "removed", "claimed", "committed"]
    found = cdir_query(node)
    # it may remove the new result as well, but only by saying so first
    assert found.state == "absent" if len(states) > 7 else content.judge(found) == []


def _records(node: Path) -> list[Record]:
    return [load_record(path.read_bytes(), str(path)) for path in sorted((node / "_cvcache/log").iterdir())]
