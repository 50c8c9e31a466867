"""Records: what is written can be read, and nothing else can do harm."""

from __future__ import annotations

import dataclasses
import json
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store.strangers import ATTEMPT, ELSEWHERE, claim_record, log_key, put_record

import cvcache
from cvcache import BadRecord, NewerRecord, cdir, cdir_init, cdir_query, cdir_remove
from cvcache.node import Address, Commit, Snapshot, TreeContext
from cvcache.protocol import (
    MAX_INLINE_ITEMS_BYTES,
    MAX_JSON_DEPTH,
    MAX_RECORD_BYTES,
    RECORD_SCHEMA,
    RECORD_STATES,
    Owner,
    Record,
    Standing,
    dump_inventory,
    dump_record,
    load_inventory,
    load_record,
)
from cvcache.store import IN_PLACE, attempt_root, parse_record_name, record_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import StoreCase

pytestmark = pytest.mark.filterwarnings(
    # hypothesis takes what a client's thread, still alive from another test, draws meanwhile for the strategy's
    "ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"
)

SLOWEST = 0.05
"""Seconds of processor time that one input may take."""

ADDRESS = Address(TreeContext("memory"), "bucket/node")
FULL = claim_record(
    seq=2,
    after=ATTEMPT,
    state="committed",
    key={"step": "blur", "args": {"sigma": 4.0, "names": ["a", None, True], "path": "C:\\udata"}},
    digest="d" * 32,
    reason=("args.sigma: 3.0 -> 4.0",),
    standing=Standing(1, "root", "b" * 16, IN_PLACE, "digest", "version", "2026-01-01T00:00:00+00:00"),
    first=(2, "b" * 16),
    discards=1,
    inputs=({"url": "../raw", "item": "raw.ome.zarr", "version": "v"},),
    items={"a.json": {"kind": "json", "size": 3}, "x.ome.zarr": {"shape": [3, 4], "scale": [1.0, 0.5]}},
    meta={"who": "\u00fcs\U0001f600"},
    duration=1.5,
    error={"type": "ValueError", "message": "no", "traceback": "Traceback\n"},
)

# -- what is written can be read --------------------------------------------------------------------

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ids = st.text("0123456789abcdef", min_size=16, max_size=16)
words = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def records(draw: st.DrawFn) -> Record:
    attempt = draw(ids)
    return Record(
        seq=draw(st.integers(1, 999_999)),
        after=draw(ids | st.just("root")),
        state=draw(st.sampled_from(RECORD_STATES)),
        attempt=attempt,
        nonce=draw(ids),
        root=draw(st.sampled_from([IN_PLACE, attempt_root(attempt)])),
        time=draw(words),
        owner=Owner(draw(words), draw(words), draw(words), draw(st.integers()), draw(words), draw(words)),
        ttl=draw(st.floats(0.001, 1e8)),
        key=draw(plain),
        digest=draw(words | st.none()),
        version=draw(words | st.none()),
        forced=draw(st.booleans()),
        shared=draw(st.booleans()),
        exclusive=draw(st.booleans()),
        reason=tuple(draw(st.lists(words, max_size=2))),
        root_seq=draw(st.integers(1, 999_999)),
        standing=draw(st.none() | st.builds(Standing, st.integers(1, 9), ids, ids, version=st.none() | st.text())),
        first=draw(st.none() | st.tuples(st.integers(1, 999_999), ids)),
        inputs=tuple(draw(st.lists(st.dictionaries(words, words, max_size=2), max_size=2))),
        items=draw(
            st.none()
            | st.dictionaries(
                st.sampled_from(["a.json", "b.zarr", "\u00fc.log"]), st.dictionaries(words, plain, max_size=2)
            )
        ),
        meta=draw(st.dictionaries(words, plain, max_size=2)),
        duration=draw(st.none() | st.floats(0, 1e8)),
        error=draw(st.none() | st.dictionaries(words, words, max_size=2)),
    )


@given(records())
def test_a_record_comes_back(record: Record) -> None:
    assert load_record(dump_record(record)) == record
    Commit.of(Snapshot(ADDRESS, record))


def test_all_fields_come_back() -> None:
    assert load_record(dump_record(FULL)) == FULL
    assert all(
        getattr(FULL, f.name) != f.default for f in dataclasses.fields(Record) if f.name in {"key", "items", "duration"}
    )


def test_names_in_the_log() -> None:
    assert parse_record_name(record_name(12, "root")) == (12, "root")
    assert parse_record_name(record_name(2, ATTEMPT)) == (2, ATTEMPT)
    for name in ("000002-xyz.json", "2-root.json", "000002-root.json.tmp", "000002-ROOT.json", "notes.txt"):
        assert parse_record_name(name) is None


