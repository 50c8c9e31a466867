"""An attempt this process holds: what it may write, and what ends that."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import pytest

from cvcache import ForeignItem, LeaseLost, Policy, cdir, cdir_commit, cdir_init, cdir_query
from cvcache.lease import Attempt, open_attempt
from cvcache.testing import CountingStore, instrument

if TYPE_CHECKING:
    from servers.store_cases import LocalCase, StoreCase

    from cvcache import CacheDir


def attempt_of(node: CacheDir) -> Attempt:
    attempt = open_attempt(node.url)
    assert attempt is not None
    return attempt


@pytest.fixture
def node(store_case: StoreCase) -> CacheDir:
    """Give a node open for writing, on each kind of store."""
    return cdir(store_case.url, **store_case.options).init()


def test_a_beat_is_a_counter(node: CacheDir, store_case: StoreCase) -> None:
    attempt = attempt_of(node)
    for count in (1, 2):
        attempt.beat()
        assert store_case.read(f"_cvcache/beat/{attempt.id}") == b"%d" % count
    assert not attempt.lost


def test_an_item_is_announced_before_its_first_byte(node: CacheDir) -> None:
    log: list[tuple[str, str]] = []
    with instrument(lambda store: _logging(store, log)):
        again = node.init()
        log.clear()
        again.write("stats.json", {"a": 1})
    puts = [path.rpartition("/_cvcache/")[2] for verb, path in log if verb == "put"]
    assert puts[0] == f"writing/{attempt_of(node).id}/stats.json.json"
    assert puts[1].endswith("/stats.json")


def _logging(store: object, log: list[tuple[str, str]]) -> CountingStore:
    counting = CountingStore(store)  # type: ignore[arg-type]  # instrument gives a store
    counting.log = log
    return counting


def test_an_announcement_says_whose_it_is(node: CacheDir, store_case: StoreCase) -> None:
    node.write("stats.json", 1)
    attempt = attempt_of(node)
    row = json.loads(store_case.read(f"_cvcache/writing/{attempt.id}/stats.json.json"))
    assert row == {"item": "stats.json", "attempt": attempt.id}


def test_a_path_that_is_handed_out_marks_the_attempt_as_shared(node: CacheDir, store_case: StoreCase) -> None:
    attempt = attempt_of(node)
    shared = f"_cvcache/beat/{attempt.id}.shared"
    node.write("stats.json", 1)
    assert shared not in store_case.snapshot()
    assert node.path("made-elsewhere.txt").endswith("/made-elsewhere.txt")
    assert shared in store_case.snapshot()


@pytest.mark.parametrize("taken", ["stats.json", "cells.ome.zarr/zarr.json"])
def test_a_file_that_took_the_name_after_init_is_kept(node: CacheDir, store_case: StoreCase, taken: str) -> None:
    name = taken.split("/", maxsplit=1)[0]
    store_case.put(taken, b"mine")
    with pytest.raises(ForeignItem, match="another name"):
        node.write(name, [[1, 2], [3, 4]] if name.endswith("json") else _picture())
    with pytest.raises(ForeignItem), node.open(name if name.endswith("json") else "cells.ome.zarr", "wb"):
        pass
    assert store_case.read(taken) == b"mine"
    node.write("other.json", 1)
    cdir_commit(node)
    again = node.init(force=True)
    again.write("other.json", 2)
    cdir_commit(again)
    assert store_case.read(taken) == b"mine"
    assert [item.name for item in cdir_query(again).items()] == ["other.json"]


def _picture() -> object:
    import numpy as np

    return np.zeros((4, 4), "u1")


def test_a_log_deleted_by_hand_ends_the_attempt_at_its_next_beat(local_case: LocalCase) -> None:
    node = cdir_init(local_case.url)
    attempt = attempt_of(node)
    local_case.delete("_cvcache/log/000001-root.json")
    attempt.beat()
    assert attempt.lost
    with pytest.raises(LeaseLost, match="deleted"):
        node.write("stats.json", 1)


def test_after_a_long_silence_the_log_is_asked_before_a_write(local_case: LocalCase) -> None:
    clock = [0.0]
    node = cdir_init(local_case.url, policy=Policy(ttl=60, clock=lambda: clock[0]))
    node.write("first.json", 1)
    successor = f"_cvcache/log/000002-{attempt_of(node).id}.json"
    local_case.put(successor, b"{}")
    node.write("second.json", 1)
    clock[0] = 31.0
    with pytest.raises(LeaseLost, match="taken over"):
        node.write("third.json", 1)


def test_a_late_heartbeat_alone_takes_nothing_away(local_case: LocalCase) -> None:
    clock = [0.0]
    node = cdir_init(local_case.url, policy=Policy(ttl=60, clock=lambda: clock[0]))
    clock[0] = 1e6
    node.write("stats.json", 1)
    assert cdir_commit(node)


def test_a_file_closed_after_the_node_was_lost_is_not_published(node: CacheDir, store_case: StoreCase) -> None:
    late = node.open("late.bin", "wb")
    late.write(b"too late")
    newer = node.init()
    with pytest.raises(LeaseLost):
        late.close()
    assert "late.bin" not in store_case.snapshot()
    newer.write("stats.json", 1)
    assert [item.name for item in cdir_query(newer).items()] != ["late.bin"]


def test_an_attempt_stays_in_its_process(node: CacheDir) -> None:
    with pytest.raises(TypeError, match="send the CacheDir"):
        pickle.dumps(attempt_of(node))
    sent = pickle.loads(pickle.dumps(node))  # noqa: S301 - made a line above
    assert sent == node
