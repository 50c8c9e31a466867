"""Zips a directory: equal content gives equal bytes, and one member is in memory at a time."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from typing import IO, NamedTuple, cast

from cvcache.errors import UsageError
from cvcache.image.arrays.zip_store import MAX_ENTRIES, METADATA_NAMES, member_name_problem
from cvcache.store import Store

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX_SYSTEM = 3
_FILE_MODE = 0o100644 << 16


class ZipSummary(NamedTuple):
    """Number of members, and size and SHA-256 of the file that `zip_directory` wrote."""

    objects: int
    bytes: int
    sha256: str


def zip_directory(store: Store, path: str, file: IO[bytes]) -> ZipSummary:
    """Write everything below `path` into a zip, uncompressed; equal content gives equal bytes.

    Parameters
    ----------
    store : Store
    path : str
        Full key of the directory, such as an image's.
    file : binary file object
        Open for writing, at its beginning. It is only appended to.

    Returns
    -------
    ZipSummary
        Number of members, and size and SHA-256 of what was written.

    Raises
    ------
    FileNotFoundError
        There is nothing below `path`.
    UsageError
        There are more objects than a reader accepts, or one has a name that is not allowed in a zip.

    Notes
    -----
    One LIST of everything and one GET per object, one after the other; the largest object has to fit in memory. The
    root's metadata is first, then that of the levels, then the chunks, each sorted.
    """
    names = sorted(store.find(path), key=_sort_key)
    _check_names(store.url(path), names)
    output = _MemberBuffer(file)
    with zipfile.ZipFile(cast("IO[bytes]", output), "w", zipfile.ZIP_STORED, allowZip64=True) as target:
        for name in names:
            target.writestr(_entry(name), store.get(f"{path}/{name}"))
            output.flush_member()
    output.flush_member()
    return ZipSummary(len(names), output.tell(), output.digest.hexdigest())


def _sort_key(name: str) -> tuple[bool, int, str]:
    metadata = name.rpartition("/")[2] in METADATA_NAMES
    return not metadata, name.count("/") if metadata else 0, name


def _check_names(url: str, names: Sequence[str]) -> None:
    if not names:
        msg = f"{url} holds nothing that could be zipped"
        raise FileNotFoundError(msg)
    if len(names) > MAX_ENTRIES:
        msg = f"{url} holds {len(names)} objects, a zip of over {MAX_ENTRIES} is not read; write it with larger shards"
        raise UsageError(msg)
    for name in names:
        if problem := member_name_problem(name):
            msg = f"{url} was not zipped: {name!r} {problem}; rename it"
            raise UsageError(msg)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.create_system = _UNIX_SYSTEM
    entry.external_attr = _FILE_MODE
    return entry


class _MemberBuffer:
    """File object for `zipfile` that keeps the current member in memory, because `zipfile` rewrites its header.

    So the file is written in order, and hashed at the same time.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._write: Callable[[bytes], object] = file.write
        self._parts: list[tuple[int, bytes]] = []
        self._position = 0
        self._end = 0

    def write(self, data: bytes) -> int:
        """Keep `data`; it replaces bytes of the same position."""
        if self._position == self._end:
            self._parts.append((self._position, data))
            self._end += len(data)
        else:
            replaced = [(position, len(part)) for position, part in self._parts].index((self._position, len(data)))
            self._parts[replaced] = self._position, data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        """Return where the next bytes go."""
        return self._position

    def seek(self, offset: int) -> int:
        """Go to `offset`."""
        self._position = offset
        return offset

    def flush(self) -> None:
        """Do nothing; see `flush_member`."""

    def flush_member(self) -> None:
        """Write the member to the file."""
        for _, data in self._parts:
            self.digest.update(data)
            _write_all(self._write, data)
        self._parts.clear()


def _write_all(write: Callable[[bytes], object], data: bytes) -> None:
    """Write all of `data` to a file whose ``write`` may write only a part."""
    view = memoryview(data)
    while view:
        written = write(cast("bytes", view))
        view = view[written if isinstance(written, int) else len(view) :]
