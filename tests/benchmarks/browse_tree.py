"""What it takes to look at a tree of 10,000 nodes in a bucket 20 ms away: requests, and round trips in a row.

    python tests/benchmarks/browse_tree.py [--nodes 10000] [--rounds 5] [--check]

The bucket is a directory served as S3 behind the proxy of the tests, which delays and notes each request. README.md
says what is measured. With ``--check`` the command exits with 1 if a bound does not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the servers of the tests

NEAR, FAR = 0.02, 0.32
"""Seconds each request is held back."""
VISIBLE = 30
"""Rows that a window shows at a time."""
BOUNDS = {"first rows": 10.0, "a level": 3.0}
"""Round trips that may follow one another."""
SLACK = 0.5
"""What the time of the rest, which varies, may add to a number of round trips."""


class Look(NamedTuple):
    """What one look took."""

    requests: int
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and say whether the bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args(argv)
    ok = True
    say(f"{'tree':<16}{'look':<12}{'requests':>9}{'ms at 20 ms':>13}{'round trips':>13}{'bound':>7}")
    for name, fan_out in (("one level", given.nodes), ("levels of 100", 100)):
        with served(given.nodes, fan_out) as proxies:
            rounds = [{delay: looks(*bucket) for delay, bucket in proxies.items()} for _ in range(given.rounds)]
        for look, bound in BOUNDS.items():
            near, far = ([one[delay][look] for one in rounds] for delay in (NEAR, FAR))
            trips = statistics.median((b.seconds - a.seconds) / (FAR - NEAR) for a, b in zip(near, far, strict=True))
            requests = max(one.requests for one in near)
            holds = trips < bound + SLACK and (look == "first rows" or requests <= 2 + 2 * VISIBLE)
            ok = ok and holds
            shown = f"{1000 * statistics.median(one.seconds for one in near):>13.0f}{trips:>13.1f}{bound:>7.0f}"
            say(f"{name:<16}{look:<12}{requests:>9}{shown}{'' if holds else '  does not hold'}")
    return 1 if given.check and not ok else 0


def say(line: str) -> None:
    """Print one line."""
    print(line)  # noqa: T201 - this is the command


@contextlib.contextmanager
def served(nodes: int, fan_out: int) -> Iterator[Mapping[float, tuple[Any, Mapping[str, Any]]]]:
    """Lay a tree of committed nodes, serve it as a bucket, and give by delay the proxy and the options to reach it."""
    from servers.fault_proxy import Fault, FaultProxy
    from servers.object_stores import rclone_s3

    from cvcache.testing import lay_tree

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lay_tree(folder / "bucket" / "tree", nodes, fan_out=fan_out)
        server = stack.enter_context(rclone_s3(folder))
        proxies = {
            delay: stack.enter_context(FaultProxy(server.port, lambda _: Fault.DELAYED, delay=delay))
            for delay in (NEAR, FAR)
        }
        yield {delay: (proxy, server.options_for(proxy.endpoint)) for delay, proxy in proxies.items()}


def looks(proxy: Any, options: Mapping[str, Any]) -> dict[str, Look]:
    """Open a tree as a window does, then a node of it, each with what can be seen of it."""
    from cvcache.browse import Tree

    tree = Tree("s3://bucket/tree", **options)
    tree.top.store.stat(f"{tree.top.path}/nothing")  # connections are there in all but the very first window
    first = measured(proxy, lambda: (tree.open(), see(tree, "")))
    below = next(row.path for row in tree.expand("", 1000).rows if not row.is_item)
    level = measured(proxy, lambda: see(tree, below))
    tree.close()
    return {"first rows": first, "a level": level}


def see(tree: Any, path: str) -> None:
    """Read the rows below `path`, and look at those a window shows."""
    rows = tree.expand(path, 1000).rows
    tree.look([row.path for row in rows if not row.is_item][:VISIBLE])


def measured(proxy: Any, act: Callable[[], object]) -> Look:
    """Return the requests that `act` makes, and its time."""
    before, begun = len(proxy.log), time.perf_counter()
    act()
    seconds = time.perf_counter() - begun
    return Look(len(proxy.log) - before, seconds)


if __name__ == "__main__":
    sys.exit(main())
