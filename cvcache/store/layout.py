"""The layout of a node on disk: where each thing lies, and what each name means.

Pure, and the only place that spells it; docs/reference/spec.md says the same in words. `path` is the full key of a
node, `attempt` the id of one of its attempts, `item` the name of an item.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

RESERVED = "_cvcache"
"""Everything cvcache itself keeps in a node lies below this name."""

ITEM_DIR_SUFFIXES = (".zarr", ".dir")
"""A directory whose name ends so is an item; any other is a child node. The set is closed, so all machines agree."""

IN_PLACE = "."
"""The data root of an attempt that writes at the plain paths of its node."""

DIRECTORY_INDEX = f"{RESERVED}/index.json"
"""Within an item that is a directory of files: what they are."""

ATTEMPT_DIRS = ("attempts", "beat", "inventory", "parts", "thumb", "writing")
"""What is kept in a node for each attempt, each in a directory of its own."""

_RECORD = re.compile(r"([0-9]{6})-(root|[0-9a-f]{16})\.json")


class LogEntry(Protocol):
    """A record, as far as it says where it lies in the log, and where the items of its attempt lie."""

    @property
    def seq(self) -> int: ...
    @property
    def after(self) -> str: ...
    @property
    def attempt(self) -> str: ...
    @property
    def root(self) -> str: ...


def is_control(name: str) -> bool:
    """Whether the entry `name` of a directory is cvcache's own."""
    return name == RESERVED


def is_item_dir(name: str) -> bool:
    """Whether a directory called `name` is an item and not a child node, and an item called so a directory."""
    return name.endswith(ITEM_DIR_SUFFIXES)


def is_leaf(name: str) -> bool:
    """Whether no node lies below a directory called `name`, an item or cvcache's own in any case of letters."""
    return name.endswith(ITEM_DIR_SUFFIXES) or name.casefold() == RESERVED


def node_of(path: str) -> str:
    """Return the node that the key `path` of an item, a part of one, or a record belongs to."""
    segments = path.split("/")
    for i, segment in enumerate(segments):
        if is_control(segment) or is_item_dir(segment):
            return "/".join(segments[:i])
    return "/".join(segments[:-1])


def strip_control(path: str) -> str:
    """Return `path`, or where it leads into what cvcache keeps in a node, the node."""
    return path.partition(f"/{RESERVED}/")[0].removesuffix(f"/{RESERVED}")


def control_dir(path: str) -> str:
    """Return the directory that holds what cvcache keeps in a node."""
    return f"{path}/{RESERVED}"


def control_dirs(path: str) -> tuple[str, ...]:
    """Return the directories that what cvcache keeps in a node is written to, the node itself first."""
    own = control_dir(path)
    return (path, own, log_dir(path), announcements_dir(path), inventories_dir(path), f"{own}/beat", f"{own}/attempts")


def log_dir(path: str) -> str:
    """Return the directory of a node's records."""
    return f"{path}/{RESERVED}/log"


@functools.lru_cache(4096)
def record_name(seq: int, after: str) -> str:
    """Return the name of the record with number `seq` that follows the attempt `after`."""
    return f"{seq:06d}-{after}.json"


@functools.lru_cache(4096)
def parse_record_name(name: str) -> tuple[int, str] | None:
    """Return (seq, after) of a name in the log; None for anything else."""
    match = _RECORD.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def log_names(names: Iterable[str]) -> Iterator[str]:
    """Yield the names in the log, of those in the control directory."""
    return (name.removeprefix("log/") for name in names if name.startswith("log/"))


def log_entries(names: Iterable[str]) -> list[tuple[int, str]]:
    """Return (seq, after) of each record among the names in a log, in order."""
    return sorted(entry for name in names if (entry := parse_record_name(name)))


def record_path(path: str, entry: LogEntry) -> str:
    """Return where a record lies."""
    return f"{log_dir(path)}/{record_name(entry.seq, entry.after)}"


def successor_path(path: str, entry: LogEntry) -> str:
    """Return where the one record lies that can follow another."""
    return f"{log_dir(path)}/{record_name(entry.seq + 1, entry.attempt)}"


def attempt_root(attempt: str) -> str:
    """Return the data root, relative to the node, of an attempt that cannot have the plain one."""
    return f"{RESERVED}/attempts/{attempt}"


def data_root(path: str, entry: LogEntry | None) -> str:
    """Return the directory that the items of a record lie in."""
    return path if entry is None or entry.root == IN_PLACE else f"{path}/{entry.root}"


def heartbeat_path(path: str, attempt: str) -> str:
    """Return where the counter of an attempt's heartbeat lies."""
    return f"{path}/{RESERVED}/beat/{attempt}"


def shared_marker_path(path: str, attempt: str) -> str:
    """Return where it says that other processes may write for an attempt."""
    return f"{heartbeat_path(path, attempt)}.shared"


def announcements_dir(path: str) -> str:
    """Return the directory of the announcements."""
    return f"{path}/{RESERVED}/writing"


def announcement_path(path: str, attempt: str, item: str) -> str:
    """Return where it says that an item is an attempt's."""
    return f"{announcements_dir(path)}/{announcement_name(attempt, item)}"


def announcement_name(attempt: str, item: str) -> str:
    """Return the name of an announcement in the directory of announcements."""
    return f"{attempt}/{item}.json"


def parse_announcement(name: str) -> tuple[str, str] | None:
    """Return (attempt, item) of a name in the directory of announcements; None for anything else."""
    attempt, _, item = name.partition("/")
    return (attempt, item.removesuffix(".json")) if item.endswith(".json") else None


def inventories_dir(path: str) -> str:
    """Return the directory of the inventories."""
    return f"{path}/{RESERVED}/inventory"


def inventory_path(path: str, attempt: str) -> str:
    """Return where the rows of an attempt's items lie."""
    return f"{inventories_dir(path)}/{inventory_name(attempt)}"


def inventory_name(attempt: str) -> str:
    """Return the name of an attempt's inventory in the directory of inventories."""
    return f"{attempt}.json"


def thumbnail_path(path: str, attempt: str, item: str) -> str:
    """Return where the picture of an item lies."""
    return f"{path}/{RESERVED}/thumb/{attempt}/{item}.png"


def log_parts_dir(path: str, attempt: str = "", item: str = "") -> str:
    """Return the directory that the parts of an item's log lie in while its step runs, or a directory above it."""
    return "/".join(filter(None, (path, RESERVED, "parts", attempt, item)))


def part_name(number: int) -> str:
    """Return the name of one part of a log; numbers begin with 1."""
    return f"{number:06d}"


def temporary_dir(path: str) -> str:
    """Return the directory of objects that are not yet where they belong."""
    return f"{path}/{RESERVED}/tmp"  # noqa: S108 - in the node itself, not of the system


def probe_path(path: str, name: str) -> str:
    """Return where an object is put to find out whether a store elects one writer."""
    return f"{path}/{RESERVED}/probe/{name}"


def is_node_evidence(name: str) -> bool:
    """Whether a name in the control directory says that there has been a node; what is in transit does not."""
    return name.split("/", maxsplit=1)[0] not in {"tmp", "probe"}


def belongs_to_attempts(name: str, attempts: Iterable[str]) -> bool:
    """Whether a name in the control directory is one of these attempts', or in transit."""
    return name.startswith(("tmp/", *(f"{kind}/{attempt}" for kind in ATTEMPT_DIRS for attempt in attempts)))
