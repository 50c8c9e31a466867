"""Fixtures for all tests: one server of each kind per session, and a fresh root on each kind of store."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import TYPE_CHECKING

import pytest

_NOWHERE = {
    # gcsfs reads this when it is imported: without it each bucket costs a gRPC call that an emulator never answers
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    # no credentials, profile or endpoint of whoever runs the tests; a forgotten option ends on a closed port
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "testtest",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "CLOUDSDK_CONFIG": os.devnull,
    "NO_GCE_CHECK": "true",
    "FSSPEC_CONFIG_DIR": os.devnull,
    # every server is on loopback
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    # plots need no display
    "MPLBACKEND": "Agg",
}
_FORGOTTEN = ("AWS_", "GOOGLE_", "GCLOUD_", "STORAGE_EMULATOR_", "FSSPEC_", "RCLONE_", "CVCACHE_")
_KEPT = ("CVCACHE_CI", "CVCACHE_FIGURES", "CVCACHE_PEERS_PYTHON")


def _isolate() -> None:
    """Cut the tests off from the accounts of whoever runs them; before anything reads the environment."""
    for name in [name for name in os.environ if name.startswith(_FORGOTTEN) and name not in _KEPT]:
        del os.environ[name]
    os.environ.update(_NOWHERE)


_isolate()

from servers import object_stores  # noqa: E402  # only an isolated environment may be imported into
from servers.store_cases import BucketCase, LocalCase, MemoryCase  # noqa: E402  # the same

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from servers.object_stores import GcsServer, ObjectServer, S3Server
    from servers.store_cases import StoreCase

_SERVER_FIXTURES = {"s3_server", "gcs_server", "rclone_server"}


def pytest_report_header() -> str:
    """Name what the tests run with, so that a report says which end of the supported versions it is of."""
    names = ("zarr", "numpy", "dask", "pandas", "fsspec", "s3fs", "gcsfs", "pyarrow", "ome-zarr", "napari")
    found = {"Python": platform.python_version()} | {name: version for name in names if (version := _installed(name))}
    return "versions: " + ", ".join(f"{name} {version}" for name, version in found.items())


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs a server, so that ``-m "not server"`` runs the rest."""
    for item in items:
        if _SERVER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Give an S3 whose conditional PUT is atomic."""
    with object_stores.atomic_s3() as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[GcsServer]:
    """Give a Google Cloud Storage in memory."""
    with object_stores.fake_gcs() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[S3Server]:
    """Give an S3 look-alike that ignores conditional writes."""
    with object_stores.rclone_s3() as server:
        yield server


@pytest.fixture
def local_case(tmp_path: Path) -> LocalCase:
    """Give a fresh root on the local disk."""
    container = tmp_path / "container"
    container.mkdir()
    return LocalCase(container)


@pytest.fixture
def memory_case() -> Iterator[MemoryCase]:
    """Give a fresh root in the memory store, and empty it after the test."""
    case = MemoryCase()
    yield case
    case.remove()


@pytest.fixture
def s3_case(s3_server: S3Server) -> BucketCase:
    """Give a fresh root in a fresh S3 bucket."""
    return _bucket_case(s3_server)


@pytest.fixture
def gcs_case(gcs_server: GcsServer) -> BucketCase:
    """Give a fresh root in a fresh GCS bucket."""
    return _bucket_case(gcs_server)


@pytest.fixture(
    params=[
        "local",
        "memory",
        pytest.param("s3", marks=pytest.mark.server),
        pytest.param("gcs", marks=pytest.mark.server),
    ]
)
def store_case(request: pytest.FixtureRequest) -> StoreCase:
    """Give a fresh root on each kind of store in turn."""
    case: StoreCase = request.getfixturevalue(f"{request.param}_case")
    return case


def _bucket_case(server: ObjectServer) -> BucketCase:
    return BucketCase(server, server.new_bucket())
