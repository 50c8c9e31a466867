"""Checks for the records that follow another one: of a bucket not more often than needed."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from cvcache.store import parse_record_name, record_name

if TYPE_CHECKING:
    from cvcache.store import Store

CHECK_SECONDS = 1.0
"""For how long one check of the log of a bucket is valid while parts of an item are read, or written by a worker."""

MAX_CHECKS = 16_384
_MAX_RECORD_BYTES = 64 * 1024
_ENDING = ("committed", "removing", "removed")
_checked_at: dict[str, float] = {}
"""Key of the record -> when the last check for it began."""
_absent_since: dict[str, float] = {}
"""The same -> when the last check began that did not find it."""
_check_locks: dict[str, threading.Lock] = {}


def record_exists(store: Store, record: str, *, now: bool) -> bool:
    """Whether a record of the log exists; a check of the last second is reused unless it must be `now`."""
    asked_at = time.monotonic()
    if now:
        # threads that wait for a running check share the next one
        with _check_locks.setdefault(record, threading.Lock()):
            return _absent_since.get(record, -1.0) <= asked_at and _stat(store, record)
    return asked_at - _checked_at.get(record, -CHECK_SECONDS) >= CHECK_SECONDS and _stat(store, record)


def has_been_replaced(store: Store, successor: str) -> bool:
    """Whether a commit stands no more, by the records from `successor` on; one GET each, and one at the end."""
    log, _, name = successor.rpartition("/")
    while place := parse_record_name(name):
        try:
            record = json.loads(store.get(f"{log}/{name}", 0, _MAX_RECORD_BYTES))
            is_in_place = (record["seq"], record["after"]) == place
            if not is_in_place or record["state"] in _ENDING or "standing" not in record:
                return True
            name = record_name(record["seq"] + 1, record["attempt"])
        except FileNotFoundError:
            return False
        except (ValueError, LookupError, TypeError):
            return True
    return True


def _stat(store: Store, record: str) -> bool:
    for cache in (_checked_at, _absent_since, _check_locks):
        if len(cache) >= MAX_CHECKS:
            cache.clear()
    # set before the answer, so that only one of many threads asks
    checked_at = _checked_at[record] = time.monotonic()
    if store.stat(record) is not None:
        _checked_at.pop(record, None)
        return True
    _absent_since[record] = checked_at
    return False
