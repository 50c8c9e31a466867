"""A handle to one directory of a cache tree, and to one item in it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from cvcache import formats, keys, protocol
from cvcache.errors import NodeCommitted, NotComputed, NotOpen, UsageError
from cvcache.node import item_array, item_io
from cvcache.node.address import Address, path_of_url
from cvcache.node.init import current_state, read_snapshot
from cvcache.node.snapshot import Snapshot
from cvcache.store import check_item_name, child_names

if TYPE_CHECKING:
    import dask.array as da
    import numpy as np

    from cvcache.node.commit import Commit


class CacheDir:
    """One node of a tree: a directory with a commit mark, items and child nodes.

    Get one from `cdir`, `cdir_init` or `cdir_query`, or as a child ``node / "name"``. A handle shows
    the node as it was when first read; one with a commit stays pinned to that, `refresh` reads
    it again. Handles are equal if their URLs are, and picklable without their storage options: these
    may hold secrets, so another process takes those it has opened the bucket with, or else its environment.
    """

    _tokens: tuple[Token[tuple[str, ...]], ...] = ()

    def __init__(self, address: Address, snapshot: Snapshot | None = None, *, pinned: bool = True) -> None:
        self._address = address
        self._snapshot = snapshot
        # else it was read to answer a question, and may still mean a mere address
        self._pinned = pinned and snapshot is not None

    def __cvcache_address__(self) -> Address:
        return self._address

    def __cvcache_snapshot__(self) -> Snapshot:
        """Return what this handle shows; the store is read only the first time."""
        if self._snapshot is None:
            self._snapshot = read_snapshot(self._address)
        elif self._snapshot.attempt is not None:
            self._snapshot = self._snapshot.now
        return self._snapshot

    def __cvcache_commit__(self, meta: Mapping[str, Any] | None) -> Commit:
        """Commit the node, which this process opened; see `cdir_commit`."""
        from cvcache.node.commit import Commit  # who reads a node needs neither
        from cvcache.node.finish import commit_node, find_open_node

        node = self._snapshot or find_open_node(self._address) or self.__cvcache_snapshot__()
        self._snapshot = commit_node(node, meta)
        return Commit.of(self._snapshot)

    @property
    def url(self) -> str:
        """The address of the node: a path on disk, or a URL; never with a secret."""
        return self._address.url

    @property
    def name(self) -> str:
        """The last component of `url`."""
        return self._address.name

    @property
    def parent(self) -> CacheDir:
        """The node above; no I/O.

        Raises
        ------
        InvalidName
            If this is the topmost place of its store that can be a node.
        """
        return CacheDir(self._address.parent)

    def __truediv__(self, name: str | int | os.PathLike[str]) -> CacheDir:
        """Return the child node `name`, or deeper, ``"a/b"``; no I/O."""
        return CacheDir(self._address.child(name))

    def children(self) -> list[CacheDir]:
        """Return the child nodes, sorted by name; one LIST."""
        uncached = self._address.context.uncached
        if uncached is not None:
            prefix = f"{self._address.path}/"
            below = {path.removeprefix(prefix).partition("/")[0] for path in uncached if path.startswith(prefix)}
            names: tuple[str, ...] = tuple(sorted(below))
        else:
            names = child_names(self._address.store.list(self._address.path).dirs)
        return [self / name for name in names]

    def refresh(self) -> Self:
        """Read the newest record and return this handle; one LIST and one GET, for each tree that has no result."""
        attempt = self._snapshot.now.attempt if self._snapshot is not None else None
        if attempt is None or attempt.lost:
            self._snapshot, self._pinned = read_snapshot(self._address), True
        return self

    @property
    def state(self) -> str:
        """That of the newest attempt: one of absent, running, committed, stale, failed.

        While it runs, or after it failed, the result before it stands: then there is a `commit` too. A node whose owner
        died on this machine is failed. Whether a committed node is stale costs one
        LIST and one GET for each node its key holds an item of.
        """
        return current_state(self.__cvcache_snapshot__())

    @property
    def commit(self) -> Commit | None:
        """The commit that stands, also while a newer attempt runs or has failed; None of a node open for writing."""
        from cvcache.node.commit import Commit  # few who read a node ask for it

        snapshot = self.__cvcache_snapshot__()
        return Commit.of(snapshot) if snapshot.committed else None

    @property
    def committed(self) -> bool:
        """Whether there is a `commit`: something to read, and of a node that was opened with a key nothing to do."""
        return self.__cvcache_snapshot__().committed

    @property
    def computed(self) -> bool:
        """Whether the result was computed through this handle, and not read."""
        return self.__cvcache_snapshot__().computed

    @property
    def reason(self) -> tuple[str, ...]:
        """Why the newest attempt was started, one difference a line; empty for a node never computed."""
        return self.__cvcache_snapshot__().reason

    @property
    def error(self) -> Mapping[str, str] | None:
        """Type, message and traceback of the failure the newest attempt ended with; None if it did not."""
        return self.__cvcache_snapshot__().error

    @property
    def version(self) -> str:
        """The version that an item of this node has in a key; of a node not committed, its attempt."""
        return self.__cvcache_snapshot__().version

    @property
    def meta(self) -> dict[str, Any]:
        """Plain values of your own, kept with the commit: fill it while the node is open, read it afterwards.

        ``out.meta["nuclei"] = 241``. Of a committed node this is a copy. No store call.
        """
        snapshot = self.__cvcache_snapshot__()
        if snapshot.attempt is not None:
            return snapshot.attempt.meta
        return dict(snapshot.record.meta) if snapshot.committed and snapshot.record is not None else {}

    def __getitem__(self, name: str) -> Item:
        """Return the item `name`, which need not exist yet; no I/O."""
        return Item(self, check_item_name(name))

    def __contains__(self, name: object) -> bool:
        rows = item_io.read_rows(self.__cvcache_snapshot__())
        return isinstance(name, str) and unicodedata.normalize("NFC", name) in rows

    def items(self) -> list[Item]:
        """Return the items, sorted by name; no store call for a committed node, one LIST for another."""
        return [Item(self, name) for name in sorted(item_io.read_rows(self.__cvcache_snapshot__()))]

    def read(self, name: str, /, **options: Any) -> Any:
        """Return the object of the item `name`.

        Parameters
        ----------
        name : str
            Its suffix chooses the format.
        **options
            What the format takes, e.g. ``level=2`` of an OME-Zarr image.

        Raises
        ------
        ItemNotFound
            If there is no such item.
        ItemDamaged
            If it is not what its commit vouched for.
        NodeReplaced
            If the commit this handle is pinned to does not stand any more and its bytes are gone.

        Notes
        -----
        One GET for a file of a committed node; directory formats say their own cost.
        """
        return item_io.read_item(self.__cvcache_snapshot__(), check_item_name(name), options)

    def write(
        self, name: str, obj: object, /, *, meta: Mapping[str, Any] | None = None, track: bool = True, **options: Any
    ) -> Item:
        """Write `obj` as the item `name` of a node opened for writing.

        Parameters
        ----------
        name : str
            Its suffix chooses the format.
        obj : object
            What the format takes, or an `Item`, whose content is written. An object that would not come back as it
            is raises and writes nothing.
        meta : mapping, optional
            Plain values of your own, to be read as ``item.meta["user"]``.
        track : bool
            Whether `cdir_copy` takes the item along; False for what is big and easily made again.
        **options
            What the format takes, e.g. ``axes="zyx", scale=(2, 0.5, 0.5)`` of an OME-Zarr image.

        Raises
        ------
        NotOpen, NodeCommitted
            If this process does not hold the node, or it is complete.
        UnknownFormat, UnknownOption, NotReproducible
            If the item cannot be written as asked.
        LeaseLost
            If another owner took the node over in the meantime.

        Notes
        -----
        Of a file: two PUT and one request whether its name is free.
        """
        name = check_item_name(name)
        attempt = self._open_attempt()
        obj, images = _content_of(name, obj)
        user: dict[str, Any] = {"user": formats.json_exact(meta, f"meta of {name}")} if meta else {}
        row = user if track else {**user, "track": False}
        uncached = self.__cvcache_snapshot__().uncached
        if uncached is None or not uncached.keep(name, obj, options, row):
            from cvcache.node.item_write import write_item  # who reads a node needs none

            write_item(attempt, name, obj, options, images, row)
        return Item(self, name)

    def cached(self, name: str, fn: Callable[[], Any], /, **options: Any) -> Any:
        """Return the result of `fn`, computed once and stored as the one item of a child node.

        The child is named like the item without its suffix and keyed by the code of `fn` and the options.
        """
        from cvcache.node.step import write_value  # few nodes need steps

        stem = formats.find_format(name).stem(name)
        unkeyed = {option: options.pop(option) for option in ("progress",) if option in options}
        node: CacheDir = write_value(self / stem, name, fn, options, unkeyed)
        return node.read(name)

    def open(self, name: str, mode: str = "rb") -> IO[bytes]:
        """Open the item `name` as a binary file object; mode ``"wb"`` makes it appear whole on close.

        The commit lists such items and vouches for their size.
        """
        name = check_item_name(name)
        if mode not in {"rb", "wb"}:
            msg = f"open({name!r}, {mode!r}): the mode is 'rb' or 'wb'; wrap the file in io.TextIOWrapper for text"
            raise UsageError(msg)
        if mode == "rb":
            return item_io.open_item(self.__cvcache_snapshot__(), name)
        attempt = self._declare_own_file(name)
        return attempt.store.open(f"{attempt.root}/{name}", mode, attempt.writing)

    def path(self, name: str) -> str:
        """Return a path or URL for the item `name`: for a tool that writes it, or of a committed node reads it.

        The tool may be another process, so that after a crash this attempt is never resumed in place. The commit lists
        such items and vouches for their size.

        Raises
        ------
        NotOpen, NodeCommitted
            If there is no such item, and this process does not hold the node, or it is complete.
        """
        name, snapshot = check_item_name(name), self.__cvcache_snapshot__()
        if name in item_io.committed_rows(snapshot):
            return item_io.item_url(snapshot, name)
        attempt = self._declare_own_file(name)
        attempt.share()
        attempt.store.makedirs(attempt.root)
        return attempt.store.url(f"{attempt.root}/{name}")

    def _declare_own_file(self, name: str) -> protocol.Attempt:
        from cvcache.node.item_write import declare_own_file  # who reads a node needs none

        attempt, uncached = self._open_attempt(), self.__cvcache_snapshot__().uncached
        declare_own_file(attempt, name)
        if uncached is not None:
            uncached.forget(name)
        return attempt

    def log(self, name: str = "run.log") -> AbstractContextManager[None]:
        """Keep what is logged, printed and raised inside this context as the item `name`."""
        from cvcache.logs import capture_log  # brings tempfile and concurrent.futures, which only a log needs
        from cvcache.node.finish import find_attempt

        return capture_log(find_attempt(self.__cvcache_snapshot__()), name, self.write)

    def _open_attempt(self) -> protocol.Attempt:
        """Return the attempt of this open node, or raise."""
        snapshot = self.__cvcache_snapshot__()
        if snapshot.attempt is not None:
            return snapshot.attempt
        if snapshot.is_planned:
            item_io.read_rows(snapshot)  # raises
        if snapshot.committed:
            msg = f"{self.url} is committed and does not change; write if not d.committed, or open it with force=True"
            raise NodeCommitted(msg)
        msg = f"{self.url} is not open for writing in this process; call cdir_init on it first"
        raise NotOpen(msg)

    def __enter__(self) -> Self:
        outer, attempt = protocol.running_attempts.get(), self._snapshot.attempt if self._snapshot is not None else None
        token = protocol.running_attempts.set((*outer, attempt.id) if attempt is not None else outer)
        self._tokens = (*self._tokens, token)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        return _end(self._leave(), error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        """Do what ``__exit__`` does, with the requests to the store in another thread."""
        import asyncio

        return await asyncio.to_thread(_end, self._leave(), error)

    def _leave(self) -> Snapshot | None:
        protocol.running_attempts.reset(self._tokens[-1])
        self._tokens = self._tokens[:-1]
        return self._snapshot

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheDir) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        """Return the URL, and what is known of the state; no store call."""
        state = f", {self._snapshot.now.state_text()}" if self._snapshot is not None else ""
        return f"CacheDir({self.url!r}{state})"

    def __str__(self) -> str:
        """Return the URL, so that ``f"{node}/sub"`` is that of a child."""
        return self.url

    def __fspath__(self) -> str:
        return path_of_url(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        snapshot, address = self._snapshot.now if self._snapshot is not None else None, self._address
        if snapshot is not None and snapshot.attempt is not None:  # a child opened in another process has its key
            record = snapshot.attempt.record
            address = address.with_context(inherited_key=(record.key, record.digest))
        if snapshot is None or snapshot.record is None:
            return CacheDir, (address,)
        return _unpickle, (address, snapshot._replace(attempt=None), self._pinned)

    def __cvcache_is_address__(self) -> bool:
        """Whether this handle means an address and no result: never read, or not committed; no store call."""
        return self._snapshot is None or not self._pinned or not self.committed

    def __cvcache_key__(self) -> keys.Canonical:
        return keys.Canonical({"$node": self.version})

    def __cvcache_input__(self) -> tuple[str, dict[str, str]]:
        return self.__cvcache_snapshot__().result_url, {"version": self.version}

    def __cvcache_images__(self) -> list[Mapping[str, Any]]:
        return item_io.image_rows(self.__cvcache_snapshot__())


class Item:
    """One item of a node: its suffix is its format. Nothing is read until asked.

    Picklable; equal to another item at the same URL. One that is an array is one for numpy, which reads it, and for
    ``dask.array.asarray``, which does not.
    """

    __slots__ = ("_name", "_node")

    def __init__(self, node: CacheDir, name: str) -> None:
        self._node = node
        self._name = name

    @property
    def node(self) -> CacheDir:
        """The node this item belongs to."""
        return self._node

    @property
    def name(self) -> str:
        """The item's name in its node, with its suffix."""
        return self._name

    @property
    def url(self) -> str:
        """The address of the item."""
        return item_io.item_url(self._node.__cvcache_snapshot__(), self._name)

    @property
    def meta(self) -> Mapping[str, Any]:
        """The item's row in the record: kind, and where they apply shape, dtype, axes, scale, size in bytes."""
        return item_io.item_row(self._node.__cvcache_snapshot__(), self._name)

    def read(self, **options: Any) -> Any:
        """Return the object; see `CacheDir.read`."""
        return self._node.read(self._name, **options)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of each axis of an item that is one array; nothing is read."""
        return tuple(self._array_row()["shape"])

    @property
    def ndim(self) -> int:
        """Number of axes of an item that is one array; nothing is read."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """Data type of an item that is one array; nothing is read."""
        import numpy as np

        dtype: np.dtype = np.dtype(self._array_row()["dtype"])
        return dtype

    def _array_row(self) -> Mapping[str, Any]:
        try:
            return item_array.array_row(self._node.__cvcache_snapshot__(), self._name)
        except TypeError as error:
            raise AttributeError(str(error)) from None  # so that hasattr() says whether it is one

    def __getitem__(self, selection: Any) -> np.ndarray:
        """Return a part of an item that is one array; of an image only the chunks with it are read."""
        return item_array.read_part(self._node.__cvcache_snapshot__(), self._name, selection)

    __iter__ = None  # an item is no sequence: it may be no array, or larger than memory

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:  # noqa: FBT001 - numpy calls it so
        array = item_array.read_array(self._node.__cvcache_snapshot__(), self._name)
        return array if dtype is None else array.astype(dtype, copy=bool(copy))

    def dask(self, **options: Any) -> da.Array:
        """Return an item that is one array lazily, also if a numpy array was written.

        Parameters
        ----------
        **options
            What the format takes, as for `read`, such as ``level=1``.

        Returns
        -------
        dask.array.Array
            Of an image or zarr array in its own chunks; of any other array in one.

        Raises
        ------
        TypeError
            If the item is not one array.

        Notes
        -----
        No store call for a committed image. Computing it costs one GET per object used.
        """
        return item_array.lazy_array(self._node.__cvcache_snapshot__(), self._name, options, self)

    def to_dask_array(self) -> da.Array:
        """Return `dask()`; ``dask.array.asarray(item)`` calls it."""
        return self.dask()

    def thumbnail(self) -> bytes | None:
        """Return the small PNG that an image or a figure got when it was written, or None; one GET."""
        return item_io.read_thumbnail(self._node.__cvcache_snapshot__(), self._name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item) and (self._node, self._name) == (other.node, other.name)

    def __hash__(self) -> int:
        return hash((self._node, self._name))

    def __repr__(self) -> str:
        return f"Item({self.url!r})"

    def __str__(self) -> str:
        return self.url

    def __fspath__(self) -> str:
        return path_of_url(self.url)

    def __cvcache_is_address__(self) -> bool:
        """Whether its node was never computed."""
        return self._node.__cvcache_snapshot__().state == "absent"

    def __cvcache_key__(self) -> keys.Canonical:
        snapshot = self._node.__cvcache_snapshot__()
        item = snapshot.attempt.items.get(self._name) if snapshot.attempt is not None else None
        writes = item.writes if item is not None else 0
        again = {"written_again": writes - 1} if writes > 1 else {}
        return keys.Canonical({"$item": self._name, "version": snapshot.version, **again})

    def __cvcache_input__(self) -> tuple[str, dict[str, str]]:
        snapshot = self._node.__cvcache_snapshot__()
        return snapshot.result_url, {"item": self._name, "version": snapshot.version}

    def __cvcache_images__(self) -> list[Mapping[str, Any]]:
        return item_io.image_rows(self._node.__cvcache_snapshot__(), self._name)


def _unpickle(address: Address, snapshot: Snapshot, pinned: bool) -> CacheDir:  # noqa: FBT001 - as pickle calls it
    if snapshot.uncached is not None and address.context.uncached is not None:
        address.context.uncached[address.path] = snapshot.uncached
    return CacheDir(address, snapshot, pinned=pinned)


def _end(node: Snapshot | None, error: BaseException | None) -> bool:
    """End an open node at the end of its context; return whether `error` ends there too, as it does in a plan."""
    if node is not None and node.attempt is not None:
        from cvcache.node.finish import end_node  # who reads a node ends none

        end_node(node, error)
    return node is not None and node.is_planned and isinstance(error, NotComputed)


def _content_of(name: str, obj: object) -> tuple[object, tuple[Mapping[str, Any], ...]]:
    """Return the object to write; for an item or a node its content, with the metadata recorded of it."""
    if isinstance(obj, Item) and formats.find_format(name).suffix == "ref":
        return obj.url, ()
    if isinstance(obj, CacheDir):
        rows = item_io.read_rows(obj.__cvcache_snapshot__())
        matches = [other for other in rows if other == name] or [n for n in rows if rows[n].get("kind") == "image"]
        if len(matches) != 1:
            msg = f"{obj.url} has {len(matches)} items to write as {name!r}; pass one of them, node[name]"
            raise UsageError(msg)
        obj = obj[matches[0]]
    return (obj.read(), (obj.meta,)) if isinstance(obj, Item) else (obj, ())
