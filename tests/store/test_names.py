"""What a URL, a node and an item may be called, and what a refusal says."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cvcache import InvalidName, cdir
from cvcache.store import (
    MAX_KEY_BYTES,
    MAX_SEGMENT_BYTES,
    check_item_name,
    check_node_name,
    child_names,
    is_item_dir,
    item_names,
    node_of,
    node_path,
    parse_url,
    redact_url,
    resolve_node,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings(
    # hypothesis takes what a client's thread, still alive from another test, draws meanwhile for the strategy's
    "ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning"
)

LONG = "x" * (MAX_SEGMENT_BYTES + 1)
WIDE = "\u00fc" * (MAX_SEGMENT_BYTES // 2 + 1)

# -- URLs -------------------------------------------------------------------------------------------


def settled(url: object) -> tuple[str, str]:
    """Give scheme and key as a handle has them, but for what is made of a local path where it is opened."""
    location = parse_url(url)
    return location.scheme, node_path(location)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("/data/run", ("file", "/data/run")),
        ("/data/run///", ("file", "/data/run")),
        ("run", ("file", "run")),
        ("./run", ("file", "run")),
        ("~/run", ("file", "~/run")),
        ("file:///data/run/", ("file", "/data/run")),
        ("local:///data/run", ("file", "/data/run")),
        ("s3://b/run/", ("s3", "b/run")),
        ("S3A://b/run", ("s3", "b/run")),
        ("gs://b/run", ("gs", "b/run")),
        ("gcs://b/a b/\u00fc+%23&", ("gs", "b/a b/\u00fc+%23&")),
        ("memory:///run", ("memory", "run")),
        ("memory://a/b", ("memory", "a/b")),
        ("s3://b/with@sign/x@y", ("s3", "b/with@sign/x@y")),
        ("s3://arn:aws:s3:us-east-1:1:accesspoint/n/run@2", ("s3", "arn:aws:s3:us-east-1:1:accesspoint/n/run@2")),
        ("/", ("file", "/")),
        ("/data/u\u0308", ("file", "/data/\u00fc")),
    ],
)
def test_urls_have_one_spelling(url: str, location: tuple[str, str]) -> None:
    assert settled(url) == location


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "names no directory of its own"),
        (".", "names no directory of its own"),
        ("./", "names no directory of its own"),
        ("..", "names no directory of its own"),
        ("~", "names no directory of its own"),
        ("file://", "names no directory of its own"),
        ("/a/../b", r"segment '\.\.'"),
        ("../b", r"segment '\.\.'"),
        ("s3://b/a/./c", r"segment '\.'"),
        ("s3://b/a//c", "segment ''"),
        ("/a//b", "segment ''"),
        ("C:\\data", "drive"),
        ("C:/data", "drive"),
        ("C:", "drive"),
        ("s3:/b/run", "one slash too few"),
        ("s3://b", "root of a store"),
        ("s3://", "root of a store"),
        ("memory://", "root of a store"),
        (".//run", r"segment '\.'"),
        (".//", "names no directory of its own"),
        ("https://host/run", "web server"),
        ("zip://a::s3://b/c", "chains file systems"),
        ("s3://b/a\\c/d", "path separator"),
        ("s3://b/a\nc/d", "control character"),
        ("/tmp/a\0b/c", "control character"),
        ("s3://b/\ud800/c", "half a character"),
        (f"s3://b/{LONG}/c", "200 bytes"),
        ("s3://b/" + "/".join(["y" * 150] * 6), f"over {MAX_KEY_BYTES}"),
        ("/data/x.zarr/run", "inside 'x.zarr'"),
        ("s3://b/x.dir/run", "inside 'x.dir'"),
        ("s3://b/_cvcache/run", "inside '_cvcache'"),
        ("s3://b/_CVCACHE/run", "inside '_CVCACHE'"),
        ("s3://b/run.zarr", "ends like a directory item"),
        ("s3://b/run*", r"holds '\*'"),
    ],
)
def test_a_refused_url_says_why(url: str, why: str) -> None:
    with pytest.raises(InvalidName, match=why) as caught:
        settled(url)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", [None, 3, b"/data/run", ["a"]])
def test_what_is_no_text_is_refused(url: object) -> None:
    with pytest.raises(InvalidName, match=f"not {type(url).__name__}"):
        settled(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:canary@b/run",
        "s3://AKIA:can/canary@b/run",
        "s3://canary@b/run",
        "s3:///AKIA:canary@b/run",
        "ftp://user:canary@host/run",
        "s3://b/run?X-Amz-Signature=canary",
        "gs://b/run?X-Goog-Credential=canary&x=1",
        "https://host/run?sv=1&sig=canary",
        "https://host/run?access_token=canary",
        "s3://b/run?AWSAccessKeyId=canary",
        "s3://b/run&token=canary",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    for act in (settled, cdir):
        with pytest.raises(InvalidName, match="secret") as caught:
            act(url)
        assert "canary" not in str(caught.value)
    assert "canary" not in redact_url(url) + repr(parse_url(url))


@pytest.mark.parametrize("url", ["/data/a@b?token=1", "s3://b/a:b@c/d", "memory://a@b", "run"])
def test_what_is_no_secret_is_shown(url: str) -> None:
    assert redact_url(url).endswith(url.rpartition("@")[2].partition("?")[0])


@pytest.mark.parametrize(
    ("url", "scheme", "path", "bucket"),
    [
        ("/data/raw.tif", "file", "/data/raw.tif", ""),
        ("LOCAL://x/", "file", "x/", "x"),
        ("https://host:8/a/b.zarr?x=1", "https", "host:8/a/b.zarr?x=1", "host:8"),
        ("gcs:///b/x.zarr/0", "gs", "b/x.zarr/0", "b"),
        ("s3a://", "s3", "", ""),
        ("az://c/../x//y", "az", "c/../x//y", "c"),
        ("zip://a::s3://b/c", "zip", "a::s3://b/c", "a::s3:"),
        ("", "file", "", ""),
        ("C:/x", "file", "C:/x", "C:"),
    ],
)
def test_any_url_parses_be_it_a_node_or_not(url: str, scheme: str, path: str, bucket: str) -> None:
    location = parse_url(url)
    assert (*location, location.bucket) == (scheme, path, url, bucket)


def test_a_path_object_is_its_path() -> None:
    assert resolve_node(PurePosixPath("/data/run"))[:2] == ("file", "/data/run")
    with pytest.raises(InvalidName, match="not bytes"):
        resolve_node(_BytesPath())


class _BytesPath:
    def __fspath__(self) -> bytes:
        return b"/data/run"


def test_a_path_that_knows_its_store_brings_its_options() -> None:
    class Universal:
        """Looks like a UPath."""

        protocol = "s3"
        storage_options = {"anon": True}  # noqa: RUF012 - as in universal_pathlib

        def __str__(self) -> str:
            return "s3://b/run"

    assert resolve_node(Universal()) == ("s3", "b/run", {"anon": True})


# -- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["a", "with space", "\u00fcml\u00e4ut", "50%", "a#1", "a+b&c", "2026-11-21", "a=1,b=2", ".hidden", "x" * 200],
)
def test_good_names_pass(name: str) -> None:
    assert check_node_name(name) == name
    assert check_item_name(f"{name[:190]}.json") == f"{name[:190]}.json"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is no name"),
        (".", "is no name"),
        ("..", "is no name"),
        ("a/b", "path separator"),
        ("a\\b", "path separator"),
        ("/abs", "path separator"),
        ("a\0", "control character"),
        ("a\x7f", "control character"),
        ("a\u0085b", "control character"),
        ("a\udc80", "half a character"),
        (" a", "space"),
        ("a ", "space"),
        ("a\u00a0", "space"),
        ("a.", "ends with a dot"),
        ("_cvcache", "reserved"),
        ("_CvCache", "reserved"),
        ("C:", "drive"),
        ("c:x", "drive"),
        ("CON", "device"),
        ("nul.txt", "device"),
        ("Lpt9.a.b", "device"),
        ("a?versionId=1", "version"),
        (LONG, "200 bytes"),
        (WIDE, "200 bytes"),
    ],
)
@pytest.mark.parametrize("check", [check_node_name, check_item_name])
def test_a_refused_name_says_why(name: str, why: str, check: Callable[[str], str]) -> None:
    with pytest.raises(InvalidName, match=why) as caught:
        check(name)
    assert repr(name[:80]) in str(caught.value)


@pytest.mark.parametrize("check", [check_node_name, check_item_name])
def test_a_name_that_is_no_text_is_refused(check: Callable[[object], str]) -> None:
    with pytest.raises(InvalidName, match="not int"):
        check(3)


@pytest.mark.parametrize("name", ["x.zarr", "x.ome.zarr", "x.dir"])
def test_only_an_item_may_end_like_a_directory_item(name: str) -> None:
    assert check_item_name(name) == name
    assert is_item_dir(name)
    with pytest.raises(InvalidName, match="ends like a directory item"):
        check_node_name(name)


@pytest.mark.parametrize("wild", "*?[]{}")
def test_wildcards_are_for_items_only(wild: str) -> None:
    assert check_item_name(f"a{wild}b.json") == f"a{wild}b.json"
    with pytest.raises(InvalidName, match="wildcard"):
        check_node_name(f"a{wild}b")


@given(st.text(max_size=60))
@example("u\u0308")
@example("\u212b.json")
@example("x" * 201)
def test_a_checked_name_is_settled_or_refused_with_a_sentence(name: str) -> None:
    """Checking twice changes nothing, and the result is one segment in normal form C."""
    for check in (check_node_name, check_item_name):
        try:
            settled = check(name)
        except InvalidName as refusal:
            assert len(str(refusal)) > 20  # noqa: PT017 - either way of the two is checked
            continue
        assert check(settled) == settled == unicodedata.normalize("NFC", name)
        assert "/" not in settled
        assert len(settled.encode()) <= MAX_SEGMENT_BYTES


@given(st.text(max_size=80))
@example("//")
@example("s3://")
@example("a::b")
@example("memory://\ud800")
def test_any_text_is_a_location_or_refused(url: str) -> None:
    try:
        scheme, path = settled(url)
    except InvalidName:
        return
    assert "//" not in path.removeprefix("/")
    assume(scheme in {"s3", "gs", "memory"} and "/" in path)
    assert settled(f"{scheme}://{path}") == (scheme, path)


# -- which entry is which -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "node"),
    [
        ("b/n/a.json", "b/n"),
        ("b/n/x.zarr/0/c/0/0", "b/n"),
        ("b/n/x.zarr", "b/n"),
        ("b/n/_cvcache/log/000001-root.json", "b/n"),
        ("b/n/_cvcache/attempts/aa/x.zarr/0", "b/n"),
        ("/data/n/x.dir/deep/er", "/data/n"),
    ],
)
def test_every_key_belongs_to_one_node(path: str, node: str) -> None:
    assert node_of(path) == node


def test_a_listing_falls_into_items_and_children() -> None:
    files, dirs = ["b.json", "a.png"], ["_cvcache", "child", "x.ome.zarr", "t.dir", "zz"]
    assert item_names(files, dirs) == ("a.png", "b.json", "t.dir", "x.ome.zarr")
    assert child_names(dirs) == ("child", "zz")
