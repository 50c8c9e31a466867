"""Many nodes of small objects through a bad network: nothing lost, nothing wrong, nobody robbed by mistake."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from servers.fault_proxy import Fault, FaultProxy, seeded

from cvcache.protocol import load_record
from processes.figures import Figures
from processes.herd import Herd

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.fault_proxy import Request
    from servers.object_stores import ObjectServer

RATES = {Fault.UNAVAILABLE: 0.05, Fault.RESET: 0.01, Fault.LOST: 0.01, Fault.TRUNCATED: 0.02}
THREADS = 10
PIECES = 37
OBJECTS = PIECES + 3
"""That a node has: a directory item and three files."""
# beats go through the same network, one attempt after the other, and a library may wait seconds between two tries
POLICY = {"ttl": 12, "request_timeout": 10, "nap": 0.3}


@pytest.mark.parametrize("kind", ["s3", "gcs"])
@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(500, marks=pytest.mark.timeout(900)),
        pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(7200)]),
    ],
)
@pytest.mark.server
def test_nothing_is_lost_on_a_bad_network(
    objects: int, kind: str, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    server: ObjectServer = request.getfixturevalue(f"{kind}_server")
    figures = Figures(f"5% 503, 1% reset, 1% lost reply, 2% truncated, {kind}", record_property)
    bucket = server.new_bucket()
    names = [f"tree/node-{number}" for number in range(objects // OBJECTS)]
    urls = [f"{server.protocol}://{bucket}/{name}" for name in names]
    # some nodes are wanted by both processes, so that claims compete
    third = len(names) // 3
    with FaultProxy(server.port, seeded(RATES, seed=objects)) as proxy, Herd(modules=[f"{kind}fs"]) as herd:
        workers = [
            herd.spawn(
                "fill_many",
                urls=wanted,
                policy=POLICY,
                options=server.options_for(proxy.endpoint),
                direct=server.storage_options,
                pieces=PIECES,
                threads=THREADS,
                seed=number,
            )
            for number, wanted in enumerate((urls[: 2 * third], urls[third:]))
        ]
        done = [worker.wait_for("done", 6000) for worker in workers]
        for worker in workers:
            worker.join()
        log = list(proxy.log)
        counts = proxy.counts
    errors = [example for report in done for example in report["examples"]]
    assert not errors, errors
    assert sum(report["computed"] for report in done) == len(names)
    figures.add("objects", len(names) * OBJECTS).add("nodes", len(names)).add("requests", len(log))
    for fault in RATES:
        figures.add(fault.value, counts[fault])
        assert counts[fault]
    keys = set(server.keys(bucket))
    for name in names:
        log_keys = sorted(key for key in keys if key.startswith(f"{name}/_cvcache/log/"))
        states = [load_record(server.get(bucket, key)).state for key in log_keys]
        assert states == ["claimed", "committed"], (name, states)
        figures.add("commits").add("LeaseLost", 0)
    if kind == "s3":
        figures.add("early commits", _early_commits(log, bucket))
        assert figures["early commits"] == 0
    figures.tell()


def _early_commits(log: list[tuple[Request, Fault | None]], bucket: str) -> int:
    """Count the fates that were asked for before every object of their node had been acknowledged.

    S3 has the key of each object in the request, so the proxy has seen it all.
    """
    acknowledged: set[str] = set()
    early = 0
    for request, fault in log:
        path = request.target.partition("?")[0].removeprefix(f"/{bucket}/")
        if request.method != "PUT":
            continue
        if fate := re.fullmatch(r"(.*)/_cvcache/log/000002-[0-9a-f]{16}\.json", path):
            items = [key for key in acknowledged if key.startswith(f"{fate[1]}/") and "/_cvcache/" not in key]
            early += len(items) != OBJECTS
        elif fault in {None, Fault.TRUNCATED}:
            # the reply to a PUT has no body to be cut off
            acknowledged.add(path)
    return early
