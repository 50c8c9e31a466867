"""A result stands until its successor is committed: what each handle says of it."""

from __future__ import annotations

import logging
import pickle
from typing import TYPE_CHECKING

import pytest

import cvcache
from cvcache.node import release_node, snapshot_of

if TYPE_CHECKING:
    from servers.store_cases import StoreCase

    from cvcache import CacheDir


def fill(where: CacheDir, value: int) -> CacheDir:
    with cvcache.cdir_init(where, {"value": value}) as node:
        if not node.committed:
            node.write("value.json", value)
    return node


def fail(where: CacheDir, value: int) -> None:
    with pytest.raises(ZeroDivisionError), cvcache.cdir_init(where, {"value": value}):
        _ = 1 / 0


@pytest.fixture
def where(store_case: StoreCase) -> CacheDir:
    """Give the address of a node that is committed."""
    where = cvcache.cdir(store_case.child("n"), **store_case.options)
    fill(where, 1)
    return cvcache.cdir(store_case.child("n"), **store_case.options)


def test_who_looks_has_the_commit_that_stands_while_a_newer_attempt_runs(where: CacheDir) -> None:
    stood = cvcache.cdir_query(where).commit
    with cvcache.cdir_init(where, {"value": 2}) as running:
        assert (running.state, running.committed, running.commit, running.meta) == ("running", False, None, {})
        looking = cvcache.cdir_query(where)
        assert (looking.state, looking.committed, looking.commit) == ("running", True, stood)
        assert looking.reason == ("value: 1 -> 2",)
        assert looking.read("value.json") == 1
        assert "value.json" in looking
        assert pickle.loads(pickle.dumps(looking)).commit == stood  # noqa: S301 - our own
        running.write("value.json", 2)
        assert looking.refresh().read("value.json") == 1
    assert running.read("value.json") == 2
    assert (looking.commit, looking.refresh().commit) == (stood, running.commit)
    assert looking.read("value.json") == 2


def test_a_failure_is_said_and_the_result_before_it_is_there(where: CacheDir) -> None:
    stood = cvcache.cdir_query(where).commit
    fail(where, 2)
    looking = cvcache.cdir_query(where)
    assert (looking.state, looking.commit) == ("failed", stood)
    assert looking.error is not None
    assert looking.error["type"] == "ZeroDivisionError"
    assert [item.name for item in looking.items()] == ["value.json"]
    hit = cvcache.cdir_init(where, {"value": 1})
    assert (hit.computed, hit.commit, hit.state) == (False, stood, "failed")
    assert hit.read("value.json") == 1


def test_an_attempt_that_was_given_up_leaves_the_result_committed(where: CacheDir) -> None:
    release_node(snapshot_of(cvcache.cdir_init(where, {"value": 2})))
    looking = cvcache.cdir_query(where)
    assert (looking.state, looking.committed, looking.read("value.json")) == ("committed", True, 1)
    assert "stands" not in repr(looking)


def test_both_facts_are_said_where_a_handle_is_shown(where: CacheDir) -> None:
    assert repr(where) == f"CacheDir({where.url!r})", "nothing was read yet"
    committed = cvcache.cdir_query(where)
    assert repr(committed) == f"CacheDir({where.url!r}, committed)"
    assert committed.commit is not None
    day = committed.commit.time.astimezone()
    stands = f"result of {day.day} {day:%b} stands"
    open_node = cvcache.cdir_init(where, {"value": 2})
    for running in (open_node, cvcache.cdir_query(where)):
        assert repr(running) == f"CacheDir({where.url!r}, running \N{MIDDLE DOT} {stands})"
    release_node(snapshot_of(open_node))
    fail(where, 2)
    failed = cvcache.cdir_query(where)
    assert repr(failed) == f"CacheDir({where.url!r}, failed \N{MIDDLE DOT} {stands})"
    assert repr(snapshot_of(failed)).endswith(f", failed \N{MIDDLE DOT} {stands})")


def test_a_claim_says_what_stands_meanwhile(where: CacheDir, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cvcache"), cvcache.cdir_init(where, {"value": 2}) as node, node.log():
        pass
    assert "computing (value: 1 -> 2); the result of " in caplog.text
    first = node.read("run.log").splitlines()[0]
    assert first.endswith(" stands until it is committed")


@pytest.mark.parametrize("time", ["", "yesterday", "0001-01-01T00:00:00", "9999-12-31T23:59:59.999+00:00"])
def test_a_time_that_nobody_can_read_breaks_nothing(where: CacheDir, time: str) -> None:
    from dataclasses import replace

    from cvcache.protocol import standing_text

    cvcache.cdir_init(where, {"value": 2})
    record = snapshot_of(cvcache.cdir_query(where)).newest
    assert record is not None
    assert record.standing is not None
    text = standing_text(replace(record, standing=replace(record.standing, time=time)))
    assert text.startswith("result of ")
    assert text.endswith(" stands")
    assert standing_text(None) == standing_text(replace(record, standing=None)) == ""
