"""From the arguments of `cdir_init` to what the protocol is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from cvcache import lease
from cvcache.claim import Wish
from cvcache.errors import InvalidName, UsageError, did_you_mean
from cvcache.key import canonical, digest
from cvcache.look import read_newest
from cvcache.names import RESERVED, check_node_name
from cvcache.protocol import OnStale, Request
from cvcache.store.base import Store

_LABEL_CHARACTERS = 60


class _Node(Protocol):
    @property
    def url(self) -> str: ...


def wish_for(node: _Node, key: object, *, on_stale: str, force: bool, wait: bool) -> Wish:
    """Return the wish for `key`; the one of the nearest node above that is open here if there is none."""
    known = [choice.value for choice in OnStale]
    if on_stale not in known:
        msg = f"on_stale is one of {', '.join(known)}, not {on_stale!r}{did_you_mean(str(on_stale), known)}"
        raise UsageError(msg)
    if key is None:
        form, key_digest = _inherited(node.url)
    else:
        form = canonical(key)
        key_digest = digest(form)
    inputs = tuple(_inputs(node.url, key))
    if any(source["url"] == "" for source in inputs):
        msg = f"{node.url} would be computed from its own items, which it withdraws first; give the result another node"
        raise UsageError(msg)
    return Wish(Request(key_digest, force, wait, OnStale(on_stale)), form, inputs, tuple(_images(key)))


def _inherited(url: str) -> tuple[Any, str | None]:
    """Return key and digest of the nearest node above `url` that is open in this process."""
    while "/" in url.rstrip("/"):
        url = url.rstrip("/").rpartition("/")[0]
        if attempt := lease.open_attempt(url):
            return attempt.record.key, attempt.record.digest
    return None, None


def _inputs(url: str, value: object) -> Iterator[dict[str, str]]:
    """Yield, for each item in a key, where its node lies relative to `url`, and its version."""
    if hasattr(type(value), "__cvcache_input__"):
        theirs, row = value.__cvcache_input__()  # type: ignore[attr-defined]  # asked for in the line before
        yield {"url": _relative(url, theirs), **row}
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _inputs(url, part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _inputs(url, part)


def _images(value: object) -> Iterator[Mapping[str, Any]]:
    """Yield what is recorded of each image in a key; no store call, a node in a key has been looked at."""
    if hasattr(type(value), "__cvcache_images__"):
        yield from value.__cvcache_images__()  # type: ignore[attr-defined]  # asked for in the line before
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _images(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _images(part)


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
    """Return the path of the sibling that keeps the result for the key of `wish`: the name says the difference."""
    newest = read_newest(store, path)
    parent, _, name = path.rpartition("/")
    differences = list(_differences(newest.key if newest else None, wish.key, ""))
    label = ",".join(f"{leaf}={value}" for leaf, value in differences if value is not None)
    known = differences and all(value is not None for _, value in differences) and len(label) <= _LABEL_CHARACTERS
    # a name in mixed case could differ from another one by case alone
    plain = known and label == label.casefold() and "/" not in label
    fallback = (wish.request.digest or "")[:8]
    try:
        return f"{parent}/{check_node_name(f'{name},{label if plain else fallback}')}"
    except InvalidName:
        return f"{parent}/{name},{fallback}"


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
