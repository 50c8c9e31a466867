"""What other programs, machines and versions leave in a node, written past cvcache."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from cvcache.protocol import Owner, Record, dump_record
from cvcache.store import record_name

if TYPE_CHECKING:
    from servers.store_cases import StoreCase

ELSEWHERE = Owner(host="elsewhere", boot="another-boot", pidns="pid:[1]", pid=4711, start="1", thread="MainThread")
ATTEMPT = "e" * 16


def claim_record(**changes: Any) -> Record:
    """Give the first record of a node, claimed on another machine."""
    base = Record(seq=1, after="root", state="claimed", attempt=ATTEMPT, nonce="f" * 16, owner=ELSEWHERE, version="v")
    return dataclasses.replace(base, **changes)


def put_record(case: StoreCase, record: Record, node: str = "") -> None:
    """Put a record where it belongs in the log of `node`."""
    case.put(log_key(record.seq, record.after, node), dump_record(record))


def log_key(seq: int, after: str, node: str = "") -> str:
    """Give the name of a record below the root of a case."""
    return f"{node}/_cvcache/log/{record_name(seq, after)}".lstrip("/")
