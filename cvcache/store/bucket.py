"""Object stores through fsspec: S3, Google Cloud Storage, and by the same path whatever else creates exclusively.

The file system instance is our own: fsspec shares instances in a process and they remember
listings, so that after another machine's commit ``exists`` would still answer no.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, ClassVar, TypeVar, cast

from cvcache.names import RESERVED
from cvcache.store.base import Listing, ObjectInfo, Store
from cvcache.store.failure import is_denied, is_lost, retrying
from cvcache.store.writer import WholeObject

T = TypeVar("T")

DELETE_AT_ONCE = 16
_MARKERS = {"", ".gcs_placeholder"}
"""Names under which consoles and file systems keep an empty directory: no content, no owner."""


class BucketStore(Store):
    """Any fsspec file system of objects, by its general verbs."""

    scheme: ClassVar[str] = "bucket"
    shared: ClassVar[bool] = True

    def __init__(self, scheme: str, options: Mapping[str, Any], retries: int = 5) -> None:
        import fsspec

        self._url_scheme = scheme
        self._retries = retries
        self._fs = fsspec.filesystem(scheme, **{**options, "use_listings_cache": False, "skip_instance_cache": True})
        self._exclusive: dict[str, bool] = {}
        self._probing = threading.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url_scheme!r})"

    def url(self, path: str) -> str:
        return f"{self._url_scheme}://{path}"

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        return self._call(path, lambda: self._get(path, start, end))

    def put(self, path: str, data: bytes) -> None:
        self._call(path, lambda: self._fs.pipe_file(path, bytes(data)))

    def put_new(self, path: str, data: bytes) -> bool:
        def create() -> bool:
            try:
                self._fs.pipe_file(path, bytes(data), mode="create")
            except Exception as error:
                if is_lost(error):
                    return False
                raise
            return True

        return self._call(path, create) or self._call(path, lambda: self._get(path, None, None)) == data

    def list(self, path: str) -> Listing:
        files, dirs = self._call(path, lambda: self._list(path, "/"))
        return Listing({n: i for n, i in files.items() if n not in _MARKERS or i.size}, tuple(sorted(dirs)))

    def find(self, path: str) -> dict[str, ObjectInfo]:
        files, _ = self._call(path, lambda: self._list(path, ""))
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

        with ThreadPoolExecutor(DELETE_AT_ONCE) as pool:
            list(pool.map(remove, paths))

    def open(self, path: str, mode: str) -> IO[bytes]:
        if mode == "rb":
            return cast("IO[bytes]", self._fs.open(path, "rb"))
        return WholeObject(lambda data: self.put(path, data))

    def exclusive(self, path: str) -> bool:
        bucket = path.split("/", maxsplit=1)[0]
        with self._probing:
            if bucket not in self._exclusive:
                self._exclusive[bucket] = self._probe(f"{path}/{RESERVED}/probe/{os.urandom(8).hex()}")
            return self._exclusive[bucket]

    def _probe(self, path: str) -> bool:
        """Create one object twice, with two contents; a store that elects refuses the second and keeps the first."""
        try:
            return self.put_new(path, b"first") and not self.put_new(path, b"second") and self.get(path) == b"first"
        finally:
            self.delete([path])

    def _call(self, path: str, act: Callable[[], T]) -> T:
        """Run one request with retries; a refusal is `PermissionError` with the way out, whoever words it."""
        try:
            return retrying(act, self._retries)
        except Exception as error:
            if is_denied(error):
                msg = (
                    f"{self.url(path)}: the store refused ({type(error).__name__}: {str(error)[:200]}). "
                    "Give credentials as storage options or through the environment, or ask for the right to do this"
                )
                raise PermissionError(msg) from None
            raise

    def _get(self, path: str, start: int | None, end: int | None) -> bytes:
        return cast("bytes", self._fs.cat_file(path, start=start, end=end))

    def _list(self, path: str, delimiter: str) -> tuple[dict[str, ObjectInfo], set[str]]:
        """Return the objects below `path` by relative name, and the names of its prefixes."""
        files: dict[str, ObjectInfo] = {}
        dirs: set[str] = set()
        prefix = path.rstrip("/") + "/"
        try:
            entries = self._fs.ls(path, detail=True) if delimiter else self._fs.find(path, detail=True).values()
        except FileNotFoundError:
            return files, dirs
        for entry in entries:
            name = entry["name"].lstrip("/").removeprefix(prefix)
            if entry["type"] == "directory":
                dirs.add(name)
            elif entry["name"].lstrip("/") != path:
                files[name] = ObjectInfo(entry["size"] or 0, str(entry.get("etag") or entry.get("ETag") or ""))
        return files, dirs

    def _stat(self, path: str) -> ObjectInfo | None:
        entry = self._fs.info(path)
        return None if entry["type"] == "directory" else ObjectInfo(entry["size"])


def split(path: str) -> tuple[str, str]:
    """Split a full key into bucket and the key in it."""
    bucket, _, key = path.partition("/")
    return bucket, key
