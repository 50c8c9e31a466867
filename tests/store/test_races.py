"""`put_new` elects exactly one of 32 real processes, and what lies there is the winner's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cvcache.store import resolve_node
from store.racing import race

if TYPE_CHECKING:
    from servers.store_cases import StoreCase

ROUNDS = 3


@pytest.mark.parametrize(
    "kind", ["local", pytest.param("s3", marks=pytest.mark.server), pytest.param("gcs", marks=pytest.mark.server)]
)
def test_one_of_32_processes_wins(kind: str, request: pytest.FixtureRequest) -> None:
    _race_on(request.getfixturevalue(f"{kind}_case"), ROUNDS)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["local", "s3", "gcs"])
def test_one_of_32_processes_wins_200_times(kind: str, request: pytest.FixtureRequest) -> None:
    _race_on(request.getfixturevalue(f"{kind}_case"), 200)


def _race_on(case: StoreCase, rounds: int) -> None:
    scheme, path, _ = resolve_node(case.url)
    winners = race(scheme, path, case.options, rounds)
    assert [len(each) for each in winners] == [1] * rounds
    assert [case.read(str(turn)) for turn in range(rounds)] == [b"racer %d" % each[0] for each in winners]
