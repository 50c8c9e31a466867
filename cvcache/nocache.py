"""No cache at all: what ``cdir(None)`` gives, so that the same script runs without keeping anything."""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import IO, Any

from cvcache import contents
from cvcache.commit import Commit
from cvcache.formats import find_format
from cvcache.formats.place import Place
from cvcache.item import Item
from cvcache.names import check_item_name, check_node_name
from cvcache.node import CacheDir
from cvcache.policy import Policy
from cvcache.store import open_store


class NoCache(CacheDir):
    """A node that keeps its items as long as somebody holds the handle, and is never found complete.

    Objects are handed back as they are; files lie in a temporary directory.
    """

    def __init__(self, name: str = "nocache", children: dict[str, NoCache] | None = None) -> None:
        super().__init__("none", name, {}, Policy())
        self._objects: dict[str, object] = {}
        self._children: dict[str, NoCache] = {} if children is None else children
        self._files: tempfile.TemporaryDirectory[str] | None = None
        self._finished: Commit | None = None

    def __truediv__(self, name: str) -> NoCache:
        node = self
        for part in name.split("/"):
            node = node._children.setdefault(check_node_name(part), NoCache(f"{node._path}/{part}"))
        return node

    def init(
        self, key: object = None, *, on_stale: str = "recompute", force: bool = False, wait: bool | None = None
    ) -> NoCache:
        return NoCache(self._path, self._children)

    def finish(self, meta: Mapping[str, Any] | None = None) -> Commit:
        self._finished = Commit(
            datetime.datetime.now(datetime.UTC), attempt="", version=f"none-{os.urandom(8).hex()}", meta=meta or {}
        )
        return self._finished

    def refresh(self) -> NoCache:
        return self

    def snapshot(self) -> NoCache:
        return self

    def with_policy(self, policy: Policy) -> NoCache:  # noqa: ARG002 - nobody to wait for
        return self

    @property
    def commit(self) -> Commit | None:
        return self._finished

    @property
    def version(self) -> str:
        return self._finished.version if self._finished else "none"

    @property
    def state(self) -> str:
        return "committed" if self._finished else "absent"

    def children(self) -> list[CacheDir]:
        return list(self._children.values())

    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        files = os.listdir(self._files.name) if self._files else []
        return {name: {} for name in sorted([*self._objects, *files])}

    def item_url(self, name: str) -> str:
        return os.path.join(self._files.name, name) if self._files else f"{self.url}/{name}"

    def read(self, name: str, /, **options: Any) -> Any:
        if name in self._objects:
            return self._objects[name]
        if name not in self.rows():
            raise contents.not_found(self.url, name, sorted(self.rows()))
        return find_format(name).read(Place(open_store("file", "", {}), self.item_url(name)), **options)

    def write(self, name: str, obj: object, /, **options: Any) -> Item:
        find_format(check_item_name(name))
        self._objects[name] = obj
        return Item(self, name)

    def cached(self, name: str, fn: Callable[[], Any], /, **options: Any) -> Any:
        return self.write(name, fn(), **options).read()

    def open(self, name: str, mode: str = "rb") -> IO[bytes]:
        return open(self.path(name), mode)  # type: ignore[return-value]

    def path(self, name: str) -> str:
        if self._files is None:
            self._files = tempfile.TemporaryDirectory(prefix="cvcache-none-")
        return os.path.join(self._files.name, check_item_name(name))

    def log(self, name: str = "run.log") -> AbstractContextManager[None]:  # noqa: ARG002 - nothing is kept
        return nullcontext()

    def __enter__(self) -> NoCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self.finish()
