"""One write of one item, as a format gets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import IO, Any

from cvcache.errors import LeaseLost
from cvcache.formats.item_path import ItemPath, reopen_arguments, unpickle
from cvcache.formats.successor import record_exists


@dataclass(frozen=True)
class ItemWrite(ItemPath):
    """An item that is being written: into a store, or by another process for the attempt that owns it.

    The process that holds the attempt has a subclass with the right to write, and a pickle of that is one of these:
    before each write it looks for the `successor`, so that it does not write into a later result.

    Attributes
    ----------
    inputs : tuple of mapping
        Recorded metadata of the images that the object is made from.
    """

    inputs: tuple[Mapping[str, Any], ...] = ()

    def writing(self) -> AbstractContextManager[None]:
        """Return the context of each write.

        Raises
        ------
        LeaseLost
            The attempt has ended.
        """
        if self.successor and record_exists(self.store, self.successor, now=not self.remote):
            msg = f"{self.url} is no longer this attempt's; what other processes still write for it is discarded"
            raise LeaseLost(msg)
        return nullcontext()

    def begin(self, plan: Mapping[str, Any]) -> Mapping[str, int]:  # noqa: ARG002 - a lease announces it
        """Begin a directory item of this plan (plain JSON, equal for equal content), before its first byte.

        Returns
        -------
        mapping
            Key -> size of the parts that an earlier attempt wrote for an equal plan.
        """
        return {}

    def share(self) -> None:
        """Say that another process will get a part of the write."""

    def thumbnail(self, png: bytes) -> None:
        """Store a small PNG of the item; without a lease, nothing."""

    def put(self, data: bytes, key: str = "") -> None:
        """Write the item, or its part `key`, as one object."""
        with self.writing():
            self.store.put(self.at(key), data)

    def put_parts(self, parts: Sequence[bytes], key: str) -> None:
        """Write the part `key` of a directory item from consecutive pieces of bytes."""
        with self.writing():
            self.store.put_parts(self.at(key), parts)

    def open(self) -> IO[bytes]:
        """Open the item for writing; it appears whole on close."""
        return self.store.open(self.path, "wb", self.writing)

    def __reduce__(self) -> tuple[Any, ...]:
        return unpickle, (ItemWrite, reopen_arguments(self), self.path, dict(self.meta), {"successor": self.successor})
