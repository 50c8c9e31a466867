"""The end of an attempt: the one record that can follow its claim, committed, failed or released."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cvcache.errors import LeaseLost, NodeBusy
from cvcache.protocol.attempt import Attempt, find_open_attempt
from cvcache.protocol.chain import read_record
from cvcache.protocol.owner import new_id, utc_timestamp
from cvcache.protocol.record import Record, dump_inventory, dump_record
from cvcache.protocol.rules import Observation
from cvcache.protocol.sweep import discard_items, sweep
from cvcache.store import IN_PLACE, layout

logger = logging.getLogger("cvcache")


def finish_attempt(attempt: Attempt, state: str, **fields: Any) -> Record:
    """Write the last record of `attempt` and give up its lease.

    Raises
    ------
    LeaseLost
        If another record already follows the claim.
    """
    record = attempt.record.next(
        state,
        new_id(),
        utc_timestamp(),
        shared=attempt.outlives_its_end,
        duration=round(attempt.policy.clock() - attempt.started, 3),
        **fields,
    )
    if state == "committed":
        record = _as_standing(record)
    log = layout.log_dir(attempt.path)
    data = dump_record(record)
    with attempt.closing():
        if not attempt.store.put_new(f"{log}/{record.filename}", data):
            record = read_record(attempt.store, log, record.seq, record.after)
        is_own = (record.attempt, record.state) == (attempt.id, state)
        attempt.outcome = record if is_own else None
        end = f"is {state}" if is_own else "was taken over by another owner, or removed"
        attempt.lose(f"{attempt.url} {end}")
    if not is_own:
        msg = f"{attempt.url} {end}; what this attempt ({attempt.id}) wrote is discarded"
        raise LeaseLost(msg)
    return record


def _as_standing(record: Record) -> Record:
    """Return a commit as it is recorded: it stands itself, and may be the first one at the plain root."""
    own = (record.seq, record.after) if record.root == IN_PLACE else None
    return replace(record, standing=None, discards=None, first=record.first or own)


def commit_attempt(
    attempt: Attempt,
    rows: Mapping[str, Mapping[str, Any]],
    meta: Mapping[str, Any],
    environment: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Record:
    """Commit the items in `rows`: write the inventory, sync the store, write the record; then sweep what was before.

    `environment` describes the process; it is stored in the inventory.
    """
    if attempt.unanswered:
        attempt.policy.sleep(attempt.policy.request_timeout)
        attempt.unanswered = False
    with attempt.writing():
        unwritten = (attempt.resumable.keys() | attempt.announced) - rows.keys()
        items = {name: attempt.first_keys(name) for name in unwritten}
        discard_items(attempt.store, attempt.path, attempt.root, attempt.id, items)
        attempt.store.put(
            layout.inventory_path(attempt.path, attempt.id), dump_inventory(attempt.id, rows, environment)
        )
        attempt.store.sync(attempt.path)
    record = finish_attempt(attempt, "committed", items=rows, meta=meta, **fields)
    if attempt.record.seq > 1:
        try:
            sweep(attempt.store, attempt.path, record)
        except Exception as error:  # noqa: BLE001 - it is committed; the next commit sweeps again
            logger.warning("%s is committed, but what it replaces could not be deleted (%s)", attempt.url, error)
    return record


def release_attempt(attempt: Attempt) -> None:
    """Release an attempt that no caller has got yet; a failure of the store is only logged."""
    try:
        finish_attempt(attempt, "released")
    except Exception as error:  # noqa: BLE001 - the error before this one is the one to raise
        logger.warning("%s could not be released (%s)", attempt.url, error)
    finally:
        attempt.lose(f"{attempt.url} was given up")


def fence_own_attempt(observation: Observation, reason: str) -> bool:
    """Stop the observed attempt if this process owns it; False if it changed since, so the caller has to observe again.

    Any other attempt of this process is either newer, then the log decides, or has lost its lease already.

    Raises
    ------
    NodeBusy
        If one of its writes does not end.
    """
    own = find_open_attempt(observation.record.attempt) if observation.record is not None else None
    if own is None:
        return True
    if not own.fence(reason):
        msg = f"{own.url}: a write of this program's older attempt does not end; wait for it, or restart the program"
        raise NodeBusy(msg)
    return own.outlives_its_end == observation.shared
