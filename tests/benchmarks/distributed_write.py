"""What writing a pyramid takes on two worker processes, beside two threads.

    python tests/benchmarks/distributed_write.py [--size 512MiB] [--rounds 5] [--check]

The clusters are started and warmed up once; then all write the same lazy volume in alternating order. dask has its
workers give memory back to the system at once, which makes every large array cost page faults; a second cluster
shows what is left without that. README.md says what is measured. With ``--check`` the command exits with 1 if a
bound does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster
from peers.volume import CHUNKS, LEVELS, SHAPES, SOURCE, Block, Volume

from cvcache import cdir_init, cdir_query

WALL_RATIO = 1.2
WORKERS = 2
THREADS, AS_STARTED, PLAIN_MALLOC = "threads", "workers", "workers, malloc as here"
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Run:
    """One write.

    Attributes
    ----------
    wall : float
        Seconds.
    blocks : int
        How many blocks of the source were made.
    objects : int
        Of all levels, metadata included.
    moved, received : int
        Bytes between the workers, and from them to this process.
    """

    wall: float
    blocks: int
    objects: int
    moved: int = 0
    received: int = 0


def write(shape: Block) -> Run:
    """Write the volume as dask is configured; the commit is not timed."""
    with tempfile.TemporaryDirectory(prefix="distributed-write-") as directory:
        volume = Volume(shape, f"{directory}/calls")
        with cdir_init(f"{directory}/node") as node:
            image = volume.image()
            start = time.perf_counter()
            node.write("x.ome.zarr", image, axes="zyx", chunks=CHUNKS, levels=LEVELS, factors=2, shards=False)
            wall = time.perf_counter() - start
        blocks = len(Path(volume.calls).read_text().splitlines())
        return Run(wall, blocks, cdir_query(node.url)["x.ome.zarr"].meta["objects"])


def on_threads(shape: Block) -> Run:
    """Write on as many threads of this process as there are workers."""
    with dask.config.set(scheduler="threads", num_workers=WORKERS):
        return write(shape)


@contextlib.contextmanager
def cluster(**environment: Any) -> Iterator[LocalCluster]:
    """Run workers of one thread each; by default in the environment that dask gives them."""
    ours = {"distributed.nanny.pre-spawn-environ": environment} if environment else {}
    with dask.config.set(ours):
        started = LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=":0")
    with started:
        yield started


def on_workers(workers: LocalCluster, shape: Block) -> Run:
    """Write on the workers."""
    with Client(workers) as client:
        client.run(_forget)
        run = write(shape)
        traffic = client.run(_traffic)
    moved = sum(incoming for _, incoming in traffic.values())
    return dataclasses.replace(run, moved=moved, received=sum(sent for sent, _ in traffic.values()) - moved)


def _forget(dask_worker: Any) -> None:
    dask_worker.transfer_outgoing_bytes_total = 0
    dask_worker.transfer_incoming_log.clear()


def _traffic(dask_worker: Any) -> tuple[int, int]:
    """Return what a worker has sent to anybody, and what it has received from the others."""
    return dask_worker.transfer_outgoing_bytes_total, sum(one["total"] for one in dask_worker.transfer_incoming_log)


def measure(rounds: int, shape: Block, ways: dict[str, Callable[[Block], Run]]) -> dict[str, list[Run]]:
    """Return the runs of each way, after one of a few blocks; every other round goes backwards."""
    small = tuple(2 * extent for extent in SOURCE)
    for act in ways.values():
        act(small)
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            runs[name].append(ways[name](shape))
    return runs


def report(runs: dict[str, list[Run]], shape: Block) -> list[str]:
    """Print the table; return what does not hold."""
    medians = {name: statistics.median(run.wall for run in every) for name, every in runs.items()}
    ratios = {name: median / medians[THREADS] for name, median in medians.items()}
    for name, every in runs.items():
        last = every[-1]
        sys.stdout.write(
            f"{name:24}{medians[name]:6.2f} s ({min(run.wall for run in every):.2f} to "
            f"{max(run.wall for run in every):.2f}), {ratios[name]:.2f} of threads; {last.objects} objects, "
            f"{last.moved / MIB:.1f} MiB between workers, {last.received / 1024:.1f} KiB to the caller\n"
        )
    bad = []
    if ratios[PLAIN_MALLOC] > WALL_RATIO:
        bad.append(f"{PLAIN_MALLOC}: {ratios[PLAIN_MALLOC]:.2f} of the time of threads, at most {WALL_RATIO} is asked")
    once = len(Volume(shape, "").blocks)
    bad += [
        f"{name}: {run.blocks} blocks of the source were made, not {once}"
        for name, every in runs.items()
        for run in every
        if run.blocks != once
    ]
    return bad


def main() -> int:
    """Measure, print, and say whether the bounds hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", choices=SHAPES, default="512MiB", help="of level 0 (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the medians are shown (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound does not hold")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("at least one round")
    shape = SHAPES[options.size]
    # in this order: what dask sets for its workers stays set here, and the next cluster inherits it
    with cluster(OMP_NUM_THREADS=1) as plain, cluster() as usual:
        ways = {THREADS: on_threads, AS_STARTED: partial(on_workers, usual), PLAIN_MALLOC: partial(on_workers, plain)}
        runs = measure(options.rounds, shape, ways)
    sys.stdout.write(f"{options.size}, {options.rounds} rounds, {WORKERS} threads or {WORKERS} processes\n\n")
    bad = report(runs, shape)
    if options.check:
        sys.stdout.write("".join(f"NOT HELD: {line}\n" for line in bad) or "all bounds hold\n")
    return int(options.check and bool(bad))


if __name__ == "__main__":
    sys.exit(main())
