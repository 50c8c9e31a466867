"""A store that accepts every conditional write is found out, and used only by who insists."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from cvcache import NotExclusive, Policy, cdir, cdir_init, cdir_query
from cvcache.protocol import load_record
from cvcache.store import open_store
from store.strangers import log_key

if TYPE_CHECKING:
    from servers.object_stores import S3Server


@pytest.fixture
def place(rclone_server: S3Server) -> tuple[str, dict[str, Any]]:
    return f"s3://{rclone_server.new_bucket()}/root", rclone_server.storage_options


def test_it_is_found_out_and_nothing_stays(place: tuple[str, dict[str, Any]], rclone_server: S3Server) -> None:
    url, options = place
    bucket = url.split("/")[2]
    store = open_store("s3", f"{bucket}/root", options)
    assert store.exclusive(f"{bucket}/root") is False
    assert list(rclone_server.keys(bucket)) == []


def test_it_is_refused(place: tuple[str, dict[str, Any]], rclone_server: S3Server) -> None:
    url, options = place
    with pytest.raises(NotExclusive, match=r"ignores conditional writes.*Policy\(exclusive='none'\)") as caught:
        cdir_init(cdir(f"{url}/node", **options))
    assert f"{url}/node" in str(caught.value)
    assert list(rclone_server.keys(url.split("/")[2])) == []


def test_it_can_be_read_without_a_probe(place: tuple[str, dict[str, Any]]) -> None:
    url, options = place
    assert cdir_query(f"{url}/node", **options).state == "absent"


def test_insisting_works_warns_and_marks_the_records(
    place: tuple[str, dict[str, Any]], rclone_server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    url, options = place
    with (
        caplog.at_level(logging.WARNING, "cvcache"),
        cdir_init(cdir(f"{url}/node", policy=Policy(exclusive="none"), **options)) as node,
    ):
        node.write("a.json", {"a": 1})
    assert "elects no winner" in caplog.text
    assert f"{url}/node" in caplog.text
    bucket = url.split("/")[2]
    keys = sorted(key for key in rclone_server.keys(bucket) if "/log/" in key)
    assert keys[0] == f"root/{log_key(1, 'root', 'node')}"
    assert [load_record(rclone_server.get(bucket, key)).exclusive for key in keys] == [False, False]
    assert cdir_query(f"{url}/node", **options).read("a.json") == {"a": 1}


def test_the_probe_is_sent_once_a_bucket(rclone_server: S3Server) -> None:
    from servers.fault_proxy import FaultProxy, scripted

    from cvcache.store import S3Store

    bucket = rclone_server.new_bucket()
    with FaultProxy(rclone_server.port, scripted()) as proxy:
        store = S3Store(rclone_server.options_for(proxy.endpoint))
        assert not store.exclusive(f"{bucket}/a")
        asked = len(proxy.log)
        assert not store.exclusive(f"{bucket}/b")
        assert len(proxy.log) == asked