def test_too_many_items_stay_in_the_inventory() -> None:
    rows = {f"{number:05d}.json": {"size": number, "note": "x" * 40} for number in range(1000)}
    data = dump_record(dataclasses.replace(FULL, items=rows))
    assert len(data) < MAX_RECORD_BYTES - MAX_INLINE_ITEMS_BYTES
    assert load_record(data).items is None
    assert load_inventory(dump_inventory(ATTEMPT, rows), ATTEMPT, "inventory") == rows


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "x" * MAX_RECORD_BYTES},
        {"meta": {1: "a", "1": "b"}},
        {"meta": json.loads('{"deep": ' + "[" * 300 + "]" * 300 + "}")},
    ],
    ids=["long", "two keys that become one", "deep"],
)
def test_what_nobody_could_read_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(BadRecord):
        dump_record(dataclasses.replace(FULL, **changes))


def test_half_a_character_is_written_as_a_question_mark() -> None:
    """A failure may quote a file name that is no text; its record must not fail too."""
    assert load_record(dump_record(dataclasses.replace(FULL, error={"message": "no \udc80"}))).error == {
        "message": "no ?"
    }


# -- nothing else is believed -----------------------------------------------------------------------


def row(**changes: Any) -> bytes:
    return json.dumps({**json.loads(dump_record(FULL)), **changes}).encode()


def test_unknown_fields_are_ignored() -> None:
    assert load_record(row(colour="blue", owner={"host": "h", "mood": "good"})).owner == Owner(host="h")


@pytest.mark.parametrize("version", [RECORD_SCHEMA + 1, 10**30])
def test_a_newer_schema_says_upgrade(version: int) -> None:
    with pytest.raises(NewerRecord, match="upgrade"):
        load_record(row(v=version, state="unheard-of"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 0), ("v", True), ("v", "1"), ("v", None), ("v", "x" * 60000),
        ("seq", 0), ("seq", -1), ("seq", 1_000_000), ("seq", 1.0), ("seq", True), ("seq", "1"),
        ("after", "../../etc"), ("after", ""), ("after", "E" * 16),
        ("state", "open"), ("state", None), ("state", []),
        ("attempt", "../../../../home"), ("attempt", "e" * 17), ("attempt", "root"),
        ("nonce", ""),
        ("root", ".."), ("root", "/"), ("root", "../other"), ("root", ""),
        ("root", f"_cvcache/attempts/{ATTEMPT}/.."), ("root", "s3://other/bucket"), ("root", "x" * 60000),
        ("owner", []), ("owner", {"pid": "1"}), ("owner", {"pid": True}), ("owner", {"host": 1}),
        ("ttl", 0), ("ttl", -1), ("ttl", 1e10), ("ttl", "60"), ("ttl", True),
        ("forced", 1), ("exclusive", "no"),
        ("reason", "text"), ("reason", [1]), ("inputs", [[]]), ("inputs", [{"url": 1}]),
        ("standing", {"seq": 1}), ("standing", {"seq": 0, "after": "root", "attempt": "a" * 16}),
        ("standing", {"seq": 1, "after": "root", "attempt": "a" * 16, "root": ".."}), ("standing", []),
        ("first", [1]), ("first", [0, "root"]), ("first", "root"), ("root_seq", 0), ("discards", True),
        ("items", []), ("items", {"../x": {}}), ("items", {"a/b": {}}), ("items", {"/etc/passwd": {}}),
        ("items", {"_cvcache": {}}),
        ("items", {"u\u0308.json": {}}), ("items", {"a.json": []}), ("items", {"": {}}),
        ("meta", []), ("duration", -1), ("duration", 1e10), ("error", {"type": 1}),
    ],
)  # fmt: skip
def test_an_impossible_field_is_refused(field: str, value: Any) -> None:
    with pytest.raises(BadRecord) as caught:
        load_record(row(**{field: value}), "s3://b/n/log/1")
    assert str(caught.value).startswith("s3://b/n/log/1 ")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("field", ["seq", "after", "state", "attempt", "nonce", "v"])
def test_a_missing_field_is_refused(field: str) -> None:
    kept = json.loads(dump_record(FULL))
    del kept[field]
    with pytest.raises(BadRecord):
        load_record(json.dumps(kept).encode())


