"""The records of a node's log: one JSON object for each transition.

A record is written once and never changed. It repeats what the next decision needs, so the newest
record alone gives the state of a node. The format is normative in docs/reference/spec.md.
"""

from __future__ import annotations

import functools
import json
import marshal
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from cvcache.errors import BadRecord, CvcacheError, InvalidName, NewerRecord
from cvcache.protocol.policy import MAX_SECONDS
from cvcache.protocol.strict_json import parse_json, raise_bad_record, shorten
from cvcache.store import IN_PLACE, attempt_root, check_item_name, record_name

RECORD_SCHEMA = 2
MAX_RECORD_BYTES = 64 * 1024
MAX_INLINE_ITEMS_BYTES = 48 * 1024
"""Larger metadata of items (bytes of JSON) is stored in the inventory only."""

MAX_CACHED_RECORD_BYTES = 8 * 1024
MAX_CACHED_RECORDS = 2048
"""Size of the cache of parsed records; longer records are not cached."""

RECORD_STATES = ("claimed", "committed", "failed", "released", "removing", "removed")
_ID = re.compile(r"[0-9a-f]{16}")
_ATTEMPT_ROOT = re.compile(re.escape(attempt_root("")) + _ID.pattern)


@dataclass(frozen=True, slots=True)
class Owner:
    """The thread, process and machine that an attempt belongs to."""

    host: str = ""
    boot: str = ""
    pidns: str = ""
    pid: int = 0
    start: str = ""
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The commit that stands: no later one, no removal and no discarding claim has ended it.

    Attributes
    ----------
    seq, after, attempt, root, digest, version, time
        Those of its record.
    """

    seq: int
    after: str
    attempt: str
    root: str = IN_PLACE
    digest: str | None = None
    version: str | None = None
    time: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One transition of a node's log.

    Attributes
    ----------
    seq, after : int, str
        Position in the log: number, and attempt of the record before (``"root"`` for the first record).
    state : str
        One of `RECORD_STATES`.
    attempt : str
        Id of the attempt that this transition belongs to.
    nonce : str
        Random id: no other writer creates the same bytes.
    root : str
        Data root: directory of the attempt's items, relative to the node; `IN_PLACE` or below ``_cvcache/attempts/``.
    root_seq : int
        Number of the claim that made the data root: the attempts from it on have one root, and one writer at a time.
    ttl : float
        Length of the lease: an owner whose heartbeat is unchanged for so many seconds counts as gone.
    shared : bool
        Whether other processes may still write for this attempt.
    standing : Standing or None
        The commit that stands while this record is the newest; None on a commit itself, which then stands.
    first : tuple of (int, str) or None
        Number and predecessor of the first commit whose data root was `IN_PLACE`, until the node is removed.
    discards : int or None
        Number of the claim that ended what stood, on it and on all that follow until the next commit.
    items : mapping or None
        Item name -> row (metadata of the item); None if the rows are only in the inventory.
    """

    seq: int
    after: str
    state: str
    attempt: str
    nonce: str
    root: str = IN_PLACE
    root_seq: int = 1
    time: str = ""
    owner: Owner = field(default_factory=Owner)
    ttl: float = 60.0
    key: Any = None
    digest: str | None = None
    version: str | None = None
    forced: bool = False
    shared: bool = False
    exclusive: bool = True
    reason: tuple[str, ...] = ()
    standing: Standing | None = None
    first: tuple[int, str] | None = None
    discards: int | None = None
    inputs: tuple[Mapping[str, str], ...] = ()
    items: Mapping[str, Mapping[str, Any]] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    duration: float | None = None
    error: Mapping[str, str] | None = None

    @property
    def filename(self) -> str:
        """Name of this record in the log; two successors of one record have the same name, so only one exists."""
        return record_name(self.seq, self.after)

    @property
    def result(self) -> Record | Standing | None:
        """The commit that stands while this record is the newest: itself, if it is one."""
        return self if self.state == "committed" else self.standing

    def standing_next(self) -> Standing | None:
        """Return what a claim after this record says of the commit that stands."""
        if self.state != "committed":
            return self.standing
        return Standing(*(getattr(self, f.name) for f in fields(Standing)))

    def next(self, state: str, nonce: str, time: str, **changes: Any) -> Record:
        """Return a successor of this record."""
        return replace(self, seq=self.seq + 1, after=self.attempt, state=state, nonce=nonce, time=time, **changes)


