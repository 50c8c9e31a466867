"""The arguments of `cdir_init` as a request to the protocol, and the hook of `plan`."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from cvcache import keys, protocol
from cvcache.errors import InvalidName, UsageError, did_you_mean
from cvcache.store import Store, check_node_name, is_control

_MAX_LABEL_LENGTH = 60


class _Node(Protocol):
    @property
    def url(self) -> str: ...
    @property
    def inherited_key(self) -> tuple[Any, str | None] | None: ...


class Planner(Protocol):
    """Answers requests for nodes in place of the protocol, and computes nothing."""

    def open_node(self, node: Any, node_request: protocol.NodeRequest) -> Any:
        """Return a stand-in for `node` as `node_request` would open it."""

    def has_opened(self, node: Any) -> bool:
        """Whether `node` would be open for writing."""


planner: ContextVar[Planner | None] = ContextVar("cvcache_planner", default=None)
"""The plan of this context."""


process_planners: list[Planner] = []
"""The plan of the whole process, its threads included; empty for none."""


def current_planner() -> Planner | None:
    """Return the plan of this context, or else of the whole process."""
    own = planner.get()
    return own if own is not None else next(iter(process_planners), None)


@functools.cache  # it is asked for every result that is read
def check_on_stale(on_stale: str) -> protocol.OnStale:
    """Return the choice that `on_stale` names, or raise `UsageError`."""
    try:
        return protocol.OnStale(on_stale)
    except ValueError:
        choices = [choice.value for choice in protocol.OnStale]
        msg = f"on_stale is one of {', '.join(choices)}, not {on_stale!r}{did_you_mean(str(on_stale), choices)}"
        raise UsageError(msg) from None


def request_for(node: _Node, key: object, *, on_stale: str, force: bool | str, wait: bool) -> protocol.NodeRequest:
    """Return a request for `node` with `key`; without one, with the key of the nearest open node above."""
    stale_choice = check_on_stale(on_stale)
    if key is None:
        canonical, key_digest = _open_ancestor_key(node.url) or node.inherited_key or (None, None)
        items: list[Any] = []
    else:
        canonical, items = keys.canonical_key_with_inputs(key)
        key_digest = keys.digest(canonical)
    if force not in {True, False, "alone"}:
        msg = f"force is True, False or 'alone', not {force!r}"
        raise UsageError(msg)
    request = protocol.Request(key_digest, bool(force), wait, stale_choice)
    return protocol.NodeRequest(
        request,
        canonical,
        functools.partial(_sources, node.url, items),
        keep_version=force == "alone",
        explain=_explain,
    )


def _explain(before: Any, now: Any) -> list[str]:
    from cvcache.keys import key_differences  # only where something differs

    return key_differences(before, now)


def _sources(url: str, items: Iterable[Any]) -> protocol.Sources:
    """Return the other nodes that a key of the node at `url` refers to, given the items and collections in it."""
    inputs: list[Mapping[str, str]] = []
    images: list[Mapping[str, Any]] = []
    for item in _items_read(items):
        source = item.__cvcache_input__() if hasattr(type(item), "__cvcache_input__") else None
        row = source and {"url": _relative_url(url, source[0]), **source[1]}
        if row and row not in inputs:
            inputs.append(row)
        if hasattr(type(item), "__cvcache_images__"):
            images += item.__cvcache_images__()
    if any(source["url"] == "" for source in inputs):
        msg = f"{url} would be computed from its own items, which it withdraws first; give the result another node"
        raise UsageError(msg)
    return protocol.Sources(tuple(inputs), tuple(images))


def _open_ancestor_key(url: str) -> tuple[Any, str | None] | None:
    """Return key and digest of the nearest node above `url` that is open in this process, if any."""
    while "/" in url.rstrip("/"):
        url = url.rstrip("/").rpartition("/")[0]
        if attempt := protocol.find_open_attempt(url):
            return attempt.record.key, attempt.record.digest
    return None


def _items_read(values: Iterable[Any]) -> Iterator[Any]:
    """Yield the items, nodes and stored images among `values` of a key, and those that its dask graphs read."""
    for value in values:
        if hasattr(type(value), "__cvcache_input__"):
            yield value
        else:
            from cvcache.keys import lineage_sources

            yield from lineage_sources(value)


def _relative_url(url: str, other: str) -> str:
    """Return `other` relative to `url`, as in ``../a/b``; `other` itself if it is in another store."""
    parts, other_parts = url.split("/"), other.split("/")
    common = next(
        (i for i, (a, b) in enumerate(zip(parts, other_parts, strict=False)) if a != b),
        min(len(parts), len(other_parts)),
    )
    if "://" in url + other and common < 3:  # noqa: PLR2004 - scheme, two slashes and bucket are the store
        return other
    return "/".join([".."] * (len(parts) - common) + other_parts[common:])


def resolve_relative(path: str, relative: str) -> str | None:
    """Return the path that is `relative` to the node at `path`; None for one in another store or above its root."""
    if "://" in relative or relative.startswith("/"):
        return None
    base = path.split("/")
    while relative == ".." or relative.startswith("../"):
        base, relative = base[:-1], relative[3:]
    parts = relative.split("/")
    outside = not any(base) or any(map(is_control, parts)) or ".." in parts
    return None if outside else "/".join([*base, relative] if relative else base)


def read_sibling_name(store: Store, path: str, node_request: protocol.NodeRequest) -> str:
    """Return the name of the sibling that holds the result for the key of `node_request`; one LIST and one GET."""
    newest = protocol.read_newest_record(store, path)
    return sibling_name(path.rpartition("/")[2], newest.key if newest else None, node_request)


def sibling_name(name: str, key: Any, node_request: protocol.NodeRequest) -> str:
    """Return the name of a sibling of the node `name` with `key`: its name and the difference of the keys."""
    differences = list(_differences(key, node_request.key, ""))
    label = ",".join(f"{parameter}={value}" for parameter, value in differences if value is not None)
    complete = differences and all(value is not None for _, value in differences) and len(label) <= _MAX_LABEL_LENGTH
    # a name in mixed case could differ from another one by case alone
    usable = complete and label == label.casefold() and "/" not in label
    fallback = (node_request.request.digest or "")[:8]
    try:
        return check_node_name(f"{name},{label if usable else fallback}")
    except InvalidName:
        return f"{name},{fallback}"


def _differences(old: Any, new: Any, name: str) -> Iterator[tuple[str, str | None]]:
    """Yield (name, text) of each plain value in `new` that differs; None for what has no short text."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict) and not any(k.startswith("$") for k in new):
        for k in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(k), new.get(k), k)
    elif isinstance(new, (bool, int, float, str)) and not set(str(new)) & set("*?[]{}\\/"):
        yield name, str(new)
    else:
        yield name, None
