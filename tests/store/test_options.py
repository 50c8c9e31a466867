"""Storage options belong to the handle they were given to; without any it is the environment that counts."""

from __future__ import annotations

import pickle
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest
from servers import object_stores

import cvcache
from cvcache import CacheDir
from cvcache.node import address_of, snapshot_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.object_stores import S3Server
    from servers.store_cases import BucketCase

runs: list[str] = []


@cvcache.step(version=1)
def make(out: CacheDir, value: object) -> None:
    runs.append(out.name)
    out.write("value.json", str(value))


@pytest.fixture(autouse=True)
def _forget_runs() -> None:
    runs.clear()


@pytest.fixture
def environment(s3_case: BucketCase, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make the server that of the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_case.server.endpoint)
    return monkeypatch


@pytest.fixture(scope="module")
def other_server() -> Iterator[S3Server]:
    with object_stores.atomic_s3() as server:
        yield server


@pytest.fixture
def twins(s3_server: S3Server, other_server: S3Server) -> list[tuple[str, dict[str, Any]]]:
    """Give the same URL on two servers, each with the options for it."""
    bucket = f"twins-{uuid.uuid4().hex}"
    for server in (s3_server, other_server):
        server.client().create_bucket(Bucket=bucket)
    return [(f"s3://{bucket}/run", server.storage_options) for server in (s3_server, other_server)]


