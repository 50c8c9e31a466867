"""npy, npz, zarr and images in one zip: conformance and what is special about each."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, ClassVar

import dask.array as da
import numpy as np
import pytest
from format_cases import FormatTests

from cvcache.errors import ItemDamaged, NotReproducible
from cvcache.formats import ItemPath, find_format

if TYPE_CHECKING:
    from cvcache.formats import ItemPath

STRUCTURED = np.dtype([("id", "<i4"), ("xy", "<f8", (2,))])


class Evil:
    """Running code when unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a pickle was loaded",))


class TestNpy(FormatTests):
    name = "weights.npy"
    good: ClassVar = {
        **{
            f"{dtype}": lambda dtype=dtype: np.arange(6).reshape(2, 3).astype(dtype)
            for dtype in ("?", "u1", ">u2", "f4")
        },
        "complex": lambda: np.array([1j, np.nan]),
        "scalar": lambda: np.array(1.5),
        "empty": lambda: np.zeros((0, 3), "int16"),
        "fortran": lambda: np.asfortranarray(np.arange(6).reshape(2, 3)),
        "strided": lambda: np.arange(10)[::3],
        "text": lambda: np.array(["a", "µm"]),
        "bytes": lambda: np.array([b"a", b"bc"]),
        "time": lambda: np.array(["2026-01-01"], "datetime64[s]"),
        "duration": lambda: np.array([1], "timedelta64[ms]"),
        "structured with time": lambda: np.zeros(2, [("t", "datetime64[us]"), ("name", "U3"), ("be", ">f4")]),
        "long": lambda: np.array([1.5], "longdouble"),
        "no axes": lambda: np.array("a"),
        "structured": lambda: np.zeros(3, STRUCTURED),
    }
    bad: ClassVar = {
        "object": lambda: np.array([1, "a"], dtype=object),
        "structured object": lambda: np.zeros(2, [("a", object)]),
        "strings": lambda: np.array(["a"], dtype=np.dtypes.StringDType()),
        "list": lambda: [1, 2],
        "scalar": lambda: np.float32(1),
        "masked": lambda: np.ma.masked_array([1, 2], [True, False]),
        "dask": lambda: da.zeros(3),
        "record": lambda: np.rec.array([(1,)], dtype=[("a", "i4")]),
        "former record": lambda: np.asarray(np.rec.array([(1,)], dtype=[("a", "i4")])),
        "noted dtype": lambda: np.zeros(2, np.dtype("i4", metadata={"unit": "mm"})),
        "aligned": lambda: np.zeros(2, np.dtype([("a", "u1"), ("b", "f8")], align=True)),
        "number": lambda: 1.5,
        "matrix": lambda: np.array([[1, 2]]).view(np.matrix),
    }

    @pytest.mark.parametrize(
        ("label", "cure"),
        [
            ("dask", r"\.ome\.zarr or \.zarr.*obj\.compute\(\)"),
            ("masked", r"getmaskarray.*\.npz"),
            ("number", r"\.json"),
            ("scalar", r"numpy\.array\(obj\)"),
            ("list", r"numpy\.array\(obj\)"),
        ],
    )
    def test_the_way_out_is_one(self, place: ItemPath, label: str, cure: str) -> None:
        with pytest.raises(NotReproducible, match=cure):
            find_format(self.name).write(place, self.bad[label]())

    def test_what_is_read_is_writable(self, place: ItemPath) -> None:
        find_format(self.name).write(place, np.zeros(3))
        find_format(self.name).read(place)[0] = 1  # type: ignore[index]

    def test_a_pickle_is_never_loaded(self, place: ItemPath) -> None:
        buffer = io.BytesIO()
        np.save(buffer, np.array([Evil()], dtype=object), allow_pickle=True)
        for data in (buffer.getvalue(), pickle.dumps(Evil())):
            place.put(data)
            with pytest.raises(ItemDamaged):
                find_format(self.name).read(place)

    def test_a_cut_file_is_damage(self, place: ItemPath) -> None:
        find_format(self.name).write(place, np.zeros(100))
        whole = place.get()
        for end in (0, 4, 20, len(whole) - 1):
            place.put(whole[:end])
            with pytest.raises(ItemDamaged):
                find_format(self.name).read(place)


