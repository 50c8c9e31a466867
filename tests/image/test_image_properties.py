"""Any image, written with any options: each level is what plain numpy makes of it, and comes back as it went in."""

from __future__ import annotations

import functools
import itertools
import json
import math
from typing import Any

import dask
import dask.array as da
import numpy as np
from format_cases import new_place
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cvcache.formats import ItemPath, ItemWrite, find_format

FORM = find_format("x.ome.zarr")
DTYPES = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64", "complex64", "complex128", ">u2", ">f8"),
)
AXES = {1: ("x", "y", "t"), 2: ("yx", "tx", "zx"), 3: ("zyx", "cyx", "tyx"), 4: ("czyx", "tzyx", "tcyx"), 5: ("tczyx",)}
COMPRESSORS: tuple[Any, ...] = (
    *("blosc", "zstd", "gzip", None),
    {"name": "blosc", "cname": "lz4", "shuffle": "bitshuffle"},
    {"name": "zstd", "level": 3},
)


def cells(image: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Return the pixels of each cell along a last axis; a cut cell repeats its last pixel."""
    padded = np.pad(image, [(0, -n % f) for n, f in zip(image.shape, factors, strict=True)], mode="edge")
    split = padded.reshape([part for n, f in zip(padded.shape, factors, strict=True) for part in (n // f, f)])
    ndim = image.ndim
    moved = split.transpose([*range(0, 2 * ndim, 2), *range(1, 2 * ndim, 2)])
    return moved.reshape(*moved.shape[:ndim], -1)


def rounded_mean(values: np.ndarray) -> Any:
    """Return the mean of one cell: of whole numbers exactly, rounded half up."""
    if values.dtype.kind in "biu":
        return (2 * sum(map(int, values)) + len(values)) // (2 * len(values))
    return values.astype(np.result_type(values.dtype, np.float64)).mean()


def commonest(values: np.ndarray) -> Any:
    """Return the value that is there most often, of several the greatest."""
    return max(values.tolist(), key=lambda value: (values.tolist().count(value), value))


PLAIN = {
    "mean": rounded_mean,
    "mode": commonest,
    "nearest": lambda values: values[0],
    "max": np.max,
    "min": np.min,
    "median": lambda values: np.sort(values)[len(values) // 2],
}


def shrunk(image: np.ndarray, factors: tuple[int, ...], method: str) -> np.ndarray:
    """Return the next level, one cell after the other."""
    if max(factors) == 1:
        return image
    split = cells(image, factors)
    out = np.empty(split.shape[:-1], image.dtype)
    for index in np.ndindex(out.shape):
        out[index] = PLAIN[method](split[index])
    return out


@st.composite
def images(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    """Give pixels and options that fit them."""
    ndim = draw(st.integers(1, 5))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    most = {1: 300, 2: 40, 3: 12, 4: 7, 5: 5}[ndim]
    extent = st.one_of(st.just(1), st.integers(1, most), st.sampled_from([0, 1, most]))
    shape = [draw(extent) for _ in range(ndim)]
    if ndim > 1 and draw(st.integers(0, 5)) == 0:
        shape = [1] * (ndim - 1) + [draw(st.integers(1, 400))]
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    few = draw(st.booleans())
    if dtype.kind in "iu" and not few:
        bounds = np.iinfo(dtype)
        pixels = rng.integers(bounds.min, bounds.max, shape, dtype.newbyteorder("="), endpoint=True).astype(dtype)
    else:
        pixels = rng.integers(0, 4, shape).astype(dtype)
        if dtype.kind in "fc" and pixels.size and draw(st.booleans()):
            pixels.flat[0] = np.nan
    axes = draw(st.sampled_from(AXES[ndim]))
    options: dict[str, Any] = {
        "axes": axes,
        "version": draw(st.sampled_from(["0.5", "0.4"])),
        "compressor": draw(st.sampled_from(COMPRESSORS)),
        "levels": draw(st.none() | st.integers(1, 4)),
        "progress": False,
    }
    if draw(st.booleans()):
        options["chunks"] = tuple(draw(st.integers(1, max(1, n) + 3)) for n in shape)
        if options["version"] == "0.5" and draw(st.booleans()):
            options["shards"] = tuple(n * draw(st.integers(1, 3)) for n in options["chunks"])
    elif options["version"] == "0.5":
        options["shards"] = draw(st.sampled_from([None, False]))
    if draw(st.booleans()):
        step = st.fixed_dictionaries({name: st.integers(1, 3) for name in axes if name in "zyx"})
        options["factors"] = draw(st.one_of(st.integers(1, 3), step, st.lists(step, min_size=2, max_size=3)))
        options["levels"] = options["levels"] or 3
    methods = ["nearest"] if dtype.kind == "c" else ["nearest", "max", "min", "median"]
    methods += ["mean"] if dtype.kind != "c" or not np.isnan(pixels).any() else []
    if dtype.kind in "biu":
        methods.append("mode")
        options["kind"] = draw(st.sampled_from(["image", "labels"]))
        if options["kind"] == "labels":
            methods = ["mode", "nearest", "max", "min"]
    options["downsample"] = draw(st.sampled_from(methods))
    return pixels, options


def cut(draw: Any, extent: int) -> tuple[int, ...]:
    """Give the extents of dask's chunks along an axis, even or not."""
    borders = draw(st.sets(st.integers(1, max(1, extent - 1)), max_size=4)) if extent > 1 else set()
    ends = [0, *sorted(borders), extent]
    return tuple(b - a for a, b in itertools.pairwise(ends)) or (0,)


def part_of(draw: Any, extent: int) -> int | slice:
    """Give an index along one axis: a plane or a slice with a positive step."""
    bound = st.none() | st.integers(-extent - 2, extent + 2)
    if extent and draw(st.booleans()):
        return int(draw(st.integers(-extent, extent - 1)))
    return slice(draw(bound), draw(bound), draw(st.none() | st.integers(1, 4)))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(case=images(), data=st.data())
def test_what_was_written_is_read(case: tuple[np.ndarray, dict[str, Any]], data: st.DataObject) -> None:
    pixels, options = case
    lazy = data.draw(st.booleans(), label="lazy")
    chunks = tuple(cut(data.draw, n) for n in pixels.shape) if lazy else None
    source = da.from_array(pixels, chunks=chunks) if lazy else pixels
    place = new_place("x.ome.zarr")
    with dask.config.set(scheduler="threads", num_workers=2):
        meta = FORM.write(place, source, **options)
        assert json.loads(json.dumps(meta, allow_nan=False)) == meta
        check_objects(place, meta)
        known = {name: value for name, value in meta.items() if name not in {"range", "histogram"}}
        assert FORM.describe(ItemWrite(place.store, place.path)) == known
        recorded = ItemWrite(place.store, place.path, meta)
        check_pixels(recorded, pixels, chunks, options["downsample"], meta)
        check_pixels(ItemWrite(place.store, place.path), pixels, chunks, options["downsample"], meta)
        level = data.draw(st.integers(0, meta["levels"] - 1))
        whole = np.asarray(FORM.read(recorded, level=level))
        window = tuple(part_of(data.draw, n) for n in whole.shape)
        part = FORM.read(recorded, level=level, slices=window)
        np.testing.assert_array_equal(np.asarray(part), np.asarray(whole[window], whole.dtype), strict=True)


def check_pixels(place: ItemPath, pixels: np.ndarray, chunks: Any, method: str, meta: dict[str, Any]) -> None:
    """Compare all levels with what numpy makes of `pixels`."""
    first: Any = FORM.read(place)
    assert first.dtype == pixels.dtype
    assert type(first).__module__.partition(".")[0] == ("numpy" if chunks is None else "dask")
    assert chunks is None or first.chunks == chunks
    expected = pixels
    scales = [[s for i, s in enumerate(row) if i not in meta["added"]] for row in meta["scales"]]
    for level in range(meta["levels"]):
        if level:
            steps = tuple(round(b / a) for a, b in zip(scales[level - 1], scales[level], strict=True))
            expected = shrunk(expected, steps, method)
        found = np.asarray(FORM.read(place, level=level))
        if method == "mean" and pixels.dtype.kind in "fc":
            assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-3 if pixels.dtype.itemsize == 2 else 1e-6)
            expected = found
        else:
            np.testing.assert_array_equal(found, expected, strict=True)


