"""How long a key takes, in microseconds: medians of alternating runs.

``python tests/benchmarks/key_time.py`` exits with 1 if an array of 64 MiB takes over a quarter of `joblib.hash`.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING

import numpy as np

from cvcache.keys import canonical_key, digest
from cvcache.keys.functions import canonical_code

if TYPE_CHECKING:
    from collections.abc import Callable

LEVEL = 3


def helper(image: np.ndarray) -> np.ndarray:
    return image * LEVEL


def smooth(image: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    return helper(image) ** sigma


BOUND = 4


def main() -> int:
    image = np.random.default_rng(1).integers(0, 2**16, (64, 512, 1024), dtype="u2")
    strided = np.repeat(image, 2, axis=0)[::2]
    small = {"sigma": 2.0, "level": 3, "mode": "reflect", "size": [3, 3]}
    cases: dict[str, tuple[Callable[[], object], int]] = {
        "small dict": (lambda: digest(canonical_key(small)), 2000),
        "code of a function, again": (lambda: canonical_code(smooth), 2000),
        "64 MiB uint16": (lambda: canonical_key(image), 1),
        "64 MiB uint16, not contiguous": (lambda: canonical_key(strided), 1),
    }
    try:
        import joblib  # type: ignore[import-untyped]
    except ImportError:
        sys.stderr.write("joblib is not installed, so there is nothing to compare with\n")
    else:
        cases |= {
            "small dict, joblib.hash": (lambda: joblib.hash(small), 200),
            "64 MiB uint16, joblib.hash": (lambda: joblib.hash(image), 1),
        }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(9):
        for name, (run, count) in cases.items():
            start = time.perf_counter()
            for _ in range(count):
                run()
            times[name].append((time.perf_counter() - start) / count)
    for name, taken in times.items():
        print(f"{name:36}{statistics.median(taken) * 1e6:12.1f} us")  # noqa: T201 - this is the command
    theirs, ours = times.get("64 MiB uint16, joblib.hash"), times["64 MiB uint16"]
    if theirs is None:
        return 0
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"joblib.hash takes {ratio:.1f} times as long (at least {BOUND})")  # noqa: T201 - as above
    return int(ratio < BOUND)


if __name__ == "__main__":
    sys.exit(main())
