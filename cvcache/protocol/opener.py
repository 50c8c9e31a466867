"""Whose thread and asyncio task a claim belongs to: the running ones, or those on whose behalf another thread works."""

from __future__ import annotations

import contextlib
import contextvars
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

_caller: contextvars.ContextVar[tuple[threading.Thread, asyncio.Task[Any] | None] | None] = contextvars.ContextVar(
    "cvcache_caller", default=None
)

_left: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("cvcache_left", default=None)


def opener_is_gone() -> bool:
    """Whether nobody waits any more for what this thread does on behalf of a caller."""
    left = _left.get()
    return left is not None and left.is_set()


def current_task_ref() -> weakref.ref[asyncio.Task[Any]] | None:
    """Return a reference to the running task that does not keep it."""
    task = current_task()
    return None if task is None else weakref.ref(task)


@contextlib.contextmanager
def acting_for_opener() -> Iterator[threading.Event]:
    """Let other threads that this context is copied to claim nodes for the thread and task that calls this."""
    token, gone = _caller.set((threading.current_thread(), current_task())), threading.Event()
    left = _left.set(gone)
    try:
        yield gone
    finally:
        _left.reset(left)
        _caller.reset(token)


def current_thread() -> threading.Thread:
    """Return the thread that a claim made now belongs to."""
    caller = _caller.get()
    return caller[0] if caller else threading.current_thread()


def current_task() -> asyncio.Task[Any] | None:
    """Return the task that runs; a program that never imported asyncio has none."""
    if caller := _caller.get():
        return caller[1]
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio.current_task() if asyncio else None
    except RuntimeError:
        return None
