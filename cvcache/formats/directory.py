"""Several files as one item (``.dir``): a directory that another tool made, or names and their bytes.

An index with the size and digest of each file is part of the item and is written last: a directory without it is
incomplete. A directory that a tool wrote through ``path()`` has no index; its listing is used instead.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cvcache.errors import InvalidName, ItemDamaged, UnknownFormat, UsageError
from cvcache.formats.item_path import sha256
from cvcache.formats.messages import item_damaged, not_reproducible, type_name
from cvcache.store import DIRECTORY_INDEX as INDEX
from cvcache.store import check_item_name, gather

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath
    from cvcache.formats.item_write import ItemWrite

MAX_INDEX = 256 << 20
"""At most so many bytes of an index are read; a longer one does not parse."""


class Files(Mapping[str, bytes]):
    """The files of an item by name, such as ``"tiles/0.tif"``; a file is read and checked when it is accessed.

    Read only; picklable; equal to a dict of the same names and bytes.
    """

    def __init__(self, item: ItemPath, index: Mapping[str, tuple[int, str | None]]) -> None:
        self._item = item
        self._index = index

    def __getitem__(self, name: str) -> bytes:
        """Return the bytes of one file; one GET.

        Raises
        ------
        ItemDamaged
            The file is missing, or is not what was written.
        NodeReplaced
            The commit it belongs to is no longer the newest.
        """
        size, digest = self._index[name]
        try:
            data = self._item.get(name)
        except FileNotFoundError as error:
            raise self._damage(name, "is gone") from error
        if len(data) != size or (digest is not None and digest != sha256(data)):
            raise self._damage(name, f"holds {len(data)} bytes that are not the {size} written")
        return data

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def __contains__(self, name: object) -> bool:
        return name in self._index

    def __repr__(self) -> str:
        return f"<{len(self)} files of {self._item.url}>"

    def size(self, name: str) -> int:
        """Return the size of one file in bytes, without reading it."""
        return self._index[name][0]

    def copy_to(self, path: str | os.PathLike[str]) -> str:
        """Copy all files to a local directory, which appears in one rename, and return its path; one GET a file.

        Raises
        ------
        FileExistsError
            `path` exists.
        """
        path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        if os.path.lexists(path):
            raise FileExistsError(f"{path} is there already; copy {self._item.url} to another path")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path), prefix=".copying-") as scratch:
            staging = os.path.join(scratch, "files")
            os.mkdir(staging)
            gather(
                lambda name: _write_file(os.path.join(staging, *name.split("/")), self[name]),
                self,
                remote=self._item.remote,
            )
            os.rename(staging, path)
        return path

    def _damage(self, name: str, problem: str) -> ItemDamaged:
        url = self._item.store.url(self._item.at(name))
        return ItemDamaged(f"{url} {problem}; compute the node again with cdir_init(..., force=True)")


def write(item: ItemWrite, obj: object, /) -> dict[str, Any]:
    """Write all files of a local directory, or names and their bytes.

    Parameters
    ----------
    item : ItemWrite
    obj : str, os.PathLike or mapping of str to bytes
        Names are relative, with ``/`` between. Of a directory all files at any depth are written; empty directories
        cannot be stored in a bucket and are left out.

    Raises
    ------
    NotReproducible
        `obj` is neither, or a name is not valid in every store.
    UsageError
        There is no directory at that path.

    Notes
    -----
    One PUT a file, one at a time in memory, and one for the index, which comes last.
    """
    names, read_file = _names_and_reader(item, obj)
    _check_names(item, names)
    index: dict[str, tuple[int, str]] = {}

    def put(name: str) -> None:
        data = read_file(name)
        if type(data) is not bytes:
            raise not_reproducible(item, f"[{name!r}] is a {type_name(data)}, not bytes", "pass the bytes of each file")
        item.put(data, name)
        index[name] = len(data), sha256(data)

    # the first PUT removes what an earlier write left; only after it may several run at once
    for name in names[:1]:
        put(name)
    gather(put, names[1:], remote=item.remote)
    data = json.dumps({name: index[name] for name in names}, ensure_ascii=False, indent=0).encode()
    item.put(data, INDEX)
    return _metadata(index, data)


def read(item: ItemPath, /) -> Files:
    """Return the files by name, lazily.

    Raises
    ------
    ItemDamaged
        The files are not those that were written.
    UnknownFormat
        Another format wrote them, which is not registered here.

    Notes
    -----
    One GET of the index, or one LIST if a tool wrote the files and there is none. One GET per file accessed.
    """
    if item.meta and "files" not in item.meta:
        suffix = item.name.partition(".")[2]
        msg = f"{item.url} was written by a format of its own; register_format({suffix!r}, module) before reading it"
        raise UnknownFormat(msg)
    index, data = _index(item)
    if not item.meta and data is None:
        raise item_damaged(item, "it is not complete: nothing vouches for its files before the node is committed")
    if item.meta:
        actual = _metadata(index, data)
        field = next((name for name in actual if item.meta.get(name, actual[name]) != actual[name]), None)
        if field:
            raise item_damaged(item, f"its {field} are {actual[field]}, where {item.meta[field]} were written")
    return Files(item, index)


def describe(item: ItemPath) -> dict[str, Any]:
    """Return kind, number of files and of objects, and bytes; one GET of the index, or one LIST where there is none."""
    return _metadata(*_index(item))


def damaged_files(item: ItemPath) -> Iterator[tuple[str, str]]:
    """Yield the name of each missing or corrupt file, and what is wrong with it; one GET a file."""
    try:
        files = read(item)
    except ItemDamaged as error:
        yield INDEX, str(error)
        return
    for name in files:
        try:
            files[name]
        except ItemDamaged as error:
            missing = isinstance(error.__cause__, FileNotFoundError)
            yield name, "missing" if missing else "corrupt (its checksum does not fit)"


def _metadata(index: Mapping[str, tuple[int, str | None]], data: bytes | None) -> dict[str, Any]:
    index_size = len(data) if data is not None else 0
    return {
        "kind": "file",
        "files": len(index),
        "objects": len(index) + (data is not None),
        "bytes": sum(size for size, _ in index.values()) + index_size,
        **({"index": sha256(data)} if data is not None else {}),
    }


def _names_and_reader(item: ItemPath, obj: object) -> tuple[list[str], Callable[[str], bytes]]:
    """Return the names of all files, sorted, and a function that reads one."""
    if isinstance(obj, Mapping):
        for name, data in obj.items() if type(obj) is dict else ():
            if type(data) is not bytes:
                raise not_reproducible(
                    item, f"[{name!r}] is a {type_name(data)}, not bytes", "pass the bytes of each file"
                )
        bad_name = next((name for name in obj if type(name) is not str), None)
        if bad_name is not None:
            raise not_reproducible(
                item, f"the name {bad_name!r} is a {type_name(bad_name)}", "use relative names as str"
            )
        return sorted(obj), obj.__getitem__
    if not isinstance(obj, (str, os.PathLike)):
        suffix = item.name.partition(".")[2]
        format_hint = f", or register_format({suffix!r}, module) first" if suffix != "dir" else ""
        raise not_reproducible(
            item, f"it is a {type_name(obj)}", f"pass a local directory, or a dict of name to bytes{format_hint}"
        )
    root = os.path.expanduser(os.fspath(obj))
    if not os.path.isdir(root):
        msg = f"{item.url} was not written: there is no directory at {root!r}; correct the path"
        raise UsageError(msg)

    def read_file(name: str) -> bytes:
        with open(os.path.join(root, *name.split("/")), "rb") as file:
            return file.read()

    return sorted(_files(item, root)), read_file


def _files(item: ItemPath, root: str) -> Iterator[str]:
    """Yield the names of all files below a local directory."""

    def fail(error: OSError) -> None:
        raise error

    for folder, subdirectories, files in os.walk(root, onerror=fail):
        links = [name for name in subdirectories if os.path.islink(os.path.join(folder, name))]
        if links:
            reason = f"{os.path.join(folder, links[0])!r} is a link to a directory"
            raise not_reproducible(item, reason, "copy what it leads to, or take it away")
        relative = os.path.relpath(folder, root)
        parts = [] if relative == os.curdir else relative.split(os.sep)
        yield from ("/".join([*parts, name]) for name in files)


def _check_names(item: ItemPath, names: list[str]) -> None:
    """Raise `NotReproducible` unless files of these names can exist together in every store."""
    directories = {name[:i] for name in names for i, letter in enumerate(name) if letter == "/"}
    for name in names:
        problem = "is the name of a directory too" if name in directories else _name_problem(name)
        if problem:
            hint = "use relative names like 'a/b.tif', plain enough for every store"
            raise not_reproducible(item, f"the name {name!r} {problem}", hint)


def _name_problem(name: str) -> str:
    """Return why `name` is no valid file name; empty if it is one."""
    try:
        same = "/".join(check_item_name(part) for part in name.split("/")) == name
    except InvalidName as error:
        return f"is not kept by every store ({error})"
    return "" if same else "is not in Unicode normal form C"


def _index(item: ItemPath) -> tuple[dict[str, tuple[int, str | None]], bytes | None]:
    """Return size and, if known, digest of each file, and the bytes of the index if there is one."""
    try:
        data = item.get(INDEX, 0, MAX_INDEX)
    except FileNotFoundError:
        if "index" in item.meta:
            raise
        return _index_from_listing(item), None
    try:
        index = {name: (size, digest) for name, (size, digest) in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise item_damaged(item, f"its index does not parse: {error}") from error
    bad_names = [
        n for n, (size, digest) in index.items() if type(size) is not int or type(digest) is not str or _name_problem(n)
    ]
    if bad_names:
        raise item_damaged(item, f"its index names {bad_names[0][:80]!r}")
    return index, data


def _index_from_listing(item: ItemPath) -> dict[str, tuple[int, str | None]]:
    """Return the size of each stored file, for an item without an index."""
    parts = item.find()
    if not parts:
        raise FileNotFoundError(item.url)
    bad_name = next((name for name in parts if _name_problem(name)), None)
    if bad_name is not None:
        raise item_damaged(
            item, f"it holds {bad_name[:80]!r}, a name that leads elsewhere or is not kept by every store"
        )
    return {name: (info.size, None) for name, info in sorted(parts.items())}


def _write_file(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
