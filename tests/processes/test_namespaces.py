"""Two process-id namespaces stand for two machines on one shared directory.

A process of the other namespace cannot be looked up: its number is nobody's here, or somebody
else's. All that tells whether it lives is its heartbeat.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from servers.missing import unavailable

from cvcache.protocol import Record, load_record
from cvcache.store import IN_PLACE
from processes.figures import Figures
from processes.herd import Herd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
ROUNDS = 6
POLICY = {"ttl": 1.5, "request_timeout": 0.5, "nap": 0.05}
BEATS = 9
"""A live owner works for as many quarters of its lease, half as long again as its silence may last."""


@pytest.fixture(scope="module")
def herds() -> Iterator[tuple[Herd, Herd]]:
    """Give two herds that cannot see each other's processes."""
    if shutil.which("unshare") is None:
        unavailable("the program unshare", "install util-linux")
    if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us unshare a process-id namespace; run the tests as root")
    with Herd(prefix=UNSHARE) as here, Herd(prefix=UNSHARE) as there:
        yield here, there


def test_two_herds_take_each_other_for_other_machines(herds: tuple[Herd, Herd], tmp_path: Path) -> None:
    for number, herd in enumerate(herds):
        herd.spawn("fill", url=str(tmp_path / f"node-{number}"), policy=POLICY).join()
    owners = [_records(tmp_path / f"node-{number}")[0].owner for number in range(2)]
    assert owners[0].boot == owners[1].boot
    assert owners[0].pidns != owners[1].pidns
    assert str(Path("/proc/self/ns/pid").readlink()) not in {owner.pidns for owner in owners}


def test_a_live_owner_elsewhere_is_waited_for(
    herds: tuple[Herd, Herd], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    figures = Figures("two pid namespaces, a live owner", record_property)
    work = {"kind": "quiet", "beats": BEATS}
    # the rounds wait for the same clock, so they are played at once
    rounds = _rounds(herds, tmp_path)
    owners = [here.spawn("fill", url=str(node), policy=POLICY, work=work) for node, here, _ in rounds]
    claims = [owner.wait_for("claimed")["attempt"] for owner in owners]
    waiters = [there.spawn("fill", url=str(node), policy=POLICY) for node, _, there in rounds]
    for (node, _, _), owner, claim, waiter in zip(rounds, owners, claims, waiters, strict=True):
        for worker in (owner, waiter):
            done = worker.wait_for("done")
            worker.join()
            assert (done["computed"], done["attempt"], done["wrong"]) == (worker is owner, claim, [])
        assert [record.state for record in _records(node)] == ["claimed", "committed"]
        figures.add("rounds").add("waited for").add("taken for dead", 0)
    figures.tell()


def test_a_killed_owner_elsewhere_is_given_up_for_its_silence(
    herds: tuple[Herd, Herd], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    figures = Figures("two pid namespaces, a killed owner", record_property)
    rounds = _rounds(herds, tmp_path)
    doom = {"point": "mid data", "how": signal.SIGKILL}
    for owner in [here.spawn("fill", url=str(node), policy=POLICY, doom=doom) for node, here, _ in rounds]:
        assert owner.wait_gone() == -signal.SIGKILL
    heirs = [there.spawn("fill", url=str(node), policy=POLICY) for node, _, there in rounds]
    for (node, _, _), heir in zip(rounds, heirs, strict=True):
        done = heir.wait_for("done")
        heir.join()
        assert (done["computed"], done["wrong"]) == (True, [])
        claims = [record for record in _records(node) if record.state == "claimed"]
        assert [record.root == IN_PLACE for record in claims] == [True, False], (
            "silence is no proof: the heir keeps out"
        )
        figures.add("rounds").add("taken over into a root of its own")
    figures.tell()


def _rounds(herds: tuple[Herd, Herd], folder: Path) -> list[tuple[Path, Herd, Herd]]:
    """Give for each round a node, the herd of its owner, and the other one."""
    here, there = herds
    return [(folder / f"node-{n}", *((here, there) if n % 2 else (there, here))) for n in range(ROUNDS)]


def _records(node: Path) -> list[Record]:
    return [load_record(path.read_bytes(), str(path)) for path in sorted((node / "_cvcache/log").iterdir())]
