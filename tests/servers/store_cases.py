"""A fresh, empty root for one test on each kind of store, and a look at everything around it.

A case writes, reads and lists by a channel that is not cvcache (the file system, fsspec's memory
dictionary, boto3, the JSON API of GCS), so it can serve as the witness of what cvcache did.
"""

from __future__ import annotations

import abc
import hashlib
import os
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from servers.object_stores import ObjectServer

__all__ = ["BucketCase", "LocalCase", "MemoryCase", "StoreCase"]

_OUTSIDE = "../"


class StoreCase(abc.ABC):
    """One fresh, empty root on a store.

    The root lies inside a container (a directory, a bucket, the memory store). Names are relative
    to the root; a name that starts with ``../`` lies beside it in the container.

    Parameters
    ----------
    kind
        ``"local"``, ``"memory"``, ``"s3"`` or ``"gcs"``.
    url
        The root. It does not exist yet, and nothing lies under it.
    root
        Its name in the container.
    options
        The storage options that reach it.
    """

    def __init__(self, kind: str, url: str, root: str, options: Mapping[str, Any]) -> None:
        self.kind = kind
        self.url = url
        self.root = root
        self.options = dict(options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def put(self, relative: str, data: bytes) -> None:
        """Create or overwrite an object, with the directories it needs.

        Parameters
        ----------
        relative
            Its name.
        data
            Its content.
        """
        self._put(self._full(relative), data)

    def read(self, relative: str) -> bytes:
        """Read an object.

        Parameters
        ----------
        relative
            Its name.
        """
        return self._read(self._full(relative))

    def delete(self, relative: str) -> None:
        """Delete one object and nothing else.

        Parameters
        ----------
        relative
            Its name.
        """
        self._delete(self._full(relative))

    def snapshot(self) -> dict[str, str]:
        """Fingerprint everything in the container, inside the root and beside it.

        Returns
        -------
        dict
            Name to SHA-256 of the content. On a file system also ``"link -> target"`` for a
            symbolic link, which is not followed, ``"special file"``, and ``"empty directory"`` for
            a name that ends in ``/``.
        """
        return {self._relative(name): mark for name, mark in self._fingerprints()}

    def child(self, *names: str) -> str:
        """Give the URL of something under the root.

        Parameters
        ----------
        *names
            The path segments.
        """
        return "/".join((self.url, *names))

    def _relative(self, name: str) -> str:
        inside = f"{self.root}/"
        return name[len(inside) :] if name.startswith(inside) else _OUTSIDE + name

    def _full(self, relative: str) -> str:
        return relative[len(_OUTSIDE) :] if relative.startswith(_OUTSIDE) else f"{self.root}/{relative}"

    @abc.abstractmethod
    def _put(self, name: str, data: bytes) -> None:
        """Create or overwrite by the name in the container."""

    @abc.abstractmethod
    def _read(self, name: str) -> bytes:
        """Read by the name in the container."""

    @abc.abstractmethod
    def _delete(self, name: str) -> None:
        """Delete by the name in the container."""

    @abc.abstractmethod
    def _fingerprints(self) -> Iterator[tuple[str, str]]:
        """Give each name in the container, and a text that changes when what it names does."""


class LocalCase(StoreCase):
    """A root on the local disk.

    Parameters
    ----------
    container
        An existing directory of this test alone.
    """

    def __init__(self, container: Path) -> None:
        self.container = container
        self.path = container / "root"
        super().__init__("local", str(self.path), "root", {})

    def _put(self, name: str, data: bytes) -> None:
        path = self.container / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def _read(self, name: str) -> bytes:
        return (self.container / name).read_bytes()

    def _delete(self, name: str) -> None:
        (self.container / name).unlink()

    def _fingerprints(self) -> Iterator[tuple[str, str]]:
        for folder, subfolders, files in os.walk(self.container):
            here = self.container / folder
            links = [name for name in subfolders if (here / name).is_symlink()]
            for name in (*files, *links):
                yield self._name(here / name), _file_mark(here / name)
            if not subfolders and not files and here != self.container:
                yield f"{self._name(here)}/", "empty directory"

    def _name(self, path: Path) -> str:
        return path.relative_to(self.container).as_posix()


class MemoryCase(StoreCase):
    """A root in fsspec's memory store, of which a process has one; the container is all of it."""

    def __init__(self) -> None:
        root = uuid.uuid4().hex
        super().__init__("memory", f"memory://{root}", root, {})

    def remove(self) -> None:
        """Forget everything under the root."""
        inside, store = f"/{self.root}/", _memory_store()
        for name in [name for name in store.store if name.startswith(inside)]:
            del store.store[name]
        store.pseudo_dirs[:] = [name for name in store.pseudo_dirs if not f"{name}/".startswith(inside)]

    def _put(self, name: str, data: bytes) -> None:
        from fsspec.implementations.memory import MemoryFile

        file = MemoryFile(None, f"/{name}", data)
        file.seek(0)
        _memory_store().store[f"/{name}"] = file

    def _read(self, name: str) -> bytes:
        content: bytes = _memory_store().store[f"/{name}"].getvalue()
        return content

    def _delete(self, name: str) -> None:
        del _memory_store().store[f"/{name}"]

    def _fingerprints(self) -> Iterator[tuple[str, str]]:
        for name, file in _memory_store().store.copy().items():
            yield name.lstrip("/"), _digest(file.getvalue())


class BucketCase(StoreCase):
    """A root in a bucket of its own.

    Parameters
    ----------
    server
        The object store.
    bucket
        An existing, empty bucket of this test alone.
    """

    def __init__(self, server: ObjectServer, bucket: str) -> None:
        self.server = server
        self.bucket = bucket
        root = uuid.uuid4().hex
        kind = {"s3": "s3", "gs": "gcs"}[server.protocol]
        super().__init__(kind, f"{server.protocol}://{bucket}/{root}", root, server.storage_options)

    def _put(self, name: str, data: bytes) -> None:
        self.server.put(self.bucket, name, data)

    def _read(self, name: str) -> bytes:
        return self.server.get(self.bucket, name)

    def _delete(self, name: str) -> None:
        self.server.delete(self.bucket, name)

    def _fingerprints(self) -> Iterator[tuple[str, str]]:
        for key in self.server.keys(self.bucket):
            yield key, _digest(self.server.get(self.bucket, key))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _file_mark(path: Path) -> str:
    if path.is_symlink():
        return f"link -> {path.readlink()}"
    return _digest(path.read_bytes()) if path.is_file() else "special file"


def _memory_store() -> Any:
    """Give the class whose attributes are the one memory store of the process."""
    from fsspec.implementations.memory import MemoryFileSystem

    return MemoryFileSystem