@pytest.mark.parametrize("wrong", [{"profile": "nobody"}, {"endpoint_url": "http://127.0.0.1:9"}])
def test_a_mistake_is_not_remembered(
    s3_case: BucketCase, environment: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    make(cvcache.cdir(s3_case.url) / "a", 1)
    with pytest.raises((OSError, cvcache.UsageError)):
        cvcache.cdir_query(f"{s3_case.url}/a", **wrong)
    assert cvcache.cdir_query(f"{s3_case.url}/a").read("value.json") == "1"
    assert cvcache.cdir_query(f"{s3_case.url}/a", **s3_case.options).committed
    environment.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(OSError, match="no server answers"):
        cvcache.cdir_query(f"{s3_case.url}/a")


def test_a_mistake_in_the_environment_is_not_remembered(s3_case: BucketCase, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_PROFILE", "nobody")
    with pytest.raises((OSError, cvcache.UsageError)):
        cvcache.cdir_query(s3_case.url)
    environment.delenv("AWS_PROFILE")
    assert cvcache.cdir_query(s3_case.url).state == "absent"


@pytest.mark.usefixtures("environment")
def test_what_was_anonymous_is_so_no_more(s3_case: BucketCase) -> None:
    anonymous = address_of(cvcache.cdir(s3_case.url, anon=True)).store
    store = address_of(cvcache.cdir(s3_case.url)).store
    assert (anonymous._fs.anon, store._fs.anon) == (True, False)
    assert address_of(cvcache.cdir(f"{s3_case.url}/b")).store is store


def test_one_server_by_options_another_by_the_environment(
    twins: list[tuple[str, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (url, here), (_, there) = twins
    make(cvcache.cdir(url, **here) / "a", "here")
    monkeypatch.setenv("AWS_ENDPOINT_URL", there["endpoint_url"])
    assert make(cvcache.cdir(url) / "a", "there").computed
    assert cvcache.cdir_query(f"{url}/a").read("value.json") == "there"
    assert cvcache.cdir_query(f"{url}/a", **here).read("value.json") == "here"


def test_two_handles_side_by_side(twins: list[tuple[str, dict[str, Any]]]) -> None:
    nodes = [cvcache.cdir_init(cvcache.cdir(url, **options) / "a", {"k": 1}) for url, options in twins]
    for number, node in enumerate(nodes):
        node.write("value.json", number)
    inner = [cvcache.cdir_init(node / "inner") for node in nodes]
    assert [snapshot_of(child).attempt is not None for child in inner] == [True, True]
    for node in (*inner, *nodes):
        with node:
            pass
    again = [cvcache.cdir_query(cvcache.cdir(url, **options) / "a") for url, options in twins]
    assert [node.read("value.json") for node in again] == [0, 1]
    assert [pickle.loads(pickle.dumps(node)).read("value.json") for node in again] == [0, 1]  # noqa: S301 - our own bytes


def test_options_as_a_dict(s3_case: BucketCase) -> None:
    root = cvcache.cdir(s3_case.url, storage_options=s3_case.options)
    assert make(root / "a", 1).computed
    found = cvcache.cdir_init(f"{s3_case.url}/b", {"n": 1}, storage_options=s3_case.options)
    assert found.state == "running"
    cvcache.cdir_commit(found)
    assert [node.name for node in cvcache.cdir_walk(s3_case.url, storage_options=s3_case.options)] == ["a", "b"]
    assert cvcache.cdir(s3_case.url, storage_options=None) == root
    with pytest.raises(cvcache.UsageError, match="anon is given both"):
        cvcache.cdir(s3_case.url, anon=True, storage_options={"anon": True})
    with pytest.raises(cvcache.UsageError, match="is a dict"):
        cvcache.cdir(s3_case.url, storage_options="anon")
    with pytest.raises(cvcache.UnknownOption, match="from cdir"):
        cvcache.cdir(root, storage_options={"anon": True})
    with pytest.raises(cvcache.UnknownOption, match="secret"):
        cvcache.cdir_init(s3_case.url, key="k", secret="s")


def test_a_link_is_read_with_the_options_of_its_tree(s3_case: BucketCase) -> None:
    s3_case.put("raw.tif", b"raw")
    with cvcache.cdir_init(cvcache.cdir(s3_case.url, **s3_case.options) / "a") as node:
        node.write("raw.ref", f"{s3_case.url}/raw.tif")
    assert node.read("raw.ref") == b"raw"
    with pytest.raises(OSError, match="no server answers"):
        cvcache.open_image(f"{s3_case.url}/raw.zarr")


def test_a_url_in_a_key_is_asked_for_with_the_options_of_the_node(
    s3_case: BucketCase, caplog: pytest.LogCaptureFixture
) -> None:
    s3_case.put("raw.tif", b"raw")
    url = f"{s3_case.url}/raw.tif"
    refused = SimpleNamespace(protocol="s3", storage_options={"endpoint_url": "http://127.0.0.1:9"})
    wrong = type("S3Path", (SimpleNamespace,), {"__fspath__": lambda _: url, "__str__": lambda _: url})(**vars(refused))
    root = cvcache.cdir(s3_case.url, **s3_case.options)
    make(root / "wrong", wrong)
    assert "nobody could be asked" in caplog.text
    caplog.clear()
    assert make(root / "a", url).computed
    assert not make(root / "a", url).computed
    s3_case.put("raw.tif", b"newer")
    assert make(root / "a", url).computed
    assert "nobody could be asked" not in caplog.text


def test_a_handle_keeps_its_options_through_a_pickle(s3_case: BucketCase) -> None:
    root = cvcache.cdir(s3_case.url, **s3_case.options)
    data = pickle.dumps(root)
    assert make(pickle.loads(data) / "a", 1).computed  # noqa: S301 - our own bytes
    assert not any(s3_case.options[name].encode() in data for name in ("secret", "endpoint_url"))


def test_a_node_that_is_open_is_committed_by_its_url_alone(twins: list[tuple[str, dict[str, Any]]]) -> None:
    (url, here), (_, there) = twins
    node = cvcache.cdir_init(f"{url}/a", {"z": 1}, storage_options=here)
    with pytest.raises(cvcache.NotOpen):
        cvcache.cdir_commit(f"{url}/a", **there)
    retried = cvcache.cdir(f"{url}/a/child", policy=cvcache.Policy(retries=1), **here)
    assert cvcache.cdir_commit(cvcache.cdir_init(retried)).key == {"z": 1}
    assert cvcache.cdir_commit(f"{url}/a") == node.commit


def test_no_options_are_pickled_as_none(
    s3_case: BucketCase, environment: pytest.MonkeyPatch, other_server: S3Server
) -> None:
    environment.setenv("AWS_ENDPOINT_URL", s3_case.server.endpoint)
    root = cvcache.cdir(s3_case.url)
    with cvcache.cdir_init(root / "a") as node:
        node.write("x.ome.zarr", da.ones((4, 4), chunks=2))
    with pytest.raises(OSError):  # noqa: PT011 - whatever that server says
        cvcache.cdir_query(s3_case.url, **other_server.storage_options)
    for copy in (pickle.loads(pickle.dumps(node.read("x.ome.zarr"))), pickle.loads(pickle.dumps(node))["x.ome.zarr"]):  # noqa: S301 - our own bytes
        assert np.asarray(copy).sum() == 16
    assert address_of(pickle.loads(pickle.dumps(node))).store is address_of(node).store  # noqa: S301 - the same


def test_plans_tell_servers_apart(twins: list[tuple[str, dict[str, Any]]]) -> None:
    with cvcache.plan() as planned:
        for url, options in twins:
            make(cvcache.cdir(url, **options) / "a", 1)
    assert [row.action for row in planned.rows] == ["compute", "compute"]
