"""What an item path reads is of the commit it is pinned to."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from cvcache import NodeReplaced
from cvcache.formats import ItemPath
from cvcache.store import MemoryCache, open_store, resolve_node
from cvcache.testing import WrapperStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import BucketCase

    from cvcache.store import Store


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
    return ItemPath(store, f"{path}/x.zarr", successor=f"{path}/successor", committed=True, strict=True)


def test_what_is_strict_notices_a_replacement_of_the_same_second(place: ItemPath, s3_case: BucketCase) -> None:
    assert place.get("0") == b"old"
    s3_case.put("successor", b"{}")
    s3_case.put("x.zarr/1", b"new")
    lenient = ItemPath(place.store, place.path, successor=place.pin, committed=True)
    assert lenient.get("1") == b"new"
    with pytest.raises(NodeReplaced):
        place.get("1")


def test_reads_at_the_same_time_share_their_proof(place: ItemPath) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda number: place.get(str(number)), range(16))) == [b"old"] * 16
    asked = [verb for verb, _ in place.store.asked]  # type: ignore[attr-defined]  # the fixture's store
    assert asked.count("get") == 16
    assert asked.count("stat") <= 4


def test_every_read_has_a_look_that_began_after_it(place: ItemPath) -> None:
    place.get("0")
    place.get("1")
    assert [verb for verb, _ in place.store.asked] == ["get", "stat", "get", "stat"]  # type: ignore[attr-defined]  # the fixture's store


def test_what_is_in_memory_was_proved_and_asks_for_nothing(place: ItemPath, s3_case: BucketCase) -> None:
    place = replace(place, ram=MemoryCache("1MB"))
    assert place.get("0") == b"old"
    before = len(place.store.asked)  # type: ignore[attr-defined]  # the fixture's store
    assert place.get("0") == b"old"
    assert len(place.store.asked) == before  # type: ignore[attr-defined]  # the fixture's store
    s3_case.put("successor", b"{}")
    s3_case.put("x.zarr/1", b"new")
    with pytest.raises(NodeReplaced):
        place.get("1")
    assert place.ram.get((place.pin, place.path, "1", None, None)) is None
