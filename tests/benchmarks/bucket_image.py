"""What an image in a bucket takes 30 ms away: requests counted, times beside zarr's over s3fs.

    python tests/benchmarks/bucket_image.py [--rounds 5] [--check]

The bucket is the S3 of the tests behind its proxy, which delays and notes each request, in a process of its
own. README.md says what is measured. With ``--check`` the command exits with 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import multiprocessing
import os
import re
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the servers of the tests

if TYPE_CHECKING:
    import numpy as np
    import zarr
    from servers.object_stores import S3Server

    from cvcache import CacheDir

ROUND_TRIP = 0.03
SHAPE, CHUNKS = (640, 1600), (32, 64)
"""500 chunks of 4 KiB in uint16."""
DASK_CHUNKS = (64, 1600)
LEVELS, SIDE, CHUNK, SHARD = 6, 1024, 64, 256
WALL_RATIO = 0.6
CREATE_REQUESTS = 9
"""A PUT for the plan, seven for the metadata, and a LIST: what somebody put there since is not overwritten."""
PLAIN, SHARDED = "x.ome.zarr", "y.ome.zarr"
CHUNK_OR_THUMBNAIL = re.compile(r"\.zarr/\d+/c/|/_cvcache/thumb/")

Requests = list[tuple[str, str]]
"""Method and target of each."""


class Wire:
    """A bucket, seen through the proxy.

    Parameters
    ----------
    server : S3Server
    endpoint : str
        The proxy's.
    proxy : Connection
        Answers anything with the requests since the last answer.
    """

    def __init__(self, server: S3Server, endpoint: str, proxy: Connection) -> None:
        self.bucket = server.new_bucket()
        self.options = server.options_for(endpoint)
        self._proxy = proxy

    def during(self, act: Callable[[], Any]) -> tuple[Any, float, Requests]:
        """Return what `act` returns, how long it took, and the requests it sent."""
        self._ask()
        start = time.perf_counter()
        result = act()
        return result, time.perf_counter() - start, self._ask()

    def requests(self, act: Callable[[], Any]) -> Requests:
        """Return the requests that `act` sent."""
        return self.during(act)[2]

    def fresh(self) -> str:
        """Return a URL where nothing is yet."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex}"

    def node(self, url: str) -> CacheDir:
        """Return a handle that has seen nothing."""
        from cvcache import cdir

        return cdir(url, **self.options)

    def store(self, url: str) -> Any:
        """Return zarr's store over s3fs as it comes."""
        from zarr.storage import FsspecStore

        return FsspecStore.from_url(url, storage_options=self.options)

    def _ask(self) -> Requests:
        self._proxy.send(None)
        return self._proxy.recv()


@contextlib.contextmanager
def wire() -> Iterator[Wire]:
    """Run the server, and the proxy beside it."""
    from servers.object_stores import atomic_s3

    start = multiprocessing.get_context("spawn")
    with atomic_s3() as server:
        here, there = start.Pipe()
        proxy = start.Process(target=serve_proxy, args=(server.port, there), daemon=True)
        proxy.start()
        try:
            yield Wire(server, here.recv(), here)
        finally:
            proxy.terminate()
            proxy.join()


def serve_proxy(port: int, asked: Connection) -> None:
    """Delay each request by a round trip; this is the other process."""
    from servers.fault_proxy import Fault, FaultProxy

    with FaultProxy(port, lambda _: Fault.DELAYED, delay=ROUND_TRIP) as proxy:
        asked.send(proxy.endpoint)
        told = 0
        while True:
            asked.recv()
            new = proxy.log[told:]
            told += len(new)
            asked.send([(request.method, request.target) for request, _ in new])


# -- times ------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Times:
    """Seconds and requests of each round.

    Attributes
    ----------
    seconds : list of float
    requests : list of Requests
    """

    seconds: list[float] = dataclasses.field(default_factory=list)
    requests: list[Requests] = dataclasses.field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return statistics.median(self.seconds)

    def note(self, seconds: float, requests: Requests) -> None:
        """Add a round."""
        self.seconds.append(seconds)
        self.requests.append(requests)


PEERS = ("zarr", "cvcache numpy", "cvcache dask")


