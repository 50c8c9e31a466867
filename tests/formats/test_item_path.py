"""What an item path reads is of the commit it is pinned to."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cvcache import NodeReplaced
from cvcache.formats import ItemPath
from cvcache.store import MemoryCache, open_store, record_name, resolve_node
from cvcache.testing import WrapperStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import BucketCase

    from cvcache.store import Store


ATTEMPT = "a" * 16


class Slow(WrapperStore):
    """A bucket that takes a while and writes down what it was asked."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.asked: list[tuple[str, str]] = []
        self.busy = threading.Lock()

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:  # noqa: ARG002 - as the base class
        with self.busy:
            self.asked.append((verb, path))
        time.sleep(0.05)
        return act()


@pytest.fixture
def place(s3_case: BucketCase) -> ItemPath:
    scheme, path, options = resolve_node(s3_case.url)
    store = Slow(open_store(scheme, path, {**options, **s3_case.options}))
    for number in range(16):
        s3_case.put(f"x.zarr/{number}", b"old")
    return ItemPath(store, f"{path}/x.zarr", successor=f"{path}/{record_name(3, ATTEMPT)}", strict=True)


def asked(place: ItemPath) -> list[str]:
    return [verb for verb, _ in place.store.asked]  # type: ignore[attr-defined]  # the fixture's store


def follow(case: BucketCase, state: str, **fields: object) -> None:
    """Put the record that follows the attempt of the place."""
    record = {"seq": 3, "after": ATTEMPT, "attempt": "b" * 16, "state": state, **fields}
    case.put(record_name(3, ATTEMPT), json.dumps(record).encode())


def test_an_unfinished_item_notices_a_replacement_of_the_same_second(place: ItemPath, s3_case: BucketCase) -> None:
    assert place.get("0") == b"old"
    follow(s3_case, "claimed")
    s3_case.put("x.zarr/1", b"new")
    assert replace(place, strict=False).get("1") == b"new"
    with pytest.raises(NodeReplaced):
        place.get("1")


def test_reads_at_the_same_time_share_their_proof(place: ItemPath) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda number: place.get(str(number)), range(16))) == [b"old"] * 16
    assert asked(place).count("get") == 16
    assert asked(place).count("stat") <= 4


def test_every_read_of_an_unfinished_item_has_a_look_that_began_after_it(place: ItemPath) -> None:
    place.get("0")
    place.get("1")
    assert asked(place) == ["get", "stat", "get", "stat"]


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_committed_is_read_without_a_look(place: ItemPath, *, strict: bool) -> None:
    committed = replace(place, committed=True, strict=strict, ram=MemoryCache("1MB"))
    for _ in range(2):
        assert committed.get("0") == b"old"
    assert asked(place) == ["get"]


@pytest.mark.parametrize(
    ("state", "fields", "error"),
    [
        ("committed", {}, NodeReplaced),
        ("removing", {}, NodeReplaced),
        ("claimed", {}, NodeReplaced),  # it discards what stood
        ("claimed", {"standing": {}}, FileNotFoundError),
        ("failed", {"standing": {}}, FileNotFoundError),
        ("claimed", {"standing": {}, "seq": 2, "attempt": ATTEMPT}, NodeReplaced),  # it says that it follows itself
        ("claimed", {"standing": {}, "attempt": "../../x"}, NodeReplaced),
    ],
)
def test_a_missing_part_is_damage_while_its_commit_stands(
    place: ItemPath, s3_case: BucketCase, state: str, fields: dict[str, object], error: type[Exception]
) -> None:
    committed = replace(place, committed=True)
    with pytest.raises(FileNotFoundError):
        committed.get("none")
    follow(s3_case, state, **fields)
    with pytest.raises(error):
        committed.get("none")
