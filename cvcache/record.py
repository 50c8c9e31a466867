"""The records on disk: what the log of a node says, one JSON object for each transition.

A record is written once and never changed. It carries forward what the next decision needs, so the
newest one alone tells the state of a node. The format is normative in docs/reference/spec.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NoReturn

from cvcache.errors import BadRecord, InvalidName, NewerRecord
from cvcache.names import RESERVED, check_item_name

SCHEMA = 1
MAX_BYTES = 64 * 1024
MAX_ITEM_BYTES = 48 * 1024
"""Item rows beyond this many bytes of JSON stay in the inventory only."""

MAX_DEPTH = 256
"""Levels of nesting; a key of the deepest canonical value has fewer."""

STATES = ("claimed", "committed", "failed", "released", "removing", "removed")
PLAIN = "."
"""The data root of an attempt that writes at the plain paths of its node."""

_SHOWN = 80  # characters of a value that an error quotes
_ID = re.compile(r"[0-9a-f]{16}")
_NAME = re.compile(r"([0-9]{6})-(root|[0-9a-f]{16})\.json")


@dataclass(frozen=True, slots=True)
class Owner:
    """Which thread of which process on which machine holds an attempt."""

    host: str = ""
    boot: str = ""
    pidns: str = ""
    pid: int = 0
    start: str = ""
    thread: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One transition of a node's log.

    Attributes
    ----------
    seq, after : int, str
        Place in the chain: its number and the attempt of the record before it (``"root"`` for the first).
    state : str
        One of `STATES`.
    attempt : str
        Whose transition this is.
    nonce : str
        Makes these bytes the writer's alone.
    root : str
        Where the attempt's items lie, relative to the node: `PLAIN` or below ``_cvcache/attempts/``.
    ttl : float
        Seconds after which an unchanged heartbeat means that the owner is gone.
    shared : bool
        Whether other processes may still write for this attempt.
    unproven : tuple of str
        Attempts that wrote at the plain root and were never proved dead.
    items : mapping or None
        Item name -> row, or None where the rows are in the inventory.
    """

    seq: int
    after: str
    state: str
    attempt: str
    nonce: str
    root: str = PLAIN
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
    unproven: tuple[str, ...] = ()
    inputs: tuple[Mapping[str, str], ...] = ()
    items: Mapping[str, Mapping[str, Any]] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    duration: float | None = None
    error: Mapping[str, str] | None = None

    @property
    def filename(self) -> str:
        """Name of this record in the log; who writes it competes with every other successor of the same record."""
        return log_name(self.seq, self.after)

    def next(self, state: str, nonce: str, time: str, **changes: Any) -> Record:
        """Return the record that would follow this one."""
        return replace(self, seq=self.seq + 1, after=self.attempt, state=state, nonce=nonce, time=time, **changes)


def log_name(seq: int, after: str) -> str:
    """Return the name of the record with number `seq` that follows the attempt `after`."""
    return f"{seq:06d}-{after}.json"


