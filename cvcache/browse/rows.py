"""One row of the tree: kind, state and recorded metadata of a node or an item."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cvcache.browse.text import recorded_size
from cvcache.formats import kind_of
from cvcache.node import Commit, item_io
from cvcache.protocol import describe_owner
from cvcache.store import is_item_dir, layout
from cvcache.tree import state_of_listing

if TYPE_CHECKING:
    from cvcache.node import Snapshot
    from cvcache.protocol import Record
    from cvcache.store import Listing

NON_NODE_STATES = ("absent", "folder", "foreign")
"""States of a directory without records: it does not exist, has only directories, or has files."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the tree: a directory, or an item in a directory.

    Attributes
    ----------
    path : str
        Path below the top of the tree, with slashes; empty for the top. Unique in the tree.
    name : str
        As stored; not checked for control characters.
    kind : str
        Of a directory ``"node"``, ``"folder"`` or ``"foreign"``; of an item the kind of its format: image, labels,
        points, table, plot, log, json, ...; ``"file"`` if unknown.
    state : str
        Empty before it was read; else absent, running, committed, stale, failed, folder, foreign or unreadable: that of
        the newest attempt. An item has the state of its node, or is foreign; one of a commit that stands is committed.
    node : Snapshot
        The node as it was read; of an item its node.
    is_item, branch : bool
        Whether it is an item; whether there may be rows below it.
    shape : tuple of int
        Of an array in pixels, in the order of its axes; of a table rows and columns; of a node that of its first image.
    dtype : str
    size : int or None
        In bytes, as recorded.
    time : datetime.datetime or None
        Of the commit, in UTC; without one the time of the last record of an attempt that failed or runs.
    duration : float or None
        Of the computation, in seconds.
    note : str
        An error, the owner of a running attempt, or the reason of the state.
    meta : mapping
        Recorded metadata of an item.
    """

    path: str
    name: str
    kind: str
    state: str
    node: Snapshot
    is_item: bool = False
    branch: bool = False
    shape: tuple[int, ...] = ()
    dtype: str = ""
    size: int | None = None
    time: datetime.datetime | None = None
    duration: float | None = None
    note: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> Record | None:
        """The record that the row was made from; None if there is none or it cannot be read. No store call."""
        if self.state in {"", "unreadable", "foreign"} or (not self.is_item and self.kind != "node"):
            return None
        return self.node.record

    @property
    def state_text(self) -> str:
        """The state for people, see `Snapshot.state_text`; of an item that of its node."""
        return self.node.state_text(self.state) if self.state and not self.is_item else self.state

    @property
    def attempt(self) -> str:
        """The attempt of `record`; empty if there is none."""
        record = self.record
        return record.attempt if record is not None else ""

    @property
    def unread(self) -> bool:
        """Whether `Tree.look` would add something: the row was not read, or it is an image without metadata."""
        return not self.state or (self.is_item and self.kind == "image" and not self.meta)

    @property
    def url(self) -> str:
        """Path on disk or URL; never with a secret."""
        if self.is_item and self.record is None:
            return self.node.store.url(f"{self.node.path}/{self.name}")
        return item_io.item_url(self.node, self.name) if self.is_item else self.node.url


@dataclass(frozen=True, slots=True)
class Level:
    """The rows directly below one row; `more` says that some are left out."""

    path: str
    rows: tuple[Row, ...]
    more: bool = False


def child_path(path: str, name: str) -> str:
    """Return the path of the child `name` of the directory at `path`."""
    return f"{path}/{name}" if path else name


def unread_row(path: str, node: Snapshot) -> Row:
    """Return the row of a directory that was not read yet."""
    return Row(path, node.address.name, "node", "", node, branch=True)


def node_row(path: str, node: Snapshot, state: str) -> Row:
    """Return the row of a node whose record was read; no store call."""
    record = node.record
    commit = Commit.of(node) if node.committed else None
    items = record.items or {} if record is not None else {}
    fields = [(name, *_meta_fields(meta)) for name, meta in sorted(items.items(), key=_images_first)]
    shape, dtype = next(((shape, dtype) for _, _, shape, dtype, _ in fields if shape), ((), ""))
    sizes = [size for *_, size in fields if size is not None]
    return Row(
        path,
        node.address.name if path else node.url,
        "node",
        state,
        node,
        branch=True,
        shape=shape,
        dtype=dtype,
        size=sum(sizes) if sizes else None,
        time=commit.time if commit else _time(record),
        duration=commit.duration if commit else None,
        note=_row_note(node, state),
    )


def directory_row(path: str, node: Snapshot, listing: Listing, note: str = "") -> Row:
    """Return the row of a directory without records, from its listing."""
    state = state_of_listing(listing)
    kind = "node" if state == "absent" else state
    return Row(path, node.address.name if path else node.url, kind, state, node, branch=bool(listing), note=note)


def item_rows(path: str, node: Snapshot, state: str, listing: Listing) -> list[Row]:
    """Return the items of a directory and its foreign files, sorted by name.

    Notes
    -----
    No store call for a committed node, one GET if its inventory is not in the record; one LIST for an attempt that does
    not write in place.
    """
    present = item_io.rows_in_listing(listing)
    if state in NON_NODE_STATES or state == "unreadable":
        return [item_row(path, node, "foreign", name, row) for name, row in sorted(present.items())]
    record = node.record
    in_place = layout.data_root(node.path, record) == node.path
    unfinished = record is not None and record.state == "claimed"
    own = dict(item_io.read_rows(node)) if not (unfinished and in_place) else {}
    if in_place and not node.committed:
        own = {**present, **own}
    foreign = {name: row for name, row in present.items() if name not in own}
    rows = [item_row(path, node, state, name, row) for name, row in own.items()]
    rows += [item_row(path, node, "foreign", name, row) for name, row in foreign.items()]
    return sorted(rows, key=lambda row: row.name)


def foreign_directory_row(path: str, node: Snapshot, name: str) -> Row:
    """Return the row of a directory whose name is not valid for a node; its content is not shown."""
    return Row(child_path(path, name), name, "directory", "foreign", node, is_item=True, meta={"kind": "directory"})


def directory_of(item: Row) -> Row:
    """Return the row of the directory of an item, from the node of the item; no store call.

    The tree may have a newer row by now, to which this item does not belong.
    """
    path = item.path.rpartition("/")[0]
    return Row(path, item.node.address.name, "foreign" if item.state == "foreign" else "node", item.state, item.node)


def item_row(path: str, node: Snapshot, state: str, name: str, meta: Mapping[str, Any]) -> Row:
    """Return the row of one item from its recorded metadata."""
    state = "committed" if node.committed and state in {"running", "failed"} else state
    note = "uncommitted" if state in {"running", "failed"} else ""
    return with_meta(Row(child_path(path, name), name, "file", state, node, is_item=True, note=note), meta)


def with_meta(row: Row, meta: Mapping[str, Any]) -> Row:
    """Return the row of an item with this metadata."""
    kind, shape, dtype, size = _meta_fields(meta)
    if kind == "file" and is_item_dir(row.name):
        kind = kind_of(row.name)
    return replace(row, kind=kind, shape=shape, dtype=dtype, size=size, meta=meta)


def _meta_fields(meta: Mapping[str, Any]) -> tuple[str, tuple[int, ...], str, int | None]:
    """Return kind, shape, dtype and size from recorded metadata, which may hold anything."""
    shape = meta.get("shape")
    if shape is None and "rows" in meta:
        columns = meta.get("columns")
        shape = [meta["rows"], len(columns)] if isinstance(columns, list) else [meta["rows"]]
    all_ints = isinstance(shape, list) and all(type(n) is int for n in shape)
    kind, dtype = meta.get("kind"), meta.get("dtype")
    return (
        kind if isinstance(kind, str) and kind else "file",
        tuple(shape) if all_ints and isinstance(shape, list) else (),
        dtype if isinstance(dtype, str) else "",
        recorded_size(meta),
    )


def _images_first(item: tuple[str, Mapping[str, Any]]) -> tuple[bool, bool, str]:
    name, meta = item
    return "levels" not in meta, "rows" not in meta, name


def _time(record: Record | None) -> datetime.datetime | None:
    if record is None or record.state in {"released", "removing", "removed"}:
        return None
    try:
        time = datetime.datetime.fromisoformat(record.time)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _row_note(node: Snapshot, state: str) -> str:
    newest = node.newest
    if state == "running" and newest is not None:
        return describe_owner(newest)
    if state == "failed" and (error := node.error):
        return f"{error.get('type')}: {error.get('message')}"
    return "; ".join(node.reason)
