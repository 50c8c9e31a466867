"""The contract of a store, as a test class: the test of a store is a subclass of a few lines.

::

    class TestMyStore(StoreTests):
        @pytest.fixture
        def store(self): return MyStore(...)
        @pytest.fixture
        def root(self): return "bucket/a-fresh-prefix"

A subclass that redefines one of the tests is an error unless it is marked with `overrides`.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from cvcache.store import Store, is_control

F = TypeVar("F", bound=Callable[..., Any])

RACERS = 16
ODD_NAMES = (
    "plain.txt",
    "with space.txt",
    "umlaut-\u00fc.txt",
    "percent%20.txt",
    "hash#1.txt",
    "plus+1&2.txt",
    "g[1].txt",
    "q?.txt",
    "star*.txt",
)


def overrides(test: F) -> F:
    """Mark a test that replaces a test of the base class on purpose."""
    vars(test)["__cvcache_overrides__"] = True
    return test


class ConformanceTests:
    """A base class whose tests cannot be overridden by accident."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, member in vars(cls).items():
            inherited = any(name in vars(base) for base in cls.__mro__[1:] if issubclass(base, ConformanceTests))
            if name.startswith("test_") and inherited and not getattr(member, "__cvcache_overrides__", False):
                msg = f"{cls.__name__}.{name} hides a test all must pass; rename it, or mark it with @overrides"
                raise TypeError(msg)


