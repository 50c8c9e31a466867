"""The layout of a node on disk: the path of each object, and the meaning of each name.

Pure, and the only module that spells these paths; docs/reference/spec.md says the same in words. `path` is the full
key of a node, `attempt` the id of one of its attempts, `item` the name of an item.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

RESERVED = "_cvcache"
"""The control directory: all files of cvcache itself in a node are below it."""

ITEM_DIR_SUFFIXES = (".zarr", ".dir")
"""A directory with such a suffix is an item, any other a child node. The set is fixed, so all machines agree."""

ZARR_METADATA = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
"""Metadata files of a directory that is an image or array; the one that is written last comes first."""

IN_PLACE = "."
"""The data root of an attempt that writes in place: directly in the directory of its node."""

RECORDS_OF_ONE_ATTEMPT = 2
"""A claim and its end. Where a log has more, the commit that stands may have another data root than `IN_PLACE`."""

DIRECTORY_INDEX = f"{RESERVED}/index.json"
"""Index of the files, within an item that is a directory of files."""

ATTEMPT_DIRS = ("attempts", "beat", "failed", "inventory", "parts", "thumb", "writing")
"""Subdirectories of the control directory with objects of each attempt."""

_RECORD = re.compile(r"([0-9]{6})-(root|[0-9a-f]{16})\.json")


class LogEntry(Protocol):
    """The fields of a record that give its path, and that of the items of its attempt."""

    @property
    def seq(self) -> int: ...
    @property
    def after(self) -> str: ...
    @property
    def attempt(self) -> str: ...
    @property
    def root(self) -> str: ...


def is_control(name: str) -> bool:
    """Whether the directory entry `name` is the control directory."""
    return name == RESERVED


def is_item_dir(name: str) -> bool:
    """Whether a directory `name` is an item and no child node; equally, whether an item `name` is a directory."""
    return name.endswith(ITEM_DIR_SUFFIXES)


def is_leaf(name: str) -> bool:
    """Whether a directory `name` contains no nodes: it is an item or, in any case of letters, the control directory."""
    return name.endswith(ITEM_DIR_SUFFIXES) or name.casefold() == RESERVED


def node_of(path: str) -> str:
    """Return the node of `path`, the key of an item, of a part of one, or of a record."""
    segments = path.split("/")
    for i, segment in enumerate(segments):
        if is_control(segment) or is_item_dir(segment):
            return "/".join(segments[:i])
    return "/".join(segments[:-1])


def strip_control(path: str) -> str:
    """Return `path` without the control directory and all below it."""
    return path.partition(f"/{RESERVED}/")[0].removesuffix(f"/{RESERVED}")


def control_dir(path: str) -> str:
    """Return the control directory of a node."""
    return f"{path}/{RESERVED}"


def control_dirs(path: str) -> tuple[str, ...]:
    """Return the node and the directories in it that records and other control files are written to."""
    own = control_dir(path)
    return (path, own, log_dir(path), announcements_dir(path), inventories_dir(path), f"{own}/beat", f"{own}/attempts")


def log_dir(path: str) -> str:
    """Return the directory of the records."""
    return f"{path}/{RESERVED}/log"


@functools.lru_cache(4096)
def record_name(seq: int, after: str) -> str:
    """Return the name of the record with number `seq` that follows the attempt `after`."""
    return f"{seq:06d}-{after}.json"


@functools.lru_cache(4096)
def parse_record_name(name: str) -> tuple[int, str] | None:
    """Return (seq, after) of the name of a record; None for any other name."""
    match = _RECORD.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def log_names(names: Iterable[str]) -> Iterator[str]:
    """Yield the names of the log, of names relative to the control directory."""
    return _names_below("log/", names)


def announcement_names(names: Iterable[str]) -> Iterator[str]:
    """Yield the names of the announcements, of names relative to the control directory."""
    return _names_below("writing/", names)


def _names_below(directory: str, names: Iterable[str]) -> Iterator[str]:
    return (name.removeprefix(directory) for name in names if name.startswith(directory))


def log_entries(names: Iterable[str]) -> list[tuple[int, str]]:
    """Return (seq, after) of each record among the names in a log, in order."""
    return sorted(entry for name in names if (entry := parse_record_name(name)))


def record_path(path: str, entry: LogEntry) -> str:
    """Return the path of a record."""
    return f"{log_dir(path)}/{record_name(entry.seq, entry.after)}"


def successor_path(path: str, entry: LogEntry) -> str:
    """Return the path of the successor of a record: only one can exist."""
    return f"{log_dir(path)}/{record_name(entry.seq + 1, entry.attempt)}"


def attempt_root(attempt: str) -> str:
    """Return the data root, relative to the node, of an attempt that cannot write in place."""
    return f"{RESERVED}/attempts/{attempt}"


def data_root(path: str, entry: LogEntry | None) -> str:
    """Return the directory of the items of a record."""
    return path if entry is None or entry.root == IN_PLACE else f"{path}/{entry.root}"


def heartbeat_path(path: str, attempt: str) -> str:
    """Return the path of the heartbeat of an attempt, a counter."""
    return f"{path}/{RESERVED}/beat/{attempt}"


def shared_marker_path(path: str, attempt: str) -> str:
    """Return the path of the marker that other processes may write for an attempt."""
    return f"{heartbeat_path(path, attempt)}.shared"


def has_shared_marker(names: Iterable[str], attempt: str) -> bool:
    """Whether other processes may write for an attempt, by the names relative to the control directory."""
    return f"beat/{attempt}.shared" in names


def announcements_dir(path: str) -> str:
    """Return the directory of the announcements."""
    return f"{path}/{RESERVED}/writing"


def announcement_path(path: str, attempt: str, item: str) -> str:
    """Return the path of the announcement of an item by an attempt."""
    return f"{announcements_dir(path)}/{announcement_name(attempt, item)}"


def announcement_name(attempt: str, item: str) -> str:
    """Return the name of an announcement in the directory of announcements."""
    return f"{attempt}/{item}.json"


def parse_announcement(name: str) -> tuple[str, str] | None:
    """Return (attempt, item) of the name of an announcement; None for any other name."""
    attempt, _, item = name.partition("/")
    return (attempt, item.removesuffix(".json")) if item.endswith(".json") else None


def inventories_dir(path: str) -> str:
    """Return the directory of the inventories."""
    return f"{path}/{RESERVED}/inventory"


def inventory_path(path: str, attempt: str) -> str:
    """Return the path of the inventory of an attempt: the metadata of its items."""
    return f"{inventories_dir(path)}/{inventory_name(attempt)}"


def inventory_name(attempt: str) -> str:
    """Return the name of an attempt's inventory in the directory of inventories."""
    return f"{attempt}.json"