def check_objects(place: ItemPath, meta: dict[str, Any]) -> None:
    """Every chunk has its key, and nothing else is there."""
    old = "stored" in meta and meta["stored"]["zarr_format"] == 2
    keys = {".zgroup", ".zattrs"} if old else {"zarr.json"}
    shards = meta.get("shards") or [()] * meta["levels"]
    for path, shape, chunk, shard in zip(meta["paths"], meta["shapes"], meta["chunks"], shards, strict=True):
        keys.add(f"{path}/{'.zarray' if old else 'zarr.json'}")
        counts = [-(-n // unit) for n, unit in zip(shape, shard or chunk, strict=True)]
        for index in itertools.product(*map(range, counts)):
            keys.add("/".join([path, *([] if old else ["c"]), *map(str, index)]))
        assert math.prod(counts) >= (0 not in shape)
    found = place.find()
    assert set(found) == keys
    assert meta["objects"] == len(keys)
    assert meta["bytes"] == sum(info.size for info in found.values())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_levels_are_the_same_however_the_source_is_cut(data: st.DataObject) -> None:
    """The tree of tasks must not show in the pixels, nor in the bytes."""
    shape = (data.draw(st.integers(1, 30)), data.draw(st.integers(1, 70)))
    pixels = np.random.default_rng(1).integers(0, 9, shape).astype("uint8")
    options: dict[str, Any] = {
        "levels": 3,
        "factors": data.draw(st.sampled_from([2, 3, [{"x": 2}, {"y": 3, "x": 2}]])),
        "chunks": (data.draw(st.integers(1, 9)), data.draw(st.integers(1, 20))),
        "progress": False,
    }
    stored = []
    for chunks in (shape, tuple(cut(data.draw, n) for n in shape), (1, shape[1])):
        place = new_place("x.ome.zarr")
        FORM.write(place, da.from_array(pixels, chunks=chunks), **options)
        stored.append({key: place.get(key) for key in place.find() if key != "zarr.json"})
    assert functools.reduce(lambda a, b: a if a == b else {}, stored)
