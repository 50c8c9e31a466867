"""What writing a pyramid of five levels takes, beside the least it can take and beside other packages.

    python tests/benchmarks/pyramid_write.py [--size 512MiB] [--rounds 3] [--peers all] [--shards]
                                             [--memory-growth] [--check]

Each peer runs in a process of its own, in alternating rounds with the limit: the source once, the codec and
one plain file per chunk, without downsampling, dask and metadata. README.md says what each column means. With
``--check`` the command exits with 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from peers.limit import stand_in
from peers.volume import LEVELS, SHAPES, SHARDS, SOURCE, Volume
from peers.writers import LIMIT, NOTHING_WRITTEN, PEERS

MIB = 2**20
CPU_BOUNDS = {"cvcache": 1.10, "cvcache-sharded": 1.15}
PEAK_BLOCKS = 12
GROWTH = 1.10
SMALL, LARGE = "512MiB", "4GiB"
HEAD = "peer|version|CPU s|CPU/limit|net|wall s|wall/limit|peak MiB|files|MiB|calls/block|levels|level 0|downsampling"
TEXT_COLUMNS = (0, 1, 12, 13)

Run = dict[str, Any]


def run(name: str, size: str, *, shards: bool) -> Run:
    """Run one peer once, in a fresh process and directory."""
    with tempfile.TemporaryDirectory(prefix="pyramid-write-") as directory:
        words = [sys.executable, "-m", "peers.one", name, size, directory, "shards" if shards else "plain"]
        done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def version(name: str) -> str | None:
    """Return the installed version of a peer's package, an empty one if it needs none, None if it is missing."""
    if PEERS[name].distribution is None:
        return ""
    try:
        return importlib.metadata.version(PEERS[name].distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def measure(names: Sequence[str], size: str, rounds: int, *, shards: bool) -> dict[str, list[Run]]:
    """Return the runs of each peer; every other round goes backwards, the limit runs first, amid and last."""
    runs: dict[str, list[Run]] = {name: [] for name in (LIMIT, NOTHING_WRITTEN, *names)}
    for number in range(rounds):
        order = [NOTHING_WRITTEN, *names][:: -1 if number % 2 else 1]
        half = (len(order) + 1) // 2
        for name in (LIMIT, *order[:half], LIMIT, *order[half:], LIMIT):
            _progress(f"round {number + 1} of {rounds}: {name}")
            if not any("failed" in one for one in runs[name]):
                runs[name].append(run(name, size, shards=shards))
    _progress("")
    return runs


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text:60}\r")
        sys.stderr.flush()


def summary(runs: Mapping[str, list[Run]], size: str) -> dict[str, Run]:
    """Return the medians of each peer that worked, and its ratios to the limit's."""
    found = {name: _median(every) for name, every in runs.items() if not any("failed" in one for one in every)}
    if LIMIT not in found or NOTHING_WRITTEN not in found:
        sys.exit(f"the limit itself failed: {runs[LIMIT][-1]}, {runs[NOTHING_WRITTEN][-1]}")
    limit, source = found[LIMIT], found[NOTHING_WRITTEN]["cpu"]
    blocks = Volume(SHAPES[size], "").blocks
    twice = 1 + len(stand_in(blocks)) / len(blocks)
    for one in found.values():
        one["cpu ratio"], one["wall ratio"] = one["cpu"] / limit["cpu"], one["wall"] / limit["wall"]
        one["net"] = (one["cpu"] - source) / (limit["cpu"] - twice * source)
    return found


def _median(runs: list[Run]) -> Run:
    last = dict(runs[-1])
    for key in ("cpu", "wall", "peak"):
        values = [one[key] for one in runs if one[key] is not None]
        last[key] = statistics.median(values) if values else None
    last["calls"] = [max(each) for each in zip(*(one["calls"] for one in runs), strict=True)]
    for key in ("level0", "shrunk"):
        last[key] = " / ".join(dict.fromkeys(one[key] for one in runs))
    return last


def row(name: str, one: Run) -> list[str]:
    """Return the cells of one line of the table."""
    mean, most = one["calls"]
    return [
        name,
        version(name) or "",
        f"{one['cpu']:.2f}",
        f"{one['cpu ratio']:.2f}",
        f"{one['net']:.2f}",
        f"{one['wall']:.2f}",
        f"{one['wall ratio']:.2f}",
        _mebibytes(one["peak"]),
        str(one["files"]),
        _mebibytes(one["bytes"]),
        f"{mean:.2f}" if most in (mean, mean.__ceil__()) else f"{mean:.2f}, most {most}",
        str(one["levels"]),
        one["level0"],
        one["shrunk"],
    ]


