"""Real processes that race to create one key, started from a server that has everything imported."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Any

from cvcache.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

RACERS = 32
_MODULES = ["s3fs", "gcsfs", "aiobotocore.session", "cvcache.store.s3", "cvcache.store.gcs", "cvcache.store.local"]


def race(scheme: str, path: str, options: Mapping[str, Any], rounds: int) -> list[list[int]]:
    """Let 32 processes create ``path/0``, ``path/1``, ... at once; give each round's winners."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_MODULES)
    barrier, replies = context.Barrier(RACERS), context.SimpleQueue()
    racers = [
        context.Process(target=_racer, args=(number, scheme, path, dict(options), rounds, barrier, replies))
        for number in range(RACERS)
    ]
    for racer in racers:
        racer.start()
    won = dict(replies.get() for _ in racers)
    for racer in racers:
        racer.join()
    return [[number for number in won if won[number][turn]] for turn in range(rounds)]


def _racer(
    number: int, scheme: str, path: str, options: dict[str, Any], rounds: int, barrier: Any, replies: Any
) -> None:
    won: list[bool] = []
    try:
        store = open_store(scheme, path, options)
        store.stat(f"{path}/warm-up")
        for turn in range(rounds):
            barrier.wait(timeout=120)
            won.append(store.put_new(f"{path}/{turn}", b"racer %d" % number))
    except BaseException:
        barrier.abort()
        raise
    finally:
        replies.put((number, won + [False] * (rounds - len(won))))
