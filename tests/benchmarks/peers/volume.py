"""The data every peer writes: a light-sheet-like volume of uint16, made block by block on demand.

A block is a smooth background, noise that grows with it, and a few bright cells. It depends on nothing
but its position, costs about as much as its compression, and leaves one line in a file for each time it
is made, so that a peer that computes its source twice is seen to.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import dask.array as da

SHAPES = {"64MiB": (128, 512, 512), "512MiB": (256, 1024, 1024), "4GiB": (512, 2048, 2048)}
SOURCE = (64, 256, 256)
"""Shape of a block of the source, 8 MiB."""
CHUNKS = (64, 128, 128)
SHARDS = (64, 256, 256)
LEVELS = 5
DTYPE = np.dtype("uint16")

Block = tuple[int, int, int]


def level_shapes(shape: Block) -> list[Block]:
    """Return the shapes of the five levels, each half as long along every axis as the one before."""
    z, y, x = shape
    return [(z >> level, y >> level, x >> level) for level in range(LEVELS)]


def make(block: Block) -> np.ndarray:
    """Return the block of `SOURCE` pixels at this place of the grid of blocks."""
    (z, y, x), (depth, height, width) = (tuple(i * n for i, n in zip(block, SOURCE, strict=True)), SOURCE)
    rng = np.random.Generator(np.random.SFC64([*block, 2024]))
    pixels = np.empty(SOURCE, DTYPE)
    plane = (_wave(y, height, 900, 265)[:, None] + _wave(x, width, 1300, 265)).astype(np.float32)
    gain = np.sqrt(plane + 400) / np.float32(235)
    for layer, offset in zip(pixels, _wave(z, depth, 500, 60), strict=True):
        raw = rng.integers(0, 1 << 64, height * width // 2, dtype=np.uint64).view(DTYPE).reshape(2, height, width)
        # the sum of four bytes is close to normal
        noise = ((raw & 255) + (raw >> 8)).sum(axis=0, dtype=np.float32)
        noise *= gain
        noise += plane
        noise += np.float32(100 + offset)
        layer[...] = np.rint(noise)
    radii = np.exp(-(np.arange(-15.5, 16) ** 2) / 72)
    cell = radii[::2, None, None] * radii[:, None] * radii
    for _ in range(6):
        at = rng.integers(0, np.subtract(SOURCE, cell.shape))
        where = tuple(slice(start, start + n) for start, n in zip(at, cell.shape, strict=True))
        pixels[where] += (cell * rng.uniform(200, 1500)).astype(DTYPE)
    return pixels


def _wave(start: int, count: int, period: int, height: int) -> np.ndarray:
    return height * (1 + np.sin(np.arange(start, start + count) * (2 * np.pi / period)))


def _made_by_dask(block_id: Block, calls: str) -> np.ndarray:
    return counted(block_id, calls)


def counted(block: Block, calls: str) -> np.ndarray:
    """Make a block and note it in the file `calls`, in one append that no other process tears apart."""
    file = os.open(calls or os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{block}\n".encode())
    os.close(file)
    return make(block)


@dataclass(frozen=True)
class Volume:
    """What is to be written.

    Attributes
    ----------
    shape : tuple of int
        Whole blocks of `SOURCE`.
    calls : str
        The file that gets a line for each block made; empty for the one that CALLS in the environment names. A file
        that a task is given by name is a part of its source, and this one is another each time.
    """

    shape: Block
    calls: str

    @property
    def blocks(self) -> list[Block]:
        """The places of all blocks."""
        return list(np.ndindex(*(n // step for n, step in zip(self.shape, SOURCE, strict=True))))

    def image(self) -> da.Array:
        """Return the volume as a lazy dask array with chunks of `SOURCE`."""
        import dask.array as da

        chunks = tuple((step,) * (n // step) for n, step in zip(self.shape, SOURCE, strict=True))
        meta = np.empty((0, 0, 0), DTYPE)
        return da.map_blocks(_made_by_dask, chunks=chunks, dtype=DTYPE, meta=meta, calls=self.calls)
