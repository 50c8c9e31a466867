"""The opener of an attempt: the thread and asyncio task that own it, even if another thread does the work."""

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

_opener: contextvars.ContextVar[tuple[threading.Thread, asyncio.Task[Any] | None] | None] = contextvars.ContextVar(
    "cvcache_opener", default=None
)

_opener_gone: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar(
    "cvcache_opener_gone", default=None
)


def opener_is_gone() -> bool:
    """Whether the task that this thread works for was cancelled."""
    gone = _opener_gone.get()
    return gone is not None and gone.is_set()


def current_task_ref() -> weakref.ref[asyncio.Task[Any]] | None:
    """Return a weak reference to the task of the opener; None without a task."""
    task = current_task()
    return None if task is None else weakref.ref(task)


@contextlib.contextmanager
def acting_for_opener() -> Iterator[threading.Event]:
    """Claim nodes for the calling thread and task, in every thread that this context is copied to.

    Yields an event: set it when the task is cancelled.
    """
    gone = threading.Event()
    opener_token = _opener.set((threading.current_thread(), current_task()))
    gone_token = _opener_gone.set(gone)
    try:
        yield gone
    finally:
        _opener_gone.reset(gone_token)
        _opener.reset(opener_token)


def current_thread() -> threading.Thread:
    """Return the thread of the opener: the thread that a claim made now belongs to."""
    opener = _opener.get()
    return opener[0] if opener else threading.current_thread()


def current_task() -> asyncio.Task[Any] | None:
    """Return the asyncio task of the opener; None without a task."""
    if opener := _opener.get():
        return opener[1]
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio.current_task() if asyncio else None
    except RuntimeError:
        return None
