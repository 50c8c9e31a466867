"""Files in a mounted file system.

Not by fsspec: its local "create" first checks and then writes, and its overwrite shows partial files.
Here both are a temporary file in the same file system and one atomic link or rename.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat as stat_module
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import IO, TYPE_CHECKING, Self, cast

from cvcache.store.base import Listing, ObjectInfo, Store
from cvcache.store.layout import control_dirs, node_of, temporary_dir
from cvcache.store.local_read import NONBLOCK, NOT_A_FILE_ERRNOS, READ_FLAGS, not_a_file_error, open_file, read_range

if TYPE_CHECKING:
    from io import FileIO

    from cvcache.store.fileobj import Guard

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}


class LocalStore(Store):
    """A mounted file system; atomic from hard links and renames, durable from fsync."""

    scheme: str = "file"
    shared: bool = True

    def url(self, path: str) -> str:
        return path

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        # bare descriptors: a cache hit is three reads, and a file object would double their cost
        try:
            try:
                descriptor = os.open(path, READ_FLAGS)
            except BlockingIOError:
                descriptor = os.open(path, READ_FLAGS & ~NONBLOCK)
            try:
                return read_range(descriptor, start or 0, end)
            finally:
                os.close(descriptor)
        except (IsADirectoryError, NotADirectoryError):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FileNotFoundError(errno.ENOENT, "a symbolic link is no item", path) from None
            if error.errno in NOT_A_FILE_ERRNOS:
                raise not_a_file_error(path) from None
            raise

    def put(self, path: str, data: bytes) -> None:
        self.put_parts(path, (data,))

    def put_parts(self, path: str, parts: Sequence[bytes]) -> None:
        with _temporary(path) as (file, temp_path):
            for part in parts:
                _write(file, part)
            _with_parent(path, functools.partial(os.replace, temp_path, path))

    def copy(self, source: str, target: str) -> None:
        with _missing_if_not_file(source):
            if not stat_module.S_ISREG(os.lstat(source).st_mode):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
            try:
                _with_parent(target, functools.partial(os.link, source, target, follow_symlinks=False))
            except FileExistsError:
                self.put(target, self.get(source))
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self.put(target, self.get(source))

    def put_new(self, path: str, data: bytes) -> bool:
        with _temporary(path) as (file, temp_path):
            _write(file, data)
            os.fsync(file.fileno())
            try:
                _with_parent(path, functools.partial(os.link, temp_path, path))
            except FileExistsError:
                return self.get(path) == data
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return self._create_without_links(path, data)
        _fsync_directory(os.path.dirname(path))
        return True

    def _create_without_links(self, path: str, data: bytes) -> bool:
        """Create exclusively without hard links; a crash leaves a partial record, which readers refuse."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return self.get(path) == data
        with open(descriptor, "wb", buffering=0) as file:
            _write(file, data)
            os.fsync(file.fileno())
        return True

    def list(self, path: str, limit: int | None = None) -> Listing:  # noqa: ARG002 - a disk has no order to stop in
        files: dict[str, ObjectInfo] = {}
        dirs: list[str] = []
        if os.path.islink(path):
            return Listing()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        dirs.append(entry.name)
                    else:
                        with contextlib.suppress(FileNotFoundError):
                            files[entry.name] = _info(entry.stat(follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return Listing()
        return Listing(files, tuple(sorted(dirs)))

    def names(self, path: str) -> Sequence[str]:
        try:
            descriptor = os.open(path, READ_FLAGS | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            if error.errno == errno.ELOOP:
                return ()
            raise
        try:
            return os.listdir(descriptor) if _is_real_path(path, descriptor) else ()
        finally:
            os.close(descriptor)

    def find(self, path: str) -> dict[str, ObjectInfo]:
        objects: dict[str, ObjectInfo] = {}
        pending = [""]
        while pending:
            directory = pending.pop()
            listing = self.list(f"{path}/{directory}" if directory else path)
            prefix = f"{directory}/" if directory else ""
            objects.update({prefix + name: info for name, info in listing.files.items()})
            pending.extend(prefix + name for name in listing.dirs)
        return objects

    def stat(self, path: str) -> ObjectInfo | None:
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return None if stat_module.S_ISDIR(status.st_mode) else _info(status)

    def delete(self, paths: Iterable[str], within: str | None = None) -> None:
        parents = set()
        for path in paths:
            if self.stat(path) is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            parents.add(os.path.dirname(path))
        if within is not None:
            self._remove_empty(parents, within)

    def _remove_empty(self, directories: set[str], within: str) -> None:
        pending = sorted({within, *directories}, key=len, reverse=True)
        for directory in pending:
            current = directory
            while current == within or current.startswith(within + "/"):
                try:
                    os.rmdir(current)
                except OSError:
                    break
                current = os.path.dirname(current)

    def open(self, path: str, mode: str, guard: Guard = nullcontext) -> IO[bytes]:
        if mode == "rb":
            with _missing_if_not_file(path):
                return open(path, "rb", opener=open_file)
        return cast("IO[bytes]", _AtomicFile(path, guard))

    def makedirs(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def sync(self, path: str) -> None:
        if sys.platform == "linux":
            import ctypes

            descriptor = os.open(path, os.O_RDONLY)
            try:
                ctypes.CDLL(None).syncfs(descriptor)
            finally:
                os.close(descriptor)
        elif hasattr(os, "sync"):
            os.sync()

    def is_blocked(self, path: str) -> bool:
        parent = os.path.dirname(path)
        if os.path.realpath(parent) != parent or any(map(os.path.islink, control_dirs(path))):
            return True
        while not os.path.lexists(parent):
            parent = os.path.dirname(parent)
        return not os.path.isdir(parent)

    def exclusive(self, path: str) -> bool:  # noqa: ARG002 - the file system's link() elects, whatever the path
        return True


class _AtomicFile:
    """A file that appears under its name only when it is closed without an error."""

    def __init__(self, path: str, guard: Guard) -> None:
        self._context = _temporary(path)
        self._file, self._temporary = self._context.__enter__()
        self._path = path
        self._guard = guard

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.discard()
        self.close()

    def close(self) -> None:
        if self._file.closed:
            return
        try:
            with self._guard():
                self._file.close()
                _with_parent(self._path, functools.partial(os.replace, self._temporary, self._path))
        finally:
            self.discard()

    def discard(self) -> None:
        """Close and delete the temporary file."""
        self._file.close()
        self._context.__exit__(None, None, None)


@contextlib.contextmanager
def _temporary(path: str) -> Iterator[tuple[FileIO, str]]:
    """Open a temporary file in the node of `path`, in the same file system; deleted afterwards unless moved."""
    directory = temporary_dir(node_of(path))
    name = f"{directory}/{os.getpid()}-{os.urandom(8).hex()}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(name, flags, 0o666)
    except FileNotFoundError:
        os.makedirs(directory, exist_ok=True)
        descriptor = os.open(name, flags, 0o666)
    try:
        with open(descriptor, "w+b", buffering=0) as file:
            yield file, name
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _with_parent(path: str, move: Callable[[], None]) -> None:
    try:
        move()
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        move()


def _write(file: FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _fsync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_real_path(path: str, descriptor: int) -> bool:
    """Whether no part of `path` is a link; `descriptor` was opened by it."""
    try:
        if os.readlink(f"/proc/self/fd/{descriptor}") == path:
            return True
    except OSError:
        pass
    return os.path.realpath(path) == path


def _info(status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(status.st_size, f"{status.st_mtime_ns:x}-{status.st_ino:x}")


@contextlib.contextmanager
def _missing_if_not_file(path: str) -> Iterator[None]:
    """Raise `FileNotFoundError` if the path is a directory, or a parent of it is a file."""
    try:
        yield
    except (IsADirectoryError, NotADirectoryError):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
