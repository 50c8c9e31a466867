# ruff: noqa: D102 - the verbs of a store are documented once, in store/base.py
"""A zip file as a read-only store: one request for its directory, one for each member.

Uncompressed members are read by byte ranges, for zarr's chunks and shards. The directory of a zip cannot be
trusted: it is checked before memory is allocated, and again against the header of each member.
"""

from __future__ import annotations

import functools
import io
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import IO, Any, NoReturn, cast

from cvcache.errors import ItemDamaged, UsageError
from cvcache.formats import ItemPath, item_damaged
from cvcache.store import Guard, Listing, ObjectInfo, RangeReader, Store, reopen_store

TAIL_BYTES = (1 << 16) + 128
"""Size of the first request: the longest comment a zip can have, and the records before it."""
MAX_ENTRIES = 1_000_000
MAX_DIRECTORY_BYTES = 256 << 20
MAX_MEMBER_BYTES = 4 << 30
"""Maximal size of a member that is metadata or compressed."""
MAX_RATIO = 1000
RATIO_FREE_BYTES = 16 << 20
"""Up to this size a member may exceed `MAX_RATIO`: an empty chunk does, and is no zip bomb."""
HEADER_SLACK_BYTES = 64
"""Extra bytes to read for a header that is longer than its entry in the directory says."""
PREFETCH_BYTES = 64 << 10
"""Up to this offset a range is read in one request with the unread header before it."""
BUFFER_BYTES = 1 << 20
MAX_CACHED_DIRECTORIES = 8
METADATA_NAMES = ("zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata")

_ENTRY_SIGNATURE = b"PK\x01\x02"
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000
_UTF8_FLAG = 0x800
_PARSE_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    LookupError,
    OverflowError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class _Member:
    """One entry of the directory.

    `header_start` is the offset of its header, which has at least `header_min` bytes, probably `header_extra` more,
    and at most `header_room` more: there the next member begins.
    """

    header_start: int
    header_min: int
    header_extra: int
    header_room: int
    size: int
    compressed_size: int
    crc: int
    is_stored: bool
    name_encoding: str


@dataclass(frozen=True, slots=True)
class _Archive:
    """Cache key of a zip: URL, pin and STAT; `zip_item` is used to read it."""

    url: str
    pin: str
    info: ObjectInfo
    zip_item: ItemPath = field(compare=False)


