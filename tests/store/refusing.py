"""A store that fails chosen verbs, whoever asks: rights that a test run by root would keep on a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cvcache.testing import CountingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cvcache.store import Store

WRITES = ("put", "put_new", "delete")


class RefusingStore(CountingStore):
    """Raises the error that `fail` makes, for each of `verbs`."""

    def __init__(self, store: Store, verbs: Iterable[str], fail: Callable[[str], Exception]) -> None:
        super().__init__(store)
        self._verbs = frozenset(verbs)
        self._fail = fail

    def call(self, verb: str, path: str, act: Callable[[], Any], data: bytes | None = None) -> Any:
        if verb in self._verbs:
            raise self._fail(self.url(path))
        return super().call(verb, path, act, data)