def failed_log_path(path: str, attempt: str, item: str) -> str:
    """Return the path of a log that is kept of an attempt that was not committed."""
    return f"{path}/{RESERVED}/failed/{attempt}/{item}"


def thumbnail_path(path: str, attempt: str, item: str) -> str:
    """Return the path of the thumbnail of an item."""
    return f"{path}/{RESERVED}/thumb/{attempt}/{item}.png"


def log_parts_dir(path: str, attempt: str = "", item: str = "") -> str:
    """Return the directory of the parts of a log while its step runs, or a directory above it."""
    return "/".join(filter(None, (path, RESERVED, "parts", attempt, item)))


def part_name(number: int) -> str:
    """Return the name of one part of a log; numbers begin with 1."""
    return f"{number:06d}"


def temporary_dir(path: str) -> str:
    """Return the directory of temporary files, before they are moved to their path."""
    return f"{path}/{RESERVED}/tmp"  # noqa: S108 - in the node itself, not of the system


def probe_path(path: str, name: str) -> str:
    """Return the path of a test object, to find out whether the store elects one winner."""
    return f"{path}/{RESERVED}/probe/{name}"


def is_node_evidence(name: str) -> bool:
    """Whether a name in the control directory proves that there was a node; temporary files do not."""
    return name.split("/", maxsplit=1)[0] not in {"tmp", "probe"}


def is_failed_log(name: str) -> bool:
    """Whether a name in the control directory is of a log that is kept of an attempt that was not committed."""
    return name.startswith("failed/")


def is_temporary(name: str) -> bool:
    """Whether a name in the control directory is of a temporary file."""
    return name.startswith("tmp/")


def lies_below(name: str, root: str) -> bool:
    """Whether a name in the control directory is of an object in this data root."""
    return f"{RESERVED}/{name}".startswith(f"{root}/")


def belongs_to_attempts(name: str, attempts: Iterable[str]) -> bool:
    """Whether a name in the control directory belongs to one of these attempts."""
    kind, _, rest = name.partition("/")
    return kind in ATTEMPT_DIRS and re.split(r"[/.]", rest, maxsplit=1)[0] in attempts


def tells_of_writes(name: str, attempts: Iterable[str]) -> bool:
    """Whether a name in the control directory is an announcement or the shared marker of one of these attempts."""
    return (name.startswith("writing/") or name.endswith(".shared")) and belongs_to_attempts(name, attempts)
