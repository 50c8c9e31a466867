"""What an image costs, in store calls: on memory, on disk and in a bucket."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

from cvcache import CacheDir, cdir, cdir_commit, cdir_init, cdir_query, open_image
from cvcache.formats import successor
from cvcache.testing import CountingStore, instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers.store_cases import StoreCase

    from cvcache.store import Store

LEVELS, SIDE, CHUNK = 6, 256, 32
PIXELS = np.arange(SIDE * SIDE, dtype="uint16").reshape(SIDE, SIDE)
NAME = "x.ome.zarr"
IDS = re.compile(r"/[0-9a-f]{16}/")


class Calls:
    """A root whose store calls are noted, over all handles."""

    def __init__(self, case: StoreCase) -> None:
        self.case = case
        self.stores: list[CountingStore] = []
        self.bucket = case.kind == "s3"

    def wrap(self, store: Store) -> Store:
        self.stores.append(CountingStore(store))
        return self.stores[-1]

    def at(self, name: str) -> CacheDir:
        """Give a handle that has seen nothing yet."""
        return cdir(self.case.child(name), **self.case.options)

    def log(self, act: Callable[[], object]) -> list[tuple[str, str]]:
        """Give verb and path of each call; the path relative to the root, ids as ``ID``."""
        for store in self.stores:
            store.reset()
        act()
        log = [entry for store in self.stores for entry in store.log]
        root = f"/{self.case.root}/"
        return [(verb, IDS.sub("/ID/", f"/{path}").rpartition(root)[2]) for verb, path in log]


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.server)])
def calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    # a bucket's log is looked at once in this time: on a slow machine a test may take longer than a second
    monkeypatch.setattr(successor, "CHECK_SECONDS", 3600.0)
    calls = Calls(request.getfixturevalue(f"{request.param}_case"))
    with instrument(calls.wrap):
        yield calls


def grid(level: int, extent: int = CHUNK) -> list[str]:
    """Give the key of each object of a level."""
    count = range(-(-(SIDE >> level) // extent))
    return [f"{NAME}/{level}/c/{y}/{x}" for y, x in itertools.product(count, count)]


def paths(log: list[tuple[str, str]], verb: str, node: str = "node") -> list[str]:
    """Give what one verb was called on, in the node, sorted."""
    return sorted(path.removeprefix(f"{node}/") for each, path in log if each == verb)


def written(calls: Calls, image: Any, **options: Any) -> CacheDir:
    """Write an image, commit it, and give a handle that has seen the commit."""
    node = cdir_init(calls.at("node"))
    node.write(NAME, image, levels=LEVELS, chunks=(CHUNK, CHUNK), **options)
    cdir_commit(node)
    return cdir_query(calls.at("node"))


def check_reads(log: list[tuple[str, str]], gets: list[str]) -> None:
    """Check that nothing was asked for but these objects: they are not written again while their commit stands."""
    assert paths(log, "get") == sorted(gets)
    assert {verb for verb, _ in log} <= {"get"}


# -- writing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [PIXELS, da.from_array(PIXELS, chunks=64)], ids=["numpy", "dask"])
def test_a_write_is_one_put_per_object(calls: Calls, image: Any) -> None:
    node = cdir_init(calls.at("node"))
    log = calls.log(lambda: node.write(NAME, image, levels=LEVELS, chunks=(CHUNK, CHUNK)))
    chunks = [key for level in range(LEVELS) for key in grid(level)]
    documents = [f"{NAME}/{level}/zarr.json" for level in range(LEVELS)]
    control = [f"_cvcache/writing/ID/{NAME}.json", f"_cvcache/thumb/ID/{NAME}.png"]
    assert paths(log, "put") == sorted([*control, *documents, f"{NAME}/zarr.json", *chunks])
    puts = [path.removeprefix("node/") for verb, path in log if verb == "put"]
    assert puts[0] == control[0]
    assert puts[-2:] == [f"{NAME}/zarr.json", control[1]]


def test_a_write_reads_only_what_the_thumbnail_shows(calls: Calls) -> None:
    node = cdir_init(calls.at("node"))
    log = calls.log(lambda: node.write(NAME, PIXELS, levels=3, chunks=(CHUNK, CHUNK)))
    assert paths(log, "get") == sorted(grid(2))
    names = [path for verb, path in log if verb in {"list", "stat", "find"}]
    assert set(names) <= {"node", f"node/{NAME}"}
    assert len(names) <= (1 if calls.bucket else 2)
    assert {verb for verb, _ in log} <= {"put", "get", "list", "stat", "find"}


def test_a_write_of_shards_is_one_put_per_shard(calls: Calls) -> None:
    node = cdir_init(calls.at("node"))
    log = calls.log(lambda: node.write(NAME, PIXELS, levels=2, chunks=(CHUNK, CHUNK), shards=(128, 128)))
    objects = [path for path in paths(log, "put") if "/c/" in path]
    assert objects == sorted([*grid(0, 128), *grid(1, 128)])


# -- reading ------------------------------------------------------------------------------------------


def test_a_lazy_image_is_two_calls(calls: Calls) -> None:
    written(calls, da.from_array(PIXELS, chunks=64))
    log = calls.log(lambda: cdir_query(calls.at("node")).read(NAME))
    assert [verb for verb, _ in log] == ["list", "get"]
    node = cdir_query(calls.at("node"))
    assert calls.log(lambda: [node.read(NAME, level=level, slices="[:, 3]") for level in range(LEVELS)]) == []
    assert calls.log(lambda: (node[NAME].meta, node.items())) == []


@pytest.mark.parametrize("image", [PIXELS, da.from_array(PIXELS, chunks=64)], ids=["numpy", "dask"])
def test_a_read_is_one_get_per_chunk(calls: Calls, image: Any) -> None:
    node = written(calls, image)
    found: list[Any] = []
    check_reads(calls.log(lambda: found.append(np.asarray(node.read(NAME)))), grid(0))
    np.testing.assert_array_equal(found[0], PIXELS)
    check_reads(calls.log(lambda: np.asarray(node.read(NAME, level=2))), grid(2))


@pytest.mark.parametrize("image", [PIXELS, da.from_array(PIXELS, chunks=64)], ids=["numpy", "dask"])
def test_a_crop_reads_only_its_chunks(calls: Calls, image: Any) -> None:
    node = written(calls, image)
    found: list[Any] = []
    log = calls.log(lambda: found.append(np.asarray(node.read(NAME, slices="[30:40, 64:96:2]"))))
    check_reads(log, [f"{NAME}/0/c/0/2", f"{NAME}/0/c/1/2"])
    np.testing.assert_array_equal(found[0], PIXELS[30:40, 64:96:2])


def test_a_lazy_image_is_cropped_before_it_is_read(calls: Calls) -> None:
    node = written(calls, da.from_array(PIXELS, chunks=64))
    image, found = node.read(NAME), []
    assert isinstance(image, da.Array)
    log = calls.log(lambda: found.append(image[100, 5:40].compute()))
    np.testing.assert_array_equal(found[0], PIXELS[100, 5:40])
    check_reads(log, [f"{NAME}/0/c/3/0", f"{NAME}/0/c/3/1"])


def test_a_shard_is_its_table_and_the_chunk(calls: Calls) -> None:
    node = written(calls, PIXELS, shards=(128, 128))
    shard = f"{NAME}/0/c/1/1"
    found: list[Any] = []
    first = calls.log(lambda: found.append(node.read(NAME, slices="[128:160, 160:192]")))
    check_reads(first, [shard, shard])
    np.testing.assert_array_equal(found[0], PIXELS[128:160, 160:192])
    check_reads(calls.log(lambda: node.read(NAME, slices="[224:, 128:160]")), [shard])


def test_a_whole_shard_is_one_get(calls: Calls) -> None:
    node = written(calls, PIXELS, shards=(128, 128))
    found: list[Any] = []
    check_reads(calls.log(lambda: found.append(node.read(NAME))), grid(0, 128))
    np.testing.assert_array_equal(found[0], PIXELS)


def test_an_image_by_its_url_is_a_list_and_a_get(calls: Calls) -> None:
    written(calls, PIXELS)
    url = f"{calls.case.child('node')}/{NAME}"
    log = calls.log(lambda: open_image(url, **calls.case.options))
    assert paths(log, "list") == ["_cvcache/log"]
    assert paths(log, "get") == [f"{NAME}/zarr.json"]
    assert paths(log, "stat") == ([] if calls.bucket else [f"{NAME}/zarr.json"])
    assert {verb for verb, _ in log} <= {"list", "get", "stat"}
    image = open_image(url, **calls.case.options)
    log = calls.log(image[:10, :10].compute)
    assert [verb for verb, _ in log] == ["get"]
