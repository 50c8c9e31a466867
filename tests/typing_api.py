"""The public API as a user types it: checked by mypy, never run."""

from __future__ import annotations

import datetime as dt
import pathlib
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import IO, Any, assert_type

import cvcache
from cvcache import CacheDir, Commit, Item, Policy

root = cvcache.cdir("s3://lab/run7", policy=Policy(ttl=30, wait=False), endpoint_url="https://storage.example.org")
assert_type(root, CacheDir)
assert_type(cvcache.cdir(None), CacheDir)
assert_type(cvcache.cdir(pathlib.Path("run7")), CacheDir)
assert_type(root / "a" / "b/c", CacheDir)
assert_type(root["raw.ome.zarr"], Item)
assert_type("raw.ome.zarr" in root, bool)

with cvcache.cdir_init(root / "raw", {"sigma": 2.0}, on_stale="new", force=False, wait=True) as raw:
    assert_type(raw, CacheDir)
    if not raw.committed:
        assert_type(raw.write("stats.json", {"n": 1}, indent=None), Item)
        with raw.open("report.txt", "wb") as file:
            assert_type(file, IO[bytes])
        assert_type(raw.path("model.bin"), str)
        assert_type(raw.log("steps.log"), AbstractContextManager[None])

assert_type(cvcache.cdir_commit("s3://lab/run7/raw", meta={"operator": "me"}), Commit)
assert_type(cvcache.cdir_query("s3://lab/run7/raw"), CacheDir)
assert_type(raw.commit, Commit | None)
if raw.commit:
    assert_type(raw.commit.time, dt.datetime)
    assert_type(raw.commit.reason, tuple[str, ...])
assert_type(raw.state, str)
assert_type(raw.items(), list[Item])
assert_type(raw.children(), list[CacheDir])
assert_type(raw["stats.json"].meta, Mapping[str, Any])
assert_type(raw["stats.json"].url, str)
assert_type(raw["raw.ome.zarr"].shape, tuple[int, ...])
assert_type(raw["raw.ome.zarr"].ndim, int)

stats: dict[str, int] = raw.read("stats.json")
mean: float = raw.cached("mean.json", lambda: 1.5)


@cvcache.step
def plain(out: CacheDir, image: Item) -> None:
    out.write("copy.json", image.read())


@cvcache.step(version=2, ignore=["workers"], depends=[plain], on_stale="error", log=None)
def tuned(out: CacheDir, image: Item, *, level: float, workers: int = 1) -> None:
    out.write("level.json", image.read().max() * level * workers)


@cvcache.step
async def waits(out: CacheDir, image: Item) -> None:
    out.write("copy.json", image.read())


coming: Coroutine[Any, Any, CacheDir] = waits(root / "waits", raw["stats.json"])
assert_type(plain(root / "plain", raw["stats.json"]), CacheDir)
assert_type(tuned.options(force=True)(root / "tuned", raw["stats.json"], level=0.4), CacheDir)
assert_type(cvcache.cdir_walk(root), Iterator[CacheDir])
assert_type(cvcache.cdir_query(root / "plain").reason, tuple[str, ...])
assert_type(cvcache.cdir_remove(root, recursive=True), list[str])


class Voxel:
    """A type of the user's own in a key."""

    def __init__(self, size: float) -> None:
        self.size = size


def size_of(voxel: Voxel) -> float:
    """Return what stands for a voxel."""
    return voxel.size


cvcache.register_key(Voxel, size_of)
cvcache.register_format("swc", "my_package.swc")

try:
    cvcache.cdir_init(root, wait=False)
except cvcache.NodeBusy as busy:
    message: str = str(busy)
except (cvcache.Contention, cvcache.Refusal, cvcache.DataError, cvcache.UsageError) as error:
    assert_type(error, cvcache.Contention | cvcache.Refusal | cvcache.DataError | cvcache.UsageError)
