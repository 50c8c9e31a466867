"""The items of a node: lazy handles, their metadata, their content."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from cvcache import formats, keys
from cvcache.node import item_io
from cvcache.node.context import path_of_url
from cvcache.node.handle import NodeHandle
from cvcache.store import check_item_name, layout


class Item:
    """One item of a node: its suffix is its format. Nothing is read until asked.

    Picklable; equal to another item at the same URL.
    """

    __slots__ = ("_name", "_node")

    def __init__(self, node: NodeItems, name: str) -> None:
        self._node = node
        self._name = name

    @property
    def node(self) -> NodeItems:
        """The node this item belongs to."""
        return self._node

    @property
    def name(self) -> str:
        """The item's name in its node, with its suffix."""
        return self._name

    @property
    def url(self) -> str:
        """The address of the item."""
        return self._node.item_url(self._name)

    @property
    def meta(self) -> Mapping[str, Any]:
        """The item's row in the record: kind, and where they apply shape, dtype, axes, scale, size in bytes."""
        return self._node.item_meta(self._name)

    def read(self, **options: Any) -> Any:
        """Return the object; see `CacheDir.read`."""
        return self._node.read(self._name, **options)

    def thumbnail(self) -> bytes | None:
        """Return the small PNG that an image or a figure got when it was written, or None; one GET."""
        return self._node.thumbnail(self._name)

    @property
    def is_address(self) -> bool:
        """Whether its node was never computed."""
        return self._node.own_state == "absent"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item) and (self._node, self._name) == (other._node, other._name)

    def __hash__(self) -> int:
        return hash((self._node, self._name))

    def __repr__(self) -> str:
        return f"Item({self.url!r})"

    def __str__(self) -> str:
        return self.url

    def __fspath__(self) -> str:
        return path_of_url(self.url)

    def __cvcache_key__(self) -> keys.Canonical:
        rewrites = self._node.rewrite_count(self._name)
        return keys.Canonical(
            {"$item": self._name, "version": self._node.version, **({"written_again": rewrites} if rewrites else {})}
        )

    def __cvcache_input__(self) -> tuple[str, dict[str, str]]:
        return self._node.result_url, {"item": self._name, "version": self._node.version}

    def __cvcache_images__(self) -> list[Mapping[str, Any]]:
        row = self._node.committed_rows().get(self._name, {})
        return [row] if row.get("kind") in {"image", "labels"} else []


class NodeItems(NodeHandle):
    """The part of a `CacheDir` that reads items."""

    def __getitem__(self, name: str) -> Item:
        """Return the item `name`, which need not exist yet; no I/O."""
        return Item(self, check_item_name(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and unicodedata.normalize("NFC", name) in self.rows()

    def rewrite_count(self, name: str) -> int:
        """Return how often an item of a node that is open here was written after the first time."""
        return max(0, self._attempt.write_counts[name] - 1) if self._attempt is not None else 0

    def items(self) -> list[Item]:
        """Return the items, sorted by name; no store call for a committed node, one LIST for another."""
        return [Item(self, name) for name in sorted(self.rows())]

    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        """Return item name -> row (its metadata); no store call for a committed node, one LIST for another."""
        record = self.record()
        if record is not None and record.state in {"committed", "failed"}:
            return item_io.read_rows(self._result_node.store, self._result_node.location, record)
        if record is None or record.state != "claimed":
            return {}
        own = self._attempt.rows if self._attempt else {}
        return {**item_io.list_rows(self.store, layout.data_root(self._path, record)), **own}

    def environment(self) -> Mapping[str, Any]:
        """Return what the result was made with: Python, packages, git, peak memory; one GET.

        Returns
        -------
        mapping
            ``python``, ``platform``, ``packages`` (name -> version), ``peak_memory`` in bytes, and where the script
            was under git ``git`` (``commit``, ``dirty``). Empty for a node that is not committed.
        """
        record = self.record()
        if record is None or record.state != "committed":
            return {}
        return item_io.read_environment(self._result_node.store, self._result_node.location, record)

    def thumbnail(self, name: str) -> bytes | None:
        """Return the small PNG of the item `name`, or None where there is none; one GET."""
        record = self.record()
        if record is None:
            return None
        return item_io.read_thumbnail(
            self._result_node.store, self._result_node.location, record, check_item_name(name)
        )

    def is_newest(self) -> bool:
        """Whether no record follows the one this handle is pinned to; one STAT."""
        record, node = self.record(), self._result_node
        return record is None or node.store.stat(layout.successor_path(node.location, record)) is None

    def item_url(self, name: str) -> str:
        """Return the address of the item `name`, which need not exist."""
        record, node = self.record(), self._result_node
        return node.store.url(f"{layout.data_root(node.location, record)}/{name}")

    def item_path(self, name: str, row: Mapping[str, Any]) -> formats.ItemPath:
        """Return the path of the item `name` with the metadata `row`, pinned to the commit of this handle.

        No store call, but one GET for the plan of an image that is being written.
        """
        record, node = self.record(), self._result_node
        row = row if row or record is None else item_io.announced_metadata(node.store, node.location, record, name)
        return item_io.item_path(node.store, node.location, record, name, row, self._context.ram)

    def item_meta(self, name: str) -> Mapping[str, Any]:
        """Return the metadata that was recorded of the item `name`.

        Raises
        ------
        ItemNotFound
            If the node has no such item.
        """
        rows = self.rows()
        if name not in rows:
            raise item_io.item_not_found(self.url, name, sorted(rows))
        return rows[name]

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
            If the commit this handle is pinned to is no longer the newest and its bytes are gone.

        Notes
        -----
        One GET for a file of a committed node; directory formats say their own cost.
        """
        name = check_item_name(name)
        row = self.item_meta(name)
        node, ram = self._result_node, self._context.ram
        return item_io.read_item(node.store, node.location, self.record(), name, row, options, ram)

    def committed_rows(self) -> Mapping[str, Mapping[str, Any]]:
        """Return item name -> row of a committed node; empty for another one."""
        return self.rows() if self.committed else {}

    def __cvcache_images__(self) -> list[Mapping[str, Any]]:
        return [row for row in self.committed_rows().values() if row.get("kind") in {"image", "labels"}]
