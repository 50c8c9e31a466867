"""Verifying names what is damaged, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import pytest

from cvcache import CacheDir, ItemDamaged, cdir, cdir_commit, cdir_init, cdir_query, cdir_verify, step
from cvcache.node import address_of

if TYPE_CHECKING:
    from servers.store_cases import StoreCase

PIXELS = np.random.default_rng(1).integers(0, 900, (20, 200, 300)).astype("uint16")


@pytest.fixture
def node(store_case: StoreCase) -> CacheDir:
    node = cdir_init(cdir(store_case.child("tree"), **store_case.options) / "made")
    node.write("image.ome.zarr", da.from_array(PIXELS, chunks=(20, 200, 300)), chunks=(20, 100, 100))
    node.write("sharded.ome.zarr", PIXELS, chunks=(10, 50, 50), shards=(20, 100, 100), levels=2)
    node.write("old.ome.zarr", PIXELS, version="0.4", levels=1)
    node.write("plain.zarr", PIXELS[0], chunks=(64, 64))
    node.write("stats.json", {"cells": 3})
    with node.open("own.bin", "wb") as file:
        file.write(b"12345")
    cdir_commit(node)
    return node


def spoil(node: CacheDir, part: str, change: bytes | None) -> None:
    path = f"{address_of(node).path}/{part}"
    data = bytearray(address_of(node).store.get(path))
    if change is None:
        address_of(node).store.delete([path])
        return
    data[len(data) // 2 : len(data) // 2 + len(change)] = change
    address_of(node).store.put(path, bytes(data))


def test_what_is_whole_has_no_damage(node: CacheDir, store_case: StoreCase) -> None:
    assert cdir_verify(node) == []
    assert cdir_verify(store_case.child("tree"), **store_case.options) == []
    assert cdir_verify(store_case.child("nothing"), **store_case.options) == []


@pytest.mark.parametrize(
    ("part", "change", "fault"),
    [
        ("image.ome.zarr/0/c/0/1/2", None, "missing"),
        ("image.ome.zarr/0/c/0/1/2", b"\x00\xff\x00", "corrupt"),
        ("image.ome.zarr/zarr.json", None, "missing"),
        ("image.ome.zarr/0/zarr.json", None, "missing"),
        ("sharded.ome.zarr/1/c/0/0/0", b"\x00\xff\x00", "corrupt"),
        ("sharded.ome.zarr/0/c/0/0/0", None, "missing"),
        ("old.ome.zarr/0/0/0/0", None, "missing"),
        ("old.ome.zarr/.zattrs", None, "missing"),
        ("plain.zarr/c/1/1", b"\x00\xff\x00", "corrupt"),
        ("stats.json", b"x", "corrupt"),
        ("own.bin", None, "missing"),
    ],
)
def test_each_damage_is_named(node: CacheDir, part: str, change: bytes | None, fault: str) -> None:
    spoil(node, part, change)
    (found,) = cdir_verify(node, recursive=False)
    assert (f"{found.item}/{found.part}".rstrip("/"), found.fault.partition(" ")[0]) == (part, fault)
    assert str(found).startswith(f"{node.url}/{part} is {fault}")


def test_an_object_cut_short_is_named(node: CacheDir) -> None:
    for part in ("image.ome.zarr/0/c/0/0/0", "sharded.ome.zarr/0/c/0/0/0", "old.ome.zarr/0/0/0/0", "own.bin"):
        data = address_of(node).store.get(f"{address_of(node).path}/{part}")
        address_of(node).store.put(f"{address_of(node).path}/{part}", data[:-3])
    assert [f"{found.item}/{found.part}".rstrip("/") for found in cdir_verify(node)] == [
        "image.ome.zarr/0/c/0/0/0",
        "old.ome.zarr/0/0/0/0",
        "own.bin",
        "sharded.ome.zarr/0/c/0/0/0",
    ]


def test_the_command_names_it_and_fails(tmp_path: object) -> None:
    from command_line import own_process as run

    with cdir_init(f"{tmp_path}/tree/a") as made:
        made.write("plain.zarr", PIXELS[0], chunks=(64, 64))
    done = run("verify", f"{tmp_path}/tree")
    assert (done.code, done.out.strip()) == (0, "all that was committed is there")
    spoil(made, "plain.zarr/c/0/1", None)
    done = run("verify", f"{tmp_path}/tree")
    assert done.code == 1
    assert f"{made.url}/plain.zarr/c/0/1 is missing" in done.out
    told = run("verify", f"{tmp_path}/tree", "--json").json
    assert told["damaged"] == [{"url": made.url, "item": "plain.zarr", "part": "c/0/1", "fault": "missing"}]
    assert run("verify", f"{tmp_path}/nowhere").code == 3


@step
def add(out: CacheDir, a: float, *, b: float = 1) -> None:
    out.write("sum.json", a + b)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: b"7" + data[1:], None], ids=["cut", "flipped", "gone"]
)
def test_damage_is_found_by_readers_and_is_computed_again(store_case: StoreCase, damage: Any) -> None:
    root = cdir(store_case.url, **store_case.options)
    add(root / "sum", 10)
    if damage is None:
        store_case.delete("sum/sum.json")
    else:
        store_case.put("sum/sum.json", damage(store_case.read("sum/sum.json")))
    with pytest.raises(ItemDamaged, match="force=True"):
        cdir_query(root / "sum").read("sum.json")
    assert [found.item for found in cdir_verify(root)] == ["sum.json"]
    assert add.options(force=True)(root / "sum", 10).read("sum.json") == 11
    assert cdir_verify(root) == []
