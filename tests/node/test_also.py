"""Looking in several places: a result that lies elsewhere is read, and what lies there is never written."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

import cvcache
from cvcache import CacheDir, Item
from cvcache.node import address_of, snapshot_of

if TYPE_CHECKING:
    from servers.store_cases import BucketCase, LocalCase, MemoryCase, StoreCase

runs: list[str] = []


@pytest.fixture(autouse=True)
def _forget_runs() -> None:
    runs.clear()


@cvcache.step(version=1)
def make(out: CacheDir, value: int) -> None:
    runs.append(out.name)
    out.write("value.json", value, meta={"unit": "um"})
    out.write("image.ome.zarr", np.full((40, 40), value, "u2"), chunks=(16, 16))
    out.meta["made"] = "by hand"
    with out.open("own.bin", "wb") as file:
        file.write(b"x" * value)


@cvcache.step(version=1)
def double(out: CacheDir, item: Item) -> None:
    runs.append(out.name)
    out.write("double.json", 2 * item.read())


@pytest.fixture
def shared(store_case: StoreCase) -> CacheDir:
    """Give a tree, on each kind of store, in which a colleague has computed."""
    root = cvcache.cdir(store_case.url, **store_case.options)
    double(root / "double", make(root / "make", 3)["value.json"])
    runs.clear()
    return root


def test_what_lies_elsewhere_is_not_computed(shared: CacheDir, local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.child("mine"), also=[shared])
    made = make(root / "make", 3)
    assert double(root / "double", made["value.json"]).read("double.json") == 6
    assert runs == []
    assert made.read("value.json") == 3
    assert np.asarray(made.read("image.ome.zarr")).max() == 3
    with made.open("own.bin") as file:
        assert file.read() == b"xxx"
    assert snapshot_of(made).result_url == (shared / "make").url
    assert made["image.ome.zarr"].url.startswith((shared / "make").url)
    assert list(cvcache.cdir_walk(cvcache.cdir(local_case.child("mine")))) == []


def test_what_does_not_fit_is_computed_here(shared: CacheDir, local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.child("mine"), also=[shared])
    before = cvcache.cdir_query(shared / "make").commit
    made = make(root / "make", 4)
    assert (runs, made.read("value.json"), snapshot_of(made).result_url) == (["make"], 4, (root / "make").url)
    assert cvcache.cdir_query(shared / "make").commit == before
    assert double(root / "double", made["value.json"]).read("double.json") == 8


def test_a_query_looks_there_too(shared: CacheDir, local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.child("mine"), also=[shared])
    assert cvcache.cdir_query(root / "make").read("value.json") == 3
    assert (root / "make" / "deeper").state == "absent"
    assert (root / "double").state == "committed"


def test_a_copy_stays_here(shared: CacheDir, local_case: LocalCase) -> None:
    root = cvcache.cdir(local_case.child("mine"), also=[shared], copy_on_read=True)
    made = make(root / "make", 3)
    double(root / "double", made["value.json"])
    assert runs == []
    alone = cvcache.cdir(local_case.child("mine"))
    copy = make(alone / "make", 3)
    assert (runs, copy.read("value.json")) == ([], 3)
    assert copy.reason == (f"copied from {(shared / 'make').url}",)
    assert (copy.meta, copy["value.json"].meta["user"]) == ({"made": "by hand"}, {"unit": "um"})
    np.testing.assert_array_equal(np.asarray(copy.read("image.ome.zarr")), np.full((40, 40), 3))
    with copy.open("own.bin") as file:
        assert file.read() == b"xxx"
    assert copy["image.ome.zarr"].thumbnail() == (shared / "make")["image.ome.zarr"].thumbnail()
    assert copy.version == (shared / "make").version
    assert cvcache.cdir_verify(alone) == []
    assert double(alone / "double", copy["value.json"]).computed is False


def test_a_forced_version_is_copied_as_it_is(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(memory_case.url)
    forced = make.options(force=True)(theirs / "make", 3)
    mine = cvcache.cdir(local_case.child("mine"), also=[theirs], copy_on_read=True)
    assert make(mine / "make", 3).version == forced.version


def test_the_first_place_that_has_it_counts(memory_case: MemoryCase, local_case: LocalCase) -> None:
    one, two = cvcache.cdir(memory_case.child("one")), cvcache.cdir(memory_case.child("two"))
    make(two / "make", 1)
    root = cvcache.cdir(local_case.child("mine"), also=[one, two])
    assert snapshot_of(make(root / "make", 1)).result_url == (two / "make").url
    make(one / "make", 1)
    assert snapshot_of(make(root / "make", 1)).result_url == (one / "make").url


def test_force_computes_here(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(memory_case.url)
    make(theirs / "make", 1)
    root = cvcache.cdir(local_case.child("mine"), also=[theirs])
    assert snapshot_of(make.options(force=True)(root / "make", 1)).result_url == (root / "make").url


def test_a_damaged_original_is_not_copied(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(memory_case.url)
    node = make(theirs / "make", 1)
    address_of(theirs).store.put(f"{address_of(node).path}/value.json", b"7\n")
    root = cvcache.cdir(local_case.child("mine"), also=[theirs], copy_on_read=True)
    with pytest.raises(cvcache.ItemDamaged):
        make(root / "make", 1)
    assert cvcache.cdir_query(cvcache.cdir(local_case.child("mine")) / "make").state == "absent"


def test_what_was_found_travels_to_other_processes(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(memory_case.url)
    make(theirs / "make", 1)
    found = make(cvcache.cdir(local_case.child("mine"), also=[theirs]) / "make", 1)
    assert pickle.loads(pickle.dumps(found)).read("value.json") == 1  # noqa: S301 - our own bytes


def test_a_sweep_finds_its_versions_there(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(memory_case.url)
    mine = cvcache.cdir(local_case.child("mine"), also=[theirs])
    for root, factors in ((theirs, (0.5, 0.25)), (mine, (0.5, 0.125, 0.5))):
        for factor in factors:
            node = cvcache.cdir_init(root / "zoom", {"factor": factor}, on_stale="new")
            if not node.committed:
                runs.append(f"{factor}")
                cvcache.cdir_commit(node)
    assert runs == ["0.5", "0.25", "0.125"]


def test_a_plan_counts_what_lies_elsewhere(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(memory_case.url)
    make(theirs / "make", 1)
    with cvcache.plan() as p:
        make(cvcache.cdir(local_case.child("mine"), also=[theirs]) / "make", 1)
    assert [(row.action, row.url) for row in p.rows] == [("read", (theirs / "make").url)]


def test_memory_over_disk_over_bucket(s3_case: BucketCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(s3_case.url, **s3_case.options)
    make(theirs / "make", 1)
    root = cvcache.cdir(local_case.child("mine"), ram="1MB", also=[theirs], copy_on_read=True)
    assert make(root / "make", 1).read("value.json") == 1
    assert snapshot_of(make(root / "make", 1)).result_url == (root / "make").url


def test_one_place_is_given_as_a_list() -> None:
    with pytest.raises(cvcache.UsageError, match="takes a list"):
        cvcache.cdir("memory://x/y", also="memory://x/z")


def test_what_is_found_elsewhere_is_what_later_reads_give(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs, mine = cvcache.cdir(memory_case.url), cvcache.cdir(local_case.child("mine"), also=[memory_case.url])
    make(theirs / "make", 1)
    make(cvcache.cdir(local_case.child("mine")) / "make", 2)
    found = make(mine / "make", 1)
    assert (
        found.read("value.json")
        == (mine / "make").read("value.json")
        == cvcache.cdir_query(mine / "make").read("value.json")
        == 1
    )


def test_places_behind_places(memory_case: MemoryCase, local_case: LocalCase) -> None:
    far = cvcache.cdir(memory_case.url)
    make(far / "make", 1)
    near = cvcache.cdir(local_case.child("near"), also=[far])
    found = make(cvcache.cdir(local_case.child("mine"), also=[near]) / "make", 1)
    assert (found.read("value.json"), snapshot_of(found).result_url) == (1, (far / "make").url)


def test_copies_of_a_sweep(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(memory_case.url)
    mine = cvcache.cdir(local_case.child("mine"), also=[theirs], copy_on_read=True)
    for root, factors in ((theirs, (0.5, 0.25)), (mine, (0.5, 0.25, 0.5))):
        for factor in factors:
            node = cvcache.cdir_init(root / "zoom", {"factor": factor}, on_stale="new")
            if not node.committed:
                runs.append(f"{factor}")
                cvcache.cdir_commit(node)
    assert runs == ["0.5", "0.25"]


def test_what_is_made_of_an_item_elsewhere_is_not_stale(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(memory_case.url)
    make(theirs / "make", 1)
    mine = cvcache.cdir(local_case.child("mine"), also=[theirs])
    double(mine / "double", make(mine / "make", 1)["value.json"])
    assert (cvcache.cdir(local_case.child("mine")) / "double").state == "committed"
    assert cvcache.cdir_verify(mine / "make", recursive=False) == []


def test_a_handle_takes_the_options_too(memory_case: MemoryCase, local_case: LocalCase) -> None:
    theirs = cvcache.cdir(memory_case.url)
    make(theirs / "make", 1)
    handle = cvcache.cdir(cvcache.cdir(local_case.child("mine"), also=[theirs]), copy_on_read=True)
    make(handle / "make", 1)
    assert cvcache.cdir_query(cvcache.cdir(local_case.child("mine")) / "make").committed
    with pytest.raises(cvcache.UsageError, match="number of bytes"):
        cvcache.cdir(handle, ram=0)


def test_a_place_that_cannot_be_reached_is_left_out(local_case: LocalCase, caplog: pytest.LogCaptureFixture) -> None:
    gone = cvcache.cdir("s3://nobody/there", endpoint_url="http://127.0.0.1:9", policy=cvcache.Policy(retries=0))
    root = cvcache.cdir(local_case.child("mine"), also=[gone])
    assert make(root / "make", 1).read("value.json") == 1
    assert "going on without it" in caplog.text
