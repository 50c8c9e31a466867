"""From the arguments of `cdir_init` to what the protocol is asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from cvcache.errors import InvalidName, UsageError, did_you_mean
from cvcache.keys import canonical_key_with_items, digest
from cvcache.protocol import NodeRequest, OnStale, Request, Sources, open_attempt, read_newest
from cvcache.store import Store, check_node_name, is_control

_LABEL_CHARACTERS = 60
_ON_STALE = {choice.value: choice for choice in OnStale}


class _Node(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def inherited_key(self) -> tuple[Any, str | None] | None: ...


class Planner(Protocol):
    """Takes the nodes that would be opened, in place of the protocol."""

    def ask(self, node: Any, wish: NodeRequest) -> Any:
        """Return what stands for the node opened as `wish` says."""

    def has(self, node: Any) -> bool:
        """Whether the node would be open for writing."""


planner: ContextVar[Planner | None] = ContextVar("cvcache_planner", default=None)
"""Set where a plan is made."""


everywhere: list[Planner] = []
"""The plan that a whole process makes, its threads included; empty for none."""


def current_planner() -> Planner | None:
    """Return what makes a plan of this context, or of the whole process."""
    mine = planner.get()
    return mine if mine is not None else next(iter(everywhere), None)


def check_on_stale(on_stale: str) -> None:
    """Raise `UsageError` for what is no way to treat a changed key."""
    if on_stale not in _ON_STALE:
        known = list(_ON_STALE)
        msg = f"on_stale is one of {', '.join(known)}, not {on_stale!r}{did_you_mean(str(on_stale), known)}"
        raise UsageError(msg)


def request_for(node: _Node, key: object, *, on_stale: str, force: bool | str, wait: bool) -> NodeRequest:
    """Return the wish for `key`; the one of the nearest node above that is open here if there is none."""
    check_on_stale(on_stale)
    if key is None:
        form, key_digest = _inherited(node.url) or node.inherited_key or (None, None)
        met: list[Any] = []
    else:
        form, met = canonical_key_with_items(key)
        key_digest = digest(form)
    if force not in {True, False, "alone"}:
        msg = f"force is True, False or 'alone', not {force!r}"
        raise UsageError(msg)
    request = Request(key_digest, bool(force), wait, _ON_STALE[on_stale])
    return NodeRequest(
        request, form, functools.partial(_sources, node.url, met), alone=force == "alone", explain=_explain
    )


def _explain(before: Any, now: Any) -> list[str]:
    from cvcache.keys import explain  # only where something differs

    return explain(before, now)


def _sources(url: str, met: Iterable[Any]) -> Sources:
    """Return what a key holds of other nodes than the one at `url`, given the items and collections in it."""
    inputs: list[Mapping[str, str]] = []
    images: list[Mapping[str, Any]] = []
    for leaf in _leaves(met):
        given = leaf.__cvcache_input__() if hasattr(type(leaf), "__cvcache_input__") else None
        row = given and {"url": _relative(url, given[0]), **given[1]}
        if row and row not in inputs:
            inputs.append(row)
        if hasattr(type(leaf), "__cvcache_images__"):
            images += leaf.__cvcache_images__()
    if any(source["url"] == "" for source in inputs):
        msg = f"{url} would be computed from its own items, which it withdraws first; give the result another node"
        raise UsageError(msg)
    return Sources(tuple(inputs), tuple(images))


def _inherited(url: str) -> tuple[Any, str | None] | None:
    """Return key and digest of the nearest node above `url` that is open in this process, if any."""
    while "/" in url.rstrip("/"):
        url = url.rstrip("/").rpartition("/")[0]
        if attempt := open_attempt(url):
            return attempt.record.key, attempt.record.digest
    return None


def _leaves(met: Iterable[Any]) -> Iterator[Any]:
    """Yield the items, nodes and stored images among what was met in a key, and those that dask graphs read from."""
    for value in met:
        if hasattr(type(value), "__cvcache_input__"):
            yield value
        else:
            from cvcache.keys import sources

            yield from sources(value)


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
    while relative == ".." or relative.startswith("../"):
        base, relative = base[:-1], relative[3:]
    steps = relative.split("/")
    beyond = not any(base) or any(map(is_control, steps)) or ".." in steps
    return None if beyond else "/".join([*base, relative] if relative else base)


def sibling(store: Store, path: str, wish: NodeRequest) -> str:
    """Return the name of the sibling that keeps the result for the key of `wish`; one LIST and one GET."""
    newest = read_newest(store, path)
    return sibling_name(path.rpartition("/")[2], newest.key if newest else None, wish)


def sibling_name(name: str, key: Any, wish: NodeRequest) -> str:
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
