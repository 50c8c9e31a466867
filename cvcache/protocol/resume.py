"""Resuming the write of an image that an earlier attempt left unfinished.

The announcement of an image contains its plan, with the lineage of its source. Only an image with the same plan is
resumed. Every object was written whole, so a listing shows which chunks exist; another data root links or copies them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from cvcache.protocol.attempt import Attempt
from cvcache.protocol.chain import walk_chain
from cvcache.protocol.owner import this_owner
from cvcache.protocol.sweep import delete_item
from cvcache.store import IN_PLACE, gather, layout

logger = logging.getLogger("cvcache")

MAX_ANNOUNCEMENT_BYTES = 16 << 20
GROUP_DOCUMENTS = ("zarr.json", ".zattrs")
"""Metadata of the image, written last: without it, a directory is no image for other readers."""


def resume_item(attempt: Attempt, name: str, plan: Mapping[str, Any]) -> Mapping[str, int]:
    """Announce the item `name` with its `plan`, and return the objects of it that exist: key -> size in bytes.

    Notes
    -----
    One PUT. With earlier attempts also two LIST, a GET for each of their announcements of `name`, a LIST of its
    objects, and one request for each object that is copied.
    """
    store, target = attempt.store, f"{attempt.root}/{name}"
    # a source read from a path has no lineage of its content, but the path may be in the key
    plan = {**plan, "key": attempt.record.digest}
    source = _find_source(attempt, name, plan)
    objects = store.find(f"{source}/{name}") if source is not None else {}
    is_rewrite = attempt.item(name).plan is not None
    is_strangers = source == attempt.root and not is_rewrite and name not in attempt.resumable
    source = source if objects and not is_strangers else None
    if not is_rewrite and source != attempt.root:
        attempt.free_path(name)
    elif is_rewrite and source != attempt.root:
        with attempt.writing():
            delete_item(store, target, attempt.first_keys(name))
    attempt.announce(name, plan)
    if source is None:
        return {}
    with attempt.writing():
        parts = {key: info.size for key, info in objects.items() if info.size and key not in GROUP_DOCUMENTS}
        if source == attempt.root:
            store.delete([f"{target}/{key}" for key in GROUP_DOCUMENTS if key in objects])
        else:
            remote = store.scheme not in {"file", "memory"}
            try:
                gather(lambda key: store.copy(f"{source}/{name}/{key}", f"{target}/{key}"), parts, remote=remote)
            except FileNotFoundError:
                attempt.confirm()
                with attempt.writing():  # LeaseLost if they are swept by one who took the node over
                    raise
    logger.info("%s/%s: %d objects of an earlier attempt are kept", attempt.url, name, len(parts))
    return parts


def _find_source(attempt: Attempt, name: str, plan: Mapping[str, Any]) -> str | None:
    """Return the data root of the newest attempt since the last commit that announced `name` with the same plan."""
    if plan.get("lineage") is None:
        return None
    own_plan = attempt.item(name).plan
    if own_plan is not None and _is_same_plan(own_plan, plan):
        return attempt.root
    return next((root for other_plan, root in _announcements(attempt, name) if _is_same_plan(other_plan, plan)), None)


def _is_same_plan(other_plan: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
    return (other_plan.get("digest"), other_plan.get("key")) == (plan["digest"], plan["key"])


def _announcements(attempt: Attempt, name: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield (plan, data root) of each announcement of `name` by an attempt since the last commit, newest first.

    None for a forced attempt. Of several with one data root only the newest counts: it replaced the others.
    """
    if attempt.record.seq == 1 or attempt.record.forced:
        return
    store, path = attempt.store, attempt.path
    announcements = store.find(layout.announcements_dir(path))
    log = walk_chain(store, layout.log_dir(path), store.list(layout.log_dir(path)).files)
    standing, discards = attempt.record.standing, attempt.record.discards
    since = standing.seq if standing is not None else (discards or 1) - 1
    attempts = [after for seq, after in log if since + 1 < seq <= attempt.record.seq]
    known_roots = {IN_PLACE, *map(layout.attempt_root, attempts)}
    roots = {attempt.record.root} if attempt.item(name).plan is not None else set()
    for other in reversed(attempts):
        if layout.announcement_name(other, name) not in announcements:
            continue
        try:
            row = json.loads(store.get(layout.announcement_path(path, other, name), 0, MAX_ANNOUNCEMENT_BYTES))
            root, plan, boot = str(row["root"]), row.get("plan"), row["boot"]
        except (FileNotFoundError, ValueError, LookupError, TypeError):
            return
        # files that were not synced before the machine went down may be empty
        is_durable = store.scheme != "file" or boot == this_owner().boot
        is_newest = root not in roots
        roots.add(root)
        if is_newest and is_durable and isinstance(plan, dict) and root in known_roots:
            yield plan, path if root == IN_PLACE else f"{path}/{root}"