def parse_log_name(name: str) -> tuple[int, str] | None:
    """Return (seq, after) of a name in the log; None for anything else."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def attempt_root(attempt: str) -> str:
    """Return the data root of an attempt that cannot have the plain one."""
    return f"{RESERVED}/attempts/{attempt}"


def dumps(record: Record) -> bytes:
    """Return the bytes of `record`; the item rows are left out where they are too many."""
    row = {f.name: getattr(record, f.name) for f in fields(record)}
    row["owner"] = {f.name: getattr(record.owner, f.name) for f in fields(Owner)}
    if row["items"] is not None and len(_encode(row["items"])) > MAX_ITEM_BYTES:
        row["items"] = None
    data = _encode(
        {"v": SCHEMA, **{k: v for k, v in row.items() if not (v is None or v == () or (k == "meta" and not v))}}
    )
    if len(data) > MAX_BYTES:
        msg = f"a record of {len(data)} bytes is over the {MAX_BYTES} a reader takes; shorten the key or the metadata"
        raise BadRecord(msg)
    return _readable(data, lambda: loads(data))


def _readable(data: bytes, read: Callable[[], object]) -> bytes:
    """Return `data`, or refuse to write what nobody could read: it would close the node for ever."""
    try:
        read()
    except BadRecord as error:
        msg = f"this record could not be read again ({error}); give plain JSON values as key and metadata"
        raise BadRecord(msg) from None
    return data


def _encode(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain).encode(
        "utf-8", "replace"
    )


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    msg = f"{type(value).__name__} is not plain JSON"
    raise TypeError(msg)


def loads(data: bytes, where: str = "record") -> Record:
    """Read one record; everything in it is checked before it is believed.

    Raises
    ------
    BadRecord
        For bytes that are not a record: too long, not JSON, a wrong type, a path that leaves the node.
    NewerRecord
        For a record of a later schema.
    """
    row = parse_json(data, where)
    if not isinstance(row, dict):
        _bad(where, "is not a JSON object")
    version = row.get("v")
    if isinstance(version, int) and not isinstance(version, bool) and version > SCHEMA:
        msg = f"{where} has schema {_short(version)}, written by a later cvcache (this one reads {SCHEMA}); upgrade it"
        raise NewerRecord(msg)
    if version != SCHEMA or isinstance(version, bool):
        _bad(where, f"has schema {_short(version)}")
    values = {name: _check(name, row[name], where) for name in _FIELDS if name in row}
    missing = [name for name in ("seq", "after", "state", "attempt", "nonce") if name not in values]
    if missing:
        _bad(where, f"lacks {', '.join(missing)}")
    record = Record(**values)
    if record.root not in {PLAIN, attempt_root(record.attempt)}:
        _bad(where, f"puts its data at {_short(record.root)}")
    return record


def parse_json(data: bytes, where: str) -> Any:
    """Read strict JSON of at most 64 KiB: no duplicate keys, no NaN, no lone surrogate, no endless nesting."""
    if len(data) > MAX_BYTES:
        _bad(where, f"is over {MAX_BYTES} bytes")
    return _parse(data, where)


def _parse(data: bytes, where: str) -> Any:
    try:
        value = json.loads(
            data.decode("utf-8"), parse_constant=_constant, parse_float=_float, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:
        msg = f"{where} is not a record of cvcache ({type(error).__name__}: {error}); move it away to use this place"
        raise BadRecord(msg) from None
    _check_levels(value, where)
    return value


def _check_levels(value: Any, where: str) -> None:
    """Refuse endless nesting and half characters, without recursion."""
    depth, level = 0, [value]
    while level:
        for text in level:
            if isinstance(text, str) and not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
                _bad(where, "holds half a character, a surrogate")
        level = [v for v in level if isinstance(v, (dict, list))]
        level = [inner for v in level for inner in ((*v, *v.values()) if isinstance(v, dict) else v)]
        depth += 1
        if depth > MAX_DEPTH:
            _bad(where, f"is nested more than {MAX_DEPTH} levels deep")


def _float(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        return _constant(text)
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        msg = "a key stands twice"
        raise ValueError(msg)
    return row


def _bad(where: str, what: str) -> NoReturn:
    msg = f"{where} {what}; it is not usable, and nothing was changed. Move it away to use this place"
    raise BadRecord(msg)


def _check(name: str, value: Any, where: str) -> Any:
    kinds, test = _FIELDS[name]
    if type(value) not in kinds or not test(value):
        _bad(where, f"has an impossible {name!r}")
    if name == "owner":
        return Owner(**{f.name: value[f.name] for f in fields(Owner) if f.name in value})
    return tuple(value) if isinstance(value, list) and name != "key" else value


def _any(_: Any) -> bool:
    return True


def _is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def _all_text(value: Any) -> bool:
    return all(isinstance(v, str) for v in (value.values() if isinstance(value, dict) else value))


def _is_owner(value: dict[str, Any]) -> bool:
    kinds = {f.name: int if f.name == "pid" else str for f in fields(Owner)}
    return all(type(value[k]) is kind for k, kind in kinds.items() if k in value)


def _is_rows(value: dict[str, Any]) -> bool:
    try:
        return all(check_item_name(name) == name and isinstance(row, dict) for name, row in value.items())
    except InvalidName:
        return False


_MOST_RECORDS = 999_999
_MANY_SECONDS = 1e9
_FIELDS: dict[str, tuple[tuple[type, ...], Any]] = {
    "seq": ((int,), lambda v: 0 < v <= _MOST_RECORDS),
    "after": ((str,), lambda v: v == "root" or _is_id(v)),
    "state": ((str,), STATES.__contains__),
    "attempt": ((str,), _is_id),
    "nonce": ((str,), _is_id),
    "root": ((str,), _any),
    "time": ((str,), _any),
    "owner": ((dict,), _is_owner),
    "ttl": ((int, float), lambda v: 0 < v < _MANY_SECONDS),
    "key": ((dict, list, str, int, float, bool, type(None)), _any),
    "digest": ((str,), _any),
    "version": ((str,), _any),
    "forced": ((bool,), _any),
    "shared": ((bool,), _any),
    "exclusive": ((bool,), _any),
    "reason": ((list,), _all_text),
    "unproven": ((list,), lambda v: _all_text(v) and all(map(_is_id, v))),
    "inputs": ((list,), lambda v: all(isinstance(i, dict) and _all_text(i) for i in v)),
    "items": ((dict,), _is_rows),
    "meta": ((dict,), _any),
    "duration": ((int, float), lambda v: 0 <= v < _MANY_SECONDS),
    "error": ((dict,), _all_text),
}


def dump_inventory(attempt: str, items: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the bytes of an inventory: one row per item of an attempt."""
    data = _encode({"v": SCHEMA, "attempt": attempt, "items": items})
    return _readable(data, lambda: load_inventory(data, attempt, "the inventory"))


def load_inventory(data: bytes, attempt: str, where: str) -> dict[str, Any]:
    """Read an inventory written for `attempt`; raise `BadRecord` for any other bytes."""
    row = _parse(data, where)
    rows = row.get("items") if isinstance(row, dict) and row.get("attempt") == attempt else None
    if not isinstance(rows, dict) or not _is_rows(rows):
        _bad(where, "does not list the items of its attempt")
    return rows
