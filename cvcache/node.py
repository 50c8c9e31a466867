"""A handle to one directory of a cache tree."""

from __future__ import annotations

import traceback
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import IO, Any, Self

from cvcache import claim, contents, lease, opening
from cvcache.commit import Commit
from cvcache.errors import LeaseLost, NodeCommitted, NotOpen, UsageError
from cvcache.item import Item
from cvcache.key import Canonical
from cvcache.look import read_newest
from cvcache.names import check_item_name, check_key, check_node_name, child_names
from cvcache.owner import is_dead
from cvcache.policy import Policy
from cvcache.protocol import Sibling
from cvcache.reason import describe_owner
from cvcache.record import Record
from cvcache.store import Store, open_store

_TRACEBACK_CHARACTERS = 8192


class CacheDir:
    """One node of a tree: a directory with a commit mark, items and child nodes.

    Get one from `cdir`, `cdir_init` or `cdir_query`, or as a child ``node / "name"``. A handle shows
    the node as it was when first asked; a committed one stays pinned to its commit, `refresh` looks
    again. Handles are equal if their URLs are, and picklable without their storage options: these
    may hold secrets, so another process takes its own from its environment.
    """

    def __init__(self, scheme: str, path: str, options: Mapping[str, Any], policy: Policy) -> None:
        self._scheme = scheme
        self._path = path
        self._options = dict(options)
        self._policy = policy
        self._store: Store | None = None
        self._attempt: lease.Attempt | None = None
        self._record: Record | None = None
        self._looked = False
        self._computed = False
        self._tokens: list[Token[tuple[str, ...]]] = []

    @property
    def store(self) -> Store:
        """The store that keeps the node."""
        if self._store is None:
            self._store = open_store(self._scheme, self._path, self._options, self._policy.retries)
        return self._store

    @property
    def location(self) -> str:
        """Full key of the node in its store, without a scheme."""
        return self._path

    @property
    def policy(self) -> Policy:
        """How long the node waits for whom."""
        return self._policy

    @property
    def url(self) -> str:
        """Where the node lies: a path on disk, or a URL; never with a secret."""
        return self._path if self._scheme == "file" else f"{self._scheme}://{self._path}"

    @property
    def name(self) -> str:
        """The last component of `url`."""
        return self._path.rpartition("/")[2]

    def __truediv__(self, name: str) -> CacheDir:
        """Return the child node `name`, or deeper, ``"a/b"``; no I/O."""
        names = [check_node_name(part) for part in name.split("/")]
        path = check_key("/".join([self._path.rstrip("/"), *names]), name)
        return CacheDir(self._scheme, path, self._options, self._policy)

    def __getitem__(self, name: str) -> Item:
        """Return the item `name`, which need not exist yet; no I/O."""
        return Item(self, check_item_name(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and unicodedata.normalize("NFC", name) in self.rows()

    def with_policy(self, policy: Policy) -> CacheDir:
        """Return a handle to the same node that waits and asks as `policy` says; no I/O."""
        return CacheDir(self._scheme, self._path, self._options, policy)

    def snapshot(self) -> CacheDir:
        """Return a handle to the node as it is now; one LIST and one GET."""
        return self.with_policy(self._policy).refresh()

    def refresh(self) -> CacheDir:
        """Look at the node again and return this handle; one LIST and one GET."""
        self._record, self._looked = read_newest(self.store, self._path), True
        return self

    def _newest(self) -> Record | None:
        """Return the record this handle goes by, looking at the store only the first time."""
        if self._attempt is not None and self._attempt.fate is not None:
            self._record, self._looked, self._attempt = self._attempt.fate, True, None
            self._computed = True
        if self._attempt is not None:
            return self._attempt.record
        if not self._looked:
            self.refresh()
        return self._record

    def init(
        self, key: object = None, *, on_stale: str = "recompute", force: bool = False, wait: bool | None = None
    ) -> CacheDir:
        """Open the node for writing, or return it if it is complete and its key matches; see `cdir_init`."""
        wish = opening.wish_for(
            self, key, on_stale=on_stale, force=force, wait=self._policy.wait if wait is None else wait
        )
        path = self._path
        while isinstance(found := claim.obtain(self.store, path, wish, self._policy), Sibling):
            path = opening.sibling(self.store, path, wish)
        node = CacheDir(self._scheme, path, self._options, self._policy)
        if isinstance(found, lease.Attempt):
            node._attempt = found
        else:
            node._record, node._looked = found, True
        return node

    def finish(self, meta: Mapping[str, Any] | None = None) -> Commit:
        """Commit the node this process opened; see `cdir_commit`."""
        self._newest()
        attempt = self._attempt or lease.open_attempt(self.url)
        if attempt is None:
            if done := self.commit:
                return done
            msg = f"{self.url} is not open for writing in this process; call cdir_init on it before committing it"
            raise NotOpen(msg)
        rows = {**attempt.rows, **contents.own_file_rows(attempt)}
        record = claim.commit(attempt, rows, meta or {})
        self._attempt = attempt
        return Commit.of(record)

    @property
    def commit(self) -> Commit | None:
        """The commit, or None while the node is not complete."""
        record = self._newest()
        return Commit.of(record) if record is not None and record.state == "committed" else None

    @property
    def committed(self) -> bool:
        """Whether the node is complete."""
        return self.commit is not None

    @property
    def computed(self) -> bool:
        """Whether the result was computed through this handle, and not found."""
        return self.committed and self._computed

    @property
    def reason(self) -> tuple[str, ...]:
        """Why the newest attempt was begun, one difference a line; empty for a node never computed."""
        record = self._newest()
        return record.reason if record else ()

    @property
    def error(self) -> Mapping[str, str] | None:
        """Type, message and traceback of the failure the newest attempt ended with; None if it did not."""
        record = self._newest()
        if record is None:
            return None
        if record.state == "claimed" and is_dead(record.owner):
            return {"type": "died", "message": f"the process died before its commit ({describe_owner(record)})"}
        return record.error

    @property
    def version(self) -> str:
        """What a key that holds an item of this node stands for; of a node not committed, its attempt."""
        record = self._newest()
        if record is None:
            msg = f"{self.url} was never computed, so it cannot be part of a key; compute it first"
            raise NotOpen(msg)
        return (record.version or record.attempt) if record.state == "committed" else record.attempt

    @property
    def state(self) -> str:
        """One of absent, running, committed, stale, failed.

        A node whose owner died on this machine is failed. Whether a committed node is stale costs one
        LIST and one GET for each node its key holds an item of.
        """
        state = self.own_state
        return "stale" if state == "committed" and any(map(self._is_outdated, self.inputs)) else state

    @property
    def inputs(self) -> tuple[Mapping[str, str], ...]:
        """The items in the node's key: where their nodes lie relative to this one, and their versions."""
        record = self._newest()
        return record.inputs if record else ()

    @property
    def own_state(self) -> str:
        """`state` without a look at other nodes: a stale node is committed."""
        record = self._newest()
        if record is None or record.state in {"released", "removing", "removed"}:
            return "absent"
        if record.state == "claimed":
            return "failed" if is_dead(record.owner) else "running"
        return record.state

    def _is_outdated(self, source: Mapping[str, str]) -> bool:
        path = opening.resolve(self._path, source.get("url", ""))
        if path is None:
            return False
        node = CacheDir(self._scheme, path, self._options, self._policy)
        return not node.committed or node.version != source.get("version")

    def items(self) -> list[Item]:
        """Return the items, sorted by name; no store call for a committed node, one LIST for another."""
        return [Item(self, name) for name in sorted(self.rows())]

    def children(self) -> list[CacheDir]:
        """Return the child nodes, sorted by name; one LIST."""
        return [self / name for name in child_names(self.store.list(self._path).dirs)]

    def rows(self) -> Mapping[str, Mapping[str, Any]]:
        """Return item name -> what was recorded of it; no store call for a committed node, one LIST for another."""
        record = self._newest()
        if record is not None and record.state in {"committed", "failed"}:
            return contents.committed_rows(self.store, self._path, record)
        if record is None or record.state != "claimed":
            return {}
        own = self._attempt.rows if self._attempt else {}
        return {**contents.listed_rows(self.store, contents.root_of(self._path, record)), **own}

    def record(self) -> Record | None:
        """Return the record this handle goes by."""
        return self._newest()

    def thumbnail(self, name: str) -> bytes | None:
        """Return the small PNG of the item `name`, or None where there is none; one GET."""
        record = self._newest()
        return (
            None if record is None else contents.read_thumbnail(self.store, self._path, record, check_item_name(name))
        )

    def has_written(self, name: str) -> bool:
        """Whether the item `name` was written through this handle since the node was opened; no store call."""
        return self._attempt is not None and name in self._attempt.rows

    def item_url(self, name: str) -> str:
        """Return where the item `name` lies, or would lie."""
        return self.store.url(f"{contents.root_of(self._path, self._newest())}/{name}")

    def item_meta(self, name: str) -> Mapping[str, Any]:
        """Return what was recorded of the item `name`.

        Raises
        ------
        ItemNotFound
            If the node has no such item.
        """
        rows = self.rows()
        if name not in rows:
            raise contents.not_found(self.url, name, sorted(rows))
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
        return contents.read_item(self.store, self._path, self._newest(), name, row, options)

    def write(self, name: str, obj: object, /, **options: Any) -> Item:
        """Write `obj` as the item `name` of a node opened for writing.

        Parameters
        ----------
        name : str
            Its suffix chooses the format.
        obj : object
            What the format takes, or an `Item`, whose content is written. An object that would not come back as it
            is raises and writes nothing.
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
        Of a file: two PUT and one look whether its name is free.
        """
        name = check_item_name(name)
        attempt = self._writable()
        obj, images = _content_of(name, obj)
        contents.write_item(attempt, name, obj, options, images)
        return Item(self, name)

    def cached(self, name: str, fn: Callable[[], Any], /, **options: Any) -> Any:
        """Return what `fn` returned when it first ran as it is, kept as the one item of a child node.

        The child is named like the item without its suffix and keyed by the code of `fn`.
        """
        from cvcache.formats import find_format

        stem = name.removesuffix(find_format(name).suffix).rstrip(".")
        with (self / stem).init({"cached": name, "code": fn}) as child:
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
            return contents.open_item(self.store, self._path, self._newest(), name, self.item_meta(name))
        attempt = self._own_file(name)
        return attempt.store.open(f"{attempt.root}/{name}", mode, attempt.writing)

    def path(self, name: str) -> str:
        """Return a path or URL for the item `name`, for a tool that writes it by itself.

        From then on other processes may be writing for this attempt, so that after a crash it is
        never taken over in place. The commit lists such items and vouches for their size.
        """
        name = check_item_name(name)
        attempt = self._own_file(name)
        attempt.share()
        attempt.store.makedirs(attempt.root)
        return attempt.store.url(f"{attempt.root}/{name}")

    def _own_file(self, name: str) -> lease.Attempt:
        attempt = self._writable()
        with attempt.writing_item(name):
            attempt.own_files.add(name)
            attempt.rows.pop(name, None)
        return attempt

    def log(self, name: str = "run.log") -> AbstractContextManager[None]:
        """Keep what is logged, printed and raised inside this context as the item `name`."""
        from cvcache.runlog import capture

        return capture(self, name)

    def _writable(self) -> lease.Attempt:
        record = self._newest()
        if self._attempt is not None:
            return self._attempt
        if record is not None and record.state == "committed":
            msg = f"{self.url} is committed and does not change; write if not d.committed, or open it with force=True"
            raise NodeCommitted(msg)
        msg = f"{self.url} is not open for writing in this process; call cdir_init on it first"
        raise NotOpen(msg)

    def __enter__(self) -> Self:
        inside = lease.running.get()
        self._tokens.append(lease.running.set((*inside, self._attempt.id) if self._attempt else inside))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        lease.running.reset(self._tokens.pop())
        attempt = self._attempt
        if attempt is None or attempt.fate is not None:
            return
        if error is not None:
            self._fail(attempt, error)
            return
        try:
            self.finish()
        except LeaseLost:
            raise
        except BaseException as refused:
            self._fail(attempt, refused)
            raise

    def _fail(self, attempt: lease.Attempt, error: BaseException) -> None:
        """Write the failure as the node's fate; it never hides the error itself."""
        text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARACTERS:]
        report = {"type": type(error).__name__, "message": str(error)[:1024], "traceback": text}
        try:
            claim.finish(attempt, "failed", error=report, items=attempt.rows)
        except LeaseLost:
            claim.logger.warning("%s failed after another owner had taken it over", self.url)
        except Exception as second:  # noqa: BLE001 - the store may be the very thing that failed
            claim.logger.warning("%s failed, and that could not be recorded (%s)", self.url, second)
            attempt.fence(f"{self.url} failed")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CacheDir) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"CacheDir({self.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        kept = {"_scheme": self._scheme, "_path": self._path, "_policy": self._policy}
        return {**kept, "_record": self._newest() if self._looked or self._attempt else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_scheme"], state["_path"], {}, state["_policy"])  # type: ignore[misc]
        self._record = state["_record"]
        self._looked = self._record is not None

    def __cvcache_key__(self) -> Canonical:
        return Canonical({"$node": self.version})

    def __cvcache_input__(self) -> tuple[str, dict[str, str]]:
        return self.url, {"version": self.version}

    def _committed_rows(self) -> Mapping[str, Mapping[str, Any]]:
        return self.rows() if self.committed else {}

    def __cvcache_images__(self) -> list[Mapping[str, Any]]:
        return [row for row in self._committed_rows().values() if row.get("kind") in {"image", "labels"}]


def _content_of(name: str, obj: object) -> tuple[object, tuple[Mapping[str, Any], ...]]:
    """Return what is to be written for an item or node of another node, and what is recorded of it."""
    if isinstance(obj, CacheDir):
        rows = obj.rows()
        fitting = [other for other in rows if other == name] or [n for n in rows if rows[n].get("kind") == "image"]
        if len(fitting) != 1:
            msg = f"{obj.url} has {len(fitting)} items to write as {name!r}; pass one of them, node[name]"
            raise UsageError(msg)
        obj = obj[fitting[0]]
    return (obj.read(), (obj.meta,)) if isinstance(obj, Item) else (obj, ())