class StoreTests(ConformanceTests):
    """The behaviour of the methods of `cvcache.store.base.Store`."""

    @pytest.fixture
    def store(self) -> Store:
        """Give the store to test."""
        msg = "a subclass of StoreTests gives the fixture 'store'"
        raise NotImplementedError(msg)

    @pytest.fixture
    def root(self) -> str:
        """Give a fresh full key below which the tests may write."""
        msg = "a subclass of StoreTests gives the fixture 'root'"
        raise NotImplementedError(msg)

    def test_get_returns_what_was_put(self, store: Store, root: str) -> None:
        store.put(f"{root}/a", b"one")
        store.put(f"{root}/a", b"other")
        assert store.get(f"{root}/a") == b"other"

    def test_copy_makes_another_object(self, store: Store, root: str) -> None:
        store.put(f"{root}/a", b"one")
        store.copy(f"{root}/a", f"{root}/deep/b")
        store.put(f"{root}/a", b"other")
        assert store.get(f"{root}/deep/b") == b"one"
        store.copy(f"{root}/a", f"{root}/deep/b")
        assert store.get(f"{root}/deep/b") == b"other"
        with pytest.raises(FileNotFoundError):
            store.copy(f"{root}/absent", f"{root}/c")

    def test_empty_object(self, store: Store, root: str) -> None:
        store.put(f"{root}/empty", b"")
        assert store.get(f"{root}/empty") == b""
        info = store.stat(f"{root}/empty")
        assert info is not None
        assert info.size == 0

    def test_get_ranges(self, store: Store, root: str) -> None:
        store.put(f"{root}/a", b"0123456789")
        assert store.get(f"{root}/a", 2, 5) == b"234"
        assert store.get(f"{root}/a", 8) == b"89"
        assert store.get(f"{root}/a", -3) == b"789"
        assert store.get(f"{root}/a", 0, 65) == b"0123456789"

    def test_get_ranges_that_hold_nothing(self, store: Store, root: str) -> None:
        """Like a slice of the bytes: an empty, torn record is read with a limit, too."""
        store.put(f"{root}/empty", b"")
        store.put(f"{root}/a", b"0123456789")
        assert store.get(f"{root}/empty", 0, 65) == b""
        assert store.get(f"{root}/a", 10, 65) == b""
        assert store.get(f"{root}/a", 11) == b""
        assert store.get(f"{root}/a", -65) == b"0123456789"

    def test_missing_is_file_not_found(self, store: Store, root: str) -> None:
        with pytest.raises(FileNotFoundError):
            store.get(f"{root}/absent")
        with pytest.raises(FileNotFoundError):
            store.get(f"{root}/absent", 0, 10)
        assert store.stat(f"{root}/absent") is None

    def test_a_prefix_is_no_object(self, store: Store, root: str) -> None:
        store.put(f"{root}/deep/er/a", b"1")
        assert store.stat(f"{root}/deep") is None
        with pytest.raises(FileNotFoundError):
            store.get(f"{root}/deep")

    def test_below_an_object_is_nothing(self, store: Store, root: str) -> None:
        store.put(f"{root}/a", b"1")
        assert not store.list(f"{root}/a")
        assert store.find(f"{root}/a") == {}
        assert store.stat(f"{root}/a/b") is None
        with pytest.raises(FileNotFoundError):
            store.get(f"{root}/a/b")

    def test_put_new_creates_once(self, store: Store, root: str) -> None:
        assert store.put_new(f"{root}/log/1", b"mine")
        assert not store.put_new(f"{root}/log/1", b"theirs")
        assert store.get(f"{root}/log/1") == b"mine"

    def test_put_new_recognises_its_own_object(self, store: Store, root: str) -> None:
        """After a lost reply the same bytes are sent again: the caller has still won."""
        assert store.put_new(f"{root}/log/1", b"mine")
        assert store.put_new(f"{root}/log/1", b"mine")

    def test_put_new_elects_one_of_many_threads(self, store: Store, root: str) -> None:
        barrier = threading.Barrier(RACERS)

        def race(number: int) -> bool:
            barrier.wait()
            return store.put_new(f"{root}/log/race", f"racer {number}".encode())

        for round_ in range(3):
            store.delete([f"{root}/log/race"])
            with ThreadPoolExecutor(RACERS) as pool:
                won = list(pool.map(race, range(RACERS)))
            assert won.count(True) == 1, f"round {round_}"
            assert store.get(f"{root}/log/race") == f"racer {won.index(True)}".encode()

    def test_list_is_one_level(self, store: Store, root: str) -> None:
        for name in ("a", "b.zarr/zarr.json", "c/d/e"):
            store.put(f"{root}/{name}", b"12")
        listing = store.list(root)
        assert set(listing.files) == {"a"}
        assert listing.files["a"].size == 2
        assert {name for name in listing.dirs if not is_control(name)} == {"b.zarr", "c"}

    def test_names_are_those_of_one_level(self, store: Store, root: str) -> None:
        for name in ("a", "b.json", "c/d/e"):
            store.put(f"{root}/{name}", b"12")
        assert {name for name in store.names(root) if not is_control(name)} - {"c"} == {"a", "b.json"}
        assert not store.names(f"{root}/nothing/here")
        assert not store.names(f"{root}/a")

    def test_list_of_nothing_is_empty(self, store: Store, root: str) -> None:
        assert not store.list(f"{root}/nothing/here")
        assert store.find(f"{root}/nothing/here") == {}

    def test_list_with_a_limit_gives_names_that_are_there(self, store: Store, root: str) -> None:
        for name in "abc":
            store.put(f"{root}/n/{name}", b"1")
        few, all_of_them = store.list(f"{root}/n", 2), store.list(f"{root}/n", 1000)
        assert len(few.files) >= 2
        assert set(few.files) <= set(all_of_them.files) == {"a", "b", "c"}
        assert not all_of_them.more

    def test_list_does_not_mix_up_prefixes(self, store: Store, root: str) -> None:
        store.put(f"{root}/node/a", b"1")
        store.put(f"{root}/node2/b", b"1")
        store.put(f"{root}/node.txt", b"1")
        assert set(store.list(f"{root}/node").files) == {"a"}
        assert set(store.find(f"{root}/node")) == {"a"}

    def test_find_is_all_levels(self, store: Store, root: str) -> None:
        for name in ("x.zarr/zarr.json", "x.zarr/0/c/0/0", "x.zarr/0/c/0/1"):
            store.put(f"{root}/{name}", b"1")
        assert set(store.find(f"{root}/x.zarr")) == {"zarr.json", "0/c/0/0", "0/c/0/1"}

    def test_delete_takes_exact_keys(self, store: Store, root: str) -> None:
        for name in ODD_NAMES:
            store.put(f"{root}/{name}", name.encode())
        store.delete([f"{root}/g[1].txt", f"{root}/star*.txt", f"{root}/absent"])
        assert set(store.list(root).files) == set(ODD_NAMES) - {"g[1].txt", "star*.txt"}

    def test_delete_of_a_prefix_takes_nothing(self, store: Store, root: str) -> None:
        store.put(f"{root}/n/a", b"1")
        store.delete([f"{root}/n", f"{root}/n/"])
        assert set(store.find(root)) >= {"n/a"}

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_names_come_back(self, store: Store, root: str, name: str) -> None:
        store.put(f"{root}/{name}", name.encode())
        assert store.get(f"{root}/{name}") == name.encode()
        assert name in store.list(root).files

    def test_delete_leaves_no_empty_directories_within(self, store: Store, root: str) -> None:
        store.put(f"{root}/n/x.zarr/0/c/0", b"1")
        store.put(f"{root}/n/keep", b"1")
        store.delete([f"{root}/n/x.zarr/0/c/0"], within=f"{root}/n/x.zarr")
        assert "x.zarr" not in store.list(f"{root}/n").dirs
        assert set(store.list(f"{root}/n").files) == {"keep"}

    def test_open_writes_whole_objects(self, store: Store, root: str) -> None:
        file = store.open(f"{root}/n/a", "wb")
        file.write(b"half")
        assert store.stat(f"{root}/n/a") is None
        file.write(b" and half")
        file.close()
        with store.open(f"{root}/n/a", "rb") as opened:
            assert opened.read() == b"half and half"

    def test_open_reads_anywhere(self, store: Store, root: str) -> None:
        store.put(f"{root}/a", b"0123456789")
        with store.open(f"{root}/a", "rb") as file:
            assert file.read(2) == b"01"
            assert file.seek(-3, 2) == 7
            assert file.read() == b"789"
            assert file.read() == b""
            file.seek(4)
            assert file.read(1) == b"4"
        with pytest.raises(FileNotFoundError):
            store.open(f"{root}/absent", "rb")

    def test_open_keeps_nothing_after_an_error(self, store: Store, root: str) -> None:
        def fail_half_way() -> None:
            with store.open(f"{root}/n/a", "wb") as file:
                file.write(b"half")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail_half_way()
        assert store.stat(f"{root}/n/a") is None

    def test_another_client_is_seen_at_once(self, store: Store, root: str) -> None:
        """Nothing is cached between two calls."""
        for turn in range(5):
            assert store.stat(f"{root}/t/{turn}") is None
            store.list(f"{root}/t")
            store.put(f"{root}/t/{turn}", b"%d" % turn)
            assert f"{turn}" in store.list(f"{root}/t").files
            store.delete([f"{root}/t/{turn}"])
            assert f"{turn}" not in store.list(f"{root}/t").files

    def test_it_says_whether_it_elects(self, store: Store, root: str) -> None:
        before = store.find(root)
        assert store.exclusive(root) is True
        assert store.find(root) == before

    def test_pickles_without_secrets(self, store: Store) -> None:
        assert b"canary" not in pickle.dumps(store)
