"""Steps and dask.distributed: handles travel, workers fill children of the driver's node, nobody computes twice."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import dask
import pytest

import cvcache
from cvcache import CacheDir, Item
from cvcache.node import address_of, snapshot_of

pytest.importorskip("distributed")
from distributed import Client, LocalCluster  # after the skip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.store_cases import BucketCase, LocalCase


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


@cvcache.step(version=1)
def tile(out: CacheDir, number: int) -> None:
    out.write("value.json", number * 10)
    out.write("pid.json", os.getpid())


@cvcache.step(version=1)
def total(out: CacheDir, parts: list[Item]) -> None:
    out.write("total.json", sum(part.read() for part in parts))


def fill_tile(out: CacheDir, number: int) -> CacheDir:
    """Fill, on a worker, a child of a node that the driver holds."""
    return tile(out / f"tile-{number}", number)


def fill_by_hand(out: CacheDir, number: int) -> CacheDir:
    with cvcache.cdir_init(out / f"hand-{number}", {"n": number}) as child:
        if not child.committed:
            child.write("n.json", number)
    return child


@pytest.mark.parametrize("place", ["local_case", "s3_case"])
def test_workers_fill_children_of_the_drivers_attempt(
    client: Client, place: str, request: pytest.FixtureRequest
) -> None:
    case: LocalCase | BucketCase = request.getfixturevalue(place)
    if case.options:
        client.run(_reach, case.url, case.options)
    root = cvcache.cdir(case.url, **case.options)
    with cvcache.cdir_init(root / "tiles", {"count": 4}) as out:
        nodes = client.gather(client.map(fill_tile, [out] * 4, range(4), pure=False))
        hands = client.gather(client.map(fill_by_hand, [out] * 4, range(4), pure=False))
        assert all(node.committed and node.computed for node in (*nodes, *hands))
        out.write("count.json", len(nodes))
    assert {node.read("pid.json") for node in nodes}.isdisjoint({os.getpid()})
    assert [child.name for child in (root / "tiles").children()] == [
        *(f"hand-{i}" for i in range(4)), *(f"tile-{i}" for i in range(4))
    ]  # fmt: skip
    summed = total(root / "total", [node["value.json"] for node in nodes])
    assert summed.read("total.json") == 60
    again = [fill_tile(root / "tiles", number) for number in range(4)]
    assert not any(node.computed for node in again)
    assert total(root / "total", [node["value.json"] for node in again]).computed is False


def _reach(url: str, options: dict[str, object]) -> None:
    """Open the bucket in a worker, as a script does that gets its credentials from the environment."""
    address_of(cvcache.cdir(url, **options)).store  # noqa: B018 - opened, it lends its options to handles that arrive


def test_workers_that_want_the_same_node_compute_it_once(client: Client, local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.url)
    nodes = client.gather(client.map(fill_tile, [root] * 6, [1] * 6, pure=False))
    assert len({node.read("pid.json") for node in nodes}) == 1
    assert len({snapshot_of(node).record.attempt for node in nodes}) == 1


def test_a_driver_that_fails_keeps_what_workers_committed(client: Client, local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.url)
    with pytest.raises(ZeroDivisionError), cvcache.cdir_init(root / "tiles", {"count": 1}) as out:  # noqa: PT012 - the driver works, then fails
        client.submit(fill_tile, out, 1, pure=False).result()
        raise ZeroDivisionError
    assert cvcache.cdir_query(root / "tiles").state == "failed"
    with cvcache.cdir_init(root / "tiles", {"count": 1}) as out:
        assert client.submit(fill_tile, out, 1, pure=False).result().computed is False


def fill_plane(node: CacheDir, n: object) -> None:
    with cvcache.cdir_init(node / f"plane{n}") as d:
        if not d.committed:
            d.write("n.json", n)


def fill_with(node: CacheDir, value: int) -> object:
    with cvcache.cdir_init(node / "child") as d:
        if not d.committed:
            d.write("n.json", value)
    return d.read("n.json")


def test_a_worker_that_raises_ends_the_step_and_holds_nobody(client: Client, local_case: LocalCase) -> None:
    @cvcache.step(version=1)
    def work(out: CacheDir, *, planes: list[object]) -> None:
        client.gather(client.map(fill_plane, [out] * len(planes), planes))

    with pytest.raises(cvcache.NotReproducible):
        work(cvcache.cdir(local_case.child("top")), planes=[0, (1, 2)])
    assert cvcache.cdir_query(local_case.child("top")).state == "failed"
    assert work(cvcache.cdir(local_case.child("top")), planes=[0, 1]).committed


def test_a_child_that_a_worker_fills_has_its_parents_key(client: Client, local_case: LocalCase) -> None:
    values = []
    for value in (1, 2):
        with cvcache.cdir_init(local_case.child("top"), {"value": value}) as d:
            values.append(client.submit(fill_with, d, value, pure=False).result())
    assert values == [1, 2]
