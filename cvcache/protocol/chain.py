"""The chain of a node's records: the newest one, the commit that stands, and whether that was replaced."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from cvcache.errors import BadRecord, NodeRemoved, NodeReplaced
from cvcache.protocol.record import MAX_RECORD_BYTES, Record, load_record
from cvcache.store import Store, layout, parse_record_name, record_name

Chain: TypeAlias = list[tuple[int, str]]
"""(Number, predecessor) of each record from the first one on."""


class NodeRecords(NamedTuple):
    """The newest record of a node, and that of the commit that stands."""

    newest: Record | None = None
    standing: Record | None = None


def read_node_records(store: Store, path: str) -> NodeRecords:
    """Return the newest record of the node at `path`, and the commit that stands.

    One LIST and one GET; one GET more where an attempt follows the commit that stands.
    """
    newest = read_newest_record(store, path)
    return NodeRecords(newest, standing_record(store, path, newest))


def standing_record(store: Store, path: str, newest: Record | None) -> Record | None:
    """Return the commit that stands while `newest` is the newest record; one GET if it is another one."""
    result = newest.result if newest is not None else None
    if newest is None or result is None:
        return None
    if newest.state == "committed":
        return newest
    record = read_record(store, layout.log_dir(path), result.seq, result.after)
    if (record.state, record.attempt) != ("committed", result.attempt):
        found = f"{store.url(layout.record_path(path, record))} is not the commit that {newest.filename} says stands"
        msg = f"{found}: records were moved. Move the directory of the node away to use this place"
        raise BadRecord(msg)
    return record


def standing_path(store: Store, path: str) -> str:
    """Return where the item with the plain path `path` lies by the commit that stands; any other path as it is.

    One LIST, and one GET if it is in a node that was computed more than once.
    """
    node = layout.node_of(path)
    if layout.is_control(path.removeprefix(f"{node}/").partition("/")[0]):
        return path
    log = layout.log_dir(node)
    names = store.list(log).files
    newest = find_newest(store, log, names) if len(names) > layout.RECORDS_OF_ONE_ATTEMPT else None
    result = newest.result if newest is not None else None
    return path if result is None else f"{layout.data_root(node, result)}{path.removeprefix(node)}"


def read_newest_record(store: Store, path: str) -> Record | None:
    """Return the newest record of the node at `path`, or None if its log is empty.

    One LIST and one GET; one more GET for each number that two records have.
    """
    log = layout.log_dir(path)
    return find_newest(store, log, store.list(log).files)


def find_newest(store: Store, log: str, names: Iterable[str]) -> Record | None:
    """Return the newest record of the log at `log`, which lists these names; one GET if no number occurs twice."""
    chain = walk_chain(store, log, names)
    return read_record(store, log, *chain[-1]) if chain else None


def walk_chain(store: Store, log: str, names: Iterable[str]) -> Chain:
    """Return (number, predecessor) of each record on the chain in the log at `log`, which lists these names.

    Others are strays, of a node that was deleted by hand. One GET for each number that occurs twice.
    """
    successors: dict[int, list[str]] = {}
    for name in names:
        if parsed := parse_record_name(name):
            successors.setdefault(parsed[0], []).append(parsed[1])
    chain = [(1, "root")] if "root" in successors.get(1, ()) else []
    while chain and (candidates := successors.get(len(chain) + 1)):
        if len(candidates) > 1:
            attempt = read_record(store, log, *chain[-1]).attempt
            candidates = [name for name in candidates if name == attempt]
            if not candidates:
                break
        chain.append((len(chain) + 1, candidates[0]))
    return chain


def read_record(store: Store, log: str, seq: int, after: str) -> Record:
    """Return one record of the log at `log`; one GET."""
    path = f"{log}/{record_name(seq, after)}"
    where = store.url(path)
    record = load_record(store.get(path, 0, MAX_RECORD_BYTES + 1), where)
    if (record.seq, record.after) != (seq, after):
        msg = f"{where} says it is record {record.seq} after {record.after}; it was renamed. Move it away to go on"
        raise BadRecord(msg)
    return record


def raise_if_replaced(store: Store, path: str, record: Record) -> None:
    """Raise if `record` is a commit that does not stand any more, or another one that is not the newest any more."""
    if store.stat(layout.successor_path(path, record)) is None:
        return
    newest = read_newest_record(store, path)
    result = newest.result if newest is not None else None
    if result is not None and record.state == "committed" and result.attempt == record.attempt:
        return
    url = store.url(path)
    if newest is not None and newest.state in {"removing", "removed"}:
        msg = f"{url} was removed after this handle was opened; run the step again to compute it"
        raise NodeRemoved(msg)
    msg = f"{url} was replaced after this handle was opened; open it again to read the newer result"
    raise NodeReplaced(msg)
