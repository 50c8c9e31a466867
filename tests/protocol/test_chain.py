"""The chain of records: which is the newest, what stands, and what is read of it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from simulated import (
    FILE,
    OWN,
    PAIR,
    World,
    attempted,
    compute,
    contents_of,
    fill,
    lay,
    log_of,
    quiet_store,
    read_mark,
    world,
)
from store.strangers import ATTEMPT, claim_record, put_record

import cvcache
from cvcache import BadRecord, ItemDamaged, NewerRecord, NodeRemoved, NodeReplaced, cdir, cdir_init, cdir_query
from cvcache.node import address_of
from cvcache.protocol import MAX_RECORD_BYTES, Standing, observe, read_newest_record
from cvcache.store import attempt_root
from cvcache.testing import CountingStore, FaultyStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import StoreCase

    from cvcache import Policy

__all__ = ["world"]

FEWEST = 5
"""Store calls of a claim that discards: two to look, one to claim, one to list, one to delete."""

OTHER = "a" * 16


@pytest.fixture(params=["memory", "local"])
def case(request: pytest.FixtureRequest) -> StoreCase:
    found: StoreCase = request.getfixturevalue(f"{request.param}_case")
    return found


def records_of(case: StoreCase) -> list[dict[str, Any]]:
    return [json.loads(data) for data in log_of(case).values()]


# -- the newest record ------------------------------------------------------------------------------


def test_a_record_that_is_not_on_the_walk_has_no_meaning(case: StoreCase) -> None:
    put_record(case, claim_record())
    put_record(case, claim_record(seq=2, after=ATTEMPT, state="committed"))
    for stray in (
        claim_record(seq=2, after=OTHER, state="removed", attempt=OTHER),
        claim_record(seq=9, after=ATTEMPT, attempt=OTHER),
    ):
        put_record(case, stray)
    address = address_of(cdir(case.url))
    newest = read_newest_record(address.store, address.path)
    assert newest is not None
    assert (newest.seq, newest.after, newest.state) == (2, ATTEMPT, "committed")
    assert cdir_query(case.url).committed


UNREADABLE: dict[str, tuple[Callable[[bytes], bytes], type[Exception], str]] = {
    "empty": (lambda _: b"", BadRecord, "is not a record"),
    "torn": (lambda data: data[: len(data) // 2], BadRecord, "is not a record"),
    "of schema 1": (lambda data: data.replace(b'"v":2', b'"v":1'), BadRecord, "schema 1"),
    "of a larger schema": (lambda data: data.replace(b'"v":2', b'"v":3'), NewerRecord, "upgrade"),
    "too long": (lambda data: data + b" " * MAX_RECORD_BYTES, BadRecord, "over 65536 bytes"),
    "moved": (lambda data: data.replace(b'"seq":3', b'"seq":4'), BadRecord, "renamed"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_record_after_a_commit_closes_the_node_and_changes_nothing(
    case: StoreCase, world: World, kind: str
) -> None:
    spoil, error, why = UNREADABLE[kind]
    with world.process() as first:
        compute(case.url, {"key": 1}, world.policy)
        fill(cdir_init(case.url, {"key": 2}, policy=world.policy))
        first.kill()
    name, data = list(log_of(case).items())[-1]
    case.put(f"_cvcache/log/{name}", spoil(data))
    before = contents_of(case)
    with world.process():
        for act in (
            lambda: cdir_query(case.url),
            lambda: cdir_init(case.url, {"key": 1}, policy=world.policy),
            lambda: cdir_init(case.url, force=True, policy=world.policy),
            lambda: cvcache.cdir_remove(case.url, recursive=True, force=True),
        ):
            with pytest.raises(error, match=why) as caught:
                act()
            assert name in str(caught.value)
    assert contents_of(case) == before


# -- what stands ------------------------------------------------------------------------------------


def fail(url: str, key: object, world: World) -> None:
    with contextlib.suppress(ZeroDivisionError), cdir_init(url, key, policy=world.policy):
        1 / 0  # noqa: B018 - fails on purpose


def test_a_record_in_the_place_of_the_commit_that_stands_is_never_read_as_a_result(
    case: StoreCase, world: World
) -> None:
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
        fail(case.url, {"key": 2}, world)
    case.delete(f"_cvcache/log/{list(log_of(case))[1]}")
    with world.process():
        fill(cdir_init(case.url, {"key": 1}, policy=world.policy))
        for act in (
            lambda: cdir_query(case.url),
            lambda: cdir_init(case.url, {"key": 1}, policy=world.policy),
            lambda: cdir_init(case.url, {"key": 3}, policy=world.policy),
        ):
            with pytest.raises(BadRecord, match="records were moved"):
                act()


def test_every_record_says_what_stands_and_which_commit_was_first(case: StoreCase, world: World) -> None:
    with world.process():
        fail(case.url, {"key": 1}, world)
        compute(case.url, {"key": 1}, world.policy)
        fail(case.url, {"key": 2}, world)
        compute(case.url, {"key": 3}, world.policy)
        cvcache.cdir_remove(cdir(case.url, policy=world.policy))
        compute(case.url, {"key": 4}, world.policy)
    rows = records_of(case)
    states = [row["state"] for row in rows]
    assert states == [
        "claimed", "failed", "claimed", "committed", "claimed", "failed",
        "claimed", "committed", "removing", "removed", "claimed", "committed",
    ]  # fmt: skip
    assert [row.get("standing", {}).get("seq") for row in rows] == [None] * 4 + [4, 4, 4] + [None] * 5
    stood = rows[3]
    assert rows[4]["standing"] == {name: stood.get(name) for name in Standing.__dataclass_fields__}
    first = [4, rows[3]["after"]]
    assert [row.get("first") for row in rows] == [None] * 3 + [first] * 6 + [None] * 3


def test_a_root_is_inherited_or_new(case: StoreCase, world: World) -> None:
    """The plain root for a first result, after failed tries too; then each result has one of its own."""
    with world.process():
        fail(case.url, {"key": 1}, world)
        compute(case.url, {"key": 1}, world.policy)
        fail(case.url, {"key": 2}, world)
        compute(case.url, {"key": 2}, world.policy)
        cvcache.cdir_remove(cdir(case.url, policy=world.policy))
        compute(case.url, {"key": 3}, world.policy)
    rows = [row for row in records_of(case) if row["state"] in {"claimed", "committed"}]
    roots = [(row["root"], row["root_seq"]) for row in rows]
    second, after_removal = (attempt_root(rows[at]["attempt"]) for at in (3, 6))
    assert roots == [
        (".", 1), (".", 1), (".", 1), (second, 5), (second, 5), (second, 5), (after_removal, 11), (after_removal, 11),
    ]  # fmt: skip


def claimed(url: str, world: World) -> None:
    cdir_init(url, {"key": 2}, policy=world.policy)


def killed(url: str, world: World) -> None:
    with world.process() as process:
        claimed(url, world)
        process.kill()


def failed(url: str, world: World) -> None:
    fail(url, {"key": 2}, world)


def forced_and_failed(url: str, world: World) -> None:
    with contextlib.suppress(ZeroDivisionError), cdir_init(url, {"key": 1}, force=True, policy=world.policy):
        1 / 0  # noqa: B018 - fails on purpose


@pytest.mark.parametrize("later", [claimed, killed, failed, forced_and_failed])
def test_what_stands_is_a_hit_whatever_follows_and_a_hit_never_writes(
    case: StoreCase, world: World, later: Callable[[str, World], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.process():
        mark = read_mark(compute(case.url, {"key": 1}, world.policy))
    with world.process():
        later(case.url, world)
    before = contents_of(case)
    counted: list[CountingStore] = []

    def count(store: Any) -> CountingStore:
        counted.append(CountingStore(store))
        return counted[-1]

    monkeypatch.setattr(observe, "_newest_entries", {})
    with world.process(), instrument(count):
        found = cdir_init(case.url, {"key": 1}, policy=world.policy)
    assert [verb for store in counted for verb, _ in store.log] == ["list", "get", "get"]
    assert found.committed
    assert not found.computed
    assert read_mark(found) == mark
    assert contents_of(case) == before


# -- reading what stands ----------------------------------------------------------------------------


@pytest.mark.parametrize("later", [claimed, killed, failed])
def test_a_reader_of_what_stands_looks_for_nothing(
    case: StoreCase, world: World, later: Callable[[str, World], None]
) -> None:
    counted: list[CountingStore] = []

    def count(store: Any) -> CountingStore:
        counted.append(CountingStore(store))
        return counted[-1]

    with world.process(), instrument(count):
        mark = read_mark(compute(case.url, {"key": 1}, world.policy))
        handle = cdir_query(case.url)
        with world.process():
            later(case.url, world)
        for store in counted:
            store.log.clear()
        assert handle.read(FILE) == {"by": mark}
        assert [verb for store in counted for verb, _ in store.log] == ["get"]


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (lambda url, world: compute(url, {"key": 2}, world.policy), NodeReplaced),
        (lambda url, world: cvcache.cdir_remove(cdir(url, policy=world.policy)), NodeRemoved),
        (failed, ItemDamaged),
    ],
    ids=["replaced", "removed", "it stands"],
)
def test_what_is_missing_is_told_by_what_became_of_its_commit(
    case: StoreCase, world: World, end: Callable[[str, World], object], error: type[Exception]
) -> None:
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
        handle = cdir_query(case.url)
        end(case.url, world)
        with contextlib.suppress(FileNotFoundError, KeyError):
            case.delete(FILE)
        with pytest.raises(error):
            handle.read(FILE)


# -- claims that discard ----------------------------------------------------------------------------


def discarding(world: World) -> Policy:
    return dataclasses.replace(world.policy, keep_old=False)


def test_a_discarding_claim_ends_what_stands_and_deletes_it_before_its_first_byte(
    case: StoreCase, world: World
) -> None:
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
        case.put("notes.txt", b"mine")
        cdir_init(case.url, {"key": 2}, policy=discarding(world))
        assert not {FILE, f"{PAIR}/a", OWN} & case.snapshot().keys()
        assert case.read("notes.txt") == b"mine"
        assert not cdir_query(case.url).committed
    newest = records_of(case)[-1]
    assert (newest["state"], newest["discards"]) == ("claimed", newest["seq"])
    assert "standing" not in newest
    assert newest["first"] == [2, records_of(case)[1]["after"]]


def test_a_claim_after_a_removal_deletes_what_landed_after_it(case: StoreCase, world: World) -> None:
    with world.process():
        for key in (1, 2):
            node = compute(case.url, {"key": key}, world.policy)
        root = records_of(case)[-1]["root"]
        cvcache.cdir_remove(node)
        case.put(f"{root}/{FILE}", b"late")
        cdir_init(case.url, {"key": 3}, policy=world.policy)
    newest = records_of(case)[-1]
    assert (newest["state"], newest["discards"]) == ("claimed", newest["seq"])
    assert f"{root}/{FILE}" not in case.snapshot()


def test_until_the_next_commit_each_record_says_what_was_discarded(case: StoreCase, world: World) -> None:
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
        with contextlib.suppress(ZeroDivisionError), cdir_init(case.url, {"key": 2}, policy=discarding(world)):
            1 / 0  # noqa: B018 - fails on purpose
        fail(case.url, {"key": 3}, world)
        compute(case.url, {"key": 1}, world.policy)
        fail(case.url, {"key": 4}, world)
    assert [row.get("discards") for row in records_of(case)] == [None] * 2 + [3] * 5 + [None] * 3


def test_what_a_discarding_claim_could_not_delete_its_successor_does(case: StoreCase, world: World) -> None:
    """The disk is full, and the process dies before its sweep; the next one keeps what it computes."""
    with world.process():
        compute(case.url, {"key": 1}, world.policy)
    before = contents_of(case)
    for step in itertools.count(1):
        lay(case, before)
        dead = world.process()
        faulty = FaultyStore(quiet_store(case.url), {step: "crash"})
        with dead.through(lambda _, faulty=faulty: faulty):
            error = attempted(lambda: cdir_init(case.url, {"key": 2}, policy=discarding(world)))
        dead.kill()
        if error is None:
            break
        with world.process():
            compute(case.url, {"key": 2}, world.policy)
        assert not {FILE, f"{PAIR}/a", OWN} & case.snapshot().keys()
    assert step > FEWEST
