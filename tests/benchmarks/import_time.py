"""How long ``import cvcache`` takes beside ``import numpy``: medians of alternating fresh processes.

    python tests/benchmarks/import_time.py [ROUNDS]

Exits with 1 if it is a third or more.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

LINES = ("import numpy", "import cvcache", "from cvcache import cdir_init")


def seconds(line: str) -> float:
    """Return how long one line takes in a fresh process, the start of Python not counted."""
    code = f"import time; start = time.perf_counter(); {line}; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def main(rounds: int = 15) -> int:
    """Measure, print, and say whether the bound holds."""
    for line in LINES:  # bring everything into the page cache
        seconds(line)
    times: dict[str, list[float]] = {line: [] for line in LINES}
    for _ in range(rounds):
        for line in LINES:
            times[line].append(seconds(line))
    medians = {line: statistics.median(taken) for line, taken in times.items()}
    for line, median in medians.items():
        sys.stdout.write(f"{line:32} {median * 1000:7.1f} ms   {median / medians[LINES[0]]:.3f} of numpy\n")
    return int(medians["import cvcache"] >= medians["import numpy"] / 3)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
