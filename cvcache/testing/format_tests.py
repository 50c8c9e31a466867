"""What every format must do, as a test class: a format's own test is a subclass of a few lines.

::

    class TestMyFormat(FormatTests):
        suffix = "cloud"
        def values(self): return {"two": Cloud([1, 2]), "empty": Cloud([])}
        def refused(self): return {"list": [1, 2]}

A subclass that redefines one of the tests is an error unless it is marked with `cvcache.testing.store_tests.overrides`.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from cvcache import cdir, cdir_init, cdir_query, cdir_remove
from cvcache.errors import ItemDamaged, NotReproducible, UnknownOption
from cvcache.formats import KINDS, Format, ItemPath, find_format
from cvcache.node import CacheDir
from cvcache.store import Store, is_control, layout, strip_control
from cvcache.testing.equal import same, settled
from cvcache.testing.other_process import dtype_of, read_elsewhere
from cvcache.testing.store_tests import ConformanceTests
from cvcache.testing.stores import WrapperStore

T = TypeVar("T")

SMALL = 16 << 10
"""Bytes of JSON that the metadata of a small value may have: they are part of every look at the node."""
PARTS = 4
RECORDED = {"size", "sha256"}
"""What cvcache adds to the metadata of a file."""


class _Noting(WrapperStore):
    """A store that notes which objects of items are put: what lies in ``_cvcache`` is no item's."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.items_put: list[str] = []

    def call(self, verb: str, path: str, act: Callable[[], T], data: bytes | None = None) -> T:  # noqa: ARG002 - as the base has it
        if verb == "put" and strip_control(path) == path:
            self.items_put.append(path)
        return act()


