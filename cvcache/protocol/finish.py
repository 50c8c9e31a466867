"""How an attempt ends: committed, failed or given up, by the one record that can follow its claim."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from cvcache.errors import LeaseLost, NodeBusy
from cvcache.protocol.attempt import Attempt, find_open_attempt
from cvcache.protocol.observe import read_record
from cvcache.protocol.owner import new_id, utc_timestamp
from cvcache.protocol.record import Record, dump_inventory, dump_record
from cvcache.protocol.rules import Observation
from cvcache.protocol.sweep import discard_items
from cvcache.store import Store, layout

logger = logging.getLogger("cvcache")


def finish_attempt(attempt: Attempt, state: str, **fields: Any) -> Record:
    """Write the fate of `attempt` and let go of it.

    Raises
    ------
    LeaseLost
        If another record already follows the claim.
    """
    record = attempt.record.next(
        state,
        new_id(),
        utc_timestamp(),
        shared=attempt.shared,
        duration=round(attempt.policy.clock() - attempt.started, 3),
        **fields,
    )
    log = layout.log_dir(attempt.path)
    data = dump_record(record)
    with attempt.closing():
        if not attempt.store.put_new(f"{log}/{record.filename}", data):
            record = read_record(attempt.store, log, record.seq, record.after)
        mine = (record.attempt, record.state) == (attempt.id, state)
        attempt.outcome = record if mine else None
        ended = f"is {state}" if mine else "was taken over by another owner, or removed"
        attempt.lose(f"{attempt.url} {ended}")
    if not mine:
        msg = f"{attempt.url} {ended}; what this attempt ({attempt.id}) wrote is discarded"
        raise LeaseLost(msg)
    return record


def commit_attempt(
    attempt: Attempt,
    rows: Mapping[str, Mapping[str, Any]],
    meta: Mapping[str, Any],
    made: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Record:
    """Vouch for the items in `rows`: inventory first, made durable, then the one record that counts.

    `made` says what with; it is kept in the inventory.
    """
    with attempt.writing():
        unwritten = (attempt.resumable | attempt.announcements.keys()) - rows.keys()
        discard_items(attempt.store, attempt.path, attempt.root, unwritten)
        attempt.store.put(layout.inventory_path(attempt.path, attempt.id), dump_inventory(attempt.id, rows, made))
        attempt.store.sync(attempt.path)
    return finish_attempt(attempt, "committed", items=rows, meta=meta, **fields)


def release_attempt(attempt: Attempt) -> None:
    """Give up an attempt that nobody has seen yet, whatever state the store is in."""
    try:
        finish_attempt(attempt, "released")
    except Exception as error:  # noqa: BLE001 - what went wrong before is what the caller has to know
        logger.warning("%s could not be released (%s)", attempt.url, error)
    finally:
        attempt.lose(f"{attempt.url} was given up")


def fence_own_attempt(store: Store, path: str, view: Observation, why: str) -> bool:
    """Stop this process's own attempt that `view` showed; False if it has changed since, so that one has to look again.

    Any other attempt of this process is either younger, and then the log elects it, or has lost the node already.

    Raises
    ------
    NodeBusy
        If one of its writes is under way and does not end.
    """
    older = find_open_attempt(store.url(path))
    if older is None or view.record is None or older.id != view.record.attempt:
        return True
    if not older.fence(why):
        msg = f"{older.url}: a write of this program's older attempt does not end; wait for it, or restart the program"
        raise NodeBusy(msg)
    return older.shared == view.shared