def dump_record(record: Record) -> bytes:
    """Return the bytes of `record`, without the item rows if they are over `MAX_INLINE_ITEMS_BYTES`."""
    row = {f.name: getattr(record, f.name) for f in fields(record)}
    row["owner"] = {f.name: getattr(record.owner, f.name) for f in fields(Owner)}
    if record.standing is not None:
        row["standing"] = {f.name: getattr(record.standing, f.name) for f in fields(Standing)}
    if row["items"] is not None and len(_encode(row["items"])) > MAX_INLINE_ITEMS_BYTES:
        row["items"] = None
    data = _encode(
        {"v": RECORD_SCHEMA, **{k: v for k, v in row.items() if not (v is None or v == () or (k == "meta" and not v))}}
    )
    if len(data) > MAX_RECORD_BYTES:
        size = f"a record of {len(data)} bytes is over the {MAX_RECORD_BYTES} a reader takes"
        msg = f"{size}; shorten the key or the metadata"
        raise BadRecord(msg)
    return _check_readable(data, lambda: load_record(data))


def _check_readable(data: bytes, read: Callable[[], object]) -> bytes:
    """Return `data` if `read` accepts it: a record that nobody can read would block the node for ever."""
    try:
        read()
    except BadRecord as error:
        msg = f"this record could not be read again ({error}); give plain JSON values as key and metadata"
        raise BadRecord(msg) from None
    return data


def _encode(value: Any) -> bytes:
    return json.dumps(
        value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_mapping_as_dict
    ).encode("utf-8", "replace")


