"""Whoever computes the tasks of a write, the stored bytes are the same, and the driver hears of them only."""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import importlib.util
import os
import pickle
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
import dask.array as da
import dask.base
import numpy as np
import pytest
import resume_worker
from resume_worker import BLOCKS, COUNTER, ITEM, NAP
from servers.missing import unavailable

from cvcache import CvcacheError, cdir, cdir_init, cdir_query
from cvcache.formats import ItemWrite, find_format
from cvcache.image.write import downsample_mean, levels
from cvcache.store import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from servers.store_cases import LocalCase

    from cvcache import CacheDir

FORM = find_format(ITEM)
SCHEDULERS = ("sync", "threads", "processes", "distributed")
WORKERS = 2
MOST_BYTES = 64 * 1024
"""What the driver may get of an image, however large."""
PIXELS = np.random.default_rng(0).integers(0, 2**16, (1000, 1100)).astype("uint16")


@contextlib.contextmanager
def local_cluster() -> Iterator[Any]:
    """Open a cluster of two processes, and be its client."""
    from distributed import Client, LocalCluster

    quiet = {"distributed.logging.distributed": "critical", "distributed.admin.system-monitor.gil.enabled": False}
    with (
        dask.config.set(quiet),
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def check_distributed() -> None:
    if importlib.util.find_spec("distributed") is None:
        unavailable("distributed", "pip install '.[distributed]'")


@pytest.fixture(scope="module")
def clusters() -> Iterator[contextlib.ExitStack]:
    """Give what keeps the one cluster of these tests open."""
    with contextlib.ExitStack() as stack:
        yield stack


_client: list[Any] = []


@pytest.fixture
def computing(clusters: contextlib.ExitStack) -> Callable[[str], contextlib.AbstractContextManager[Any]]:
    """Give the context in which dask computes with the scheduler of a name; the cluster's gives its client."""

    def enter(scheduler: str) -> contextlib.AbstractContextManager[Any]:
        if scheduler != "distributed":
            return dask.config.set(scheduler=scheduler, num_workers=WORKERS)
        check_distributed()
        if not _client:
            _client.append(clusters.enter_context(local_cluster()))
            clusters.callback(_client.clear)
        return contextlib.nullcontext(_client[0])

    return enter


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a task hold no more than it has to, so that a small image takes many."""
    monkeypatch.setattr("cvcache.image.pyramid.BLOCK_BYTES", 0)


def shifted(block: np.ndarray, by: int = 0) -> np.ndarray:
    return block + np.asarray(by).astype(block.dtype)


def lazy(pixels: np.ndarray, chunks: Any) -> da.Array:
    """Give the pixels as an array whose blocks are computed."""
    return da.from_array(pixels, chunks=chunks).map_blocks(shifted, meta=pixels[(slice(0, 0),) * pixels.ndim])


def objects(path: Path) -> dict[str, str]:
    """Give the objects of one item: name -> digest of the bytes."""
    files = (part for part in path.rglob("*") if part.is_file())
    return {part.relative_to(path).as_posix(): hashlib.sha256(part.read_bytes()).hexdigest() for part in files}


def with_nan() -> np.ndarray:
    pixels = (PIXELS[:600, :500] / 7).astype("float32")
    pixels[::7, ::5] = np.nan
    return pixels


IMAGES: Mapping[str, tuple[Callable[[], da.Array], dict[str, Any]]] = {
    "mean": (lambda: lazy(PIXELS, 128), {"chunks": (128, 128)}),
    "shards": (lambda: lazy(PIXELS, 100), {"chunks": (64, 64), "shards": (128, 256), "downsample": "max"}),
    "labels": (lambda: lazy(PIXELS % 7, 256), {"chunks": (64, 64), "kind": "labels"}),
    "nan": (lambda: lazy(with_nan(), (97, 500)), {"chunks": (50, 100), "levels": 4}),
    "channels of 0.4": (
        lambda: lazy(PIXELS.reshape(4, 10, 250, 110), (1, 5, 64, 110)),
        {"chunks": (1, 5, 64, 64), "version": "0.4", "levels": 3},
    ),
}


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("scheduler", SCHEDULERS[1:])
@pytest.mark.parametrize("image", IMAGES)
def test_all_schedulers_write_the_same_bytes(
    image: str, scheduler: str, computing: Callable[[str], Any], tmp_path: Path
) -> None:
    make, options = IMAGES[image]
    rows = {}
    for name in ("sync", scheduler):
        with computing(name), cdir_init(tmp_path / name, {"k": 1}) as node:
            node.write(ITEM, make(), **options)
        rows[name] = dict(cdir_query(tmp_path / name)[ITEM].meta)
    found = objects(tmp_path / scheduler / ITEM)
    assert found == objects(tmp_path / "sync" / ITEM)
    assert rows[scheduler] == rows["sync"]
    assert rows[scheduler]["objects"] == len(found) > 30


MISALIGNED = {
    "100 to 256": (100, {"chunks": (256, 256)}),
    "16 to 64": (16, {"chunks": (64, 64)}),
    "16 to shards of 64": (16, {"chunks": (32, 16), "shards": (64, 64)}),
}
RUNS = {"sync": (1, 3), "threads": (10, 50), "processes": (1, 5), "distributed": (2, 10)}


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("case", MISALIGNED)
@pytest.mark.parametrize(
    ("scheduler", "runs"),
    [
        *((name, runs[0]) for name, runs in RUNS.items()),
        *(
            pytest.param(name, runs[1], marks=[pytest.mark.long, pytest.mark.timeout(3600)])
            for name, runs in RUNS.items()
        ),
    ],
)
def test_misaligned_blocks_give_the_right_pixels(
    scheduler: str, runs: int, case: str, computing: Callable[[str], Any], tmp_path: Path
) -> None:
    chunk, options = MISALIGNED[case]
    pixels = PIXELS[:500, :530] if chunk == 16 else PIXELS
    above = downsample_mean(pixels, (2, 2))
    seen = set()
    for run in range(runs):
        place = ItemWrite(LocalStore(), str(tmp_path / f"node-{run}" / ITEM))
        with computing(scheduler):
            meta = FORM.write(place, lazy(pixels, chunk), levels=2, **options)
        there = ItemWrite(place.store, place.path, meta)
        with dask.config.set(scheduler="sync"):
            np.testing.assert_array_equal(np.asarray(FORM.read(there)), pixels)
            np.testing.assert_array_equal(np.asarray(FORM.read(there, level=1)), above)
        seen.add(tuple(sorted(objects(Path(place.path)).items())))
    assert len(seen) == 1


SIZES: Mapping[str, Callable[[], da.Array]] = {
    "uint16": lambda: lazy(PIXELS, (125, 275)),
    "4 channels": lambda: lazy(PIXELS.reshape(4, 1, 250, 1100), (1, 1, 125, 275)),
    "float64": lambda: lazy(np.random.default_rng(1).normal(size=(1000, 1100)) * 1e300, (125, 275)),
    "16 times larger": lambda: da.tile(lazy(PIXELS, (125, 275)), (4, 4)),
}


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("image", SIZES)
def test_the_driver_hears_only_counts(
    image: str, scheduler: str, computing: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked for is one small value; a cluster keeps all else between its workers."""
    results: list[Any] = []
    compute = dask.base.compute_as_if_collection

    def spy(*args: Any, **options: Any) -> Any:
        results.append(compute(*args, **options))
        return results[-1]

    monkeypatch.setattr(dask.base, "compute_as_if_collection", spy)
    source = SIZES[image]()
    gathered: list[Any] = []
    with computing(scheduler) as client:
        if scheduler == "distributed":
            _listen(client, gathered, monkeypatch)
        FORM.write(ItemWrite(LocalStore(), str(tmp_path / ITEM)), source, chunks=source.chunksize)
    ((_, tally),) = results[0]
    assert tally.objects > 30
    assert tally.histograms
    assert len(results) == 1
    assert len(pickle.dumps(results)) < MOST_BYTES
    if scheduler == "distributed":
        assert [len(data) for data in gathered] == [1]
        assert len(pickle.dumps(gathered)) < MOST_BYTES


def _listen(client: Any, gathered: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep whatever the client fetches from its cluster."""
    fetch = client._gather_remote

    async def spy(*args: Any, **options: Any) -> Any:
        response = await fetch(*args, **options)
        gathered.append(dict(response["data"]))
        return response

    monkeypatch.setattr(client, "_gather_remote", spy)


@pytest.mark.usefixtures("small_tasks")
def test_a_retried_task_writes_the_same_bytes_to_the_same_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler may run any task again: what it wrote is written once more, and counts once."""
    put = LocalStore.put_parts
    puts: dict[str, list[str]] = collections.defaultdict(list)

    def spy(store: LocalStore, path: str, parts: Any) -> None:
        puts[path].append(hashlib.sha256(b"".join(parts)).hexdigest())
        put(store, path, parts)

    def twice(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def act(*args: Any) -> Any:
            first, second = function(*args), function(*args)
            assert pickle.dumps(first) == pickle.dumps(second)
            return second

        return act

    make, options = IMAGES["nan"]
    with dask.config.set(scheduler="threads"):
        once = FORM.write(ItemWrite(LocalStore(), str(tmp_path / "once" / ITEM)), make(), **options)
    monkeypatch.setattr(LocalStore, "put_parts", spy)
    for name in ("_write_source", "_write_block"):
        monkeypatch.setattr(levels, name, twice(getattr(levels, name)))
    with dask.config.set(scheduler="threads"):
        again = FORM.write(ItemWrite(LocalStore(), str(tmp_path / "twice" / ITEM)), make(), **options)
    chunks = {path: marks for path, marks in puts.items() if "/c/" in path}
    assert len(chunks) > 30
    assert all(len(marks) == 2 and len(set(marks)) == 1 for marks in chunks.values())
    assert again == once
    assert objects(tmp_path / "twice" / ITEM) == objects(tmp_path / "once" / ITEM)


def log_puts(log: str) -> None:
    """Let this process note each object it puts."""
    put = LocalStore.put_parts

    def spy(store: LocalStore, path: str, parts: Any) -> None:
        put(store, path, parts)
        line = f"{os.getpid()} {path} {hashlib.sha256(b''.join(parts)).hexdigest()}\n"
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    LocalStore.put_parts = spy  # type: ignore[method-assign]


def mortal(block: np.ndarray, fault: str, block_info: Any = None) -> np.ndarray:
    """Hand a block on; while a file is there, block 100 takes it away and kills its process."""
    time.sleep(0.005)
    if block_info[0]["chunk-location"] == (1, 4, 4) and Path(fault).exists():
        Path(fault).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return block


@pytest.mark.usefixtures("small_tasks")
def test_a_worker_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one computes what was lost, and writes again what it cannot know to be there."""
    check_distributed()
    counter, log, fault = tmp_path / "count", tmp_path / "log", tmp_path / "fault"
    monkeypatch.setenv(COUNTER, str(counter))
    monkeypatch.setenv(NAP, "0")
    options: dict[str, Any] = {"chunks": (2, 64, 64), "levels": 3}
    with dask.config.set(scheduler="sync"), cdir_init(tmp_path / "undisturbed", {"k": 1}) as node:
        node.write(ITEM, resume_worker.image(), **options)
    counter.unlink()
    fault.touch()
    source = resume_worker.image().map_blocks(mortal, str(fault), dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
    with local_cluster() as client:
        assert len(client.run(log_puts, str(log))) == WORKERS
        pids = set(client.run(os.getpid).values())
        with cdir_init(tmp_path / "node", {"k": 1}) as node:
            node.write(ITEM, source, **options)
        assert not fault.exists()
        survivors = pids & set(client.run(os.getpid).values())
    assert len(survivors) == 1
    computed = counter.read_text().split()
    assert len(set(computed)) == BLOCKS < len(computed)
    assert objects(tmp_path / "node" / ITEM) == objects(tmp_path / "undisturbed" / ITEM)
    node, undisturbed = cdir_query(tmp_path / "node"), cdir_query(tmp_path / "undisturbed")
    assert dict(node[ITEM].meta) == dict(undisturbed[ITEM].meta)
    assert (node.read(ITEM).compute() == undisturbed.read(ITEM).compute()).all()
    puts = [line.split() for line in log.read_text().splitlines()]
    assert str(*survivors) in {pid for pid, _, _ in puts}
    assert len({path for _, path, _ in puts}) == len({(path, mark) for _, path, mark in puts})


@pytest.mark.usefixtures("small_tasks")
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_progress_rises_to_the_total(scheduler: str, computing: Callable[[str], Any], tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def report(*counts: int) -> None:
        calls.append(counts)

    with computing(scheduler):
        for run in range(1 if scheduler == "processes" else 5):
            before = len(calls)
            place = ItemWrite(LocalStore(), str(tmp_path / str(run) / ITEM))
            FORM.write(place, lazy(PIXELS, 128), chunks=(128, 128), levels=2, progress=report)
            mine = calls[before:]
            assert {total for _, total in mine} == {72 + 20}
            done = [count for count, _ in mine]
            assert done == sorted(done)
            assert (done[0], done[-1]) == (0, 92)
            assert len(set(done)) > 46, "each block is told of, or nearly"
            time.sleep(0.2)
            assert len(calls) == before + len(mine), "nothing comes after the end"


def broken_once(block: np.ndarray, fault: Path, block_id: tuple[int, ...] = ()) -> np.ndarray:
    if block_id == (1, 1) and fault.exists():
        msg = "a worker died"
        raise RuntimeError(msg)
    return block + 1


@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_a_block_that_fails_ends_the_step_and_half_an_image_is_never_read(
    local_case: LocalCase, tmp_path: Path, scheduler: str
) -> None:
    fault = tmp_path / "fault"
    fault.touch()
    image = da.zeros((64, 64), chunks=16, dtype="u1").map_blocks(broken_once, fault, dtype="u1")
    node = cdir(local_case.child("n"))

    def run() -> CacheDir:
        with dask.config.set(scheduler=scheduler), cdir_init(node, {"v": 1}) as d:
            if not d.committed:
                d.write("x.ome.zarr", image, chunks=(16, 16))
        return d

    with pytest.raises(RuntimeError, match="a worker died"):
        run()
    half = cdir_query(node)
    assert (half.committed, half.state) == (False, "failed")
    with pytest.raises(CvcacheError):
        np.asarray(half.read("x.ome.zarr"))
    fault.unlink()
    assert np.asarray(run().read("x.ome.zarr")).min() == 1
