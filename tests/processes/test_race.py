"""32 processes want one node at once: exactly one computes it, all others read what it wrote."""

from __future__ import annotations

import contextlib
import fcntl
from typing import TYPE_CHECKING

import pytest

from processes.figures import Figures
from processes.herd import Herd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from servers.store_cases import StoreCase

RACERS = 32
MODULES = {"local": [], "s3": ["s3fs"], "gcs": ["gcsfs"]}


@pytest.mark.parametrize(
    ("store", "rounds"),
    [
        ("local", 20),
        pytest.param("s3", 2, marks=pytest.mark.server),
        pytest.param("gcs", 2, marks=pytest.mark.server),
        pytest.param("local", 200, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
        pytest.param("s3", 50, marks=[pytest.mark.long, pytest.mark.server, pytest.mark.timeout(3600)]),
        pytest.param("gcs", 50, marks=[pytest.mark.long, pytest.mark.server, pytest.mark.timeout(3600)]),
    ],
)
def test_exactly_one_of_many_computes(
    store: str,
    rounds: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    case: StoreCase = request.getfixturevalue(f"{store}_case")
    figures = Figures(f"{RACERS} processes race to init one node, {store}", record_property)
    nodes = [(str(tmp_path / f"gate-{number}"), f"{case.url}/node-{number}") for number in range(rounds)]
    arguments = {"nodes": nodes, "policy": {"nap": 0.2}, "options": case.options}
    with contextlib.ExitStack() as gates, Herd(modules=MODULES[store]) as herd:
        closed = [gates.enter_context(_closed(gate)) for gate, _ in nodes]
        racers = [herd.spawn("race", **arguments) for _ in range(RACERS)]
        for number in range(rounds):
            herd.wait(
                lambda n=number: all(len(racer.all("ready")) > n or racer.gone for racer in racers),  # type: ignore[misc]
                180,
                f"start of round {number}",
            )
            closed[number].close()
        for racer in racers:
            racer.join(180)
        for number in range(rounds):
            computed = [r["mark"] for racer in racers for r in racer.all("computed") if r["round"] == number]
            read = [r for racer in racers for r in racer.all("read") if r["round"] == number]
            assert len(computed) == 1, computed
            assert len(read) == RACERS
            wrong = [r for r in read if not r["good"] or r["mark"] != computed[0]]
            assert not wrong, wrong
            figures.add("rounds").add("computed").add("good reads", len(read)).add("wrong reads", len(wrong))
    figures.tell()
    assert figures["computed"] == figures["rounds"] == rounds


@contextlib.contextmanager
def _closed(gate: str) -> Iterator[contextlib.ExitStack]:
    """Lock a file that others wait for; closing what is given opens the gate to all of them at once."""
    with contextlib.ExitStack() as holder:
        file = holder.enter_context(open(gate, "w", encoding="utf-8"))  # noqa: PTH123  # a name from JSON
        fcntl.flock(file, fcntl.LOCK_EX)
        yield holder
