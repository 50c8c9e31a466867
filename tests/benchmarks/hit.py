"""What a hit takes: a small result, a lazy pyramid, and the key of a large array, beside joblib.

    python tests/benchmarks/hit.py [--rounds 101] [--check]

Medians of alternating runs in one process. README.md says what each row means. With ``--check`` the command exits
with 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import dask.array as da
import numpy as np

import cvcache
from cvcache.keys import canonical_key, digest

try:
    import joblib
except ImportError:
    joblib = None

SIDE, CHUNK, LEVELS = 1024, 64, 5
ARRAY_MIB = 64
MICRO, MILLI = 1e6, 1e3
OPEN_READ, OF_JOBLIB, PYRAMID_SECONDS, OF_HASH = 10.0, 0.5, 1e-3, 0.25


class Case(NamedTuple):
    """One thing that is measured: calls of `act`, so many a run."""

    name: str
    act: Callable[[], object]
    calls: int


def threshold_stats(image: str, level: float, *, sigma: float = 2.0, method: str = "otsu") -> dict[str, Any]:
    """Return a small result, such as a step keeps of an image."""
    return {"image": image, "level": level, "sigma": sigma, "method": method, "count": 241, "area": [12.5, 80.25, 3.75]}


@cvcache.step
def stats(out: cvcache.CacheDir, image: str, level: float, *, sigma: float = 2.0, method: str = "otsu") -> None:
    """Keep the small result."""
    out.write("stats.json", threshold_stats(image, level, sigma=sigma, method=method))


@cvcache.step
def pyramid(out: cvcache.CacheDir, side: int) -> None:
    """Keep an image that is read back as dask arrays."""
    image = da.zeros((side, side), chunks=CHUNK, dtype="u2")
    out.write("image.ome.zarr", image, levels=LEVELS, chunks=(CHUNK, CHUNK))


def small_cases(directory: Path) -> list[Case]:
    """Return the hits of a small result, and what they are compared with."""
    root = cvcache.cdir(directory / "run")
    path = stats(root / "stats", "brain", 0.4)["stats.json"].url

    def hit() -> object:
        return stats(root / "stats", "brain", 0.4).read("stats.json")

    def open_read() -> bytes:
        with open(path, "rb") as file:  # noqa: PTH123 - without what a Path adds
            return file.read()

    cases = [Case("open+read", open_read, 10), Case("cvcache", hit, 10)]
    if joblib is not None:
        kept = joblib.Memory(directory / "joblib", verbose=0).cache(threshold_stats)
        cases.append(Case("joblib", lambda: kept("brain", 0.4), 10))
    return cases


def pyramid_cases(directory: Path) -> list[Case]:
    """Return the hit that gives every level of an image as a dask array."""
    root = cvcache.cdir(directory / "run")

    def hit() -> list[Any]:
        node = pyramid(root / "image", SIDE)
        return [node.read("image.ome.zarr", level=level) for level in range(LEVELS)]

    levels = hit()
    assert levels[0].npartitions == (SIDE // CHUNK) ** 2
    return [Case("lazy pyramid", hit, 1)]


def array_cases() -> list[Case]:
    """Return the keys of an array."""
    array = np.random.default_rng(1).integers(0, 60_000, ARRAY_MIB << 19, dtype="u2").reshape(64, 512, -1)
    cases = [Case("cvcache key", lambda: digest(canonical_key({"image": array})), 1)]
    return cases if joblib is None else [*cases, Case("joblib.hash", lambda: joblib.hash(array), 1)]


def medians(cases: Iterable[Case], rounds: int) -> dict[str, float]:
    """Return seconds per call of each case; every other round goes backwards."""
    cases = list(cases)
    taken: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(rounds):
        for case in cases[:: -1 if number % 2 else 1]:
            case.act()
            start = time.perf_counter()
            for _ in range(case.calls):
                case.act()
            taken[case.name].append((time.perf_counter() - start) / case.calls)
    return {name: statistics.median(times) for name, times in taken.items()}


def small(directory: Path, rounds: int) -> list[str]:
    """Print the hits of a small result; return what does not hold."""
    found = medians(small_cases(directory), rounds)
    for name, seconds in found.items():
        ratios = [f"{seconds / found[other]:6.2f} of {other}" for other in found if other != name]
        sys.stdout.write(f"{name:14}{seconds * MICRO:9.1f} us   {'   '.join(ratios)}\n")
    bad = _over("a hit / open+read", found["cvcache"] / found["open+read"], OPEN_READ)
    return bad + (_over("a hit / joblib", found["cvcache"] / found["joblib"], OF_JOBLIB) if "joblib" in found else [])


def lazy(directory: Path, rounds: int) -> list[str]:
    """Print the hit of a lazy pyramid; return what does not hold."""
    found = medians(pyramid_cases(directory), rounds)["lazy pyramid"]
    sys.stdout.write(f"{'lazy pyramid':14}{found * MILLI:9.2f} ms   {LEVELS} levels, {(SIDE // CHUNK) ** 2} chunks\n")
    return _over("milliseconds of a lazy pyramid", found * MILLI, PYRAMID_SECONDS * MILLI)


def array(rounds: int) -> list[str]:
    """Print the keys of an array; return what does not hold."""
    found: Mapping[str, float] = medians(array_cases(), rounds)
    for name, seconds in found.items():
        sys.stdout.write(f"{name:14}{seconds * MILLI:9.1f} ms   {ARRAY_MIB} MiB\n")
    return _over("a key / joblib.hash", found["cvcache key"] / found["joblib.hash"], OF_HASH) if joblib else []


def _over(what: str, value: float, bound: float) -> list[str]:
    return [f"{what} is {value:.3f}, at most {bound:g} is asked"] if value > bound else []


def main() -> int:
    """Measure, print, and say whether the bounds hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=101, help="of which the medians are shown (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound does not hold")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hit-") as name:
        directory = Path(name)
        bad = small(directory, options.rounds) + lazy(directory, options.rounds) + array(max(3, options.rounds // 10))
    if joblib is None:
        sys.stdout.write("joblib: not installed\n")
    if options.check:
        sys.stdout.write("".join(f"NOT HELD: {line}\n" for line in bad) or "all bounds hold\n")
    return int(options.check and bool(bad))


if __name__ == "__main__":
    sys.exit(main())
