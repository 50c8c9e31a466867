"""From the arguments of `cdir_init` to what the protocol is asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from cvcache import held
from cvcache.claim import Sources, Wish
from cvcache.errors import InvalidName, UsageError, did_you_mean
from cvcache.key import canonical, digest
from cvcache.look import read_newest
from cvcache.names import RESERVED, check_node_name
from cvcache.protocol import OnStale, Request
from cvcache.store.base import Store

_LABEL_CHARACTERS = 60
_ON_STALE = {choice.value: choice for choice in OnStale}


class _Node(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def lent(self) -> tuple[Any, str | None] | None: ...


class Planner(Protocol):
    """Takes the nodes that would be opened, in place of the protocol."""

    def ask(self, node: Any, wish: Wish) -> Any:
        """Return what stands for the node opened as `wish` says."""

    def has(self, node: Any) -> bool:
        """Whether the node would be open for writing."""


planner: ContextVar[Planner | None] = ContextVar("cvcache_planner", default=None)
"""Set where a plan is made."""


def wish_for(node: _Node, key: object, *, on_stale: str, force: bool | str, wait: bool) -> Wish:
    """Return the wish for `key`; the one of the nearest node above that is open here if there is none."""
    if on_stale not in _ON_STALE:
        known = list(_ON_STALE)
        msg = f"on_stale is one of {', '.join(known)}, not {on_stale!r}{did_you_mean(str(on_stale), known)}"
        raise UsageError(msg)
    if key is None:
        form, key_digest = _inherited(node.url) or node.lent or (None, None)
    else:
        form = canonical(key)
        key_digest = digest(form)
    if force not in {True, False, "alone"}:
        msg = f"force is True, False or 'alone', not {force!r}"
        raise UsageError(msg)
    request = Request(key_digest, bool(force), wait, _ON_STALE[on_stale])
    return Wish(request, form, functools.partial(_sources, node.url, key), alone=force == "alone")


def _sources(url: str, key: object) -> Sources:
    """Return what `key` holds of other nodes than the one at `url`."""
    inputs = tuple(_inputs(url, key))
    if any(source["url"] == "" for source in inputs):
        msg = f"{url} would be computed from its own items, which it withdraws first; give the result another node"
        raise UsageError(msg)
    return Sources(inputs, tuple(_images(key)))


def _inherited(url: str) -> tuple[Any, str | None] | None:
    """Return key and digest of the nearest node above `url` that is open in this process, if any."""
    while "/" in url.rstrip("/"):
        url = url.rstrip("/").rpartition("/")[0]
        if attempt := held.open_attempt(url):
            return attempt.record.key, attempt.record.digest
    return None


def _inputs(url: str, value: object) -> Iterator[dict[str, str]]:
    """Yield, for each item in a key, where its node lies relative to `url`, and its version; each row once."""
    seen: list[dict[str, str]] = []
    for leaf in _leaves(value):
        given = leaf.__cvcache_input__() if hasattr(type(leaf), "__cvcache_input__") else None
        row = given and {"url": _relative(url, given[0]), **given[1]}
        if row and row not in seen:
            seen.append(row)
            yield row


def _images(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield what is recorded of each image in a key; no store call, a node in a key has been looked at."""
    for leaf in _leaves(value):
        if hasattr(type(leaf), "__cvcache_images__"):
            yield from leaf.__cvcache_images__()


def _leaves(value: Any) -> Iterator[Any]:
    """Yield the items, nodes and stored images in a key, also those that a dask graph reads from."""
    if hasattr(type(value), "__cvcache_input__"):
        yield value
    elif hasattr(type(value), "__dask_graph__"):
        from cvcache.lineage import sources

        yield from sources(value)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from _leaves(part)
    elif hasattr(type(value), "__dataclass_fields__"):
        for name in type(value).__dataclass_fields__:
            yield from _leaves(getattr(value, name, None))


def _relative(url: str, other: str) -> str:
    """Return the way from `url` to `other` in path steps; `other` itself in another store."""
    mine, theirs = url.split("/"), other.split("/")
    common = next(
        (i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs))
    )
    if "://" in url + other and common < 3:  # noqa: PLR2004 - scheme, two slashes and bucket are the store
        return other
    return "/".join([".."] * (len(mine) - common) + theirs[common:])


def resolve(path: str, relative: str) -> str | None:
    """Return the key that lies `relative` to the node at `path`; None for one in another store or above its root."""
    if "://" in relative or relative.startswith("/"):
        return None
    base = path.split("/")
    while relative.startswith("../"):
        base, relative = base[:-1], relative[3:]
    beyond = not any(base) or RESERVED in relative or ".." in relative.split("/")
    return None if beyond else "/".join([*base, relative])


def sibling(store: Store, path: str, wish: Wish) -> str:
    """Return the name of the sibling that keeps the result for the key of `wish`; one LIST and one GET."""
    newest = read_newest(store, path)
    return sibling_name(path.rpartition("/")[2], newest.key if newest else None, wish)


def sibling_name(name: str, key: Any, wish: Wish) -> str:
    """Return the name of a sibling of the node `name`, which was made for `key`: it says the difference."""
    differences = list(_differences(key, wish.key, ""))
    label = ",".join(f"{leaf}={value}" for leaf, value in differences if value is not None)
    known = differences and all(value is not None for _, value in differences) and len(label) <= _LABEL_CHARACTERS
    # a name in mixed case could differ from another one by case alone
    plain = known and label == label.casefold() and "/" not in label
    fallback = (wish.request.digest or "")[:8]
    try:
        return check_node_name(f"{name},{label if plain else fallback}")
    except InvalidName:
        return f"{name},{fallback}"


def _differences(old: Any, new: Any, leaf: str) -> Iterator[tuple[str, str | None]]:
    """Yield (name, text) of each plain value in `new` that differs; None for what has no short text."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and not any(k.startswith("$") for k in new):
        for k in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(k), new.get(k), k)
    elif isinstance(new, (bool, int, float, str)) and not set(str(new)) & set("*?[]{}\\/"):
        yield leaf, str(new)
    else:
        yield leaf, None
