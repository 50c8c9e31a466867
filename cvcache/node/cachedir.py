"""A handle to one directory of a cache tree."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Self

from cvcache import formats, protocol
from cvcache.errors import LeaseLost, NodeCommitted, NotOpen, UsageError
from cvcache.node import copy_node, init, item_io
from cvcache.node.items import Item, NodeItems
from cvcache.store import check_item_name

if TYPE_CHECKING:
    from cvcache.node.commit import Commit

_MAX_TRACEBACK_LENGTH = 8192


logger = logging.getLogger("cvcache")


class CacheDir(NodeItems):
    """One node of a tree: a directory with a commit mark, items and child nodes.

    Get one from `cdir`, `cdir_init` or `cdir_query`, or as a child ``node / "name"``. A handle shows
    the node as it was when first read; a committed one stays pinned to its commit, `refresh` reads
    it again. Handles are equal if their URLs are, and picklable without their storage options: these
    may hold secrets, so another process takes its own from its environment.
    """

    _tokens: tuple[Token[tuple[str, ...]], ...] = ()

    def init(
        self, key: object = None, *, on_stale: str = "recompute", force: bool | str = False, wait: bool | None = None
    ) -> CacheDir:
        """Open the node for writing, or return it if it is complete and its key matches; see `cdir_init`."""
        node_request = init.request_for(
            self, key, on_stale=on_stale, force=force, wait=self.policy.wait if wait is None else wait
        )
        if (planner := init.current_planner()) is not None:
            return planner.open_node(self, node_request)  # type: ignore[no-any-return]  # a CacheDir, unknown to init
        node: CacheDir = self
        while isinstance(result := node._obtain(node_request), protocol.Sibling):
            node = node.sibling(init.read_sibling_name(node.store, node.location, node_request))
        return result

    def _obtain(self, node_request: protocol.NodeRequest) -> CacheDir | protocol.Sibling:
        """Return the node, committed or open for writing; `Sibling` if the result belongs in a sibling."""
        result = protocol.obtain_node(
            self.store, self._path, node_request, self.policy, lambda: self.find_result_for(node_request)
        )
        # the result of another tree is copied if the user wants it, and if this tree has a record of its own: a later
        # handle would read that one first
        if isinstance(result, CacheDir) and (self._context.copy_on_read or self._has_own_record(node_request)):
            other, result = result, protocol.obtain_node(self.store, self._path, node_request, self.policy)
            if isinstance(result, protocol.Attempt):
                result = copy_node.copy_items_into(result, other)
            elif isinstance(result, protocol.Sibling):  # the result in this tree has another key and stays
                result = other
        if isinstance(result, CacheDir):
            logger.info("%s: read from %s", self.url, result.url)
            return self.with_result_of(result)
        if isinstance(result, protocol.Sibling):
            return result
        if not isinstance(result, protocol.Attempt):
            if logger.isEnabledFor(logging.INFO):  # a hit counts its microseconds
                logger.info("%s: read, computed %s", self.url, result.time)
            return self.pinned_to(result)
        node = type(self)(self._context, self._path, self._also)
        node._attempt = result  # noqa: SLF001 - the same class
        return node

    def _has_own_record(self, node_request: protocol.NodeRequest) -> bool:
        """Whether this tree has a record of the node that a result of another tree would have to follow."""
        return (
            node_request.request.on_stale is not protocol.OnStale.NEW
            and protocol.read_newest_record(self.store, self._path) is not None
        )

    def find_result_for(self, node_request: protocol.NodeRequest) -> CacheDir | None:
        """Return the same node in one of the `also` trees with a result that fits; one LIST and one GET each."""
        return None if node_request.request.force else self.find_in_other_trees(node_request.request.digest)

    def finish(self, meta: Mapping[str, Any] | None = None) -> Commit:
        """Commit the node this process opened; see `cdir_commit`."""
        import datetime  # only who commits needs these

        from cvcache.node.commit import Commit
        from cvcache.node.provenance import environment

        self.record()
        attempt = self._attempt or protocol.find_open_attempt(self.url)
        if attempt is None:
            if (planner := init.current_planner()) is not None and planner.has_opened(self):
                return Commit(datetime.datetime.now(datetime.UTC), attempt="", version="planned")
            if done := self.commit:
                return done
            msg = f"{self.url} is not open for writing in this process; call cdir_init on it before committing it"
            raise NotOpen(msg)
        rows = {**attempt.rows, **item_io.own_file_rows(attempt)}
        attempt.meta.update(meta or {})
        formats.json_exact(attempt.meta, f"the metadata of {self.url}")
        record = protocol.commit_attempt(attempt, rows, attempt.meta, environment())
        self._attempt = attempt
        return Commit.of(record)

    def give_up(self) -> None:
        """Release the node, if this handle opened it: nothing is committed, and others need not wait."""
        if self._attempt is not None and self._attempt.outcome is None:
            protocol.release_attempt(self._attempt)

    @property
    def meta(self) -> dict[str, Any]:
        """Plain values of your own, kept with the commit: fill it while the node is open, read it afterwards.

        ``out.meta["nuclei"] = 241``. Of a committed node this is a copy. No store call.
        """
        self.record()
        if self._attempt is not None:
            return self._attempt.meta
        return dict(self.commit.meta) if self.commit else {}

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
        item_io.write_item(attempt, name, obj, options, images, user if track else {**user, "track": False})
        return Item(self, name)

    def cached(self, name: str, fn: Callable[[], Any], /, **options: Any) -> Any:
        """Return the result of `fn`, computed once and stored as the one item of a child node.

        The child is named like the item without its suffix and keyed by the code of `fn` and the options.
        """
        from cvcache.formats import find_format

        stem = name.removesuffix(find_format(name).suffix).rstrip(".")
        key_options = {option: value for option, value in options.items() if option != "progress"}
        key = {"cached": name, "code": fn, **({"options": key_options} if key_options else {})}
        with (self / stem).init(key) as child:
            if not child.committed:
                child.write(name, fn(), **options)
        return child.read(name)

    def open(self, name: str, mode: str = "rb") -> IO[bytes]:
        """Open the item `name` as a binary file object; mode ``"wb"`` makes it appear whole on close.

        The commit lists such items and vouches for their size.
        """
        name = check_item_name(name)
        if mode not in {"rb", "wb"}:
            msg = f"open({name!r}, {mode!r}): the mode is 'rb' or 'wb'; wrap the file in io.TextIOWrapper for text"
            raise UsageError(msg)
        if mode == "rb":
            node = self._result_node
            return item_io.open_item(node.store, node.location, self.record(), name, self.item_meta(name))
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
        name = check_item_name(name)
        if name in self.committed_rows():
            return self.item_url(name)
        attempt = self._declare_own_file(name)
        attempt.share()
        attempt.store.makedirs(attempt.root)
        return attempt.store.url(f"{attempt.root}/{name}")

    def _declare_own_file(self, name: str) -> protocol.Attempt:
        """Note that the user writes the file `name` of the open attempt; return the attempt."""
        attempt = self._open_attempt()
        with attempt.writing_item(name):
            attempt.own_files.add(name)
            attempt.rows.pop(name, None)
            item_io.delete_thumbnail(attempt, name)
        return attempt

    def log(self, name: str = "run.log") -> AbstractContextManager[None]:
        """Keep what is logged, printed and raised inside this context as the item `name`."""
        from cvcache.logs import capture_log  # brings tempfile and concurrent.futures, which only a log needs

        return capture_log(protocol.find_open_attempt(self.url), name, self.write)

    def _open_attempt(self) -> protocol.Attempt:
        """Return the attempt of this open node, or raise."""
        record = self.record()
        if self._attempt is not None:
            return self._attempt
        if record is not None and record.state == "committed":
            msg = f"{self.url} is committed and does not change; write if not d.committed, or open it with force=True"
            raise NodeCommitted(msg)
        msg = f"{self.url} is not open for writing in this process; call cdir_init on it first"
        raise NotOpen(msg)

    def __enter__(self) -> Self:
        outer = protocol.running_attempts.get()
        token = protocol.running_attempts.set((*outer, self._attempt.id) if self._attempt else outer)
        self._tokens = (*self._tokens, token)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._leave()
        self._end(error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Do what ``__exit__`` does, with the requests to the store in another thread."""
        import asyncio

        self._leave()
        await asyncio.to_thread(self._end, error)

    def _leave(self) -> None:
        *self._tokens, last = self._tokens  # type: ignore[assignment]  # a list, to be popped
        protocol.running_attempts.reset(last)

    def _end(self, error: BaseException | None) -> None:
        """Commit the attempt, or record its failure."""
        attempt = self._attempt
        if attempt is None or attempt.outcome is not None:
            return
        if error is not None:
            self._fail(attempt, error)
            return
        try:
            self.finish()
        except LeaseLost:
            raise
        except BaseException as commit_error:
            self._fail(attempt, commit_error)
            raise

    def _fail(self, attempt: protocol.Attempt, error: BaseException) -> None:
        """Record the failure of the attempt; never raises, so that the error itself is seen."""
        text = "".join(traceback.format_exception(error))[-_MAX_TRACEBACK_LENGTH:]
        report = {"type": type(error).__name__, "message": str(error)[:1024], "traceback": text}
        try:
            protocol.finish_attempt(attempt, "failed", error=report, items=attempt.rows)
        except LeaseLost:
            logger.warning("%s failed after another owner had taken it over", self.url)
        except Exception as store_error:  # noqa: BLE001 - the store may be the very thing that failed
            logger.warning("%s failed, and that could not be recorded (%s)", self.url, store_error)
            attempt.fence(f"{self.url} failed")


def _content_of(name: str, obj: object) -> tuple[object, tuple[Mapping[str, Any], ...]]:
    """Return the object to write; for an item or a node its content, with the metadata recorded of it."""
    if isinstance(obj, CacheDir):
        rows = obj.rows()
        matches = [other for other in rows if other == name] or [n for n in rows if rows[n].get("kind") == "image"]
        if len(matches) != 1:
            msg = f"{obj.url} has {len(matches)} items to write as {name!r}; pass one of them, node[name]"
            raise UsageError(msg)
        obj = obj[matches[0]]
    return (obj.read(), (obj.meta,)) if isinstance(obj, Item) else (obj, ())
