"""Concurrent requests: one task reads or writes many objects of a bucket at once."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from cvcache.store.base import CONCURRENCY

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
R = TypeVar("R")


@functools.cache
def _pool(size: int, process: int) -> ThreadPoolExecutor:
    """Return the thread pool of this process; a forked child needs its own."""
    from concurrent.futures import ThreadPoolExecutor  # only a bucket needs it

    return ThreadPoolExecutor(size, thread_name_prefix=f"cvcache-io-{process}")


def gather(function: Callable[[T], R], arguments: Iterable[T], *, remote: bool) -> list[R]:
    """Return ``[function(argument) for argument in arguments]``; concurrently if the store is `remote`.

    The first error is raised when all calls have ended, so that none still writes afterwards.
    """
    values = list(arguments)
    if not remote or len(values) <= 1:
        return [function(value) for value in values]
    pool = _pool(CONCURRENCY, os.getpid())
    futures = [pool.submit(function, value) for value in values]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]
    return [future.result() for future in futures]
