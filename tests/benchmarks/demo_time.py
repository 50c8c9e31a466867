"""How long the second run of the demo takes beside the first: whole processes, as a user sees them.

    python tests/benchmarks/demo_time.py [URL [-o NAME=VALUE]...]

Each round fills a fresh tree at URL/roundN, by default in a temporary directory. Exits with 1 if the
median ratio is over a quarter.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import uuid

ROUNDS = 3


def seconds(*words: str) -> float:
    """Return how long one ``cvcache demo`` takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "cvcache.cli.main", "demo", *words], check=True, capture_output=True)
    return time.perf_counter() - start


def main(url: str | None = None, *options: str) -> int:
    """Measure, print, and say whether the bound holds."""
    with tempfile.TemporaryDirectory() as directory:
        ratios = []
        for number in range(ROUNDS):
            place = f"{url or directory}/{uuid.uuid4().hex[:8]}-round{number}"
            first, second = seconds(place, *options), seconds(place, *options)
            ratios.append(second / first)
            sys.stdout.write(f"round {number}: first {first:5.2f} s, second {second:5.2f} s, ratio {ratios[-1]:.3f}\n")
    median = statistics.median(ratios)
    sys.stdout.write(f"median ratio {median:.3f} (at most 0.25)\n")
    return int(median > 0.25)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