def timed(wire: Wire, rounds: int) -> dict[tuple[str, str], Times]:
    """Write and read back the same image in alternating rounds; every other round goes backwards."""
    import numpy as np

    pixels = np.random.default_rng(0).integers(0, 4096, SHAPE).astype("uint16")
    found: dict[tuple[str, str], Times] = collections.defaultdict(Times)
    for number in range(-1, rounds):
        for name in PEERS[:: -1 if number % 2 else 1]:
            image = pixels[:64, :128] if number < 0 else pixels  # once something small, so that all is imported
            written, read = _zarr_times(wire, image) if name == "zarr" else _our_times(wire, image, name)
            if number >= 0:
                found[name, "write"].note(*written)
                found[name, "read"].note(*read)
    return found


def _zarr_times(wire: Wire, image: np.ndarray) -> Iterator[tuple[float, Requests]]:
    import zarr

    store = wire.store(wire.fresh())

    def write() -> zarr.Array:
        array = zarr.create_array(store, shape=image.shape, chunks=CHUNKS, dtype=image.dtype)
        array[:] = image
        return array

    array, *written = wire.during(write)
    pixels, *read = wire.during(lambda: array[:])
    return _same(pixels, image, written, read)


def _our_times(wire: Wire, image: np.ndarray, name: str) -> Iterator[tuple[float, Requests]]:
    import dask.array as da

    from cvcache import cdir_commit, cdir_init, cdir_query

    url = wire.fresh()
    source = da.from_array(image, chunks=DASK_CHUNKS) if name.endswith("dask") else image
    node = cdir_init(wire.node(url))
    _, *written = wire.during(lambda: node.write(PLAIN, source, levels=1, chunks=CHUNKS))
    cdir_commit(node)
    node = cdir_query(wire.node(url))
    pixels, *read = wire.during(lambda: _computed(node.read(PLAIN)))
    return _same(pixels, image, written, read)


def _computed(image: Any) -> np.ndarray:
    return image.compute() if hasattr(image, "compute") else image


def _same(pixels: np.ndarray, image: np.ndarray, *told: Sequence[Any]) -> Iterator[tuple[float, Requests]]:
    if not (pixels == image).all():
        sys.exit("what was read is not what was written")
    return ((seconds, requests) for seconds, requests in told)


def ratios(found: dict[tuple[str, str], Times]) -> list[str]:
    """Print the table of times; return the bounds that do not hold."""
    bad = []
    sys.stdout.write(f"{'':22}{'seconds':>9}{'/ zarr':>9}   requests\n")
    for (name, act), times in sorted(found.items(), key=lambda pair: pair[0][1], reverse=True):
        ratio = times.median / found["zarr", act].median
        sys.stdout.write(f"{name:15}{act:7}{times.median:9.2f}{ratio:9.2f}   {tally(times.requests[-1])}\n")
        if name != "zarr" and ratio > WALL_RATIO:
            bad.append(f"{name} {act}: {ratio:.2f} of zarr's time, at most {WALL_RATIO} is asked")
    return bad


# -- counts -----------------------------------------------------------------------------------------


@dataclasses.dataclass
class Count:
    """One line of the table of counts.

    Attributes
    ----------
    what : str
    ours, theirs : Requests
    holds : callable
        Says of our requests whether the bound holds.
    bound : str
    """

    what: str
    ours: Requests
    theirs: Requests
    holds: Callable[[Requests], bool]
    bound: str


