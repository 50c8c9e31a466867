"""A store never remembers: what another client did a moment ago is what it answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from projects import Project

from cvcache import cdir, cdir_commit, cdir_init, cdir_query
from cvcache.store import GcsStore, S3Store, resolve_node

if TYPE_CHECKING:
    from pathlib import Path

    from servers.store_cases import BucketCase

    from cvcache.store import Store

ALTERNATIONS = 50


def _client(case: BucketCase) -> Store:
    return (S3Store if case.kind == "s3" else GcsStore)(case.options)


@pytest.fixture(params=["s3", "gcs"])
def bucket_case(request: pytest.FixtureRequest) -> BucketCase:
    case: BucketCase = request.getfixturevalue(f"{request.param}_case")
    return case


@pytest.mark.server
def test_no_stale_answer_in_50_alternations(bucket_case: BucketCase) -> None:
    """The file system the user's own code shares in this process is asked too, and its cache is stale for sure."""
    scheme, root, _ = resolve_node(bucket_case.url)
    users: Any = fsspec.filesystem(scheme, **bucket_case.options)
    ours, theirs = _client(bucket_case), _client(bucket_case)
    stale = misled = 0
    theirs.put(f"{root}/first", b"1")
    for turn in range(ALTERNATIONS):
        key = f"{root}/{turn}"
        users.ls(root)
        stale += ours.stat(key) is not None or str(turn) in ours.list(root).files
        theirs.put(key, b"%d" % turn)
        stale += ours.stat(key) is None or str(turn) not in ours.list(root).files or ours.get(key) != b"%d" % turn
        misled += not users.exists(key)
        theirs.put(key, b"much longer %d" % turn)
        stale += ours.open(key, "rb").read() != b"much longer %d" % turn
        theirs.delete([key])
        stale += ours.stat(key) is not None or str(turn) in ours.find(root)
    assert stale == 0
    assert misled > 0


@pytest.mark.server
def test_a_commit_is_seen_at_once_beside_a_warm_cache(bucket_case: BucketCase) -> None:
    scheme, root, _ = resolve_node(bucket_case.url)
    users: Any = fsspec.filesystem(scheme, **bucket_case.options)
    bucket_case.put("other", b"1")
    users.ls(root)
    handle = cdir(bucket_case.child("node"), **bucket_case.options)
    with cdir_init(handle) as node:
        node.write("a.json", 1)
    users.find(root)
    assert cdir_query(handle).read("a.json") == 1


@pytest.mark.server
def test_a_remembered_listing_hides_no_commit(s3_case: BucketCase, tmp_path: Path) -> None:
    mine = cdir(s3_case.url, **s3_case.options)
    fs = fsspec.filesystem("s3", **s3_case.options)
    cdir_commit(cdir_init(mine / "neighbour"))
    assert (mine / "n").state == "absent"
    assert len(fs.ls(s3_case.url, detail=False)) == 1
    project = Project(
        tmp_path / "project",
        script="""
        import cvcache, json, sys

        with cvcache.cdir_init(cvcache.cdir(sys.argv[1], **json.loads(sys.argv[2]))) as d:
            d.write("n.json", "theirs")
        """,
    )
    project.run("script", s3_case.child("n"), json.dumps(s3_case.options))
    found = cdir_init(mine / "n")
    assert (found.committed, found.read("n.json")) == (True, "theirs")
    assert [child.name for child in mine.children()] == ["n", "neighbour"]
