"""A named thing in a node, as a lazy handle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvcache.keys.canonical import Canonical

if TYPE_CHECKING:
    from cvcache.node_items import NodeItems


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
        """Where the item lies."""
        return self._node.item_url(self._name)

    @property
    def path(self) -> str:
        """The same as `url`: on disk a path that other tools open."""
        return self.url

    @property
    def meta(self) -> Mapping[str, Any]:
        """What was recorded of the item: kind, and as fits shape, dtype, axes, scale, size in bytes."""
        return self._node.item_meta(self._name)

    def read(self, **options: Any) -> Any:
        """Return the object; see `CacheDir.read`."""
        return self._node.read(self._name, **options)

    def thumbnail(self) -> bytes | None:
        """Return the small PNG that was made of an image or a figure while it was written, or None; one GET."""
        return self._node.thumbnail(self._name)

    @property
    def is_place(self) -> bool:
        """Whether its node was never computed."""
        return self._node.own_state == "absent"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item) and (self._node, self._name) == (other._node, other._name)

    def __hash__(self) -> int:
        return hash((self._node, self._name))

    def __repr__(self) -> str:
        return f"Item({self.url!r})"

    def __cvcache_key__(self) -> Canonical:
        again = self._node.written_again(self._name)
        return Canonical(
            {"$item": self._name, "version": self._node.version, **({"written_again": again} if again else {})}
        )

    def __cvcache_input__(self) -> tuple[str, dict[str, str]]:
        return self._node.found_at, {"item": self._name, "version": self._node.version}

    def __cvcache_images__(self) -> list[Mapping[str, Any]]:
        row = self._node.committed_rows().get(self._name, {})
        return [row] if row.get("kind") in {"image", "labels"} else []
