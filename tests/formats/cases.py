"""What every format must do; a format's test is a subclass that names good and bad objects."""

from __future__ import annotations

import contextlib
import json
import pickle
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from cvcache.errors import NotReproducible, UnknownOption
from cvcache.formats import KINDS, Format, find_format
from cvcache.formats.place import Place
from cvcache.store.memory import MemoryStore

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


def new_place(name: str) -> Place:
    return Place(CountingStore(), f"test/{uuid.uuid4().hex}/{name}")


def assert_same(a: object, b: object) -> None:
    """Assert that two values are equal in type, dtype, shape, order and key types, all the way down."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        np.testing.assert_array_equal(a, b, strict=True)
    elif isinstance(a, dict):
        assert [(type(key), key) for key in a] == [(type(key), key) for key in b]  # type: ignore[attr-defined]
        for key, value in a.items():
            assert_same(value, b[key])  # type: ignore[index]
    elif isinstance(a, list):
        assert len(a) == len(b)  # type: ignore[arg-type]
        for x, y in zip(a, b, strict=True):  # type: ignore[call-overload]
            assert_same(x, y)
    elif type(a).__module__.startswith("dask"):
        assert (a.dtype, a.chunks) == (b.dtype, b.chunks)  # type: ignore[attr-defined]
        assert_same(a.compute(), b.compute())  # type: ignore[attr-defined]
    elif type(a).__module__.startswith("pandas"):
        import pandas as pd

        pd.testing.assert_frame_equal(a, b, check_exact=True)  # type: ignore[arg-type]
    else:
        assert repr(a) == repr(b)


class FormatTests:
    """Conformance of one format.

    ``name`` is an item name; ``good`` and ``bad`` map a label to a function of no arguments that makes
    an object; ``described_less`` names metadata that the stored bytes alone do not tell.
    """

    name: ClassVar[str]
    good: ClassVar[dict[str, Any]]
    bad: ClassVar[dict[str, Any]]
    described_less: ClassVar[frozenset[str]] = frozenset()
    wrong_option = "lvel"

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        cls = metafunc.cls
        assert cls is not None
        for fixture in ("good", "bad"):
            if f"make_{fixture}" in metafunc.fixturenames:
                cases = getattr(cls, fixture)
                metafunc.parametrize(f"make_{fixture}", list(cases.values()), ids=list(cases))

    @pytest.fixture
    def place(self) -> Iterator[Place]:
        place = new_place(self.name)
        yield place
        place.store.delete([place.path, *(place.at(key) for key in place.find())])

    @pytest.fixture
    def form(self) -> Format:
        return find_format(self.name)

    def test_comes_back_as_it_went_in(self, place: Place, form: Format, make_good: Any) -> None:
        meta = form.write(place, make_good())
        later = Place(place.store, place.path, json.loads(json.dumps(meta)))
        assert_same(make_good(), form.read(later))
        assert_same(form.read(later), form.read(later))

    def test_metadata_is_plain_small_and_told_by_the_bytes(self, place: Place, form: Format, make_good: Any) -> None:
        meta = form.write(place, make_good())
        assert json.loads(json.dumps(meta, allow_nan=False)) == meta
        assert meta["kind"] in KINDS
        stored = place.find() or {"": place.store.stat(place.path)}
        assert meta["bytes"] == sum(info.size for info in stored.values() if info)
        described = form.describe(Place(place.store, place.path))
        assert described == {key: value for key, value in meta.items() if key not in self.described_less}

    def test_a_file_format_puts_one_object_under_the_guard(self, place: Place, form: Format, make_good: Any) -> None:
        entered: list[str] = []

        @contextlib.contextmanager
        def guard() -> Iterator[None]:
            entered.append("")
            yield

        form.write(Place(place.store, place.path, guard=guard), make_good())
        puts = place.store.paths("put")  # type: ignore[attr-defined]
        assert len(puts) == len(set(puts)) == len(entered)
        if form.directory:
            assert place.store.stat(place.path) is None
        else:
            assert puts == [place.path]

    def test_what_would_change_is_refused_before_anything_is_written(
        self, place: Place, form: Format, make_bad: Any
    ) -> None:
        with pytest.raises(NotReproducible) as caught:
            form.write(place, make_bad())
        assert place.url in str(caught.value)
        assert place.store.paths("put") == []  # type: ignore[attr-defined]

    def test_an_unknown_option_is_refused(self, place: Place, form: Format, make_good: Any) -> None:
        with pytest.raises(UnknownOption, match=self.wrong_option):
            form.write(place, make_good(), **{self.wrong_option: 1})
        assert place.store.paths("put") == []  # type: ignore[attr-defined]
        with pytest.raises(UnknownOption, match=self.wrong_option):
            form.read(place, **{self.wrong_option: 1})

    def test_a_missing_item_is_not_found(self, place: Place, form: Format) -> None:
        with pytest.raises(FileNotFoundError):
            form.read(place)
        with pytest.raises(FileNotFoundError):
            form.describe(place)

    def test_the_format_can_be_pickled(self, form: Format) -> None:
        assert pickle.loads(pickle.dumps(form)) == form  # noqa: S301
