"""The contract of a format, as a test class: the test of a format is a subclass of a few lines.

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
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest

from cvcache import cdir, cdir_init, cdir_query, cdir_remove
from cvcache.errors import ItemDamaged, NotReproducible, UnknownOption
from cvcache.formats import KINDS, Format, ItemPath, ItemWrite, find_format
from cvcache.node import CacheDir, address_of
from cvcache.store import Store, is_control, layout, strip_control
from cvcache.testing.equal import materialize, values_equal
from cvcache.testing.other_process import dtype_of, read_in_other_process
from cvcache.testing.store_tests import ConformanceTests
from cvcache.testing.stores import WrapperStore

T = TypeVar("T")

MAX_META_BYTES = 16 << 10
"""Limit of the metadata of a small value in bytes of JSON: it is read with every record."""
MAX_DAMAGED_PARTS = 4
RECORDED_META = {"size", "sha256"}
"""Metadata that cvcache adds for a file."""


class _PutRecorder(WrapperStore):
    """A store that records the paths of objects of items that are put; not those in ``_cvcache``."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.items_put: list[str] = []

    def call(self, verb: str, path: str, act: Callable[[], T], data: bytes | None = None) -> T:  # noqa: ARG002 - as the base has it
        if verb == "put" and strip_control(path) == path:
            self.items_put.append(path)
        return act()


class _CountedWrite(ItemWrite):
    """A write that counts how often it asked for the right to write."""

    count = 0

    def writing(self) -> AbstractContextManager[None]:
        self.count += 1
        return super().writing()


