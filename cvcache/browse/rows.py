"""One line of the tree: what it is, in which state, and what is recorded of it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cvcache.browse.text import recorded_size
from cvcache.node import item_io
from cvcache.protocol import describe_owner
from cvcache.store import is_item_dir, layout

if TYPE_CHECKING:
    from cvcache.node import CacheDir
    from cvcache.protocol import Record
    from cvcache.store import Listing

NO_NODE = ("absent", "folder", "foreign")
"""What a directory without a log is: nothing, one that only leads to others, or one that holds files."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree: a directory, or an item of one.

    Attributes
    ----------
    path : str
        Where it stands below the top of the tree, with slashes; empty for the top. No two rows share one.
    name : str
        As it is stored; another person's text.
    kind : str
        Of a directory ``"node"``, ``"folder"`` or ``"foreign"``; of an item what its format says: image, labels,
        points, table, plot, log, json, ...; ``"file"`` where nothing is known.
    state : str
        Empty while nobody has looked; else absent, running, committed, stale, failed, folder, foreign or unreadable.
        An item has the state of its node, or is foreign.
    node : CacheDir
        Goes by the record that was seen; of an item, its node.
    is_item, branch : bool
        Whether it is an item, and whether there may be rows below it.
    shape : tuple of int
        Of an array in pixels, in the order of its axes; of a table rows and columns; of a node that of its first image.
    dtype : str
    size : int or None
        In bytes, as recorded.
    time : datetime.datetime or None
        Of the commit, in UTC; of an attempt that failed or runs that of its last record.
    duration : float or None
        Of the computation, in seconds.
    note : str
        What else there is to say: an error, who is writing.
    meta : mapping
        What is recorded of an item.
    """

    path: str
    name: str
    kind: str
    state: str
    node: CacheDir
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
        """The record it was made from; None for what has none, or none that can be read. No store call."""
        if self.state in {"", "unreadable", "foreign"} or (not self.is_item and self.kind != "node"):
            return None
        return self.node.record()

    @property
    def attempt(self) -> str:
        """The attempt of `record`; empty where there is none."""
        record = self.record
        return record.attempt if record is not None else ""

    @property
    def unread(self) -> bool:
        """Whether a look would tell more: nobody has looked, or it is an image that nothing describes yet."""
        return not self.state or (self.is_item and self.kind == "image" and not self.meta)

    @property
    def url(self) -> str:
        """Where it lies: a path on disk, or a URL; never with a secret."""
        if self.is_item and self.record is None:
            return self.node.store.url(f"{self.node.location}/{self.name}")
        return self.node.item_url(self.name) if self.is_item else self.node.url


@dataclass(frozen=True, slots=True)
class Level:
    """The rows directly below one row; `more` says that a part of them is left out."""

    path: str
    rows: tuple[Row, ...]
    more: bool = False


def below(path: str, name: str) -> str:
    """Return the path of what is called `name` in the directory at `path`."""
    return f"{path}/{name}" if path else name


def unseen_row(path: str, node: CacheDir) -> Row:
    """Return the row of a directory nobody has looked at."""
    return Row(path, node.name, "node", "", node, branch=True)


def node_row(path: str, node: CacheDir, state: str) -> Row:
    """Return the row of a node whose record was read; no store call."""
    record = node.record()
    commit = node.commit
    items = record.items or {} if record is not None else {}
    facts = [(name, *_facts(row)) for name, row in sorted(items.items(), key=_images_first)]
    shape, dtype = next(((shape, dtype) for _, _, shape, dtype, _ in facts if shape), ((), ""))
    sizes = [size for *_, size in facts if size is not None]
    return Row(
        path,
        node.name if path else node.url,
        "node",
        state,
        node,
        branch=True,
        shape=shape,
        dtype=dtype,
        size=sum(sizes) if sizes else None,
        time=commit.time if commit else _time(record),
        duration=commit.duration if commit else None,
        note=_note(node, state),
    )


def place_row(path: str, node: CacheDir, listing: Listing, note: str = "") -> Row:
    """Return the row of a directory without a log, from what lies in it."""
    files = bool(listing.files) or any(map(is_item_dir, listing.dirs))
    kind = "foreign" if files else "folder" if listing.dirs else "node"
    state = "absent" if kind == "node" else kind
    return Row(path, node.name if path else node.url, kind, state, node, branch=bool(listing), note=note)


def item_rows(path: str, node: CacheDir, state: str, listing: Listing) -> list[Row]:
    """Return the items of a directory, and what else lies there, sorted by name.

    Notes
    -----
    No store call for a committed node, one GET where its rows are in its inventory; one LIST for an attempt that does
    not write at the plain paths.
    """
    present = item_io.rows_in_listing(listing)
    if state in NO_NODE or state == "unreadable":
        return [item_row(path, node, "foreign", name, row) for name, row in sorted(present.items())]
    record = node.record()
    plain = layout.data_root(node.location, record) == node.location
    unfinished = record is not None and record.state == "claimed"
    own = dict(node.rows()) if not (unfinished and plain) else {}
    if plain and state in {"running", "failed"}:
        own = {**present, **own}
    foreign = {name: row for name, row in present.items() if name not in own}
    rows = [item_row(path, node, state, name, row) for name, row in own.items()]
    rows += [item_row(path, node, "foreign", name, row) for name, row in foreign.items()]
    return sorted(rows, key=lambda row: row.name)


def stranger_row(path: str, node: CacheDir, name: str) -> Row:
    """Return the row of a directory that no node may be called like; what is in it is not shown."""
    return Row(below(path, name), name, "directory", "foreign", node, is_item=True, meta={"kind": "directory"})


def item_row(path: str, node: CacheDir, state: str, name: str, recorded: Mapping[str, Any]) -> Row:
    """Return the row of one item from what is recorded of it."""
    note = "uncommitted" if state in {"running", "failed"} else ""
    return described(Row(below(path, name), name, "file", state, node, is_item=True, note=note), recorded)


def described(row: Row, recorded: Mapping[str, Any]) -> Row:
    """Return the row of an item with what is recorded of it."""
    kind, shape, dtype, size = _facts(recorded)
    if kind == "file" and is_item_dir(row.name):
        kind = "image" if row.name.endswith(".zarr") else "directory"
    return replace(row, kind=kind, shape=shape, dtype=dtype, size=size, meta=recorded)


def _facts(row: Mapping[str, Any]) -> tuple[str, tuple[int, ...], str, int | None]:
    """Return kind, shape, dtype and size of a row, whatever somebody may have put into it."""
    shape = row.get("shape")
    if shape is None and "rows" in row:
        columns = row.get("columns")
        shape = [row["rows"], len(columns)] if isinstance(columns, list) else [row["rows"]]
    whole = isinstance(shape, list) and all(type(n) is int for n in shape)
    kind, dtype = row.get("kind"), row.get("dtype")
    return (
        kind if isinstance(kind, str) and kind else "file",
        tuple(shape) if whole and isinstance(shape, list) else (),
        dtype if isinstance(dtype, str) else "",
        recorded_size(row),
    )


def _images_first(item: tuple[str, Mapping[str, Any]]) -> tuple[bool, bool, str]:
    name, row = item
    return "levels" not in row, "rows" not in row, name


def _time(record: Record | None) -> datetime.datetime | None:
    if record is None or record.state in {"released", "removing", "removed"}:
        return None
    try:
        time = datetime.datetime.fromisoformat(record.time)
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _note(node: CacheDir, state: str) -> str:
    record = node.record()
    if state == "running" and record is not None:
        return describe_owner(record)
    if state == "failed" and (error := node.error):
        return f"{error.get('type')}: {error.get('message')}"
    return "; ".join(node.reason)
