"""Many requests at once: what one task reads or writes of a bucket goes out together."""

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
    """Return the threads of this process; a forked child has none of its parent's."""
    from concurrent.futures import ThreadPoolExecutor  # only a bucket needs it

    return ThreadPoolExecutor(size, thread_name_prefix=f"cvcache-io-{process}")


def gather(function: Callable[[T], R], jobs: Iterable[T], *, remote: bool) -> list[R]:
    """Return ``[function(job) for job in jobs]``, at once where waiting for a bucket is most of the work.

    The first error is raised when all have ended, so that none still writes after it.
    """
    todo = list(jobs)
    if not remote or len(todo) <= 1:
        return [function(job) for job in todo]
    pool = _pool(CONCURRENCY, os.getpid())
    futures = [pool.submit(function, job) for job in todo]
    errors = [error for future in futures if (error := future.exception()) is not None]
    if errors:
        raise errors[0]
    return [future.result() for future in futures]