START = dump_record(claim_record())[:-1]
HOSTILE = {
    "nothing": b"",
    "half": dump_record(FULL)[: len(dump_record(FULL)) // 2],
    "nested": b"[" * 200_000,
    "nested within the limit": b"[" * (MAX_RECORD_BYTES - 1),
    "nested and closed": b"[" * 30_000 + b"]" * 30_000,
    "nested in a field": START + b',"key":' + b"[" * 900 + b"]" * 900 + b"}",
    "nested objects": START + b',"key":' + b'{"a":' * 600 + b"1" + b"}" * 600 + b"}",
    "too long": dump_record(claim_record()) + b" " * MAX_RECORD_BYTES,
    "a number without end": START + b',"duration":' + b"9" * 60_000 + b"}",
    "a number of 4,000 digits": START + b',"duration":' + b"9" * 4_000 + b"}",
    "a schema of 4,000 digits": b'{"v":' + b"9" * 4_000 + b"}",
    "a long exponent": START + b',"duration":1e999999999}',
    "infinite in a key": START + b',"key":[1e999]}',
    "NaN": START + b',"duration":NaN}',
    "Infinity": START + b',"duration":Infinity}',
    "a key twice": START + b',"seq":1}',
    "a key twice inside": START + b',"meta":{"a":1,"a":2}}',
    "a lone surrogate": START + b',"digest":"\\ud800"}',
    "a lone surrogate as a key": START + b',"meta":{"\\udc00":1}}',
    "UTF-16": dump_record(claim_record()).decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + dump_record(claim_record()),
    "invalid UTF-8": START + b',"digest":"\xff"}',
    "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "a list": b"[]",
    "null": b"null",
    "two records": dump_record(FULL) + dump_record(FULL),
    "NUL": b"\0" * 1000,
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bytes_are_a_bad_record_soon(data: bytes) -> None:
    for read in (load_record, lambda data: load_inventory(data, ATTEMPT, "inventory")):
        began = time.process_time()
        with pytest.raises(BadRecord) as caught:
            read(data)
        assert time.process_time() - began < SLOWEST
        assert len(str(caught.value)) < 400
        assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert load_record(START + b',"digest":"\\ud83d\\ude00"}').digest == "\U0001f600"


def test_a_deep_key_within_the_limit_can_be_written_on() -> None:
    deep: Any = 1
    for _ in range(MAX_JSON_DEPTH - 10):
        deep = [deep]
    record = load_record(dump_record(dataclasses.replace(FULL, key=deep)))
    assert load_record(dump_record(record.next("removing", "0" * 16, ""))).key == deep


def test_what_is_changed_in_a_record_is_not_in_the_next_one_read() -> None:
    data = dump_record(FULL)
    first = load_record(data)
    first.key["args"]["sigma"] = 5.0
    first.items["a.json"]["size"] = 4
    first.meta["who"] = "me"
    first.inputs[0]["version"] = "w"
    assert load_record(data) == FULL
    assert load_record(data) is not load_record(data)


def test_bytes_that_are_no_record_are_said_to_lie_where_they_do() -> None:
    for where in ("here", "there"):
        with pytest.raises(BadRecord, match=f"^{where} "):
            load_record(b"{}", where)


@pytest.mark.parametrize(
    "when", ["", "yesterday", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-21T00:00:00+00:00"]
)
def test_a_commit_has_a_time_whatever_the_record_says(when: str) -> None:
    assert Commit.of(Snapshot(ADDRESS, dataclasses.replace(FULL, time=when))).time.utcoffset() is not None


# -- fuzz -------------------------------------------------------------------------------------------

_PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\\u",
    b"\\ud800",
    b"null",
    b"true",
    b"1e999",
    b"-",
    b"0",
    b"../",
    b"\xff",
    b"\0",
    b"NaN",
    b'"v":2',
    b'"v":1,',
]


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(200))


def _soup(chance: random.Random) -> bytes:
    return b"".join(chance.choices(_PIECES, k=chance.randrange(60)))


def _mutated(chance: random.Random) -> bytes:
    data = bytearray(chance.choice(_SEEDS))
    for _ in range(chance.randrange(1, 6)):
        at, end = sorted(chance.choices(range(len(data) + 1), k=2))
        match chance.randrange(4):
            case 0:
                data[at:at] = chance.choice(_PIECES)
            case 1:
                del data[at : min(end, at + 20)]
            case 2 if at < len(data):
                data[at] = chance.randrange(256)
            case _:
                data[at:at] = data[at : min(end, at + 60)]
    return bytes(data)


def _swapped(chance: random.Random) -> bytes:
    """Give a real record with a value of another field, or of no field, in a random one."""
    fields = json.loads(chance.choice(_SEEDS))
    for _ in range(chance.randrange(1, 3)):
        fields[chance.choice(list(fields))] = chance.choice(
            [*fields.values(), None, -1, 10**400, 1e308, [], {}, "..", "\0", [[]], {"pid": 2**70}]
        )
    return json.dumps(fields).encode()


_SEEDS = [
    dump_record(FULL),
    dump_record(claim_record()),
    dump_record(dataclasses.replace(FULL, state="failed", root=attempt_root(ATTEMPT))),
]


def _fuzz(count: int, seed: int) -> None:
    chance = random.Random(seed)
    makers: list[Callable[[random.Random], bytes]] = [_noise, _soup, _mutated, _swapped]
    slowest = accepted = 0.0
    for number in range(count):
        data = makers[number % len(makers)](chance)
        began = time.process_time()
        try:
            record = load_record(data)
        except BadRecord:
            pass
        else:
            accepted += 1
            assert load_record(dump_record(record)) == record, data
            Commit.of(Snapshot(ADDRESS, record))
        slowest = max(slowest, time.process_time() - began)
    assert accepted > count / 1000
    assert slowest < SLOWEST


def test_50_000_fuzzed_inputs() -> None:
    """Only `BadRecord`, none slow; what is accepted can be written again."""
    _fuzz(50_000, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_million_fuzzed_inputs() -> None:
    _fuzz(1_000_000, seed=2)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_record_or_bad(data: bytes) -> None:
    with pytest.raises(BadRecord):
        load_record(data)
    with pytest.raises(BadRecord):
        load_inventory(data, ATTEMPT, "inventory")


# -- a node whose record cannot be read ---------------------------------------------------------------

UNREADABLE = {
    "empty": (b"", BadRecord, "is not a record"),
    "torn": (dump_record(claim_record())[:100], BadRecord, "is not a record"),
    "of schema 1": (dump_record(claim_record()).replace(b'"v":2', b'"v":1'), BadRecord, "directory of the node"),
    "newer": (dump_record(claim_record()).replace(b'"v":2', b'"v":99'), NewerRecord, "upgrade"),
    "long": (dump_record(claim_record())[:-1] + b" " * MAX_RECORD_BYTES + b"}", BadRecord, "over 65536 bytes"),
    "renamed": (dump_record(claim_record(seq=2, after=ATTEMPT)), BadRecord, "renamed"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_unreadable_record_closes_the_node(store_case: StoreCase, kind: str) -> None:
    """Not committed, not writable, not deletable; the error says where it lies, and nothing is touched."""
    data, error, why = UNREADABLE[kind]
    store_case.put(f"node/{log_key(1, 'root')}", data)
    store_case.put("node/a.json", b"1")
    store_case.put("node/_cvcache/writing/" + ATTEMPT + "/a.json.json", b"{}")
    before = store_case.snapshot()
    node = cdir(store_case.child("node"), **store_case.options)
    for act in (
        lambda: cdir_query(node),
        lambda: cvcache.cdir_query(node).committed,
        lambda: cdir_init(node),
        lambda: cdir_init(node, force=True),
        lambda: cdir_init(node, {"a": 1}),
        lambda: cdir_remove(node),
        lambda: cdir_remove(node, force=True, recursive=True),
    ):
        with pytest.raises(error, match=why) as caught:
            act()
        assert f"{node.url}/_cvcache/log/000001-root.json" in str(caught.value)
    assert store_case.snapshot() == before


@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_record_cut_short_is_never_taken_for_a_commit(store_case: StoreCase, left: float) -> None:
    root = cdir(store_case.url, **store_case.options)
    with cdir_init(root / "n") as node:
        node.write("n.json", 1)
    record = max(name for name in store_case.snapshot() if name.startswith("n/_cvcache/log/"))
    data = store_case.read(record)
    store_case.put(record, data[: int(len(data) * left)])
    with pytest.raises(BadRecord, match=Path(record).name):
        cdir_query(root / "n")
    store_case.put(record, data)
    assert cdir_query(root / "n").read("n.json") == 1


def test_a_log_that_nobody_began_is_foreign(store_case: StoreCase) -> None:
    """Its first record is gone: what lies there cannot be told from another program's."""
    from cvcache import NotACacheDir

    put_record(store_case, claim_record(seq=2, after=ATTEMPT, state="committed"), "node")
    before = store_case.snapshot()
    node = cdir(store_case.child("node"), **store_case.options)
    assert cdir_query(node).state == "absent"
    for act in (cdir_init, cdir_remove):
        with pytest.raises(NotACacheDir):
            act(node)
    assert store_case.snapshot() == before


def test_the_owner_elsewhere_is_elsewhere() -> None:
    """What the strangers of these tests rely on."""
    from cvcache.protocol import owner_is_dead

    assert not owner_is_dead(ELSEWHERE)
