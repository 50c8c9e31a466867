"""What no writer can do without: the source once, the codec, and one plain file per chunk, on two threads."""

from __future__ import annotations

import concurrent.futures
import itertools
import os
from collections.abc import Iterator

import numcodecs
import numcodecs.blosc
import numpy as np
from peers.volume import CHUNKS, SOURCE, Block, Volume, counted

THREADS = 2
SHARE = 7
"""Levels 1 to 4 have 1/8 + 1/64 + ... of the pixels of level 0: every 7th block is written once more for them."""


def stand_in(blocks: list[Block]) -> list[Block]:
    """Return the blocks that stand for the levels above level 0."""
    return blocks[: round(len(blocks) / SHARE)]


def write(volume: Volume, directory: str) -> None:
    """Make, encode and write each block, and 1/7 of them a second time."""
    numcodecs.blosc.use_threads = False
    codec = numcodecs.Blosc("zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE)

    def one(level: int, block: Block) -> None:
        for number, chunk in enumerate(_split(counted(block, volume.calls))):
            name = f"{level}-{'-'.join(map(str, block))}-{number}"
            with open(os.path.join(directory, name), "wb", buffering=0) as file:  # noqa: PTH118, PTH123
                file.write(codec.encode(chunk))

    levels = [0] * len(volume.blocks) + [1] * len(stand_in(volume.blocks))
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, levels, volume.blocks + stand_in(volume.blocks)))


def only_make(volume: Volume, directory: str) -> None:
    """Make each block once and write nothing: what the net column subtracts."""
    del directory

    def one(block: Block) -> None:
        counted(block, volume.calls)

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(one, volume.blocks))


def _split(block: np.ndarray) -> Iterator[np.ndarray]:
    starts = (range(0, n, step) for n, step in zip(SOURCE, CHUNKS, strict=True))
    for start in itertools.product(*starts):
        where = tuple(slice(at, at + step) for at, step in zip(start, CHUNKS, strict=True))
        yield np.ascontiguousarray(block[where])