class ZipStore(Store):
    """The members of one zip file, by name.

    Parameters
    ----------
    store : Store
        The store of the file.
    path : str
        The file's full key in it.
    pin : str
        Full key, in `store`, of the record that would replace the commit the file belongs to (see `ItemPath`); empty
        for none.

    Raises
    ------
    FileNotFoundError
        There is no such file, or no such member; when something is read.
    ItemDamaged
        The file is no zip, is malicious, or a member does not match the directory; when it is read.
    NodeReplaced
        The pinned commit does not stand any more, and the file or a member is missing or damaged.

    Notes
    -----
    The first use costs one STAT and one GET of the file's end, and one more GET where the directory is longer than
    64 KiB. The directory is cached in the process for this pin or etag. Then each ``get`` is one GET of `store`; a
    second one is needed if the length of the member's header is unknown, which is never so for a zip of this module.
    The checksum is checked for whole members; it cannot be for ranges.
    """

    scheme: str = "zip"
    shared: bool = True

    def __init__(self, store: Store, path: str, pin: str = "") -> None:
        self.shared = store.shared
        self._zip_item = ItemPath(store, path, successor=pin, committed=bool(pin))
        self._members_by_name: dict[str, _Member] | None = None
        self._data_offsets: dict[str, int] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        path = self._zip_item.path
        return _reopen, (self._zip_item.store.reopen_arguments(path), path, self._zip_item.pin)

    def __repr__(self) -> str:
        return f"ZipStore({self._zip_item.url!r})"

    def url(self, path: str) -> str:
        return f"{self._zip_item.url}/{_name(path)}".rstrip("/")

    def get(self, path: str, start: int | None = None, end: int | None = None) -> bytes:
        if self._is_record(path):
            return self._zip_item.store.get(path, start, end)
        try:
            return self._get(_name(path), self._member(path), start, end)
        except (ItemDamaged, FileNotFoundError):
            self._zip_item.raise_if_replaced()
            raise

    def list(self, path: str, limit: int | None = None) -> Listing:  # noqa: ARG002 - all of it is at hand
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
        prefix = f"{_name(path)}/" if _name(path) else ""
        members = self._members().items()
        return {name[len(prefix) :]: _info(member) for name, member in members if name.startswith(prefix)}

    def stat(self, path: str) -> ObjectInfo | None:
        if self._is_record(path):
            return self._zip_item.store.stat(path)
        member = self._members().get(_name(path))
        return None if member is None else _info(member)

    def open(self, path: str, mode: str, guard: Guard = nullcontext) -> IO[bytes]:  # noqa: ARG002 - nothing is written
        if mode != "rb":
            self._refuse(path)
        member = self._member(path)
        if not member.is_stored:
            return io.BytesIO(self.get(path))
        return io.BufferedReader(RangeReader(functools.partial(self.get, path), member.size), BUFFER_BYTES)

    def put(self, path: str, data: bytes) -> None:  # noqa: ARG002 - nothing is written
        self._refuse(path)

    def put_new(self, path: str, data: bytes) -> bool:  # noqa: ARG002 - nothing is written
        self._refuse(path)

    def delete(self, paths: Iterable[str], within: str | None = None) -> None:  # noqa: ARG002 - nothing is deleted
        for path in paths:
            self._refuse(path)

    def makedirs(self, path: str) -> None:
        self._refuse(path)

    def exclusive(self, path: str) -> bool:  # noqa: ARG002 - nothing is ever created here
        return False

    def _refuse(self, path: str) -> NoReturn:
        msg = (
            f"{self.url(path)} was not changed: a zip is only read; write the image as .ome.zarr, or the whole zip anew"
        )
        raise UsageError(msg)

    def _is_record(self, path: str) -> bool:
        """Whether a path is of a record: items in this store have the same pin, and look for what follows it here."""
        log = self._zip_item.pin.rpartition("/")[0]
        return bool(log) and path.startswith(f"{log}/")

    def _member(self, path: str) -> _Member:
        member = self._members().get(_name(path))
        if member is None:
            raise FileNotFoundError(self.url(path))
        return member

    def _members(self) -> dict[str, _Member]:
        with self._lock:
            if self._members_by_name is None:
                self._members_by_name = _read_directory(self._zip_item)
            return self._members_by_name

    def _get(self, name: str, member: _Member, start: int | None, end: int | None) -> bytes:
        first, last, _ = slice(start, end).indices(member.size)
        if member.size > MAX_MEMBER_BYTES and (not member.is_stored or name.endswith(METADATA_NAMES)):
            raise self._damage(name, f"it says to hold {member.size} bytes, {MAX_MEMBER_BYTES} are the most")
        if member.is_stored and (first, last) != (0, member.size):
            return self._get_range(name, member, first, last)
        data = self._get_compressed(name, member)
        if not member.is_stored:
            data = self._inflate(name, member, data)
        if zlib.crc32(data) != member.crc:
            raise self._damage(name, "its bytes do not fit their checksum")
        return data[first:last]

    def _get_compressed(self, name: str, member: _Member) -> bytes:
        """Return the stored bytes of a whole member, and remember their offset; one GET."""
        header_size = member.header_min + min(member.header_room, member.header_extra + HEADER_SLACK_BYTES)
        data = self._read_range(name, member.header_start, member.header_start + header_size + member.compressed_size)
        data_offset = self._check_header(name, member, data)
        if data_offset + member.compressed_size > len(data):
            data += self._read_range(
                name, member.header_start + len(data), member.header_start + data_offset + member.compressed_size
            )
        return data[data_offset : data_offset + member.compressed_size]

    def _get_range(self, name: str, member: _Member, first: int, last: int) -> bytes:
        """Return a range of an uncompressed member; one GET if the length of its header is known."""
        if first >= last:
            return b""
        data_offset = self._data_offsets.get(name, None if member.header_room else member.header_min)
        if data_offset is not None:
            return self._read_range(
                name, member.header_start + data_offset + first, member.header_start + data_offset + last
            )
        header_size = member.header_min + min(member.header_room, member.header_extra + HEADER_SLACK_BYTES)
        prefetched = self._read_range(
            name, member.header_start, member.header_start + header_size + (last if first <= PREFETCH_BYTES else 0)
        )
        data_offset = self._check_header(name, member, prefetched)
        part = prefetched[data_offset + first : data_offset + last]
        missing = last - first - len(part)
        end = member.header_start + data_offset + last
        return part + self._read_range(name, end - missing, end) if missing else part

    def _read_range(self, name: str, start: int, end: int) -> bytes:
        data = self._zip_item.store.get(self._zip_item.path, start, end)
        if len(data) != end - start:
            raise self._damage(name, "the file is cut short")
        return data

    def _check_header(self, name: str, member: _Member, data: bytes) -> int:
        """Return the length of the header at the beginning of `data`, after checking that it is the member's."""
        signature, names, extra = _LOCAL_HEADER.unpack_from(data)
        name_bytes = name.encode(member.name_encoding)
        if signature != b"PK\x03\x04" or names != len(name_bytes) or data[30 : 30 + names] != name_bytes:
            raise self._damage(name, "it is not where the directory says")
        if extra > member.header_room:
            raise self._damage(name, "it overlaps the next member")
        self._data_offsets[name] = data_offset = member.header_min + int(extra)
        return data_offset

    def _inflate(self, name: str, member: _Member, compressed: bytes) -> bytes:
        if member.size > max(RATIO_FREE_BYTES, MAX_RATIO * member.compressed_size):
            raise self._damage(name, f"{member.compressed_size} bytes are said to become {member.size}")
        decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # one byte more, to detect a member that is longer than it says
            data = decompressor.decompress(compressed, member.size + 1)
        except zlib.error as error:
            raise self._damage(name, error) from error
        if len(data) != member.size or not decompressor.eof:
            raise self._damage(name, f"it does not hold the {member.size} bytes it says")
        return data

    def _damage(self, name: str, why: object) -> ItemDamaged:
        return item_damaged(self._zip_item, f"member {name[:200]!r}: {why}")