class FormatTests(ConformanceTests):
    """The contract of a format (`cvcache.formats.FormatModule`), by behaviour, in real nodes.

    Attributes
    ----------
    suffix : str
        Of the format, as registered.
    write_options : mapping
        Given whenever a value is written, and never when it is read.
    untold : frozenset of str
        Metadata that the stored bytes alone do not tell.
    stores : sequence of str
        Where items are written, "memory" and "disk".
    """

    suffix: ClassVar[str]
    write_options: ClassVar[Mapping[str, Any]] = {}
    untold: ClassVar[frozenset[str]] = frozenset()
    stores: ClassVar[Sequence[str]] = ("memory", "disk")

    def values(self) -> Mapping[str, Any]:
        """Return objects that come back as they are, each with a name for the report; small ones, made anew."""
        msg = "a subclass of FormatTests gives values(), a dict of name to object"
        raise NotImplementedError(msg)

    def refused(self) -> Mapping[str, Any]:
        """Return objects that would come back changed, each with a name."""
        return {}

    def value(self, name: str, *, refused: bool = False) -> Any:
        """Return one of them, made anew; redefine it where making all takes long."""
        return (self.refused() if refused else self.values())[name]

    def equal(self, written: Any, read: Any) -> bool:
        """Whether `read` is what a user expects of `written`; by default the same in type and content."""
        return same(written, read)

    def alike(self, a: Any, b: Any) -> bool:
        """Whether two objects that were both written, or both read, are the same; by default in type and content."""
        return same(a, b)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test for each value, by name, and in each store."""
        if "where" in metafunc.fixturenames:
            metafunc.parametrize("where", self.stores, indirect=True)
        for fixture in ("values", "refused"):
            if f"of_{fixture}" in metafunc.fixturenames:
                metafunc.parametrize(f"of_{fixture}", list(getattr(self, fixture)()))

    @pytest.fixture
    def url(self, tmp_path: Path) -> Iterator[str]:
        """Give the URL of a node, in memory where the format can be written there."""
        url = f"memory://cvcache-formats/{uuid.uuid4().hex}/node" if "memory" in self.stores else f"{tmp_path}/node"
        yield url
        cdir_remove(url, force=True)

    @pytest.fixture
    def where(self, request: pytest.FixtureRequest, url: str, tmp_path: Path) -> str:
        """Give the URL of a node in memory, and then on disk."""
        return url if request.param == "memory" else f"{tmp_path}/node"

    @pytest.fixture
    def somewhere(self, url: str) -> Iterator[ItemPath]:
        """Give a place of an item in no node."""
        node = cdir(url)
        place = ItemPath(node.store, f"{node.location}/{self.item}")
        yield place
        place.store.delete([place.path, *map(place.at, place.find())])

    @property
    def item(self) -> str:
        """A name for an item of the format."""
        return f"thing.{self.suffix}"

    @property
    def form(self) -> Format:
        """The format, as registered."""
        return find_format(self.item)

    def commit(self, url: str, value: Any) -> CacheDir:
        """Return a committed node with `value` as its one item."""
        with cdir_init(url) as node:
            node.write(self.item, value, **self.write_options)
        return cdir_query(url)

    def test_it_comes_back_the_same_first_and_later(self, where: str, of_values: str) -> None:
        value = self.value(of_values)
        with cdir_init(where) as node:
            first = node.write(self.item, value, **self.write_options).read()
            assert self.equal(self.value(of_values), first), f"{value!r} was read as {first!r}"
        for node in (cdir_query(where), pickle.loads(pickle.dumps(cdir_query(where)))):  # noqa: S301 - the line wrote it
            later = node.read(self.item)
            assert type(first) is type(later)
            assert self.equal(self.value(of_values), later), f"{value!r} was read later as {later!r}"

    def test_another_process_reads_the_same(self, tmp_path: Path) -> None:
        values = self.values()
        names = [f"{i}.{self.suffix}" for i in range(len(values))]
        with cdir_init(tmp_path / "node") as node:
            for name, value in zip(names, values.values(), strict=True):
                node.write(name, value, **self.write_options)
        here = [cdir_query(tmp_path / "node").read(name) for name in names]
        there = read_elsewhere(cdir_query(tmp_path / "node"), names, tmp_path)
        for label, mine, (other, dtype) in zip(values, here, there, strict=True):
            # numpy's pickle turns bytes around
            assert self.alike(pickle.loads(pickle.dumps(mine)), other), label  # noqa: S301 - the line wrote it
            assert dtype == dtype_of(mine), label

    def test_the_object_is_left_as_it_was(self, url: str, of_values: str) -> None:
        value = self.value(of_values)
        self.commit(url, value)
        assert self.alike(self.value(of_values), value)

    def test_the_metadata_is_plain_and_small_and_told_by_the_bytes(self, url: str, of_values: str) -> None:
        node = self.commit(url, self.value(of_values))
        meta = {key: value for key, value in node[self.item].meta.items() if key not in RECORDED}
        text = json.dumps(meta, allow_nan=False)
        assert json.loads(text) == meta
        assert len(text) < SMALL
        assert meta["kind"] in KINDS
        place = ItemPath(node.store, f"{node.location}/{self.item}")
        sizes = [info.size for info in place.find().values()] or [len(place.get())]
        assert meta["bytes"] == sum(sizes)
        assert self.form.describe(place) == {key: meta[key] for key in meta if key not in self.untold}

    def test_each_byte_is_put_under_the_guard(self, somewhere: ItemPath, of_values: str) -> None:
        entered: list[str] = []

        @contextlib.contextmanager
        def guard() -> Iterator[None]:
            entered.append("")
            yield

        store = _Noting(somewhere.store)
        self.form.write(ItemPath(store, somewhere.path, guard=guard), self.value(of_values), **self.write_options)
        assert len(store.items_put) <= (len(entered) if self.form.directory else 1) <= len(entered)
        folder, _, name = somewhere.path.rpartition("/")
        listing = somewhere.store.list(folder)
        assert set(listing.files) == (set() if self.form.directory else {name})
        assert {name for name in listing.dirs if not is_control(name)} == ({name} if self.form.directory else set())

    def test_damage_is_never_read_as_a_result(self, where: str, of_values: str) -> None:
        node = self.commit(where, self.value(of_values))
        damage = self._damage_parts if self.form.directory else self._damage_file
        damage(ItemPath(node.store, f"{node.location}/{self.item}"), node, self.value(of_values))

    def _damage_file(self, place: ItemPath, node: CacheDir, value: Any) -> None:
        data = place.get()
        flipped = [data[:-1] + bytes([data[-1] ^ 1])] if data else []
        for damaged in {data[:-1], data[: len(data) // 2], b"", *flipped, data + b"\0"} - {data}:
            place.store.put(place.path, damaged)
            self._read_or_damage(node, value, f"{damaged[:80]!r}...")

    def _read_or_damage(self, node: CacheDir, value: Any, damaged: object) -> None:
        with contextlib.suppress(ItemDamaged):
            read = cdir_query(node).read(self.item)
            assert self.equal(value, read), f"of {damaged} another object was read"

    def _damage_parts(self, place: ItemPath, node: CacheDir, value: Any) -> None:
        """Take parts away or cut them."""
        parts = {key: place.get(key) for key in place.find()}
        for damaged in [[key] for key in list(parts)[:PARTS]] + [list(parts)]:
            for cut in (False, True):
                for key in damaged:
                    place.store.delete([place.at(key)])
                    if cut:
                        place.store.put(place.at(key), parts[key][: len(parts[key]) // 2])
                self._read_or_damage(node, value, damaged)
            for key in damaged:
                place.store.put(place.at(key), parts[key])

    def test_bytes_of_something_else_raise_nothing_but_damage(self, somewhere: ItemPath, of_values: str) -> None:
        meta = self.form.write(somewhere, self.value(of_values), **self.write_options)
        whole = somewhere.get() if not self.form.directory else b""
        for key in somewhere.find() or [""]:
            for data in (b"", b"\0\xffwhat is this", b"{}", b"[[1]]", whole[: len(whole) // 2]):
                somewhere.store.put(somewhere.at(key), data)
                for known in ({}, meta):
                    place = ItemPath(somewhere.store, somewhere.path, known)
                    with contextlib.suppress(ItemDamaged):
                        settled(self.form.read(place))
                    with contextlib.suppress(ItemDamaged):
                        self.form.describe(place)

    def test_a_missing_item_is_not_found(self, somewhere: ItemPath) -> None:
        with pytest.raises(FileNotFoundError):
            self.form.read(somewhere)
        with pytest.raises(FileNotFoundError):
            self.form.describe(somewhere)

    def test_an_unknown_option_is_refused(self, url: str, of_values: str) -> None:
        value = self.value(of_values)
        with cdir_init(url) as node:
            with pytest.raises(UnknownOption, match="no_such_option"):
                node.write(self.item, value, **{**self.write_options, "no_such_option": 1})
            assert node.items() == []
            node.write(self.item, value, **self.write_options)
            with pytest.raises(UnknownOption, match="no_such_option"):
                node.read(self.item, no_such_option=1)

    def test_what_would_change_is_refused_and_nothing_is_written(self, where: str, of_refused: str) -> None:
        with cdir_init(where) as node:
            with pytest.raises(NotReproducible) as caught:
                node.write(self.item, self.value(of_refused, refused=True), **self.write_options)
            assert self.item in str(caught.value)
            assert self.item not in node
            path = f"{node.location}/{self.item}"
            assert node.store.stat(path) is None
            assert node.store.find(path) == {}
            assert not any(self.item in name for name in node.store.find(layout.announcements_dir(node.location)))
