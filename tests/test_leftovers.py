"""How many bytes a node holds after many attempts: those of one result, and a little for each record."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest

from cvcache import CacheDir, cdir, cdir_init, cdir_query
from cvcache.node import address_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from servers.store_cases import StoreCase

TRIES = {"local": 100, "memory": 100, "s3": 20}
BYTES_OF_A_RECORD = 4096
PIXELS = np.random.default_rng(0).integers(0, 255, (256, 256), "u1")


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.server)])
def case(request: pytest.FixtureRequest) -> StoreCase:
    found: StoreCase = request.getfixturevalue(f"{request.param}_case")
    return found


def write(out: CacheDir, number: int) -> None:
    with out.log():
        out.write("x.ome.zarr", da.from_array(PIXELS + np.uint8(number), chunks=64), chunks=(64, 64))
        out.write("y.npy", PIXELS)
        out.write("z.json", number)


def bytes_of(node: CacheDir) -> tuple[int, int]:
    """Give the bytes of a node, and its number of records."""
    address = address_of(node)
    found = address.store.find(address.path)
    return sum(info.size for info in found.values()), sum("/log/" in name for name in found)


def compute(node: CacheDir, number: int) -> None:
    with cdir_init(node, {"number": number}) as out:
        write(out, number)


def fail(node: CacheDir, number: int) -> None:
    with contextlib.suppress(ZeroDivisionError), cdir_init(node, {"number": number}) as out:
        write(out, number)
        raise ZeroDivisionError


@pytest.mark.parametrize("attempt", [compute, fail], ids=["recomputed", "failed"])
def test_many_attempts_leave_the_bytes_of_one_result(case: StoreCase, attempt: Callable[[CacheDir, int], None]) -> None:
    node, tries = cdir(case.child("node"), **case.options), TRIES[case.kind]
    compute(node, 0)
    one, _ = bytes_of(node)
    for number in range(1, tries + 1):
        attempt(node, number)
    assert cdir_query(node).read("z.json") == (0 if attempt is fail else tries)
    compute(node, tries + 1)
    total, records = bytes_of(node)
    assert records == 2 * (tries + 2)
    assert total <= 1.2 * one + BYTES_OF_A_RECORD * records
