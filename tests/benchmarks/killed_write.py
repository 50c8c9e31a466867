"""How much of an image is computed again after its write was killed at 90 %, beside other packages.

    python tests/benchmarks/killed_write.py [--size 512MiB] [--at 0.9] [--rounds 3] [--peers NAME...] [--check]

Each write is a process of its own that gets SIGKILL when that share of the blocks of its source was made, and is
started once more with the same arguments; what then refuses to write over the rest gets an empty directory. Nothing
is timed. With ``--check`` the command exits with 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers.volume import SHAPES, Volume
from peers.writers import LIMIT, NOTHING_WRITTEN, PEERS

MOST = 0.06
WRITE = """
import sys
import dask
from peers.volume import SHAPES, Volume
from peers.writers import PEERS

name, size, out = sys.argv[1:]
with dask.config.set(scheduler="threads", num_workers=2):
    finish = PEERS[name].load(shards=False)(Volume(SHAPES[size], ""), out)
    if finish is not None:
        finish()
"""


def computed_again(name: str, size: str, at: float) -> float:
    """Return how many blocks were made more than once, as a share of all blocks."""
    with tempfile.TemporaryDirectory(prefix="killed-write-") as directory:
        out, calls, blocks = Path(directory, "out"), Path(directory, "calls"), len(Volume(SHAPES[size], "").blocks)
        calls.touch()
        out.mkdir()
        command = [sys.executable, "-c", WRITE, name, size, str(out)]
        place = {"cwd": Path(__file__).parent, "env": os.environ | {"CALLS": str(calls)}}
        with subprocess.Popen(command, **place) as first:
            while lines(calls) < at * blocks and first.poll() is None:
                time.sleep(0.002)
            first.kill()
        if first.returncode >= 0:
            sys.exit(f"{name} ended before it was killed, exit code {first.returncode}")
        if subprocess.run(command, **place, capture_output=True, check=False).returncode:
            shutil.rmtree(out)
            out.mkdir()
            subprocess.run(command, **place, check=True)
        return lines(calls) / blocks - 1


def lines(calls: Path) -> int:
    """Return how many blocks of the source were made so far."""
    return calls.read_bytes().count(b"\n")


def installed() -> list[str]:
    """Return the peers that are there, and write an image."""
    names = [name for name in PEERS if name not in {LIMIT, NOTHING_WRITTEN}]
    return [name for name in names if importlib.util.find_spec((PEERS[name].distribution or "dask").replace("-", "_"))]


def main() -> int:
    """Measure, print a table, and say whether the bound holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SHAPES, default="512MiB")
    parser.add_argument("--at", type=float, default=0.9, help="the share of the blocks that are made before the kill")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=installed())
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    shares = {
        name: statistics.median(computed_again(name, options.size, options.at) for _ in range(options.rounds))
        for name in options.peers
    }
    for name, share in shares.items():
        sys.stdout.write(f"{name:28} {share:6.1%} of the blocks computed again\n")
    return int(options.check and any(share > MOST for name, share in shares.items() if name.startswith("cvcache")))


if __name__ == "__main__":
    sys.exit(main())