def counted(wire: Wire) -> Iterator[Count]:
    """Yield what it costs to make, open and read an image of six levels."""
    import dask.array as da
    import zarr

    from cvcache import cdir_commit, cdir_init, cdir_query, open_image

    pixels = da.ones((SIDE, SIDE), chunks=(SHARD, SHARD), dtype="uint16")
    url, group = wire.fresh(), wire.fresh()
    node = cdir_init(wire.node(url))
    write = partial(node.write, levels=LEVELS, chunks=(CHUNK, CHUNK))
    ours = _metadata(wire.requests(lambda: write(PLAIN, pixels, shards=False)))
    theirs = wire.requests(lambda: _create_levels(wire.store(group)))
    yield Count("create, the first of its node", ours, theirs, _at_most(CREATE_REQUESTS), f"at most {CREATE_REQUESTS}")
    ours = _metadata(wire.requests(lambda: write(SHARDED, pixels, shards=(SHARD, SHARD))))
    yield Count("create, the next one", ours, theirs, _at_most(CREATE_REQUESTS), f"at most {CREATE_REQUESTS}")
    cdir_commit(node)

    ours = wire.requests(lambda: open_image(f"{url}/{PLAIN}", **wire.options))
    theirs = wire.requests(lambda: _open_levels(wire.store(group)))
    yield Count("open by URL", ours, theirs, _just("GET"), "1 GET")
    ours = wire.requests(lambda: _open_item(wire, url))
    yield Count("open by its node", ours, theirs, _just("LIST", "GET"), "the node's LIST and GET")

    node = cdir_query(wire.node(url))
    chunk, other = (slice(CHUNK), slice(CHUNK)), (slice(CHUNK), slice(CHUNK, 2 * CHUNK))
    array = _open_levels(wire.store(group))[0]
    array[chunk] = 1
    theirs = wire.requests(lambda: array[chunk])
    yield Count("read a chunk", wire.requests(_reader(node, PLAIN, chunk)), theirs, _gets(1), "1 GET")
    shape = (SHARD, SHARD)
    array = zarr.create_array(
        wire.store(wire.fresh()), shape=shape, chunks=(CHUNK, CHUNK), shards=shape, dtype="uint16"
    )
    array[:] = 1
    for what, part, most in (("read a chunk of a shard", chunk, 2), ("read another one of it", other, 1)):
        theirs = wire.requests(partial(array.__getitem__, part))
        yield Count(what, wire.requests(_reader(node, SHARDED, part)), theirs, _gets(most), f"{most} GET")


def _create_levels(store: Any) -> None:
    """Create the same six levels the way zarr's documentation shows."""
    import zarr

    group = zarr.create_group(store)
    for n in range(LEVELS):
        group.create_array(str(n), shape=(SIDE >> n,) * 2, chunks=(CHUNK, CHUNK), dtype="uint16")


def _open_levels(store: Any) -> list[zarr.Array]:
    import zarr

    group = zarr.open_group(store, mode="r+")
    return [group[str(n)] for n in range(LEVELS)]


def _open_item(wire: Wire, url: str) -> Any:
    from cvcache import cdir_query

    return cdir_query(wire.node(url))[PLAIN].read()


def _reader(node: CacheDir, name: str, part: tuple[slice, ...]) -> Callable[[], np.ndarray]:
    image = node.read(name)[part]
    return partial(image.compute, scheduler="sync")


def _metadata(requests: Requests) -> Requests:
    return [(method, target) for method, target in requests if not CHUNK_OR_THUMBNAIL.search(target)]


def _at_most(most: int) -> Callable[[Requests], bool]:
    return lambda requests: len(requests) <= most


def _just(*methods: str) -> Callable[[Requests], bool]:
    return lambda requests: tuple(kinds(requests)) == methods


def _gets(count: int) -> Callable[[Requests], bool]:
    """Ask for exactly so many GET; beside them, the log may be looked at once: that is one HEAD a second."""
    return lambda requests: sorted(kinds(requests)) in (["GET"] * count, ["GET"] * count + ["HEAD"])


def kinds(requests: Requests) -> list[str]:
    """Return the method of each request, LIST for the GET of a listing."""
    return ["LIST" if method == "GET" and "list-type=2" in target else method for method, target in requests]


def tally(requests: Requests) -> str:
    """Return how many requests there were of each kind."""
    counts = sorted(collections.Counter(kinds(requests)).items())
    return f"{len(requests):4}: " + ", ".join(f"{count} {kind}" for kind, count in counts)


def counts(lines: Iterable[Count]) -> list[str]:
    """Print the table of counts; return the bounds that do not hold."""
    bad = []
    sys.stdout.write(f"\n{'requests':31}{'cvcache':32}zarr\n")
    for line in lines:
        sys.stdout.write(f"{line.what:31}{tally(line.ours):32}{tally(line.theirs)}\n")
        if not line.holds(line.ours):
            bad.append(f"{line.what}: {tally(line.ours).strip()}; {line.bound} is asked")
    return bad


def main() -> int:
    """Measure, print, and say whether the bounds hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="of which the medians are shown (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound does not hold")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("at least one round")
    os.environ.update({"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "AWS_EC2_METADATA_DISABLED": "true"})
    with wire() as bucket:
        bad = ratios(timed(bucket, options.rounds)) + counts(counted(bucket))
    if options.check:
        sys.stdout.write("\n" + ("".join(f"NOT HELD: {line}\n" for line in bad) or "all bounds hold\n"))
    return int(options.check and bool(bad))


if __name__ == "__main__":
    sys.exit(main())
