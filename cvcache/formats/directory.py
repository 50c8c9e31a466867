"""Several files as one item (``.dir``): a directory that another tool made, or names and their bytes.

The index with the size and digest of each file lies in the item and is put last: without it nothing reads as whole that
this format wrote. A directory that a tool wrote through ``path()`` has none, and is what its listing says.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cvcache.errors import InvalidName, ItemDamaged, UnknownFormat, UsageError
from cvcache.formats.item_path import sha256
from cvcache.formats.messages import damage, refusal, type_name
from cvcache.store import DIRECTORY_INDEX as INDEX
from cvcache.store import check_item_name, gather

if TYPE_CHECKING:
    from cvcache.formats.item_path import ItemPath

MAX_INDEX = 256 << 20
"""Bytes of an index that are read; a longer one does not parse."""


class Files(Mapping[str, bytes]):
    """The files of an item by name, such as ``"tiles/0.tif"``; each is read, and checked, when it is asked for.

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
            They are not those that were written, or gone.
        NodeReplaced
            The commit they belong to is no longer the newest.
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
        """Return the bytes of one file, without reading it."""
        return self._index[name][0]

    def copy_to(self, path: str | os.PathLike[str]) -> str:
        """Copy all files to a local directory, which appears whole, and return its path; one GET a file.

        Raises
        ------
        FileExistsError
            There is something already.
        """
        path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        if os.path.lexists(path):
            raise FileExistsError(f"{path} is there already; copy {self._item.url} to another path")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with tempfile.TemporaryDirectory(dir=os.path.dirname(path), prefix=".copying-") as made:
            whole = os.path.join(made, "files")
            os.mkdir(whole)
            gather(
                lambda name: _save(os.path.join(whole, *name.split("/")), self[name]), self, remote=self._item.remote
            )
            os.rename(whole, path)
        return path

    def _damage(self, name: str, what: str) -> ItemDamaged:
        url = self._item.store.url(self._item.at(name))
        return ItemDamaged(f"{url} {what}; compute the node again with cdir_init(..., force=True)")


