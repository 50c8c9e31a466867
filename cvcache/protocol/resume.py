"""Going on with an image that an earlier attempt left half written: what is there of the very same is kept.

The announcement of an image says what it consists of, down to the lineage of its source. Every object of it was
created whole, so the listing tells what is done. An attempt with another data root links or copies it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from cvcache.protocol.attempt import Attempt
from cvcache.protocol.observe import read_record
from cvcache.protocol.owner import this_owner
from cvcache.protocol.sweep import delete_item
from cvcache.store import IN_PLACE, attempt_root, gather, layout, log_entries

logger = logging.getLogger("cvcache")

MAX_ANNOUNCEMENT_BYTES = 16 << 20
GROUP_DOCUMENTS = ("zarr.json", ".zattrs")
"""What makes a directory an image for other readers: it comes last."""


def resume_item(attempt: Attempt, name: str, plan: Mapping[str, Any]) -> Mapping[str, int]:
    """Announce the item `name` with what it is to be, and return what is there of it: part -> size in bytes.

    Notes
    -----
    One PUT; with earlier attempts also three LIST, one GET each of their announcements of `name` and one LIST of
    its parts. What has to be copied costs one request a part.
    """
    store, target = attempt.store, f"{attempt.root}/{name}"
    # what a source reads by a path is no part of its lineage, but may be one of the key
    plan = {**plan, "key": attempt.record.digest}
    source = _find(attempt, name, plan)
    mine = name in attempt.announcements
    if not mine and source != attempt.root:
        attempt.free_path(name)
    elif mine and source != attempt.root:
        with attempt.writing():
            delete_item(store, target)
    attempt.announce(name, plan)
    if source is None:
        return {}
    with attempt.writing():
        found = store.find(f"{source}/{name}")
        kept = {key: info.size for key, info in found.items() if info.size and key not in GROUP_DOCUMENTS}
        if source == attempt.root:
            store.delete([f"{target}/{key}" for key in GROUP_DOCUMENTS if key in found])
        else:
            remote = store.scheme not in {"file", "memory"}
            gather(lambda key: store.copy(f"{source}/{name}/{key}", f"{target}/{key}"), kept, remote=remote)
    logger.info("%s/%s: %d objects of an earlier attempt are kept", attempt.url, name, len(kept))
    return kept


def _find(attempt: Attempt, name: str, plan: Mapping[str, Any]) -> str | None:
    """Return the data root where an attempt since the last commit began the very same item; the newest such."""
    if plan.get("lineage") is None:
        return None
    if name in attempt.announcements and _is_same(attempt.announcements[name], plan):
        return attempt.root
    return next((root for theirs, root in _announcements(attempt, name) if _is_same(theirs, plan)), None)


def _is_same(theirs: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    return (theirs.get("digest"), theirs.get("key")) == (plan["digest"], plan["key"])


def _announcements(attempt: Attempt, name: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield plan and data root of each announcement of `name` by an attempt since the last commit, newest first.

    A forced attempt takes nothing over. Of several with one root, the newest alone says what lies there: it took the
    place of the others.
    """
    if attempt.record.seq == 1 or attempt.record.forced:
        return
    store, path = attempt.store, attempt.path
    announced = store.find(layout.announcements_dir(path))
    inventories = store.list(layout.inventories_dir(path)).files
    log = log_entries(store.list(layout.log_dir(path)).files)
    past = [after for seq, after in log if 1 < seq <= attempt.record.seq]
    fates = {after: seq for seq, after in log}
    seen = {attempt.record.root} if name in attempt.announcements else set()
    for other in reversed(past):
        # an inventory alone may be the last thing a process wrote before it died
        if (
            layout.inventory_name(other) in inventories
            and read_record(store, layout.log_dir(path), fates[other], other).state == "committed"
        ):
            return
        if layout.announcement_name(other, name) not in announced:
            continue
        try:
            row = json.loads(store.get(layout.announcement_path(path, other, name), 0, MAX_ANNOUNCEMENT_BYTES))
            root, plan, boot = str(row["root"]), row.get("plan"), row["boot"]
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return
        # without a sync, what a machine wrote before it went down may be there in name only
        survived = store.scheme != "file" or boot == this_owner().boot
        first = root not in seen
        seen.add(root)
        if first and survived and isinstance(plan, dict) and root in {IN_PLACE, attempt_root(other)}:
            yield plan, path if root == IN_PLACE else f"{path}/{root}"
