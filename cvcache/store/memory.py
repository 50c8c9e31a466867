"""``memory://``: the dictionary of fsspec in this process; safe among threads, invisible to other processes."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable
from contextlib import nullcontext
from typing import IO, Any

from cvcache.store.base import Listing, ObjectInfo, Store
from cvcache.store.fileobj import Guard, ObjectWriter

_lock = threading.RLock()


class MemoryStore(Store):
    """The objects of ``fsspec.filesystem("memory")``; other code of the process sees the same ones."""

    scheme: str = "memory"
    shared: bool = False

    def __init__(self) -> None:
        import fsspec

        self._objects: dict[str, Any] = fsspec.filesystem("memory").store

    def url(self, path: str) -> str:
        return f"memory://{path}"

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        with _lock:
            try:
                data: bytes = self._objects["/" + path].getvalue()
            except KeyError:
                raise FileNotFoundError(self.url(path)) from None
        return data[start:end]

    def put(self, path: str, data: bytes) -> None:
        from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

        with _lock:
            self._objects["/" + path] = MemoryFile(MemoryFileSystem(), "/" + path, bytes(data))

    def put_new(self, path: str, data: bytes) -> bool:
        with _lock:
            if "/" + path not in self._objects:
                self.put(path, data)
            return self.get(path) == data

    def list(self, path: str, limit: int | None = None) -> Listing:  # noqa: ARG002 - the listing is complete anyway
        files: dict[str, ObjectInfo] = {}
        dirs: set[str] = set()
        for name, info in self.find(path).items():
            first, slash, _ = name.partition("/")
            if slash:
                dirs.add(first)
            else:
                files[name] = info
        return Listing(files, tuple(sorted(dirs)))

    def find(self, path: str) -> dict[str, ObjectInfo]:
        prefix = f"/{path}/"
        with _lock:
            return {
                key[len(prefix) :]: ObjectInfo(file.getbuffer().nbytes, f"{file.modified.timestamp()}")
                for key, file in self._objects.items()
                if key.startswith(prefix)
            }

    def stat(self, path: str) -> ObjectInfo | None:
        with _lock:
            file = self._objects.get("/" + path)
            return None if file is None else ObjectInfo(file.getbuffer().nbytes, f"{file.modified.timestamp()}")

    def delete(self, paths: Iterable[str], within: str | None = None) -> None:  # noqa: ARG002 - it has no directories
        with _lock:
            for path in paths:
                self._objects.pop("/" + path, None)

    def open(self, path: str, mode: str, guard: Guard = nullcontext) -> IO[bytes]:
        return io.BytesIO(self.get(path)) if mode == "rb" else ObjectWriter(lambda data: self.put(path, data), guard)

    def exclusive(self, path: str) -> bool:  # noqa: ARG002 - a lock of this process elects, whatever the path
        return True
