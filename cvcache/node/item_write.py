"""Write the items of an open attempt, and their rows: the metadata of an item in a record."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from cvcache import formats, protocol
from cvcache.errors import CvcacheError, LeaseLost
from cvcache.store import is_item_dir, layout, successor_path

logger = logging.getLogger("cvcache")

MAX_THUMBNAIL_BYTES = 4 << 20
"""No larger thumbnail is stored; of a larger one no more is read."""


def write_item(
    attempt: protocol.Attempt,
    name: str,
    obj: object,
    options: dict[str, Any],
    images: tuple[Mapping[str, Any], ...] = (),
    user: Mapping[str, Any] | None = None,
) -> None:
    """Write one item of an open attempt and note its row for the commit.

    `images` is the metadata of the images that `obj` is read from; `user` goes into the row with that of the format.
    """
    item_format = formats.find_format(name)
    with LeasedWrite(attempt, name, images) as item:
        item.row = {**item_format.write(item, obj, **options), **item.whole_file, **(user or {})}


class LeasedWrite(formats.ItemWrite):
    """One write of one item by the process that holds the lease of its attempt; safe in several threads.

    A context manager: the commit has its `row` if no exception leaves it. After its end no thread can write to the item
    any more: dask's threads go on with other chunks when one chunk has failed.

    Attributes
    ----------
    row : mapping
        The metadata of the item in the record, to be set.
    whole_file : mapping
        Size and digest of an item that is one object.
    """

    def __init__(self, attempt: protocol.Attempt, name: str, images: tuple[Mapping[str, Any], ...]) -> None:
        successor = successor_path(attempt.path, attempt.record)
        inputs = (*images, *attempt.images)
        super().__init__(attempt.store, f"{attempt.root}/{name}", successor=successor, inputs=inputs)
        self.row: Mapping[str, Any] = {}
        self.whole_file: Mapping[str, Any] = {}
        self._attempt, self._item_name = attempt, name
        self._has_begun = self._has_ended = False
        self._active_writes = 0
        self._condition = threading.Condition()

    def __enter__(self) -> Self:
        self._item = self._attempt.begin_write(self._item_name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._item.failed = kind is not None and self._has_begun and self._attempt.outlives_its_end
            with self._condition:
                self._has_ended = True
                self._condition.wait_for(lambda: self._active_writes == 0)
            if kind is None:
                self._item.row, self._item.own_file = dict(self.row), False
            elif self._has_begun:
                self._delete_failed_write()
        finally:
            self._item.being_written = False

    def _delete_failed_write(self) -> None:
        """Delete what this write left, but for an announced plan, whose parts may be resumed."""
        if self._item.plan is not None and not self._item.plan and not self._attempt.lost:
            # an error here must not hide the one being raised
            with contextlib.suppress(Exception), self._attempt.writing():
                if self._attempt.unanswered:
                    self._attempt.forget_first(self._item_name)
                protocol.delete_item(self.store, self.path, self._attempt.first_keys(self._item_name))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Announce the item and hold the lease while this context lasts.

        Raises
        ------
        LeaseLost
            This write has ended, or the lease is lost.
        ForeignItem
            An object that the attempt did not write is at the path.
        """
        with self._condition:
            self._begin()
            self._active_writes += 1
        try:
            with self._attempt.writing_item(self._item_name):
                yield
        finally:
            with self._condition:
                self._active_writes -= 1
                self._condition.notify_all()

    def _begin(self, first: tuple[str, int, str] | None = None) -> None:
        """Announce the item before any thread writes, with key, size and digest of the `first` object if known."""
        if self._has_ended:
            msg = f"the write of {self.url} that this belongs to has failed; what is left of it is discarded"
            raise LeaseLost(msg)
        if not self._has_begun:
            self._has_begun = True
            self._delete_earlier_write()
            with self._attempt.writing_item(self._item_name, first):
                pass

    def _delete_earlier_write(self) -> None:
        """Delete what the attempt wrote before; old parts of a directory would stay among the new ones."""
        is_rewrite = self._item.row is not None
        _forget(self._attempt, self._item_name)
        if is_rewrite and is_item_dir(self._item_name):
            with self._attempt.writing():
                protocol.delete_item(self.store, self.path, self._attempt.first_keys(self._item_name))

    def begin(self, plan: Mapping[str, Any]) -> Mapping[str, int]:
        """Announce the `plan` of a directory item, and return the parts that an earlier attempt wrote for an equal one.

        Returns
        -------
        mapping
            Key -> size.
        """
        self._has_begun = True
        _forget(self._attempt, self._item_name)
        return protocol.resume_item(self._attempt, self._item_name, plan)

    def share(self) -> None:
        """Record that other processes may write for the attempt."""
        self._attempt.share()

    def put(self, data: bytes, key: str = "") -> None:
        """Write the item, or its part `key`, as one object."""
        digest = "" if key and self._has_begun else formats.sha256(data)
        with self._condition:
            self._begin((key, len(data), digest))
        super().put(data, key)
        if not key:
            self.whole_file = {"size": len(data), "sha256": digest}

    def thumbnail(self, png: bytes) -> None:
        """Store a small PNG of the item."""
        if len(png) > MAX_THUMBNAIL_BYTES:
            msg = f"its PNG has {len(png)} bytes, more than {MAX_THUMBNAIL_BYTES}"
            raise ValueError(msg)
        with self._attempt.writing():
            self.store.put(layout.thumbnail_path(self._attempt.path, self._attempt.id, self._item_name), png)
        self._item.has_thumbnail = True


def _forget(attempt: protocol.Attempt, name: str) -> None:
    """Drop the row of an item that is about to be written again, and delete its thumbnail."""
    item = attempt.item(name)
    item.row = None
    if item.has_thumbnail:
        with attempt.writing():
            attempt.store.delete([layout.thumbnail_path(attempt.path, attempt.id, name)])
        item.has_thumbnail = False


def declare_own_file(attempt: protocol.Attempt, name: str) -> None:
    """Note that the user writes the file `name` of the open attempt."""
    with attempt.writing_item(name):
        attempt.item(name).own_file = True
        _forget(attempt, name)


def own_file_rows(attempt: protocol.Attempt) -> dict[str, Mapping[str, Any]]:
    """Return rows for the files written through ``open()`` and ``path()``; one LIST, and one more for a directory."""
    names = attempt.own_files
    if not names:
        return {}
    listing = attempt.store.list(attempt.root)
    rows: dict[str, Mapping[str, Any]] = {}
    for name in names:
        if name in listing.files:
            rows[name] = {"size": listing.files[name].size, "etag": listing.files[name].etag}
        elif name in listing.dirs:
            parts = attempt.store.find(f"{attempt.root}/{name}")
            rows[name] = {"objects": len(parts), "bytes": sum(info.size for info in parts.values())}
        else:
            logger.warning("%s/%s was asked for but never written; the commit leaves it out", attempt.url, name)
    return {name: {**_describe_own_file(attempt, name), **row} for name, row in rows.items()}


def _describe_own_file(attempt: protocol.Attempt, name: str) -> Mapping[str, Any]:
    """Return the metadata that the format of a user's own file reads from it; only the kind if no format knows it."""
    try:
        return formats.find_format(name).describe(formats.ItemPath(attempt.store, f"{attempt.root}/{name}"))
    except (CvcacheError, ValueError, OSError, ImportError):
        return {"kind": "file"}
