"""Write one image of 256 blocks, counting each block that is computed; a program that others kill.

Run as ``python resume_worker.py JSON``, where the JSON is the arguments of `work`. It says "begun" on stdout when the
node is its own, and tells the result as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cvcache
from cvcache import Policy, cdir
from cvcache.image import pyramid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dask.array as da

__all__ = ["BLOCKS", "COUNTER", "FAULT", "ITEM", "NAP", "image", "make", "work"]

BLOCKS = 256
ITEM = "x.ome.zarr"
GRID = (4, 8, 8)
FAULTY = (3, 1, 0)
"""Block 200 of 256."""
# what is not of the image travels past its lineage
COUNTER, FAULT, NAP = "RESUME_COUNTER", "RESUME_FAULT", "RESUME_NAP"


def make(constant: int, chunk: Sequence[int], block_id: tuple[int, ...]) -> np.ndarray:
    """Compute one block, and note it; while the file FAULT is there, one of them fails and takes it away."""
    descriptor = os.open(os.environ[COUNTER], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{','.join(map(str, block_id))}\n".encode())
    finally:
        os.close(descriptor)
    time.sleep(float(os.environ.get(NAP, "0")))
    fault = os.environ.get(FAULT)
    if fault and tuple(block_id) == FAULTY and Path(fault).exists():
        Path(fault).unlink()
        raise ArithmeticError(block_id)
    first = [i * extent for i, extent in zip(block_id, chunk, strict=True)]
    axes = [np.arange(extent) + start for start, extent in zip(first, chunk, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return ((z * 4001 + y * 37 + x * (y // 64 + 3) + constant) % 50021).astype("uint16")


def image(constant: int = 0, chunk: Sequence[int] = (2, 64, 64)) -> da.Array:
    """Give the image, its blocks of the extent `chunk`."""
    import dask.array as da

    extents = [(extent,) * count for extent, count in zip(chunk, GRID, strict=True)]
    return da.map_blocks(
        make, constant, tuple(chunk), chunks=extents, dtype="uint16", meta=np.empty((0, 0, 0), "uint16")
    )


def work(
    *,
    url: str,
    key: Any = None,
    storage: dict[str, Any] | None = None,
    policy: dict[str, float] | None = None,
    block_bytes: int | None = 0,
    constant: int = 0,
    chunk: Sequence[int] = (2, 64, 64),
    scheduler: str = "threads",
    workers: int = 2,
    write: dict[str, Any] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Fill the node if it is not there, and say what was done.

    Parameters
    ----------
    block_bytes
        What one task holds at most; 0 for as little as the chunks allow, None for what is delivered.
    write
        Options of the item.
    force
        Compute a committed node again.
    """
    import dask

    before = pyramid.BLOCK_BYTES
    pyramid.BLOCK_BYTES = before if block_bytes is None else block_bytes
    try:
        with (
            dask.config.set(scheduler=scheduler, num_workers=workers),
            cvcache.cdir_init(
                cdir(url, policy=Policy(**(policy or {})), **(storage or {})), key or {"k": 1}, force=force
            ) as node,
        ):
            hit = node.committed
            if not hit:
                sys.stdout.write("begun\n")
                sys.stdout.flush()
                options = {"chunks": (2, 64, 64), "levels": 3, **(write or {})}
                node.write(ITEM, image(constant, chunk), **options)
    finally:
        pyramid.BLOCK_BYTES = before
    return {"hit": hit}


if __name__ == "__main__":
    result = work(**json.loads(sys.argv[1]))
    sys.stdout.write(json.dumps(result) + "\n")
