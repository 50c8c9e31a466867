"""What writing a pyramid takes on two worker processes, beside two threads.

    python tests/benchmarks/distributed_write.py [--size 512MiB] [--rounds 5] [--check]

The cluster is started and warmed up once; then both write the same lazy volume in alternating order.
README.md says what is measured. With ``--check`` the command exits with 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask
from distributed import Client, LocalCluster
from peers.volume import CHUNKS, LEVELS, SHAPES, SOURCE, Block, Volume

from cvcache import cdir_init, cdir_query

WALL_RATIO = 1.2
WORKERS = 2
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


def on_workers(cluster: LocalCluster, shape: Block) -> Run:
    """Write on the workers."""
    with Client(cluster) as client:
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
    threads, workers = (statistics.median(run.wall for run in runs[name]) for name in ("threads", "workers"))
    for name, every in runs.items():
        walls = [run.wall for run in every]
        last = every[-1]
        sys.stdout.write(
            f"{name:9}{statistics.median(walls):7.2f} s, {min(walls):.2f} to {max(walls):.2f}   "
            f"{last.objects} objects, {last.blocks} blocks made"
        )
        if last.moved or last.received:
            told = f"{last.moved / MIB:.1f} MiB between workers, {last.received / MIB:.2f} MiB to the caller"
            sys.stdout.write(f", {told}")
        sys.stdout.write("\n")
    ratio = workers / threads
    sys.stdout.write(f"median ratio {ratio:.3f} (at most {WALL_RATIO})\n")
    bad = [f"workers take {ratio:.3f} of the time of threads, at most {WALL_RATIO} is asked"] * (ratio > WALL_RATIO)
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
    with LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        runs = measure(options.rounds, shape, {"threads": on_threads, "workers": partial(on_workers, cluster)})
    sys.stdout.write(f"{options.size}, {options.rounds} rounds, {WORKERS} threads or {WORKERS} processes\n\n")
    bad = report(runs, shape)
    if options.check:
        sys.stdout.write("".join(f"NOT HELD: {line}\n" for line in bad) or "all bounds hold\n")
    return int(options.check and bool(bad))


if __name__ == "__main__":
    sys.exit(main())
