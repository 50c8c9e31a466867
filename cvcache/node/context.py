"""What the nodes of one tree share: the store, the policy, and the memory cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cvcache.protocol import Policy
from cvcache.store import MemoryCache, Store, open_store


@dataclass(slots=True)
class TreeContext:
    """What all handles of one tree share.

    A pickle has neither the options, which may hold secrets, nor the cache in memory: another process takes its own
    options from its environment.
    """

    scheme: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    policy: Policy = field(default_factory=Policy)
    ram: MemoryCache | None = None
    copy_on_read: bool = False
    _store: Store | None = field(default=None, repr=False)

    def store(self, path: str) -> Store:
        """Return the store, opened at the first call; `path` is any path of the tree and names the bucket."""
        if self._store is None:
            self._store = open_store(self.scheme, path, self.options, self.policy.retries)
        return self._store

    def url(self, path: str) -> str:
        """Return the address of `path`: a path on disk, or a URL; never with a secret."""
        return path if self.scheme == "file" else f"{self.scheme}://{path}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.scheme, self.policy, self.copy_on_read)


def path_of_url(url: str) -> str:
    """Return the path on this machine's disk that `url` is; `TypeError`, as of `os.fspath`, if it is none."""
    if "://" in url:
        msg = f"{url} is no path on this machine; read it with cvcache, or pass str(...) to a library that opens URLs"
        raise TypeError(msg)
    return url


def _unpickle(scheme: str, policy: Policy, copy_on_read: bool) -> TreeContext:  # noqa: FBT001 - as pickle calls it
    return TreeContext(scheme, policy=policy, copy_on_read=copy_on_read)