class TestNpz(FormatTests):
    name = "pair.npz"
    good: ClassVar = {
        "two": lambda: {"b": np.arange(3), "a/c": np.zeros((2, 0), "f4")},
        "odd names": lambda: {"file": np.array(1), "x.npy": np.array(2), "": np.array(3), "µ": np.array(4)},
        "none": dict,
    }
    bad: ClassVar = {
        "array": lambda: np.zeros(3),
        "int key": lambda: {1: np.zeros(3)},
        "nul key": lambda: {"a\0b": np.zeros(3)},
        "surrogate key": lambda: {"\ud800": np.zeros(3)},
        "list value": lambda: {"a": [1]},
        "object value": lambda: {"a": np.array([None])},
    }

    def test_numpy_reads_it(self, place: ItemPath) -> None:
        find_format(self.name).write(place, {"a": np.arange(1000)}, compress=True)
        assert len(place.get()) < 4000
        with np.load(io.BytesIO(place.get())) as archive:
            np.testing.assert_array_equal(archive["a"], np.arange(1000))

    def test_equal_arrays_give_equal_bytes(self, place: ItemPath) -> None:
        find_format(self.name).write(place, {"a": np.arange(3)})
        first = place.get()
        find_format(self.name).write(place, {"a": np.arange(3)})
        assert place.get() == first

    def test_a_cut_archive_is_damage(self, place: ItemPath) -> None:
        find_format(self.name).write(place, {"a": np.arange(3)})
        place.put(place.get()[:-30])
        with pytest.raises(ItemDamaged):
            find_format(self.name).read(place)
        place.put(b"PK")
        with pytest.raises(ItemDamaged):
            find_format(self.name).describe(place)


class TestZarr(FormatTests):
    name = "field.zarr"
    good: ClassVar = {
        **{
            dtype: lambda dtype=dtype: np.arange(6).reshape(2, 3).astype(dtype)
            for dtype in ("?", "u1", ">u2", "f2", ">f8", "c8")
        },
        "rank 7": lambda: np.zeros((1, 2) * 3 + (2,)),
        "fortran": lambda: np.asfortranarray(np.arange(6).reshape(2, 3)),
        "no pixels": lambda: np.zeros((0, 3)),
        "dask": lambda: da.arange(10, chunks=3),
    }
    bad: ClassVar = {
        "scalar": lambda: np.array(1),
        "number": lambda: 1,
        "text": lambda: np.array(["a"]),
        "strings": lambda: np.array(["a"], dtype=np.dtypes.StringDType()),
        "time": lambda: np.zeros(2, "datetime64[s]"),
        "structured": lambda: np.zeros(3, STRUCTURED),
        "object": lambda: np.array([None]),
        "masked": lambda: np.ma.masked_array([1, 2], [True, False]),
        "masked dask": lambda: da.ma.masked_equal(da.zeros((2, 2)), 0),
        "long double": lambda: np.zeros(2, "longdouble"),
    }
    untold = frozenset({"range", "histogram"})


class TestOmeZarrZip(FormatTests):
    name = "image.ome.zarr.zip"
    stores = ("disk",)
    good: ClassVar = {
        "numpy": lambda: np.arange(6, dtype="u2").reshape(2, 3),
        "big-endian": lambda: np.arange(6, dtype=">u2").reshape(2, 3),
        "no pixels": lambda: np.zeros((0, 3)),
        "dask": lambda: da.from_array(np.arange(900.0).reshape(30, 30), chunks=20),
    }
    bad: ClassVar = {
        "scalar": lambda: np.array(1),
        "text": lambda: np.array(["a"]),
        "masked": lambda: np.ma.masked_array([1, 2], [True, False]),
        "rank 6": lambda: np.zeros((1,) * 6),
    }
    untold = frozenset({"range", "histogram"})
