"""Where a node is: its path, and what it shares with the other nodes of its tree. No I/O."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol, TypeGuard

from cvcache.errors import InvalidName, UsageError
from cvcache.protocol import Policy, default_policy
from cvcache.store import (
    MemoryCache,
    Store,
    account_of,
    check_key,
    known_options,
    node_path,
    open_store,
    options_of,
    parse_child,
    parse_url,
    relative_url,
    resolve_relative,
)


class Handle(Protocol):
    """Whatever stands for a node, as a `CacheDir` does."""

    def __cvcache_address__(self) -> Address: ...


@dataclass(slots=True, eq=False)
class TreeContext:
    """What all nodes of one tree share.

    A pickle has neither the options, which may hold secrets, nor the cache in memory. In the same process it gets its
    options back; another one takes those that it has opened this bucket with, or else its environment.

    Attributes
    ----------
    scheme : str
        Of the URLs; "none" for the tree of ``cdir(None)``, which has no store.
    options : mapping
        Storage options.
    policy : Policy
    ram : MemoryCache, optional
    also : tuple of (str, Address)
        Other trees that are searched for a result: the path of a node of this tree, and the same node there.
    copy_on_read : bool
    inherited_key : tuple, optional
        Key and digest of a node that another process has open: a node opened here without a key gets them.
    account : str
        Of options that were left out of a pickle, see `cvcache.store.base.account_of`.
    uncached : mapping, optional
        Of ``cdir(None)``: path -> what its node holds, as long as somebody holds that.
    """

    scheme: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    policy: Policy = field(default_factory=default_policy)
    ram: MemoryCache | None = None
    also: tuple[tuple[str, Address], ...] = ()
    copy_on_read: bool = False
    inherited_key: tuple[Any, str | None] | None = None
    account: str = field(default="", repr=False)
    uncached: MutableMapping[str, Any] | None = field(default=None, repr=False)
    _store: Store | None = field(default=None, repr=False)

    def store(self, path: str) -> Store:
        """Return the store, opened at the first call; `path` is any path of the tree and names the bucket."""
        if self.uncached is not None:
            msg = f"{self.url(path)} keeps nothing, so there is no store; give a path or a URL in place of None"
            raise UsageError(msg)
        if self._store is None:
            options = self.options or options_of(self.account, self.scheme, path)
            self._store = open_store(self.scheme, path, options, self.policy.retries)
        return self._store

    def url(self, path: str) -> str:
        """Return the address of `path`: a path on disk, or a URL; never with a secret."""
        return path if self.scheme == "file" else f"{self.scheme}://{path}"

    def __reduce__(self) -> tuple[Any, ...]:
        account = account_of(self.scheme, self.options) if self.options else self.account
        return _unpickle, (self.scheme, account, self.policy, self.also, self.copy_on_read, self.inherited_key)


def _unpickle(
    scheme: str, account: str, policy: Policy, also: Any, copy_on_read: Any, inherited_key: Any
) -> TreeContext:
    context = TreeContext(
        scheme, known_options(account) or {}, policy, None, also, copy_on_read, inherited_key, account
    )
    return replace(context, uncached=weakref.WeakValueDictionary()) if scheme == "none" else context


class Address(NamedTuple):
    """The address of a node. Addresses are equal if their URLs and the options of their trees are.

    Attributes
    ----------
    context : TreeContext
        Of the tree the node is in.
    path : str
        Full key of the node in its store, without a scheme.
    """

    context: TreeContext
    path: str

    @property
    def store(self) -> Store:
        """The store that holds the node."""
        return self.context.store(self.path)

    @property
    def url(self) -> str:
        """The path on disk, or the URL; never with a secret."""
        return self.context.url(self.path)

    @property
    def account(self) -> str | None:
        """That of the store if it was given options, else None: an attempt of any account may be meant."""
        return self.store.account if self.context.options else None

    @property
    def name(self) -> str:
        """The last component of `url`."""
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> Address:
        """The node above; `InvalidName` if this is the topmost place of its store that can be a node."""
        above = self.path.rpartition("/")[0]
        if self.context.uncached is not None:
            if not above:
                msg = "the top of no cache has no node above"
                raise InvalidName(msg)
            return self.at(above)
        return self.at(node_path(parse_url(self.context.url(above or "/"))))

    def child(self, name: object) -> Address:
        """Return the child `name`, or a deeper one, ``"a/b"``; `InvalidName` if it cannot be one."""
        return self.at(check_key("/".join([self.path.rstrip("/"), *parse_child(name)]), str(name)))

    def sibling(self, name: str) -> Address:
        """Return the sibling `name`."""
        return self.at(f"{self.path.rpartition('/')[0]}/{name}")

    def at(self, path: str) -> Address:
        """Return the address of `path` in the same tree."""
        return Address(self.context, path)

    def resolve(self, relative: str) -> Address | None:
        """Return the node at a URL relative to this one; None if it is in another store or above the root."""
        path = resolve_relative(self.path, relative)
        return None if path is None else self.at(path)

    def others(self) -> Iterator[Address]:
        """Yield the same node in the other trees of the context."""
        for base, other in self.context.also:
            there = other.resolve(relative_url(self.context.url(base), self.url))
            if there is not None:
                yield there

    def with_context(self, **changes: Any) -> Address:
        """Return the same node in a context with these changes."""
        if "policy" in changes:
            changes["_store"] = None  # its retries are those of the policy
        return Address(replace(self.context, **changes), self.path)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Address) or self.path != other.path:
            return False
        mine, its = self.context, other.context
        return mine is its or (mine.scheme, mine.options, mine.uncached) == (its.scheme, its.options, its.uncached)

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"Address({self.url!r})"

    def __str__(self) -> str:
        return self.url

    def __fspath__(self) -> str:
        return path_of_url(self.url)

    def __cvcache_address__(self) -> Address:
        return self


def is_handle(where: object) -> TypeGuard[Handle]:
    """Whether `where` stands for a node."""
    return hasattr(type(where), "__cvcache_address__")


def address_of(node: Handle) -> Address:
    """Return the address of a node that is given by a handle."""
    return node.__cvcache_address__()


def path_of_url(url: str) -> str:
    """Return the path on this machine's disk that `url` is; `TypeError`, as of `os.fspath`, if it is none."""
    if "://" in url:
        msg = f"{url} is no path on this machine; read it with cvcache, or pass str(...) to a library that opens URLs"
        raise TypeError(msg)
    return url
