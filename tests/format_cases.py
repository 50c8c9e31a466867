"""The conformance of the built-in formats, and a place in no node for what is special about each."""

from __future__ import annotations

import pickle
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from cvcache.formats import ItemWrite, find_format
from cvcache.store import MemoryStore
from cvcache.testing import FormatTests as PublicTests
from cvcache.testing import values_equal

if TYPE_CHECKING:
    from collections.abc import Iterator


class CountingStore(MemoryStore):
    """A memory store that notes each call as (verb, key below the last ``/item``)."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, str]] = []

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        self.calls.append(("get", path))
        return super().get(path, start, end)

    def put(self, path: str, data: bytes) -> None:
        self.calls.append(("put", path))
        super().put(path, data)

    def find(self, path: str) -> Any:
        self.calls.append(("find", path))
        return super().find(path)

    def paths(self, verb: str) -> list[str]:
        return [path for name, path in self.calls if name == verb]


def new_place(name: str) -> ItemWrite:
    return ItemWrite(CountingStore(), f"test/{uuid.uuid4().hex}/{name}")


def assert_same(a: object, b: object) -> None:
    """Assert that two values are equal in type, dtype, shape, order and key types, all the way down."""
    assert values_equal(a, b), f"{a!r} and {b!r}"


class FormatTests(PublicTests):
    """The public conformance of one format, for values that are made anew each time.

    ``name`` is an item name; ``good`` and ``bad`` map a label to a function of no arguments that makes an object.
    """

    name: ClassVar[str]
    good: ClassVar[dict[str, Any]]
    bad: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.suffix = find_format(cls.name).suffix

    @property
    def item_name(self) -> str:
        return self.name

    def values(self) -> dict[str, Any]:
        return {label: make() for label, make in self.good.items()}

    def refused(self) -> dict[str, Any]:
        return {label: make() for label, make in self.bad.items()}

    def value(self, name: str, *, refused: bool = False) -> Any:
        return (self.bad if refused else self.good)[name]()

    @pytest.fixture
    def place(self) -> Iterator[ItemWrite]:
        place = new_place(self.name)
        yield place
        place.store.delete([place.path, *(place.at(key) for key in place.find())])

    def test_the_format_can_be_pickled(self) -> None:
        assert self.format.module
        assert pickle.loads(pickle.dumps(self.format)) == self.format  # noqa: S301
