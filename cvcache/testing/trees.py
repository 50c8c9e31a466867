"""Large trees, written directly to a store, for scaling tests."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from cvcache.protocol import Record, dump_record, new_id, this_owner, utc_timestamp
from cvcache.store import Store, layout, merge_options, open_store, resolve_node


def lay_tree(where: object, nodes: int, *, fan_out: int = 100, **storage_options: object) -> list[str]:
    """Write a tree of committed nodes, each with one small item, without going through the protocol.

    Parameters
    ----------
    where : str or os.PathLike
        The root, which becomes the first node.
    nodes : int
        Number of nodes, with the root.
    fan_out : int
        Number of children of each node.
    **storage_options
        Options of the store.

    Returns
    -------
    list of str
        Their URLs, parents first.
    """
    scheme, path, options = resolve_node(where)
    store = open_store(scheme, path, {**options, **merge_options(storage_options)})
    paths = list(itertools.islice(_paths(path, fan_out), nodes))
    for node in paths:
        _lay_node(store, node)
    return [store.url(node) for node in paths]


def _paths(top: str, fan_out: int) -> Iterator[str]:
    level = [top]
    while True:
        yield from level
        level = [f"{parent}/node{i:03d}" for parent in level for i in range(fan_out)]


def _lay_node(store: Store, path: str) -> None:
    attempt = new_id()
    item = b'{"laid": true}'
    claim = Record(
        seq=1,
        after="root",
        state="claimed",
        attempt=attempt,
        nonce=new_id(),
        time=utc_timestamp(),
        owner=this_owner(),
        version=f"+{attempt}",
    )
    commit = claim.next(
        "committed",
        new_id(),
        utc_timestamp(),
        duration=0.0,
        items={"stats.json": {"kind": "json", "size": len(item)}},
        first=(2, attempt),
    )
    store.put(layout.announcement_path(path, attempt, "stats.json"), b"{}")
    store.put(f"{path}/stats.json", item)
    for record in (claim, commit):
        store.put(layout.record_path(path, record), dump_record(record))