def write(item: ItemPath, obj: object, /) -> dict[str, Any]:
    """Write all files of a local directory, or names and their bytes.

    Parameters
    ----------
    item : ItemPath
    obj : str, os.PathLike or mapping of str to bytes
        Names are relative, with ``/`` between. Of a directory its files at any depth are taken; empty directories have
        no place in a bucket and are left out.

    Raises
    ------
    NotReproducible
        `obj` is neither, or a name is none that every store keeps.
    UsageError
        There is no directory at that path.

    Notes
    -----
    One PUT a file, one at a time in memory, and one for the index, which comes last.
    """
    names, content = _source(item, obj)
    _check_names(item, names)
    index: dict[str, tuple[int, str]] = {}

    def put(name: str) -> None:
        data = content(name)
        if type(data) is not bytes:
            raise refusal(item, f"[{name!r}] is a {type_name(data)}, not bytes", "pass the bytes of each file")
        item.put(data, name)
        index[name] = len(data), sha256(data)

    # what an earlier write left is withdrawn before the first, and only then may several be under way
    for first in names[:1]:
        put(first)
    gather(put, names[1:], remote=item.remote)
    data = json.dumps({name: index[name] for name in names}, ensure_ascii=False, indent=0).encode()
    item.put(data, INDEX)
    return _meta(index, data)


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
    One GET of the index; without one, where a tool wrote the files, one LIST. One GET for each file that is asked for.
    """
    if item.meta and "files" not in item.meta:
        suffix = item.name.partition(".")[2]
        msg = f"{item.url} was written by a format of its own; register_format({suffix!r}, module) before reading it"
        raise UnknownFormat(msg)
    index, data = _index(item)
    if not item.meta and data is None:
        raise damage(item, "it is not complete: nothing vouches for its files before the node is committed")
    if item.meta:
        found = _meta(index, data)
        wrong = next((what for what in found if item.meta.get(what, found[what]) != found[what]), None)
        if wrong:
            raise damage(item, f"its {wrong} are {found[wrong]}, where {item.meta[wrong]} were written")
    return Files(item, index)


def describe(item: ItemPath) -> dict[str, Any]:
    """Return kind, number of files and of objects, and bytes; one GET of the index, or one LIST where there is none."""
    return _meta(*_index(item))


def damaged(item: ItemPath) -> Iterator[tuple[str, str]]:
    """Yield each file that is not what was written, and what is wrong with it; one GET a file."""
    try:
        files = read(item)
    except ItemDamaged as error:
        yield INDEX, str(error)
        return
    for name in files:
        try:
            files[name]
        except ItemDamaged as error:
            gone = isinstance(error.__cause__, FileNotFoundError)
            yield name, "missing" if gone else "corrupt (its checksum does not fit)"


def _meta(index: Mapping[str, tuple[int, str | None]], data: bytes | None) -> dict[str, Any]:
    own = len(data) if data is not None else 0
    return {
        "kind": "file",
        "files": len(index),
        "objects": len(index) + (data is not None),
        "bytes": sum(size for size, _ in index.values()) + own,
        **({"index": sha256(data)} if data is not None else {}),
    }


def _source(item: ItemPath, obj: object) -> tuple[list[str], Callable[[str], bytes]]:
    """Return the names of all files, sorted, and a function that reads one."""
    if isinstance(obj, Mapping):
        for name, data in obj.items() if type(obj) is dict else ():
            if type(data) is not bytes:
                raise refusal(item, f"[{name!r}] is a {type_name(data)}, not bytes", "pass the bytes of each file")
        odd = next((name for name in obj if type(name) is not str), None)
        if odd is not None:
            raise refusal(item, f"the name {odd!r} is a {type_name(odd)}", "use relative names as str")
        return sorted(obj), obj.__getitem__
    if not isinstance(obj, (str, os.PathLike)):
        suffix = item.name.partition(".")[2]
        also = f", or register_format({suffix!r}, module) first" if suffix != "dir" else ""
        raise refusal(item, f"it is a {type_name(obj)}", f"pass a local directory, or a dict of name to bytes{also}")
    top = os.path.expanduser(os.fspath(obj))
    if not os.path.isdir(top):
        msg = f"{item.url} was not written: there is no directory at {top!r}; correct the path"
        raise UsageError(msg)

    def content(name: str) -> bytes:
        with open(os.path.join(top, *name.split("/")), "rb") as file:
            return file.read()

    return sorted(_files(item, top)), content


def _files(item: ItemPath, top: str) -> Iterator[str]:
    """Yield the names of all files below a local directory."""

    def fail(error: OSError) -> None:
        raise error

    for folder, below, files in os.walk(top, onerror=fail):
        links = [name for name in below if os.path.islink(os.path.join(folder, name))]
        if links:
            why = f"{os.path.join(folder, links[0])!r} is a link to a directory"
            raise refusal(item, why, "copy what it leads to, or take it away")
        relative = os.path.relpath(folder, top)
        parts = [] if relative == os.curdir else relative.split(os.sep)
        yield from ("/".join([*parts, name]) for name in files)


def _check_names(item: ItemPath, names: list[str]) -> None:
    """Raise `NotReproducible` unless every store keeps files of these names, side by side."""
    directories = {name[:i] for name in names for i, letter in enumerate(name) if letter == "/"}
    for name in names:
        fault = "is the name of a directory too" if name in directories else _name_fault(name)
        if fault:
            way_out = "use relative names like 'a/b.tif', plain enough for every store"
            raise refusal(item, f"the name {name!r} {fault}", way_out)


def _name_fault(name: str) -> str:
    """Return why no file of an item may be called so; empty if it may."""
    try:
        same = "/".join(check_item_name(part) for part in name.split("/")) == name
    except InvalidName as error:
        return f"is not kept by every store ({error})"
    return "" if same else "is not in Unicode normal form C"


def _index(item: ItemPath) -> tuple[dict[str, tuple[int, str | None]], bytes | None]:
    """Return size and, where known, digest of each file, and the bytes of the index if there is one."""
    try:
        data = item.get(INDEX, 0, MAX_INDEX)
    except FileNotFoundError:
        if "index" in item.meta:
            raise
        return _listed(item), None
    try:
        index = {name: (size, digest) for name, (size, digest) in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise damage(item, f"its index does not parse: {error}") from error
    odd = [
        n for n, (size, digest) in index.items() if type(size) is not int or type(digest) is not str or _name_fault(n)
    ]
    if odd:
        raise damage(item, f"its index names {odd[0][:80]!r}")
    return index, data


def _listed(item: ItemPath) -> dict[str, tuple[int, str | None]]:
    """Return the size of each file that lies there, where nobody put an index."""
    found = item.find()
    if not found:
        raise FileNotFoundError(item.url)
    odd = next((name for name in found if _name_fault(name)), None)
    if odd is not None:
        raise damage(item, f"it holds {odd[:80]!r}, a name that leads elsewhere or is not kept by every store")
    return {name: (info.size, None) for name, info in sorted(found.items())}


def _save(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