class FormatTests(ConformanceTests):
    """The behaviour of a format (`cvcache.formats.FormatModule`), tested in real nodes.

    Attributes
    ----------
    suffix : str
        The suffix of the format, as registered.
    write_options : mapping
        Options for every write, and for no read.
    untold : frozenset of str
        Metadata that `describe` cannot derive from the stored bytes.
    stores : sequence of str
        The stores to test: "memory" and "disk".
    """

    suffix: ClassVar[str]
    write_options: ClassVar[Mapping[str, Any]] = {}
    untold: ClassVar[frozenset[str]] = frozenset()
    stores: ClassVar[Sequence[str]] = ("memory", "disk")

    def values(self) -> Mapping[str, Any]:
        """Return new, small objects that are read back unchanged, each with a name for the report."""
        msg = "a subclass of FormatTests gives values(), a dict of name to object"
        raise NotImplementedError(msg)

    def refused(self) -> Mapping[str, Any]:
        """Return objects that would be read back changed, each with a name."""
        return {}

    def value(self, name: str, *, refused: bool = False) -> Any:
        """Return one new object by its name; override this if creating all of them is slow."""
        return (self.refused() if refused else self.values())[name]

    def equal(self, written: Any, read: Any) -> bool:
        """Whether `read` is what a user expects of `written`; by default the same in type and content."""
        return values_equal(written, read)

    def alike(self, a: Any, b: Any) -> bool:
        """Whether two objects that were both written, or both read, are equal; by default in type and content."""
        return values_equal(a, b)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run a test for each value, by name, and in each store."""
        if "where" in metafunc.fixturenames:
            metafunc.parametrize("where", self.stores, indirect=True)
        for fixture in ("values", "refused"):
            if f"of_{fixture}" in metafunc.fixturenames:
                metafunc.parametrize(f"of_{fixture}", list(getattr(self, fixture)()))

    @pytest.fixture
    def url(self, tmp_path: Path) -> Iterator[str]:
        """Give the URL of a node, in memory if the format can be written there."""
        url = f"memory://cvcache-formats/{uuid.uuid4().hex}/node" if "memory" in self.stores else f"{tmp_path}/node"
        yield url
        cdir_remove(url, force=True)

    @pytest.fixture
    def where(self, request: pytest.FixtureRequest, url: str, tmp_path: Path) -> str:
        """Give the URL of a node in memory, and then on disk."""
        return url if request.param == "memory" else f"{tmp_path}/node"

    @pytest.fixture
    def item(self, url: str) -> Iterator[ItemWrite]:
        """Give the path of an item whose node does not exist."""
        item = self.path_of_item(cdir(url))
        yield item
        item.store.delete([item.path, *map(item.at, item.find())])

    def path_of_item(self, node: CacheDir) -> ItemWrite:
        """Return the path of the item in a node that writes in place."""
        address = address_of(node)
        return ItemWrite(address.store, f"{address.path}/{self.item_name}")

    @property
    def item_name(self) -> str:
        """A name for an item of the format."""
        return f"thing.{self.suffix}"

    @property
    def format(self) -> Format:
        """The format, as registered."""
        return find_format(self.item_name)

    def commit(self, url: str, value: Any) -> CacheDir:
        """Return a committed node with `value` as its one item."""
        with cdir_init(url) as node:
            node.write(self.item_name, value, **self.write_options)
        return cdir_query(url)

    def test_it_comes_back_the_same_first_and_later(self, where: str, of_values: str) -> None:
        value = self.value(of_values)
        with cdir_init(where) as node:
            first = node.write(self.item_name, value, **self.write_options).read()
            assert self.equal(self.value(of_values), first), f"{value!r} was read as {first!r}"
        for node in (cdir_query(where), pickle.loads(pickle.dumps(cdir_query(where)))):  # noqa: S301 - the line wrote it
            later = node.read(self.item_name)
            assert type(first) is type(later)
            assert self.equal(self.value(of_values), later), f"{value!r} was read later as {later!r}"

    def test_another_process_reads_the_same(self, tmp_path: Path) -> None:
        values = self.values()
        names = [f"{i}.{self.suffix}" for i in range(len(values))]
        with cdir_init(tmp_path / "node") as node:
            for name, value in zip(names, values.values(), strict=True):
                node.write(name, value, **self.write_options)
        here = [cdir_query(tmp_path / "node").read(name) for name in names]
        there = read_in_other_process(cdir_query(tmp_path / "node"), names, tmp_path)
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
        meta = {key: value for key, value in node[self.item_name].meta.items() if key not in RECORDED_META}
        text = json.dumps(meta, allow_nan=False)
        assert json.loads(text) == meta
        assert len(text) < MAX_META_BYTES
        assert meta["kind"] in KINDS
        item = self.path_of_item(node)
        sizes = [info.size for info in item.find().values()] or [len(item.get())]
        assert meta["bytes"] == sum(sizes)
        assert self.format.describe(item) == {key: meta[key] for key in meta if key not in self.untold}

    def test_each_byte_is_put_under_the_guard(self, item: ItemPath, of_values: str) -> None:
        guarded = _CountedWrite(store := _PutRecorder(item.store), item.path)
        self.format.write(guarded, self.value(of_values), **self.write_options)
        count = guarded.count
        assert len(store.items_put) <= (count if self.format.directory else 1) <= count
        folder, _, name = item.path.rpartition("/")
        listing = item.store.list(folder)
        assert set(listing.files) == (set() if self.format.directory else {name})
        assert {name for name in listing.dirs if not is_control(name)} == ({name} if self.format.directory else set())

    def test_damage_is_never_read_as_a_result(self, where: str, of_values: str) -> None:
        node = self.commit(where, self.value(of_values))
        damage = self._damage_parts if self.format.directory else self._damage_file
        damage(self.path_of_item(node), node, self.value(of_values))

    def _damage_file(self, item: ItemPath, node: CacheDir, value: Any) -> None:
        data = item.get()
        flipped = [data[:-1] + bytes([data[-1] ^ 1])] if data else []
        for damaged in {data[:-1], data[: len(data) // 2], b"", *flipped, data + b"\0"} - {data}:
            item.store.put(item.path, damaged)
            self._read_or_damage(node, value, f"{damaged[:80]!r}...")

    def _read_or_damage(self, node: CacheDir, value: Any, damaged: object) -> None:
        with contextlib.suppress(ItemDamaged):
            read = cdir_query(node).read(self.item_name)
            assert self.equal(value, read), f"of {damaged} another object was read"

    def _damage_parts(self, item: ItemPath, node: CacheDir, value: Any) -> None:
        """Delete or truncate objects of the item."""
        parts = {key: item.get(key) for key in item.find()}
        for damaged in [[key] for key in list(parts)[:MAX_DAMAGED_PARTS]] + [list(parts)]:
            for cut in (False, True):
                for key in damaged:
                    item.store.delete([item.at(key)])
                    if cut:
                        item.store.put(item.at(key), parts[key][: len(parts[key]) // 2])
                self._read_or_damage(node, value, damaged)
            for key in damaged:
                item.store.put(item.at(key), parts[key])

    def test_bytes_of_something_else_raise_nothing_but_damage(self, item: ItemWrite, of_values: str) -> None:
        meta = self.format.write(item, self.value(of_values), **self.write_options)
        file_bytes = item.get() if not self.format.directory else b""
        for key in item.find() or [""]:
            for data in (b"", b"\0\xffwhat is this", b"{}", b"[[1]]", file_bytes[: len(file_bytes) // 2]):
                item.store.put(item.at(key), data)
                for row in ({}, meta):
                    with_row = ItemPath(item.store, item.path, row)
                    with contextlib.suppress(ItemDamaged):
                        materialize(self.format.read(with_row))
                    with contextlib.suppress(ItemDamaged):
                        self.format.describe(with_row)

    def test_a_missing_item_is_not_found(self, item: ItemPath) -> None:
        with pytest.raises(FileNotFoundError):
            self.format.read(item)
        with pytest.raises(FileNotFoundError):
            self.format.describe(item)

    def test_an_unknown_option_is_refused(self, url: str, of_values: str) -> None:
        value = self.value(of_values)
        with cdir_init(url) as node:
            with pytest.raises(UnknownOption, match="no_such_option"):
                node.write(self.item_name, value, **{**self.write_options, "no_such_option": 1})
            assert node.items() == []
            node.write(self.item_name, value, **self.write_options)
            with pytest.raises(UnknownOption, match="no_such_option"):
                node.read(self.item_name, no_such_option=1)

    def test_what_would_change_is_refused_and_nothing_is_written(self, where: str, of_refused: str) -> None:
        with cdir_init(where) as node:
            with pytest.raises(NotReproducible) as caught:
                node.write(self.item_name, self.value(of_refused, refused=True), **self.write_options)
            assert self.item_name in str(caught.value)
            assert self.item_name not in node
            store, path = address_of(node).store, address_of(node).path
            assert store.stat(f"{path}/{self.item_name}") is None
            assert store.find(f"{path}/{self.item_name}") == {}
            assert not any(self.item_name in name for name in store.find(layout.announcements_dir(path)))
