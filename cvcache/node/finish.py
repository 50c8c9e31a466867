"""End an open node: commit it, record its failure, or release it."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping
from typing import Any

from cvcache import formats, protocol
from cvcache.errors import LeaseLost, NotOpen
from cvcache.node.address import Address
from cvcache.node.item_write import own_file_rows
from cvcache.node.snapshot import Snapshot

_MAX_TRACEBACK_LENGTH = 8192


logger = logging.getLogger("cvcache")


def find_attempt(node: Snapshot) -> protocol.Attempt | None:
    """Return the attempt at a node that this process has open, by whichever handle; None without a cache."""
    if node.address.context.uncached is not None:
        return None
    return node.attempt or protocol.find_open_attempt_at(node.url, node.address.account)


def find_open_node(address: Address) -> Snapshot | None:
    """Return the node if this process has it open, by whichever handle; no store call."""
    attempt = find_attempt(Snapshot(address))
    return Snapshot(address, attempt.record, attempt) if attempt is not None else None


def commit_node(node: Snapshot, meta: Mapping[str, Any] | None = None) -> Snapshot:
    """Commit a node that this process opened, by whichever handle; see `cdir_commit`."""
    from cvcache.node.provenance import environment  # only who commits needs it

    attempt = node.attempt or find_attempt(node)
    if attempt is None:
        if node.committed:
            return node
        msg = f"{node.url} is not open for writing in this process; call cdir_init on it before committing it"
        raise NotOpen(msg)
    attempt.meta.update(meta or {})
    formats.json_exact(attempt.meta, f"the metadata of {node.url}")
    if node.uncached is not None:
        node.uncached.end("committed", meta=attempt.meta)
    else:
        rows = {**attempt.rows, **own_file_rows(attempt)}
        protocol.commit_attempt(attempt, rows, attempt.meta, environment())
    return Snapshot(node.address, attempt.record, attempt, uncached=node.uncached).now


def end_node(node: Snapshot, error: BaseException | None) -> None:
    """Commit an open node, or record the failure of its attempt; nothing for a node that is not open."""
    attempt = node.attempt
    if attempt is None or attempt.outcome is not None:
        return
    if error is not None:
        _fail(node, attempt, error)
        return
    try:
        commit_node(node)
    except LeaseLost:
        raise
    except BaseException as commit_error:
        _fail(node, attempt, commit_error)
        raise


def _fail(node: Snapshot, attempt: protocol.Attempt, error: BaseException) -> None:
    """Record the failure of the attempt; never raises, so that the error itself is seen."""
    text = "".join(traceback.format_exception(error))[-_MAX_TRACEBACK_LENGTH:]
    report = {"type": type(error).__name__, "message": str(error)[:1024], "traceback": text}
    if node.uncached is not None:
        node.uncached.end("failed", error=report)
        return
    try:
        protocol.finish_attempt(attempt, "failed", error=report, items=attempt.rows)
    except LeaseLost:
        logger.warning("%s failed after another owner had taken it over", node.url)
    except Exception as store_error:  # noqa: BLE001 - the store may be the very thing that failed
        logger.warning("%s failed, and that could not be recorded (%s)", node.url, store_error)
        attempt.fence(f"{node.url} failed")


def release_node(node: Snapshot) -> None:
    """Release an open node: nothing is committed, and others need not wait."""
    if node.attempt is not None and node.attempt.outcome is None and node.uncached is None:
        protocol.release_attempt(node.attempt)