def _mebibytes(count: float | None) -> str:
    return "?" if count is None else f"{count / MIB:.0f}"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as aligned text, numbers to the right."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if place in TEXT_COLUMNS else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        for cells in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def failures(found: Mapping[str, Run], names: Sequence[str]) -> list[str]:
    """Return the bounds that do not hold for the entries of cvcache among `names`."""
    bad = []
    others = {name: found[name]["cpu ratio"] for name in names if PEERS[name].judged and name in found}
    for name in (name for name in names if name in CPU_BOUNDS):
        if name not in found:
            bad.append(f"{name} failed")
            continue
        one, bound = found[name], CPU_BOUNDS[name]
        ratio = one["cpu ratio"]
        if ratio > bound:
            bad.append(f"{name}: CPU/limit is {ratio:.3f}, at most {bound:.2f} is asked")
        bad += [f"{name}: {other} takes less CPU, {its:.3f}" for other, its in others.items() if its <= ratio]
        if one["calls"] != [1, 1]:
            bad.append(f"{name}: a block of the source is computed {one['calls'][0]} times, not exactly once")
        if one["level0"] != "equal" or not one["shrunk"].startswith("mean 2x2x2") or ";" in one["shrunk"]:
            bad.append(f"{name}: level 0 is {one['level0']}, the others are {one['shrunk']}")
        if one["levels"] != LEVELS:
            bad.append(f"{name}: {one['levels']} levels, not {LEVELS}")
        most = PEAK_BLOCKS * 2 * SOURCE[0] * SOURCE[1] * SOURCE[2]
        if name == "cvcache" and (one["peak"] is None or one["peak"] > most):
            bad.append(f"{name}: peak memory {_mebibytes(one['peak'])} MiB, at most {_mebibytes(most)} MiB is asked")
    return bad


def growth(rounds: int) -> list[str]:
    """Print the peak of cvcache at 512 MiB and at 4 GiB; return what does not hold."""
    runs: dict[str, list[Run]] = {size: [] for size in (SMALL, LARGE)}
    for _, size in itertools.product(range(rounds), runs):
        one = run("cvcache", size, shards=False)
        if "failed" in one or one["peak"] is None:
            return [f"memory growth: not measured at {size}: {one.get('failed', 'no /proc/self/clear_refs')}"]
        runs[size].append(one)
    peaks = {size: statistics.median(one["peak"] for one in every) for size, every in runs.items()}
    ratio = peaks[LARGE] / peaks[SMALL]
    told = ", ".join(f"{size}: {_mebibytes(peak)} MiB" for size, peak in peaks.items())
    sys.stdout.write(f"memory growth of cvcache: {told}, ratio {ratio:.3f} (at most {GROWTH:.2f})\n")
    return [f"memory grows by {ratio:.3f}, at most {GROWTH:.2f} is asked"] if ratio > GROWTH else []


def arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", choices=SHAPES, default=SMALL, help="of level 0 (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the medians are shown (default: %(default)s)")
    parser.add_argument("--peers", default="all", help=f"some of {','.join(p for p in PEERS if version(p) != '')}")
    parser.add_argument(
        "--shards", action="store_true", help="everybody who can writes shards; the others are left out"
    )
    parser.add_argument("--memory-growth", action="store_true", help=f"of cvcache, from {SMALL} to {LARGE}")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bound does not hold")
    options = parser.parse_args()
    choice = [name for name in PEERS if name not in (LIMIT, NOTHING_WRITTEN)]
    names = choice if options.peers == "all" else options.peers.split(",")
    unknown = [name for name in names if name not in choice]
    if unknown or options.rounds < 1:
        parser.error(f"unknown peers {unknown}, choose from {choice}" if unknown else "at least one round")
    options.names = [name for name in names if not options.shards or PEERS[name].can_shard]
    return options


def main() -> int:
    """Measure, print, and say whether the bounds hold."""
    options = arguments()
    installed = [name for name in options.names if version(name) is not None]
    runs = measure(installed, options.size, options.rounds, shards=options.shards)
    found = summary(runs, options.size)
    layout = "shards " + "x".join(map(str, SHARDS)) if options.shards else "no shards but where named"
    sys.stdout.write(f"{options.size}, {options.rounds} rounds, {layout}\n\n")
    sys.stdout.write(table([HEAD.split("|"), *(row(name, found[name]) for name in runs if name in found)]) + "\n")
    for name in options.names:
        if name not in installed:
            sys.stdout.write(f"{name}: not installed\n")
        elif name not in found:
            sys.stdout.write(f"{name}: failed: {runs[name][-1]['failed']}\n")
    spread = [one["cpu"] for one in runs[LIMIT]], [one["wall"] for one in runs[LIMIT]]
    told = ", ".join(f"{what} {min(s):.2f} to {max(s):.2f} s" for what, s in zip(("CPU", "wall"), spread, strict=True))
    sys.stdout.write(f"{len(runs[LIMIT])} runs of the limit: {told}\n")
    bad = failures(found, options.names) + (growth(options.rounds) if options.memory_growth else [])
    if options.check:
        sys.stdout.write("".join(f"NOT HELD: {line}\n" for line in bad) or "all bounds hold\n")
    return int(options.check and bool(bad))


if __name__ == "__main__":
    sys.exit(main())