def _reopen(store: tuple[type[Store], str, str, str], path: str, pin: str) -> ZipStore:
    return ZipStore(reopen_store(*store), path, pin)


def _name(path: str) -> str:
    """Return the name of the member at `path`; keys in an item with an empty path begin with a slash."""
    return path.strip("/")


def _info(member: _Member) -> ObjectInfo:
    return ObjectInfo(member.size, f"{member.crc:08x}")


class _BoundedReader(RangeReader):
    """File object for `zipfile` that refuses a directory that is too large, before it is read or parsed."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MAX_DIRECTORY_BYTES:
            msg = f"its directory is {size} bytes long, {MAX_DIRECTORY_BYTES} are the most"
            raise zipfile.BadZipFile(msg)
        data = super().read(-1 if size is None else size) or b""
        if data.startswith(_ENTRY_SIGNATURE) and data.count(_ENTRY_SIGNATURE) > MAX_ENTRIES:
            msg = f"it has over {MAX_ENTRIES} members"
            raise zipfile.BadZipFile(msg)
        return data


def _read_directory(zip_item: ItemPath) -> dict[str, _Member]:
    """Return the members of a zip; one STAT and, if the directory is not cached, one or two GET."""
    info = zip_item.store.stat(zip_item.path)
    if info is None:
        zip_item.raise_if_replaced()
        raise FileNotFoundError(zip_item.url)
    archive = _Archive(zip_item.url, zip_item.pin, info, zip_item)
    return _cached_directory(archive) if zip_item.pin or info.etag else _cached_directory.__wrapped__(archive)


@functools.lru_cache(MAX_CACHED_DIRECTORIES)
def _cached_directory(archive: _Archive) -> dict[str, _Member]:
    zip_item, size = archive.zip_item, archive.info.size
    tail_start = max(0, size - TAIL_BYTES)
    tail = zip_item.store.get(zip_item.path, tail_start, size) if size else b""

    def get(start: int, end: int) -> bytes:
        before = zip_item.store.get(zip_item.path, start, min(end, tail_start)) if start < tail_start else b""
        return before + tail[max(start - tail_start, 0) : max(end - tail_start, 0)]

    try:
        with zipfile.ZipFile(cast("IO[bytes]", _BoundedReader(get, size))) as directory:
            return _parse_members(directory.infolist(), cast("Any", directory).start_dir)
    except _PARSE_ERRORS as error:
        zip_item.raise_if_replaced()
        raise item_damaged(zip_item, error) from error


def _parse_members(entries: Sequence[zipfile.ZipInfo], end: int) -> dict[str, _Member]:
    """Return the members by name, without directories; raise `ValueError` if the directory is malicious."""
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    borders = [*(entry.header_offset for entry in ordered), end][1:]
    names: set[str] = set()
    members: dict[str, _Member] = {}
    for entry, border in zip(ordered, borders, strict=True):
        name = entry.orig_filename
        if (
            problem := member_name_problem(name)
            or _entry_problem(entry)
            or ("has an entry twice" if name in names else "")
        ):
            msg = f"member {name[:200]!r} {problem}"
            raise ValueError(msg)
        names.add(name)
        member = _member_of(entry, border)
        if entry.header_offset < 0 or member.header_room < 0:
            msg = f"member {name[:200]!r} overlaps the next one, or the directory"
            raise ValueError(msg)
        if not name.endswith("/"):
            members[name] = member
    return members


def _member_of(entry: zipfile.ZipInfo, border: int) -> _Member:
    name_encoding = "utf-8" if entry.flag_bits & _UTF8_FLAG else "cp437"
    header_min = _LOCAL_HEADER.size + len(entry.orig_filename.encode(name_encoding))
    return _Member(
        header_start=entry.header_offset,
        header_min=header_min,
        header_extra=len(entry.extra),
        header_room=border - entry.header_offset - header_min - entry.compress_size,
        size=entry.file_size,
        compressed_size=entry.compress_size,
        crc=entry.CRC,
        is_stored=entry.compress_type == zipfile.ZIP_STORED,
        name_encoding=name_encoding,
    )


def member_name_problem(name: str) -> str:
    """Return why `name` is not allowed for a member; empty if it is."""
    if "\0" in name or "\\" in name:
        return "has a NUL or a backslash in its name"
    if name[1:3] == ":/":
        return "has an absolute name"
    segments = name.removesuffix("/").split("/")
    return "has an absolute name, or one with '', '.' or '..' in it" if {"", ".", ".."} & set(segments) else ""


def _entry_problem(entry: zipfile.ZipInfo) -> str:
    """Return why a member cannot be read; empty if it can."""
    if entry.flag_bits & _ENCRYPTED_FLAGS:
        return "is encrypted"
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return f"is compressed by method {entry.compress_type}, only 0 (stored) and 8 (deflated) are read"
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
        return "is stored as it is, but in another size"
    return ""
