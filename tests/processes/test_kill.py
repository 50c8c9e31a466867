"""Owners that die by SIGKILL, at every named point and at random, while others want the same node."""

from __future__ import annotations

import dataclasses
import itertools
import random
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from cvcache.protocol import Record, load_record
from cvcache.store import IN_PLACE
from processes.content import NAMES, PIECES
from processes.doom import KILL_POINTS
from processes.figures import Figures
from processes.herd import Herd, Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RACERS = 4
KILLS = 4
"""As many owners may die in one round; who comes after them lives."""
SLOWEST = 0.08
"""Seconds until a random kill: about as long as a fill takes."""
# nobody is given up for silence here: only a proof of death hands the node on, so the lease is long
POLICY = {"ttl": 60, "nap": 0.01}


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(150, marks=pytest.mark.timeout(900)),
        pytest.param(2000, marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
def test_killed_owners_leave_no_trace(
    rounds: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    figures = Figures("kill -9, 4 racing processes and a reader", record_property)
    chance = random.Random(rounds)
    with Herd() as herd:
        node, generation = tmp_path / "none", 0
        for number in range(rounds):
            # every second round wants another key of the same node, so that there is a result that stands
            generation = generation + 1 if number % 2 else 1
            node = node if number % 2 else tmp_path / f"node-{number}"
            race = _Round(herd, chance, figures, node, generation, tmp_path / f"end-{number}")
            race.play()
            if number % 2:
                race.compute_once_more()
    figures.tell()
    assert figures["wrong reads"] == 0
    assert figures["recovered"] == figures["commits"] == figures["rounds"] == rounds
    assert all(figures[f"killed {point}"] for point in KILL_POINTS)
    assert figures["committed reads"] > rounds


@dataclasses.dataclass
class _Round:
    """One round: racers until nobody is left to be killed, then a look at what they leave."""

    herd: Herd
    chance: random.Random
    figures: Figures
    node: Path
    generation: int
    end: Path

    def play(self) -> None:
        reader = self.herd.spawn("watch", url=str(self.node), until=str(self.end), plain=True)
        reader.wait_for("watching")
        workers = self._race()
        self.end.touch()
        watched = reader.wait_for("watched")
        reader.join()
        survivors = [worker for worker in workers if worker.status == 0]
        failed = [worker.events for worker in workers if worker.status not in {0, -signal.SIGKILL}]
        if failed:
            pytest.fail(f"{self.node}: {failed}")
        judged = [report for worker in survivors for report in worker.all("done")]
        wrong = watched["wrong"] + [what for report in judged for what in report["wrong"]]
        if wrong:
            pytest.fail(f"{self.node}: {wrong}")
        records = self._check_log()
        assert {report["attempt"] for report in judged} == {records[-1].attempt}
        self._check_result(records[-1])
        self._count(workers, watched, len(judged), len(wrong))

    def _race(self) -> list[Worker]:
        """Keep `RACERS` processes at it; a killed one is replaced, until enough have been killed."""
        workers: list[Worker] = []
        due: dict[Worker, float] = {}
        for _ in range(RACERS):
            self._enter(workers, due)
        replaced = 0
        while True:
            over = [worker for worker in workers if worker.gone]
            killed = [worker for worker in over if worker.status == -signal.SIGKILL]
            for _ in killed[replaced:]:
                self._enter(workers, due, doomed=len(killed) < KILLS)
            replaced = len(killed)
            if len(over) == len(workers):
                return workers
            now = time.monotonic()
            for worker in [worker for worker, at in due.items() if at <= now]:
                del due[worker]
                worker.kill()
            pause = min([at - now for at in due.values()], default=30.0)
            seen = len(over)
            self.herd.wait(lambda seen=seen: sum(worker.gone for worker in workers) > seen, max(pause, 0.001))  # type: ignore[misc]

    def _enter(self, workers: list[Worker], due: dict[Worker, float], *, doomed: bool = True) -> None:
        fate = self.chance.choice(["point", "point", "point", "point", "random", "none"]) if doomed else "none"
        doom: dict[str, Any] | None = None
        if fate == "point":
            point = self.chance.choice(KILL_POINTS)
            doom = {"point": point, "how": signal.SIGKILL, "nth": self.chance.randint(1, 12)}
        worker = self.herd.spawn("fill", url=str(self.node), key={"n": self.generation}, policy=POLICY, doom=doom)
        workers.append(worker)
        if fate == "random":
            due[worker] = time.monotonic() + self.chance.uniform(0, SLOWEST)

    def _check_log(self) -> list[Record]:
        """Exactly one commit a generation, whose root the dead have handed on, and what stood stands until the next."""
        paths = sorted((self.node / "_cvcache/log").iterdir())
        records = [load_record(path.read_bytes(), str(path)) for path in paths]
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        committed = [record for record in records if record.state == "committed"]
        assert len(committed) == self.generation
        assert len({record.digest for record in committed}) == self.generation
        assert records[-1].state == "committed"
        roots = [root for root, _ in itertools.groupby(record.root for record in records)]
        assert len(roots) == self.generation
        assert roots[0] == IN_PLACE
        for before, record in itertools.pairwise(records):
            assert record.state == "committed" or record.standing == before.standing_next()
        return records

    def _check_result(self, last: Record) -> None:
        """See that the result is whole, down to the last piece."""
        root = self.node / last.root
        assert sorted(path.name for path in root.iterdir() if path.name != "_cvcache") == sorted(NAMES)
        assert len(list((root / "cells.pieces.dir").iterdir())) == PIECES

    def compute_once_more(self) -> None:
        """See that the next commit leaves its own result and records alone, in whatever sweep somebody died."""
        worker = self.herd.spawn("fill", url=str(self.node), key={"n": self.generation + 1}, policy=POLICY)
        attempt = worker.wait_for("done")["attempt"]
        worker.join()
        files = [path.relative_to(self.node).as_posix() for path in self.node.rglob("*") if path.is_file()]
        # half a file of somebody who was killed stays until the node is removed: its writer may be on another machine
        others = ("_cvcache/log/", "_cvcache/failed/", "_cvcache/tmp/")
        assert [name for name in files if attempt not in name and not name.startswith(others)] == []
        assert len([name for name in files if name.endswith("/piece")]) == PIECES

    def _count(self, workers: list[Worker], watched: dict[str, Any], judged: int, wrong: int) -> None:
        killed = [worker for worker in workers if worker.status == -signal.SIGKILL]
        self.figures.add("rounds").add("commits").add("recovered").add("kills", len(killed))
        self.figures.add("polls", watched["polls"]).add("committed reads", watched["reads"] + judged)
        self.figures.add("replaced while read", watched["replaced"]).add("wrong reads", wrong)
        for worker in killed:
            struck = worker.said("struck")
            self.figures.add(f"killed {struck['point']}" if struck else "killed at random")