def _mapping_as_dict(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    msg = f"{type(value).__name__} is not plain JSON"
    raise TypeError(msg)


def load_record(data: bytes, where: str = "record") -> Record:
    """Return the record in `data`; every field is checked.

    Raises
    ------
    BadRecord
        If the bytes are no record: too long, no JSON, a wrong type, a path that leaves the node.
    NewerRecord
        If the record has a later schema.
    """
    cached = _parse_cached(data) if len(data) <= MAX_CACHED_RECORD_BYTES else None
    if cached is None:
        return _parse_record(data, where)
    record, mutable = cached
    copy = object.__new__(Record)
    copy.__dict__.update(record.__dict__, **marshal.loads(mutable))  # noqa: S302 - dumped by `_parse_cached`
    return copy


@functools.lru_cache(MAX_CACHED_RECORDS)
def _parse_cached(data: bytes) -> tuple[Record, bytes] | None:
    """Return the record, and a dump of its mutable fields, which each caller gets as a copy; None for no record."""
    try:
        record = _parse_record(data, "record")
    except CvcacheError:
        return None
    return record, marshal.dumps({name: getattr(record, name) for name in _MUTABLE_FIELDS})


def _parse_record(data: bytes, where: str) -> Record:
    if len(data) > MAX_RECORD_BYTES:
        raise_bad_record(where, f"is over {MAX_RECORD_BYTES} bytes")
    row = parse_json(data, where)
    if not isinstance(row, dict):
        raise_bad_record(where, "is not a JSON object")
    version = row.get("v")
    if isinstance(version, int) and not isinstance(version, bool) and version > RECORD_SCHEMA:
        found = f"{where} has schema {shorten(version)}"
        msg = f"{found}, written by a later cvcache (this one reads {RECORD_SCHEMA}); upgrade it"
        raise NewerRecord(msg)
    if version == 1 and not isinstance(version, bool):
        found = f"{where} has schema 1, of before the first release; it is not usable, and nothing was changed"
        msg = f"{found}. Move the directory of the node away to use this place"
        raise BadRecord(msg)
    if version != RECORD_SCHEMA or isinstance(version, bool):
        raise_bad_record(where, f"has schema {shorten(version)}")
    values = {name: _check_field(name, row[name], where) for name in _FIELDS if name in row}
    missing = [name for name in ("seq", "after", "state", "attempt", "nonce") if name not in values]
    if missing:
        raise_bad_record(where, f"lacks {', '.join(missing)}")
    return Record(**values)


def _check_field(name: str, value: Any, where: str) -> Any:
    types, test = _FIELDS[name]
    if type(value) not in types or not test(value):
        raise_bad_record(where, f"has an impossible {name!r}")
    if name in _PARTS:
        return _PARTS[name](**{f.name: value[f.name] for f in fields(_PARTS[name]) if f.name in value})
    return tuple(value) if isinstance(value, list) and name != "key" else value


def _accept_any(_: Any) -> bool:
    return True


def _is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def _all_text(value: Any) -> bool:
    return all(isinstance(v, str) for v in (value.values() if isinstance(value, dict) else value))


def _is_owner(value: dict[str, Any]) -> bool:
    types = {f.name: int if f.name == "pid" else str for f in fields(Owner)}
    return all(type(value[k]) is kind for k, kind in types.items() if k in value)


def _is_standing(value: dict[str, Any]) -> bool:
    known = {f.name: value.get(f.name) for f in fields(Standing)}
    required = all(known[name] is not None for name in ("seq", "after", "attempt"))
    given = {name: part for name, part in known.items() if part is not None}
    return required and all(type(part) in _FIELDS[name][0] and _FIELDS[name][1](part) for name, part in given.items())


def _is_position(value: list[Any]) -> bool:
    return len(value) == 2 and all(  # noqa: PLR2004 - number and predecessor
        type(part) in _FIELDS[name][0] and _FIELDS[name][1](part)
        for name, part in zip(("seq", "after"), value, strict=True)
    )


def _is_root(value: str) -> bool:
    return value == IN_PLACE or _ATTEMPT_ROOT.fullmatch(value) is not None


def _are_item_rows(value: dict[str, Any]) -> bool:
    try:
        return all(check_item_name(name) == name and isinstance(row, dict) for name, row in value.items())
    except InvalidName:
        return False


_PARTS: dict[str, type[Owner | Standing]] = {"owner": Owner, "standing": Standing}
_MUTABLE_FIELDS = ("key", "inputs", "items", "meta", "error")
_MAX_SEQ = 999_999
_FIELDS: dict[str, tuple[tuple[type, ...], Any]] = {
    "seq": ((int,), lambda v: 0 < v <= _MAX_SEQ),
    "after": ((str,), lambda v: v == "root" or _is_id(v)),
    "state": ((str,), RECORD_STATES.__contains__),
    "attempt": ((str,), _is_id),
    "nonce": ((str,), _is_id),
    "root": ((str,), _is_root),
    "root_seq": ((int,), lambda v: 0 < v <= _MAX_SEQ),
    "time": ((str,), _accept_any),
    "owner": ((dict,), _is_owner),
    "ttl": ((int, float), lambda v: 0 < v < MAX_SECONDS),
    "key": ((dict, list, str, int, float, bool, type(None)), _accept_any),
    "digest": ((str,), _accept_any),
    "version": ((str,), _accept_any),
    "forced": ((bool,), _accept_any),
    "shared": ((bool,), _accept_any),
    "exclusive": ((bool,), _accept_any),
    "reason": ((list,), _all_text),
    "standing": ((dict,), _is_standing),
    "first": ((list,), _is_position),
    "discards": ((int,), lambda v: 0 < v <= _MAX_SEQ),
    "inputs": ((list,), lambda v: all(isinstance(i, dict) and _all_text(i) for i in v)),
    "items": ((dict,), _are_item_rows),
    "meta": ((dict,), _accept_any),
    "duration": ((int, float), lambda v: 0 <= v < MAX_SECONDS),
    "error": ((dict,), _all_text),
}


def dump_inventory(
    attempt: str, items: Mapping[str, Mapping[str, Any]], environment: Mapping[str, Any] | None = None
) -> bytes:
    """Return the bytes of an inventory: the row of each item of an attempt, and the environment of the process."""
    data = _encode({"v": RECORD_SCHEMA, "attempt": attempt, "items": items, "made": environment or {}})
    return _check_readable(data, lambda: load_inventory(data, attempt, "the inventory"))


def load_inventory(data: bytes, attempt: str, where: str) -> dict[str, Any]:
    """Return the item rows in the inventory of `attempt`; raise `BadRecord` for other bytes."""
    row = parse_json(data, where)
    rows = row.get("items") if isinstance(row, dict) and row.get("attempt") == attempt else None
    if not isinstance(rows, dict) or not _are_item_rows(rows):
        raise_bad_record(where, "does not list the items of its attempt")
    return rows


def load_environment(data: bytes, where: str) -> dict[str, Any]:
    """Return the environment recorded in an inventory; empty if there is none."""
    row = parse_json(data, where)
    environment = row.get("made") if isinstance(row, dict) else None
    return environment if isinstance(environment, dict) else {}
