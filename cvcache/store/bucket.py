"""Object stores by fsspec: S3, Google Cloud Storage, and any other with a conditional create.

The file system instance is not shared: fsspec reuses instances in a process, and they cache listings.
After a commit of another machine, ``exists`` would still return False.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import IO, Any, Self, TypeVar, cast

from cvcache.errors import InvalidName, UsageError
from cvcache.store.base import RETRIES, Listing, ObjectInfo, Store
from cvcache.store.endpoint import check_endpoint, endpoint_of
from cvcache.store.fileobj import Guard, ObjectWriter, RangeReader
from cvcache.store.layout import probe_path
from cvcache.store.redaction import contains_secret, find_secrets, redact_secrets
from cvcache.store.retry import call_with_retries, http_status, is_access_denied, is_already_exists

T = TypeVar("T")

DELETE_CONCURRENCY = 16
READ_BUFFER_BYTES = 1 << 20
_DIRECTORY_MARKERS = {"", ".gcs_placeholder"}
"""Empty objects that consoles and file systems create for an empty directory."""


def check_scheme(scheme: str) -> None:
    """Raise `InvalidName` for an unknown scheme, `ImportError` if its package is not installed."""
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ValueError:
        msg = (
            f"{scheme}:// is an unknown kind of URL; known are s3://, gs://, memory://, a path on this computer and, "
            "with a package of its own, whatever fsspec can open"
        )
        raise InvalidName(msg) from None
    except ImportError as error:
        packages = {"s3": "'cvcache[s3]'", "gs": "'cvcache[gcs]'"}
        remedy = f"pip install {packages[scheme]}" if scheme in packages else f"install what fsspec needs for {scheme}"
        msg = f"{scheme}:// needs a package that is not installed ({error}); {remedy}"
        raise ImportError(msg) from None


class BucketStore(Store):
    """A store on any fsspec file system of objects, by the generic methods."""

    scheme: str = "bucket"
    shared: bool = True

    def __init__(self, options: Mapping[str, Any], retries: int = RETRIES, *, scheme: str = "") -> None:
        self.scheme = scheme or type(self).scheme  # this class serves many schemes
        self._retries = retries
        self._secrets = find_secrets(options)
        self._endpoint = endpoint_of(self.scheme, options)
        self._fs = self._open_file_system(options)
        self._exclusive: dict[str, bool] = {}
        self._probe_lock = threading.Lock()

    @classmethod
    def create(cls, scheme: str, options: Mapping[str, Any], retries: int) -> Self:
        return cls(options, retries, scheme=scheme)

    def _open_file_system(self, options: Mapping[str, Any]) -> Any:
        import fsspec

        check_scheme(self.scheme)
        required = {"use_listings_cache": False, "skip_instance_cache": True}
        try:
            return fsspec.filesystem(self.scheme, **{**options, **self._client_options(options), **required})
        except Exception as error:  # noqa: BLE001 - each library raises other errors for an invalid option
            message = f"{type(error).__name__}: {redact_secrets(self._secrets, str(error))[:500]}"
        names = ", ".join(sorted(options)) or "none"
        raise UsageError(
            f"{self.scheme}:// cannot be opened with these storage options ({names}): {message}; correct them"
        )

    def _client_options(self, options: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return options for the client that extend those of the user."""
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.scheme!r})"

    def url(self, path: str) -> str:
        return f"{self.scheme}://{path}"

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        try:
            return self._call(path, lambda: self._get(path, start, end))
        except OSError as error:
            if start is not None and http_status(error) == 416:  # noqa: PLR2004 - Range Not Satisfiable: it begins at or after the end
                return b""
            raise

    def put(self, path: str, data: bytes) -> None:
        self._call_in_bucket(path, lambda: self._fs.pipe_file(path, bytes(data)))

    def copy(self, source: str, target: str) -> None:
        self._call(source, lambda: self._fs.cp_file(source, target))

    def put_new(self, path: str, data: bytes) -> bool:
        def create() -> bool:
            try:
                self._fs.pipe_file(path, bytes(data), mode="create")
            except Exception as error:
                if is_already_exists(error):
                    return False
                raise
            return True

        return self._call_in_bucket(path, create) or self._call(path, lambda: self._get(path, None, None)) == data

    def list(self, path: str, limit: int | None = None) -> Listing:
        files, dirs, more = self._call_in_bucket(path, lambda: self._list(path, "/", limit))
        return Listing(
            {n: i for n, i in files.items() if n not in _DIRECTORY_MARKERS or i.size}, tuple(sorted(dirs)), more
        )

    def find(self, path: str) -> dict[str, ObjectInfo]:
        files, _, _ = self._call_in_bucket(path, lambda: self._list(path, ""))
        return files

    def stat(self, path: str) -> ObjectInfo | None:
        try:
            return self._call(path, lambda: self._stat(path))
        except FileNotFoundError:
            return None

    def delete(self, paths: Iterable[str], within: str | None = None) -> None:  # noqa: ARG002 - it has no directories
        def remove(path: str) -> None:
            try:
                self._call(path, lambda: self._fs.rm_file(path))
            except FileNotFoundError:
                return

        with ThreadPoolExecutor(DELETE_CONCURRENCY) as pool:
            list(pool.map(remove, paths))

    def open(self, path: str, mode: str, guard: Guard = nullcontext) -> IO[bytes]:
        if mode == "rb":
            info = self.stat(path)
            if info is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url(path))
            return io.BufferedReader(
                RangeReader(lambda start, end: self.get(path, start, end), info.size), READ_BUFFER_BYTES
            )
        return ObjectWriter(lambda data: self.put(path, data), guard)

    def exclusive(self, path: str) -> bool:
        bucket = path.split("/", maxsplit=1)[0]
        with self._probe_lock:
            if bucket not in self._exclusive:
                self._exclusive[bucket] = self._probe(probe_path(path, os.urandom(8).hex()))
            return self._exclusive[bucket]

    def _probe(self, path: str) -> bool:
        """Create one object twice with different bytes; a store that elects one winner keeps the first."""
        try:
            return self.put_new(path, b"first") and not self.put_new(path, b"second") and self.get(path) == b"first"
        finally:
            self.delete([path])

    def _call(self, path: str, request: Callable[[], T]) -> T:
        """Run one request with retries; an error is raised as an `OSError` without secrets."""
        try:
            if self._endpoint is not None:
                check_endpoint(self._endpoint)
                self._endpoint = None
            return call_with_retries(request, self._retries)
        except Exception as error:  # noqa: BLE001 - the libraries below share no base class
            failure = self._failure(path, error)
        raise failure  # outside of except it has no context, which would be pickled with it

    def _failure(self, path: str, error: Exception) -> Exception:
        """Return the error to raise for `error`: with a remedy if access was denied, and without secrets."""
        message = redact_secrets(self._secrets, str(error))
        if is_access_denied(error):
            msg = (
                f"{self.url(path)}: the store refused ({type(error).__name__}: {message[:200]}). "
                "Give credentials as storage options or through the environment, or ask for the right to do this"
            )
            return PermissionError(msg)
        if isinstance(error, OSError) and not contains_secret(self._secrets, error):
            return error
        kind = next((kind for kind in (FileNotFoundError, ConnectionError) if isinstance(error, kind)), OSError)
        failure = kind(f"{self.url(path)}: the request failed ({type(error).__name__}: {message[:500]})")
        failure.errno = error.errno if isinstance(error, OSError) else errno.EIO
        if (status := http_status(error)) is not None:
            vars(failure)["status"] = status  # where `http_status` looks for it
        return failure

    def _call_in_bucket(self, path: str, request: Callable[[], T]) -> T:
        """Run a request that fails with "not found" only if the bucket does not exist."""
        try:
            return self._call(path, request)
        except FileNotFoundError:
            bucket = path.split("/", maxsplit=1)[0]
        msg = f"{self.url(path)}: there is no bucket {bucket!r}; create it, or correct the URL"
        raise FileNotFoundError(msg)

    def _get(self, path: str, start: int | None, end: int | None) -> bytes:
        return cast("bytes", self._fs.cat_file(path, start=start, end=end))

    def _list(
        self,
        path: str,
        delimiter: str,
        limit: int | None = None,  # noqa: ARG002 - fsspec lists whole directories
    ) -> tuple[dict[str, ObjectInfo], set[str], bool]:
        """Return the objects below `path` by relative name, its directories, and whether the listing is incomplete."""
        files: dict[str, ObjectInfo] = {}
        dirs: set[str] = set()
        prefix = path.rstrip("/") + "/"
        try:
            entries = self._fs.ls(path, detail=True) if delimiter else self._fs.find(path, detail=True).values()
        except FileNotFoundError:
            return files, dirs, False
        for entry in entries:
            name = entry["name"].lstrip("/").removeprefix(prefix)
            if entry["type"] == "directory":
                dirs.add(name)
            elif entry["name"].lstrip("/") != path:
                files[name] = ObjectInfo(entry["size"] or 0, str(entry.get("etag") or entry.get("ETag") or ""))
        return files, dirs, False

    def _stat(self, path: str) -> ObjectInfo | None:
        entry = self._fs.info(path)
        if entry["type"] == "directory":
            return None
        tags = [str(entry.get(name) or "") for name in ("etag", "ETag", "updated", "LastModified", "created")]
        return ObjectInfo(entry["size"], tags[0] or tags[1], tags[2] or tags[3] or tags[4])


def split_bucket(path: str) -> tuple[str, str]:
    """Split a full key into bucket and the key in it."""
    bucket, _, key = path.partition("/")
    return bucket, key
