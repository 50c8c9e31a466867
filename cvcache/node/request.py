"""The arguments of `cdir_init` as a request to the protocol."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cvcache import keys, protocol
from cvcache.errors import InvalidName, UsageError
from cvcache.node.address import Address
from cvcache.store import check_node_name, relative_url

_MAX_LABEL_LENGTH = 60


def request_for(
    address: Address, key: object, *, on_stale: str | None, force: bool | str, wait: bool | None
) -> protocol.NodeRequest:
    """Return a request for the node with `key`; without one, with the key of the nearest open node above.

    What `on_stale` and `wait` leave open, the policy of the tree says.
    """
    policy = address.context.policy
    stale_choice = protocol.check_on_stale(policy.on_stale if on_stale is None else on_stale)
    if key is None:
        canonical, key_digest = _open_ancestor_key(address) or address.context.inherited_key or (None, None)
        items: list[Any] = []
    else:
        canonical, items = keys.canonical_key_with_inputs(key, functools.partial(_identity, address))
        key_digest = keys.digest(canonical)
    if force not in {True, False, "alone"}:
        msg = f"force is True, False or 'alone', not {force!r}"
        raise UsageError(msg)
    wait = policy.wait if wait is None else wait
    request = protocol.Request(key_digest, bool(force), wait, stale_choice, policy.keep_old)
    return protocol.NodeRequest(
        request,
        canonical,
        functools.partial(_sources, address, items),
        keep_version=force == "alone",
        explain=_explain,
    )


def _identity(near: Address, url: str, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    from cvcache.image import identity  # few keys have URLs

    return identity(url, options, near)


def _explain(before: Any, now: Any) -> list[str]:
    from cvcache.keys import key_differences  # only where something differs

    return key_differences(before, now)


def _sources(address: Address, items: Iterable[Any]) -> protocol.Sources:
    """Return the other nodes that a key of the node refers to, given the items and collections in it."""
    url = address.url
    inputs: list[Mapping[str, str]] = []
    images: list[Mapping[str, Any]] = []
    for item in _items_read(items):
        source = item.__cvcache_input__() if hasattr(type(item), "__cvcache_input__") else None
        row = source and {"url": relative_url(url, source[0]), **source[1]}
        if row and row not in inputs:
            inputs.append(row)
        if hasattr(type(item), "__cvcache_images__"):
            images += item.__cvcache_images__()
    if any(source["url"] == "" for source in inputs):
        msg = f"{url} would be computed from its own items; give the result another node"
        raise UsageError(msg)
    return protocol.Sources(tuple(inputs), tuple(images))


def _open_ancestor_key(address: Address) -> tuple[Any, str | None] | None:
    """Return key and digest of the nearest node above that is open in this process, if any."""
    url, account = address.url, address.account
    while "/" in url.rstrip("/"):
        url = url.rstrip("/").rpartition("/")[0]
        if attempt := protocol.find_open_attempt_at(url, account):
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


def sibling_of(address: Address, key: Any, node_request: protocol.NodeRequest) -> Address:
    """Return the sibling for another key of the node at `address` with `key`: named after the difference."""
    name = address.name
    differences = list(_differences(key, node_request.key, ""))
    label = ",".join(f"{parameter}={value}" for parameter, value in differences if value is not None)
    complete = differences and all(value is not None for _, value in differences) and len(label) <= _MAX_LABEL_LENGTH
    # a name in mixed case could differ from another one by case alone
    usable = complete and label == label.casefold() and "/" not in label
    fallback = (node_request.request.digest or "")[:8]
    try:
        return address.sibling(check_node_name(f"{name},{label if usable else fallback}"))
    except InvalidName:
        return address.sibling(f"{name},{fallback}")


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
