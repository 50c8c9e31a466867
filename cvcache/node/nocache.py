"""The node of ``cdir(None)``: no cache, so that the same script runs and stores nothing."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import IO, Any, Self

from cvcache.errors import InvalidName, NodeCommitted
from cvcache.formats import ItemPath, find_format, json_exact
from cvcache.node import init, item_io
from cvcache.node.cachedir import CacheDir
from cvcache.node.commit import Commit
from cvcache.node.context import TreeContext
from cvcache.node.items import Item
from cvcache.node.provenance import environment
from cvcache.store import check_item_name, open_store, parse_child


class NoCache(CacheDir):
    """A node whose items live as long as its handle, and that never reads an earlier result.

    An array is returned as it is (a numpy array as a copy, so that nobody changes that of another reader). Everything
    else goes through its format and a temporary directory, which is deleted with the handle. An array does so when its
    metadata, a pyramid level or its path is asked for.
    """

    def __init__(
        self,
        name: str = "nocache",
        parent: NoCache | None = None,
        children: weakref.WeakValueDictionary[str, NoCache] | None = None,
    ) -> None:
        super().__init__(TreeContext("none"), name)
        self._parent = parent
        self._children = weakref.WeakValueDictionary() if children is None else children
        self._arrays: dict[str, tuple[Any, dict[str, Any]]] = {}
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._user_rows: dict[str, Mapping[str, Any]] = {}
        self._meta: dict[str, Any] = {}
        self._tempdir: str | None = None
        self._commit: Commit | None = None

    @property
    def parent(self) -> NoCache:
        if self._parent is None:
            msg = "the top of no cache has no node above"
            raise InvalidName(msg)
        return self._parent

    def __truediv__(self, name: str | int | os.PathLike[str]) -> NoCache:
        node = self
        for part in parse_child(name):
            child = node._children.get(part) or NoCache(f"{node._path}/{part}", node)
            node._children[part] = node = child
        return node

    def init(self, key: object = None, **options: Any) -> Any:  # a NoCache, or its stand-in in a plan
        init.request_for(self, None, **{"on_stale": "recompute", "force": False, "wait": True, **options})
        if (planner := init.current_planner()) is not None:
            return planner.open_node(self, init.request_for(self, key, on_stale="recompute", force=False, wait=False))
        node = NoCache(self._path, self._parent, self._children)
        if self._parent is not None:
            self._parent._children[self.name] = node  # noqa: SLF001 - the same class
        return node

    def finish(self, meta: Mapping[str, Any] | None = None) -> Commit:
        json_exact({**self._meta, **(meta or {})}, f"the metadata of {self.url}")
        self._commit = self._commit or Commit(
            dt.datetime.now(dt.UTC),
            attempt="",
            version=f"none-{os.urandom(8).hex()}",
            meta={**self._meta, **(meta or {})},
        )
        return self._commit

    def refresh(self) -> NoCache:
        return self

    def snapshot(self) -> NoCache:
        return self

    def with_context(self, **_: Any) -> NoCache:
        return self

    @property
    def meta(self) -> dict[str, Any]:
        return self._meta

    def environment(self) -> Mapping[str, Any]:
        return environment() if self._commit else {}

    @property
    def committed(self) -> bool:
        return self._commit is not None

    @property
    def commit(self) -> Commit | None:
        return self._commit

    @property
    def computed(self) -> bool:
        return self.committed

    @property
    def version(self) -> str:
        return self._commit.version if self._commit else "none"

    @property
    def own_state(self) -> str:
        return "committed" if self._commit else "absent"

    def children(self) -> list[NoCache]:
        return [self._children[name] for name in sorted(self._children)]

    def walk(self) -> Iterator[NoCache]:
        """Yield the committed nodes whose handles exist, parents first."""
        if self._commit:
            yield self
        for name in sorted(self._children):
            yield from self._children[name].walk()

    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        files = item_io.list_rows(open_store("file", "", {}), self._tempdir) if self._tempdir else {}
        names = sorted({*self._arrays, *files})
        return {name: {**self._rows.get(name, files.get(name, {})), **self._user_rows.get(name, {})} for name in names}

    def item_url(self, name: str) -> str:
        self._store_array(name)
        return os.path.join(self._make_tempdir(), name)

    def item_meta(self, name: str) -> Mapping[str, Any]:
        if name not in self.rows():
            raise item_io.item_not_found(self.url, name, sorted(self.rows()))
        self._store_array(name)
        return self.rows()[name]

    def read(self, name: str, /, **options: Any) -> Any:
        name = check_item_name(name)
        if name in self._arrays and not options:
            array = self._arrays[name][0]
            return array if hasattr(array, "dask") else array.copy()
        meta = self.item_meta(check_item_name(name))
        return find_format(name).read(self._item_path(name, meta), **options)

    def write(
        self, name: str, obj: object, /, *, meta: Mapping[str, Any] | None = None, track: bool = True, **options: Any
    ) -> Item:
        if self._commit:
            msg = f"{self.url} is committed and does not change; write if not d.committed"
            raise NodeCommitted(msg)
        name = check_item_name(name)
        fmt = find_format(name)
        self._arrays.pop(name, None)
        user: dict[str, Any] = {"user": json_exact(meta, f"meta of {name}")} if meta else {}
        self._user_rows[name] = user if track else {**user, "track": False}
        if type(obj).__module__ in {"numpy", "dask.array.core"} and hasattr(obj, "dtype") and fmt.suffix != "png":
            self._arrays[name] = obj, options
            self._rows.pop(name, None)
        else:
            self._rows[name] = fmt.write(self._item_path(name), obj, **options)
        return Item(self, name)

    def _store_array(self, name: str) -> None:
        if name in self._arrays and name not in self._rows:
            array, options = self._arrays[name]
            self._rows[name] = find_format(name).write(self._item_path(name), array, **options)

    def _item_path(self, name: str, meta: Mapping[str, Any] | None = None) -> ItemPath:
        return ItemPath(open_store("file", "", {}), os.path.join(self._make_tempdir(), name), meta or {})

    def _make_tempdir(self) -> str:
        if self._tempdir is None:
            self._tempdir = tempfile.mkdtemp(prefix="cvcache-none-")
            weakref.finalize(self, shutil.rmtree, self._tempdir, ignore_errors=True)
        return self._tempdir

    def cached(self, name: str, fn: Callable[[], Any], /, **options: Any) -> Any:
        return (self / "cached").init().write(name, fn(), **options).read()

    def open(self, name: str, mode: str = "rb") -> IO[bytes]:
        if mode == "rb":
            self.item_meta(name)
        return open(self.path(name), mode)

    def path(self, name: str) -> str:
        return self.item_url(check_item_name(name))

    def log(self, name: str = "run.log") -> AbstractContextManager[None]:  # noqa: ARG002 - nothing is kept
        return nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None:
            self.finish()

    def __getstate__(self) -> dict[str, Any]:
        for name in self._arrays:
            self._store_array(name)
        return {name: vars(self)[name] for name in ("_path", "_tempdir", "_rows", "_user_rows", "_meta", "_commit")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        NoCache.__init__(self, state["_path"])
        vars(self).update(state)  # files stay those of the process it came from, which deletes them
